"""Descriptive tables of the bank, the design and the items of study 1; nothing is estimated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import pandas as pd

from deepvalues.studies.dvb.stimuli.bank import SPLITS, Bank, Trait, mean_length
from deepvalues.studies.dvb.stimuli.design import Arm, Contrast, Design

#: Display names of the value sets, after those who listed them.
SET_NAMES = {"ross_duty": "Ross", "schwartz_social": "Schwartz"}


def wordings(bank: Bank) -> pd.DataFrame:
    """Number and length of the wordings of each trait.

    Returns
    -------
    pandas.DataFrame
        kind (value or pole), trait, split, wordings (number), mean_words (mean length).
    """
    rows = [
        (trait.kind, trait.id, split, len(trait.wordings[split]), mean_length(trait, split))
        for trait in bank.traits
        for split in SPLITS
    ]
    return pd.DataFrame(rows, columns=["kind", "trait", "split", "wordings", "mean_words"])


def wordings_by_split(table: pd.DataFrame) -> pd.DataFrame:
    """Wordings of all values and of all poles, by split.

    Parameters
    ----------
    table
        From `wordings`.

    Returns
    -------
    pandas.DataFrame
        kind, split, traits, wordings, mean_words (mean over traits), shortest and longest (mean words of
        the traits with the shortest and the longest wordings).
    """
    return table.groupby(["kind", "split"], as_index=False).agg(
        traits=("trait", "size"),
        wordings=("wordings", "sum"),
        mean_words=("mean_words", "mean"),
        shortest=("mean_words", "min"),
        longest=("mean_words", "max"),
    )


def scenes(bank: Bank) -> int:
    """The number of scenes over all activities."""
    activities = (activity for domain in bank.domains.values() for activity in domain.activities.values())
    return sum(len(activity.scenes[split]) for activity in activities for split in SPLITS)


def _first(trait: Trait, bank: Bank, domain: str) -> str:
    """A trait's first training wording, as it continues "An agent that"."""
    return f"… {trait.wordings['train'][0].fill(bank.domains[domain].nouns)}"


def values(bank: Bank, domain: str = "legal") -> pd.DataFrame:
    """The values, each with one wording.

    Parameters
    ----------
    domain
        The domain whose nouns fill the slots.

    Returns
    -------
    pandas.DataFrame
        value, set (one of `SET_NAMES`), definition, wording; sorted by set and value.
    """
    ordered = sorted(bank.values.values(), key=lambda value: (value.group, value.name))
    rows = [(value.name, value.group, value.definition, _first(value, bank, domain)) for value in ordered]
    return pd.DataFrame(rows, columns=["value", "set", "definition", "wording"])


def dimensions(bank: Bank, domain: str = "commerce") -> pd.DataFrame:
    """The shallow dimensions, with one wording of each pole.

    Parameters
    ----------
    domain
        The domain whose nouns fill the slots.

    Returns
    -------
    pandas.DataFrame
        dimension, first_pole, second_pole: "name: … wording".
    """
    rows = []
    for dimension in bank.dimensions.values():
        poles = [bank.poles[pole] for pole in dimension.poles]
        rows.append((dimension.name, *(f"{pole.name}: {_first(pole, bank, domain)}" for pole in poles)))
    return pd.DataFrame(rows, columns=["dimension", "first_pole", "second_pole"])


def _sides(contrast: Contrast | None) -> str:
    """A contrast as "(v1, s1) / (v2, s2)"."""
    return "none" if contrast is None else " / ".join(f"({side.value}, {side.pole})" for side in contrast)


def arms(listed: Iterable[Arm]) -> pd.DataFrame:
    """The arms of the design.

    Returns
    -------
    pandas.DataFrame
        arm; examples (chosen / rejected) and test (target / other), by roles; n_examples; right_means;
        always_value and always_surface: the rates expected of the agents with these names.
    """
    rows = [
        {
            "arm": arm.name.replace("_", " "),
            "examples": _sides(arm.examples),
            "n_examples": ", ".join(map(str, arm.n_examples)),
            "test": _sides(arm.test),
            "right_means": arm.right_means,
            "always_value": float(arm.always_value),
            "always_surface": float(arm.always_surface),
        }
        for arm in listed
    ]
    return pd.DataFrame(rows)


def item_counts(items: pd.DataFrame) -> pd.DataFrame:
    """Number of items by arm and number of examples, and how they are balanced.

    Returns
    -------
    pandas.DataFrame
        arm, n_examples, items; right_is_a (share with option A right), value_first (share with the value's
        clause first), mean_characters (of the prompts).
    """
    marked = items[["arm", "n_examples"]].assign(
        right_is_a=items["right"] == "A",
        value_first=items["clause_order"] == "value_first",
        mean_characters=items["prompt"].str.len(),
    )
    groups = marked.groupby(["arm", "n_examples"], sort=False)
    counts = groups.mean()
    counts.insert(0, "items", groups.size())
    return counts.reset_index()


def balance(design: Design) -> pd.DataFrame:
    """How evenly the directed dimensions are spread over the cells.

    Returns
    -------
    pandas.DataFrame
        within: all cells, a domain, or a preferred value; least and most: the number of cells there with
        the rarest and with the most frequent directed dimension.
    """
    cells = pd.DataFrame(map(asdict, design.cells))
    directed = cells["dimension"] + " " + cells["direction"]
    counts = {
        "all cells": directed.value_counts().to_numpy(),
        "each domain": pd.crosstab(directed, cells["domain"]).to_numpy(),
        "each preferred value": pd.crosstab(directed, cells["v1"]).to_numpy(),
    }
    rows = [(within, int(number.min()), int(number.max())) for within, number in counts.items()]
    return pd.DataFrame(rows, columns=["within", "least", "most"])
