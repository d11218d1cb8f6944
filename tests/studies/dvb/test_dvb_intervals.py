"""The table of intervals: each method against its own function, and what cannot be estimated."""

import math

import numpy as np
import pandas as pd
import pytest

from deepvalues.stats import clusters
from deepvalues.stats.bootstrap import bootstrapped_mean
from deepvalues.studies.dvb.analysis.intervals import METHODS, intervals, mean_of_rates
from deepvalues.studies.dvb.analysis.statistics import rates


@pytest.fixture(scope="module")
def trials(items_standard):
    """Two simulated models' deconfounded trials: one whose rate depends on cell and value, one by chance."""
    deep = items_standard[items_standard["arm"] == "deconfounded"].drop(columns="prompt")
    rng = np.random.default_rng(1)
    parts = []
    for model, spread in (("chance", 0.0), ("uneven", 1.5)):
        logit = sum(
            rng.normal(0, spread, deep[column].nunique())[pd.factorize(deep[column])[0]]
            for column in ("cell", "v1")
        )
        followed = (rng.random(len(deep)) < 1 / (1 + np.exp(-logit))).astype(float)
        parts.append(deep.assign(model=model, followed=followed))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def table(trials):
    return intervals(trials, ["model"], seed=1, resamples=2_000)


def row(table, **key):
    for column, wanted in key.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return table.iloc[0]


def bounds(table, **key):
    found = row(table, **key)
    return found["low"], found["high"]


def test_one_row_for_each_group_and_method(table):
    assert list(table.columns) == ["model", "method", "clusters", "crossed", "estimate", "low", "high"]
    assert list(table["method"]) == list(METHODS) * 2
    assert list(table["model"].unique()) == ["chance", "uneven"]
    assert list(table["clusters"])[: len(METHODS)] == [2400, 400, 400, 11, 11, 11]


def test_every_interval_holds_its_estimate(table, trials):
    assert (table["low"] < table["estimate"]).all()
    assert (table["estimate"] < table["high"]).all()
    means = trials.groupby("model")["followed"].mean()
    assert list(table["estimate"]) == pytest.approx(list(means.repeat(len(METHODS))))


def test_wilson_and_cell_are_those_of_rates(table, trials):
    for found in rates(trials, ["model"]).itertuples():
        wilson, cell = (bounds(table, model=found.model, method=name) for name in ("wilson", "cell"))
        assert wilson == pytest.approx((found.wilson_low, found.wilson_high))
        assert cell == pytest.approx((found.clustered_low, found.clustered_high))


def test_the_other_methods_are_their_functions(table, trials):
    group = trials[trials["model"] == "uneven"]
    y, directed = group["followed"], group["dimension"] + group["direction"]
    expected = {
        "cell_bootstrap": bootstrapped_mean(y, group["cell"], seed=1, resamples=2_000),
        "value_wild": clusters.wild(y, group["v1"]),
        "value_dimension": clusters.two_way(y, group["v1"], directed),
    }
    for name, interval in expected.items():
        assert bounds(table, model="uneven", method=name) == pytest.approx(tuple(interval))
    by_value = rates(group, ["model"], cluster="v1").iloc[0]
    expected_ends = pytest.approx((by_value["clustered_low"], by_value["clustered_high"]))
    assert bounds(table, model="uneven", method="value") == expected_ends


def test_clusters_widen_the_intervals_of_an_uneven_model_only(table):
    width = table.assign(width=table["high"] - table["low"]).pivot(
        index="method", columns="model", values="width"
    )
    assert width.loc["cell", "uneven"] > 1.2 * width.loc["wilson", "uneven"]
    assert width.loc["value", "uneven"] > 1.5 * width.loc["cell", "uneven"]
    assert width.loc["cell", "chance"] == pytest.approx(width.loc["wilson", "chance"], rel=0.1)


def test_value_and_directed_dimension_cross_in_cells(items_standard):
    """Why V_value + V_dimension − V_cell: each pair of the two is one cell of the design."""
    cells = items_standard.drop_duplicates("cell")
    assert not cells.duplicated(["v1", "dimension", "direction"]).any()


def test_clusters_are_counted_and_where_two_kinds_cross_both(table, trials):
    for method, first, crossed in [
        ("wilson", len(trials) // 2, math.nan),
        ("cell", 400, math.nan),
        ("value", 11, math.nan),
        ("value_dimension", 11, 40),
    ]:
        found = row(table, model="chance", method=method)
        assert found["clusters"] == first
        assert found["crossed"] == crossed or (math.isnan(crossed) and math.isnan(found["crossed"]))


def test_missing_replies_are_left_out(trials):
    holes = trials.assign(followed=trials["followed"].where(trials["cell"] != "c000"))
    table = intervals(holes, ["model"], seed=1, resamples=200)
    without = intervals(trials[trials["cell"] != "c000"], ["model"], seed=1, resamples=200)
    pd.testing.assert_frame_equal(table, without)


def test_without_answers_there_is_no_interval_and_without_variation_none_that_is_resampled(trials):
    silent = trials.assign(followed=np.where(trials["model"] == "chance", np.nan, 1.0))
    table = intervals(silent, ["model"], seed=1, resamples=200).set_index(["model", "method"])
    assert table.loc["chance", ["estimate", "low", "high"]].isna().to_numpy().all()
    assert (table.loc["chance", "clusters"] == 0).all()
    assert table.loc[("uneven", "wilson"), "high"] == 1
    same = table.loc["uneven"]
    resampled = ["cell_bootstrap", "value_wild"]
    assert same.loc[resampled, ["low", "high"]].isna().to_numpy().all()
    assert same["low"].drop(resampled).between(0.6, 1, inclusive="neither").all()
    assert (same["high"].drop(resampled) == 1).all()


def test_the_labels_and_the_order_of_trials_do_not_matter(trials, table):
    mixed = trials.sample(frac=1, random_state=1)
    mixed.index = pd.Index([0] * len(mixed))
    found = intervals(mixed, ["model"], seed=1, resamples=2_000)
    same = table["method"] != "cell_bootstrap"
    pd.testing.assert_frame_equal(found[same], table[same])


def test_the_mean_of_rates_counts_every_model_alike(trials):
    """One model lacks nearly all answers: it moves the pooled rate little and the mean as any other."""
    few = trials["model"].eq("chance") & (trials["cell"] > "c010")
    holed = trials.assign(followed=trials["followed"].mask(few))
    (row,) = mean_of_rates(holed, seed=1, resamples=500).to_dict("records")
    rates_of = holed.groupby("model")["followed"].mean()
    assert row["estimate"] == pytest.approx(rates_of.mean())
    assert row["estimate"] != pytest.approx(holed["followed"].mean(), abs=1e-3)
    assert row["clusters"] == holed["cell"].nunique()
    assert row["low"] < row["estimate"] < row["high"]


def test_with_as_many_answers_for_each_the_mean_of_rates_is_the_pooled_rate(trials):
    (mean,) = mean_of_rates(trials, seed=1, resamples=500).to_dict("records")
    pooled = intervals(trials.assign(model="pooled"), ["model"], seed=1, resamples=500)
    resampled = row(pooled, method="cell_bootstrap")
    for column in ("clusters", "estimate", "low", "high"):
        assert mean[column] == pytest.approx(resampled[column])
