"""Figures of rates, sensitivities and probes in the Deep Value Benchmark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepvalues.core.number_format import number, plural
from deepvalues.paper.theme import (
    COLOURS,
    DASHED,
    FAMILY_ORDER,
    NUMBER,
    RATE_MAP,
    chance_line,
    family_mark,
    groups,
    in_order,
    key,
    label_points,
    line_style,
    new_figure,
    runs,
    slant,
    themed,
)
from deepvalues.studies.dvb.figures.comparisons import dots

ARM_LABELS = {
    ("prior", 0): "prior",
    ("deconfounded", 4): "DVGR\nN = 4",
    ("deconfounded", 20): "DVGR\nN = 20",
    ("deconfounded", 40): "DVGR\nN = 40",
    ("control", 20): "control",
    ("probe_value", 20): "value\nprobe",
    ("probe_surface", 20): "surface\nprobe",
    ("value_only", 20): "value\nonly",
    ("surface_only", 20): "surface\nonly",
}

#: The arms that start a new group of columns.
_ARM_GROUPS = (("deconfounded", 4), ("control", 20), ("probe_value", 20), ("value_only", 20))
#: Height of a line of names next to points, in inches.
_NAME_HEIGHT = 0.135
#: Points closer than this share of the axes share a label.
_LABEL_DISTANCE = 0.04
#: Background of a number, so that lines do not cross it out.
_BACKGROUND: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.2}


def _families(frame: pd.DataFrame) -> list[str]:
    return [family for family in FAMILY_ORDER if family in set(frame["family"])]


@themed
def dvgr_by_model(table: pd.DataFrame) -> Figure:
    """DVGR of every model: dot, clustered interval (thick) and Wilson's (thin), one colour per family.

    Published models, which were asked other items, have their own panel below.

    Parameters
    ----------
    table
        model, family, dvgr, wilson_low, wilson_high, clustered_low, clustered_high.
    """
    ordered = in_order(table)
    in_print = ordered["family"] == "published"
    parts = {"asked here": ordered[~in_print], "published, recomputed": ordered[in_print]}
    parts = {title: part for title, part in parts.items() if len(part)}
    lines = [len(part) + 0.8 * (part["family"].nunique() - 1) + 2.3 for part in parts.values()]
    figure, panels = new_figure(
        0.6 + 0.175 * sum(lines), rows=len(parts), sharex=True, squeeze=False, height_ratios=lines
    )
    for (title, part), axes in zip(parts.items(), panels[:, 0], strict=True):
        _dvgrs(axes, part)
        if len(parts) > 1:
            axes.set_title(title)
    lowest = panels[-1, 0]
    lowest.set(xlim=(-0.03, 1.03), xlabel="DVGR: share of test items on which the value is followed")
    handles = [
        Line2D([], [], color=COLOURS[family], marker="o", markersize=4, label=family)
        for family in _families(ordered)
    ]
    handles += [
        Line2D([], [], color="black", linewidth=0.9, label="Wilson"),
        Line2D([], [], color="black", linewidth=3, alpha=0.45, label="clustered by cell"),
    ]
    lowest.legend(handles=handles, loc="lower right")
    return figure


def _dvgrs(axes: Axes, ordered: pd.DataFrame) -> None:
    gaps = ordered["family"].ne(ordered["family"].shift()).cumsum() - 1
    positions = -(np.arange(len(ordered)) + 0.8 * gaps.to_numpy())
    chance_line(axes, positions[0] + 0.8)
    for position, row in zip(positions, ordered.to_dict("records"), strict=True):
        colour = COLOURS[row["family"]]
        wilson, clustered = (
            [row[f"{kind}_{end}"] for end in ("low", "high")] for kind in ("wilson", "clustered")
        )
        # Butt caps, as the round or square ends of a thick line would lengthen an interval.
        axes.plot(wilson, [position] * 2, color=colour, linewidth=0.9, solid_capstyle="butt")
        axes.plot(clustered, [position] * 2, color=colour, linewidth=3, alpha=0.45, solid_capstyle="butt")
        axes.plot(row["dvgr"], position, "o", color=colour, markersize=4)
    axes.set_yticks(positions, ordered["model"])
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(positions[-1] - 1, positions[0] + 1.3))


@themed
def arms(table: pd.DataFrame) -> Figure:
    """Accuracy of every model in every arm, as a heat map.

    Parameters
    ----------
    table
        model, family, arm, n_examples, rate; models are ordered by their deconfounded rates.
    """
    deep = table[table["arm"] == "deconfounded"].groupby(["model", "family"])["rate"].mean()
    ordered = in_order(deep.reset_index(), "rate")
    wide = table.pivot(index="model", columns=["arm", "n_examples"], values="rate")
    asked = [key for key in ARM_LABELS if key in wide]
    wide = wide.loc[list(ordered["model"]), asked]
    figure, axes = new_figure(1.1 + 0.23 * len(wide))
    _heat_map(axes, wide, [ARM_LABELS[key] for key in asked])
    for boundary in _ARM_GROUPS:
        if boundary in asked:
            axes.axvline(asked.index(boundary), color="white", linewidth=4)
    _separate_families(axes, ordered["family"])
    return figure


def _separate_families(axes: Axes, families: pd.Series[str]) -> None:
    """Leave a gap between the families in a heat map."""
    for row in np.flatnonzero(families.ne(families.shift()))[1:]:
        axes.axhline(row, color="white", linewidth=4)


def _heat_map(axes: Axes, wide: pd.DataFrame, labels: Sequence[str]) -> None:
    notes = wide.map(lambda rate: "" if pd.isna(rate) else number(rate, 2, bounded=True))
    sns.heatmap(
        wide.to_numpy(dtype=float),
        annot=notes.to_numpy(),
        fmt="",
        cmap=RATE_MAP,
        vmin=0,
        vmax=1,
        linewidths=0.5,
        annot_kws={"color": "black"},
        cbar_kws={"label": "rate", "ticks": [0, 0.5, 1], "aspect": 2 + 1.6 * len(wide), "pad": 0.01},
        ax=axes,
    )
    axes.set_xticks(np.arange(len(labels)) + 0.5, labels, rotation=0)
    axes.set_yticks(np.arange(len(wide)) + 0.5, list(wide.index), rotation=0)
    axes.tick_params(length=0)
    axes.set(xlabel="", ylabel="")


@themed
def rate_matrix(wide: pd.DataFrame) -> Figure:
    """Rates as a heat map, with rows and columns in the given order.

    Parameters
    ----------
    Rates; the index has the names of the rows.
        Rates, the rows' names as the index.
    """
    figure, axes = new_figure(1.2 + 0.2 * len(wide))
    _heat_map(axes, wide, list(wide.columns))
    slant(axes)
    return figure


@themed
def dvgr_by_n(table: pd.DataFrame) -> Figure:
    """DVGR by the number of examples, one panel per family.

    Parameters
    ----------
    table
        model, family, n_examples, rate, clustered_low, clustered_high.
    """
    families = _families(table)
    most = int(table.groupby("family")["model"].nunique().max())
    # High enough for the names next to the lines, and for the rest of the figure.
    room = max(2.1, _NAME_HEIGHT * most)
    figure, panels = new_figure(room + 1.05, len(families), sharey=True, squeeze=False)
    for axes, family in zip(panels[0], families, strict=True):
        own = table[table["family"] == family]
        lines = {str(model): line_style(number) for number, model in enumerate(sorted(set(own["model"])))}
        for model, group in own.groupby("model"):
            rate = group["rate"]
            ends = [(rate - group["clustered_low"]).fillna(0), (group["clustered_high"] - rate).fillna(0)]
            style = {"marker": "o", "markersize": 3, "linewidth": 1, "elinewidth": 0.7, **lines[str(model)]}
            axes.errorbar(group["n_examples"], rate, yerr=ends, **style)
        axes.axhline(0.5, zorder=0, **DASHED)
        axes.set(title=plural(family, 2), xlabel="examples N", xticks=[4, 20, 40])
        axes.set(xlim=(0, 44), ylim=(-0.04, 1.04))
        _label_lines(axes, own, lines, gap=1.08 * _NAME_HEIGHT / room)
    panels[0][0].set_ylabel("DVGR")
    figure.legend(handles=[Line2D([], [], label="chance", **DASHED)], loc="outside upper center")
    return figure


def _label_lines(axes: Axes, table: pd.DataFrame, lines: Mapping[str, Mapping[str, Any]], gap: float) -> None:
    """Name each line next to the panel, moving names apart so that they don't overlap."""
    ends = table[table["n_examples"] == table["n_examples"].max()].sort_values("rate", kind="stable")
    named = {re.sub("^(learner|agent|head)-", "", model): lines[model]["color"] for model in ends["model"]}
    label_points(axes, [(40.0, rate) for rate in ends["rate"]], named, at=46, gap=gap)


@themed
def dvgr_by_value(table: pd.DataFrame, values: Mapping[str, str]) -> Figure:
    """DVGR of each model for each preferred value, as a heat map.

    Parameters
    ----------
    table
        model, family, v1, rate.
    values
        The values in the order of the columns, with their display names.
    """
    ordered = in_order(table.groupby(["model", "family"])["rate"].mean().reset_index(), "rate")
    wide = table.pivot(index="model", columns="v1", values="rate")
    wide = wide.reindex(list(ordered["model"]), columns=list(values))
    figure, axes = new_figure(1.45 + 0.23 * len(wide))
    _heat_map(axes, wide, list(values.values()))
    _separate_families(axes, ordered["family"])
    slant(axes)
    return figure


@themed
def dvgr_by_dimension(table: pd.DataFrame, names: dict[str, tuple[str, str, str]]) -> Figure:
    """DVGR by dimension and direction, one row per dimension with a dot for each preferred pole.

    Parameters
    ----------
    table
        dimension, direction, rate, clustered_low, clustered_high.
    names
        By dimension: display names of it and of its first and second pole.
    """
    wide = table.pivot(index="dimension", columns="direction", values="rate")
    order = wide.mean(axis=1).round(9).sort_values(kind="stable").index
    figure, axes = new_figure(0.9 + 0.215 * len(order))
    chance_line(axes, len(order) - 0.35)
    styles = {"forward": ("#0072B2", "o"), "reversed": ("#E69F00", "s")}
    for position, dimension in enumerate(order):
        axes.plot(wide.loc[dimension], [position] * wide.shape[1], color="#cccccc", linewidth=1.2, zorder=1)
        for direction, offset in (("forward", 0.15), ("reversed", -0.15)):
            found = table[(table["dimension"] == dimension) & (table["direction"] == direction)]
            dots(axes, found, [position + offset] * len(found), *styles[direction])
    labels = ["{}: {} / {}".format(*names[dimension]) for dimension in order]
    axes.set_yticks(range(len(order)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1), ylim=(-0.7, len(order)), xlabel="DVGR")
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=f"{pole} pole preferred")
        for pole, (colour, marker) in zip(("first", "second"), styles.values(), strict=True)
    ]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


@themed
def sensitivities(table: pd.DataFrame) -> Figure:
    """Sensitivity to the value and sensitivity to the surface, in logits.

    Above the diagonal the surface has more weight, and the DVGR is below chance. Points are numbered from the
    top; the key is next to the axes.

    Parameters
    ----------
    table
        model, family, b_v, b_s, with _low and _high; rows without an estimate are left out.
    """
    known = table.dropna(subset=["b_v", "b_s"]).round({"b_v": 9, "b_s": 9})
    known = known.sort_values("b_s", ascending=False, kind="stable")
    known = known.assign(number=range(1, len(known) + 1))
    room = max(3.4, _NAME_HEIGHT * len(known))
    figure, (axes, names) = new_figure(room + 0.95, 2, width_ratios=(1, 0.46))
    reach = float(np.nanmax(known[["b_v_high", "b_s_high"]].to_numpy(), initial=1.0)) * 1.08
    least = float(np.nanmin(known[["b_v_low", "b_s_low"]].to_numpy(), initial=-0.3)) * 1.08
    axes.plot([least, reach], [least, reach], **DASHED)
    axes.axhline(0, color="#dddddd", linewidth=0.8, zorder=0)
    axes.axvline(0, color="#dddddd", linewidth=0.8, zorder=0)
    for row in known.itertuples():
        family = str(row.family)
        axes.plot([row.b_v_low, row.b_v_high], [row.b_s] * 2, color=COLOURS[family], linewidth=0.9)
        axes.plot([row.b_v] * 2, [row.b_s_low, row.b_s_high], color=COLOURS[family], linewidth=0.9)
        axes.plot(row.b_v, row.b_s, **family_mark(family))
    axes.set(
        xlim=(least, reach),
        ylim=(least, reach),
        aspect="equal",
        xlabel="sensitivity to the value, $b_v$ (logits)",
        ylabel="sensitivity to the surface, $b_s$ (logits)",
    )
    # In a corner of the cross formed by a point's intervals, where there are no lines.
    _number(axes, known, "b_v", "b_s", 2.5)
    families = dict(zip(known["model"], known["family"], strict=True))
    numbers = dict(zip(known["model"], known["number"], strict=True))
    key(names, numbers, lambda model: family_mark(families[model]), rows=round(room / 0.145))
    handles = [Line2D([], [], label=family, **family_mark(family)) for family in _families(known)]
    figure.legend(handles=handles, loc="outside upper center", ncols=max(1, len(handles)))
    return figure


def _number(axes: Axes, points: pd.DataFrame, x: str, y: str, offset: float) -> None:
    """Number points for readers without colour; points that are close share a text."""
    low, high = axes.get_xlim()
    style: dict[str, Any] = {"textcoords": "offset points", "bbox": _BACKGROUND, **NUMBER}
    for group in groups(points, [x, y], _LABEL_DISTANCE * (high - low)):
        corner = (float(group[x].max()), float(group[y].max()))
        axes.annotate(runs(group["number"]), corner, (offset, offset), **style)
