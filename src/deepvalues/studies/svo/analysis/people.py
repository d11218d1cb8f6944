"""Distance of models, without an assigned value, from 6,234 people.

The published tables of people (``data/published/svo_human_*.csv``) are a histogram of the angle, and shares
of categories and of options.
"""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from deepvalues.studies.svo.analysis.scoring import CATEGORIES
from deepvalues.studies.svo.analysis.statistics import option_shares
from deepvalues.studies.svo.stimuli import LETTERS, NO_VALUE, Floats

#: Points per bin of the histogram. People are assumed to be spread evenly within a bin; their actual distance
#: from that is less than one degree (tested).
_POINTS_PER_BIN = 100
#: Number of samples of people for comparison with a model's distances.
SAMPLES = 2000


def spread_people(histogram: pd.DataFrame) -> tuple[Floats, Floats]:
    """Angles that represent people, spread evenly within the bins of a histogram, and their weights."""
    offsets = (np.arange(_POINTS_PER_BIN) + 0.5) / _POINTS_PER_BIN
    low, width = histogram["bin_low_degrees"].to_numpy(float), histogram["bin_width_degrees"].to_numpy(float)
    points = (low[:, None] + width[:, None] * offsets).ravel()
    weights = np.repeat(histogram["count"].to_numpy(float), _POINTS_PER_BIN)
    return points, weights / weights.sum()


def wasserstein(angles: npt.ArrayLike, histogram: pd.DataFrame) -> float:
    """First Wasserstein distance between angles and people, in degrees; NaN without angles."""
    known = np.asarray(angles, dtype=float)
    points, weights = spread_people(histogram)
    return float(stats.wasserstein_distance(known, points, None, weights)) if len(known) else math.nan


def total_variation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Half the sum of absolute differences of shares: 0 if equal, 1 if disjoint."""
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).sum() / 2)


def against_people(
    frame: pd.DataFrame,
    asked: pd.DataFrame,
    histogram: pd.DataFrame,
    norms: pd.DataFrame,
    shares: pd.DataFrame,
    *,
    seed: int,
) -> pd.DataFrame:
    """Compare each model's trials without an assigned value with people.

    Even a few trials by people would be at some distance from all people, so each distance comes with the
    mean and 95% quantile of the distances of equally many people, drawn from the same tables.

    Parameters
    ----------
    frame, asked
        From `analysis.statistics.trials` and `analysis.statistics.choices`.
    histogram, norms, shares
        The published tables; only the group "all" of the norms is used.
    seed
        Seed of the samples of people.

    Returns
    -------
    pandas.DataFrame
        model, mode, goal, trials, complete, angle, people_angle, wasserstein (degrees) with
        wasserstein_people and wasserstein_people_95, categories (total variation) with categories_people and
        categories_people_95, options (total variation, mean over the six items) with options_people and
        options_people_95. A distance above its 95% quantile distinguishes the model from people.
    """
    everyone = norms.set_index("group").loc["all"]
    of_people = np.array([everyone[f"{name}_pct"] for name in CATEGORIES], dtype=float)
    of_people = of_people / of_people.sum()
    table = shares.pivot(index="item", columns="option", values="share")[list(LETTERS)].to_numpy(dtype=float)
    table = table / table.sum(axis=1, keepdims=True)
    key = ["model", "mode", "goal"]
    given = option_shares(asked[asked["value"] == NO_VALUE], key)
    options = {name: _options(part, table) for name, part in given.groupby(key)}
    unassigned = frame[frame["value"] == NO_VALUE].groupby(key)
    of_samples = {
        n: (
            _angles_of_people(n, histogram, seed),
            *(_shares_of_people(n, one, seed) for one in (of_people[None], table)),
        )
        for n in unassigned["angle"].count().unique()
    }
    rows = []
    for name, group in unassigned:
        angles = group["angle"].dropna().to_numpy()
        n = len(angles)
        counts = group["category"].value_counts().reindex(list(CATEGORIES), fill_value=0)
        distances = (
            wasserstein(angles, histogram),
            total_variation(counts / n, of_people) if n else math.nan,
            options.get(name, math.nan),
        )
        beside = zip(distances, of_samples[n], strict=True)
        numbers = chain(*((own, *people) for own, people in beside))
        rows.append((*name, len(group), n, angles.mean() if n else math.nan, everyone["mean"], *numbers))
    measures = [
        f"{measure}{suffix}"
        for measure in ("wasserstein", "categories", "options")
        for suffix in ("", "_people", "_people_95")
    ]
    columns = [*key, "trials", "complete", "angle", "people_angle", *measures]
    return pd.DataFrame(rows, columns=columns)


def _options(part: pd.DataFrame, table: Floats) -> float:
    """Mean total variation of option shares over the items with a choice."""
    wide = part.pivot(index="item", columns="option", values="share")[list(LETTERS)]
    distances = [
        total_variation(shares, table[int(item) - 1])
        for item, shares in zip(wide.index, wide.to_numpy(dtype=float), strict=True)
    ]
    return float(np.mean(distances))


def _angles_of_people(n: int, histogram: pd.DataFrame, seed: int) -> tuple[float, float]:
    """Mean and 95% quantile of the Wasserstein distance of n people from all people."""
    if n == 0:
        return math.nan, math.nan
    points, weights = spread_people(histogram)
    drawn = np.random.default_rng(seed).choice(points, size=(SAMPLES, n), p=weights)
    distances = [stats.wasserstein_distance(sample, points, None, weights) for sample in drawn]
    return float(np.mean(distances)), float(np.quantile(distances, 0.95))


def _shares_of_people(n: int, table: Floats, seed: int) -> tuple[float, float]:
    """Mean and 95% quantile of the total variation of n people from all people, averaged over rows of shares.

    Rows are drawn independently although people's answers are correlated; this affects only the quantile.
    """
    if n == 0:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(n, shares, size=SAMPLES) / n - shares for shares in table]
    distances = np.mean([np.abs(off).sum(axis=1) / 2 for off in drawn], axis=0)
    return float(distances.mean()), float(np.quantile(distances, 0.95))
