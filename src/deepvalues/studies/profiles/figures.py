"""Figures of the value-priority profiles; those that depend on the reference name it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.cluster import hierarchy

from deepvalues.paper.theme import (
    CHANCE,
    COLOURS,
    FAMILY_ORDER,
    NUMBER,
    WIDTH,
    family_mark,
    groups,
    key,
    label_points,
    line_style,
    new_figure,
    runs,
    themed,
)
from deepvalues.studies.profiles.stimuli import MODES

UNITS = {
    "ranking": "priority, 7 − rank",
    "rating": "rating, 1 to 7",
    "allocation": "points of 100",
    "open": "share of coded sentences, %",
}
#: Units of differences within a profile.
DIFFERENCES = UNITS | {"ranking": "ranks", "rating": "rating points", "open": "% of coded sentences"}
PEOPLE = "#222222"
_AGENT = "agent-profile-"
_BAND = "#cccccc"
_FAINT = "#eeeeee"
#: Fidelity on the curves of the plane.
ISO = (0.25, 0.5, 0.8, 0.95)
#: Points below this r have their numbers beside them; the others have them on the right, at `_NUMBERS_AT`.
_NEAR, _NUMBERS_AT = 0.3, 1.08
#: Range of r in the plane, with space for numbers on the right and labels of curves on the left.
_R_LIMITS = (-1.28, 1.5)
#: Points closer than this, in log v and in r, share one label.
_TOGETHER = 0.12
#: v is shown from a quarter to four times the reference's spread; values beyond are drawn at the edge.
V_LIMITS = (0.25, 4.0)


def _short(model: str) -> str:
    """A model's name, for agents without the study's prefix but clearly distinct from the reference."""
    name = model.removeprefix(_AGENT)
    return model if name == model else f"agent: {name}"


def _modes(frame: pd.DataFrame) -> list[str]:
    return [mode for mode in MODES if mode in set(frame["mode"])]


def _family(families: Mapping[str, str], model: str) -> str:
    return families.get(model, "language model")


def _mark(families: Mapping[str, str], model: str) -> dict[str, Any]:
    """The style of a model's points: that of its family, or of people for the reference."""
    if _is_people(model):
        return {"marker": "s", "color": PEOPLE, "markersize": 5, "zorder": 5}
    return family_mark(_family(families, model))


def _is_people(model: str) -> bool:
    return model.endswith(" reference")


def _legend(
    figure: Figure,
    models: Sequence[str],
    families: Mapping[str, str],
    more: Sequence[Any] = (),
    loc: Literal["outside upper left", "outside lower center"] = "outside upper left",
) -> None:
    """A legend of the families present, beside the line that names the reference."""
    present = {_family(families, model) for model in models if not _is_people(model)}
    handles = [
        Line2D([], [], linestyle="", label=f"{family}s", **family_mark(family))
        for family in FAMILY_ORDER
        if family in present
    ]
    handles = [*more, *handles]
    figure.legend(handles=handles, loc=loc, ncols=min(3, len(handles)), handletextpad=0.4)


def _made_with(figure: Figure, frame: pd.DataFrame) -> None:
    """Name the reference that a figure was made with, in a line above it."""
    (reference,) = set(frame["reference"])
    figure.suptitle(f"made with a {reference}", fontsize=8, x=0.995, ha="right", color="#8a1c1c")


@themed
def profile_lines(
    profiles: pd.DataFrame,
    reference: pd.DataFrame,
    mode: str,
    names: Mapping[str, str],
    families: Mapping[str, str],
) -> Figure:
    """Mean profiles of all models in a mode, over the reference's mean and the middle half of respondents.

    Parameters
    ----------
    profiles
        mode, model, theme, mean.
    reference
        mode, reference, theme, mean, q25, q75.
    names
        Name of each theme by key.
    families
        Family of each model.
    """
    people = reference[reference["mode"] == mode].set_index("theme")
    people = people.round({"mean": 9}).sort_values("mean", ascending=False, kind="stable")
    order = list(people.index)
    wide = profiles[profiles["mode"] == mode].pivot(index="model", columns="theme", values="mean")[order]
    figure, axes = new_figure(3.8)
    places = np.arange(len(order))
    axes.fill_between(places, people["q25"], people["q75"], color=_BAND, linewidth=0, alpha=0.6)
    last = wide.iloc[:, -1].round(9).sort_values(kind="stable")
    lines = {str(model): line_style(number) for number, model in enumerate(last.index)}
    for model, means in wide.iterrows():
        style = _mark(families, str(model)) | lines[str(model)]
        axes.plot(places, means, linewidth=1, **style | {"markersize": 0.75 * style["markersize"]})
    axes.plot(places, people["mean"], color=PEOPLE, linewidth=2.2, zorder=5)
    axes.set_xticks(places, ["\n".join(textwrap.wrap(names[theme], 15)) for theme in order])
    axes.set_xlim(-0.2, len(order) - 1 + 1.15)
    axes.set_ylabel(UNITS[mode])
    gap = 0.052 * float(np.ptp(axes.get_ylim()))
    points = [(places[-1], float(mean)) for mean in last]
    named = {_short(model): style["color"] for model, style in lines.items()}
    label_points(axes, points, named, at=places[-1] + 0.25, gap=gap)
    handles: list[Any] = [
        Line2D([], [], color=PEOPLE, linewidth=2.2, label=f"mean of the {people['reference'].iloc[0]}"),
        Patch(color=_BAND, alpha=0.6, label="middle half of respondents"),
    ]
    _legend(figure, list(map(str, wide.index)), families, handles, "outside lower center")
    _made_with(figure, people)
    return figure


def _iso_curves(axes: Axes) -> None:
    """Curves of equal fidelity, F = r · 2 / (v + 1/v), labelled where they leave the plane on the left."""
    low, high = V_LIMITS
    v = np.geomspace(low, high, 200)
    for value in ISO:
        r = value * (v + 1 / v) / 2
        inside = r <= 1
        for sign in (1, -1):
            axes.plot(sign * r[inside], v[inside], color=_BAND, linewidth=0.8, zorder=0)
        top = min(1 / value + np.sqrt(1 / value**2 - 1), 0.9 * high)
        at = min(value * (top + 1 / top) / 2, 1)
        text = "±" + f"{value:g}".lstrip("0")
        axes.text(-at - 0.03, top, text, color=CHANCE, ha="right", va="center")
    axes.plot([_R_LIMITS[0], 1], [1, 1], color=CHANCE, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    axes.axvline(0, color="#e5e5e5", linewidth=0.8, zorder=0)


@themed
def fidelity_plane(table: pd.DataFrame, families: Mapping[str, str]) -> Figure:
    """Ordering r against spread v, with curves of equal fidelity, a panel for each mode.

    Points are numbered, with the key in a separate panel, because names would cover the points.

    Parameters
    ----------
    table
        mode, model, reference, r and v with their bounds; models without r are left out.
    families
        Family of each model.
    """
    modes, known = _modes(table), table.dropna(subset=["r", "v"]).round({"v": 9})
    by_spread = known.groupby("model")["v"].mean().round(9).sort_values(ascending=False, kind="stable")
    numbers = {str(model): number for number, model in enumerate(by_spread.index, start=1)}
    rows = (len(modes) + 2) // 2
    figure = Figure(figsize=(WIDTH, 0.5 + 2.6 * rows))
    panels = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, mode in zip(panels, modes, strict=False):
        _plane(axes, known[known["mode"] == mode], numbers, families)
        axes.set_title(mode)
        axes.label_outer()
    # The last two have no plane below them.
    for axes in panels[max(0, len(modes) - 2) : len(modes)]:
        axes.tick_params(labelbottom=True)
    key(panels[len(modes)], numbers, partial(_mark, families), _short)
    for axes in panels[len(modes) + 1 :]:
        axes.set_visible(False)
    figure.supxlabel("ordering r (on a grey curve fidelity F is the same; it has the sign of r)", fontsize=8)
    figure.supylabel("spread v: above 1 exaggerates, below 1 flattens", fontsize=8)
    _legend(figure, list(numbers), families)
    _made_with(figure, table)
    return figure


def _plane(axes: Axes, known: pd.DataFrame, numbers: Mapping[str, int], families: Mapping[str, str]) -> None:
    """The points of one mode, with their intervals and numbers."""
    _iso_curves(axes)
    axes.set(yscale="log", ylim=V_LIMITS, xlim=_R_LIMITS)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−.5", "0", ".5", "1"])
    axes.set_yticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"])
    axes.minorticks_off()
    for row in known.to_dict("records"):
        style, r = _mark(families, row["model"]), row["r"]
        v, low, high = np.clip([row["v"], row["v_low"], row["v_high"]], *V_LIMITS)
        for across, up in (([row["r_low"], row["r_high"]], [v, v]), ([r, r], [low, high])):
            axes.plot(across, up, color=style["color"], linewidth=0.8, alpha=0.55)
        axes.plot(r, v, clip_on=False, **style)
    _number_plane(axes, known.assign(number=known["model"].map(numbers)))


def _number_plane(axes: Axes, known: pd.DataFrame) -> None:
    """Number the points: on the right, joined by dotted lines, if their order is like the reference's.

    The others have their numbers beside them. Points at about the same height, or the same place, share one
    label. An arrow means that v is outside the plane.
    """
    known = known.assign(height=np.log(np.clip(known["v"], *V_LIMITS)))
    near = known["r"] >= _NEAR
    for group in groups(known[near], ["height"], _TOGETHER):
        height, end = float(np.exp(group["height"].mean())), np.fmax(group["r"], group["r_high"]).max()
        dotted: dict[str, Any] = {"color": CHANCE, "linewidth": 0.5, "linestyle": (0, (1, 2)), "zorder": 0}
        axes.plot([end, _NUMBERS_AT], [height] * 2, **dotted)
        axes.text(_NUMBERS_AT + 0.02, _inside(height), _numbered(group), va="center", **NUMBER)
    for group in groups(known[~near], ["r", "height"], _TOGETHER):
        height = _inside(float(np.exp(group["height"].max())))
        axes.text(float(group["r"].max()) + 0.05, height * 1.04, _numbered(group), va="bottom", **NUMBER)


def _inside(height: float) -> float:
    """A height that keeps a number clear of the plane's edges."""
    return float(np.clip(height, V_LIMITS[0] * 1.07, V_LIMITS[1] / 1.07))


def _numbered(group: pd.DataFrame) -> str:
    """The numbers of a group of points, with arrows if any are outside the plane."""
    low, high = V_LIMITS
    arrows = {" ↓": group["v"] < low, " ↑": group["v"] > high}
    return runs(group["number"]) + "".join(arrow for arrow, off in arrows.items() if off.any())


def _estimates(
    axes: Axes,
    rows: pd.DataFrame,
    columns: tuple[str, str, str],
    order: Sequence[str],
    families: Mapping[str, str],
) -> None:
    """A row for each model present, in the given order: the estimate on its interval."""
    estimate, low, high = columns
    for place, model in enumerate(order):
        if model in rows.index:
            row, style = rows.loc[model], _mark(families, model)
            axes.plot([row[low], row[high]], [place] * 2, color=style["color"], linewidth=1.1)
            axes.plot(row[estimate], place, **style)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)


@themed
def stability(table: pd.DataFrame, families: Mapping[str, str]) -> Figure:
    """Kendall's W of every model's runs, a panel for each mode.

    Parameters
    ----------
    table
        mode, model, w, w_low, w_high.
    families
        Family of each model.
    """
    modes = _modes(table)
    order = list(table.groupby("model")["w"].mean().round(9).sort_values(kind="stable").index)
    figure, panels = new_figure(1.0 + 0.2 * len(order), len(modes), sharey=True, squeeze=False)
    for axes, mode in zip(panels[0], modes, strict=True):
        rows = table[table["mode"] == mode].set_index("model")
        _estimates(axes, rows, ("w", "w_low", "w_high"), order, families)
        axes.set(xlim=(-0.04, 1.04), title=mode)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.grid(color=_FAINT, linewidth=0.7)
    panels[0][0].set_yticks(range(len(order)), [_short(model) for model in order])
    figure.supxlabel(
        "Kendall's W over runs, with its 95% interval: 0 no common order, 1 the same order", fontsize=8
    )
    _legend(figure, order, families)
    return figure


@themed
def tree_and_map(
    linkage: NDArray[np.float64],
    points: pd.DataFrame,
    themes: pd.DataFrame,
    shares: tuple[float, float],
    mode: str,
    names: Mapping[str, str],
    families: Mapping[str, str],
) -> Figure:
    """A dendrogram of models, numbered from the top, beside a map with the same numbers.

    Each axis of the map names the themes that rise and fall most along it.

    Parameters
    ----------
    linkage
        From scipy, over the rows of ``points``.
    points
        x and y by model; a row whose name ends in "reference" is drawn as people.
    themes
        x and y by theme: loadings.
    shares
        Share of the variance on each axis.
    mode
        Gives the unit of distances.
    names
        Name of each theme by key.
    families
        Family of each model.
    """
    models = [str(model) for model in points.index]
    leaves = hierarchy.leaves_list(linkage)[::-1]
    numbers = {models[leaf]: number for number, leaf in enumerate(leaves, start=1)}
    figure, (left, right) = new_figure(3.3, 2, width_ratios=(1, 1.35))
    _dendrogram(left, linkage, numbers, families)
    left.set_xlabel(f"distance of profiles, {DIFFERENCES[mode]}", fontsize=8)
    placed = points.set_axis(models).round(9)
    for model, (x, y) in zip(models, placed.to_numpy(), strict=True):
        right.plot(x, y, **_mark(families, model))
    _scale(right, placed)
    _number_points(right, placed, numbers)
    for axis, share, setter in zip("xy", shares, (right.set_xlabel, right.set_ylabel), strict=True):
        along = themes[axis].round(9)
        least, most = (names[str(theme)] for theme in (along.idxmin(), along.idxmax()))
        setter(f"← {least}  ({share:.0%})  {most} →", fontsize=8)
    right.set_title(f"map, {DIFFERENCES[mode]}")
    _legend(figure, models, families)
    return figure


def _scale(axes: Axes, points: pd.DataFrame) -> None:
    """The same scale on both axes, so that distances compare; about half as high as wide if points allow."""
    reach = 1.12 * float(np.abs(points["x"]).max())
    height = max(1.25 * float(np.abs(points["y"]).max()), 0.55 * reach)
    axes.set(xlim=(-reach, reach), ylim=(-height, height))
    axes.set_box_aspect(height / reach)
    ticks = np.asarray(MaxNLocator(9, steps=[1, 2, 5, 10]).tick_values(-reach, reach))
    axes.set_xticks(ticks[np.abs(ticks) <= reach])
    axes.set_yticks(ticks[np.abs(ticks) <= height])
    axes.tick_params(length=2)
    axes.grid(color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)


def _number_points(axes: Axes, points: pd.DataFrame, numbers: Mapping[str, int]) -> None:
    """Write numbers above points; points too close together share one label."""
    numbered = points.assign(number=points.index.map(numbers))
    for group in groups(numbered, ["x", "y"], 0.11 * max(np.abs(axes.get_xlim()))):
        above = (float(group["x"].mean()), float(group["y"].max()))
        style: dict[str, Any] = {**NUMBER, "ha": "center", "va": "bottom"}
        axes.annotate(runs(group["number"]), above, (0, 4), textcoords="offset points", **style)


def _dendrogram(
    axes: Axes, linkage: NDArray[np.float64], numbers: Mapping[str, int], families: Mapping[str, str]
) -> None:
    found = hierarchy.dendrogram(linkage, no_plot=True)
    for across, distances in zip(found["icoord"], found["dcoord"], strict=True):
        axes.plot(distances, across, color="#666666", linewidth=0.9)
    height = float(linkage[:, 2].max())
    for model, number in numbers.items():
        colour = PEOPLE if _is_people(model) else COLOURS[_family(families, model)]
        # scipy places leaves from the bottom up, ten units apart.
        at = (-0.03 * height, 10 * (len(numbers) - number) + 5)
        axes.text(*at, f"{number}  {_short(model)}", color=colour, va="center", **NUMBER)
    axes.set(xlim=(1.03 * height, -0.85 * height), yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= height])
    axes.tick_params(length=2)
    axes.set_title("tree (average linkage)")


@themed
def residuals(
    table: pd.DataFrame, mode: str, names: Mapping[str, str], families: Mapping[str, str]
) -> Figure:
    """Centred residual of every theme, a panel for each: right of zero, a model ranks it higher than people.

    Parameters
    ----------
    table
        mode, model, reference, theme, residual, low, high.
    names
        Name of each theme by key, in the order of the panels.
    families
        Family of each model.
    """
    chosen = table[table["mode"] == mode]
    size = chosen["residual"].abs().groupby(chosen["model"]).mean()
    order = list(size.round(9).sort_values(ascending=False, kind="stable").index)
    figure, panels = new_figure(1.2 + 0.19 * len(order), len(names), sharey=True, sharex=True)
    for axes, theme in zip(panels, names, strict=True):
        rows = chosen[chosen["theme"] == theme].set_index("model")
        axes.axvline(0, color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        _estimates(axes, rows, ("residual", "low", "high"), order, families)
        axes.set_title("\n".join(textwrap.wrap(names[theme], 14)), fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, symmetric=True))
        axes.grid(axis="y", color=_FAINT, linewidth=0.7)
    panels[0].set_yticks(range(len(order)), [_short(model) for model in order])
    side = "right of 0 the model puts the theme higher than the reference"
    figure.supxlabel(f"centred residual, {DIFFERENCES[mode]}: {side}", fontsize=8)
    _legend(figure, order, families)
    _made_with(figure, chosen)
    return figure
