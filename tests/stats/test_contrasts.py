"""Contrasts and factor tests, compared with pingouin, statsmodels, published tables and definitions."""

import math

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from statsmodels.stats.contingency_tables import Table

from deepvalues.core.errors import UserError
from deepvalues.stats import contrasts
from deepvalues.stats.clusters import mean
from deepvalues.stats.contrasts import factor_test
from deepvalues.stats.rates import exact_test, holm

Z = stats.norm.ppf(0.975)


@st.composite
def pairs_of_counts(draw):
    """(only first, only second, neither or both)."""
    return tuple(draw(st.integers(0, 60)) for _ in range(3))


def simulated(items=240, models=4, seed=1, missing=0.1):
    """Trials of several models on the same items, in cells of six."""
    rng = np.random.default_rng(seed)
    rates = np.linspace(0.3, 0.6, models)
    cell_effect = rng.normal(0, 0.15, items // 6).repeat(6)
    frames = []
    for number, rate in enumerate(rates):
        followed = (rng.random(items) < np.clip(rate + cell_effect, 0, 1)).astype(float)
        followed[rng.random(items) < missing] = np.nan
        frame = pd.DataFrame({"item": [f"i{i:03d}" for i in range(items)], "followed": followed})
        frames.append(frame.assign(model=f"m{number}", cell=np.arange(items) // 6))
    return pd.concat(frames, ignore_index=True)


# ---- McNemar, Tango ----


def test_tango_is_the_printed_interval():
    """Airway reactivity before and after transplantation, Fagerland, Lydersen and Laake (2014)."""
    assert contrasts.tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


@given(pairs_of_counts())
def test_tango_inverts_the_score_test(counts):
    """At a bound δ the score statistic is ±z, if scipy maximizes the restricted likelihood."""
    b, c, rest = counts
    n = b + c + rest
    assume(n > 1)
    for bound in contrasts.tango(b, c, n):
        if not -0.999 < bound < 0.999:
            continue

        def loss(q, bound=bound):
            terms = [(c, q), (b, q + bound), (rest, 1 - 2 * q - bound)]
            return -sum(k * math.log(max(p, 1e-300)) for k, p in terms if k)

        edges = max(0.0, -bound), (1 - bound) / 2
        q = minimize_scalar(loss, bounds=edges, method="bounded", options={"xatol": 1e-12}).x
        score = (b - c - n * bound) / math.sqrt(n * (2 * q + bound * (1 - bound)))
        assert abs(score) == pytest.approx(Z, abs=2e-3)


@given(pairs_of_counts())
def test_tango_contains_the_difference_is_symmetric_and_agrees_with_mcnemar(counts):
    b, c, rest = counts
    n = b + c + rest
    assume(n > 0)
    low, high = contrasts.tango(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert contrasts.tango(c, b, n) == pytest.approx((-high, -low), abs=1e-9)
    if b + c:
        z = (b - c) / math.sqrt(b + c)
        assume(abs(abs(z) - Z) > 1e-6)
        assert (low > 0 or high < 0) == (abs(z) > Z)


# ---- pairs of models ----


def test_paired_contrasts_from_their_definitions():
    frame = simulated()
    table = contrasts.paired_contrasts(frame, bound=0.1)
    assert len(table) == 6
    wide = frame.pivot(index="item", columns="model", values="followed")
    cells = frame.drop_duplicates("item").set_index("item")["cell"]
    for row in table.itertuples():
        both = wide[[row.model_a, row.model_b]].dropna()
        a, b = both[row.model_a], both[row.model_b]
        assert (row.items, row.rate_a, row.rate_b) == (len(both), a.mean(), b.mean())
        assert (row.only_a, row.only_b) == (((a - b) == 1).sum(), ((b - a) == 1).sum())
        assert row.difference == pytest.approx(a.mean() - b.mean())
        expected = mean((a - b).to_numpy(), cells[both.index].astype(str)).interval
        assert (row.clustered_low, row.clustered_high) == pytest.approx(expected)
        assert row.cohens_g == row.only_a / (row.only_a + row.only_b) - 0.5
    assert list(table["p_mcnemar_holm"]) == pytest.approx(holm(list(table["p_mcnemar"])))
    assert list(table["p_clustered_holm"]) == pytest.approx(holm(list(table["p_clustered"])))


def test_mcnemar_counts_units():
    """Four units of two items: one for a, one for b, one split, and one tie on both items."""
    a = np.array([1.0, 1, 0, 0, 1, 0, 1, 0])
    b = np.array([0.0, 0, 1, 0, 0, 1, 1, 0])
    units = np.arange(4).repeat(2)
    row = contrasts.paired(a, b, units.tolist(), 0.05, units)
    assert row.p_mcnemar == exact_test(1, 2)
    assert (row.only_a, row.only_b) == (3, 2)
    assert contrasts.paired(a, b, units.tolist(), 0.05).p_mcnemar == exact_test(3, 5)


def test_repeated_items_do_not_change_a_test_by_unit():
    once = simulated(missing=0).assign(unit=lambda frame: frame["item"])
    twice = pd.concat([once, once.assign(item=once["item"] + "b")])
    table = contrasts.paired_contrasts(once)
    again = contrasts.paired_contrasts(twice, unit=["unit"])
    assert list(again["p_mcnemar"]) == list(table["p_mcnemar"])
    assert (again["items"] == 2 * table["items"]).all()
    assert (contrasts.paired_contrasts(twice)["p_mcnemar"] <= again["p_mcnemar"]).all()


def test_order_of_rows_does_not_matter():
    frame = simulated()
    shuffled = frame.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(contrasts.paired_contrasts(frame), contrasts.paired_contrasts(shuffled))


def test_swapping_a_pair_changes_the_signs():
    frame = simulated()
    frame = frame[frame["model"].isin(["m0", "m2"])]
    there = contrasts.paired_contrasts(frame).iloc[0]
    back = contrasts.paired_contrasts(frame.replace({"model": {"m0": "m2", "m2": "m0"}})).iloc[0]
    assert back["difference"] == -there["difference"]
    assert back["tango_low"] == pytest.approx(-there["tango_high"])
    assert back["p_mcnemar"] == there["p_mcnemar"]


def test_models_without_common_items_and_models_that_agree():
    frame = simulated(missing=0)
    alone = frame["model"].eq("m0") & (frame["item"] > "i119") | frame["model"].eq("m1") & (
        frame["item"] < "i120"
    )
    table = contrasts.paired_contrasts(frame[alone])
    assert table.loc[0, "items"] == 0
    assert table.drop(columns=["model_a", "model_b", "items", "only_a", "only_b"]).isna().all(axis=None)
    twin = frame[frame["model"] == "m0"].assign(model="twin")
    same = contrasts.paired_contrasts(pd.concat([frame[frame["model"] == "m0"], twin])).iloc[0]
    assert same["difference"] == 0
    assert same[["clustered_low", "cohens_g", "p_mcnemar", "p_equivalence"]].isna().all()
    assert same["tango_low"] < 0 < same["tango_high"]


def test_faulty_input_is_named():
    frame = simulated()
    with pytest.raises(UserError, match="m0 has the item i000 more than once"):
        contrasts.paired_contrasts(pd.concat([frame, frame.iloc[:1]]))


def test_clustered_intervals_cover_where_plain_ones_do_not():
    """If cells share differences, intervals by cell have nominal coverage, and Tango's far less."""
    rng = np.random.default_rng(8)
    cells = np.arange(60).repeat(8)
    held = np.zeros(2)
    for _ in range(200):
        kind = rng.choice(3, 60, p=[0.3, 0.4, 0.3]).repeat(8)
        a = np.where(kind == 0, 1.0, np.where(kind == 1, rng.integers(0, 2, 480), 0.0))
        b = np.where(kind == 0, 0.0, np.where(kind == 1, rng.integers(0, 2, 480), 1.0))
        row = contrasts.paired(a, b, cells.tolist(), 0.05)
        held += [row.clustered_low <= 0 <= row.clustered_high, row.tango_low <= 0 <= row.tango_high]
    assert held[0] / 200 > 0.9
    assert held[1] / 200 < 0.7


# Factors


@st.composite
def tables(draw):
    """Integer counts without an empty level or outcome, 2 × 2 to 6 × 4."""
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
def test_a_multiple_of_a_table_multiplies_chi_squared_but_not_v(table, times):
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
    """pingouin counts the trials itself, and applies Yates' correction to a 2 × 2 table."""
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


def test_a_frame_gives_the_same_as_an_array():
    frame = pd.DataFrame({"deep": [3, 9], "shallow": [14, 5]}, index=["a", "b"])
    assert list(factor_test(frame)) == list(factor_test(frame.to_numpy()))
    assert list(factor_test(frame).index) == ["chi2", "df", "p_value", "cramers_v"]


def test_a_p_value_too_small_for_a_float_is_0():
    assert factor_test([[90_000, 10_000], [10_000, 90_000]]).p_value == 0


@pytest.mark.parametrize("table", [[[1, 2], [3, -4]], [[1, 2], [0, 0]], [[1, 0], [3, 0]]])
def test_an_invalid_table_is_rejected(table):
    with pytest.raises(ValueError, match=r"nonnegative|zero element"):
        factor_test(table)
