"""Profile fidelity: the specification's vectors, identities, and independent programs."""

import math
import warnings
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

import deepvalues.studies.profiles
from deepvalues.core.errors import UserError
from deepvalues.studies.profiles.analysis.measures import (
    MEASURES,
    cronbach_gleser,
    fidelity,
    measures,
    permutation_p,
    residuals,
)

H = np.array([4, 3, 4.5, 5, 2.5, 2])
#: The specification's table: r, v, F, CCC, ICC(A,1), pair MAE, sign agreement.
VECTORS = {
    "itself": (H, 1, 1, 1, 1, 1, 0, 1),
    "exaggerates": (3.5 + 2 * (H - 3.5), 1, 2, 0.8, 0.8, 0.8276, 1.4667, 1),
    "flattens": (3.5 + 0.5 * (H - 3.5), 1, 0.5, 0.8, 0.8, 0.8276, 0.7333, 1),
    "higher": (H + 1, 1, 1, 1, 0.7, 0.7368, 0, 1),
    "reversed": (7 - H, -1, 1, -1, -1, -1.5, 2.9333, 0),
    "wider": ([4, 3, 5, 6, 2, 1], 0.9939, 1.5811, 0.8980, 0.8980, 0.9135, 0.8667, 1),
    "swap": ([4.5, 3, 4, 5, 2.5, 2], 0.9643, 1, 0.9643, 0.9643, 0.9701, 0.3333, 0.9333),
    "nearly flat": ([3.6, 3.5, 3.6, 3.6, 3.4, 3.3], 0.9354, 0.1069, 0.1977, 0.1977, 0.2283, 1.32, 0.8),
}
COLUMNS = ["r", "v", "fidelity", "ccc", "icc_a1", "pair_mae", "sign_agreement"]

NUMBERS = st.floats(-100, 100).map(lambda number: round(number, 3))
PROFILES = st.lists(NUMBERS, min_size=6, max_size=6).map(np.array)
#: Few steps, so that ties are frequent.
COARSE = st.lists(st.integers(1, 4), min_size=6, max_size=6).map(lambda x: np.array(x, dtype=float))
UNEVEN = PROFILES.filter(lambda x: np.ptp(x) > 0.1)


@pytest.mark.parametrize("name", VECTORS)
def test_the_specification_s_vectors_hold_to_every_printed_digit(name):
    x, *expected = VECTORS[name]
    assert np.round(fidelity(x, H)[COLUMNS].to_numpy(), 4) == pytest.approx(expected, abs=1e-12)


def test_fidelity_is_reached_by_name_and_by_attribute():
    found = deepvalues.studies.profiles.fidelity(list(H), tuple(H))
    assert list(found.index) == list(MEASURES)
    assert found.fidelity == found["fidelity"] == 1
    assert found.icc_a1 == 1
    assert all(isinstance(number, float) for number in found.to_dict().values())


@settings(max_examples=40)
@given(UNEVEN, UNEVEN)
def test_f_is_the_concordance_of_the_15_differences(x, h):
    dx, dh = (np.array([a - b for a, b in combinations(y, 2)]) for y in (x, h))
    assert len(dx) == 15
    assert fidelity(x, h).fidelity == pytest.approx(2 * (dx @ dh) / (dx @ dx + dh @ dh), abs=1e-9)


@settings(max_examples=40)
@given(UNEVEN, UNEVEN)
def test_f_is_lin_s_coefficient_of_centred_profiles(x, h):
    assert fidelity(x, h).fidelity == pytest.approx(fidelity(x - x.mean(), h - h.mean()).ccc, abs=1e-9)


@settings(max_examples=40)
@given(UNEVEN, UNEVEN)
def test_f_is_r_times_the_calibration(x, h):
    found = fidelity(x, h)
    assert found.fidelity == pytest.approx(found.r * 2 / (found.v + 1 / found.v), abs=1e-9)
    assert abs(found.fidelity) <= abs(found.r) + 1e-12


@settings(max_examples=40)
@given(PROFILES, PROFILES)
def test_cronbach_and_gleser_s_parts_sum_to_the_total(x, h):
    parts = cronbach_gleser(x, h)
    assert parts.total == pytest.approx(((x - h) ** 2).sum())
    assert sum(parts[1:]) == pytest.approx(parts.total, abs=1e-6)
    assert min(parts) >= -1e-6


@settings(max_examples=40)
@given(UNEVEN, UNEVEN, st.floats(-50, 50), st.floats(0.1, 10))
def test_level_and_common_scale_do_not_matter(x, h, level, scale):
    one, other = fidelity(x, h), fidelity(level + scale * x, scale * h)
    for name in ("r", "v", "fidelity"):
        assert one[name] == pytest.approx(other[name], abs=1e-7)


@settings(max_examples=40)
@given(UNEVEN, UNEVEN, st.permutations(range(6)))
def test_the_order_of_the_themes_does_not_matter(x, h, order):
    assert np.allclose(fidelity(x, h), fidelity(x[order], h[order]), atol=1e-9)


@settings(max_examples=40)
@given(UNEVEN, UNEVEN)
def test_exchanging_the_two_turns_v_round_and_nothing_else(x, h):
    one, other = fidelity(x, h), fidelity(h, x)
    assert one.v == pytest.approx(1 / other.v)
    assert np.allclose(one.drop("v"), other.drop("v"))


@settings(max_examples=40)
@given(COARSE, COARSE)
def test_correlations_are_scipy_s(x, h):
    assume(np.ptp(x) and np.ptp(h))
    found = fidelity(x, h)
    assert found.r == pytest.approx(stats.pearsonr(x, h).statistic)
    assert found.rho == pytest.approx(stats.spearmanr(x, h).statistic)


@pytest.mark.parametrize("name", VECTORS)
def test_the_intraclass_correlation_is_pingouin_s(name):
    x = VECTORS[name][0]
    long = pd.DataFrame({"y": [*x, *H], "theme": [*range(6)] * 2, "rater": ["x"] * 6 + ["h"] * 6})
    with warnings.catch_warnings(action="ignore"):
        table = pg.intraclass_corr(long, targets="theme", raters="rater", ratings="y").set_index("Type")
    assert fidelity(x, H).icc_a1 == pytest.approx(table.loc["ICC(A,1)", "ICC"])


@settings(max_examples=40)
@given(COARSE, COARSE)
def test_sign_agreement_counts_pairs_and_ties_agree_with_ties(x, h):
    same = [np.sign(x[i] - x[j]) == np.sign(h[i] - h[j]) for i, j in combinations(range(6), 2)]
    assert fidelity(x, h).sign_agreement == pytest.approx(np.mean(same))


def test_rounding_makes_no_difference_of_a_tie():
    x = np.array([0.1 + 0.2, 0.3, 1, 2, 3, 4])
    assert fidelity(x, [0.3, 0.3, 1, 2, 3, 4]).sign_agreement == 1


def test_a_flat_profile_has_no_order():
    flat = fidelity([0.1] * 6, H)
    assert np.isnan(flat[["r", "rho"]]).all()
    assert flat[["v", "fidelity", "ccc"]].tolist() == [0, 0, 0]
    against = fidelity(H, [4.0] * 6)
    assert np.isnan(against[["r", "rho", "v"]]).all()
    assert against.fidelity == 0


def test_of_two_flat_profiles_nothing_can_be_told():
    found = fidelity([4.0] * 6, [4.0] * 6)
    assert np.isnan(found[["r", "rho", "v", "fidelity", "ccc", "icc_a1"]]).all()
    assert found[["pair_mae", "sign_agreement"]].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("x", "h", "told"),
    [
        ([1, 2, 3], H, r"x: its shape is \(3,\)"),
        (H, 4.0, r"h: its shape is \(\)"),
        ([H, H], H, r"x: its shape is \(2, 6\); give one profile"),
        ([1, 2, 3, 4, 5, math.nan], H, "x: contains a missing or infinite number"),
        (H, [1, 2, 3, 4, 5, math.inf], "h: contains"),
        (["a"] * 6, H, "x: not numeric"),
    ],
)
def test_what_is_no_profile_is_told(x, h, told):
    with pytest.raises(UserError, match=told):
        fidelity(x, h)


@settings(max_examples=40)
@given(st.lists(PROFILES, min_size=1, max_size=4), PROFILES)
def test_many_at_once_are_one_by_one(many, h):
    found = measures(np.array(many), h)
    for place, x in enumerate(many):
        one = fidelity(x, h)
        assert np.allclose([column[place] for column in found], one, equal_nan=True)


@settings(max_examples=40)
@given(PROFILES, PROFILES)
def test_residuals_are_what_is_left_of_centred_profiles(x, h):
    left = residuals(x, h)
    assert left.sum() == pytest.approx(0, abs=1e-9)
    assert np.allclose(h + left + (x - h).mean(), x)


def test_the_permutation_test_of_distinct_numbers():
    # H turned round is an order of H, so one other order is as far from zero.
    assert permutation_p(H, H) == (1 / 720, 2 / 720)
    assert permutation_p(7 - H, H) == (1, 2 / 720)
    assert permutation_p([1, 1, 1, 1, 1, 2], H).greater == 1
    assert permutation_p([1, 1, 1, 2, 1, 1], H).greater == pytest.approx(1 / 6)


@settings(max_examples=8)
@given(COARSE, COARSE)
def test_the_permutation_test_counts_every_order(x, h):
    assume(np.ptp(x) and np.ptp(h))
    rounded = [round(np.corrcoef(order, h)[0, 1], 9) for order in permutations(x)]
    at_least = sum(r >= rounded[0] for r in rounded) / 720
    assert permutation_p(x, h).greater == pytest.approx(at_least)


def test_the_permutation_test_of_ranks_is_scipy_s_exact_one():
    x = np.array([3, 1, 4, 6, 5, 2.0])

    def rho(y):
        return stats.spearmanr(y, H).statistic

    exact = stats.permutation_test((x,), rho, permutation_type="pairings", n_resamples=np.inf)
    assert permutation_p(x, H, "rho").greater == pytest.approx(
        stats.permutation_test(
            (x,), rho, permutation_type="pairings", n_resamples=np.inf, alternative="greater"
        ).pvalue
    )
    assert permutation_p(x, H, "rho").two_sided == pytest.approx(exact.pvalue, abs=2 / 720)


def test_the_permutation_test_of_a_flat_profile_says_nothing():
    assert np.isnan(permutation_p([1.0] * 6, H)).all()
