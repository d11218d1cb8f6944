"""Figures of social value orientation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Wedge
from matplotlib.ticker import MultipleLocator

from deepvalues.paper.theme import CHANCE, COLOURS, WIDTH, in_order, new_figure, themed

#: Okabe and Ito's colours for the assigned values, ordered from giving to taking.
VALUE_COLOURS = {
    "altruistic": "#009E73",
    "prosocial": "#56B4E9",
    "individualistic": "#E69F00",
    "competitive": "#D55E00",
    "none": "#000000",
}
#: Marker shapes of the values, for readers and printers without colour.
VALUE_MARKS = {"altruistic": "^", "prosocial": "o", "individualistic": "s", "competitive": "v", "none": "D"}
#: Relative areas of the markers that would otherwise look too large.
_MARK_SIZES = {"D": 0.55, "s": 0.85}
PEOPLE = "#999999"
#: Scores of ideal answers on each scale.
_BEST = {"raw": 60.0, "corrected": 1.0}
_CENTRE, _RADIUS = 50, 50
_PER_ROW = 4
_FAINT = "#dddddd"
#: In ascending order of the angle.
CATEGORIES = ("competitive", "individualistic", "prosocial", "altruistic")
#: Range of the angle axis in degrees: all attainable angles, with space for the outer categories' names.
_ANGLES_SHOWN = (-22.0, 67.0)
#: Range of the sectors in degrees: the part of the ring that single choices can reach.
_RING_SHOWN = (-45.0, 90.0)
#: Distance between markers at the same point, in coins.
_BESIDE = 2.6
#: Distance of the sector names from the centre, in coins.
_NAMES_FROM = 11


def _short(model: str) -> str:
    return model.removeprefix("agent-svo-")


def _between(bounds: Sequence[float], shown: tuple[float, float]) -> Iterator[tuple[str, float, float]]:
    """Each category with its lowest and highest angle within the range shown."""
    return zip(CATEGORIES, [shown[0], *bounds], [*bounds, shown[1]], strict=True)


def _ring(axes: Axes, payoffs: pd.DataFrame, bounds: Sequence[float]) -> None:
    """The part of the ring that answers can reach, with items as chords and categories as sectors."""
    for value, low, high in _between(bounds, _RING_SHOWN):
        sector = Wedge((_CENTRE, _CENTRE), _RADIUS, low, high, color=VALUE_COLOURS[value], alpha=0.13)
        axes.add_patch(sector).set_linewidth(0)
    for _, item in payoffs[payoffs["block"] == "primary"].groupby("item"):
        axes.plot(item["self"], item["other"], color="white", linewidth=0.8, zorder=1)
    axes.set(xlim=(44, 104), ylim=(8, 106), aspect="equal", xticks=[50, 100], yticks=[50, 100])
    axes.tick_params(length=2)


def _name_sectors(axes: Axes, bounds: Sequence[float]) -> None:
    """Write each category's name along the middle of its sector."""
    for value, low, high in _between(bounds, _RING_SHOWN):
        middle = np.radians((low + high) / 2)
        x, y = _CENTRE + _NAMES_FROM * np.cos(middle), _CENTRE + _NAMES_FROM * np.sin(middle)
        along = {"rotation": np.degrees(middle), "rotation_mode": "anchor", "ha": "left", "va": "center"}
        axes.text(x, y, value, color="#444444", **along)


def _points(of_model: pd.DataFrame) -> pd.DataFrame:
    """The points that trials reached: value, mean_self, mean_other, trials; most trials first.

    Values at the same point are placed side by side along its angle, so that they stay in its sector; from
    giving to taking, outwards.
    """
    key = ["mean_self", "mean_other"]
    points = of_model.groupby([*key, "value"]).size().reset_index(name="trials")
    points = points.sort_values("value", key=lambda values: values.map(list(VALUE_COLOURS).index))
    together = points.groupby(key)["value"]
    beside = _BESIDE * (together.cumcount() - (together.transform("size") - 1) / 2)
    angle = np.arctan2(points["mean_other"] - _CENTRE, points["mean_self"] - _CENTRE)
    points["mean_self"] += beside * np.cos(angle)
    points["mean_other"] += beside * np.sin(angle)
    # Points with equally many trials keep an order that mixes values, or the last value would hide others.
    return points.sort_index().sort_values("trials", ascending=False, kind="stable")


@themed
def slider_ring(trials: pd.DataFrame, payoffs: pd.DataFrame, bounds: Sequence[float]) -> Figure:
    """Trials in the plane of payoffs, one panel per model.

    A marker is a point that trials reached. Its size shows their number, its colour and shape the assigned
    value; if the sector has the same colour, the trials are in that value's category.

    Parameters
    ----------
    trials
        model, value, mean_self, mean_other; incomplete trials are left out.
    payoffs
        item, block, self, other.
    bounds
        Angles between categories, ascending, in degrees.
    """
    models = list(dict.fromkeys(trials["model"]))
    rows = -(-len(models) // _PER_ROW)
    figure = Figure(figsize=(WIDTH, 0.5 + 2.3 * rows))
    panels = figure.subplots(rows, _PER_ROW, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[len(models) :]:
        axes.set_visible(False)
    known = trials.dropna(subset="mean_self").round({"mean_self": 3, "mean_other": 3})
    for axes, model in zip(panels, models, strict=False):
        _ring(axes, payoffs, bounds)
        axes.set_title(_short(model), fontsize=8)
        of_model = known[known["model"] == model]
        for row in _points(of_model).to_dict("records"):
            colour, mark = VALUE_COLOURS[row["value"]], VALUE_MARKS[row["value"]]
            size = (5 + 45 * row["trials"] / len(of_model)) * _MARK_SIZES.get(mark, 1.0)
            style = {"color": colour, "marker": mark, "alpha": 0.8, "linewidth": 0, "zorder": 3}
            axes.scatter(row["mean_self"], row["mean_other"], s=size, **style)
    _name_sectors(panels[0], bounds)
    figure.supxlabel("mean coins for oneself", fontsize=8)
    figure.supylabel("mean coins for the other", fontsize=8)
    _value_legend(figure, [value for value in VALUE_COLOURS if value in set(trials["value"])])
    return figure


def _value_legend(figure: Figure, values: Sequence[str]) -> None:
    labels = [{"none": "no value assigned"}.get(value, value) for value in values]
    handles = [
        Line2D([], [], marker=VALUE_MARKS[value], color=VALUE_COLOURS[value], linestyle="", label=label)
        for value, label in zip(values, labels, strict=True)
    ]
    title = "value assigned (marks) and category of the answers (sectors)"
    style: Mapping[str, Any] = {"title_fontsize": 8, "loc": "outside upper center", "ncols": len(values)}
    figure.legend(handles=handles, title=title, **style)


@themed
def angle_distributions(trials: pd.DataFrame, histogram: pd.DataFrame, bounds: Sequence[float]) -> Figure:
    """Histograms of each model's angles, one per row, in front of the distribution of people.

    Parameters
    ----------
    trials
        model, family, angle, for trials without an assigned value; incomplete ones are left out.
    histogram
        bin_low_degrees, bin_width_degrees, count: people by angle.
    bounds
        Angles between categories, ascending, in degrees.
    """
    known = trials.dropna(subset="angle")
    means = known.groupby(["model", "family"])["angle"].mean().reset_index()
    order = in_order(means, "angle")
    figure = Figure(figsize=(WIDTH, 0.75 + 0.42 * (len(order) + 1)))
    ratios = {"height_ratios": [1.6] + [1.0] * len(order)}
    panels = figure.subplots(len(order) + 1, 1, sharex=True, squeeze=False, gridspec_kw=ratios)[:, 0]
    _people(panels[0], histogram)
    _label_row(panels[0], "people", int(histogram["count"].sum()))
    for axes, name, family in zip(panels[1:], order["model"], order["family"], strict=True):
        of_model = known.loc[known["model"] == name, "angle"]
        _people(axes, histogram, alpha=0.35)
        _bars(axes, of_model, histogram, COLOURS[family])
        _label_row(axes, name, len(of_model))
    for axes in panels:
        _bounds(axes, bounds)
    _name_categories(panels[0], bounds)
    panels[-1].set(xlabel="angle in degrees; each row's highest bar is 1", xlim=_ANGLES_SHOWN)
    handles = [Patch(color=PEOPLE, label="people")]
    handles += [Patch(color=COLOURS[family], label=f"{family}s") for family in dict.fromkeys(order["family"])]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _people(axes: Axes, histogram: pd.DataFrame, alpha: float = 1.0) -> None:
    """The histogram of people, scaled to a highest bar of 1."""
    heights = histogram["count"] / histogram["count"].max()
    low, width = histogram["bin_low_degrees"], histogram["bin_width_degrees"]
    axes.bar(low, heights, width, align="edge", color=PEOPLE, alpha=alpha, linewidth=0)


def _bars(axes: Axes, angles: pd.Series[float], histogram: pd.DataFrame, colour: str) -> None:
    """Angles in the bins of the histogram of people, scaled to a highest bar of 1, in narrower bars."""
    low = histogram["bin_low_degrees"].to_numpy(dtype=float)
    width = float(histogram["bin_width_degrees"].iloc[0])
    counts, _ = np.histogram(angles.round(9), np.append(low, low[-1] + width))
    heights = counts / counts.max()
    axes.bar(low + 0.2 * width, heights, 0.6 * width, align="edge", color=colour, linewidth=0)


def _label_row(axes: Axes, name: str, size: int) -> None:
    """Label a row with its name and the number of its trials or people."""
    axes.set_ylabel(f"{_short(name)} ({size:,})", rotation=0, ha="right", va="center", fontsize=8)
    axes.set(yticks=[], ylim=(0, 1.08))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=2)


def _bounds(axes: Axes, bounds: Sequence[float]) -> None:
    """Dotted lines between the categories."""
    for bound in bounds:
        axes.axvline(bound, color=CHANCE, linewidth=0.6, linestyle=(0, (2, 2)), zorder=0)


def _name_categories(axes: Axes, bounds: Sequence[float]) -> None:
    """Write each category's name above its part of the axis."""
    for name, low, high in _between(bounds, _ANGLES_SHOWN):
        axes.text((low + high) / 2, 1.12, name, ha="center", va="bottom")


@themed
def value_rationality(table: pd.DataFrame) -> Figure:
    """Value rationality, raw and corrected for chance: a row per value and model, a dot per prompting.

    Parameters
    ----------
    table
        model, value, goal, raw, corrected, random; optionally raw_low … corrected_high for whiskers.
    """
    means = table.groupby("model")["raw"].mean().round(9)
    models = list(means.sort_values(ascending=False, kind="stable").index)
    values = [value for value in VALUE_COLOURS if value in set(table["value"])]
    block = len(models) + 1.6
    places = {(v, m): -(i * block + j) for i, v in enumerate(values) for j, m in enumerate(models)}
    figure, panels = new_figure(0.75 + 0.155 * block * len(values), 2, sharey=True)
    for axes, scale in zip(panels, ("raw", "corrected"), strict=True):
        for value in values:
            rows = [places[value, model] for model in models]
            of_value = table[table["value"] == value]
            chance = float(of_value["random"].iloc[0]) if scale == "raw" else 0.0
            span = [min(rows) - 0.5, max(rows) + 0.5]
            axes.plot([chance] * 2, span, color=CHANCE, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
            axes.plot([of_value[scale].mean()] * 2, span, color=VALUE_COLOURS[value], linewidth=3, alpha=0.3)
            _dots(axes, of_value, scale, places, VALUE_COLOURS[value])
        axes.axvline(_BEST[scale], color=_FAINT, linewidth=0.8, zorder=0)
        axes.tick_params(axis="y", length=0)
    _name_rows(panels[0], places, values)
    panels[0].set_xlabel("raw: degrees (60 at best)")
    panels[1].set_xlabel("corrected: 0 random answers, 1 ideal ones")
    panels[1].xaxis.set_major_locator(MultipleLocator(0.5))
    shapes = [
        *_prompting(),
        Line2D([], [], color="black", linewidth=3, alpha=0.3, label="mean"),
        Line2D([], [], color=CHANCE, linestyle=(0, (3, 2)), linewidth=0.9, label="random answers"),
    ]
    figure.legend(handles=shapes, loc="outside lower center", ncols=4)
    return figure


def _prompting() -> list[Line2D]:
    """Legend handles for filled and open dots."""
    faces = {"with goal prompting": "black", "without": "white"}
    style: dict[str, Any] = {"color": "black", "marker": "o", "markersize": 4, "linestyle": ""}
    return [Line2D([], [], markerfacecolor=face, label=label, **style) for label, face in faces.items()]


def _dots(
    axes: Axes, table: pd.DataFrame, scale: str, places: Mapping[tuple[str, str], float], colour: str
) -> None:
    """A value's dots, with whiskers if the table has bounds."""
    for row in table.to_dict("records"):
        place = places[row["value"], row["model"]] + (0.16 if row["goal"] else -0.16)
        if f"{scale}_low" in table:
            axes.plot([row[f"{scale}_low"], row[f"{scale}_high"]], [place] * 2, color=colour, linewidth=0.7)
        _point(axes, (row[scale], place), colour, "o", filled=row["goal"], size=3, edge=0.8)


def _point(
    axes: Axes, at: tuple[float, float], colour: str, mark: str, *, filled: bool, size: float, edge: float
) -> None:
    """A point: filled for goal prompting, open without."""
    face = colour if filled else "white"
    axes.plot(*at, mark, color=colour, markerfacecolor=face, markersize=size, markeredgewidth=edge)


def _name_rows(axes: Axes, places: Mapping[tuple[str, str], float], values: Sequence[str]) -> None:
    """Label the rows with models, and each block with its value."""
    axes.set_yticks(list(places.values()), [_short(model) for _, model in places])
    axes.set_ylim(min(places.values()) - 1, 1.4)
    style: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
    for value in values:
        top = max(place for (name, _), place in places.items() if name == value)
        axes.text(-0.02, top + 1, value, fontweight="bold", **style)


@themed
def steering(table: pd.DataFrame, targets: Mapping[str, float], people: float) -> Figure:
    """How far published models move with the assigned value, beside their lean to neutral values.

    Parameters
    ----------
    table
        From `analysis.published.implied`.
    targets
        Target angles of the values, in degrees.
    people
        Mean angle of people without an assigned value, in degrees.
    """
    order = table[table["goal"]].sort_values("range", kind="stable")["model"]
    places = {model: float(place) for place, model in enumerate(order)}
    figure, (left, right) = new_figure(0.9 + 0.3 * len(places), 2, sharey=True, gridspec_kw={"wspace": 0.1})
    ends, style = ("competitive", "altruistic"), {"size": 4.5, "edge": 0.9}
    for row in table.to_dict("records"):
        place = places[row["model"]] + (0.17 if row["goal"] else -0.17)
        left.plot([row[end] for end in ends], [place] * 2, color=_FAINT, linewidth=1.4, zorder=1)
        for end in ends:
            _point(left, (row[end], place), VALUE_COLOURS[end], VALUE_MARKS[end], filled=row["goal"], **style)
        right.plot([row["lean_low"], row["lean_high"]], [place] * 2, color="black", linewidth=0.8)
        _point(right, (row["lean"], place), "black", "o", filled=row["goal"], **style)
    for end in ends:
        left.axvline(targets[end], color=VALUE_COLOURS[end], linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    left.axvline(people, color=PEOPLE, linewidth=0.9, linestyle=":", zorder=0)
    blind = float(table["blind_lean"].iloc[0])
    right.axvline(blind, color=CHANCE, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    right.axvline(0, color=_FAINT, linewidth=0.9, zorder=0)
    left.set_yticks(list(places.values()), list(places), fontsize=8)
    left.tick_params(axis="y", length=0)
    left.set_xlabel("implied angle, degrees")
    right.set_xlabel("lean towards neutral values, degrees")
    for axes, place, words in (
        (left, targets["competitive"], "competitive\ntarget"),
        (left, people, "people"),
        (left, targets["altruistic"], "altruistic\ntarget"),
        (right, 0.0, "follows\nevery value"),
        (right, blind, "ignores\nevery value"),
    ):
        axes.annotate(words, (place, 1), (0, 2), axes.get_xaxis_transform(), "offset points", ha="center")
    figure.legend(handles=_prompting(), loc="outside lower center", ncols=2, fontsize=8)
    return figure
