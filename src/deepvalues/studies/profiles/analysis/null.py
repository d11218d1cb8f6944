"""What fidelity, order and spread a respondent without an opinion gets: the null beside every score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepvalues.stats.bootstrap import TAILS
from deepvalues.studies.profiles.analysis.measures import moments, of_moments
from deepvalues.studies.profiles.analysis.reference import label, mean_profiles
from deepvalues.studies.profiles.respondents.agents import chance_runs
from deepvalues.studies.profiles.stimuli.instrument import OPEN

Array = NDArray[np.float64]

#: Respondents that are simulated for each mode and number of runs.
RESPONDENTS = 10_000
#: What is simulated.
SCORES = ("fidelity", "r", "v")


def null_scores(mode: str, runs: int, h: Array, seed: int) -> dict[str, Array]:
    """Scores of respondents whose runs are `chance_runs`, against a reference.

    Parameters
    ----------
    h
        The reference's mean profile, shape (6,).

    Returns
    -------
    dict
        F, r and v of the mean profile over the runs, shape (`RESPONDENTS`,) each, by the names of `SCORES`.
    """
    x = chance_runs(mode, (RESPONDENTS, runs), np.random.default_rng(seed)).mean(axis=1)
    found = of_moments(moments(x, h))
    return {name: found[name] for name in SCORES}


def null_table(
    reference: pd.DataFrame, ceiling: pd.DataFrame, themes: Sequence[str], runs: int, seed: int
) -> pd.DataFrame:
    """What respondents without an opinion get in each closed mode of a reference.

    Parameters
    ----------
    ceiling
        From `analysis.comparison.human_ceiling`.
    runs
        Of each simulated respondent in each mode: as many as models are asked for.

    Returns
    -------
    pandas.DataFrame
        mode, reference, runs, simulated (respondents); of each of `SCORES` its _median, and the ends of its
        middle 95% as _low and _high; to_exceed (95% quantile of F); as_people (share with an F at or above
        the mean F of the reference's respondents to the mean of the others).
    """
    people = ceiling.set_index("mode")["mean"]
    rows = []
    for mode, h in mean_profiles(reference, themes).items():
        if mode == OPEN:
            continue
        scores = null_scores(mode, runs, h, seed)
        row = {"mode": mode, "reference": label(reference), "runs": runs, "simulated": RESPONDENTS}
        for name, drawn in scores.items():
            low, high = np.nanquantile(drawn, TAILS)
            row |= {f"{name}_median": np.nanmedian(drawn), f"{name}_low": low, f"{name}_high": high}
        to_exceed = np.quantile(scores["fidelity"], 0.95)
        as_people = (scores["fidelity"] >= people[mode]).mean()
        rows.append(row | {"to_exceed": to_exceed, "as_people": as_people})
    return pd.DataFrame(rows)


def null_p(
    table: pd.DataFrame, reference: pd.DataFrame, themes: Sequence[str], seed: int
) -> pd.Series[float]:
    """How often a respondent without an opinion, and with as many runs, has a fidelity as high.

    Parameters
    ----------
    table
        From `analysis.comparison.fidelity_table`.

    Returns
    -------
    pandas.Series
        One-sided p by row of the table, the observed fidelity counted among the simulated ones; NaN where it
        is.

    References
    ----------
    Phipson and Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9.
    """
    means = mean_profiles(reference, themes)
    drawn: Mapping[tuple[str, int], Array] = {
        (mode, runs): null_scores(mode, runs, means[mode], seed)["fidelity"]
        for mode, runs in set(table[["mode", "runs"]].itertuples(index=False, name=None))
    }
    rows = table[["mode", "runs", "fidelity"]].itertuples(index=False, name=None)
    p = [(1 + (drawn[mode, runs] >= found).sum()) / (1 + RESPONDENTS) for mode, runs, found in rows]
    return pd.Series(p, table.index, dtype=float).where(table["fidelity"].notna())
