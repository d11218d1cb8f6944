"""What studies share: missing replies, whom the text is about, and correlations against their definition."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deepvalues.core.errors import UserError
from deepvalues.studies.shared import (
    MEASURES,
    count_statuses,
    in_several,
    language_models_or_all,
    rank_correlations,
    side_by_side,
    stop_if_missing,
)


def test_every_status_has_its_column():
    frame = pd.DataFrame({"model": ["p", "p", "q"], "status": ["answered", "refused", "answered"]})
    counts = count_statuses(frame, ["model"])
    assert list(counts) == ["answered", "refused", "unparsable", "truncated", "failed"]
    assert counts.to_numpy().tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_too_many_missing_replies_stop_the_notebook():
    table = pd.DataFrame({"model": ["p", "q", "s"], "items": 8, "missing_share": [0.5, 0.25, 0.0]})
    stop_if_missing(table, 0.5)
    with pytest.raises(UserError, match=r"more than 40% of answers missing: p \(50\.0%\); see"):
        stop_if_missing(table, 0.4)
    with pytest.raises(UserError, match=r"p in rating \(50\.0%\), q in rating \(25\.0%\); .*most_missing"):
        stop_if_missing(table.assign(mode="rating")[["model", "mode", "missing_share"]], 0.2)


def test_language_models_are_in_focus_where_there_are_any():
    table = pd.DataFrame({"model": ["a", "b", "a"]})
    agents = {"a": "reference agent", "b": "reference agent"}
    assert list(language_models_or_all(table, agents)["model"]) == ["a", "b", "a"]
    assert list(language_models_or_all(table, {**agents, "b": "language model"})["model"]) == ["b"]
    assert language_models_or_all(table.head(0), agents).empty


# The studies side by side


def joined(b_v, corrected, fidelity):
    """Side by side, from measures by model."""
    return side_by_side(
        pd.DataFrame({"model": list(b_v), "b_v": list(b_v.values())}),
        pd.DataFrame([(m, x) for m, xs in corrected.items() for x in xs], columns=["model", "corrected"]),
        pd.DataFrame([(m, x) for m, xs in fidelity.items() for x in xs], columns=["model", "fidelity"]),
    )


def test_models_have_means_over_conditions():
    table = joined({"b": 1.0, "a": 2.0, "lone": 3.0}, {"a": [0.2, 0.4], "b": [np.nan]}, {"b": [0.5, 0.7]})
    assert list(table.columns) == ["model", *MEASURES]
    assert list(table["model"]) == ["a", "b", "lone"]
    assert table.loc[0, list(MEASURES)].tolist()[:2] == pytest.approx([2.0, 0.3])
    assert np.isnan(table.loc[0, "profile_fidelity"])
    assert table.loc[1, "profile_fidelity"] == pytest.approx(0.6)
    assert np.isnan(table.loc[1, "value_rationality"])
    assert table.loc[2, list(MEASURES[1:])].isna().all()


def test_a_model_that_leaves_a_condition_out_has_no_average():
    table = joined({"a": 1.0, "b": 1.0}, {"a": [0.9, np.nan], "b": [0.1, 0.3]}, {"b": [np.nan, 0.5]})
    assert np.isnan(table.loc[0, "value_rationality"])
    assert table.loc[1, "value_rationality"] == pytest.approx(0.2)
    assert np.isnan(table.loc[1, "profile_fidelity"])


def test_models_with_at_least_two_measures_are_in_several_studies():
    table = joined({"b": 1.0, "a": 2.0, "lone": 3.0}, {"a": [0.2]}, {"b": [0.5]})
    assert list(in_several(table)["model"]) == ["a", "b"]


def test_an_estimate_that_is_missing_does_not_count():
    table = joined({"a": np.nan, "c": np.nan}, {"a": [0.1]}, {"b": [0.2]})
    assert list(table["model"]) == ["a", "b"], "nothing is known of c"
    assert in_several(table).empty


def test_no_model_in_two_studies_gives_counts_and_no_correlation():
    table = joined({"a": 1.0, "d": 2.0}, {"b": [0.1]}, {"c": [0.2]})
    assert in_several(table).empty
    correlations = rank_correlations(table)
    assert list(correlations["models_first"]) == [2, 2, 1]
    assert list(correlations["models_second"]) == [1, 1, 1]
    assert list(correlations["models"]) == [0, 0, 0]
    assert correlations[["rho", "low", "high", "p_value"]].isna().all(axis=None)


@pytest.mark.parametrize("number", [4, 9])
def test_correlations_are_spearmans(number):
    rng = np.random.default_rng(number)
    table = pd.DataFrame(rng.normal(size=(number, 3)), columns=MEASURES).assign(model=range(number))
    for row in rank_correlations(table).itertuples():
        expected = stats.spearmanr(table[row.first], table[row.second])
        assert row.rho == pytest.approx(expected.statistic)
        assert row.p_value == pytest.approx(expected.pvalue)
        assert row.models == row.models_first == row.models_second == number
        assert row.low <= row.rho <= row.high


def test_only_models_with_both_measures_enter_a_correlation():
    table = pd.DataFrame({name: [1.0, 2.0, 3.0, 4.0, 5.0] for name in MEASURES})
    table.loc[:1, "profile_fidelity"] = np.nan
    correlations = rank_correlations(table).set_index(["first", "second"])
    assert correlations.loc[("value_sensitivity", "value_rationality"), "rho"] == pytest.approx(1)
    counts = correlations.loc[("value_sensitivity", "profile_fidelity")]
    assert list(counts[["models_first", "models_second", "models"]]) == [5, 3, 3]
    assert np.isnan(correlations.loc[("value_sensitivity", "profile_fidelity"), "rho"])


def test_without_variation_there_is_no_correlation():
    table = pd.DataFrame({name: [1.0] * 6 for name in MEASURES})
    assert rank_correlations(table)["rho"].isna().all()
