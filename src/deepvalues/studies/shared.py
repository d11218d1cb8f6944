"""Shared by the studies: wording files, letter replies, missing answers, and known values of agents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepvalues.ask.local import Message, Reply
from deepvalues.ask.reading import STATUSES
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.paths import shown


@contextmanager
def wording_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """The content of a wording file, for a ``with`` block that reads it.

    Raises
    ------
    UserError
        When the file cannot be read, or the block finds an entry missing or invalid.
    """
    content = read_yaml(path)
    try:
        yield content
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{shown(path)}: an entry is missing or invalid ({error!r}); restore the file from git"
        ) from None


def question_of(messages: Sequence[Message]) -> str:
    """The first user message of a conversation; a `ValueError` without one."""
    for message in messages:
        if message["role"] == "user":
            return message["content"]
    raise ValueError("there is no user message")


def letter_reply(messages: Sequence[Message], shares: Mapping[str, float]) -> Reply:
    """Reply with the most probable letter, the first of several equals."""
    # A token that continues a reply already begun includes the space before it.
    space = " " if messages[-1]["role"] == "assistant" else ""
    return Reply(space + max(shares, key=shares.__getitem__), shares)


def count_statuses(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Count the rows of each group by status: indexed by ``by``, one column per status, zeros included."""
    counts = frame.groupby([*by, "status"]).size().unstack(fill_value=0)
    return counts.reindex(columns=list(STATUSES), fill_value=0).rename_axis(columns=None)


def stop_if_missing(table: pd.DataFrame, most: float) -> None:
    """Stop when a model has more than the share ``most`` of its answers missing.

    Parameters
    ----------
    table
        One row per model, or per mode and model, with the column model and optionally mode; the last column
        is the share without an answer, from 0 to 1.

    Raises
    ------
    UserError
        Names these models and their shares.
    """
    named = table["model"] + (" in " + table["mode"] if "mode" in table else "")
    shares = table.iloc[:, -1]
    above = [f"{name} ({share:.1%})" for name, share in zip(named, shares, strict=True) if share > most]
    if above:
        raise UserError(
            f"more than {most:.0%} of answers missing: {', '.join(above)}; see the table of missing replies, "
            "or raise the notebook's parameter most_missing to continue anyway"
        )


def stop_if_stray(answers: pd.DataFrame, items: pd.DataFrame) -> None:
    """Stop when an answer (from `Questions.answers`) belongs to none of the items that were asked."""
    stray = answers.loc[~answers["item"].isin(items["id"]), "item"]
    if len(stray):
        raise UserError(f"{len(stray)} answers belong to no item of this set; the first is {stray.iloc[0]}")


def language_models_or_all(table: pd.DataFrame, family: Mapping[str, str]) -> pd.DataFrame:
    """The rows of the language models, or all rows if there are none (local models check the instrument).

    Parameters
    ----------
    table
        With a column model.
    family
        Family of each model.
    """
    of_language_models = table["model"].map(dict(family)) == "language model"
    return table[of_language_models] if of_language_models.any() else table


def held_to_agents(
    table: pd.DataFrame, agents: Mapping[str, Any], subject: str, measure: str, precision: float
) -> pd.DataFrame:
    """Compare a measure of the reference agents in a table with its known values.

    Parameters
    ----------
    table
        model, and the columns named by ``subject`` and ``measure``; other models are left out.
    agents
        By name; the method `expected` of each gives the known value for a subject.
    precision
        Largest difference that still agrees, in the unit of the measure.

    Returns
    -------
    pandas.DataFrame
        model, the subject, expected, the measure, off (measure − expected), agrees.
    """
    found = table[table["model"].isin(list(agents))][["model", subject, measure]].reset_index(drop=True)
    known = [agents[model].expected(of) for model, of in zip(found["model"], found[subject], strict=True)]
    found.insert(2, "expected", np.array(known, dtype=float))
    found["off"] = found[measure] - found["expected"]
    return found.assign(agrees=found["off"].abs() <= precision)
