"""Two-way clusters and the wild cluster bootstrap, compared with definitions and statsmodels."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.sandwich_covariance import cov_cluster_2groups
from statsmodels.stats.weightstats import ttost_paired

from deepvalues.stats import clusters
from deepvalues.stats.clusters import clustered
from deepvalues.stats.rates import wilson


def sample(seed, n=120, first=8, second=11, spread=1.0):
    """Outcomes of 0 and 1 that depend on two kinds of clusters, and these clusters."""
    rng = np.random.default_rng(seed)
    one, two = rng.integers(first, size=n), rng.integers(second, size=n)
    logit = rng.normal(0, spread, first)[one] + rng.normal(0, spread, second)[two]
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    names = (pd.Series(codes).map(lambda code: f"k{code}") for codes in (one, two))
    return pd.Series(y), *names


@st.composite
def trials(draw, most=6):
    codes = draw(st.lists(st.sampled_from("abcdefgh"[:most]), min_size=6, max_size=30))
    y = draw(st.lists(st.integers(0, 1), min_size=len(codes), max_size=len(codes)))
    return pd.Series(y, dtype=float), pd.Series(codes)


def t_interval(y, codes):
    """Mean ± t · SE, clustered."""
    return tuple(clusters.mean(y.to_numpy(dtype=float), codes).interval)


def wilsons(rate, variance, groups):
    """statsmodels' Wilson interval for the effective number of trials, with t in place of z."""
    trials = rate * (1 - rate) / variance
    alpha = 2 * stats.norm.sf(stats.t.ppf(0.975, groups - 1))
    return proportion_confint(rate * trials, trials, alpha, method="wilson")


def spread_of_clusters(y, codes):
    """The largest total of residuals in a cluster."""
    return (y - y.mean()).groupby(codes).sum().abs().max()


# ---- one way, many samples at once ----


@settings(max_examples=50)
@given(trials())
def test_the_vectorised_interval_matches_one_sample(data):
    y, codes = data
    assume(codes.nunique() > 1 and spread_of_clusters(y, codes) > 1e-9)
    low, high = clusters.clustered_intervals(*clusters.cluster_sums(y, codes))
    assert (float(low), float(high)) == pytest.approx(tuple(clustered(y, codes)), abs=1e-9)


def test_many_samples_match_single_ones():
    _, codes, _ = sample(0)
    rng = np.random.default_rng(1)
    samples = [pd.Series((rng.random(len(codes)) < 0.4).astype(float)) for _ in range(20)]
    sums = [clusters.cluster_sums(y, codes) for y in samples]
    low, high = clusters.clustered_intervals(np.stack([one.totals for one in sums]), sums[0].sizes)
    alone = [clustered(y, codes) for y in samples]
    np.testing.assert_allclose(low, [interval.low for interval in alone])
    np.testing.assert_allclose(high, [interval.high for interval in alone])


def test_sums_are_totals_and_sizes():
    y, codes = (
        pd.Series([1.0, 0, 1, 1, 0], index=list("vwxyz")),
        pd.Series(list("babac"), index=list("vwxyz")),
    )
    totals, sizes = clusters.cluster_sums(y, codes)
    assert totals.tolist() == [2, 1, 0]
    assert sizes.tolist() == [2, 2, 1]


def test_one_cluster_has_no_variance():
    assert np.isnan(clusters.mean_variance(np.array([[3.0], [1.0]]), np.array([5.0]))).all()


# ---- clustered ----


def by_hand(outcomes, clusters):
    """A 95% interval from the variance as a double sum over pairs of trials in one cluster."""
    y, n = list(outcomes), len(outcomes)
    mean = sum(y) / n
    pairs = sum(
        (y[i] - mean) * (y[j] - mean) for i in range(n) for j in range(n) if clusters[i] == clusters[j]
    )
    groups = len(set(clusters))
    se = math.sqrt(max(groups / (groups - 1) * pairs, 0)) / n
    t = stats.t.ppf(0.975, groups - 1)
    return mean - t * se, mean + t * se


@st.composite
def trials(draw):
    clusters = draw(st.lists(st.sampled_from("abcdefg"), min_size=4, max_size=30))
    outcomes = draw(st.lists(st.integers(0, 1), min_size=len(clusters), max_size=len(clusters)))
    assume(len(set(clusters)) > 1 and len(set(outcomes)) > 1)
    return pd.Series(outcomes, dtype=float), pd.Series(clusters)


@given(trials())
def test_the_interval_of_a_mean_is_a_double_sum_over_pairs(data):
    outcomes, clusters = data
    assert t_interval(outcomes, clusters) == pytest.approx(by_hand(outcomes, clusters), abs=1e-7)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=20))
def test_singleton_clusters_give_the_usual_t_interval(outcomes):
    assume(np.std(outcomes) > 1e-3)
    y = pd.Series(outcomes)
    usual = stats.t.interval(0.95, len(y) - 1, y.mean(), stats.sem(y))
    assert t_interval(y, pd.Series([f"c{place}" for place in range(len(y))])) == pytest.approx(usual)


@given(trials(), st.randoms())
def test_order_of_trials_and_names_of_clusters_do_not_matter(data, random):
    outcomes, clusters = data
    order = list(range(len(outcomes)))
    random.shuffle(order)
    renamed = clusters.map(lambda name: f"z{ord('z') - ord(name)}")
    moved = clustered(outcomes.iloc[order], renamed.iloc[order])
    assert moved == pytest.approx(clustered(outcomes, clusters), abs=1e-9)


def test_duplicated_trials_add_no_information():
    """Duplicating every trial within its cluster adds no information."""
    outcomes, clusters = pd.Series([1.0, 0, 1, 1, 0]), pd.Series(list("abcde"))
    once = clustered(outcomes, clusters)
    copied = clustered(pd.concat([outcomes] * 9), pd.concat([clusters] * 9))
    assert copied == pytest.approx(once)
    assert wilson(27, 45).high - wilson(27, 45).low < once.high - once.low


@given(trials())
def test_the_interval_of_a_rate_is_wilsons_at_the_effective_number_of_trials(data):
    outcomes, codes = data
    groups, variance = codes.nunique(), clusters.mean(outcomes.to_numpy(), codes).error ** 2
    assume(variance > 1e-9)
    expected = wilsons(outcomes.mean(), variance, groups)
    assert clustered(outcomes, codes) == pytest.approx(tuple(expected), abs=1e-9)


@given(trials())
def test_the_interval_contains_the_rate_and_stays_within_0_and_1(data):
    outcomes, codes = data
    low, high = clustered(outcomes, codes)
    assert 0 <= low <= outcomes.mean() + 1e-12 and outcomes.mean() - 1e-12 <= high <= 1


@pytest.mark.parametrize("groups", [2, 9, 200])
def test_a_rate_of_0_or_1_counts_as_one_trial_per_cluster(groups):
    codes = pd.Series(np.repeat(np.arange(groups), 3))
    none, every = (clustered(pd.Series(float(one), codes.index), codes) for one in (0, 1))
    alpha = 2 * stats.norm.sf(stats.t.ppf(0.975, groups - 1))
    assert none == pytest.approx((0, proportion_confint(0, groups, alpha, method="wilson")[1]))
    assert every == pytest.approx((1 - none.high, 1))
    assert (none.low, every.high) == (0, 1)


@pytest.mark.parametrize(("outcomes", "clusters"), [([0, 1, 1], "aaa"), ([1], "a"), ([], "")])
def test_without_trials_there_is_no_interval(outcomes, clusters):
    found = clustered(pd.Series(outcomes, dtype=float), pd.Series(list(clusters), dtype=str))
    assert all(math.isnan(bound) for bound in found)


def test_clustered_intervals_cover_where_wilson_does_not():
    """Trials that depend on their cluster: 200 simulated samples with a rate of .3."""
    rng = np.random.default_rng(5)
    clusters = pd.Series(np.repeat(np.arange(40), 10).astype(str))
    covered = {"clustered": 0, "wilson": 0}
    for _ in range(200):
        rate = rng.beta(0.6, 1.4, 40).repeat(10)
        outcomes = pd.Series((rng.random(400) < rate).astype(float))
        low, high = clustered(outcomes, clusters)
        covered["clustered"] += low <= 0.3 <= high
        low, high = wilson(int(outcomes.sum()), 400)
        covered["wilson"] += low <= 0.3 <= high
    assert 180 <= covered["clustered"] <= 198
    assert covered["wilson"] < 150


# ---- clustered estimates ----


@given(st.integers(0, 10_000))
def test_the_interval_of_a_mean_is_statsmodels_regression_on_a_constant(seed):
    y, codes, _ = sample(seed)
    options = {"groups": pd.factorize(codes)[0], "use_correction": True}
    fit = sm.OLS(y.to_numpy(), np.ones(len(y))).fit(cov_type="cluster", cov_kwds=options, use_t=True)
    assert t_interval(y, codes) == pytest.approx(tuple(fit.conf_int()[0]))


def test_equal_cluster_means_give_a_zero_width_interval():
    assert clustered(pd.Series([0.0, 1, 0, 1]), pd.Series(list("aabb"))) == (0.5, 0.5)


@given(st.integers(0, 10_000))
def test_two_groups_is_statsmodels_clustered_regression(seed):
    """statsmodels' OLS on an indicator; its correction has an additional factor (n − 1)/(n − 2)."""
    rng = np.random.default_rng(seed)
    n = 80
    outcomes, first, cells = rng.random(n), rng.random(n) < 0.4, rng.integers(0, 10, n)
    assume(0 < first.sum() < n)
    fit = sm.OLS(outcomes, sm.add_constant(first.astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": cells}
    )
    found = clusters.two_groups(outcomes, first, cells.tolist())
    assert found.value == pytest.approx(fit.params[1])
    assert found.error * math.sqrt((n - 1) / (n - 2)) == pytest.approx(fit.bse[1])


def test_equivalence_is_statsmodels_tost_where_each_item_is_a_cluster():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 2, 300).astype(float), rng.integers(0, 2, 300).astype(float)
    found = clusters.mean(a - b, list(range(300)))
    assert found.equivalence(0.1) == pytest.approx(ttost_paired(a, b, -0.1, 0.1)[0])
    assert found.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue)


@given(st.floats(-0.2, 0.2), st.floats(0.001, 0.1), st.integers(5, 500), st.floats(0.01, 0.2))
def test_equivalence_is_the_90_percent_interval_within_the_bounds(value, error, df, bound):
    estimate = clusters.Estimate(value, error, df)
    half = stats.t.ppf(0.95, df) * error
    inside = -bound < value - half and value + half < bound
    assert (estimate.equivalence(bound) < 0.05) == inside


def test_without_variation_there_is_no_interval_or_test():
    for estimate in (
        clusters.mean(np.ones(9) / 3, [1, 1, 1, 2, 2, 2, 3, 3, 3]),
        clusters.mean(np.array([0.0, 1.0]), ["one", "one"]),
        clusters.mean(np.array([]), []),
        clusters.two_groups(np.ones(4), np.ones(4, bool), [1, 2, 3, 4]),
    ):
        assert np.isnan([*estimate.interval, estimate.p_value, estimate.equivalence(0.05)]).all()


def test_rounding_errors_are_not_variation():
    estimate = clusters.mean(np.full(7, 0.1), list(range(7)))
    assert math.isnan(estimate.error)


# ---- two ways ----


@pytest.mark.parametrize("seed", range(8))
def test_two_way_is_that_of_statsmodels(seed):
    """`cov_cluster_2groups`, and OLS with two columns of groups."""
    y, one, two = sample(seed)
    groups = np.column_stack([pd.factorize(one)[0], pd.factorize(two)[0]])
    fit = sm.OLS(y.to_numpy(), np.ones(len(y))).fit()
    variance = float(cov_cluster_2groups(fit, groups[:, 0], groups[:, 1])[0][0, 0])
    assert variance > 0
    expected = wilsons(y.mean(), variance, min(one.nunique(), two.nunique()))
    assert clusters.two_way(y, one, two) == pytest.approx(tuple(expected))
    options = {"groups": groups, "use_correction": True}
    fit = sm.OLS(y.to_numpy(), np.ones(len(y))).fit(cov_type="cluster", cov_kwds=options, use_t=True)
    assert fit.bse[0] == pytest.approx(math.sqrt(variance))


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_two_way_is_a_double_sum_over_pairs_that_share_a_cluster(seed):
    """Without the finite-cluster factors: pairs of trials that share either cluster, each counted once."""
    y, one, two = sample(seed, n=25, first=4, second=5)
    residuals = (y - y.mean()).to_numpy()
    shared = np.equal.outer(one.to_numpy(), one.to_numpy()) | np.equal.outer(two.to_numpy(), two.to_numpy())
    pairs = (np.outer(residuals, residuals) * shared).sum() / len(y) ** 2
    both = one + two
    parts = []
    for codes in (one, two, both):
        groups = codes.nunique()
        parts.append(clusters.mean_variance(*clusters.cluster_sums(y, codes)) * (groups - 1) / groups)
    assert parts[0] + parts[1] - parts[2] == pytest.approx(pairs, abs=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_nested_clusters_give_the_coarser_variance(seed):
    """Cells are nested in values, so only the variance by value remains."""
    y, fine, _ = sample(seed, n=80, first=20)
    coarse = fine.map(lambda name: "odd" if int(name[1:]) % 2 else f"even{int(name[1:]) % 3}")
    assume(spread_of_clusters(y, coarse) > 1e-6)
    assert clusters.two_way(y, coarse, fine) == pytest.approx(tuple(clustered(y, coarse)))
    assert clusters.two_way(y, fine, coarse) == pytest.approx(tuple(clustered(y, coarse)))


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_two_way_is_symmetric(seed):
    y, one, two = sample(seed, n=40)
    assert clusters.two_way(y, one, two) == pytest.approx(tuple(clusters.two_way(y, two, one)), nan_ok=True)


def test_a_negative_variance_is_replaced_by_the_larger_one_way_variance():
    """A checkerboard: all rows and columns have the same mean, and only cells differ."""
    rows, columns = np.indices((4, 4)).reshape(2, -1)
    y = pd.Series(((rows + columns) % 2).astype(float))
    y[0] = 1.0
    one, two = pd.Series(rows), pd.Series(columns)
    parts = [
        float(clusters.mean_variance(*clusters.cluster_sums(y, codes)))
        for codes in (one, two, 10 * one + two)
    ]
    assert parts[0] + parts[1] < parts[2]
    assert clusters.two_way(y, one, two) == pytest.approx(tuple(wilsons(y.mean(), max(parts[:2]), 4)))


@pytest.mark.parametrize(
    ("outcomes", "first", "second"),
    [([0, 1, 1], "aaa", "abc"), ([0, 1, 1], "abc", "aaa"), ([], "", "")],
)
def test_two_way_of_nothing_is_missing(outcomes, first, second):
    found = clusters.two_way(
        pd.Series(outcomes, dtype=float),
        pd.Series(list(first), dtype=str),
        pd.Series(list(second), dtype=str),
    )
    assert all(math.isnan(bound) for bound in found)


def test_two_way_covers_where_one_way_does_not():
    """400 samples of choices that depend on 15 rows and on 20 columns; the true rate is .5."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices((15, 20)).reshape(2, -1)
    logits = rng.normal(0, 4, (400, 15))[:, rows] + rng.normal(0, 4, (400, 20))[:, columns]
    y = (logits + rng.logistic(0, 1, logits.shape) > 0).astype(float)
    sums = [
        clusters.Sums(y @ np.equal.outer(codes, np.unique(codes)), np.bincount(codes).astype(float))
        for codes in (rows, columns, np.arange(300))
    ]

    def coverage(bounds):
        return float(((bounds[0] <= 0.5) & (bounds[1] >= 0.5)).mean())

    assert 0.9 < coverage(clusters.two_way_intervals(*sums)) < 0.99
    assert coverage(clusters.clustered_intervals(*sums[0])) < 0.9
    assert coverage(clusters.clustered_intervals(*sums[2])) < 0.5


# ---- wild cluster bootstrap ----


def wild_p_by_regression(y, codes, null):
    """An explicit bootstrap: every sign vector, and statsmodels' clustered t for each sample."""
    names, groups = codes.unique(), pd.factorize(codes)[0]

    def t(outcomes):
        options = {"groups": groups, "use_correction": True}
        fit = sm.OLS(outcomes, np.ones(len(outcomes))).fit(cov_type="cluster", cov_kwds=options, use_t=True)
        return abs(fit.params[0] - null) / fit.bse[0]

    observed = t(y.to_numpy())
    signs = list(product([1, -1], repeat=len(names)))
    resampled = [t(null + np.array(sign)[groups] * (y.to_numpy() - null)) for sign in signs]
    return float(np.mean([size >= observed * (1 - 1e-9) for size in resampled]))


@pytest.mark.parametrize("null", [0.2, 0.45, 0.62])
def test_wild_p_value_matches_an_explicit_bootstrap(null):
    y, codes, _ = sample(4, n=60, first=6)
    found = clusters.wild_p_values(*clusters.cluster_sums(y, codes), np.array(null))
    assert float(found) == wild_p_by_regression(y, codes, null)


#: P-values of "the mean is …" from wildboottest 0.3.2 (Python; Rademacher weights, all sign vectors, null
#: imposed, type 11) for the sample below. Whether it counts ties depends on rounding.
WILDBOOTTEST = {0.4: 0.609375, 0.45: 0.112305, 0.5: 0.017578, 0.55: 0.003906, 0.6: 0.001953, 0.7: 0.000977}


@pytest.mark.parametrize("null", WILDBOOTTEST)
def test_wild_p_value_is_that_of_wildboottest(null):
    rng = np.random.default_rng(4)
    codes = rng.integers(11, size=300)
    uniform, effects = rng.random(300), rng.normal(0, 0.6, 11)
    y = pd.Series((uniform < 1 / (1 + np.exp(-effects[codes]))).astype(float))
    found = clusters.wild_p_values(*clusters.cluster_sums(y, pd.Series(codes)), np.array(null))
    assert float(found) == pytest.approx(WILDBOOTTEST[null], abs=1.01 * 2**-10)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_the_wild_interval_inverts_the_wild_test(seed):
    y, codes, _ = sample(seed, first=9)
    sums = clusters.cluster_sums(y, codes)
    low, high = clusters.wild(y, codes)
    step = 1e-4 * (high - low)
    for bound, out in ((low, -step), (high, step)):
        assert float(clusters.wild_p_values(*sums, np.array(bound - out))) > 0.05
        assert float(clusters.wild_p_values(*sums, np.array(bound + out))) <= 0.05
    assert low < y.mean() < high


def test_wild_p_value_of_the_mean_itself_is_one():
    y, codes, _ = sample(5)
    assert clusters.wild_p_values(*clusters.cluster_sums(y, codes), np.array(y.mean())) == 1


def test_far_from_the_mean_the_p_value_is_minimal():
    y, codes, _ = sample(6, first=8)
    sums = clusters.cluster_sums(y, codes)
    assert float(clusters.wild_p_values(*sums, np.array(1e4))) == 2**-7


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(-3, 3), st.floats(0.1, 5))
def test_wild_intervals_move_with_the_outcomes(seed, shift, scale):
    y, codes, _ = sample(seed, n=60)
    low, high = clusters.wild(y, codes)
    moved = clusters.wild(scale * y + shift, codes)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-4 * scale)


@pytest.mark.parametrize(
    ("outcomes", "codes"),
    [([0, 1, 1, 0, 1], "abcde"), ([1] * 8, "abcdefgh"), ([0, 1] * 8, "aabbccddeeffgghh")],
)
def test_too_few_or_equal_clusters_give_no_wild_interval(outcomes, codes):
    found = clusters.wild(pd.Series(outcomes, dtype=float), pd.Series(list(codes)))
    assert all(math.isnan(bound) for bound in found)


def test_wild_of_nothing_is_missing():
    assert all(
        math.isnan(bound) for bound in clusters.wild(pd.Series([], dtype=float), pd.Series([], dtype=str))
    )


def test_with_more_clusters_drawn_signs_hardly_matter():
    y, codes, _ = sample(7, n=900, first=30)
    one, again, other = (clusters.wild(y, codes, seed) for seed in (1, 1, 2))
    assert one == again != other
    width = one.high - one.low
    assert one == pytest.approx(tuple(other), abs=0.1 * width)
    assert one == pytest.approx(tuple(clustered(y, codes)), abs=0.15 * width)


def test_wild_intervals_cover_with_few_unequal_clusters():
    """500 samples of 8 clusters of very different sizes; the true mean is 0."""
    rng = np.random.default_rng(8)
    sizes = np.array([40.0, 20, 10, 8, 6, 5, 4, 3])
    totals = rng.normal(0, 1, (500, 8)) * sizes + rng.normal(0, 1, (500, 8)) * np.sqrt(sizes)
    low, high = clusters.wild_intervals(totals, sizes)
    wild = float(((low <= 0) & (high >= 0)).mean())
    low, high = clusters.clustered_intervals(totals, sizes)
    sandwich = float(((low <= 0) & (high >= 0)).mean())
    assert sandwich < wild
    assert 0.88 < wild < 0.99
