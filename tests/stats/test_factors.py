"""Chi-squared tests of factors: against their definition, other programs and printed figures."""

import math

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import Table

from deepvalues.core.errors import UserError
from deepvalues.stats.contrasts import factor_test


@st.composite
def tables(draw):
    """Whole counts without an empty level or outcome, 2 × 2 to 6 × 4."""
    rows, columns = draw(st.integers(2, 6)), draw(st.integers(2, 4))
    cells = draw(st.lists(st.integers(0, 500), min_size=rows * columns, max_size=rows * columns))
    table = np.array(cells).reshape(rows, columns)
    assume((table.sum(axis=0) > 0).all() and (table.sum(axis=1) > 0).all())
    return table


def expected(table):
    return table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()


@given(tables())
def test_chi_squared_is_its_definition(table):
    off = np.abs(table - expected(table))
    if table.shape == (2, 2):
        off = off - np.minimum(0.5, off)
    found = factor_test(table)
    assert found.chi2 == pytest.approx((off**2 / expected(table)).sum(), abs=1e-9)
    assert found["df"] == (table.shape[0] - 1) * (table.shape[1] - 1)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.chi2, found["df"]), abs=1e-12)
    smaller = min(table.shape) - 1
    assert found.cramers_v == pytest.approx(math.sqrt(found.chi2 / table.sum() / smaller), abs=1e-9)


@given(tables())
def test_v_and_p_lie_between_0_and_1(table):
    found = factor_test(table)
    assert found.chi2 >= 0
    assert 0 <= found.p_value <= 1
    assert 0 <= found.cramers_v <= 1


@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_levels_and_outcomes_does_not_matter(table, random):
    rows = random.sample(range(table.shape[0]), table.shape[0])
    columns = random.sample(range(table.shape[1]), table.shape[1])
    once, again = factor_test(table), factor_test(table[rows][:, columns])
    assert list(again) == pytest.approx(list(once), rel=1e-9, abs=1e-12)
    assert list(factor_test(table.T)) == pytest.approx(list(once), rel=1e-9, abs=1e-12)


@given(tables(), st.integers(2, 9))
def test_more_of_the_same_multiplies_chi_squared_and_leaves_v(table, times):
    assume(table.shape != (2, 2))  # Yates' correction does not grow with the table
    once, often = factor_test(table), factor_test(table * times)
    assert often.chi2 == pytest.approx(times * once.chi2, rel=1e-9, abs=1e-9)
    assert often.cramers_v == pytest.approx(once.cramers_v, rel=1e-9, abs=1e-7)


@given(tables())
def test_statsmodels_agrees_beyond_two_by_two(table):
    assume(table.shape != (2, 2))
    other = Table(table, shift_zeros=False).test_nominal_association()
    found = factor_test(table)
    assert (found.chi2, found["df"]) == pytest.approx((other.statistic, other.df), abs=1e-9)
    assert found.p_value == pytest.approx(other.pvalue, abs=1e-12)


@pytest.mark.parametrize("table", [[[31, 12], [9, 40]], [[31, 12], [9, 40], [22, 20]]])
def test_pingouin_agrees(table):
    """pingouin counts the trials itself, and corrects a 2 × 2 table as Yates does."""
    trials = [(r, c) for r, row in enumerate(table) for c, k in enumerate(row) for _ in range(k)]
    frame = pd.DataFrame(trials, columns=["level", "outcome"])
    other = pg.chi2_independence(frame, "level", "outcome")[2].iloc[0]
    found = factor_test(table)
    assert list(found) == pytest.approx([other["chi2"], other["dof"], other["pval"], other["cramer"]])


def test_a_perfect_association_has_v_1_and_none_has_0():
    assert factor_test(np.diag([50, 70, 90])).cramers_v == 1
    nothing = factor_test([[10, 20], [30, 60], [50, 100]])
    assert nothing.cramers_v == pytest.approx(0, abs=1e-9)
    assert nothing.p_value == pytest.approx(1)


def test_a_frame_gives_what_its_numbers_give():
    frame = pd.DataFrame({"deep": [3, 9], "shallow": [14, 5]}, index=["a", "b"])
    assert list(factor_test(frame)) == list(factor_test(frame.to_numpy()))
    assert list(factor_test(frame).index) == ["chi2", "df", "p_value", "cramers_v"]


def test_a_p_value_too_small_for_a_float_is_0():
    assert factor_test([[90_000, 10_000], [10_000, 90_000]]).p_value == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([[1, 2]], "two or more levels"),
        ([[1], [2]], "two or more levels"),
        ([1, 2, 3], "two or more levels"),
        ([], "two or more levels"),
        ([[1, 2], [3, -4]], "negative"),
        ([[1, 2], [3, math.nan]], "missing"),
        ([[1, 2], [3, math.inf]], "infinite"),
        ([["a", 2], [3, 4]], "no numbers"),
        ([[1, 2], [3]], "no numbers"),
        ([[1, 2], [0, 0]], "every level and has none in 1"),
        ([[1, 0], [3, 0]], "every outcome and has none in 1"),
    ],
)
def test_what_is_no_table_of_counts_is_named(table, said):
    with pytest.raises(UserError, match=said):
        factor_test(table)


def test_an_empty_level_is_called_by_its_name():
    frame = pd.DataFrame({"deep": [3, 0, 4], "shallow": [14, 0, 9]}, index=["a", "b", "c"])
    with pytest.raises(UserError, match="has none in b: leave it out"):
        factor_test(frame)
