"""Points with numbers and a key of their names: where points lie close, names would cover what they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from scipy.cluster import hierarchy

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
