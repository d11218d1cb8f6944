"""Figures of the value-priority profiles; each says which reference it was made with."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram

from deepvalues.figures.theme import CHANCE, COLOURS, WIDTH, label_points, new_figure, themed

MODE_ORDER = ("ranking", "rating", "allocation", "open")
UNITS = {
    "ranking": "priority, 7 − rank",
    "rating": "rating, 1 to 7",
    "allocation": "points of 100",
    "open": "share of coded sentences, %",
}
PEOPLE = "#222222"
_BAND = "#cccccc"
#: Fidelity on the curves of the plane.
ISO = (0.25, 0.5, 0.8, 0.95)
#: Points left of this r are named where they are.
_NEAR = 0.45
#: v is drawn from a quarter to four times the reference's spread; what lies beyond is drawn at the edge.
V_LIMITS = (0.25, 4.0)


def _short(model: str) -> str:
    return model.removeprefix("agent-profile-")


def _modes(frame: pd.DataFrame) -> list[str]:
    return [mode for mode in MODE_ORDER if mode in set(frame["mode"])]


def _colour(families: Mapping[str, str], model: str) -> str:
    return COLOURS[families.get(model, "language model")]


def _made_with(figure: Figure, frame: pd.DataFrame) -> None:
    """Say which reference a figure was made with, in a line of its own above it."""
    (reference,) = set(frame["reference"])
    figure.suptitle(f"made with a {reference}", fontsize=7.5, x=0.995, ha="right", color="#8a1c1c")


def _wrapped(names: Mapping[str, str], themes: Sequence[str]) -> list[str]:
    return ["\n".join(textwrap.wrap(names[theme], 15)) for theme in themes]


@themed
def profile_lines(
    profiles: pd.DataFrame,
    reference: pd.DataFrame,
    mode: str,
    names: Mapping[str, str],
    families: Mapping[str, str],
) -> Figure:
    """Mean profiles of all models in a mode over the reference's mean and the middle half of respondents.

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
    figure, axes = new_figure(3.6)
    places = np.arange(len(order))
    axes.fill_between(places, people["q25"], people["q75"], color=_BAND, linewidth=0, alpha=0.6)
    for model, means in wide.iterrows():
        colour = _colour(families, str(model))
        axes.plot(places, means, color=colour, linewidth=1, alpha=0.75, marker="o", markersize=2.5)
    axes.plot(places, people["mean"], color=PEOPLE, linewidth=2.2, zorder=5)
    axes.set_xticks(places, _wrapped(names, order))
    axes.set_xlim(-0.2, len(order) - 1 + 1.15)
    axes.set_ylabel(UNITS[mode])
    last = wide.iloc[:, -1].round(9).sort_values(kind="stable")
    gap = 0.052 * float(np.ptp(axes.get_ylim()))
    points = [(places[-1], float(mean)) for mean in last]
    label_points(axes, points, [_short(str(model)) for model in last.index], at=places[-1] + 0.25, gap=gap)
    handles: list[Any] = [
        Line2D([], [], color=PEOPLE, linewidth=2.2, label=f"mean of the {people['reference'].iloc[0]}"),
        Patch(color=_BAND, alpha=0.6, label="middle half of respondents"),
    ]
    axes.legend(handles=handles, loc="lower left", fontsize=7)
    _made_with(figure, people)
    return figure


def _iso_curves(axes: Axes) -> None:
    """Curves of equal fidelity, F = r · 2 / (v + 1/v), named where they leave the plane on the left."""
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
        axes.text(-at - 0.03, top, text, fontsize=6, color=CHANCE, ha="right", va="center")
    axes.axhline(1, color=CHANCE, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    axes.axvline(0, color="#e5e5e5", linewidth=0.8, zorder=0)


@themed
def fidelity_plane(table: pd.DataFrame, families: Mapping[str, str]) -> Figure:
    """Ordering r against calibration v, with curves of equal fidelity, a panel for each mode.

    Parameters
    ----------
    table
        mode, model, reference, r and v with their bounds; models without r are left out.
    families
        Family of each model.
    """
    modes = _modes(table)
    rows = -(-len(modes) // 2)
    figure = Figure(figsize=(WIDTH, 0.3 + 2.75 * rows))
    panels = figure.subplots(rows, min(2, len(modes)), sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels[len(modes) :]:
        panel.set_visible(False)
    for axes, mode in zip(panels, modes, strict=False):
        known = table[table["mode"] == mode].dropna(subset=["r", "v"])
        known = known.round({"v": 9}).sort_values("v", kind="stable")
        _iso_curves(axes)
        for row in known.itertuples():
            colour = _colour(families, str(row.model))
            v, low, high = np.clip([row.v, row.v_low, row.v_high], *V_LIMITS)
            axes.plot([row.r_low, row.r_high], [v, v], color=colour, linewidth=0.8, alpha=0.6)
            axes.plot([row.r, row.r], [low, high], color=colour, linewidth=0.8, alpha=0.6)
            axes.plot(row.r, v, "o", color=colour, markersize=3.5)
        axes.set(yscale="log", ylim=V_LIMITS, xlim=(-1.3, 2.05), title=mode)
        axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−.5", "0", ".5", "1"])
        axes.set_yticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"])
        axes.minorticks_off()
        _name_points(axes, known)
    for axes in panels[: len(modes)]:
        axes.label_outer()
    figure.supxlabel("ordering r (on a grey curve fidelity F is the same; it has the sign of r)", fontsize=9)
    figure.supylabel("calibration v: above 1 exaggerates, below 1 flattens", fontsize=9)
    _made_with(figure, table)
    return figure


def _name_points(axes: Axes, known: pd.DataFrame) -> None:
    """Names in a column on the right, but beside their points where these are far from it."""
    r_all = known["r"].to_numpy(dtype=float)
    v_all = np.clip(known["v"].to_numpy(dtype=float), *V_LIMITS)
    names = [_short(str(model)) for model in known["model"]]
    points = [(float(r), float(v), name) for r, v, name in zip(r_all, v_all, names, strict=True)]
    for r, v, name in points:
        if r < _NEAR:
            axes.text(r + 0.04, v * 1.04, name, fontsize=6.5, va="bottom")
    near = [(r, v, name) for r, v, name in points if r >= _NEAR]
    label_points(axes, [(r, v) for r, v, _ in near], [name for _, _, name in near], at=1.2, gap=0.2)


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
    figure, panels = new_figure(0.8 + 0.2 * len(order), len(modes), sharey=True, squeeze=False)
    for axes, mode in zip(panels[0], modes, strict=True):
        rows = table[table["mode"] == mode].set_index("model")
        for place, model in enumerate(order):
            if model in rows.index:
                row = rows.loc[model]
                colour = _colour(families, model)
                axes.plot([row["w_low"], row["w_high"]], [place] * 2, color=colour, linewidth=1.1)
                axes.plot(row["w"], place, "o", color=colour, markersize=4)
        axes.set(xlim=(-0.04, 1.04), title=mode)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#eeeeee", linewidth=0.7)
        axes.set_axisbelow(True)
    panels[0][0].set_yticks(range(len(order)), [_short(model) for model in order])
    figure.supxlabel(
        "Kendall's W over runs, with its interval: 0 no common order, 1 the same order", fontsize=9
    )
    return figure


@themed
def tree_and_map(
    linkage: NDArray[np.float64],
    points: pd.DataFrame,
    themes: pd.DataFrame,
    shares: tuple[float, float],
    names: Mapping[str, str],
    families: Mapping[str, str],
) -> Figure:
    """A dendrogram of models beside their map, whose axes name the themes that gain most either way.

    Parameters
    ----------
    linkage
        From scipy, over the rows of ``points``.
    points
        x and y by model; a row whose name ends in "reference" is drawn as people.
    themes
        x and y by theme: loadings.
    shares
        Of the variance, on either axis.
    names
        Name of each theme by key.
    families
        Family of each model.
    """
    figure, (left, right) = new_figure(3.2, 2, width_ratios=(1, 1.5))
    _dendrogram(left, linkage, list(points.index), families)
    reach = 1.12 * float(np.abs(points.to_numpy()).max())
    for model, (x, y) in zip(points.index, points.to_numpy(), strict=True):
        right.plot(x, y, **_marker(str(model), families))
    upwards = points.round(9).sort_values("y", kind="stable")
    coordinates = [(float(x), float(y)) for x, y in upwards.to_numpy()]
    right.set(xlim=(-reach, 2.0 * reach), ylim=(-reach, reach), xticks=[], yticks=[])
    # One scale on both axes, or distances would mislead.
    right.set_box_aspect(2 / 3)
    labels = [_short(str(model)) for model in upwards.index]
    label_points(right, coordinates, labels, at=1.18 * reach, gap=0.1 * reach)
    for axis, share, setter in zip("xy", shares, (right.set_xlabel, right.set_ylabel), strict=True):
        along = themes[axis].round(9)
        least, most = (names[str(theme)] for theme in (along.idxmin(), along.idxmax()))
        setter(f"← {least}   ({share:.0%})   {most} →", fontsize=7)
    right.set_title("map of centred profiles")
    return figure


def _is_people(model: str) -> bool:
    return model.endswith(" reference")


def _marker(model: str, families: Mapping[str, str]) -> dict[str, Any]:
    if _is_people(model):
        return {"marker": "s", "color": PEOPLE, "markersize": 5, "zorder": 5}
    return {"marker": "o", "color": _colour(families, model), "markersize": 4}


def _dendrogram(
    axes: Axes, linkage: NDArray[np.float64], models: Sequence[str], families: Mapping[str, str]
) -> None:
    found = dendrogram(linkage, no_plot=True)
    for across, distances in zip(found["icoord"], found["dcoord"], strict=True):
        axes.plot(distances, across, color="#666666", linewidth=0.9)
    leaves = [models[leaf] for leaf in found["leaves"]]
    height = float(linkage[:, 2].max())
    for place, model in enumerate(leaves):
        colour = PEOPLE if _is_people(model) else _colour(families, model)
        axes.text(-0.03 * height, 5 + 10 * place, _short(model), color=colour, fontsize=7, va="center")
    axes.set(xlim=(1.03 * height, -0.75 * height), yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= height])
    axes.set(xlabel="distance of centred profiles", title="tree (average linkage)")


@themed
def residuals(
    table: pd.DataFrame, mode: str, names: Mapping[str, str], families: Mapping[str, str]
) -> Figure:
    """Centred residual of every theme, a panel for each: right of zero a model puts it higher than people do.

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
    figure, panels = new_figure(1.0 + 0.19 * len(order), len(names), sharey=True, sharex=True)
    for axes, theme in zip(panels, names, strict=True):
        rows = chosen[chosen["theme"] == theme].set_index("model")
        axes.axvline(0, color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        for place, model in enumerate(order):
            row = rows.loc[model]
            colour = _colour(families, model)
            axes.plot([row["low"], row["high"]], [place] * 2, color=colour, linewidth=1.1)
            axes.plot(row["residual"], place, "o", color=colour, markersize=3.5)
        axes.set_title("\n".join(textwrap.wrap(names[theme], 14)), fontsize=7.5)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(order)), [_short(model) for model in order])
    figure.supxlabel(f"centred residual ({UNITS[mode].removesuffix(', 7 − rank')})", fontsize=9)
    _made_with(figure, chosen)
    return figure
