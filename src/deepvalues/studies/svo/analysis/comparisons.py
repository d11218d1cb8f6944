"""Comparisons of angles: between models and assigned values, and of models with 6,234 people."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin as pg
from scipy import stats

from deepvalues.studies.svo.analysis.scoring import CATEGORIES
from deepvalues.studies.svo.analysis.statistics import option_shares
from deepvalues.studies.svo.stimuli import LETTERS, NO_VALUE, Floats

# ---- analysis of variance and permutation tests ----

PERMUTATIONS = 1999
#: There is one analysis per combination of these.
_WITHIN = ["mode", "goal"]
SOURCES = ("model", "value", "model * value")


def anova(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Two-way analysis of variance of the angle, models × assigned values, by mode and goal prompting.

    Sums of squares are of type II. The classical test assumes equal variances, which models with constant
    answers violate, so each F comes with a permutation test. For values it permutes angles within each model,
    and for models within each value (exact if the factor has no effect in any stratum); for the interaction
    it permutes the residuals of the additive model (approximate). Models that lack a complete trial for some
    value are left out; `left_out` names them.

    Parameters
    ----------
    frame
        From `analysis.statistics.trials`; trials without a value or with missing choices are left out.
    seed
        Seed of the permutations.

    Returns
    -------
    pandas.DataFrame
        mode, goal, source, df, df_residual, f, p_value, eta (partial eta squared), p_permutation, models,
        trials. NaN with fewer than two models or values, or no variation within cells.

    References
    ----------
    Anderson and ter Braak (2003), Journal of Statistical Computation and Simulation 73.
    """
    known = frame[frame["value"] != NO_VALUE].dropna(subset="angle")
    rows = []
    for key, group in known.groupby(_WITHIN, sort=True):
        rows += [(*key, *row) for row in _anova(group, seed)]
    columns = ["source", "df", "df_residual", "f", "p_value", "eta", "p_permutation", "models", "trials"]
    return pd.DataFrame(rows, columns=[*_WITHIN, *columns])


def _anova(group: pd.DataFrame, seed: int) -> list[tuple[object, ...]]:
    sizes = group.groupby(["model", "value"]).size().unstack(fill_value=0)
    whole = sizes[(sizes > 0).all(axis=1)]
    group = group[group["model"].isin(whole.index)]
    cells = group.groupby(["model", "value"])["angle"]
    varies = (cells.max() - cells.min() > 1e-9).any()
    size = len(whole), len(group)
    if min(whole.shape) < 2 or not varies:
        return [(source, *[math.nan] * 6, *size) for source in SOURCES]
    table = pg.anova(data=group, dv="angle", between=["model", "value"]).set_index("Source")
    permuted = _permuted(group, seed)
    residual = float(table.loc["Residual", "DF"])
    return [
        (source, *table.loc[source, ["DF"]], residual, *table.loc[source, ["F", "p_unc", "np2"]], p, *size)
        for source, p in zip(SOURCES, permuted, strict=True)
    ]


def left_out(frame: pd.DataFrame) -> pd.DataFrame:
    """The models that `anova` leaves out, with the values for which they have no complete trial.

    A value without a complete trial of any model is not a level of the analysis and excludes no model.

    Parameters
    ----------
    frame
        As for `anova`.

    Returns
    -------
    pandas.DataFrame
        model, value, lacking (number of analyses in which the model lacks that value), analyses.
    """
    assigned = frame[frame["value"] != NO_VALUE]
    sizes = assigned.groupby([*_WITHIN, "model", "value"])["angle"].count().unstack("value", fill_value=0)
    cells = sizes.melt(ignore_index=False, value_name="complete").reset_index()
    is_level = cells.groupby([*_WITHIN, "value"])["complete"].transform("max") > 0
    lacking = cells[is_level & (cells["complete"] == 0)].groupby(["model", "value"]).size()
    analyses = len(assigned.drop_duplicates(_WITHIN))
    return lacking.reset_index(name="lacking").assign(analyses=analyses)


def _basis(columns: Floats) -> Floats:
    """Orthonormal basis of the span of columns, which may be linearly dependent."""
    left, strengths, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(left[:, strengths > 1e-9 * strengths[0]])


def _design(model: npt.NDArray[np.intp], value: npt.NDArray[np.intp]) -> list[Floats]:
    """Bases of the column spaces of four designs: by model, by value, additive, full."""
    models, values = (np.eye(codes.max() + 1)[codes] for codes in (model, value))
    cells = (models[:, :, None] * values[:, None, :]).reshape(len(model), -1)
    return [_basis(columns) for columns in (models, values, np.hstack([models, values]), cells)]


def _f(design: list[Floats], angles: Floats) -> Floats:
    """F of the three `SOURCES` for each column of angles, shape (3, columns)."""
    by_model, by_value, additive, full = (np.square(basis.T @ angles).sum(axis=0) for basis in design)
    size = [basis.shape[1] for basis in design]
    residual = (np.square(angles).sum(axis=0) - full) / (len(angles) - size[3])
    effects = [
        (additive - by_value) / (size[2] - size[1]),
        (additive - by_model) / (size[2] - size[0]),
        (full - additive) / (size[3] - size[2]),
    ]
    return np.asarray(np.stack(effects) / np.maximum(residual, 1e-12))


def _permuted(group: pd.DataFrame, seed: int) -> list[float]:
    """Permutation p-values of the three `SOURCES`."""
    rng = np.random.default_rng(seed)
    model, value = (pd.factorize(group[name])[0] for name in ("model", "value"))
    angles = group["angle"].to_numpy(dtype=float)
    angles = angles - angles.mean()
    design = _design(model, value)
    _, _, additive, _ = design
    fitted = additive @ (additive.T @ angles)
    reached = _f(design, angles[:, None])[:, 0]
    drawn = [
        _within(angles, value, rng),
        _within(angles, model, rng),
        fitted[:, None] + _within(angles - fitted, np.zeros_like(model), rng),
    ]
    return [
        float((1 + (_f(design, sample)[source] >= reached[source] * (1 - 1e-9)).sum()) / (1 + PERMUTATIONS))
        for source, sample in enumerate(drawn)
    ]


def _within(angles: Floats, strata: npt.NDArray[np.intp], rng: np.random.Generator) -> Floats:
    """Angles permuted within strata, shape (trials, permutations)."""
    drawn = np.tile(angles[:, None], (1, PERMUTATIONS))
    for stratum in np.unique(strata):
        rows = strata == stratum
        drawn[rows] = rng.permuted(drawn[rows], axis=0)
    return drawn


# ---- models without an assigned value, and people ----
#
# The published tables of people (``data/published/svo_human_*.csv``) are a histogram of the angle, and shares
# of categories and of options.

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
