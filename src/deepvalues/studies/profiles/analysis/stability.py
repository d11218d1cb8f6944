"""Similarity of runs and of models: Kendall's W, intraclass correlations, a tree and a map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from deepvalues.core.errors import UserError
from deepvalues.stats.agreement import icc_table
from deepvalues.stats.bootstrap import TAILS, draw_counts
from deepvalues.stats.rates import t_interval
from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.profiles.analysis.responses import matrices

Array = NDArray[np.float64]
#: Intraclass correlations by column name.
ICCS = {"icc_c1": "ICC(C,1)", "icc_a1": "ICC(A,1)", "icc_ck": "ICC(C,k)", "icc_ak": "ICC(A,k)"}
_CUBES = THEMES**3 - THEMES


class Concordance(NamedTuple):
    """Kendall's W of rankers, its interval, and Friedman's test."""

    w: float
    w_low: float
    w_high: float
    chi2: float
    p_value: float
    correlation: float


def _w(rank_sums: Array, ties: Array, rankers: int) -> Array:
    squares = ((rank_sums - rank_sums.mean(-1, keepdims=True)) ** 2).sum(-1)
    most = rankers**2 * _CUBES - rankers * ties
    return np.asarray(np.where(most > 0, 12 * squares / np.where(most > 0, most, 1), np.nan))


def _ranked(x: Array) -> tuple[Array, Array]:
    """Ranks of each row, and Σ(t³ − t) over its groups of t tied themes."""
    alike = (x[:, :, None] == x[:, None, :]).sum(-1)
    return stats.rankdata(x, axis=-1), (alike**2 - 1).sum(-1).astype(float)


def kendall_w(x: Array) -> float:
    """Kendall's coefficient of concordance of rows, corrected for ties.

    W = 12 Σ_j (R_j − R̄)² / (m²(n³ − n) − m Σ_i T_i), with m rows of n = 6 themes, rank sums R_j, and T_i the
    sum of t³ − t over row i's groups of t tied themes. A bootstrap needs thousands of them, which pingouin's
    ``friedman`` is too slow for; the tests compare the two.

    Parameters
    ----------
    x
        Shape (m, 6); higher is more important.

    Returns
    -------
    float
        NaN with fewer than two rows, or if all are flat.

    References
    ----------
    Kendall and Babington Smith (1939), Annals of Mathematical Statistics 10.
    """
    if len(x) < 2:
        return math.nan
    ranks, ties = _ranked(x)
    return float(_w(ranks.sum(axis=0), ties.sum(), len(x)))


def mean_correlation(w: Array, rankers: int) -> Array:
    """(mW − 1)/(m − 1): the mean Spearman correlation of m rankers without ties.

    It is the limit of W for many rankers of the same kind; W of a few is higher by about (1 − W)/m.
    """
    return np.asarray((rankers * w - 1) / (rankers - 1))


def concordance(x: Array, draws: int, seed: int) -> Concordance:
    """Kendall's W of rows with Friedman's test, and an interval over rows.

    W is biased upwards in a sample, and again in a resample of it. So each resample's W is corrected twice by
    `mean_correlation`, and the interval is for the limit of W with many rows. In simulations of the reference
    agents with 30 runs, it contained the true W in 93 to 96% of samples; the plain percentile interval, in 70
    to 86%.

    Parameters
    ----------
    x
        Shape (m, 6).
    draws, seed
        Number and seed of the resamples of rows.

    Returns
    -------
    Concordance
        χ² = m(n − 1)W on 5 degrees of freedom; correlation is `mean_correlation`.

    References
    ----------
    Friedman (1937), Journal of the American Statistical Association 32.
    """
    m, w = len(x), kendall_w(x)
    if not math.isfinite(w):
        return Concordance(*[math.nan] * 6)
    ranks, ties = _ranked(x)
    counts = draw_counts(m, draws, seed)
    resampled = _w(counts @ ranks, counts @ ties, m)
    corrected = mean_correlation(mean_correlation(resampled, m), m)
    low, high = np.clip(np.nanquantile(corrected, TAILS), 0, 1)
    chi2 = m * (THEMES - 1) * w
    p_value = float(stats.chi2.sf(chi2, THEMES - 1))
    correlation = float(mean_correlation(np.asarray(w), m))
    return Concordance(w, float(low), float(high), chi2, p_value, correlation)


def intraclass(x: Array) -> dict[str, float]:
    """ICC(C,1), ICC(A,1), ICC(C,k) and ICC(A,k) from pingouin: themes are targets, rows are raters.

    Returns
    -------
    dict
        icc_c1, icc_a1, icc_ck, icc_ak, each with _low and _high from its F distribution, to two digits; NaN
        with fewer than two rows or no variation.

    References
    ----------
    McGraw and Wong (1996), Psychological Methods 1.
    """
    names = [f"{name}{end}" for name in ICCS for end in ("", "_low", "_high")]
    if len(x) < 2 or np.ptp(x) == 0:
        return dict.fromkeys(names, math.nan)
    table = icc_table(x.T)
    rows = [(table["ICC"][kind], *table["CI95"][kind]) for kind in ICCS.values()]
    return dict(zip(names, (float(number) for row in rows for number in row), strict=True))


def mean_interval(x: Array) -> tuple[Array, Array]:
    """Student's interval of the mean of each column; NaN with fewer than two rows or no variation."""
    low, high = np.transpose([t_interval(column) for column in x.T])
    return low, high


def profiles(responses: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """Mean profile of every model in every mode.

    Returns
    -------
    pandas.DataFrame
        mode, model, theme, runs, mean, low, high (Student's interval over runs).
    """
    rows = []
    for (mode, model), x in matrices(responses, themes).items():
        bounds = zip(themes, x.mean(axis=0), *mean_interval(x), strict=True)
        rows += [(mode, model, theme, len(x), *numbers) for theme, *numbers in bounds]
    return pd.DataFrame(rows, columns=["mode", "model", "theme", "runs", "mean", "low", "high"])


def stability(
    responses: pd.DataFrame, themes: Sequence[str], draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Similarity of the runs of every model in every mode.

    Returns
    -------
    pandas.DataFrame
        mode, model, runs, w, w_low, w_high, chi2, p_value (Friedman), correlation (`mean_correlation`), and
        icc_c1, icc_a1, icc_ck, icc_ak with their bounds.
    """
    return _concordances(matrices(responses, themes), ["mode", "model"], "runs", draws, seed)


def convergence(
    profiles: pd.DataFrame, themes: Sequence[str], draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Similarity of the models' mean profiles in every mode.

    Parameters
    ----------
    profiles
        From `profiles`, only for the models to include.

    Returns
    -------
    pandas.DataFrame
        As from `stability`, without ``model`` and with ``models`` for ``runs``; intervals are over models.
    """
    wide = profiles.pivot(index=["mode", "model"], columns="theme", values="mean")[list(themes)]
    rows = {(mode,): np.asarray(group, dtype=float) for mode, group in wide.groupby(level="mode")}
    return _concordances(rows, ["mode"], "models", draws, seed)


def _concordances(
    rows: Mapping[Any, Array], by: Sequence[str], number: str, draws: int, seed: int
) -> pd.DataFrame:
    table = [
        {
            **dict(zip(by, key, strict=True)),
            number: len(x),
            **concordance(x, draws, seed)._asdict(),
            **intraclass(x),
        }
        for key, x in rows.items()
    ]
    return pd.DataFrame(table)


class Map(NamedTuple):
    """Points of models in a plane, the direction of each theme, and each axis's share of the variance."""

    points: pd.DataFrame
    themes: pd.DataFrame
    shares: tuple[float, float]


def with_reference(profiles: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Mean profiles with the reference as an additional model under its own name.

    Parameters
    ----------
    profiles
        mode, model, theme, mean, from `analysis.stability.profiles`.
    reference
        mode, reference, theme, mean, from `analysis.comparison.reference_profiles`.

    Returns
    -------
    pandas.DataFrame
        mode, model, theme, mean.
    """
    columns = ["mode", "model", "theme", "mean"]
    people = reference.rename(columns={"reference": "model"})
    return pd.concat([profiles[columns], people[columns]], ignore_index=True)


def centred_profiles(profiles: pd.DataFrame, mode: str, themes: Sequence[str]) -> pd.DataFrame:
    """Mean profiles of a mode minus their means: a row per model, a column per theme, sorted by model.

    Parameters
    ----------
    profiles
        mode, model, theme, mean; the reference may be one of the models.

    Raises
    ------
    UserError
        With fewer than two models in the mode.
    """
    wide = profiles[profiles["mode"] == mode].pivot(index="model", columns="theme", values="mean")
    if len(wide) < 2:
        raise UserError(f"{mode}: a tree or map needs two models or more; there is {len(wide)}")
    wide = wide[list(themes)].sort_index()
    return wide.sub(wide.mean(axis=1), axis=0)


def tree(centred: pd.DataFrame) -> Array:
    """Hierarchical clustering by average linkage of Euclidean distances between centred profiles.

    Distances are rounded so that rounding errors don't decide a merger. The squared distance of two centred
    profiles is the sum of Cronbach and Gleser's scatter and shape.

    Returns
    -------
    numpy.ndarray
        scipy's linkage matrix, shape (models − 1, 4).
    """
    return np.asarray(linkage(np.round(pdist(centred.to_numpy()), 9), method="average"))


def plane(centred: pd.DataFrame) -> Map:
    """A map with distances as close as possible to those between centred profiles.

    This is classical scaling of Euclidean distances, that is, principal components. The largest loading on
    each axis is positive, so the map is the same on every run.

    Returns
    -------
    Map
        points: x and y by model; themes: x and y by theme (loadings); shares: of the variance, on each axis.

    References
    ----------
    Torgerson (1952), Psychometrika 17; Gower (1966), Biometrika 53.
    """
    deviations = centred.to_numpy() - centred.to_numpy().mean(axis=0)
    u, sizes, loadings = np.linalg.svd(deviations, full_matrices=False)
    heaviest = np.abs(np.round(loadings, 9)).argmax(axis=1)
    signs = np.sign(loadings[np.arange(len(loadings)), heaviest])
    points, loadings = u * sizes * signs, loadings * signs[:, None]
    total = (sizes**2).sum()
    shares = sizes[:2] ** 2 / total if total > 0 else np.full(2, np.nan)
    return Map(
        pd.DataFrame(points[:, :2], index=centred.index, columns=["x", "y"]),
        pd.DataFrame(loadings[:2].T, index=centred.columns, columns=["x", "y"]),
        (float(shares[0]), float(shares[1])),
    )
