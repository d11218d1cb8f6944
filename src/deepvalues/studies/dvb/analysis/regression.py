"""Regressions of following the target: clustered logit, GEE, and logit with a random intercept."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.polynomial.hermite import hermgauss
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit, logit
from statsmodels.tools.sm_exceptions import PerfectSeparationError

from deepvalues.core.errors import UserError
from deepvalues.stats import clusters as clustering
from deepvalues.stats.clusters import SEPARATED
from deepvalues.stats.rates import CONFIDENCE

Floats = NDArray[np.float64]

#: The published regression: reference level of each factor; the number of examples is a covariate.
PUBLISHED_REFERENCES = {"model": "gpt-4o-mini-2024-07-18", "domain": "productivity", "v1": "reparation"}
#: A level in fewer clusters gets no standard error. With one cluster the sandwich estimate does not exist;
#: with two or three it is far too small.
FEWEST_CLUSTERS = 5
#: The published clusters: model and preferred value together.
PUBLISHED_CLUSTERS = ("model", "v1")


class Fit(NamedTuple):
    """A fitted regression.

    ``terms``: term (``intercept``, ``factor:level`` or a covariate), coefficient (logits), error, low,
    high, p_value. ``factors``: factor, chi2 (Wald), df, df_error, p_value (F), p_chi2; all NaN if none of
    a factor's levels can be tested. Also the numbers of trials and clusters used, and McFadden's pseudo-R²
    (NaN for a GEE, which has no likelihood).
    """

    terms: pd.DataFrame
    factors: pd.DataFrame
    trials: int
    clusters: int
    pseudo_r2: float


class _Design(NamedTuple):
    """Outcomes and design matrix of a regression; ``owner`` names the factor of each column."""

    outcome: Floats
    columns: Floats
    terms: list[str]
    owner: list[str]
    groups: NDArray[np.int64]


def _without_constant_levels(frame: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Leave out levels whose trials all have the same outcome, repeatedly until none is left.

    The likelihood increases without bound with the coefficient of such a level. In the limit, its trials
    carry no information on the other coefficients, so dropping them gives exactly the limit of the others.
    """
    while True:
        size = len(frame)
        for factor in factors:
            varies = frame.groupby(factor)["followed"].transform("nunique") > 1
            frame = frame[varies]
        if len(frame) == size:
            return frame


def _all_terms(answered: pd.DataFrame, references: Mapping[str, str], covariates: Sequence[str]) -> list[str]:
    terms = ["intercept"]
    for factor, reference in references.items():
        levels = sorted(answered[factor].astype(str).unique())
        if reference not in levels:
            raise UserError(
                f"the reference level {reference!r} of {factor} has no answered trials; "
                f"there are {', '.join(levels) or 'none at all'}"
            )
        terms += [f"{factor}:{level}" for level in levels if level != reference]
    return [*terms, *covariates]


def _design(
    answered: pd.DataFrame, references: Mapping[str, str], terms: Sequence[str], cluster: Sequence[str]
) -> _Design | None:
    """The columns that can be estimated; None if a reference level does not vary or nothing is left."""
    used = _without_constant_levels(answered, list(references))
    if any(not (used[factor].astype(str) == level).any() for factor, level in references.items()):
        return None
    if used["followed"].nunique() < 2:
        return None
    columns, kept, owner = [], [], []
    for term in terms:
        factor, _, level = term.partition(":")
        if term == "intercept":
            column = np.ones(len(used))
        else:
            series = used[factor].astype(str) == level if level else used[factor]
            column = np.asarray(series, dtype=float)
        if column.any():
            columns.append(column)
            kept.append(term)
            owner.append(factor)
    matrix = np.column_stack(columns)
    if np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        effects = ", ".join(dict.fromkeys(owner[1:]))
        raise UserError(f"these trials can't tell the effects of {effects} apart; leave one of them out")
    groups = np.asarray(used.groupby(list(cluster)).ngroup(), dtype=np.int64)
    return _Design(used["followed"].to_numpy(dtype=float), matrix, kept, owner, groups)


def clustered_logit(
    frame: pd.DataFrame,
    references: Mapping[str, str] = PUBLISHED_REFERENCES,
    covariates: Sequence[str] = ("n_examples",),
    cluster: Sequence[str] = PUBLISHED_CLUSTERS,
) -> Fit:
    """Logistic regression of following the target, with clustered standard errors.

    logit P(followed) = intercept + one coefficient per level of each factor except its reference + one per
    unit of each covariate. Sandwich errors as in statsmodels, with t on G − 1 degrees of freedom. The
    defaults are the published regression.

    Parameters
    ----------
    frame
        Trials with the factors, the covariates and the columns of ``cluster``.
    references
        Reference level of each factor.
    cluster
        Columns that together define the clusters.

    Returns
    -------
    Fit
        A level whose trials all have the same outcome gets the coefficient NaN, and its trials are left out;
        if the rest is separated too, or a reference level does not vary, all are NaN. A level in fewer than
        `FEWEST_CLUSTERS` clusters has a coefficient but no error, and is left out of its factor's Wald
        test.

    Raises
    ------
    UserError
        When a reference level has no trials, or effects are collinear.

    References
    ----------
    Liang and Zeger (1986), Biometrika 73; Albert and Anderson (1984), Biometrika 71 (separation).
    """

    def fit(design: _Design) -> tuple[Floats, Floats, float]:
        result = clustering.clustered_logit(design.outcome, design.columns, design.groups)
        if result is None:
            raise np.linalg.LinAlgError
        return result.params, result.cov_params(), float(result.prsquared)

    return _fitted(frame, references, covariates, cluster, fit)


def gee(
    frame: pd.DataFrame,
    references: Mapping[str, str] = PUBLISHED_REFERENCES,
    covariates: Sequence[str] = ("n_examples",),
) -> Fit:
    """The same regression by generalized estimating equations, with exchangeable correlation within cells.

    As in statsmodels, with robust errors; parameters, result and errors as for `clustered_logit`.

    References
    ----------
    Liang and Zeger (1986), Biometrika 73.
    """

    def fit(design: _Design) -> tuple[Floats, Floats, float]:
        # Sorted by cluster; otherwise statsmodels is slow at looking clusters up.
        order = np.argsort(design.groups, kind="stable")
        result = sm.GEE(
            design.outcome[order],
            design.columns[order],
            groups=design.groups[order],
            family=sm.families.Binomial(),
            cov_struct=sm.cov_struct.Exchangeable(),
        ).fit()
        if not result.converged:
            raise np.linalg.LinAlgError
        return result.params, result.cov_params(), math.nan

    return _fitted(frame, references, covariates, ("cell",), fit)


def references(frame: pd.DataFrame) -> dict[str, str]:
    """Reference levels for trials of any models and items.

    For the model, the one with the middle DVGR; for other factors, the published level or, if it is missing,
    the most frequent one. A level with constant outcomes is skipped if another one varies, as nothing can be
    compared with it. Factors with only one level are left out.
    """
    answered = frame.dropna(subset="followed")
    found = {}
    for factor in ("model", "domain", "v1"):
        outcomes = answered.groupby(factor)["followed"].agg(["nunique", "mean", "size"])
        if len(outcomes) < 2:
            continue
        varying = outcomes[outcomes["nunique"] > 1]
        levels = outcomes if varying.empty else varying
        if factor == "model":
            level = levels["mean"].sort_values(kind="stable").index[len(levels) // 2]
        elif PUBLISHED_REFERENCES[factor] in levels.index:
            level = PUBLISHED_REFERENCES[factor]
        else:
            level = levels["size"].idxmax()
        found[factor] = str(level)
    return found


def factors_of(fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Concatenate the factors of several regressions; the last column is the regression's name."""
    tables = [fit.factors.assign(regression=name) for name, fit in fits.items()]
    return pd.concat(tables, ignore_index=True)


def _fitted(
    frame: pd.DataFrame,
    references: Mapping[str, str],
    covariates: Sequence[str],
    cluster: Sequence[str],
    fit: Any,
) -> Fit:
    answered = frame.dropna(subset="followed")
    terms = _all_terms(answered, references, covariates)
    design = _design(answered, references, terms, cluster)
    estimates = None if design is None else _estimated(design, fit)
    if design is None or estimates is None:
        known, tested = (pd.DataFrame(columns=names, dtype=float) for names in (_TERMS, _TESTS))
        sizes: tuple[int, int, float] = (0, 0, math.nan)
    else:
        beta, covariance, pseudo_r2 = estimates
        groups = len(np.unique(design.groups))
        spread = np.array([len(np.unique(design.groups[column != 0])) for column in design.columns.T])
        enough = spread >= FEWEST_CLUSTERS
        known = _terms(design.terms, beta, covariance, groups)
        known.loc[~enough, ["error", "low", "high", "p_value"]] = math.nan
        tested = _wald(np.where(enough, design.owner, ""), beta, covariance, groups)
        sizes = (len(design.outcome), groups, pseudo_r2)
    factors = tested.set_index("factor").reindex([*references, *covariates]).reset_index()
    return Fit(known.set_index("term").reindex(terms).reset_index(), factors, *sizes)


def _estimated(design: _Design, fit: Any) -> tuple[Floats, Floats, float] | None:
    """Coefficients, their covariance and pseudo-R²; None if the likelihood has no maximum."""
    try:
        # Separation is detected here and reported as missing estimates; a warning would add nothing.
        with warnings.catch_warnings(action="ignore"):
            beta, covariance, pseudo_r2 = fit(design)
    except (PerfectSeparationError, np.linalg.LinAlgError, ValueError):
        return None
    finite = np.isfinite(beta).all() and np.isfinite(covariance).all()
    return (beta, covariance, pseudo_r2) if finite and np.abs(beta).max() < SEPARATED else None


_TERMS = ["term", "coefficient", "error", "low", "high", "p_value"]
_TESTS = ["factor", "chi2", "df", "df_error", "p_value", "p_chi2"]


def _terms(names: Sequence[str], beta: Floats, covariance: Floats, groups: int) -> pd.DataFrame:
    variance = np.diag(covariance)
    # With barely more clusters than columns, rounding can leave a variance of zero or less.
    error = np.sqrt(np.where(variance > 0, variance, math.nan))
    t = stats.t(groups - 1)
    half = t.ppf((1 + CONFIDENCE) / 2) * error
    columns = (list(names), beta, error, beta - half, beta + half, 2 * t.sf(np.abs(beta) / error))
    return pd.DataFrame(dict(zip(_TERMS, columns, strict=True)))


#: Coefficients smaller than this count as zero, as the fit is no more exact.
_NO_EFFECT = 1e-8


def _wald(owner: NDArray[np.str_], beta: Floats, covariance: Floats, groups: int) -> pd.DataFrame:
    """Wald tests of each factor that has one: χ² = β′V⁻¹β over its q columns, and F = χ² (G − q)/(q (G − 1)).

    With many levels and few clusters per level, the χ² test rejects far too often, since V is estimated. If
    cluster totals are normal, F has the F distribution on q and G − q degrees of freedom (Hotelling 1931,
    Annals of Mathematical Statistics 2). In simulations without an effect, at .05, F and χ² rejected in
    8% and 25% of runs with 50 levels of 8 cells, 3% and 3% with 11 of 36, but 14% and 24% with 12 of 6.
    """
    rows = []
    for factor in dict.fromkeys(name for name in owner if name not in ("intercept", "")):
        indices = np.flatnonzero(owner == factor)
        q = len(indices)
        block = covariance[np.ix_(indices, indices)]
        if np.linalg.matrix_rank(block) < q or groups <= q:
            continue
        # No effect at all: coefficients and their variance are zero up to rounding.
        absent = bool(np.abs(beta[indices]).max() < _NO_EFFECT)
        chi2 = 0.0 if absent else float(beta[indices] @ np.linalg.solve(block, beta[indices]))
        f = chi2 * (groups - q) / (q * (groups - 1))
        tests = (float(stats.f.sf(f, q, groups - q)), float(stats.chi2.sf(chi2, q)))
        rows.append((factor, chi2, q, groups - q, *tests))
    return pd.DataFrame(rows, columns=_TESTS)


# ---- random intercepts ----

#: Nodes and weights of the adaptive quadrature, and of the ordinary one for the mean over groups.
_ADAPTIVE, _PLAIN = hermgauss(31), hermgauss(80)


class RandomIntercept(NamedTuple):
    """A logit with a random intercept for each group: logits, and rates from 0 to 1.

    ``conditional`` is the rate of a group with an average intercept, σ(β); ``marginal`` is the mean over
    groups, ∫ σ(β + τz) φ(z) dz. Both have an interval.
    """

    intercept: float
    sd: float
    conditional: float
    conditional_low: float
    conditional_high: float
    marginal: float
    marginal_low: float
    marginal_high: float


def random_intercept(followed: Sequence[int] | Floats, n: Sequence[int] | Floats) -> RandomIntercept:
    """Fit logit P = β + τ z_g, where z_g is standard normal and each group has its own.

    Given z, the trials of a group are independent. The two orders of a test are not, so intervals are too
    narrow if a model answers alike in both.

    Maximum likelihood, with each group's integral by adaptive Gauss–Hermite quadrature around its mode, for
    all groups at once. We use our own code because statsmodels' BinomialBayesMixedGLM needs a prior on τ,
    works on single trials, and did not converge to a mode on such data. With a constant and one random
    intercept, the counts of each group suffice, and fitting takes milliseconds. Intervals use the delta
    method on the logit scale, with t on G − 1 degrees of freedom.

    Parameters
    ----------
    followed, n
        Successes and trials of each group; groups without trials are left out.

    Returns
    -------
    RandomIntercept
        NaN if fewer than two groups have trials, no group has both outcomes, or the likelihood has no
        maximum.

    References
    ----------
    Pinheiro and Bates (1995), Journal of Computational and Graphical Statistics 4.
    """
    k, size = np.asarray(followed, dtype=float), np.asarray(n, dtype=float)
    k, size = k[size > 0], size[size > 0]
    if len(size) < 2 or not ((k > 0) & (k < size)).any():
        return RandomIntercept(*[math.nan] * 8)

    def at(parameters: Floats) -> Likelihood:
        return log_likelihood(k, size, *parameters)

    best = minimize(
        lambda parameters: -at(parameters).value,
        [float(logit(k.sum() / size.sum())), 0.5],
        jac=lambda parameters: -at(parameters).gradient,
        hess=lambda parameters: -at(parameters).hessian,
        method="trust-exact",
        options={"gtol": 1e-8},
    ).x
    # The likelihood is even in τ, so its curvature is also valid at τ = 0.
    curvature = -at(best).hessian
    if np.abs(best).max() > SEPARATED or np.linalg.eigvalsh(curvature).min() <= 0:
        return RandomIntercept(*[math.nan] * 8)
    covariance = np.linalg.inv(curvature)
    bounds = []
    for rate, slope in (_conditional(best), _marginal(best)):
        half = stats.t.ppf((1 + CONFIDENCE) / 2, len(size) - 1) * math.sqrt(slope @ covariance @ slope)
        bounds += [rate, float(expit(logit(rate) - half)), float(expit(logit(rate) + half))]
    # If groups do not differ, τ tends to 0, and what is left of it differs between processors.
    return RandomIntercept(float(best[0]), abs(round(float(best[1]), 6)), *bounds)


def _conditional(parameters: Floats) -> tuple[float, Floats]:
    """Rate at the average intercept, and the gradient of its logit with respect to β and τ."""
    return float(expit(parameters[0])), np.array([1.0, 0.0])


def _marginal(parameters: Floats) -> tuple[float, Floats]:
    """Mean rate over all intercepts, and the gradient of its logit with respect to β and τ."""
    nodes, weights = _PLAIN[0] * math.sqrt(2), _PLAIN[1] / math.sqrt(math.pi)
    rates = expit(parameters[0] + parameters[1] * nodes)
    mean = float(weights @ rates)
    slopes = weights * rates * (1 - rates)
    return mean, np.array([slopes.sum(), slopes @ nodes]) / (mean * (1 - mean))


class Likelihood(NamedTuple):
    """Log-likelihood of (β, τ), its gradient, shape (2,), and its Hessian, shape (2, 2)."""

    value: float
    gradient: Floats
    hessian: Floats


def log_likelihood(followed: Floats, n: Floats, beta: float, tau: float) -> Likelihood:
    """Log-likelihood of counts in groups with a normal random intercept, without binomial coefficients.

    Σ_g log ∫ σ(η)^k (1 − σ(η))^(n − k) φ(z) dz with η = β + τz, by Gauss–Hermite quadrature centred on each
    integrand's mode and scaled by its curvature there. With x = (1, z), s = k − nσ(η) and means over z given
    the counts, a group's gradient is E[s x] and its Hessian
    E[(s² − nσ(η)(1 − σ(η))) x x′] − E[s x] E[s x]′ (Louis 1982, Journal of the Royal Statistical Society
    B 44). Finite differences instead would amplify the last bits, which differ between kinds of processor.
    """
    k, size = followed[:, None], n[:, None]
    mode = _modes(followed, n, beta, tau)
    p = expit(beta + tau * mode)
    scale = math.sqrt(2) / np.sqrt(tau**2 * n * p * (1 - p) + 1)
    nodes, weights = _ADAPTIVE
    z = mode[:, None] + scale[:, None] * nodes
    eta = beta + tau * z
    exponent = k * eta - size * np.logaddexp(0, eta) - z**2 / 2 + nodes**2
    peak = exponent.max(axis=1)
    mass = np.exp(exponent - peak[:, None]) * weights
    sums = mass.sum(axis=1)
    value = float(np.sum(peak + np.log(sums * scale)) - len(n) * math.log(2 * math.pi) / 2)

    p, given = expit(eta), mass / sums[:, None]
    score = k - size * p
    x = np.stack([np.ones_like(z), z])
    gradients = np.einsum("gz,igz->gi", given * score, x)
    second = np.einsum("gz,igz,jgz->ij", given * (score**2 - size * p * (1 - p)), x, x)
    return Likelihood(value, gradients.sum(axis=0), second - gradients.T @ gradients)


def _modes(followed: Floats, n: Floats, beta: float, tau: float) -> Floats:
    """The mode of each group's integrand, by Newton's method."""
    mode = np.zeros_like(n)
    for _ in range(50):
        p = expit(beta + tau * mode)
        step = (tau * (followed - n * p) - mode) / (tau**2 * n * p * (1 - p) + 1)
        mode = mode + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-10:
            break
    return mode


def adjusted_rates(frame: pd.DataFrame) -> pd.DataFrame:
    """Each model's rate, adjusted for the preferred value with a random intercept.

    Returns
    -------
    pandas.DataFrame
        model, answered, groups, raw, and the fields of `RandomIntercept`. ``conditional`` (random intercept
        at zero) is what software prints by default for a mixed logit; ``marginal`` weights all groups
        equally.
    """
    rows = []
    for model, trials in frame.dropna(subset="followed").groupby("model"):
        counts = trials.groupby("v1")["followed"].agg(["sum", "count"])
        fit = random_intercept(counts["sum"].to_numpy(), counts["count"].to_numpy())
        rows.append((model, len(trials), len(counts), float(trials["followed"].mean()), *fit))
    columns = ["model", "answered", "groups", "raw", *RandomIntercept._fields]
    return pd.DataFrame(rows, columns=columns)


def simulated_adjustment(
    cells: pd.DataFrame, by_model: pd.DataFrame, by_value: pd.DataFrame, runs: int = 20, seed: int = 0
) -> pd.DataFrame:
    """How far adjusted rates are from raw ones, in data simulated from the published rates.

    In each run, every model and value draws its replies at the published rate. Counts by model and value are
    not published, so their number is the model's number of replies times the value's share.

    Parameters
    ----------
    cells, by_model, by_value
        ``data/published/dvb_model_by_value.csv`` (model, value, dvgr), ``dvb_by_model.csv`` and
        ``dvb_by_value.csv`` (n_parsed).

    Returns
    -------
    pandas.DataFrame
        adjusted (``conditional`` or ``marginal``), difference (mean absolute difference from the raw rate
        over models and runs), low, high (middle 95% of the runs' means).
    """
    n_model = by_model.set_index("model")["n_parsed"]
    share = by_value.set_index("value")["n_parsed"] / by_value["n_parsed"].sum()
    n = (cells["model"].map(n_model) * cells["value"].map(share)).round().astype(int)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"conditional": [], "marginal": []}
    for _ in range(runs):
        drawn = cells.assign(n=n, k=rng.binomial(n, cells["dvgr"]))
        fits = [
            (
                group["k"].sum() / group["n"].sum(),
                random_intercept(group["k"].to_numpy(), group["n"].to_numpy()),
            )
            for _, group in drawn.groupby("model")
        ]
        for name, means in found.items():
            means.append(float(np.mean([abs(raw - getattr(fit, name)) for raw, fit in fits])))
    rows = [
        (name, float(np.mean(means)), *np.quantile(means, [0.025, 0.975])) for name, means in found.items()
    ]
    return pd.DataFrame(rows, columns=["adjusted", "difference", "low", "high"])
