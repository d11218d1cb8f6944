"""What the studies share: missing replies, the models that sentences are about, and measures side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepvalues.ask.reading import STATUSES
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.paths import shown
from deepvalues.stats.rates import spearman


@contextmanager
def wording_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """The content of a wording's file; whoever finds it wanting raises any of the errors of a look-up.

    Raises
    ------
    UserError
        In place of these errors, and when the file cannot be read.
    """
    content = read_yaml(path)
    try:
        yield content
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{shown(path)}: not the wording of this study: {error!r}") from None


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


def language_models_or_all(table: pd.DataFrame, family: Mapping[str, str]) -> pd.DataFrame:
    """The rows of the language models where there are any, else all: local models check the instrument.

    Parameters
    ----------
    table
        Its rows name their model in the column model.
    family
        Of each model.
    """
    of_language_models = table["model"].map(dict(family)) == "language model"
    return table[of_language_models] if of_language_models.any() else table


#: What each study contributes: how far the value moves a choice (logits), value rationality corrected for
#: chance (0 random, 1 ideal), and fidelity to the reference (−1 to 1).
MEASURES = ("value_sensitivity", "value_rationality", "profile_fidelity")


def side_by_side(
    sensitivities: pd.DataFrame, rationality: pd.DataFrame, fidelity: pd.DataFrame
) -> pd.DataFrame:
    """One row for each model that has at least one of the three measures.

    A model without an estimate in some condition or mode has no average: one that refuses what is hard
    would come out the better for it.

    Parameters
    ----------
    sensitivities
        From `dvb.analysis.statistics.sensitivities`: model, b_v (logits).
    rationality
        From `svo.analysis.statistics.value_rationality`: model, corrected; averaged over conditions.
    fidelity
        From `profiles.analysis.comparison.fidelity_table`: model, fidelity; averaged over modes.

    Returns
    -------
    pandas.DataFrame
        model, and `MEASURES`, missing where the model has none; sorted by model.
    """
    columns = [
        sensitivities.set_index("model")["b_v"],
        rationality.groupby("model")["corrected"].mean(skipna=False),
        fidelity.groupby("model")["fidelity"].mean(skipna=False),
    ]
    joined = pd.concat(columns, axis=1, keys=MEASURES).rename_axis("model")
    return joined.dropna(how="all").sort_index().reset_index()


def in_several(table: pd.DataFrame) -> pd.DataFrame:
    """The models that have at least two of the three measures.

    Parameters
    ----------
    table
        From `side_by_side`.
    """
    return table[table[list(MEASURES)].notna().sum(axis=1) >= 2].reset_index(drop=True)


def rank_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of each two measures, over the models that have both.

    Parameters
    ----------
    table
        From `side_by_side`.

    Returns
    -------
    pandas.DataFrame
        first, second, models_first and models_second (models that have the measure), models (that have
        both), rho, low, high (Fisher's z, as in pingouin), p_value; NaN with fewer than four models or
        without variation.
    """
    rows = []
    for first, second in combinations(MEASURES, 2):
        both = table[[first, second]].dropna()
        counts = table[first].notna().sum(), table[second].notna().sum(), len(both)
        rows.append((first, second, *map(int, counts), *spearman(both[first], both[second])))
    columns = ["first", "second", "models_first", "models_second", "models", "rho", "low", "high", "p_value"]
    return pd.DataFrame(rows, columns=columns)


def held_to_agents(
    table: pd.DataFrame, agents: Mapping[str, Any], subject: str, measure: str, precision: float
) -> pd.DataFrame:
    """Hold the reference agents among the models of a table to what the measure must find.

    Parameters
    ----------
    table
        model, and the columns named by ``subject`` and ``measure``.
    agents
        By name, each with a method `expected`: what the measure must find for a subject.
    precision
        How far a measure may be off, in its unit.

    Returns
    -------
    pandas.DataFrame
        model, the subject, expected, the measure, off, agrees.
    """
    found = table[table["model"].isin(list(agents))][["model", subject, measure]].reset_index(drop=True)
    known = [agents[model].expected(of) for model, of in zip(found["model"], found[subject], strict=True)]
    found.insert(2, "expected", np.array(known, dtype=float))
    found["off"] = found[measure] - found["expected"]
    return found.assign(agrees=found["off"].abs() <= precision)
