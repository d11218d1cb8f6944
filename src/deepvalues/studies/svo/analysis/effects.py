"""Do angles differ by model and by assigned value: analysis of variance, and by permutation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin as pg

from deepvalues.studies.svo.stimuli import NO_VALUE, Floats

PERMUTATIONS = 1999
#: What makes an analysis.
_WITHIN = ["mode", "goal"]
SOURCES = ("model", "value", "model * value")


def anova(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Two-way analysis of variance of the angle, models × assigned values, by mode and goal prompting.

    Sums of squares are of type II. The classical test supposes equal variances, which models that always
    answer alike break; so each F stands beside a permutation test. For values it permutes angles within each
    model, for models within each value (exact where the factor has no effect in any stratum); for the
    interaction it permutes the residuals of the additive model (approximate). Models without a complete
    trial for some value are left out; `left_out` names them.

    Parameters
    ----------
    frame
        From `analysis.statistics.trials`; trials without a value or with a choice missing are left out.
    seed
        Of the permutations.

    Returns
    -------
    pandas.DataFrame
        mode, goal, source, df, df_residual, f, p_value, eta (partial eta squared), p_permutation, models,
        trials. NaN where there are fewer than two models or values, or no variation within cells.

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
    """Name the models that `anova` leaves out, with the values of which they have no complete trial.

    A value of which no model at all has a complete trial is no level of the analysis, and leaves nobody out.

    Parameters
    ----------
    frame
        As for `anova`.

    Returns
    -------
    pandas.DataFrame
        model, value, lacking (how many analyses leave the model out for want of that value), analyses.
    """
    assigned = frame[frame["value"] != NO_VALUE]
    sizes = assigned.groupby([*_WITHIN, "model", "value"])["angle"].count().unstack("value", fill_value=0)
    cells = sizes.melt(ignore_index=False, value_name="complete").reset_index()
    is_level = cells.groupby([*_WITHIN, "value"])["complete"].transform("max") > 0
    lacking = cells[is_level & (cells["complete"] == 0)].groupby(["model", "value"]).size()
    analyses = len(assigned.drop_duplicates(_WITHIN))
    return lacking.reset_index(name="lacking").assign(analyses=analyses)


def _basis(columns: Floats) -> Floats:
    """Orthonormal basis of the space that columns span, however many of them are redundant."""
    left, strengths, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(left[:, strengths > 1e-9 * strengths[0]])


def _design(model: npt.NDArray[np.intp], value: npt.NDArray[np.intp]) -> list[Floats]:
    """Bases of the columns of each model of the design: by model, by value, additive, full."""
    models, values = (np.eye(codes.max() + 1)[codes] for codes in (model, value))
    cells = (models[:, :, None] * values[:, None, :]).reshape(len(model), -1)
    return [_basis(columns) for columns in (models, values, np.hstack([models, values]), cells)]


def _f(design: list[Floats], angles: Floats) -> Floats:
    """F of (model, value, model * value) for columns of angles, shape (3, columns)."""
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
    """P-values of the three sources."""
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
