"""Asking models: the one function behind `deepvalues query` and the query notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from deepvalues import catalogue, paths
from deepvalues.errors import UserError
from deepvalues.query.reading import STATUSES
from deepvalues.query.record import Record
from deepvalues.query.registry import Model
from deepvalues.query.study import Questions, record_path

CONCURRENCY = 32


class Asked(NamedTuple):
    """What a run did for one model."""

    model: str
    family: str
    items: int
    replayed: int
    asked: int
    failed: int
    orphans: int


def questions(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
) -> Iterator[Questions]:
    """A study's items put to each model in turn, with the model's record.

    All models share the conversations, so that each prompt is hashed once.
    """
    found = catalogue.study(study)
    conversations = found.conversations(items)
    for model in models:
        record = Record(record_path(record_folder, study, model.name))
        yield Questions(found, conversations, model, record)


def query(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    *,
    record_folder: Path = paths.RESPONSES,
    concurrency: int = CONCURRENCY,
    retry: frozenset[str] = frozenset(),
) -> pd.DataFrame:
    """Ask each model for what its record lacks; recorded answers are replayed.

    Returns
    -------
    pandas.DataFrame
        One row per model: see `Asked`.

    Raises
    ------
    UserError
        When a status to retry is unknown, a record is damaged, or an endpoint refuses.
    """
    if concurrency < 1:
        raise UserError(f"concurrency must be at least 1, not {concurrency}")
    unknown = retry - set(STATUSES)
    if unknown:
        raise UserError(f"unknown status {sorted(unknown)[0]!r}; there are {', '.join(STATUSES)}")
    rows = []
    with catalogue.endpoints() as base_url:
        for asked in questions(study, models, items, record_folder):
            model = asked.model
            missing = asked.missing()
            if missing or retry:
                summary = asked.ask_missing(base_url(model), concurrency, retry)
                counts = summary.asked, summary.failed
            else:
                counts = 0, 0
            for notice in asked.record.notices:
                print(notice)
            rows.append(
                Asked(
                    model.name,
                    model.family,
                    len(items),
                    len(items) - missing,
                    *counts,
                    asked.orphans(),
                )
            )
    return pd.DataFrame(rows, columns=list(Asked._fields))


def coverage(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
) -> pd.DataFrame:
    """How much of a set each model's record answers.

    Returns
    -------
    pandas.DataFrame
        model, family, items, recorded, state: complete, partial, or not asked.
    """
    rows = []
    for asked in questions(study, models, items, record_folder):
        recorded = len(items) - asked.missing()
        state = {0: "not asked", len(items): "complete"}.get(recorded, "partial")
        rows.append((asked.model.name, asked.model.family, len(items), recorded, state))
    return pd.DataFrame(rows, columns=["model", "family", "items", "recorded", "state"])


def stop_if_partial(table: pd.DataFrame, study: str, item_set: str) -> None:
    """Stop when a record answers only a part of a set.

    Parameters
    ----------
    table
        From `coverage`.

    Raises
    ------
    UserError
        With study, model, count, and the command that completes the record.
    """
    partial = table[table["state"] == "partial"]
    lines = [
        f"  {study}: {model}: {items - recorded} of {items} answers are missing; "
        f"deepvalues query --study {study} --set {item_set} --model {model}"
        for model, items, recorded in partial[["model", "items", "recorded"]].itertuples(
            index=False, name=None
        )
    ]
    if lines:
        raise UserError(
            "some records are not complete; these commands ask for the rest:\n" + "\n".join(lines)
        )


def answers(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
) -> pd.DataFrame:
    """The recorded answers of several models, read: see `Questions.answers`."""
    frames = [asked.answers() for asked in questions(study, models, items, record_folder)]
    return pd.concat(frames, ignore_index=True)
