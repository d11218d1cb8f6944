"""How often the two-level intervals of fidelity and spread hold the truth, by simulation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepvalues.stats.bootstrap import draw_counts, percentiles
from deepvalues.studies.profiles.analysis.comparison import resampled, without_chance
from deepvalues.studies.profiles.analysis.measures import fidelity, measures
from deepvalues.studies.profiles.analysis.recovery import RECOVERED, ROUNDING
from deepvalues.studies.profiles.analysis.reference import label, respondents
from deepvalues.studies.profiles.respondents.agents import ProfileAgent

Array = NDArray[np.float64]

#: Resamples of each simulated study: an interval's ends are a little less exact than the notebook's.
RESAMPLES = 500


def _held(x: Array, h: Array, truth: pd.Series[float], counts: tuple[Array, Array]) -> Array:
    """Whether the interval of each of `RECOVERED` holds the truth, in each study, shape (studies, measures).

    Parameters
    ----------
    x, h
        Runs and respondents of each study, shapes (studies, rows, 6).
    counts
        Resamples of either, alike in all studies, which leaves each study's own interval as it is.
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
    """Simulate studies of agents with known profiles, and count the intervals that hold the truth.

    In each study an agent replies anew, and as many respondents as the reference has are drawn from it with
    replacement. So the reference's respondents are the population, and the truth is what the agent's known
    profile implies against their mean.

    Parameters
    ----------
    agents
        Those that answer all wordings alike.
    runs
        Of an agent in each study.

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
