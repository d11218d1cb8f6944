"""Respondents over several item sets: their answers, how they were asked, the layers they recognize."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from deepvalues.ask.on_record import Answered, by_record
from deepvalues.ask.questions import Questions
from deepvalues.ask.registry import BARE, CONTINUE, FREE
from deepvalues.studies.dvb.analysis import soft, statistics
from deepvalues.studies.dvb.analysis.orders import by_cell
from deepvalues.studies.dvb.analysis.verdicts import above

#: The validation task that shows whether a respondent recognizes a layer.
TASK_OF_LAYER = {"value": "embodies_value", "surface": "embodies_pole"}
#: How a model was asked, in words.
MODES = {CONTINUE: "letters, reply begun", BARE: "bare letter", FREE: "reply in words"}
_HOW = ("model", "endpoint", "served_as", "developer", "billions", "weights_sha256", "mode", "cells", "items")


def trials(items: pd.DataFrame, asked: Iterable[Questions]) -> pd.DataFrame:
    """The trials of a set, with probabilities.

    Parameters
    ----------
    items
        The items of the set.
    asked
        The same items as each model was asked them.

    Returns
    -------
    pandas.DataFrame
        As from `analysis.statistics.trials`, with the models' families, ``p_a`` (probability of option
        A among A and B) and ``mass`` (total probability of both letters); NaN where the record has none.
    """
    frames = [_of_model(items, each) for each in asked]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(_EMPTY_COLUMNS))


#: Columns that the statistics of respondents need, for a record without answers.
_EMPTY_COLUMNS = (
    "model", "family", "item", "cell", "arm", "n_examples", "test", "right", "swapped", "status", "choice",
    "followed", "p_a", "mass",
)  # fmt: skip


def _of_model(items: pd.DataFrame, asked: Questions) -> pd.DataFrame:
    found = statistics.trials(items, asked.answers())
    answers = (answer for _, _, turns in asked.recorded() for answer in turns if answer.logprobs)
    weighed = soft.probabilities(answers)[["item", "repeat", "turn", "p_a", "mass"]]
    joined = found.merge(weighed, on=["item", "repeat", "turn"], how="left", validate="one_to_one")
    joined = joined.astype({"p_a": float, "mass": float})
    return statistics.with_family(joined, {asked.model.name: asked.model.family})


def of_sets(sets: Sequence[Answered]) -> pd.DataFrame:
    """The `trials` of several sets `together`, where each record is read only once."""
    questions = by_record(sets, sets[0].record_folder) if sets else ()
    found = {(place, asked.model.name): _of_model(sets[place].items, asked) for place, asked in questions}
    return together([found[place, model.name] for place, each in enumerate(sets) for model in each.models])


def together(sets: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the trials of several sets; an item in two sets counts once.

    Parameters
    ----------
    sets
        From `trials`; any number of sets.
    """
    some = [each for each in sets if len(each)] or [pd.DataFrame(columns=list(_EMPTY_COLUMNS))]
    return pd.concat(some, ignore_index=True).drop_duplicates(["model", "item"], ignore_index=True)


def how_asked(asked: Iterable[Questions], trials: pd.DataFrame) -> pd.DataFrame:
    """How each language model was asked, and what that took.

    Parameters
    ----------
    asked
        Items as each model was asked them, set by set.
    trials
        From `together`, of these sets.

    Returns
    -------
    pandas.DataFrame
        One row per language model, sorted: model, endpoint, served_as, developer, billions (of
        parameters), weights_sha256, mode (`MODES`), cells, items, letter_mass (mean over all items; NaN
        without log probabilities), prompt_tokens, read_anew (share of these that the endpoint did not have
        in its cache; NaN if its log does not say).
    """
    tokens: dict[str, dict[str, tuple[int, int | None]]] = {}
    models = {}
    for each in asked:
        if each.model.family == "language model":
            models[each.model.name] = each
            tokens.setdefault(each.model.name, {}).update(_tokens(each))
    rows = [_how(each, trials[trials["model"] == name], tokens[name]) for name, each in models.items()]
    columns = [*_HOW, "letter_mass", "prompt_tokens", "read_anew"]
    return pd.DataFrame(rows, columns=columns).sort_values("model", ignore_index=True)


def _tokens(asked: Questions) -> dict[str, tuple[int, int | None]]:
    """(tokens of the prompt, those of them that were cached) of each answer, by key."""
    cached = asked.record.cached_tokens()
    return {
        answer.key: (answer.prompt_tokens or 0, cached.get(answer.key))
        for _, _, turns in asked.recorded()
        for answer in turns
    }


def _how(asked: Questions, own: pd.DataFrame, tokens: Mapping[str, tuple[int, int | None]]) -> dict[str, Any]:
    model = asked.model
    mode = model.letters if asked.letter_choice and model.letters else FREE
    known = [(prompt, cached) for prompt, cached in tokens.values() if cached is not None]
    prompts = sum(prompt for prompt, _ in known)
    return {
        "model": model.name,
        "endpoint": model.endpoint.kind,
        "served_as": model.served_as,
        "developer": model.developer,
        "billions": math.nan if model.billions is None else model.billions,
        "weights_sha256": model.weights_sha256,
        "mode": MODES[mode],
        "cells": own["cell"].nunique(),
        "items": len(own),
        "letter_mass": float(own["mass"].mean()),
        "prompt_tokens": sum(prompt for prompt, _ in tokens.values()),
        "read_anew": 1 - sum(cached for _, cached in known) / prompts if prompts else math.nan,
    }


def unrecognized_layers(judged: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The layers that a respondent does not recognize when it is asked outright.

    Parameters
    ----------
    judged
        Trials of the validation, training and test stimuli together: model, task, cell, followed.

    Returns
    -------
    dict
        By model, the layers (``value``, ``surface``) in whose task the share of right answers, over both
        orders, has no 95% interval above .5 (clustered by cell). Models that were not asked are missing.
    """
    found = {}
    for model, own in judged.groupby("model"):
        asked = {layer: own[own["task"] == task] for layer, task in TASK_OF_LAYER.items()}
        missed = [
            layer for layer, rows in asked.items() if len(rows) and not above(by_cell(rows, "followed"), 0.5)
        ]
        if missed:
            found[str(model)] = tuple(missed)
    return found
