"""Agreement: published worked examples, the libraries, definitions, and coverage of the intervals."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from deepvalues.stats import agreement
from deepvalues.stats.agreement import cohens_kappa, icc_table, krippendorff_alpha, raw_agreement

_ = math.nan
#: Krippendorff's worked example of four coders and twelve units with missing ratings, "Computing
#: Krippendorff's alpha-reliability" (2011), example C; alpha as printed there.
WORKED = pd.DataFrame(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
).T
PRINTED = {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849}
#: Shrout and Fleiss (1979), Psychological Bulletin 86, table 2: four judges, six targets.
SHROUT = pd.DataFrame(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)


def ratings(seed, units=30, raters=3, categories=4, noise=0.4, missing=0.0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, categories, units)
    x = np.where(
        rng.random((units, raters)) < noise, rng.integers(0, categories, (units, raters)), truth[:, None]
    )
    x = x.astype(float)
    x[rng.random(x.shape) < missing] = np.nan
    return pd.DataFrame(x)


# ---- alpha ----


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_of_the_worked_example(level):
    found = krippendorff_alpha(WORKED, level)
    assert found.estimate == pytest.approx(PRINTED[level], abs=5e-4)
    assert (found.units, found.raters) == (11, 4), "the last unit has one rating and says nothing"
    assert found.low < found.estimate <= found.high


def test_alpha_of_text():
    table = pd.DataFrame({"a": ["yes", "no", "no", None], "b": ["yes", "no", "yes", "no"]})
    numbers = pd.DataFrame({"a": [1, 0, 0, _], "b": [1, 0, 1, 0]})
    assert krippendorff_alpha(table).estimate == pytest.approx(krippendorff_alpha(numbers).estimate)


# ---- kappa ----


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_cohens_kappa_is_scikit_learns_and_leaves_incomplete_units_out(seed):
    table = ratings(seed, raters=2, missing=0.1)
    both = table.dropna()
    assume(np.unique(both).size == 4)
    found = cohens_kappa(table, draws=2)
    expected = cohen_kappa_score(both[0], both[1])
    assert found.estimate == pytest.approx(expected)
    assert found.units == len(both)


# ---- ICC ----


def test_icc_of_the_worked_example():
    """Shrout and Fleiss (1979), table 4, as printed."""
    found = icc_table(SHROUT.to_numpy())["ICC"]
    assert found["ICC(A,1)"] == pytest.approx(0.29, abs=0.0051)
    assert found["ICC(A,k)"] == pytest.approx(0.62, abs=0.0051)


# ---- bootstrap statistics match the libraries ----


@pytest.mark.parametrize("seed", range(4))
def test_bootstrap_of_cohens_kappa_matches_the_library(seed, monkeypatch):
    """A draw gives what scikit-learn gives for units repeated as often as drawn."""
    table = ratings(seed, raters=2)
    weights = np.random.default_rng(seed).multinomial(30, np.full(30, 1 / 30))
    drawn = table.loc[np.repeat(table.index, weights)]
    found = []

    def first_draw(units, statistic, draws, seed):
        found.append(float(statistic(weights[None].astype(float))[0]))
        return math.nan, math.nan

    monkeypatch.setattr(agreement, "_bootstrap", first_draw)
    cohens_kappa(table)
    assert found == [pytest.approx(cohen_kappa_score(drawn[0], drawn[1]))]


def test_raw_agreement_counts_pairs():
    table = pd.DataFrame([[1, 1, 1], [1, 1, 2], [1, 2, _], [3, _, _]])
    found = raw_agreement(table)
    assert found.estimate == pytest.approx((3 + 1 + 0) / (3 + 3 + 1))
    assert (found.units, found.raters) == (3, 3)


@given(seed=st.integers(0, 1000))
def test_raw_agreement_of_two_raters_is_the_share_of_units(seed):
    table = ratings(seed, raters=2, missing=0.1)
    both = table.dropna()
    assert raw_agreement(table, draws=2).estimate == pytest.approx((both[0] == both[1]).mean())


@pytest.mark.parametrize("coefficient", [raw_agreement, cohens_kappa, krippendorff_alpha])
def test_full_agreement_is_one(coefficient):
    column = ratings(1, raters=1)[0]
    found = coefficient(pd.DataFrame({"a": column, "b": column}))
    assert found[:3] == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("coefficient", [cohens_kappa, krippendorff_alpha])
def test_without_variation_or_units_there_is_no_estimate(coefficient):
    disjoint, empty = pd.DataFrame({"a": [1.0, _], "b": [_, 2.0]}), pd.DataFrame({"a": [_], "b": [_]})
    for table in (pd.DataFrame(np.ones((9, 2))), disjoint, empty):
        assert np.isnan(coefficient(table)[:3]).all()


def test_raw_agreement_without_pairs_is_missing():
    found = raw_agreement(pd.DataFrame({"a": [1.0, _], "b": [_, 2.0]}))
    assert np.isnan(found[:3]).all()
    assert found.units == 0


def test_intervals_depend_only_on_the_seed():
    table = ratings(2, raters=2)
    assert cohens_kappa(table, seed=4) == cohens_kappa(table, seed=4)
    assert cohens_kappa(table, seed=4).low != cohens_kappa(table, seed=5).low


def test_intervals_have_about_nominal_coverage():
    """150 samples of 80 units, with the true coefficient from 40,000 units."""
    truth = cohens_kappa(ratings(0, units=40_000, raters=2), draws=2).estimate
    held = [
        found.low <= truth <= found.high
        for found in (cohens_kappa(ratings(seed, units=80, raters=2), draws=400) for seed in range(1, 151))
    ]
    assert 0.88 < np.mean(held) < 0.99
