"""Validation of the instrument: agents' known profiles, simulated studies, and scores of random replies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepvalues.stats.bootstrap import TAILS, draw_counts, percentiles
from deepvalues.studies.profiles.analysis.comparison import resampled, without_chance
from deepvalues.studies.profiles.analysis.measures import fidelity, measures, moments, of_moments
from deepvalues.studies.profiles.analysis.reference import label, mean_profiles, respondents
from deepvalues.studies.profiles.respondents import ProfileAgent, chance_runs
from deepvalues.studies.profiles.stimuli import OPEN

Array = NDArray[np.float64]

#: The measures compared with their true values.
RECOVERED = ("fidelity", "v")
#: Tolerance for a true value at the end of an interval.
ROUNDING = 1e-9
#: Resamples in each simulated study: fewer than in the notebook, so interval ends are less exact.
RESAMPLES = 500
#: Respondents simulated for each mode and number of runs.
RESPONDENTS = 10_000
#: The measures simulated.
SCORES = ("fidelity", "r", "v")


def recovery(
    table: pd.DataFrame, agents: Mapping[str, ProfileAgent], reference: pd.DataFrame, themes: Sequence[str]
) -> pd.DataFrame:
    """Fidelity and spread of each reference agent: implied by its known profile, and estimated from its runs.

    Parameters
    ----------
    table
        From `analysis.comparison.fidelity_table`; models that are not agents are left out.
    agents
        By name, from `respondents.profile_agents`.
    reference
        The reference of the table.
    themes
        Keys of the themes in their fixed order.

    Returns
    -------
    pandas.DataFrame
        model, mode, measure (one of `RECOVERED`), implied, estimate, low, high, held (whether the interval
        contains the implied value), reference.
    """
    means = mean_profiles(reference, themes)
    rows = []
    for row in table[table["model"].isin(list(agents))].to_dict("records"):
        implied = fidelity(agents[row["model"]].expected(row["mode"]), means[row["mode"]])
        for measure in RECOVERED:
            estimate, low, high = (row[f"{measure}{end}"] for end in ("", "_low", "_high"))
            rows.append((row["model"], row["mode"], measure, implied[measure], estimate, low, high))
    columns = ["model", "mode", "measure", "implied", "estimate", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns)
    held = frame["implied"].between(frame["low"] - ROUNDING, frame["high"] + ROUNDING)
    return frame.assign(held=held, reference=label(reference))


def _held(x: Array, h: Array, truth: pd.Series[float], counts: tuple[Array, Array]) -> Array:
    """Whether the interval of each of `RECOVERED` contains the truth, shape (studies, measures).

    Parameters
    ----------
    x, h
        Runs and respondents of each study, shapes (studies, rows, 6).
    counts
        Resamples of each. All studies share them, which does not bias their intervals.
    """
    held = np.empty((len(x), len(RECOVERED)), dtype=bool)
    for study, (runs, people) in enumerate(zip(x, h, strict=True)):
        drawn = without_chance(resampled(runs, counts[0]), resampled(people, counts[1]))
        for place, measure in enumerate(RECOVERED):
            low, high = percentiles(drawn[measure])
            held[study, place] = low - ROUNDING <= truth[measure] <= high + ROUNDING
    return held


def simulated_coverage(
    agents: Iterable[ProfileAgent],
    reference: pd.DataFrame,
    themes: Sequence[str],
    modes: Sequence[str],
    runs: int,
    studies: int,
    seed: int,
) -> pd.DataFrame:
    """Simulate studies of agents with known profiles, and count the intervals that contain the truth.

    Each study has new replies of an agent and new respondents, drawn with replacement from the reference and
    equal in number. The population is thus the reference's respondents, and the truth is the measure between
    the agent's known profile and their mean.

    Parameters
    ----------
    agents
        Agents that are `steady`.
    runs
        Runs of an agent in each study.

    Returns
    -------
    pandas.DataFrame
        model, mode, measure (one of `RECOVERED`), reference, runs, respondents, simulated (studies), implied
        (the truth), mean_estimate, coverage, coverage_error (its Monte Carlo standard error).
    """
    rows = []
    rng = np.random.default_rng(seed)
    for mode in modes:
        people = respondents(reference, mode, themes)
        counts = draw_counts(runs, RESAMPLES, rng), draw_counts(len(people), RESAMPLES, rng)
        h = people[rng.integers(len(people), size=(studies, len(people)))]
        for agent in agents:
            truth = fidelity(agent.expected(mode), people.mean(axis=0))
            x = agent.simulated(mode, (studies, runs), rng)
            estimates = measures(x.mean(axis=1), h.mean(axis=1))._asdict()
            for measure, share in zip(RECOVERED, _held(x, h, truth, counts).mean(axis=0), strict=True):
                given = (agent.name, mode, measure, label(reference), runs, len(people), studies)
                error = np.sqrt(share * (1 - share) / studies)
                rows.append((*given, truth[measure], np.mean(estimates[measure]), share, error))
    about = ("model", "mode", "measure", "reference", "runs", "respondents", "simulated")
    return pd.DataFrame(rows, columns=[*about, "implied", "mean_estimate", "coverage", "coverage_error"])


def null_scores(mode: str, runs: int, h: Array, seed: int) -> dict[str, Array]:
    """Scores of simulated respondents without an opinion (`chance_runs`) against a reference.

    Parameters
    ----------
    h
        The reference's mean profile, shape (6,).

    Returns
    -------
    dict
        Each of `SCORES` for the mean profiles over runs, shape (`RESPONDENTS`,).
    """
    x = chance_runs(mode, (RESPONDENTS, runs), np.random.default_rng(seed)).mean(axis=1)
    found = of_moments(moments(x, h))
    return {name: found[name] for name in SCORES}


def null_table(
    reference: pd.DataFrame, ceiling: pd.DataFrame, themes: Sequence[str], runs: int, seed: int
) -> pd.DataFrame:
    """Scores of respondents without an opinion in each closed mode of a reference.

    Parameters
    ----------
    ceiling
        From `analysis.comparison.human_ceiling`.
    runs
        Runs of each simulated respondent per mode: the number that models are asked for.

    Returns
    -------
    pandas.DataFrame
        mode, reference, runs, simulated (respondents); for each of `SCORES` its _median, and the middle 95%
        from _low to _high; to_exceed (95% quantile of F); as_people (share with an F of at least the mean in
        ``ceiling``).
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
    """How often a respondent without an opinion, with the same number of runs, has a fidelity as high.

    Parameters
    ----------
    table
        From `analysis.comparison.fidelity_table`.

    Returns
    -------
    pandas.Series
        One-sided p for each row of the table, counting the observed fidelity as one of the simulated; NaN if
        there is none.

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
