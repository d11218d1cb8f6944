"""From items and answers to responses: each run's number for each theme, and why runs are missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.profiles.reading import parse
from deepvalues.studies.profiles.stimuli import Stimuli
from deepvalues.studies.shared import stop_if_stray

#: Columns of the responses; place is that of the theme in the prompt, from 0, or -1 if it names no themes.
COLUMNS = ["model", "mode", "wording", "run", "item", "turn", "theme", "place", "response", "priority"]


def priority(mode: str, response: float) -> float:
    """The priority of a theme by a response: 7 − rank in a ranking, else the response itself."""
    return THEMES + 1 - response if mode == "ranking" else response


def runs(stimuli: Stimuli, items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """One row per model and item: the reading of its last turn, the number of repairs, and why it is missing.

    Parameters
    ----------
    answers
        From `Questions.answers` for ``profiles``.

    Returns
    -------
    pandas.DataFrame
        model, item, mode, wording, run, order, turn (number of repairs), status, choice, and reason (empty if
        answered, else why the reply could not be read, or the status).

    Raises
    ------
    UserError
        When an answer belongs to no item.
    """
    last = answers.sort_values("turn", kind="stable").groupby(["model", "item"], as_index=False).last()
    stop_if_stray(last, items)
    frame = last.merge(items[["id", "mode", "wording", "run", "order"]], left_on="item", right_on="id")
    names = [theme.name for theme in stimuli.themes]
    columns = frame[["status", "reply", "mode"]].itertuples(index=False, name=None)
    frame["reason"] = [
        parse(reply, mode, names).reason if status == "unparsable" and isinstance(reply, str) else status
        for status, reply, mode in columns
    ]
    frame.loc[frame["status"] == "answered", "reason"] = ""
    kept = ["model", "item", "mode", "wording", "run", "order", "turn", "status", "choice", "reason"]
    return frame.sort_values(["model", "mode", "run"], ignore_index=True)[kept]


def responses(runs: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """One row per answered run and theme.

    Parameters
    ----------
    runs
        From `runs`.
    themes
        Keys of the themes in their fixed order, as in the choices.

    Returns
    -------
    pandas.DataFrame
        model, mode, wording, run, item, turn, theme, place (of the theme in the prompt, from 0), response (as
        given) and priority (7 − rank in a ranking, else the response).
    """
    answered = runs[runs["status"] == "answered"]
    columns = ["model", "mode", "wording", "run", "item", "turn"]
    rows = [
        (*row, theme, order.split().index(theme), float(number), priority(row[1], float(number)))
        for *row, order, choice in answered[[*columns, "order", "choice"]].itertuples(index=False, name=None)
        for theme, number in zip(themes, choice.split(), strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def missing(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs per model and mode: model, mode, runs, answered, repaired (of these), missing, share (missing)."""
    answered = runs["status"] == "answered"
    counts = runs.assign(
        answered=answered, repaired=answered & (runs["turn"] > 0), missing=~answered, runs=True
    )
    table = counts.groupby(["model", "mode"])[["runs", "answered", "repaired", "missing"]].sum().astype(int)
    return table.assign(share=table["missing"] / table["runs"]).reset_index()


def over_modes(missing: pd.DataFrame) -> pd.DataFrame:
    """The counts of `missing` over all modes: model, runs, answered, repaired, missing."""
    counts = ["runs", "answered", "repaired", "missing"]
    return missing.groupby("model")[counts].sum().reset_index()


def reasons(runs: pd.DataFrame) -> pd.DataFrame:
    """Why runs are missing: model, mode, status, reason, runs."""
    lost = runs[runs["status"] != "answered"]
    by = ["model", "mode", "status", "reason"]
    return lost.groupby(by).size().rename("runs").reset_index()


def matrices(responses: pd.DataFrame, themes: Sequence[str]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Priorities by mode and model, sorted: each of shape (runs, 6), with runs in order."""
    found = {}
    for (mode, model), group in responses.groupby(["mode", "model"], sort=True):
        wide = group.pivot(index="run", columns="theme", values="priority").reindex(columns=list(themes))
        found[str(mode), str(model)] = wide.to_numpy(dtype=float)
    return found
