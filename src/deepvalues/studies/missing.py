"""Replies that are missing: how many, and whether too many to go on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from deepvalues.ask.reading import STATUSES
from deepvalues.core.errors import UserError


def count_statuses(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Number of rows of each group with each status: indexed by ``by``, a column a status, zeros included."""
    counts = frame.groupby([*by, "status"]).size().unstack(fill_value=0)
    return counts.reindex(columns=list(STATUSES), fill_value=0).rename_axis(columns=None)


def stop_if_missing(table: pd.DataFrame, most: float) -> None:
    """Stop when a model lacks more than a share of its answers.

    Parameters
    ----------
    table
        One row per model, or per mode and model, with the columns model and perhaps mode; its last column is
        the share without an answer, from 0 to 1.

    Raises
    ------
    UserError
        With the models concerned and their shares.
    """
    named = table["model"] + (" in " + table["mode"] if "mode" in table else "")
    shares = table.iloc[:, -1]
    above = [f"{name} ({share:.1%})" for name, share in zip(named, shares, strict=True) if share > most]
    if above:
        raise UserError(
            f"more than {most:.0%} has no answer: {', '.join(above)}. See the table of missing replies; "
            "raise the notebook's parameter most_missing to go on all the same."
        )


def stop_if_stray(answers: pd.DataFrame, items: pd.DataFrame) -> None:
    """Stop when an answer belongs to no item.

    Parameters
    ----------
    answers
        From `deepvalues.ask.questions.Questions.answers`.
    items
        The items that were asked, with their ids.
    """
    stray = answers.loc[~answers["item"].isin(items["id"]), "item"]
    if len(stray):
        raise UserError(f"{len(stray)} answers belong to no item of this set, the first is {stray.iloc[0]}")
