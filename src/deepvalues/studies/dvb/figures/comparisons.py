"""Figures that compare: levels of a factor, models, a model with its heads, wordings, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepvalues.ask.registry import HEAD
from deepvalues.core import number_format
from deepvalues.paper.theme import CHANCE, COLOURS, DASHED, chance_line, in_order, new_figure, slant, themed
from deepvalues.studies.dvb.analysis.asked_read import (
    ARMS,
    ASKED,
    LAST,
    MEAN,
    NULL,
    RESPONDENTS,
    TOKENS,
    respondents,
)
from deepvalues.studies.dvb.analysis.verdicts import ENCODER, LANGUAGE_MODEL, LEXICAL

#: Distinguishable with any colour vision, and by their markers.
_STYLES = (("#0072B2", "o"), ("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#555555", "v"))


#: The largest number of models for which the agreement figure shows numbers.
_MAX_NUMBERED = 20


def _sentence(text: str, **style: Any) -> Figure:
    """A figure that consists of a sentence, for when there is nothing to show."""
    figure, axes = new_figure(0.6)
    axes.text(0.5, 0.5, text, ha="center", va="center", **style)
    axes.set_axis_off()
    return figure


def dots(axes: Axes, table: pd.DataFrame, positions: Sequence[float], colour: str, marker: str = "o") -> None:
    """Draw rates with their clustered intervals, one row of the table at each position."""
    rows = table[["rate", "clustered_low", "clustered_high"]].to_numpy(dtype=float)
    for position, (rate, low, high) in zip(positions, rows, strict=True):
        axes.plot([low, high], [position] * 2, color=colour, linewidth=0.9)
        axes.plot(rate, position, marker, color=colour, markersize=4)


@themed
def breakdown(
    table: pd.DataFrame, factors: Mapping[str, str], levels: Mapping[str, Mapping[str, str]], colour: str
) -> Figure:
    """Rate at each level of several factors, one block of rows per factor.

    Parameters
    ----------
    table
        factor, level, rate, clustered_low, clustered_high.
    factors
        The factors to show, from the top, with their display names.
    levels
        Display names of their levels, by factor; other levels are shown as they are.
    colour
        Of the dots.
    """
    shown = table[table["factor"].isin(factors)]
    figure, axes = new_figure(0.7 + 0.17 * (len(shown) + len(factors)))
    chance_line(axes, 0)
    positions: list[float] = []
    labels: list[str] = []
    top = 0.0
    for factor, name in factors.items():
        block = shown[shown["factor"] == factor]
        axes.text(0.005, top, name, weight="bold", va="center")
        rows = [top - 1 - number for number in range(len(block))]
        dots(axes, block, rows, colour)
        positions += rows
        labels += [levels.get(factor, {}).get(level, level) for level in block["level"]]
        top = rows[-1] - 1.2
    axes.set_yticks(positions, labels)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1), ylim=(top + 0.4, 0.8), xlabel="DVGR")
    return figure


@themed
def agreement(matrix: pd.DataFrame) -> Figure:
    """Share of items on which two models choose the same option, as a heat map.

    Parameters
    ----------
    matrix
        Square, with models as index and columns; with fewer than two models, the figure is a sentence.
    """
    # The first model has nothing below the diagonal, the last one nothing beside it.
    pairs = matrix.iloc[1:, :-1]
    size = len(pairs)
    if size == 0:
        return _sentence("With one model there are no pairs to compare.")
    figure, axes = new_figure(1.55 + min(0.3 * size, 5.2))
    notes = pairs.map(lambda rate: number_format.number(rate, 2, bounded=True))
    sns.heatmap(
        pairs.to_numpy(dtype=float),
        # If numbers would overlap, the shades and the CSV have to do.
        annot=notes.to_numpy() if size <= _MAX_NUMBERED else None,
        fmt="",
        cmap=sns.light_palette("#999999", as_cmap=True),
        vmin=0,
        vmax=1,
        linewidths=0.5,
        annot_kws={"color": "black"},
        cbar_kws={"label": "agreement", "ticks": [0, 0.5, 1], "aspect": 40, "pad": 0.01},
        mask=np.triu(np.ones(pairs.shape, dtype=bool), 1),
        ax=axes,
    )
    axes.set_xticks(np.arange(size) + 0.5, list(pairs.columns))
    axes.set_yticks(np.arange(size) + 0.5, list(pairs.index), rotation=0)
    axes.tick_params(length=0)
    if size <= _MAX_NUMBERED:
        slant(axes)
    else:
        axes.tick_params(axis="x", rotation=90)
    return figure


@themed
def variants(table: pd.DataFrame, published: pd.DataFrame, names: dict[str, str]) -> Figure:
    """DVGR of each model under each wording of the prompt, compared with the published pooled rates.

    Parameters
    ----------
    table
        study, model, family, dvgr, clustered_low, clustered_high.
    published
        study, published_dvgr, published_low, published_high.
    names
        Display names of the studies, in order.
    """
    table = table.rename(columns={"dvgr": "rate"})
    columns = ["study", "rate", "clustered_low", "clustered_high"]
    printed = published.set_axis(columns, axis="columns")
    means = table.groupby(["model", "family"])["rate"].mean().reset_index()
    models = list(in_order(means, "rate")["model"])
    figure, axes = new_figure(0.9 + 0.32 * (len(models) + 1))
    chance_line(axes, 0.55)
    for number, (study, (colour, marker)) in enumerate(zip(names, _STYLES, strict=False)):
        offset = 0.22 * (1 - number)
        of_study = table[table["study"] == study].set_index("model").reindex(models).reset_index()
        dots(axes, of_study, [offset - position for position in range(len(models))], colour, marker)
        dots(axes, printed[printed["study"] == study], [offset - len(models)], colour, marker)
    axes.set_yticks([-position for position in range(len(models) + 1)], [*models, "published, nine models"])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(-0.03, 1.03), ylim=(-len(models) - 0.5, 0.8), xlabel="DVGR on the subset")
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=name)
        for name, (colour, marker) in zip(names.values(), _STYLES, strict=False)
    ]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(handles))
    return figure


@themed
def coverage(table: pd.DataFrame, methods: dict[str, str], effects: Sequence[str]) -> Figure:
    """How often each interval covers the truth: one panel for each estimand and item set.

    Parameters
    ----------
    table
        item_set, estimand, effects, method, coverage, of one scope.
    methods
        The methods to show, with their labels.
    effects
        Conditions, in the order of the columns.
    """
    kinds = table[["estimand", "item_set"]].drop_duplicates()
    panels = [(str(estimand), str(item_set)) for estimand, item_set in kinds.to_numpy()]
    figure, drawn = new_figure(3.3, len(panels), sharey=True, squeeze=False)
    for axes, (estimand, item_set) in zip(drawn[0], panels, strict=True):
        part = table[(table["estimand"] == estimand) & (table["item_set"] == item_set)]
        axes.axhline(0.95, zorder=0, **DASHED)
        shown = [method for method in methods if method in set(part["method"])]
        styles = dict(zip(methods, _STYLES, strict=False))
        for number, method in enumerate(shown):
            colour, marker = styles[method]
            rates = part[part["method"] == method].set_index("effects")["coverage"].reindex(list(effects))
            positions = np.arange(len(effects)) + 0.8 / len(shown) * (number - (len(shown) - 1) / 2)
            axes.plot(positions, rates, marker, color=colour, markersize=3)
        for boundary in range(1, len(effects)):
            axes.axvline(boundary - 0.5, color="#dddddd", linewidth=0.6, zorder=0)
        axes.set_xticks(range(len(effects)), effects)
        slant(axes)
        axes.tick_params(axis="x", length=0)
        rate = {"pooled": "pooled rate"}.get(estimand, f"rate {estimand.replace('_', ' ')}")
        axes.set_title(f"{rate},\n{item_set} set", fontsize=8)
        axes.set(xlim=(-0.5, len(effects) - 0.5), ylim=(0, 1.04))
    drawn[0][0].set_ylabel("coverage (nominal .95)")
    figure.supxlabel("effects in the simulated answers", fontsize=9)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4, label=label)
        for label, (colour, marker) in zip(methods.values(), _STYLES, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


@themed
def power(table: pd.DataFrame) -> Figure:
    """Power of the test against chance by the number of cells, one line per true DVGR.

    Parameters
    ----------
    table
        cells, true_dvgr, power, of one method.
    """
    figure, axes = new_figure(2.8)
    for _, group in table.groupby("true_dvgr"):
        axes.plot(group["cells"], group["power"], color=COLOURS["language model"], marker="o", markersize=3)
        first = group.iloc[0]
        label = number_format.number(first["true_dvgr"], 2, bounded=True) + "  "
        axes.annotate(label, (first["cells"], first["power"]), ha="right", va="center")
    least, most = int(table["cells"].min()), int(table["cells"].max())
    axes.plot([least, most], [0.05] * 2, zorder=0, **DASHED)
    axes.text(least, 1.11, "true  \nDVGR  ", ha="right", va="center")
    axes.set(xlabel="cells (on a logarithmic scale)", ylabel="power at α = .05", xscale="log")
    axes.set(xlim=(least * 0.78, most * 1.03), ylim=(0, 1.19))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xticks(sorted(table["cells"].unique()), [str(n) for n in sorted(table["cells"].unique())])
    axes.minorticks_off()
    return figure


# ---- asked against read ----

#: Labels of the respondents.
_LABELS = {
    ASKED: "the model, asked",
    MEAN: "read: mean of tokens",
    LAST: "read: last token",
    TOKENS: "token embeddings",
    NULL: "read, coin-flipped choices",
}
#: Shape and filling, which identify respondents without colour.
_RESPONDENTS: dict[str, dict[str, Any]] = {
    ASKED: {"color": COLOURS["language model"], "marker": "o", "linestyle": "-"},
    MEAN: {"color": COLOURS[HEAD], "marker": "v", "linestyle": "-"},
    LAST: {"color": COLOURS[HEAD], "marker": "^", "linestyle": "--", "markerfacecolor": "white"},
    TOKENS: {"color": "#666666", "marker": "s", "linestyle": "-.", "markerfacecolor": "white"},
    NULL: {"color": "#999999", "marker": "x", "linestyle": ":"},
}
#: Offset between neighbours, as a factor, because the axis of numbers of examples is logarithmic.
_OFFSET = 1.07


@themed
def asked_against_read(table: pd.DataFrame) -> Figure:
    """Accuracy by the number of examples: one row per model, one column per arm.

    Parameters
    ----------
    table
        From `analysis.asked_read.asked_against_read`. Without heads it is empty, and the figure says so.
    """
    if table.empty:
        return _sentence("no head on hidden states is on record", color=CHANCE)
    models = list(dict.fromkeys(table["model"]))
    figure, panels = new_figure(
        0.75 + 1.45 * len(models), len(ARMS), len(models), sharex=True, sharey=True, squeeze=False
    )
    numbers = sorted(table["n_examples"].unique())
    for model, row in zip(models, panels, strict=True):
        for arm, axes in zip(ARMS, row, strict=True):
            _asked_and_read(axes, table[(table["model"] == model) & (table["arm"] == arm)])
        row[0].set_ylabel(f"{model}\naccuracy")
    for name, axes in zip(ARMS.values(), panels[0], strict=True):
        axes.set_title(name)
    for axes in panels[-1]:
        axes.set_xlabel("examples N")
    lowest = min(0.4, table[["rate", "low"]].min().min())
    panels[0][0].set(xscale="log", ylim=(lowest - 0.03, 1.03))
    panels[0][0].set_yticks([tenth / 10 for tenth in range(0, 11, 2) if tenth / 10 >= lowest])
    panels[0][0].set_xlim(min(numbers) / 1.6, max(numbers) * 1.6)
    panels[0][0].set_xticks(numbers, _apart(numbers))
    panels[0][0].minorticks_off()
    handles = [
        Line2D([], [], markersize=4, linewidth=1, label=_LABELS[name], **_RESPONDENTS[name])
        for name in RESPONDENTS
        if name in set(table["respondent"])
    ]
    handles.append(Line2D([], [], label="chance", **DASHED))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _apart(numbers: Sequence[int]) -> list[str]:
    """Labels of ticks on a logarithmic axis; none for a number less than three times the last with one."""
    labels, last = [], 0
    for number in numbers:
        labels.append("" if number < 3 * last else str(number))
        last = last if number < 3 * last else number
    return labels


def _asked_and_read(axes: Axes, table: pd.DataFrame) -> None:
    axes.axhline(0.5, zorder=0, **DASHED)
    for position, name in enumerate(RESPONDENTS):
        of_name = table[table["respondent"] == name].sort_values("n_examples")
        rate = of_name["rate"]
        # With one cell there is no interval; with one of width zero, rounding can swap its bounds.
        ends = rate - of_name["low"], of_name["high"] - rate
        spread = [end.fillna(0).clip(lower=0) for end in ends]
        at = of_name["n_examples"] * _OFFSET ** (position - (len(RESPONDENTS) - 1) / 2)
        sizes: dict[str, Any] = {"markersize": 3.5, "linewidth": 1, "elinewidth": 0.7}
        axes.errorbar(at, rate, yerr=spread, **sizes, **_RESPONDENTS[name])


# ---- the plane of the probes ----

#: The stages that a respondent passes through in the plane of the probes: their markers and measures.
_STAGES = {
    "shuffled": ("o", "shuffled_probe_{}"),
    "N = 4": ("s", "probe_{}"),
    "N = 20": ("D", "probe_{}_n20"),
}
#: The stage whose intervals are drawn.
_WITH_INTERVAL = "N = 4"
#: The stages at which text learners are shown, with the filling of their marks.
_LEARNERS = {"N = 4": "white", "N = 20": "#999999"}
#: Panels side by side.
_COLUMNS = 3
_Point = dict[str, float]


@themed
def probes(table: pd.DataFrame) -> Figure:
    """Surface probe against value probe: a panel per language model, with its heads.

    An arrow leads each respondent from shuffled examples through N = 4 to N = 20. One that learned a layer
    moves away from that layer's dashed line at one half; one that chooses by position stays where the lines
    cross.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`. The figure shows language models, heads that were not fitted to
        coin-flipped choices, lexical learners, and the learner on sentence embeddings.
    """
    rows = pd.concat([respondents(table["model"]), table.drop(columns="model")], axis="columns")
    shown = rows[rows["family"].isin([LANGUAGE_MODEL, HEAD]) & (rows["respondent"] != NULL)]
    if shown.empty:
        return _sentence("no language model and no head on hidden states is on record", color=CHANCE)
    models = sorted(shown["model"].unique())
    lines = -(-len(models) // _COLUMNS)
    columns = min(_COLUMNS, len(models))
    figure, panels = new_figure(1.0 + 2.1 * lines, columns, lines, sharex=True, sharey=True, squeeze=False)
    learners = table[table["model"].isin([*LEXICAL, ENCODER])].to_dict("records")
    for axes in panels.flat[len(models) :]:
        axes.set_axis_off()
    for model, axes in zip(models, panels.flat, strict=False):
        axes.set_title(model, fontsize="medium")
        axes.axhline(0.5, zorder=0, **DASHED)
        axes.axvline(0.5, zorder=0, **DASHED)
        _learner_points(axes, learners)
        for row in shown[shown["model"] == model].to_dict("records"):
            _path(axes, _stages(row), _RESPONDENTS[row["respondent"]])
    low, high = _limits([*shown.to_dict("records"), *learners])
    ticks = [tenth / 10 for tenth in range(11) if low <= tenth / 10 <= high]
    panels[0][0].set(xticks=ticks, yticks=ticks, xlim=(low, high), ylim=(low, high))
    figure.supxlabel("value probe: accuracy", fontsize="medium")
    figure.supylabel("surface probe: accuracy", fontsize="medium")
    figure.legend(handles=_probe_handles(shown, learners), loc="outside upper center", ncols=3)
    return figure


def _limits(rows: Sequence[Mapping[Any, Any]]) -> tuple[float, float]:
    """Limits for both axes that contain all points, one half, and the intervals at N = 4."""
    numbers = [0.5]
    for stage, at in (point for row in rows for point in _stages(row).items()):
        ends = ("", "_low", "_high") if stage == _WITH_INTERVAL else ("",)
        numbers += [at[f"{axis}{end}"] for axis in "xy" for end in ends]
    known = [number for number in numbers if not pd.isna(number)]
    return min(known) - 0.03, max(known) + 0.03


def _stages(row: Mapping[Any, Any]) -> dict[str, _Point]:
    """x, y and their bounds of a respondent, by stage at which it was asked."""
    found = {}
    for stage, (_, name) in _STAGES.items():
        at = {
            f"{axis}{end}": row[f"{name.format(layer)}{end}"]
            for axis, layer in (("x", "value"), ("y", "surface"))
            for end in ("", "_low", "_high")
        }
        if not (pd.isna(at["x"]) or pd.isna(at["y"])):
            found[stage] = at
    return found


def _learner_points(axes: Axes, learners: Sequence[Mapping[Any, Any]]) -> None:
    for row in learners:
        for stage, at in _stages(row).items():
            if stage in _LEARNERS:
                axes.plot(at["x"], at["y"], zorder=1, **_learner_mark(row["model"], stage))


def _learner_mark(model: str, stage: str) -> dict[str, Any]:
    shape: dict[str, Any] = (
        {"marker": "*", "markersize": 6} if model == ENCODER else {"marker": "^", "markersize": 4}
    )
    return {**shape, "color": "#999999", "linestyle": "none", "markerfacecolor": _LEARNERS[stage]}


def _path(axes: Axes, stages: Mapping[str, _Point], style: Mapping[str, Any]) -> None:
    """Draw a respondent's stages, the arrows between them, and its intervals at N = 4."""
    if at := stages.get(_WITH_INTERVAL):
        thin: dict[str, Any] = {"color": style["color"], "linewidth": 0.7, "alpha": 0.7, "zorder": 2}
        axes.plot([at["x_low"], at["x_high"]], [at["y"]] * 2, **thin)
        axes.plot([at["x"]] * 2, [at["y_low"], at["y_high"]], **thin)
    positions = {stage: (at["x"], at["y"]) for stage, at in stages.items()}
    for start, end in pairwise(positions.values()):
        arrow = {"arrowstyle": "-|>", "linewidth": 1.0, "shrinkA": 2, "shrinkB": 3}
        arrow |= {name: style[name] for name in ("color", "linestyle")}
        axes.annotate("", end, start, arrowprops=arrow, zorder=3)
    for stage, position in positions.items():
        axes.plot(*position, **{**style, "marker": _STAGES[stage][0]}, markersize=4, zorder=4)


def _probe_handles(shown: pd.DataFrame, learners: Sequence[Mapping[Any, Any]]) -> list[Line2D]:
    """Legend handles of respondents, stages and text learners."""
    met = {stage for row in shown.to_dict("records") for stage in _stages(row)}
    styles = {_LABELS[name]: _RESPONDENTS[name] for name in RESPONDENTS if name in set(shown["respondent"])}
    handles = [
        Line2D([], [], label=name, linewidth=1, **{**style, "marker": "s"}, markersize=4)
        for name, style in styles.items()
    ]
    handles += [
        Line2D([], [], color="#444444", linestyle="none", marker=mark, markersize=4, label=stage)
        for stage, (mark, _) in _STAGES.items()
        if stage in met
    ]
    shown_learners = {row["model"] for row in learners}
    for models, name in ((LEXICAL, "lexical learners"), ((ENCODER,), "sentence embeddings")):
        if shown_learners & set(models):
            handles += [
                Line2D([], [], label=f"{name}, {stage}", **_learner_mark(models[0], stage))
                for stage in _LEARNERS
            ]
    return [*handles, Line2D([], [], label="chance", **DASHED)]
