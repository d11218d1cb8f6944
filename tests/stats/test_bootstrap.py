"""The clustered bootstrap, compared with scipy and definitions, and in simulations."""

import math
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deepvalues.core.errors import UserError
from deepvalues.stats.bootstrap import bootstrap, bootstrapped_mean, ratios, resampled, sums_by_cluster
from deepvalues.stats.clusters import mean


def table(seed, clusters=40, rows=400):
    """Outcomes with a different rate in each cluster, and clusters of unequal size."""
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(clusters), rng.integers(clusters, size=rows - clusters)])
    rate = rng.beta(1, 2, clusters)[codes]
    names = pd.Series(codes).map(lambda code: f"c{code:02d}")
    return pd.Series((rng.random(rows) < rate).astype(float)), names


def sums_of(outcomes, names):
    return sums_by_cluster(pd.DataFrame({"followed": outcomes, "answered": 1.0}), names)


# ---- sums ----


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(-5, 5), st.floats(-5, 5)), min_size=1))
def test_sums_are_those_of_pandas(rows):
    frame = pd.DataFrame(rows, columns=["cluster", "x", "y"])
    expected = frame.groupby("cluster", sort=False)[["x", "y"]].sum()
    np.testing.assert_allclose(
        sums_by_cluster(frame[["x", "y"]], frame["cluster"]), expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(("outcome", "cluster"), [(math.nan, "a"), (1.0, None)])
def test_missing_values_are_rejected(outcome, cluster):
    with pytest.raises(UserError, match="missing"):
        bootstrapped_mean(pd.Series([0.0, outcome]), pd.Series(["b", cluster]), seed=1)


def test_resamples_are_sums_of_the_same_number_of_clusters():
    """Powers of a base show how often each cluster was drawn."""
    base, clusters = 100, 5
    sums = np.array([[float(base**place), 1.0] for place in range(clusters)])
    drawn = resampled(sums, 3_000, seed=2)
    assert (drawn[:, 1] == clusters).all()
    counts = np.array([[int(total) // base**place % base for place in range(clusters)] for total, _ in drawn])
    assert (counts.sum(axis=1) == clusters).all()
    expected = stats.binom.pmf(np.arange(clusters + 1), clusters, 1 / clusters)
    for column in counts.T:
        np.testing.assert_allclose(np.bincount(column, minlength=6) / 3_000, expected, atol=0.03)


def test_memory_chunks_do_not_change_what_is_drawn_together():
    """All columns of a resample come from the same clusters, even across chunks."""
    sums = np.random.default_rng(0).random((700, 1)) * [1.0, 2.0]
    drawn = resampled(sums, 4_000, seed=3)
    np.testing.assert_allclose(drawn[:, 1], 2 * drawn[:, 0])
    assert len(np.unique(drawn[:, 0])) > 3_900


# ---- intervals ----


def test_ratio_is_that_of_scipy():
    """`scipy.stats.bootstrap` of the same ratio over the clusters' totals and sizes."""
    outcomes, names = table(1)
    sums = sums_of(outcomes, names)
    ours = bootstrap(sums, seed=1, resamples=40_000)

    def ratio(followed, answered, axis=-1):
        return followed.sum(axis=axis) / answered.sum(axis=axis)

    theirs = stats.bootstrap(
        tuple(sums.T),
        ratio,
        paired=True,
        vectorized=True,
        n_resamples=40_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.estimate[0] == pytest.approx(outcomes.mean())
    assert (ours.low[0], ours.high[0]) == pytest.approx((theirs.low, theirs.high), abs=0.02 * width)


def test_singleton_clusters_give_the_plain_bootstrap():
    """scipy's plain bootstrap of the mean of independent rows."""
    y = pd.Series(np.random.default_rng(4).exponential(size=50))
    ours = bootstrapped_mean(y, pd.Series(range(50)).astype(str), seed=5, resamples=40_000)
    theirs = stats.bootstrap(
        (y.to_numpy(),), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(6)
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.03 * (theirs.high - theirs.low))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_copies_inside_clusters_change_nothing(seed, copies):
    outcomes, names = table(seed, clusters=12, rows=40)
    once = bootstrapped_mean(outcomes, names, seed=1, resamples=500)
    more = bootstrapped_mean(
        pd.concat([outcomes] * copies), pd.concat([names] * copies), seed=1, resamples=500
    )
    assert more == pytest.approx(tuple(once))


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_failures_and_successes_are_symmetric(seed):
    outcomes, names = table(seed, clusters=12, rows=40)
    low, high = bootstrapped_mean(outcomes, names, seed=1, resamples=500)
    assert bootstrapped_mean(1 - outcomes, names, seed=1, resamples=500) == pytest.approx((1 - high, 1 - low))


def test_the_same_seed_gives_the_same_interval():
    outcomes, names = table(2)
    one, again, other = (bootstrapped_mean(outcomes, names, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_many_clusters_agree_with_the_sandwich():
    outcomes, names = table(3, clusters=300, rows=3_000)
    expected = mean(outcomes.to_numpy(dtype=float), names).interval
    found = bootstrapped_mean(outcomes, names, seed=1)
    assert found == pytest.approx(tuple(expected), abs=0.08 * (expected.high - expected.low))


def test_several_estimates_at_once_are_those_of_each_alone():
    """Two models on the same cells: rates, and their difference with paired resamples."""
    first, names = table(4)
    second = (first + table(5)[0]).clip(upper=1)
    columns = pd.DataFrame({"a": first, "na": 1.0, "b": second, "nb": 1.0})
    sums = sums_by_cluster(columns, names)
    together = bootstrap(sums, seed=1)
    for place, outcomes in enumerate((first, second)):
        alone = bootstrapped_mean(outcomes, names, seed=1)
        assert (together.low[place], together.high[place]) == pytest.approx(tuple(alone))
    paired = bootstrap(sums, lambda s: ratios(s)[..., 1] - ratios(s)[..., 0], seed=1)
    assert float(paired.estimate) == pytest.approx(second.mean() - first.mean())
    assert (float(paired.low), float(paired.high)) == pytest.approx(
        tuple(bootstrapped_mean(second - first, names, seed=1))
    )
    unpaired = sum((together.high - together.low) ** 2) ** 0.5
    assert float(paired.high - paired.low) < unpaired


@pytest.mark.parametrize(
    ("outcomes", "codes"), [([1, 1, 1], "abc"), ([0, 1, 1], "aaa"), ([0, 1, 0, 1], "aabb"), ([], "")]
)
def test_without_data_there_is_no_interval(outcomes, codes):
    y, names = pd.Series(outcomes, dtype=float), pd.Series(list(codes), dtype=str)
    found = bootstrapped_mean(y, names, seed=1, resamples=200)
    assert all(math.isnan(bound) for bound in found)


def test_a_ratio_without_a_denominator_in_some_resample_has_no_interval():
    sums = np.array([[1.0, 2.0, 1.0, 1.0], [1.0, 3.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    found = bootstrap(sums, seed=1, resamples=500)
    assert not math.isnan(found.low[0])
    assert math.isnan(found.low[1])
    assert found.estimate[1] == 1


def test_bootstrap_intervals_cover():
    """300 samples of 40 clusters with a true rate of .3."""
    rng = np.random.default_rng(7)
    names = pd.Series(np.repeat(np.arange(40), 10)).astype(str)
    held = 0
    for run in range(300):
        outcomes = pd.Series((rng.random(400) < rng.beta(0.6, 1.4, 40).repeat(10)).astype(float))
        low, high = bootstrapped_mean(outcomes, names, seed=run, resamples=600)
        held += low <= 0.3 <= high
    assert 0.89 < held / 300 < 0.98


def test_a_table_of_the_published_size_takes_seconds():
    """9 models × 12,000 prompts in 400 cells, 10,000 resamples: at most 5 s; usually under one."""
    rng = np.random.default_rng(8)
    names = pd.Series(rng.integers(400, size=108_000)).map(lambda code: f"c{code:03d}")
    outcomes = pd.Series((rng.random(108_000) < 0.3).astype(float))
    start = time.perf_counter()
    low, high = bootstrapped_mean(outcomes, names, seed=1)
    assert time.perf_counter() - start < 5
    assert low < outcomes.mean() < high
