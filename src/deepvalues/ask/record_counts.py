"""Counts of what the record holds, and how models were asked.

``data/dictionary.yml`` describes the columns of the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from deepvalues.ask.questions import Questions
from deepvalues.ask.reading import Reading
from deepvalues.ask.record import Answer
from deepvalues.ask.registry import FREE, HEAD
from deepvalues.core.number_format import MISSING, listed, plural

#: Count columns and the family that each counts, in the order of the tables.
FAMILY_COUNTS = {
    "language_models": "language model",
    "heads": HEAD,
    "text_learners": "text learner",
    "reference_agents": "reference agent",
}
HOW_ASKED = (
    "model", "study", "endpoint", "served_as", "mode", "parameters", "replies", "log_probabilities", "read",
    "first", "last", "fingerprints",
)  # fmt: skip
_Replies = dict[str, tuple[Answer, Reading]]
#: A table has room for this many fingerprints.
_MAX_FINGERPRINTS = 2


def by_set(coverage: pd.DataFrame) -> pd.DataFrame:
    """How many models of each family have answered all of a set, and how many were not asked.

    Parameters
    ----------
    coverage
        study, item_set, family, items and state of every model, from `deepvalues.ask.on_record.coverage`.

    Returns
    -------
    pandas.DataFrame
        study, item_set, items, language_models, heads, text_learners, reference_agents, not_asked, in the
        order of the sets.
    """
    complete = coverage["state"] == "complete"
    counted = {name: complete & (coverage["family"] == family) for name, family in FAMILY_COUNTS.items()}
    counted["not_asked"] = coverage["state"] == "not asked"
    how: dict[str, Any] = {"items": "first", **dict.fromkeys(counted, "sum")}
    groups = coverage.assign(**counted).groupby(["study", "item_set"], sort=False)
    return groups.agg(how).reset_index()


def by_study(orphans: pd.DataFrame) -> pd.DataFrame:
    """Replies on record, study by study.

    Parameters
    ----------
    orphans
        From `deepvalues.ask.on_record.holdings`.

    Returns
    -------
    pandas.DataFrame
        study, models (with a reply on record), answers (replies), orphans (those that no set asks for).
    """
    marked = orphans.assign(models=orphans["answers"] > 0)
    return marked.groupby("study", sort=False)[["models", "answers", "orphans"]].sum().reset_index()


def to_ask_by_set(to_ask: pd.DataFrame) -> pd.DataFrame:
    """What it would take to ask one more model, set by set.

    Parameters
    ----------
    to_ask
        From `deepvalues.ask.on_record.to_ask`.

    Returns
    -------
    pandas.DataFrame
        study, item_set, models (not asked); requests, input_tokens, output_tokens for one model, the largest
        where models differ; least and most: dollars for the cheapest and the most expensive model without
        caching.
    """
    groups = to_ask.groupby(["study", "item_set"], sort=False)
    counted = groups.agg(
        models=("model", "size"),
        requests=("requests", "max"),
        input_tokens=("input_tokens", "max"),
        output_tokens=("output_tokens", "max"),
        least=("dollars", "min"),
        most=("dollars", "max"),
    )
    return counted.reset_index()


def models_sentence(counted: Mapping[str, int]) -> str:
    """Who has answered, as a phrase: "8 reference agents, 8 text learners and no language model".

    Heads on hidden states are named only if there are any.

    Parameters
    ----------
    counted
        From `counts`.
    """
    return listed(
        [
            f"{counted[name] or 'no'} {plural(family, max(counted[name], 1))}"
            for name, family in reversed(FAMILY_COUNTS.items())
            if family != HEAD or counted[name]
        ]
    )


def counts(coverage: pd.DataFrame, study: str, item_set: str) -> dict[str, int]:
    """Numbers of models and answers for the text.

    Parameters
    ----------
    coverage
        From `deepvalues.ask.on_record.coverage`.
    study, item_set
        The set whose models and answers are counted.

    Returns
    -------
    dict
        language_models, heads, text_learners, reference_agents: models that have answered all of the set;
        not_asked; answers: these models' answers to the set, counting each repeat, and a conversation of
        several turns once.
    """
    of_set = coverage[(coverage["study"] == study) & (coverage["item_set"] == item_set)]
    complete = of_set[of_set["state"] == "complete"]
    families = {name: int((complete["family"] == family).sum()) for name, family in FAMILY_COUNTS.items()}
    return families | {
        "not_asked": int((of_set["state"] == "not asked").sum()),
        "answers": int(complete["recorded"].sum()),
    }


def incomplete(coverage: pd.DataFrame) -> list[str]:
    """Listed models that have not answered all of a set, one line per state and group of sets.

    Parameters
    ----------
    coverage
        From `deepvalues.ask.on_record.coverage`.
    """
    lacking = coverage[coverage["state"] != "complete"]
    places = (lacking["study"] + "/" + lacking["item_set"]).groupby(
        [lacking["state"], lacking["model"]], sort=False
    )
    models = places.agg(", ".join).reset_index(name="sets").groupby(["state", "sets"], sort=False)["model"]
    words = {"partial": "answered in part", "not asked": "not asked"}
    return [
        f"Listed under `paper` and {words[str(state)]}: {', '.join(names)} ({sets})"
        for (state, sets), names in models
    ]


def how_asked(asked: Iterable[Questions]) -> pd.DataFrame:
    """How models other than the local ones were asked.

    Parameters
    ----------
    asked
        The questions for each model, set by set; a reply that two sets share counts once.

    Returns
    -------
    pandas.DataFrame
        One row per model and study, sorted: model, study, endpoint (its name in the registry), served_as,
        mode (how letters were requested, or `FREE`), parameters ("name setting, …"), replies,
        log_probabilities (share of replies with them), read (share of replies with a choice), first and last
        (days, UTC; None if not logged), fingerprints (the server's, separated by commas; None without any).
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
    return pd.DataFrame(rows, columns=list(HOW_ASKED))


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
    """Parameters as "max_tokens 1, temperature 0"; a nested one, such as a schema, by its type."""
    short = {
        name: setting.get("type", "…") if isinstance(setting, Mapping) else setting
        for name, setting in sorted(parameters.items())
    }
    return ", ".join(f"{name} {str(setting).lower()}" for name, setting in short.items())


def unlisted(table: pd.DataFrame) -> str:
    """A sentence on models whose answers enter no result, from `deepvalues.ask.on_record.unlisted`."""
    if table.empty:
        return "Every model with answers on record is a model of the paper."
    names = table.groupby("model")["study"].agg(", ".join)
    models = "; ".join(f"{model} ({studies})" for model, studies in names.items())
    return f"On record, but not listed under `paper` in `data/models.yml`, and so in no result: {models}."


def titled(table: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """A table of this module with the studies' titles."""
    return table.assign(title=table["study"].map(titles))


def how_asked_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table from `how_asked` with columns for display."""
    return table.assign(
        days=[_days(first, last) for first, last in zip(table["first"], table["last"], strict=True)],
        fingerprints=table["fingerprints"].map(_fingerprints),
    )


def _days(first: str | None, last: str | None) -> str:
    if pd.isna(first):
        return MISSING
    return f"{first}" if first == last else f"{first} to {last}"


def _fingerprints(names: str | None) -> str:
    if pd.isna(names):
        return MISSING
    number = len(str(names).split(", "))
    return str(names) if number <= _MAX_FINGERPRINTS else f"{number} of them"
