"""The common style of all figures: sizes, colours, fonts, order of models."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster import hierarchy

from deepvalues.ask.registry import HEAD

P = ParamSpec("P")

#: Width of the PDF's text column in inches; figures are printed at their actual size.
WIDTH = 158 / 25.4
#: Okabe and Ito's palette, suitable for any colour vision; grey for published results.
COLOURS = {
    "language model": "#0072B2",
    HEAD: "#CC79A7",
    "text learner": "#009E73",
    "reference agent": "#D55E00",
    "published": "#555555",
}
#: Marker shapes and sizes of the families, for readers and printers without colour.
MARKS = {
    "language model": ("o", 4.0),
    HEAD: ("v", 4.5),
    "text learner": ("^", 4.5),
    "reference agent": ("D", 3.2),
    "published": ("s", 4.0),
}
FAMILY_ORDER = ("language model", HEAD, "text learner", "reference agent", "published")
#: Grey dark enough for text on white.
CHANCE = "#737373"
#: Reference lines: chance, a nominal rate, a diagonal.
DASHED: dict[str, Any] = {"color": CHANCE, "linewidth": 0.8, "linestyle": (0, (4, 3))}
#: Colour map for rates: orange for the surface, blue for the value, white for chance.
RATE_MAP = sns.diverging_palette(35, 245, s=85, l=55, as_cmap=True)
#: Colours of lines of one family in one panel.
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A3D9A")
PNG_DPI = 200

#: No text is smaller than 8 points.
_SETTINGS: dict[Any, Any] = {
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "legend.frameon": False,
    "svg.fonttype": "path",
    # A fixed salt makes the ids in an SVG, and thus its bytes, the same on every run.
    "svg.hashsalt": "deepvalues",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def use_bundled_fonts() -> None:
    """Restrict matplotlib to its bundled fonts.

    Another version of the same font on a machine changed the bytes of figures and the positions of labels.
    """
    manager = font_manager.fontManager
    manager.ttflist = []
    for file in sorted((Path(mpl.get_data_path()) / "fonts" / "ttf").glob("*.ttf")):
        manager.addfont(file)


use_bundled_fonts()


def themed(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorator that draws a figure in the theme without changing global settings."""

    @wraps(draw)
    def in_theme(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return in_theme


def new_figure(height: float, columns: int = 1, rows: int = 1, **settings: Any) -> tuple[Figure, Any]:
    """A figure of the column's width, without pyplot, so that no figure stays open."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, **settings)


def family_mark(family: str) -> dict[str, Any]:
    """Style of a family's points in panels with several families: colour, marker shape and size."""
    marker, size = MARKS[family]
    return {"marker": marker, "color": COLOURS[family], "markersize": size}


def chance_line(axes: Axes, at: float) -> None:
    """Draw a vertical line at chance, labelled at the free height ``at``."""
    axes.axvline(0.5, zorder=0, **DASHED)
    axes.text(0.505, at, "chance", color=CHANCE, va="center")


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes for a line by its number (from 0), distinct within one panel."""
    return {"color": _LINES[number % len(_LINES)], "linestyle": "--" if number // len(_LINES) % 2 else "-"}


def slant(axes: Axes) -> None:
    """Rotate the labels below columns, so that each ends below the middle of its column."""
    for label in axes.get_xticklabels():
        label.set(rotation=40, horizontalalignment="right", rotation_mode="anchor")


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions apart to keep a gap, as little as order and bounds allow.

    Parameters
    ----------
    positions
        Positions in ascending order.
    """
    moved: list[float] = []
    for position in positions:
        moved.append(max(position, moved[-1] + gap) if moved else max(position, low))
    ceiling = high
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


def label_points(
    axes: Axes, points: Sequence[tuple[float, float]], names: Mapping[str, str], at: float, gap: float
) -> None:
    """Label points in a column at ``at``, each joined to its point by a line in its colour.

    Points are in ascending order of height; ``gap`` is the minimum distance between labels.
    """
    low, high = axes.get_ylim()
    heights = spread([y for _, y in points], gap, low + gap / 2, high - gap / 2)
    for point, (name, colour), height in zip(points, names.items(), heights, strict=True):
        hairline: dict[str, Any] = {"arrowstyle": "-", "color": colour, "linewidth": 0.6}
        # Start at the middle of the label's left edge, so that no line crosses the labels above and below.
        hairline |= {"relpos": (0.0, 0.5), "shrinkA": 1, "shrinkB": 2}
        axes.annotate(name, point, (at, height), va="center", arrowprops=hairline)


def image(figure: Figure, kind: str) -> bytes:
    """A figure as SVG or PNG, with the same bytes on every run."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context(_SETTINGS):
        figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return stable_ids(buffer.getvalue()) if kind == "svg" else buffer.getvalue()


def stable_ids(svg: bytes) -> bytes:
    """An SVG with matplotlib's hashed ids replaced by numbers in order of appearance.

    Matplotlib hashes unrounded positions, whose last bit varies between runs of the layout solver. A hash of
    the visible content makes the numbers unique across figures.
    """
    hashed = list(dict.fromkeys(re.findall(rb'\bid="((?:[A-Za-z]|C\w+_)[0-9a-f]{10})"', svg)))
    renumbered = {name: str(number).encode() for number, name in enumerate(hashed, start=1)}
    if not renumbered:
        return svg
    found = re.compile(rb"(?<=[\"#])(?:" + b"|".join(map(re.escape, hashed)) + rb")(?=[\")])")
    shown = found.sub(lambda match: renumbered[match[0]], svg)
    prefix = b"i" + hashlib.sha256(shown).hexdigest()[:8].encode() + b"-"
    return found.sub(lambda match: prefix + renumbered[match[0]], svg)


def in_order(frame: pd.DataFrame, rate: str = "dvgr") -> pd.DataFrame:
    """Rows sorted by family in the paper's order, then by descending rate, then by name."""
    family = pd.Categorical(frame["family"], FAMILY_ORDER, ordered=True)
    ordered = frame.assign(_family=family).sort_values(
        ["_family", rate, "model"], ascending=[True, False, True], kind="stable"
    )
    return ordered.drop(columns="_family").reset_index(drop=True)


# ---- numbered points with a key, for points too close for labels ----

#: Text style of the numbers and the names in the key.
NUMBER: dict[str, Any] = {"fontsize": 8}


def runs(numbers: Iterable[int]) -> str:
    """Sorted numbers as text, three or more in a row as a range: "1, 2, 4–7"."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    shown = (f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found)
    return ", ".join(shown)


def groups(points: pd.DataFrame, columns: Sequence[str], near: float) -> list[pd.DataFrame]:
    """Groups of nearby points by single linkage: each is within ``near`` of another point of its group."""
    if len(points) < 2:
        return [points] if len(points) else []
    positions = points[list(columns)].to_numpy(dtype=float).round(9)
    numbers = hierarchy.fcluster(hierarchy.linkage(positions), near, criterion="distance")
    return [group for _, group in points.groupby(numbers)]


def key(
    axes: Axes,
    numbers: Mapping[str, int],
    mark: Callable[[str], Mapping[str, Any]],
    name: Callable[[str], str] = str,
    rows: int = 18,
) -> None:
    """Draw the key in a panel of its own: the number, marker and name of each model, from the top.

    Parameters
    ----------
    numbers
        The number of each model.
    mark
        The style of a model's points.
    name
        A model's name in the key.
    rows
        Number of names at normal spacing; more names are set closer together.
    """
    axes.set_axis_off()
    step = 1 / max(len(numbers), rows)
    for model, number in numbers.items():
        height = 1 - (number - 0.5) * step
        axes.plot(0.1, height, transform=axes.transAxes, clip_on=False, **mark(model))
        for away, text, side in ((-5, f"{number}", "right"), (6, name(model), "left")):
            style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", **NUMBER}
            axes.annotate(text, (0.1, height), (away, 0), ha=side, va="center", **style)
