"""Differences in angle between models and assigned values: analysis of variance and permutation tests."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin as pg

from deepvalues.studies.svo.stimuli import NO_VALUE, Floats

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
