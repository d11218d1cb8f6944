"""One look for all figures: sizes, colours, fonts, and the order of models."""

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

#: Width of the text column of the PDF, in inches: there figures are printed in their own size.
WIDTH = 158 / 25.4
#: Okabe and Ito's palette, told apart by readers with any colour vision; grey for what is in print.
COLOURS = {
    "language model": "#0072B2",
    HEAD: "#CC79A7",
    "text learner": "#009E73",
    "reference agent": "#D55E00",
    "published": "#555555",
}
#: Marks of the families and their sizes, for readers and printers without colour.
MARKS = {
    "language model": ("o", 4.0),
    HEAD: ("v", 4.5),
    "text learner": ("^", 4.5),
    "reference agent": ("D", 3.2),
    "published": ("s", 4.0),
}
FAMILY_ORDER = ("language model", HEAD, "text learner", "reference agent", "published")
#: As dark as lettering has to be on white.
CHANCE = "#737373"
#: Lines to compare with: chance, a nominal rate, a diagonal.
DASHED: dict[str, Any] = {"color": CHANCE, "linewidth": 0.8, "linestyle": (0, (4, 3))}
#: Rates: orange follows the surface, blue the value, white is chance.
RATE_MAP = sns.diverging_palette(35, 245, s=85, l=55, as_cmap=True)
#: Lines of one family in one panel.
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A3D9A")
PNG_DPI = 200

#: No lettering is smaller than 8 points.
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
    # A fixed salt makes the ids inside an SVG, and so its bytes, the same on every run.
    "svg.hashsalt": "deepvalues",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def use_bundled_fonts() -> None:
    """Let matplotlib find only the fonts that it brings along.

    A machine can have another version of the same font, and gave figures other bytes, and other places to
    labels, than the committed ones.
    """
    manager = font_manager.fontManager
    manager.ttflist = []
    for file in sorted((Path(mpl.get_data_path()) / "fonts" / "ttf").glob("*.ttf")):
        manager.addfont(file)


use_bundled_fonts()


def themed(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the theme, and leave the settings of everyone else alone."""

    @wraps(draw)
    def in_theme(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return in_theme


def new_figure(height: float, columns: int = 1, rows: int = 1, **settings: Any) -> tuple[Figure, Any]:
    """A figure of the column's width without pyplot, so that nothing stays open."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, **settings)


def family_mark(family: str) -> dict[str, Any]:
    """How points of a family are drawn where families mix and colour is not all that tells them apart."""
    marker, size = MARKS[family]
    return {"marker": marker, "color": COLOURS[family], "markersize": size}


def chance_line(axes: Axes, at: float) -> None:
    """A vertical line where a rate says nothing, named at height ``at``, where nothing else is drawn."""
    axes.axvline(0.5, zorder=0, **DASHED)
    axes.text(0.505, at, "chance", color=CHANCE, va="center")


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes that tell the lines of one panel apart, for the line of this number, from 0."""
    return {"color": _LINES[number % len(_LINES)], "linestyle": "--" if number // len(_LINES) % 2 else "-"}


def slant(axes: Axes) -> None:
    """Slant the names below the columns, so that each ends below the middle of its own."""
    for label in axes.get_xticklabels():
        label.set(rotation=40, horizontalalignment="right", rotation_mode="anchor")


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart until they keep a gap, as near to where they were as order and bounds allow.

    Parameters
    ----------
    places
        In rising order.
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else max(place, low))
    ceiling = high
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


def label_points(
    axes: Axes, points: Sequence[tuple[float, float]], names: Mapping[str, str], at: float, gap: float
) -> None:
    """Name points in a column at ``at``, each joined to its point by a line of its name's colour.

    Points come in rising order of height; ``gap`` is the least distance between names.
    """
    low, high = axes.get_ylim()
    heights = spread([y for _, y in points], gap, low + gap / 2, high - gap / 2)
    for point, (name, colour), height in zip(points, names.items(), heights, strict=True):
        hairline: dict[str, Any] = {"arrowstyle": "-", "color": colour, "linewidth": 0.6}
        # From the middle of a name's left edge, so that no line runs through the names above and below.
        hairline |= {"relpos": (0.0, 0.5), "shrinkA": 1, "shrinkB": 2}
        axes.annotate(name, point, (at, height), va="center", arrowprops=hairline)


def image(figure: Figure, kind: str) -> bytes:
    """A figure as SVG or PNG, byte for byte the same on every run."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context(_SETTINGS):
        figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return stable_ids(buffer.getvalue()) if kind == "svg" else buffer.getvalue()


def stable_ids(svg: bytes) -> bytes:
    """An SVG with the ids that matplotlib hashes replaced by numbers in the order of the file.

    The hashes are made of unrounded positions, and the layout's solver leaves their last bit to chance
    between runs. Numbers are unique across figures by a hash of all that the file shows.
    """
    hashed = list(dict.fromkeys(re.findall(rb'\bid="((?:[A-Za-z]|C\w+_)[0-9a-f]{10})"', svg)))
    place = {name: str(number).encode() for number, name in enumerate(hashed, start=1)}
    if not place:
        return svg
    found = re.compile(rb"(?<=[\"#])(?:" + b"|".join(map(re.escape, hashed)) + rb")(?=[\")])")
    shown = found.sub(lambda match: place[match[0]], svg)
    prefix = b"i" + hashlib.sha256(shown).hexdigest()[:8].encode() + b"-"
    return found.sub(lambda match: prefix + place[match[0]], svg)


def in_order(frame: pd.DataFrame, rate: str = "dvgr") -> pd.DataFrame:
    """Rows by family in the paper's order, then by falling rate, then by name."""
    family = pd.Categorical(frame["family"], FAMILY_ORDER, ordered=True)
    ordered = frame.assign(_family=family).sort_values(
        ["_family", rate, "model"], ascending=[True, False, True], kind="stable"
    )
    return ordered.drop(columns="_family").reset_index(drop=True)


# ---- points with numbers and a key of their names: where points lie close, names would cover them ----

#: How numbers and the names in their key are written.
NUMBER: dict[str, Any] = {"fontsize": 8}


def runs(numbers: Iterable[int]) -> str:
    """Numbers in rising order, three or more in a row as first–last: "1, 2, 4–7"."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    shown = (f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found)
    return ", ".join(shown)


def groups(points: pd.DataFrame, columns: Sequence[str], near: float) -> list[pd.DataFrame]:
    """Points that lie together, by single linkage: nearer than ``near`` to another one of the group."""
    if len(points) < 2:
        return [points] if len(points) else []
    places = points[list(columns)].to_numpy(dtype=float).round(9)
    numbers = hierarchy.fcluster(hierarchy.linkage(places), near, criterion="distance")
    return [group for _, group in points.groupby(numbers)]


def key(
    axes: Axes,
    numbers: Mapping[str, int],
    mark: Callable[[str], Mapping[str, Any]],
    name: Callable[[str], str] = str,
    rows: int = 18,
) -> None:
    """Names of the numbers, each with its mark, from above in a panel of its own.

    Parameters
    ----------
    numbers
        By model.
    mark
        How a model's points are drawn.
    name
        A model's name in the key.
    rows
        How many names the panel has room for; of more, lines are nearer to each other.
    """
    axes.set_axis_off()
    step = 1 / max(len(numbers), rows)
    for model, number in numbers.items():
        height = 1 - (number - 0.5) * step
        axes.plot(0.1, height, transform=axes.transAxes, clip_on=False, **mark(model))
        for away, text, side in ((-5, f"{number}", "right"), (6, name(model), "left")):
            style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", **NUMBER}
            axes.annotate(text, (0.1, height), (away, 0), ha=side, va="center", **style)
