"""Figures that compare: levels of a factor, models with each other, wordings of a prompt, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepvalues import formats
from deepvalues.figures.theme import CHANCE, COLOURS, in_order, new_figure, themed

#: Told apart by readers with any colour vision, and by their markers.
_STYLES = (("#0072B2", "o"), ("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#555555", "v"))


def _dots(axes: Axes, table: pd.DataFrame, places: Sequence[float], colour: str, marker: str = "o") -> None:
    rows = table[["rate", "clustered_low", "clustered_high"]].to_numpy(dtype=float)
    for place, (rate, low, high) in zip(places, rows, strict=True):
        axes.plot([low, high], [place] * 2, color=colour, linewidth=0.9)
        axes.plot(rate, place, marker, color=colour, markersize=4)


@themed
def breakdown(
    table: pd.DataFrame, factors: Mapping[str, str], levels: Mapping[str, Mapping[str, str]], colour: str
) -> Figure:
    """Rate at each level of several factors, one block of rows a factor.

    Parameters
    ----------
    table
        factor, level, rate, clustered_low, clustered_high.
    factors
        Those to show, from the top, with what they are called.
    levels
        What their levels are called, by factor; others bear their own names.
    colour
        Of the dots.
    """
    shown = table[table["factor"].isin(factors)]
    figure, axes = new_figure(0.7 + 0.17 * (len(shown) + len(factors)))
    axes.axvline(0.5, color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    places: list[float] = []
    labels: list[str] = []
    top = 0.0
    for factor, name in factors.items():
        block = shown[shown["factor"] == factor]
        axes.text(0.005, top, name, fontsize=7.5, weight="bold", va="center")
        rows = [top - 1 - number for number in range(len(block))]
        _dots(axes, block, rows, colour)
        places += rows
        labels += [levels.get(factor, {}).get(level, level) for level in block["level"]]
        top = rows[-1] - 1.2
    axes.set_yticks(places, labels, fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1), ylim=(top + 0.4, 0.8), xlabel="DVGR, with clustered intervals")
    return figure


@themed
def agreement(matrix: pd.DataFrame) -> Figure:
    """Share of items on which two models choose the same option, as a heat map.

    Parameters
    ----------
    matrix
        Square, models as index and columns.
    """
    figure, axes = new_figure(1.3 + 0.3 * len(matrix))
    notes = matrix.map(lambda rate: formats.number(rate, 2, bounded=True))
    sns.heatmap(
        matrix.to_numpy(dtype=float),
        annot=notes.to_numpy(),
        fmt="",
        cmap="Greys",
        vmin=0,
        vmax=1,
        linewidths=0.5,
        annot_kws={"fontsize": 6},
        cbar_kws={"label": "agreement", "ticks": [0, 0.5, 1], "aspect": 30, "pad": 0.01},
        mask=np.triu(np.ones(matrix.shape, dtype=bool)),
        ax=axes,
    )
    names = list(matrix.index)
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=40, ha="right", fontsize=7)
    axes.set_yticks(np.arange(len(names)) + 0.5, names, rotation=0, fontsize=7)
    axes.tick_params(length=0)
    return figure


@themed
def variants(table: pd.DataFrame, published: pd.DataFrame, names: dict[str, str]) -> Figure:
    """DVGR of each model under each wording of the prompt, beside the published pooled rates.

    Parameters
    ----------
    table
        study, model, family, dvgr, clustered_low, clustered_high.
    published
        study, published_dvgr, published_low, published_high.
    names
        What a study's wording is called, in order.
    """
    table = table.rename(columns={"dvgr": "rate"})
    means = table.groupby(["model", "family"])["rate"].mean().reset_index()
    models = list(in_order(means, "rate")["model"])
    figure, axes = new_figure(1.1 + 0.4 * (len(models) + 1))
    axes.axvline(0.5, color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    for number, (study, (colour, marker)) in enumerate(zip(names, _STYLES, strict=False)):
        offset = 0.22 * (1 - number)
        of_study = table[table["study"] == study].set_index("model").reindex(models).reset_index()
        _dots(axes, of_study, [offset - place for place in range(len(models))], colour, marker)
        row = published[published["study"] == study].iloc[0]
        place = offset - len(models)
        axes.plot([row["published_low"], row["published_high"]], [place] * 2, color=colour, linewidth=0.9)
        axes.plot(row["published_dvgr"], place, marker, color=colour, markersize=4)
    axes.set_yticks([-place for place in range(len(models) + 1)], [*models, "published, nine models"])
    axes.tick_params(axis="y", length=0)
    axes.set(
        xlim=(-0.03, 1.03),
        xlabel="DVGR on the subset, with intervals clustered by cell (published: as printed)",
    )
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=name)
        for name, (colour, marker) in zip(names.values(), _STYLES, strict=False)
    ]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(handles))
    return figure


@themed
def coverage(table: pd.DataFrame, methods: dict[str, str], effects: Sequence[str]) -> Figure:
    """How often each interval holds the truth: a panel for each estimand and item set.

    Parameters
    ----------
    table
        item_set, estimand, effects, method, coverage, of one scope.
    methods
        Those to show, with their labels.
    effects
        Conditions in the order of the columns.
    """
    kinds = table[["estimand", "item_set"]].drop_duplicates()
    panels = [(str(estimand), str(item_set)) for estimand, item_set in kinds.to_numpy()]
    figure, drawn = new_figure(2.6, len(panels), sharey=True, squeeze=False)
    for axes, (estimand, item_set) in zip(drawn[0], panels, strict=True):
        part = table[(table["estimand"] == estimand) & (table["item_set"] == item_set)]
        axes.axhline(0.95, color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        for number, (method, (colour, marker)) in enumerate(zip(methods, _STYLES, strict=False)):
            rates = part[part["method"] == method].set_index("effects")["coverage"].reindex(list(effects))
            places = np.arange(len(effects)) + 0.1 * (number - len(methods) / 2)
            axes.plot(places, rates, marker, color=colour, markersize=4)
        axes.set_xticks(range(len(effects)), effects, rotation=40, ha="right", fontsize=7)
        axes.set_title(f"{estimand.replace('_', ' ')}, {item_set}", fontsize=8)
        axes.set_ylim(0, 1.02)
    drawn[0][0].set_ylabel("coverage (nominal .95)")
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4, label=label)
        for label, (colour, marker) in zip(methods.values(), _STYLES, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7)
    return figure


@themed
def power(table: pd.DataFrame) -> Figure:
    """Power of the test against chance by the number of cells, one line a true DVGR.

    Parameters
    ----------
    table
        cells, true_dvgr, power, of one method.
    """
    figure, axes = new_figure(2.6)
    for _, group in table.groupby("true_dvgr"):
        axes.plot(group["cells"], group["power"], color=COLOURS["language model"], marker="o", markersize=3)
        first = group.iloc[0]
        label = formats.number(first["true_dvgr"], 2, bounded=True) + "  "
        axes.annotate(label, (first["cells"], first["power"]), ha="right", va="center", fontsize=7)
    axes.axhline(0.05, color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set(xlabel="cells", ylabel="power at α = .05", ylim=(0, 1.03), xscale="log")
    axes.set_xlim(left=table["cells"].min() * 0.85)
    axes.set_xticks(sorted(table["cells"].unique()), [str(n) for n in sorted(table["cells"].unique())])
    axes.minorticks_off()
    return figure
