"""Simulation study: do the intervals cover the truth, and how many cells are needed to detect an effect?

Answers follow one model with known parameters. The logit of choosing the target option of a test is

    ± b0 + x_v (b_v + value + cell) + x_s b_s + (wording of the target's value − wording of the other's)
                                              + (wording of the target's pole − wording of the other's),

+ b0 if the target is option A and − b0 if it is option B; x_v and x_s are +1 if the target shows what the
examples preferred, −1 if the other option does, 0 if both show the same. The effects of values, cells
and wordings are normal with mean 0 and are drawn anew in every run. A wording makes any option that shows
it more or less likely to be chosen, by the same amount in every test and on either side.

Many runs are drawn at once as arrays of trials × runs. Intervals are computed from clusters' totals
(`deepvalues.stats.clusters`), not from regressions, because there are hundreds of thousands of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.optimize import brentq
from scipy.special import expit
from statsmodels.stats.proportion import proportion_confint

from deepvalues.core.errors import UserError
from deepvalues.stats.bootstrap import resampled
from deepvalues.stats.clusters import (
    SEPARATED,
    Floats,
    Sums,
    clustered_intervals,
    two_way_intervals,
    wild_intervals,
    wild_p_values,
)
from deepvalues.stats.rates import CONFIDENCE
from deepvalues.studies.dvb.analysis.statistics import SENSITIVITY_ARMS, SENSITIVITY_N, SENSITIVITY_TERMS
from deepvalues.studies.dvb.respondents.agents import B0, BS, BV, arm_evidence
from deepvalues.studies.dvb.stimuli.design import ARMS

Single = NDArray[np.float32]

#: Number of runs held in memory at once.
_AT_ONCE = 250
#: Nodes of the Gauss–Hermite rule, accurate to five digits for the standard deviations used here.
_NODES = 20
_RESAMPLES = 1_000


@dataclass(frozen=True)
class Truth:
    """Parameters of the answer model, in logits; ``_sd`` are standard deviations of effects."""

    b0: float = B0
    b_v: float = BV
    b_s: float = BS
    cell_sd: float = 0.0
    value_sd: float = 0.0
    value_wording_sd: float = 0.0
    pole_wording_sd: float = 0.0


#: Conditions of the study. The sizes are not estimated, but chosen large enough to matter.
EFFECTS = {
    "none": Truth(),
    "cell": Truth(cell_sd=1.0),
    "wording": Truth(value_wording_sd=0.7, pole_wording_sd=0.7),
    "cell and wording": Truth(cell_sd=1.0, value_wording_sd=0.7, pole_wording_sd=0.7),
    "value": Truth(value_sd=0.7),
}

#: Methods that figures show, with their display names.
METHOD_NAMES = {
    "wilson": "Wilson",
    "cell": "clustered by cell",
    "value": "by preferred value",
    "wording": "by wording",
    "wording_cell": "by wording and cell, crossed",
}

#: The groups of each estimand, by columns of the items.
ESTIMANDS: dict[str, tuple[str, ...]] = {
    "pooled": (),
    "by_value": ("v1",),
    "by_dimension": ("dimension", "direction"),
}
#: Effects that are fixed when the scope is the study itself.
_STUDY = ("value", "value_wording", "pole_wording")

#: For each effect, the item columns that identify it: on the target's side, on the other side.
_COLUMNS = {
    "cell": ("cell",),
    "value": ("v1",),
    "value_wording": ("target_value_wording", "other_value_wording"),
    "pole_wording": ("target_pole_wording", "other_pole_wording"),
}

Codes = NDArray[np.intp]
#: Drawn effects, shape (levels, runs) each; those with SD 0 are left out.
Effects = Mapping[str, Single]


@dataclass(frozen=True)
class Layout:
    """The tests of a simulation: the evidence for each, and the levels of its effects.

    ``sign`` is +1 if the target is option A and −1 if it is option B, shape (trials,); ``evidence``
    holds x_v and x_s, shape (trials, 2); ``codes`` holds, for each effect, the level of each trial's target
    and, for wordings, of its other option; ``levels`` is the number of levels.
    """

    items: pd.DataFrame
    sign: Single
    evidence: Single
    codes: dict[str, tuple[Codes, ...]]
    levels: dict[str, int]

    def take(self, rows: Codes) -> Layout:
        """Select trials, with levels numbered as in the full layout."""
        codes = {effect: tuple(side[rows] for side in sides) for effect, sides in self.codes.items()}
        return Layout(self.items.iloc[rows], self.sign[rows], self.evidence[rows], codes, self.levels)

    def logits(self, truth: Truth, effects: Effects) -> Single:
        """Logit of choosing the target given effects, shape (trials, runs); without effects, one run."""
        slopes = np.array([truth.b_v, truth.b_s], dtype=np.float32)
        fixed = self.sign * np.float32(truth.b0) + self.evidence @ slopes
        runs = next((drawn.shape[1] for drawn in effects.values()), 1)
        logits: Single = np.repeat(fixed[:, None], runs, axis=1)
        for effect, drawn in effects.items():
            target, *other = self.codes[effect]
            logits += drawn[target] - drawn[other[0]] if other else self.evidence[:, :1] * drawn[target]
        return logits

    def spread(self, truth: Truth, given: Collection[str]) -> Floats:
        """SD of the logit over the effects that are not given, shape (trials,)."""
        variance = np.zeros(len(self.sign))
        for effect, (target, *other) in self.codes.items():
            if effect not in given:
                size = getattr(truth, f"{effect}_sd") ** 2
                variance += 2 * size * (target != other[0]) if other else size * self.evidence[:, 0] ** 2
        return np.asarray(np.sqrt(variance))


def layout_of(items: pd.DataFrame, used: pd.Series[bool]) -> Layout:
    """Prepare selected items for simulation."""
    # Selecting copies the frame, and no simulation reads the prompts, by far its largest column.
    tests = items.drop(columns="prompt", errors="ignore")[used].reset_index(drop=True)
    of_arm = {arm: arm_evidence(ARMS[arm]) for arm in tests["arm"].unique()}
    codes, levels = {}, {}
    for effect, columns in _COLUMNS.items():
        names = pd.unique(tests[list(columns)].to_numpy().ravel())
        codes[effect] = tuple(pd.Categorical(tests[one], names).codes.astype(np.intp) for one in columns)
        levels[effect] = len(names)
    return Layout(
        tests,
        np.where(tests["right"] == "A", 1, -1).astype(np.float32),
        np.array([of_arm[arm] for arm in tests["arm"]], dtype=np.float32),
        codes,
        levels,
    )


def deconfounded(items: pd.DataFrame) -> Layout:
    """The tests whose rate is the DVGR, prepared for simulation; see `layout_of`."""
    return layout_of(items, items["arm"] == "deconfounded")


def draw_effects(layout: Layout, truth: Truth, runs: int, rng: np.random.Generator) -> dict[str, Single]:
    """Draw the effects of a condition, shape (levels, runs) each; those with SD 0 are left out."""
    return {
        effect: np.float32(size) * rng.standard_normal((levels, runs), dtype=np.float32)
        for effect, levels in layout.levels.items()
        if (size := getattr(truth, f"{effect}_sd")) > 0
    }


def draw_answers(
    layout: Layout, truth: Truth, effects: Effects, runs: int, rng: np.random.Generator
) -> Single:
    """Draw answers, 1 for the target and 0 for the other option, shape (trials, runs)."""
    p = expit(layout.logits(truth, effects))
    chosen: Single = (rng.random((len(p), runs), dtype=np.float32) < p).astype(np.float32)
    return chosen


class Expectation:
    """The expected rate of each group, averaged over the distribution of all effects that are not given.

    Tests with the same parameters are integrated only once.
    """

    def __init__(self, layout: Layout, by: Sequence[str], given: Collection[str]) -> None:
        groups = _codes(layout.items, by)
        counts = [layout.sign, *layout.evidence.T]
        for effect, sides in layout.codes.items():
            if effect in given:
                counts += sides
            elif len(sides) == 2:
                counts.append(sides[0] != sides[1])
        _, first, kind = np.unique(np.column_stack(counts), axis=0, return_index=True, return_inverse=True)
        self.kinds, self.given = layout.take(first), given
        self.weights = sparse.csr_array((np.ones(len(kind)), (groups, kind)))

    def rates(self, truth: Truth, drawn: Effects) -> Floats:
        """Expected rates, shape (groups, runs); one run if no given effect was drawn."""
        given = {effect: levels for effect, levels in drawn.items() if effect in self.given}
        p = _integral(self.kinds.logits(truth, given), self.kinds.spread(truth, self.given))
        return np.asarray(self.weights @ p / self.weights.sum(axis=1)[:, None])


def _integral(logits: Single, spread: Floats) -> Floats:
    """Mean of σ(logit + spread · z) over a standard normal z, with the shape of the logits."""
    if not spread.any():
        return np.asarray(expit(logits), dtype=np.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    mean = np.zeros(logits.shape)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        mean += weight * expit(logits + (spread * node).astype(np.float32)[:, None])
    return mean


def _codes(items: pd.DataFrame, columns: Sequence[str]) -> Codes:
    """Number the groups that the columns define, in sorted order."""
    if not columns:
        return np.zeros(len(items), dtype=np.intp)
    return np.asarray(items.groupby(list(columns), sort=True).ngroup(), dtype=np.intp)


class _Clusters(NamedTuple):
    """Membership of trials in clusters, as a matrix (clusters, trials), and the clusters' sizes."""

    members: sparse.csr_array
    sizes: Floats

    def sums(self, answers: Single) -> Sums:
        """Cluster totals of all runs, shape (runs, clusters), with the cluster sizes."""
        return Sums(np.ascontiguousarray((self.members @ answers).T, dtype=np.float64), self.sizes)


def _clusters(codes: Codes, rows: Codes) -> _Clusters:
    """The clusters of some rows, from the codes of all rows."""
    _, cluster, sizes = np.unique(codes[rows], return_inverse=True, return_counts=True)
    ones = np.ones(len(rows), dtype=np.float32)
    members = sparse.csr_array((ones, (cluster, rows)), shape=(len(sizes), len(codes)))
    return _Clusters(members, sizes.astype(np.float64))


#: A group's clusterings, by name; ``crossed`` has the intersections of two others.
Clusterings = Mapping[str, _Clusters]
_DIRECTED = ("dimension", "direction")


def clusterings(items: pd.DataFrame, by: Sequence[str]) -> list[Clusterings]:
    """The clusterings of each group that `bounds` needs; groups are sorted."""
    # As in `statistics.rates_by_wording`.
    wording = "target_value_wording" if "v1" in by else "target_pole_wording" if by else None
    kinds: dict[str, tuple[str, ...]] = {"cell": ("cell",)}
    if wording is None:
        kinds |= {"value": ("v1",), "dimension": _DIRECTED, "crossed": ("v1", *_DIRECTED)}
    else:
        kinds |= {"wording": (wording,), "crossed": (wording, "cell")}
    codes = {name: _codes(items, columns) for name, columns in kinds.items()}
    group = _codes(items, by)
    rows = (np.flatnonzero(group == one) for one in range(int(group.max()) + 1))
    return [{name: _clusters(of_all, mine) for name, of_all in codes.items()} for mine in rows]


def bounds(group: Clusterings, answers: Single, seed: int) -> dict[str, tuple[Floats, Floats]]:
    """Lower and upper bounds of a group's rate in many runs, by method.

    These are the methods of `intervals.intervals`. In groups by value or dimension, clusters by value or
    by directed dimension are few, or only one. There, wordings, and wordings crossed with cells, take their
    place.

    Parameters
    ----------
    answers
        From `draw_answers`, shape (trials, runs).
    seed
        For the bootstrap. All runs use the same resamples, which leaves each interval valid.

    Returns
    -------
    dict
        (low, high) by method, each of shape (runs,).
    """
    sums = {name: clusters.sums(answers) for name, clusters in group.items()}
    found = {
        "wilson": _wilson(sums["cell"]),
        "cell": clustered_intervals(*sums["cell"]),
        "cell_bootstrap": _percentile(sums["cell"], seed),
    }
    if "value" in sums:
        found["value"] = clustered_intervals(*sums["value"])
        found["value_wild"] = wild_intervals(*sums["value"])
        found["value_dimension"] = two_way_intervals(sums["value"], sums["dimension"], sums["crossed"])
    else:
        found["wording"] = clustered_intervals(*sums["wording"])
        found["wording_cell"] = two_way_intervals(sums["wording"], sums["cell"], sums["crossed"])
    return found


def _wilson(sums: Sums) -> tuple[Floats, Floats]:
    low, high = proportion_confint(
        sums.totals.sum(axis=-1), sums.sizes.sum(), alpha=1 - CONFIDENCE, method="wilson"
    )
    # As in `stats.rates.wilson`: at rates of 0 and 1, the computed bound misses them by rounding.
    rate = sums.totals.sum(axis=-1) / sums.sizes.sum()
    return np.where(rate == 0, 0.0, low), np.where(rate == 1, 1.0, high)


def _percentile(sums: Sums, seed: int) -> tuple[Floats, Floats]:
    counts = _resample_counts(len(sums.sizes), seed)
    rates = (sums.totals @ counts) / (sums.sizes @ counts)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1 - tail], axis=-1)
    varies = np.ptp(rates, axis=-1) > 0
    return np.where(varies, low, np.nan), np.where(varies, high, np.nan)


@lru_cache(maxsize=16)
def _resample_counts(clusters: int, seed: int) -> Floats:
    """Number of times that each cluster is in each resample, shape (clusters, resamples)."""
    return np.ascontiguousarray(resampled(np.eye(clusters), _RESAMPLES, seed).T)


def _chunks(runs: int) -> Iterator[int]:
    yield from (min(_AT_ONCE, runs - start) for start in range(0, runs, _AT_ONCE))


def coverage(
    item_sets: Mapping[str, pd.DataFrame],
    effects: Mapping[str, Truth] = EFFECTS,
    *,
    runs: int,
    seed: int,
    estimands: Sequence[str] = ("pooled", "by_value"),
) -> pd.DataFrame:
    """How often each interval of the DVGR covers the truth.

    Each estimand has two truths. For the scope ``population``, it is the mean over the distribution of all
    effects: the rate with other cells and other wordings of the same values (by value, given that value's
    effect; pooled, with other values as well). For the ``study``, only the cells' effects are averaged, and
    values and wordings are those that were shown. Both are the same if values and wordings have no effects.

    Parameters
    ----------
    item_sets
        Items by name of the set.
    effects
        Conditions by name.
    runs
        Simulated runs of each condition.
    estimands
        Keys of `ESTIMANDS`. For those by value or by dimension, results are means over groups.

    Returns
    -------
    pandas.DataFrame
        item_set, estimand, scope, effects, method, true (a rate), coverage (a rate, nominally .95; a
        missing interval covers nothing), mean_width (a rate), runs.

    Raises
    ------
    UserError
        When there are no runs.
    """
    if runs < 1:
        raise UserError(f"coverage: {runs} runs; ask for 1 or more")
    rows = []
    for item_set, items in item_sets.items():
        layout = deconfounded(items)
        prepared = {name: _Estimand.of(layout, name) for name in estimands}
        for index, (effect, truth) in enumerate(effects.items()):
            tallies = _tallies(layout, prepared, truth, runs, [seed, len(layout.sign), index])
            # Population first; the methods keep their order.
            for (name, scope, method), counted in sorted(tallies.items(), key=lambda entry: entry[0][1]):
                covered, width, known, true, count = counted
                shares = (true / count, covered / count, width / known if known else np.nan)
                rows.append((item_set, name, scope, effect, method, *shares, runs))
    columns = ["item_set", "estimand", "scope", "effects", "method", "true", "coverage", "mean_width", "runs"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        "estimand", kind="stable", key=lambda names: names.map(list(estimands).index), ignore_index=True
    )


def _tallies(
    layout: Layout, estimands: Mapping[str, _Estimand], truth: Truth, runs: int, seeds: Sequence[int]
) -> dict[tuple[str, str, str], Floats]:
    """Draw the runs of one condition and tally them; all estimands use the same answers.

    Returns
    -------
    dict
        By estimand, scope and method, over groups and runs: number of intervals that cover the truth, sum
        of widths, number of intervals, sum of truths, number of truths.
    """
    rng = np.random.default_rng(seeds)
    tallies: dict[tuple[str, str, str], Floats] = defaultdict(lambda: np.zeros(5))
    for part in _chunks(runs):
        drawn = draw_effects(layout, truth, part, rng)
        answers = draw_answers(layout, truth, drawn, part, rng)
        for name, estimand in estimands.items():
            # Shape (groups, runs), or (groups, 1) if the truth is the same in all runs.
            truths = {scope: each.rates(truth, drawn) for scope, each in estimand.expectations.items()}
            for index, group in enumerate(estimand.groups):
                found = bounds(group, answers, seeds[0])
                for (method, (low, high)), (scope, rates) in product(found.items(), truths.items()):
                    true, known = np.broadcast_to(rates[index], low.shape), ~np.isnan(low)
                    covered, width = (low <= true) & (true <= high), np.nansum(high - low)
                    counts = (covered.sum(), width, known.sum(), true.sum(), len(true))
                    tallies[name, scope, method] += np.array(counts, dtype=float)
    return tallies


class _Estimand(NamedTuple):
    """Groups with their clusterings, and their truth for either scope."""

    groups: list[Clusterings]
    expectations: dict[str, Expectation]

    @classmethod
    def of(cls, layout: Layout, name: str) -> _Estimand:
        by = ESTIMANDS[name]
        given = {"population": ("value",) if "v1" in by else (), "study": _STUDY}
        expectations = {scope: Expectation(layout, by, effects) for scope, effects in given.items()}
        return cls(clusterings(layout.items, by), expectations)


_STEPS = 30


class _Regression:
    """The logistic regression of `statistics.sensitivities`, for many runs at once.

    Its covariates take few distinct values, so it needs only the counts of choices at each of them.
    """

    def __init__(self, layout: Layout) -> None:
        sign = layout.sign[:, None]
        rows = np.column_stack([np.ones(len(sign)), sign * layout.evidence])
        self.points, point = np.unique(rows, axis=0, return_inverse=True)
        self.n = np.bincount(point).astype(float)
        self.target_is_b = layout.sign < 0
        cell = layout.codes["cell"][0]
        self.shape = (int(cell.max()) + 1, len(self.points))
        index = cell * self.shape[1] + point
        size = (self.shape[0] * self.shape[1], len(index))
        ones = np.ones(len(index), dtype=np.float32)
        self.members = sparse.csr_array((ones, (index, np.arange(len(index)))), shape=size)
        self.sizes = np.bincount(index, minlength=size[0]).reshape(self.shape).astype(float)

    def counts(self, followed: Single) -> Floats:
        """Choices of option A, by run, cell and covariate point, from followed targets (trials, runs)."""
        chose_a = np.where(self.target_is_b[:, None], 1 - followed, followed)
        return np.asarray((self.members @ chose_a).T.reshape(-1, *self.shape), dtype=np.float64)

    def estimates(self, counts: Floats) -> tuple[Floats, Floats]:
        """Coefficients, shape (runs, 3), and inverse information, shape (runs, 3, 3), by Newton's method."""
        chosen = counts.sum(axis=1)
        beta = np.zeros((len(chosen), 3))
        for _ in range(_STEPS):
            p = expit(beta @ self.points.T)
            information = np.einsum("rp,pi,pj->rij", self.n * p * (1 - p), self.points, self.points)
            score = (chosen - self.n * p) @ self.points
            step = np.linalg.solve(information, score[..., None])[..., 0]
            # Without a maximum of the likelihood, the steps diverge; such runs are stopped.
            step[np.abs(beta).max(axis=1) > SEPARATED] = 0
            beta = beta + np.clip(step, -2, 2)
            if np.abs(step).max() < 1e-10:
                break
        return beta, np.linalg.inv(information)

    def covariances(self, counts: Floats, beta: Floats, bread: Floats) -> Floats:
        """Sandwich covariances clustered by cell, with statsmodels' small-sample correction."""
        p = expit(beta @ self.points.T)
        scores = (counts - self.sizes * p[:, None, :]) @ self.points
        meat = np.swapaxes(scores, 1, 2) @ scores
        n, cells = self.n.sum(), self.shape[0]
        return np.asarray((n - 1) / (n - 3) * cells / (cells - 1) * bread @ meat @ bread)


def recovery(
    item_sets: Mapping[str, pd.DataFrame], effects: Mapping[str, Truth] = EFFECTS, *, runs: int, seed: int
) -> pd.DataFrame:
    """Whether the regression of `statistics.sensitivities` recovers the parameters, with which coverage.

    The regression has no effects of values, cells or wordings. If there are any, it estimates slopes averaged
    over the population, which are smaller than those of the answer model. Its truth is then its limit with
    endless data: its maximum at the expected rates. Sets that lack an arm of the regression are left out.

    Returns
    -------
    pandas.DataFrame
        item_set, effects, parameter, conditional (as set in the answer model), true (averaged over
        effects), mean_estimate, coverage (of ``true``), mean_width, runs; logits except for the coverage.
    """
    rows = []
    for item_set, items in item_sets.items():
        layout = _sensitivity_tests(items)
        if layout is None:
            continue
        regression = _Regression(layout)
        for index, (name, truth) in enumerate(effects.items()):
            rng = np.random.default_rng([seed, len(layout.sign), index])
            parts = []
            for part in _chunks(runs):
                drawn = draw_effects(layout, truth, part, rng)
                counts = regression.counts(draw_answers(layout, truth, drawn, part, rng))
                beta, bread = regression.estimates(counts)
                parts.append((beta, regression.covariances(counts, beta, bread)))
            beta, covariances = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
            model = np.array([truth.b0, truth.b_v, truth.b_s])
            limit = _limit(layout, regression, truth)
            for row in _recovered(model, limit, beta, covariances):
                rows.append((item_set, name, *row, runs))
    columns = ["item_set", "effects", "parameter", "conditional", "true", "mean_estimate", "coverage"]
    return pd.DataFrame(rows, columns=[*columns, "mean_width", "runs"])


def _sensitivity_tests(items: pd.DataFrame) -> Layout | None:
    """The tests of the regression of `statistics.sensitivities`; None if an arm is missing."""
    used = items["arm"].isin(SENSITIVITY_ARMS) & (items["n_examples"] == SENSITIVITY_N)
    return layout_of(items, used) if set(items.loc[used, "arm"]) == set(SENSITIVITY_ARMS) else None


def _limit(layout: Layout, regression: _Regression, truth: Truth) -> Floats:
    """The limit of the regression with endless data, shape (3,)."""
    expected = _integral(layout.logits(truth, {}), layout.spread(truth, ()))
    beta, _ = regression.estimates(regression.counts(expected.astype(np.float32)))
    return np.asarray(beta[0])


def _recovered(
    model: Floats, limit: Floats, beta: Floats, covariances: Floats
) -> Iterator[tuple[str, float, float, float, float, float]]:
    """(parameter, conditional, true, mean estimate, coverage, mean width); separated runs cover nothing."""
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)
    known = np.abs(beta).max(axis=1) <= SEPARATED
    for parameter, weights in SENSITIVITY_TERMS.items():
        w = np.array(weights)
        estimates = np.where(known, beta @ w, np.nan)
        half = np.where(known, z * np.sqrt(np.einsum("i,rij,j->r", w, covariances, w)), np.nan)
        true = float(w @ limit)
        covered = np.abs(estimates - true) <= half
        means = (estimates[known].mean(), 2 * half[known].mean()) if known.any() else (np.nan, np.nan)
        yield parameter, float(w @ model), true, float(means[0]), float(covered.mean()), float(means[1])


def agent_coverage(items: pd.DataFrame, truth: Truth, *, runs: int, seed: int) -> pd.DataFrame:
    """How often the intervals of `statistics.sensitivities` cover an agent's parameters, over simulated runs.

    Each run draws an answer to every item of these arms, from a logit without effects. Draws are run by run
    here but all at once in `recovery`, so each keeps its own code and results.

    Returns
    -------
    pandas.DataFrame
        One row per parameter: parameter, true (logits), coverage (a rate; nominally .95; NaN if no run
        has an estimate, as without the probes).
    """
    known = np.array([truth.b0, truth.b_v, truth.b_s])
    columns = ["parameter", "true", "coverage"]
    layout = _sensitivity_tests(items)
    if layout is None:
        rows = [(name, float(np.dot(weights, known)), np.nan) for name, weights in SENSITIVITY_TERMS.items()]
        return pd.DataFrame(rows, columns=columns)
    regression = _Regression(layout)
    at_a, evidence = layout.sign > 0, layout.evidence.astype(float)
    p = expit(truth.b0 + np.where(at_a, 1, -1) * (evidence @ known[1:]))
    chose_a = np.random.default_rng(seed).random((runs, len(p))) < p
    counts = regression.counts((chose_a == at_a).T.astype(np.float32))
    beta, bread = regression.estimates(counts)
    found = _recovered(known, known, beta, regression.covariances(counts, beta, bread))
    rows = [(name, true, covered) for name, _, true, _, covered, _ in found]
    return pd.DataFrame(rows, columns=columns)


def power(
    items: pd.DataFrame,
    truth: Truth,
    *,
    cells: Sequence[int],
    true_dvgrs: Sequence[float],
    runs: int,
    seed: int,
) -> pd.DataFrame:
    """How often a DVGR is found to differ from .5 at alpha = .05, by number of cells.

    Smaller designs are the first cells of one shuffled order. b_v is set so that the design has the wanted
    expected DVGR. At a true DVGR of .5, the result is the false positive rate.

    Parameters
    ----------
    truth
        Position bias and SDs of effects; its b_v is replaced.

    Returns
    -------
    pandas.DataFrame
        cells, trials, true_dvgr, method (exact: binomial test of independent trials; cell, value: whether
        the clustered interval excludes .5; value_wild: wild bootstrap), power (a rate), runs.
    """
    order = np.random.default_rng(seed).permutation(items["cell"].unique())
    rows = []
    for count in cells:
        layout = deconfounded(items[items["cell"].isin(order[:count])])
        estimand = _Estimand.of(layout, "pooled")
        for dvgr in true_dvgrs:
            rng = np.random.default_rng([seed, count, round(1e6 * dvgr)])
            set_to = _with_dvgr(estimand.expectations["population"], truth, dvgr)
            found = _rejections(layout, estimand.groups[0], set_to, runs, rng)
            rows += [(count, len(layout.sign), dvgr, method, rate, runs) for method, rate in found.items()]
    return pd.DataFrame(rows, columns=["cells", "trials", "true_dvgr", "method", "power", "runs"])


def cell_steps(items: pd.DataFrame) -> list[int]:
    """Numbers of cells for `power`: 25, doubled repeatedly, and finally all that the items have."""
    cells = items["cell"].nunique()
    return [*(number for number in (25, 50, 100, 200) if number < cells), cells]


def _with_dvgr(expected: Expectation, truth: Truth, dvgr: float) -> Truth:
    """The parameters with b_v set so that the expected DVGR is the wanted one."""

    def distance(b_v: float) -> float:
        return float(expected.rates(replace(truth, b_v=b_v), {})[0, 0]) - dvgr

    return replace(truth, b_v=float(brentq(distance, truth.b_s - 20, truth.b_s + 20)))


def _rejections(
    layout: Layout, group: Clusterings, truth: Truth, runs: int, rng: np.random.Generator
) -> dict[str, float]:
    """The share of runs in which each method rejects a DVGR of .5."""
    counts = dict.fromkeys(("exact", "cell", "value", "value_wild"), 0)
    for part in _chunks(runs):
        answers = draw_answers(layout, truth, draw_effects(layout, truth, part, rng), part, rng)
        cell, value = (group[name].sums(answers) for name in ("cell", "value"))
        k, n = cell.totals.sum(axis=1), cell.sizes.sum()
        # Against .5 the distribution is symmetric, so both tails are twice the smaller one.
        counts["exact"] += int((2 * stats.binom.cdf(np.minimum(k, n - k), n, 0.5) <= 1 - CONFIDENCE).sum())
        for method, sums in (("cell", cell), ("value", value)):
            low, high = clustered_intervals(*sums)
            counts[method] += int(((low > 0.5) | (high < 0.5)).sum())
        p = wild_p_values(*value, np.full(part, 0.5))
        counts["value_wild"] += int((p <= 1 - CONFIDENCE).sum())
    return {method: count / runs for method, count in counts.items()}
