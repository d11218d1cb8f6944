"""Intervals, tests and effect sizes, compared with definitions, other programs and published figures."""

import math
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from deepvalues.core import paths
from deepvalues.stats.rates import cohens_h, exact_test, holm, wilson

Z = 1.959963984540054


@st.composite
def counts(draw):
    n = draw(st.integers(1, 20_000))
    return draw(st.integers(0, n)), n


# ---- Wilson ----


@given(counts())
def test_wilson_is_its_formula(pair):
    k, n = pair
    p = k / n
    centre, spread = p + Z**2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = wilson(k, n)
    assert low == pytest.approx((centre - spread) / (1 + Z**2 / n), abs=1e-12)
    assert high == pytest.approx((centre + spread) / (1 + Z**2 / n), abs=1e-12)


@given(counts())
def test_wilson_inverts_the_score_test(pair):
    """At an inner bound p0 the score statistic (p − p0) / √(p0 (1 − p0) / n) is ±z."""
    k, n = pair
    for bound in wilson(k, n):
        if 0 < bound < 1:
            score = abs(k / n - bound) / math.sqrt(bound * (1 - bound) / n)
            assert score == pytest.approx(Z, rel=1e-6)


@given(counts())
def test_wilson_contains_the_rate_and_is_symmetric(pair):
    k, n = pair
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert wilson(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_at_the_ends_is_exact():
    assert wilson(0, 400).low == 0
    assert wilson(400, 400).high == 1
    assert all(math.isnan(bound) for bound in wilson(0, 0))


def test_wilson_is_the_interval_of_a_published_comparison():
    """Newcombe (1998), Statistics in Medicine 17, table I, method 3."""
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


#: Published by value: replies read, DVGR, lower and upper bound (Ashkinaze et al. 2025, arXiv 2511.02109).
PRINTED = {
    "tradition": (7119, 0.51, 0.5, 0.52),
    "universalism": (10_767, 0.42, 0.41, 0.43),
    "justice": (9372, 0.33, 0.32, 0.34),
    "conformity": (9209, 0.32, 0.31, 0.32),
    "reparation": (8299, 0.31, 0.3, 0.32),
    "security": (8489, 0.31, 0.3, 0.32),
    "benevolence": (7391, 0.28, 0.27, 0.29),
    "non_maleficence": (12_073, 0.27, 0.26, 0.28),
    "beneficence": (10_715, 0.24, 0.23, 0.24),
    "fidelity": (11_615, 0.22, 0.21, 0.22),
    "self_improvement": (9676, 0.2, 0.19, 0.21),
}


@pytest.mark.parametrize("value", PRINTED)
def test_wilson_gives_the_printed_intervals(value):
    """Rate and bounds are published to two digits; some count must give all three."""
    n, *printed = PRINTED[value]
    lowest, highest = (math.floor((printed[0] + step) * n) for step in (-0.006, 0.006))
    found = ((k / n, *wilson(k, n)) for k in range(lowest, highest + 1))
    assert any(np.abs(np.subtract(three, printed)).max() <= 0.005 for three in found)


def test_printed_answers_by_value_and_by_model_add_up():
    by_model = pd.read_csv(paths.PUBLISHED / "dvb_by_model.csv")
    assert sum(n for n, *_ in PRINTED.values()) == by_model["n_parsed"].sum() == 104_725


# ---- exact test ----


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_test_sums_all_outcomes_that_are_not_more_likely(pair):
    k, n = pair
    as_unlikely = sum(comb(n, j) for j in range(n + 1) if comb(n, j) <= comb(n, k))
    assert exact_test(k, n) == pytest.approx(as_unlikely / 2**n)
    assert exact_test(n - k, n) == pytest.approx(exact_test(k, n))


def test_exact_test_against_another_probability():
    """Two-sided, from the probabilities of all outcomes: 3 of 10 with probability .2."""
    mass = [comb(10, j) * 0.2**j * 0.8 ** (10 - j) for j in range(11)]
    assert exact_test(3, 10, 0.2) == pytest.approx(sum(p for p in mass if p <= mass[3] * (1 + 1e-9)))


def test_exact_test_without_trials():
    assert math.isnan(exact_test(0, 0))


def test_power_of_the_published_sample():
    """1,302 prompts: 95% power for a two-sided exact test against .5 at .55, alpha .05 (spec, section 2)."""
    critical = max(k for k in range(652) if exact_test(k, 1302) <= 0.05)
    power = stats.binom.cdf(critical, 1302, 0.45) + stats.binom.sf(1302 - critical - 1, 1302, 0.45)
    assert power == pytest.approx(0.95, abs=0.002)


# ---- Holm ----

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def holm_by_hand(p_values):
    """Step-down: the running maximum of (m − rank) p, at most 1."""
    m, corrected, running = len(p_values), {}, 0.0
    for rank, place in enumerate(sorted(range(m), key=lambda place: p_values[place])):
        running = max(running, (m - rank) * p_values[place])
        corrected[place] = min(running, 1.0)
    return [corrected[place] for place in range(m)]


@given(P_VALUES)
def test_holm_is_its_definition(p_values):
    assert holm(p_values) == pytest.approx(holm_by_hand(p_values))


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    p_values = np.random.default_rng(seed).beta(0.4, 2, 9).tolist()
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


@given(P_VALUES)
def test_holm_lies_between_the_p_value_and_bonferroni(p_values):
    for raw, corrected in zip(p_values, holm(p_values), strict=True):
        assert raw - 1e-12 <= corrected <= min(1, raw * len(p_values)) + 1e-12


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_holm_ignores_missing_values():
    found = holm([math.nan, 0.01, 0.04])
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([0.02, 0.04])


# ---- Cohen's h ----


@pytest.mark.parametrize(
    ("rate", "phi"), [(0.05, 0.451), (0.1, 0.644), (0.25, 1.047), (0.5, 1.571), (0.75, 2.094), (0.95, 2.691)]
)
def test_cohens_h_matches_tabulated_angles(rate, phi):
    """Cohen (1988), table 6.2.2: φ = 2 asin √p; φ(.50) = 1.571."""
    assert cohens_h(rate) == pytest.approx(phi - 1.571, abs=0.0011)


def test_cohens_h_at_the_ends_and_without_a_rate():
    assert cohens_h(1) == pytest.approx(math.pi / 2)
    assert cohens_h(0) == pytest.approx(-math.pi / 2)
    assert math.isnan(cohens_h(math.nan))
