"""The figure of what open models do when asked beside what can be read from their hidden states."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepvalues.ask.registry import HEAD
from deepvalues.paper.theme import CHANCE, COLOURS, DASHED, new_figure, themed
from deepvalues.studies.dvb.analysis.asked_read import ARMS, ASKED, NULL, RESPONDENTS

_TITLES = {
    "deconfounded": "DVGR",
    "control": "control",
    "probe_value": "value probe",
    "probe_surface": "surface probe",
}
_LABELS = {
    ASKED: "the model, asked",
    "head, mean": "read: mean of tokens",
    "head, last": "read: last token",
    NULL: "read, choices shuffled",
}
#: Shape and filling tell respondents apart for readers without colour.
_STYLES: dict[str, dict[str, Any]] = {
    ASKED: {"color": COLOURS["language model"], "marker": "o", "linestyle": "-"},
    "head, mean": {"color": COLOURS[HEAD], "marker": "v", "linestyle": "-"},
    "head, last": {"color": COLOURS[HEAD], "marker": "^", "linestyle": "--", "markerfacecolor": "white"},
    NULL: {"color": "#999999", "marker": "x", "linestyle": ":"},
}
#: How far neighbours stand apart, as a factor: numbers of examples are shown on a logarithmic scale.
_APART = 1.07


@themed
def asked_against_read(table: pd.DataFrame) -> Figure:
    """Rate of right answers by the number of examples: a row for each model, a column for each arm.

    Parameters
    ----------
    table
        From `analysis.asked_read.asked_against_read`. Without heads it is empty; the figure says so.
    """
    if table.empty:
        return _nothing()
    models = list(dict.fromkeys(table["model"]))
    figure, panels = new_figure(
        0.75 + 1.45 * len(models), len(ARMS), len(models), sharex=True, sharey=True, squeeze=False
    )
    numbers = sorted(table["n_examples"].unique())
    for model, row in zip(models, panels, strict=True):
        for arm, axes in zip(ARMS, row, strict=True):
            _panel(axes, table[(table["model"] == model) & (table["arm"] == arm)])
        row[0].set_ylabel(f"{model}\nrate")
    for arm, axes in zip(ARMS, panels[0], strict=True):
        axes.set_title(_TITLES[arm])
    for axes in panels[-1]:
        axes.set_xlabel("examples N")
    panels[0][0].set(xscale="log", ylim=(-0.03, 1.03), yticks=[0, 0.5, 1])
    panels[0][0].set_xlim(min(numbers) / 1.6, max(numbers) * 1.6)
    panels[0][0].set_xticks(numbers, [str(number) for number in numbers])
    panels[0][0].minorticks_off()
    shown = [name for name in RESPONDENTS if name in set(table["respondent"])]
    handles = [
        Line2D([], [], markersize=4, linewidth=1, label=_LABELS[name], **_STYLES[name]) for name in shown
    ]
    handles.append(Line2D([], [], label="chance", **DASHED))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _nothing() -> Figure:
    figure, axes = new_figure(0.6)
    axes.text(0.5, 0.5, "no head on hidden states is on record", ha="center", va="center", color=CHANCE)
    axes.set_axis_off()
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    axes.axhline(0.5, zorder=0, **DASHED)
    for place, name in enumerate(RESPONDENTS):
        of_name = table[table["respondent"] == name].sort_values("n_examples")
        rate = of_name["rate"]
        # With one cell there is no interval; of one without width rounding can turn the ends round.
        ends = rate - of_name["low"], of_name["high"] - rate
        spread = [end.fillna(0).clip(lower=0) for end in ends]
        at = of_name["n_examples"] * _APART ** (place - (len(RESPONDENTS) - 1) / 2)
        sizes: dict[str, Any] = {"markersize": 3.5, "linewidth": 1, "elinewidth": 0.7}
        axes.errorbar(at, rate, yerr=spread, **sizes, **_STYLES[name])
