"""Comparison of models with the reference: fidelity, residuals, human ceiling, and single respondents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepvalues.core.errors import UserError
from deepvalues.stats.bootstrap import TAILS, draw_counts, percentiles
from deepvalues.stats.bootstrap import resampled as resampled_sums
from deepvalues.stats.rates import NO_INTERVAL, Interval
from deepvalues.studies.profiles.analysis.measures import (
    MEASURES,
    THEMES,
    Moments,
    cronbach_gleser,
    measures,
    moments,
    of_moments,
    permutation_p,
    residuals,
)
from deepvalues.studies.profiles.analysis.reference import label, respondents
from deepvalues.studies.profiles.analysis.responses import matrices
from deepvalues.studies.profiles.analysis.stability import mean_interval

Array = NDArray[np.float64]
_BOUNDED = ("r", "fidelity", "ccc")
#: A corrected variance below this counts as zero.
_LEAST = 1e-9


class Resampled(NamedTuple):
    """Means of resamples, shape (draws, 6), and the sampling variance of a mean profile."""

    means: Array
    noise: float


def resampled(x: Array, counts: Array) -> Resampled:
    """Means of resampled rows: one level of the bootstrap.

    Parameters
    ----------
    x
        Shape (rows, 6): a model's runs, or respondents.
    counts
        From `draw_counts`, shape (draws, rows).

    Returns
    -------
    Resampled
        ``noise`` is the sampling variance of the centred mean, averaged over themes; NaN for one row.
    """
    m = len(x)
    centred = x - x.mean(axis=1, keepdims=True)
    noise = float(centred.var(axis=0, ddof=1).mean() / m) if m > 1 else math.nan
    return Resampled(counts @ x / m, noise)


def without_chance(model: Resampled, reference: Resampled) -> dict[str, Array]:
    """r, v, F, CCC and ICC of each resample, corrected for the sampling variance of its means.

    Random differences between runs inflate the variance of a mean profile by the sampling variance of the
    mean, and that of a resample by twice as much. Uncorrected, this keeps every draw of F below 1 even if F
    is 1, so twice the sampling variance is subtracted. If that leaves the model no spread, v is 0, and r is
    that of the uncorrected means.

    Returns
    -------
    dict
        Shape (draws,) by measure.

    References
    ----------
    Davison and Hinkley (1997), Bootstrap Methods and their Application, sections 3.8 and 5.2.
    """
    raw = moments(model.means, reference.means)
    var_x = np.maximum(raw.var_x - 2 * model.noise, _LEAST)
    var_h = np.maximum(raw.var_h - 2 * reference.noise, _LEAST)
    drawn = of_moments(Moments(var_x, var_h, raw.c, raw.shift))
    spread = var_x > _LEAST
    drawn["r"] = np.where(spread, drawn["r"], of_moments(raw)["r"])
    drawn["v"] = np.where(spread, drawn["v"], 0.0)
    return drawn | {name: np.clip(drawn[name], -1, 1) for name in _BOUNDED}


def bootstrapped(model: Resampled, reference: Resampled) -> dict[str, Interval]:
    """Percentile intervals of all measures from a two-level bootstrap of the model's runs and of respondents.

    The draws are those of `without_chance`, for the measures that it corrects. `analysis.recovery` tests the
    coverage. Estimates are uncorrected and need not lie in their intervals: for example, a mean pairwise
    difference near 0 can only be larger in a resample.

    Returns
    -------
    dict
        Bounds by measure; NaN if either side has only one row.
    """
    if not (math.isfinite(model.noise) and math.isfinite(reference.noise)):
        return dict.fromkeys(MEASURES, NO_INTERVAL)
    drawn = measures(model.means, reference.means)._asdict() | without_chance(model, reference)
    return {name: percentiles(drawn[name]) for name in MEASURES}


def direction(low: float, high: float) -> str:
    """The conclusion from an interval of v: exaggerates, flattens, or neither for certain."""
    if low > 1:
        return "exaggerates"
    return "flattens" if high < 1 else "neither for certain"


def fidelity_table(
    responses: pd.DataFrame,
    reference: pd.DataFrame,
    themes: Sequence[str],
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Fidelity of every model to the reference, in each mode that both have.

    Parameters
    ----------
    draws, seed
        Number and seed of the resamples; all models share those of the reference.

    Returns
    -------
    pandas.DataFrame
        mode, model, reference (`label`), runs, respondents; the measures of `fidelity`, each with _low and
        _high; direction (of v); p_greater and p_two_sided (exact, of r); rho_p_greater; elevation, scatter
        and shape (Cronbach and Gleser).
    """
    rows = []
    people = _by_mode(reference, themes)
    drawn = {mode: resampled(h, draw_counts(len(h), draws, seed + 1)) for mode, h in people.items()}
    for mode, model, x, of_people in _compared(responses, people, themes):
        mean, h = x.mean(axis=0), of_people.mean(axis=0)
        bounds = bootstrapped(resampled(x, draw_counts(len(x), draws, seed)), drawn[mode])
        row: dict[str, float] = {}
        for name, number in measures(mean, h)._asdict().items():
            low, high = bounds[name]
            row |= {name: float(number), f"{name}_low": low, f"{name}_high": high}
        parts = cronbach_gleser(mean, h)
        p = permutation_p(mean, h)
        rows.append(
            {"mode": mode, "model": model, "reference": label(reference), "runs": len(x)}
            | {"respondents": len(of_people), **row, "direction": direction(row["v_low"], row["v_high"])}
            | {"p_greater": p.greater, "p_two_sided": p.two_sided}
            | {"rho_p_greater": permutation_p(mean, h, "rho").greater}
            | {name: float(getattr(parts, name)) for name in ("elevation", "scatter", "shape")}
        )
    return pd.DataFrame(rows)


class FidelityDifference(NamedTuple):
    """The fidelity of two models, and the 95% interval of the first minus the second."""

    one: float
    other: float
    interval: Interval


def fidelity_difference(
    one: Array, other: Array, people: Array, draws: int = 2000, seed: int = 0
) -> FidelityDifference:
    """Compare the fidelity of two models in one mode.

    The bootstrap is that of `fidelity_table`: both models meet the same resample of the reference in each
    draw, so what they share cancels; their runs are resampled independently.

    Parameters
    ----------
    one, other
        Runs of the two models, shape (runs, 6).
    people
        The respondents of the reference, shape (respondents, 6).

    Returns
    -------
    FidelityDifference
        The interval is NaN where a model or the reference has one row.
    """
    f_one, f_other = (float(measures(x.mean(axis=0), people.mean(axis=0)).fidelity) for x in (one, other))
    reference = resampled(people, draw_counts(len(people), draws, seed + 1))
    models = [resampled(x, draw_counts(len(x), draws, seed + 2 * i)) for i, x in enumerate((one, other))]
    if not all(math.isfinite(each.noise) for each in (reference, *models)):
        return FidelityDifference(f_one, f_other, NO_INTERVAL)
    first, second = (without_chance(each, reference)["fidelity"] for each in models)
    return FidelityDifference(f_one, f_other, percentiles(first - second))


def _by_mode(reference: pd.DataFrame, themes: Sequence[str]) -> dict[str, Array]:
    return {mode: respondents(reference, mode, themes) for mode in sorted(set(reference["mode"]))}


def _compared(
    responses: pd.DataFrame, people: Mapping[str, Array], themes: Sequence[str]
) -> Iterator[tuple[str, str, Array, Array]]:
    """Yield mode, model, its runs and the respondents, for the modes of the reference."""
    for (mode, model), x in matrices(responses, themes).items():
        if mode in people:
            yield mode, model, x, people[mode]


def reference_profiles(reference: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """The reference's mean profile in each mode, and the spread of people around it.

    Returns
    -------
    pandas.DataFrame
        mode, reference, theme, respondents, mean, low, high (Student's interval of the mean), q25, q75.
    """
    rows = []
    for mode, h in _by_mode(reference, themes).items():
        columns = (h.mean(axis=0), *mean_interval(h), *np.quantile(h, [0.25, 0.75], axis=0))
        for theme, *numbers in zip(themes, *columns, strict=True):
            rows.append((mode, label(reference), theme, len(h), *numbers))
    columns_named = ["mode", "reference", "theme", "respondents", "mean", "low", "high", "q25", "q75"]
    return pd.DataFrame(rows, columns=columns_named)


def residual_table(
    responses: pd.DataFrame,
    reference: pd.DataFrame,
    themes: Sequence[str],
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Centred residual of every theme, (x − m_x) − (h − m_h), with two-level percentile intervals.

    Returns
    -------
    pandas.DataFrame
        mode, model, reference, theme, residual, low, high, in the unit of the mode.
    """
    rows = []
    people = _by_mode(reference, themes)
    drawn = {mode: resampled(h, draw_counts(len(h), draws, seed + 1)).means for mode, h in people.items()}
    for mode, model, x, h in _compared(responses, people, themes):
        estimate = residuals(x.mean(axis=0), h.mean(axis=0))
        several = len(x) > 1 and len(h) > 1
        spread = residuals(resampled(x, draw_counts(len(x), draws, seed)).means, drawn[mode])
        bounds = np.quantile(spread, TAILS, axis=0) if several else np.full((2, THEMES), np.nan)
        for theme, *numbers in zip(themes, estimate, *bounds, strict=True):
            rows.append((mode, model, label(reference), theme, *numbers))
    return pd.DataFrame(rows, columns=["mode", "model", "reference", "theme", "residual", "low", "high"])


def against_the_rest(h: Array) -> Array:
    """The mean of all other respondents, for each respondent: shape (respondents, 6).

    Raises
    ------
    UserError
        With fewer than two respondents.
    """
    if len(h) < 2:
        raise UserError("the human ceiling needs two respondents or more in every mode")
    return np.asarray((h.sum(axis=0) - h) / (len(h) - 1))


def human_ceiling(
    reference: pd.DataFrame, themes: Sequence[str], draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Fidelity of single respondents to the mean of the others, as a standard of comparison for models.

    Returns
    -------
    pandas.DataFrame
        mode, reference, respondents, mean of F with its percentile interval over respondents (low, high),
        fidelity_q05, _q25, _median, _q75, _q95, r_median, v_median. Respondents with equal numbers for all
        themes have F = 0.
    """
    rows = []
    for mode, h in _by_mode(reference, themes).items():
        found = measures(h, against_the_rest(h))
        drawn = resampled_sums(found.fidelity[:, None], draws, seed)
        bounds = np.quantile(drawn[:, 0] / len(h), TAILS)
        spread = np.quantile(found.fidelity, [0.05, 0.25, 0.5, 0.75, 0.95])
        medians = np.nanmedian(found.r), np.nanmedian(found.v)
        rows.append((mode, label(reference), len(h), found.fidelity.mean(), *bounds, *spread, *medians))
    spreads = [f"fidelity_{name}" for name in ("q05", "q25", "median", "q75", "q95")]
    columns = ["mode", "reference", "respondents", "mean", "low", "high", *spreads, "r_median", "v_median"]
    return pd.DataFrame(rows, columns=columns)


def against_single_respondents(
    responses: pd.DataFrame, reference: pd.DataFrame, themes: Sequence[str]
) -> pd.DataFrame:
    """Every model's mean profile, and its single runs, against single respondents.

    The mean of many people is flatter than a single person, so some of the apparent exaggeration against the
    mean is due to averaging, which single respondents avoid. Single runs against single respondents average
    on neither side.

    Returns
    -------
    pandas.DataFrame
        mode, model, reference, pairs; for the mean profile fidelity_median, fidelity_q25, fidelity_q75,
        v_median, v_q25, v_q75 and exaggerates (share of respondents with v above 1); for single runs
        run_fidelity_median and run_v_median.
    """
    rows = []
    for mode, model, x, h in _compared(responses, _by_mode(reference, themes), themes):
        mean = measures(x.mean(axis=0), h)
        single = measures(x[:, None, :], h[None, :, :])
        # Any profile that is not flat exaggerates a flat respondent.
        v = np.where(np.isnan(mean.v), np.inf, mean.v)
        quartiles = [np.quantile(each, [0.5, 0.25, 0.75]) for each in (mean.fidelity, v)]
        medians = np.nanmedian(single.fidelity), np.nanmedian(single.v)
        exaggerates = float((v > 1).mean())
        rows.append(
            (mode, model, label(reference), len(h), *quartiles[0], *quartiles[1], exaggerates, *medians)
        )
    ends = ("median", "q25", "q75")
    columns = [f"{name}_{end}" for name in ("fidelity", "v") for end in ends]
    named = ["mode", "model", "reference", "pairs", *columns, "exaggerates"]
    return pd.DataFrame(rows, columns=[*named, "run_fidelity_median", "run_v_median"])
