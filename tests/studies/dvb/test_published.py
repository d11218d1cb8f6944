"""The published Deep Value Benchmark: what its print gives back, and how closely."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint, proportion_effectsize

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.stats import contrasts, rates
from deepvalues.stats.contrasts import factor_test
from deepvalues.studies.dvb.analysis import published
from deepvalues.studies.dvb.analysis.published import dvgr_summary


def printed(name):
    return pd.read_csv(paths.PUBLISHED / f"dvb_{name}.csv")


@pytest.fixture(scope="module")
def side():
    return published.side_by_side(paths.PUBLISHED)


# ---- counts of each model ----


def test_the_pooled_and_each_dvgr_come_back_from_the_counts():
    models = printed("by_model").set_index("model")
    pooled = dvgr_summary([models["n_deep"].sum()], [models["n_parsed"].sum()]).iloc[0]
    assert round(pooled["dvgr"], 4) == 0.3024
    each = dvgr_summary(models["n_deep"], models["n_parsed"])
    assert list(each.columns) == ["dvgr", "wilson_low", "wilson_high", "p_value", "cohens_h"]
    assert list(each.index) == list(models.index)
    assert (each["p_value"] < 0.001).all()
    assert (each["wilson_high"] < 0.5).all()
    assert (each["cohens_h"] < 0).all()


@given(
    st.lists(st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1)
)
@settings(max_examples=40, deadline=None)
def test_a_summary_is_what_scipy_and_statsmodels_say(pairs):
    deep, n = zip(*pairs, strict=True)
    table = dvgr_summary(deep, n)
    for row, k, of in zip(table.itertuples(), deep, n, strict=True):
        low, high = proportion_confint(k, of, method="wilson")
        assert row.dvgr == k / of
        assert (row.wilson_low, row.wilson_high) == pytest.approx((low, high), abs=1e-12)
        assert row.p_value == stats.binomtest(k, of).pvalue
        assert row.cohens_h == pytest.approx(proportion_effectsize(k / of, 0.5), abs=1e-12)


def test_names_are_kept_and_aligned():
    deep, n = pd.Series({"b": 3, "a": 1}), pd.Series({"a": 10, "b": 12})
    assert dict(dvgr_summary(deep, n)["dvgr"]) == {"b": 3 / 12, "a": 1 / 10}


def test_a_model_without_replies_has_no_estimate():
    table = dvgr_summary([0, 5], [0, 10])
    assert table.iloc[0].isna().all()
    assert table.iloc[1].notna().all()
    assert len(dvgr_summary([], [])) == 0


@pytest.mark.parametrize(
    ("deep", "n", "said"),
    [
        ([-1], [3], "0 has -1 deep replies of 3"),
        ([1], [-3], "0 has 1 deep replies of -3"),
        ([1.5], [3], "0 has 1.5 deep"),
        ([math.nan], [3], "0 has nan deep"),
        ([1], [math.inf], "of inf"),
        ([4], [3], "0 has 4 deep replies of 3"),
        ({"gpt-x": 4}, {"gpt-x": 3}, "gpt-x has 4 deep replies of 3"),
        ({"gpt-x": 1}, {"gpt-y": 3}, "gpt-x has 1.0 deep replies of nan"),
    ],
)
def test_bad_counts_are_named(deep, n, said):
    with pytest.raises(UserError, match=said):
        dvgr_summary(pd.Series(deep), pd.Series(n))


def test_the_room_exports_lazily():
    """Building items must not wait for statsmodels and pingouin."""
    code = "import sys, deepvalues.studies.dvb; print('scipy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "False"
    from deepvalues.studies import dvb

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dvb.nonsense  # noqa: B018


# ---- tests and samples in print ----


def test_the_model_factor_comes_back_from_the_counts():
    models = printed("by_model")
    table = np.column_stack([models["n_deep"], models["n_parsed"] - models["n_deep"]])
    found = factor_test(table)
    assert (round(found.chi2, 2), found["df"], round(found.cramers_v, 3)) == (1918.04, 8, 0.135)


def test_the_five_size_pairs_come_back():
    found = published.size_pairs(printed("by_model"), printed("size_pairs"))
    assert list(found["chi2"].round(2)) == [97.30, 427.97, 3.96, 12.75, 441.57]
    assert list(found["difference"].round(2)) == list(printed("size_pairs")["difference"])


@pytest.mark.parametrize(("factor", "chi2"), [("value", 3334.7), ("domain", 772.0)])
def test_factors_come_back_from_rates_of_two_decimals(factor, chi2):
    """Figures of the index of the published tables."""
    rates = printed(f"by_{factor}")
    deep = rates["n_parsed"] * rates["dvgr"]
    table = pd.DataFrame({"deep": deep, "shallow": rates["n_parsed"] - deep})
    assert factor_test(table).chi2 == pytest.approx(chi2, abs=0.05)


def test_large_against_small_counts_the_middle_each_way():
    by_model = printed("by_model")
    found = published.large_against_small(by_model).set_index("middle_as")
    assert list(found.index) == ["large", "small", "left out"]
    tier = by_model["size_tier"]
    large = by_model[tier == "large"].sum(numeric_only=True)
    middle = by_model[tier == "middle"].sum(numeric_only=True)
    both = (large["n_deep"] + middle["n_deep"]) / (large["n_parsed"] + middle["n_parsed"])
    assert found.loc["left out", "dvgr_large"] == found.loc["small", "dvgr_large"]
    assert found.loc["large", "dvgr_large"] == pytest.approx(both, abs=1e-15)
    assert found.loc["large", "dvgr_small"] == found.loc["left out", "dvgr_small"]
    every = by_model["n_parsed"].sum()
    assert list(found["n_large"] + found["n_small"]) == [every, every, every - middle["n_parsed"]]
    assert (found["difference"] < 0).all()


def test_validation_accuracies_come_back():
    found = published.validation_accuracies(printed("human_validation"))
    assert list(found["correct"]) == [182, 205, 429, 444]
    assert list(found["accuracy"].round(3)) == [0.91, 0.976, 0.953, 0.987]
    assert list(found["p_value"]) == [
        stats.binomtest(k, n).pvalue for k, n in zip(found["correct"], found["trials"], strict=True)
    ]


def test_the_sample_size_is_the_first_with_the_stated_power():
    """Against scipy's own exact test: the chance of a count as far out as the first it rejects."""

    def power(n):
        critical = max(k for k in range(n // 2 - 60, n // 2) if stats.binomtest(k, n).pvalue <= 0.05)
        rejected = np.r_[0 : critical + 1, n - critical : n + 1]
        return stats.binom.pmf(rejected, n, 0.55).sum()

    assert rates.smallest_sample(0.05, 0.95, 0.05) == 1302
    assert power(1302) >= 0.95 > power(1301)
    by_n = rates.exact_power(np.array([1301, 1302]), 0.05, 0.05)
    assert list(by_n) == pytest.approx([power(1301), power(1302)], abs=1e-12)
    assert (rates.exact_power(np.arange(1, 1302), 0.05, 0.05) < 0.95).all()


def test_some_larger_samples_fall_short_again():
    n = np.arange(1302, 2000)
    short = n[rates.exact_power(n, 0.05, 0.05) < 0.95]
    assert (short[0], short[-1]) == (1303, 1326)


@pytest.mark.parametrize("wrong", [(0, 0.9, 0.05), (0.6, 0.9, 0.05), (0.1, 1, 0.05), (0.1, 0.9, 0)])
def test_a_power_statement_out_of_range_is_named(wrong):
    with pytest.raises(UserError, match="smallest_sample: effect must be in"):
        rates.smallest_sample(*wrong)


def test_an_effect_too_small_for_a_million_is_named():
    with pytest.raises(UserError, match="no sample size up to 100,000"):
        rates.smallest_sample(1e-4, 0.95, 0.05)


# ---- what rounding allows ----


@given(st.integers(50, 2_000), st.data())
@settings(max_examples=60, deadline=None)
def test_ranges_hold_the_truth_that_was_rounded(n, data):
    k = data.draw(st.integers(0, n))
    truth = proportion_confint(k, n, method="wilson")
    for found, bound in zip(contrasts.wilson_ranges(round(k / n, 2), 0.005, n), truth, strict=True):
        assert found.low - 1e-9 <= bound <= found.high + 1e-9
    rate = contrasts.rate_range(*[(round(bound, 2), 0.005) for bound in truth], n)
    assert rate.low <= k / n <= rate.high
    assert rate.low <= rate.estimate <= rate.high


def test_bounds_that_no_count_has_give_no_rate():
    assert all(math.isnan(x) for x in contrasts.rate_range((0.10, 0.005), (0.90, 0.005), 1_000))


@given(st.lists(st.tuples(st.integers(100, 900), st.floats(0.05, 0.95)), min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
def test_the_range_of_chi_squared_holds_the_truth(levels):
    n = np.array([size for size, _ in levels], dtype=float)
    deep = np.array([round(size * rate) for size, rate in levels], dtype=float)
    found = contrasts.chi_squared_range((deep / n).round(2), 0.005, n, int(deep.sum()))
    truth = stats.chi2_contingency(np.column_stack([deep, n - deep]), correction=False)[0]
    assert found.low - 1e-6 <= truth <= found.high + 1e-6


@given(
    st.lists(st.tuples(st.integers(100, 900), st.integers(20, 80)), min_size=3, max_size=5), st.integers(0)
)
@settings(max_examples=40, deadline=None)
def test_no_rates_that_round_alike_leave_the_range_of_chi_squared(levels, seed):
    """Brute force: random rates in the boxes, one of them moved so that the successes add up."""
    n = np.array([size for size, _ in levels], dtype=float)
    rates = np.array([percent / 100 for _, percent in levels])
    total = round(float(n @ rates))
    found = contrasts.chi_squared_range(rates, 0.005, n, total)
    drawn = rates + np.random.default_rng(seed).uniform(-0.005, 0.005, (400, len(n)))
    drawn[:, 0] = (total - drawn[:, 1:] @ n[1:]) / n[0]
    drawn = drawn[np.abs(drawn[:, 0] - rates[0]) <= 0.005]
    assume(len(drawn))
    p = total / n.sum()
    chi2 = (n * (drawn - p) ** 2).sum(axis=1) / (p * (1 - p))
    assert found.low - 1e-9 <= chi2.min()
    assert chi2.max() <= found.high + 1e-9


def test_rates_that_cannot_add_up_are_named():
    with pytest.raises(UserError, match="do not match"):
        contrasts.chi_squared_range(np.array([0.2, 0.3]), 0.005, np.array([100.0, 100.0]), 90)


def test_a_corner_range_reaches_the_corners():
    found = contrasts.corner_range(lambda a, b: a / b, (3.0, 0.5), (2.0, 0.5))
    assert found == (1.5, 1.0, 3.5 / 1.5)


# ---- side by side ----

COLUMNS = ["source_file", "quantity", "where", "printed", "recomputed", "difference", "unit"]


def test_every_table_of_print_is_there_and_nothing_differs(side):
    assert list(side.columns) == [*COLUMNS, "range_low", "range_high", "class", "inputs", "reason"]
    files = {path.name for path in paths.PUBLISHED.glob("dvb_*.csv")} - {"dvb_by_model.csv"}
    assert set(side["source_file"]) == files
    assert not side.duplicated(["source_file", "quantity", "where"]).any()
    assert set(side["class"]) == {"exact", "within rounding", "not recomputable"}


def test_what_is_not_recomputable_says_why_and_the_rest_from_what(side):
    without = side["class"] == "not recomputable"
    assert (side.loc[without, "reason"] != "").all()
    assert (side.loc[without, "inputs"] == "").all()
    assert side.loc[without, ["recomputed", "difference", "range_low"]].isna().all(axis=None)
    assert (side.loc[~without, "reason"] == "").all()
    assert (side.loc[~without, "inputs"] != "").all()
    assert side.loc[~without, ["recomputed", "range_low", "range_high"]].notna().all(axis=None)


def test_exact_figures_print_as_they_stand(side):
    """The class again, from text: the recomputed figure, rounded to the unit of print, is the printed one."""
    exact = side[(side["class"] == "exact") & ~side["printed"].str.startswith("<")]
    assert len(exact) > 40
    for row in exact.itertuples():
        assert round(row.recomputed / row.unit) == round(float(row.printed) / row.unit), row


def test_ranges_overlap_what_rounds_to_print(side):
    near = side[(side["class"] == "within rounding") & ~side["printed"].str.startswith("<")]
    assert len(near) > 60
    value, half = near["printed"].astype(float), near["unit"] / 2
    assert (near["range_low"] <= value + half * 1.001).all()
    assert (near["range_high"] >= value - half * 1.001).all()
    assert (near["range_low"] < near["range_high"]).all()


def test_printed_figures_are_those_of_the_files(side):
    """No cell of the figures' columns is left out."""
    for name, columns in {
        "size_pairs": ["difference", "chi2", "p_value", "cramers_v"],
        "factor_tests": ["chi2", "df", "p_value", "cramers_v"],
        "by_value": ["dvgr", "ci_low", "ci_high"],
        "by_domain": ["dvgr", "ci_low", "ci_high"],
        "model_by_value": ["dvgr"],
        "value_disposition_odds": ["odds_ratio", "ci_low", "ci_high", "p_value"],
        "human_validation": ["estimate", "ci_low", "ci_high"],
    }.items():
        text = pd.read_csv(paths.PUBLISHED / f"dvb_{name}.csv", dtype=str, keep_default_na=False)
        rows = side[side["source_file"] == f"dvb_{name}.csv"]
        for column in columns:
            expected = sorted(entry for entry in text[column] if entry)
            assert sorted(rows.loc[rows["quantity"] == column, "printed"]) == expected, (name, column)


def test_a_dropped_zero_keeps_its_unit(side):
    legal = side[(side["where"] == "legal") & (side["quantity"] == "ci_high")].iloc[0]
    assert (legal["printed"], legal["unit"]) == ("0.3", 0.01)


def test_the_intervals_of_the_shallowness_rating_tell_its_groups_apart(side):
    """Two samples with exactly the printed means and SDs, at a split in the middle of those that fit."""
    n, total = 173, 560
    rng = np.random.default_rng(5)
    groups = []
    for size, mean, sd in ((n, -0.98, 1.00), (total - n, 0.34, 1.36)):
        drawn = rng.normal(size=size)
        groups.append(mean + sd * (drawn - drawn.mean()) / drawn.std(ddof=1))
    welch = stats.ttest_ind(*groups, equal_var=False).statistic
    cohens_d = -pg.compute_effsize(*groups, eftype="cohen")
    found = side[side["source_file"] == "dvb_human_validation.csv"].set_index(["quantity", "where"])
    shallow = found.xs("shallowness rating: mean rating, shallow pairs", level="where")
    for quantity, value in (("t", welch), ("cohens_d", cohens_d)):
        assert shallow.loc[quantity, "range_low"] <= value <= shallow.loc[quantity, "range_high"]
    for group, where in zip(
        groups,
        (DEEP_PAIRS, DEEP_PAIRS.replace("deep pairs (-2 deep .. +2 shallow)", "shallow pairs")),
        strict=True,
    ):
        low, high = stats.t.interval(0.95, len(group) - 1, group.mean(), stats.sem(group))
        for quantity, value in (("ci_low", low), ("ci_high", high)):
            row = found.loc[(quantity, where)]
            assert row["range_low"] <= value <= row["range_high"]


def test_classes_are_counted_per_file(side):
    table = published.classes(side).set_index("source_file")
    assert list(table.columns) == [*published.CLASSES, "figures"]
    assert table.loc["all files", "figures"] == len(side)
    assert (table[list(published.CLASSES)].sum(axis=1) == table["figures"]).all()
    for (name, kind), group in side.groupby(["source_file", "class"]):
        assert table.loc[name, kind] == len(group)


# ---- print that is wrong ----

DEEP_PAIRS = "shallowness rating: mean rating, deep pairs (-2 deep .. +2 shallow)"


@pytest.fixture
def copied(tmp_path):
    for path in paths.PUBLISHED.glob("dvb_*.csv"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "quantity", "where"),
    [
        ("factor_tests", "1918.04", "1918.05", "chi2", "model"),
        ("factor_tests", "3363.93", "3663.93", "chi2", "preferred_value"),
        ("factor_tests", ".0012", ".0013", "p_value", "n_examples"),
        ("size_pairs", "12.7,", "12.8,", "chi2", "gpt-4o-2024-08-06 against gpt-4o-mini-2024-07-18"),
        ("by_value", "0.51,0.5,0.52", "0.51,0.48,0.52", "ci_low", "tradition"),
        ("by_value", "0.51,0.5,0.52", "0.51,0.48,0.52", "dvgr", "tradition"),
        ("statistics", ",1302,", ",1327,", "sample_size", ""),
        ("human_validation", "0.91,0.86", "0.92,0.86", "estimate", "value predicts choice: accuracy"),
        ("value_disposition_odds", "1.6e-5", "1.6e-3", "p_value", "popularity"),
        ("human_validation", "-0.98,-1.13,-0.83", "-0.98,-1.13,-0.93", "ci_high", DEEP_PAIRS),
        (
            "human_validation",
            "d=1.05",
            "d=1.15",
            "cohens_d",
            "shallowness rating: mean rating, shallow pairs",
        ),
        ("human_validation", "=-12.83", "=-11.50", "t", "shallowness rating: mean rating, shallow pairs"),
        ("by_n_examples", "20,0.3,0.3,0.3", "20,0.3,0.3,0.32", "ci_high", "20"),
        ("agreement", "pairs,74,", "pairs,75,", "agreement_percent", "all model pairs"),
    ],
)
def test_a_figure_changed_in_print_differs(copied, name, old, new, quantity, where):
    path = copied / f"dvb_{name}.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    side = published.side_by_side(copied)
    found = side[side["class"] == "differs"]
    assert ((found["quantity"] == quantity) & (found["where"] == where)).any()


def test_an_inequality_that_does_not_hold_differs(copied):
    path = copied / "dvb_statistics.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("<.001", "<1e-200"), encoding="utf-8")
    side = published.side_by_side(copied)
    assert list(side.loc[side["class"] == "differs", "quantity"]) == ["p_value_of_each_model"]


def test_a_missing_file_is_named(copied):
    (copied / "dvb_logit.csv").unlink()
    with pytest.raises(UserError, match=r"no dvb_logit\.csv among the published figures"):
        published.side_by_side(copied)


def test_a_note_without_its_figure_is_named(copied):
    path = copied / "dvb_agreement.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("36 pairs", "some"), encoding="utf-8")
    with pytest.raises(UserError, match="'some' of the published figures lacks"):
        published.side_by_side(copied)


def test_the_printed_tables_are_read_by_name():
    tables = published.read(paths.PUBLISHED)
    assert {f"dvb_{name}.csv" for name in tables} == {path.name for path in paths.PUBLISHED.glob("dvb_*.csv")}
    pd.testing.assert_frame_equal(tables["by_model"], printed("by_model"))
