"""How each model was asked, study by study: from its record, and from the log beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from deepvalues.ask.questions import Questions
from deepvalues.ask.reading import Reading
from deepvalues.ask.record import Answer
from deepvalues.ask.registry import FREE

COLUMNS = (
    "model", "study", "endpoint", "served_as", "mode", "parameters", "replies", "log_probabilities", "read",
    "first", "last", "fingerprints",
)  # fmt: skip
_Replies = dict[str, tuple[Answer, Reading]]


def how_asked(asked: Iterable[Questions]) -> pd.DataFrame:
    """How models were asked that do not answer on loopback.

    Parameters
    ----------
    asked
        Items as they were put to each model, set by set; a reply that two sets share counts once.

    Returns
    -------
    pandas.DataFrame
        One row a model and study, in sorted order: model, study, endpoint (its name in the registry),
        served_as, mode (how letters were asked for, or `FREE`), parameters ("name setting, …"), replies,
        log_probabilities (share of replies that have them), read (share of replies that were read as
        answers), first and last (days, UTC; None where the log has none), fingerprints (all that the server
        gave, with commas between them; None where it gave none).
    """
    replies: dict[tuple[str, str], _Replies] = {}
    whose: dict[tuple[str, str], Questions] = {}
    for each in asked:
        if not each.model.is_local:
            place = each.model.name, each.study.name
            whose[place] = each
            replies.setdefault(place, {}).update(
                {
                    answer.key: (answer, each.read(answer, one))
                    for one, _, answers in each.recorded()
                    for answer in answers
                }
            )
    rows = [_row(each, replies[place]) for place, each in sorted(whose.items()) if replies[place]]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(questions: Questions, replies: _Replies) -> dict[str, Any]:
    log = questions.record.log()
    attempts = [log[key] for key in replies if key in log]
    days = [attempt["date"][:10] for attempt in attempts]
    prints = sorted({str(each["fingerprint"]) for each in attempts if each.get("fingerprint")})
    return {
        "model": questions.model.name,
        "study": questions.study.name,
        "endpoint": questions.model.endpoint.kind,
        "served_as": questions.model.served_as,
        "mode": (questions.model.letters if questions.letter_choice else None) or FREE,
        "parameters": _written(questions.ask.shown_parameters),
        "replies": len(replies),
        "log_probabilities": _share(answer.logprobs is not None for answer, _ in replies.values()),
        "read": _share(reading.status == "answered" for _, reading in replies.values()),
        "first": min(days, default=None),
        "last": max(days, default=None),
        "fingerprints": ", ".join(prints) or None,
    }


def _share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return sum(found) / len(found)


def _written(parameters: Mapping[str, Any]) -> str:
    """Parameters as "max_tokens 1, temperature 0"; of one with parts, such as a schema, its type."""
    short = {
        name: setting.get("type", "…") if isinstance(setting, Mapping) else setting
        for name, setting in sorted(parameters.items())
    }
    return ", ".join(f"{name} {str(setting).lower()}" for name, setting in short.items())
