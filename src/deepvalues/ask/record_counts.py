"""What the record holds, counted: pure functions of the tables of `deepvalues.ask.on_record`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepvalues.ask.registry import HEAD
from deepvalues.core.number_format import listed, plural

#: Columns of counts by the family that they count, in the order in which tables show them.
FAMILY_COUNTS = {
    "language_models": "language model",
    "heads": HEAD,
    "text_learners": "text learner",
    "reference_agents": "reference agent",
}


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
        From `deepvalues.ask.on_record.orphans`.

    Returns
    -------
    pandas.DataFrame
        study, models (with a reply on record), answers (replies), orphans (those that no set asks for).
    """
    marked = orphans.assign(models=orphans["answers"] > 0)
    return marked.groupby("study", sort=False)[["models", "answers", "orphans"]].sum().reset_index()


def to_ask_by_set(to_ask: pd.DataFrame) -> pd.DataFrame:
    """What it would take to ask one model more, set by set.

    Parameters
    ----------
    to_ask
        From `deepvalues.ask.on_record.to_ask`.

    Returns
    -------
    pandas.DataFrame
        study, item_set, models (not asked); requests, input_tokens, output_tokens of one model, the largest
        where models differ; least and most: dollars of the cheapest and the dearest model without caching.
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
    """Who has answered, in a clause: "8 reference agents, 8 text learners and no language model".

    Heads on hidden states are named where there are any.

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
    """The numbers of the record that a text may want.

    Parameters
    ----------
    coverage
        From `deepvalues.ask.on_record.coverage`.
    study, item_set
        The set whose models and answers are counted.

    Returns
    -------
    dict
        language_models, heads, text_learners, reference_agents: models whose records answer all of the
        set; not_asked; answers: what these models answered of the set, a repeat like an item of its own and a
        conversation of several turns once.
    """
    of_set = coverage[(coverage["study"] == study) & (coverage["item_set"] == item_set)]
    complete = of_set[of_set["state"] == "complete"]
    families = {name: int((complete["family"] == family).sum()) for name, family in FAMILY_COUNTS.items()}
    return families | {
        "not_asked": int((of_set["state"] == "not asked").sum()),
        "answers": int(complete["recorded"].sum()),
    }


def not_whole(coverage: pd.DataFrame) -> list[str]:
    """Models that are listed and have not answered all of a set, a line for each state and group of sets.

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
