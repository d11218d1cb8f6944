"""Scoring against the specification's vectors, definitions worked out the long way, and enumeration."""

import itertools
import math
import time
from graphlib import CycleError, TopologicalSorter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import brentq

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.svo import score
from deepvalues.studies.svo.analysis import scoring as sc
from deepvalues.studies.svo.stimuli import ENDS, IDEAL_POINTS, LETTERS, VALUES, payoffs

COMPLETE = hnp.arrays(np.int64, st.tuples(st.integers(1, 5), st.just(6)), elements=st.integers(0, 8))
GAPPY = hnp.arrays(np.int64, st.tuples(st.integers(1, 4), st.just(6)), elements=st.integers(-1, 8))
PAIRS = {
    item: frame[["self", "other"]].to_numpy()
    for item, frame in pd.read_csv(paths.PUBLISHED / "svo_items.csv").groupby("item")
}


def long_way(row):
    """Angle of one complete row, from the printed table."""
    chosen = np.array([PAIRS[item][option] for item, option in enumerate(row, start=1)])
    own, other = chosen.mean(axis=0)
    return math.degrees(math.atan((other - 50) / (own - 50)))


@pytest.fixture(scope="module")
def every():
    return sc.all_answers()


@pytest.fixture(scope="module")
def scored(every):
    return score(every)


# The vectors of the specification.


@pytest.mark.parametrize(
    ("answers", "angle"),
    [
        ("AIAAII", 61.3895),
        ("AIIAEI", 45.0),
        ("AIIDEI", 37.4824),
        ("AIIEEI", 34.8753),
        ("EIIIAA", 0.0),
        ("AIIIAA", 7.8153),
        ("IAIIAA", -16.2602),
        ("AAAAAA", 30.4655),
        ("EEEEEE", 22.9321),
        ("IIIIII", 14.7436),
    ],
)
def test_angles_of_the_specification(answers, angle):
    assert score([sc.parse(answers)])["angle"].iloc[0] == pytest.approx(angle, abs=5e-5)


def test_always_a_looks_prosocial_and_has_a_cycle():
    (row,) = score([[0] * 6]).itertuples(index=False)
    assert (row.category, row.transitive) == ("prosocial", False)


@pytest.mark.parametrize(
    ("angle", "category"),
    [
        (61.4, "altruistic"),
        (57.1500001, "altruistic"),
        (57.15, "prosocial"),
        (22.4500001, "prosocial"),
        (22.45, "individualistic"),
        (-12.0399999, "individualistic"),
        (-12.04, "competitive"),
        (-16.2602, "competitive"),
        (math.nan, "incomplete"),
    ],
)
def test_a_bound_belongs_to_the_category_below(angle, category):
    assert sc.categories([angle]).tolist() == [category]


# All answers at once.


def test_all_answers_are_scored_within_two_seconds(every):
    started = time.process_time()
    score(every)
    assert time.process_time() - started < 2
    assert every.shape == (531_441, 6)
    assert len(np.unique(every @ 9 ** np.arange(6))) == 531_441


def test_attainable_angles_and_means(scored, every):
    assert scored["angle"].min() == pytest.approx(-16.2602, abs=5e-5)
    assert scored["angle"].max() == pytest.approx(61.3895, abs=5e-5)
    own = payoffs().own[np.arange(6), every].mean(axis=1)
    assert (own.min(), own.max()) == (67.5, 92.5), "the quotient is always defined"


def test_transitive_patterns_are_counted_as_published(scored):
    assert scored["transitive"].dtype == bool
    assert int(scored["transitive"].sum()) == 222_445


def test_sampled_patterns_agree_with_the_long_way(scored, every):
    for row in np.random.default_rng(3).integers(len(every), size=300):
        assert scored["angle"].iloc[row] == pytest.approx(long_way(every[row]), abs=1e-9)


def test_transitivity_agrees_with_a_graph_without_cycles(scored, every):
    """Independent program: the standard library's graphlib."""
    for row in np.random.default_rng(4).integers(len(every), size=300):
        graph = TopologicalSorter()
        for item, option in enumerate(every[row], start=1):
            point, first, last = (np.array(PAIRS[item][place], float) for place in (option, 0, 8))
            to_first, to_last = np.linalg.norm(point - first), np.linalg.norm(point - last)
            if to_first != to_last:
                better, worse = ENDS[item - 1] if to_first < to_last else ENDS[item - 1][::-1]
                graph.add(worse, better)
        try:
            graph.prepare()
            acyclic = True
        except CycleError:
            acyclic = False
        assert scored["transitive"].iloc[row] == acyclic


def test_ends_of_the_items_are_the_ideal_points():
    pay = payoffs()
    for item, (first, last) in enumerate(ENDS):
        assert (pay.own[item, 0], pay.other[item, 0]) == IDEAL_POINTS[first]
        assert (pay.own[item, 8], pay.other[item, 8]) == IDEAL_POINTS[last]
    assert {frozenset(pair) for pair in ENDS} == {frozenset(p) for p in itertools.combinations(VALUES, 2)}


# The ring and the bounds.


@given(COMPLETE)
def test_the_ring_lies_in_the_direction_of_the_means(choices):
    ring = sc.ring(choices)
    angles = score(choices)["angle"]
    np.testing.assert_allclose(np.hypot(ring["ring_self"] - 50, ring["ring_other"] - 50), 50)
    np.testing.assert_allclose(sc.angles_of(ring["ring_self"], ring["ring_other"]), angles, atol=1e-9)
    np.testing.assert_allclose(sc.angles_of(ring["mean_self"], ring["mean_other"]), angles, atol=1e-9)
    assert (ring["length"] <= 50).all()


@given(GAPPY)
def test_missing_choices_are_named_and_bounded_never_filled_in(choices):
    frame, bounds = score(choices), sc.angle_bounds(choices)
    for place, row in enumerate(choices):
        missing = [item for item in range(6) if row[item] < 0]
        alone = score([row]).iloc[0]
        if not missing:
            assert bounds.iloc[place].tolist() == [frame["angle"].iloc[place]] * 2
            continue
        assert math.isnan(alone["angle"]) and alone["category"] == "incomplete"
        assert math.isnan(alone["transitive"])
        # The ends of items are where the extremes lie, but for rounding; try all where there are few.
        options = range(9) if len(missing) <= 2 else (0, 8)
        tried = []
        for filling in itertools.product(options, repeat=len(missing)):
            whole = row.copy()
            whole[missing] = filling
            tried.append(long_way(whole))
        assert bounds["angle_low"].iloc[place] <= min(tried) + 1e-9
        assert bounds["angle_high"].iloc[place] >= max(tried) - 1e-9
        if len(missing) <= 2:
            assert bounds.iloc[place].tolist() == pytest.approx([min(tried), max(tried)])


def test_a_trial_without_any_choice_could_be_anything():
    bounds = sc.angle_bounds([[-1] * 6]).iloc[0]
    assert bounds.tolist() == pytest.approx([-16.260205, 61.389540])
    assert sc.ring([[-1] * 6]).isna().all(axis=None)


def test_truth_values_with_gaps_stay_truth_values():
    frame = score([[0, 8, 8, 0, 4, 8], [0, 8, 8, 0, 4, -1]])
    assert frame["transitive"].iloc[0] is True
    assert frame["transitive"].isna().tolist() == [False, True]


@given(GAPPY)
def test_each_row_is_scored_by_itself(choices):
    together = score(choices)
    for place, row in enumerate(choices):
        pd.testing.assert_series_equal(
            score([row]).iloc[0].astype(object), together.iloc[place].astype(object), check_names=False
        )


def test_no_trials_give_an_empty_frame():
    assert score(np.empty((0, 6), dtype=int)).columns.tolist() == ["angle", "category", "transitive"]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([0, 8, 8, 0, 4, 8], r"shape \(n, 6\)"),
        ([[0] * 5], r"shape \(n, 6\)"),
        (np.zeros((2, 6, 1), int), r"shape \(n, 6\)"),
        ([[0.0] * 6], "must be integers"),
        ([[0, 1, 2, 3, 4, math.nan]], "must be integers"),
        ([["A"] * 6], "must be integers"),
        ([[True] * 6], "must be integers"),
        ([[0] * 6, [0, 0, 9, 0, 0, 0]], r"choices\[1, 2\] is 9"),
        ([[0, -2, 0, 0, 0, 0]], r"choices\[0, 1\] is -2"),
        (np.full((1, 6), 255, np.uint8), "is 255"),
    ],
)
def test_anything_else_is_an_error(choices, message):
    with pytest.raises(UserError, match=message):
        score(choices)


# Inequality aversion.


def test_ideal_positions_follow_from_the_payoffs():
    """From the definitions: most equal, largest sum, largest own, largest other; no item where all tie."""
    pay = payoffs()
    own, other = pay.own[6:], pay.other[6:]
    merits = {
        "inequality averse": -abs(own - other),
        "joint gain": own + other,
        "individualist": own,
        "altruist": other,
    }
    for kind, merit in merits.items():
        for item, ideal in enumerate(sc.SECONDARY_IDEALS[kind]):
            if math.isnan(ideal):
                assert np.ptp(merit[item]) <= 1, "all sums are the same but for rounding"
            else:
                assert merit[item].argmax() + 1 == ideal, (kind, item + 7)


def secondary(kind, filler=5):
    return [int(filler if math.isnan(ideal) else ideal) - 1 for ideal in sc.SECONDARY_IDEALS[kind]]


def test_inequality_aversion_of_pure_types():
    pure = [secondary("inequality averse"), secondary("joint gain"), secondary("individualist")]
    index = sc.inequality_aversion(pure)
    assert index[0] == 0 and index[1] == 1 and math.isnan(index[2])
    gap = secondary("joint gain")
    gap[3] = -1
    assert math.isnan(sc.inequality_aversion([gap])[0])


def test_inequality_aversion_by_hand():
    row = secondary("inequality averse")
    row[0] = 8  # item 7: position 9, which is the joint gain's, three from the most equal one
    unequal = (3 / 8) / 9
    joint = (0 + 3 / 8 + 2 / 8 + 1 / 8 + 2 / 8 + 1 / 8) / 6  # items 7, 9, 10, 12, 14, 15
    assert sc.inequality_aversion([row])[0] == pytest.approx(unequal / (unequal + joint))


# Value rationality and chance.


def test_targets_and_steering():
    targets = sc.targets()
    assert targets["altruistic"] == pytest.approx(61.39, abs=0.005)
    assert targets["prosocial"] == pytest.approx(45)
    assert targets["individualistic"] == pytest.approx(0)
    assert targets["competitive"] == pytest.approx(-16.26, abs=0.005)
    assert targets["altruistic"] - targets["competitive"] == pytest.approx(77.65, abs=0.005)


@pytest.mark.parametrize(
    ("trials", "printed", "within"),
    # For one trial the specification's values are exact, for ten they were simulated: to about 0.015.
    [(1, (21.31, 37.40, 37.03, 21.04), 0.0051), (10, (21.30, 37.69, 37.31, 21.05), 0.02)],
)
def test_random_value_rationality_of_the_specification(trials, printed, within):
    found = [sc.random_value_rationality(value, trials) for value in VALUES]
    assert found == pytest.approx(printed, abs=within)


def test_two_trials_agree_with_enumerating_all_pairs():
    """The grid's error, at the K where it is largest and enumeration still possible.

    E|X + Y − 2t| over all pairs, by sums up to and from where y passes 2t − x.
    """
    angles, mass = sc.random_angles()
    below, moment = (np.concatenate([[0], np.cumsum(part)]) for part in (mass, mass * angles))
    for value in ("prosocial", "individualistic"):
        turn = 2 * sc.targets()[value] - angles
        place = np.searchsorted(angles, turn)
        up = moment[-1] - moment[place] - turn * (1 - below[place])
        down = turn * below[place] - moment[place]
        exact = 60 - mass @ (up + down) / 2
        assert sc.random_value_rationality(value, 2) == pytest.approx(exact, abs=1e-6)


def within_of_two(angles: np.ndarray, mass: np.ndarray, target: float, distance: float) -> float:
    """Probability that the mean of two random angles is no farther from a target, over all pairs.

    Pairs are summed one by one, as differences of cumulated masses would drown the tails.
    """
    first, end = (
        np.searchsorted(angles, 2 * bound - angles, side)
        for bound, side in ((target - distance - 1e-9, "left"), (target + distance + 1e-9, "right"))
    )
    return sum(own * mass[a:b].sum() for own, a, b in zip(mass, first, end, strict=True) if b > a)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("distance", [0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.1, 1, 7, 30])
def test_the_probability_of_two_trials_is_never_too_small(value, distance):
    """Against all pairs: no less than exact, no more than exact for two steps of the grid farther."""
    exact, farther = (
        within_of_two(*sc.random_angles(), sc.targets()[value], distance + more) for more in (0, 0.04)
    )
    assert exact > 0
    assert exact * (1 - 1e-9) <= sc.random_at_least(value, 2, 60 - distance) <= farther * (1 + 1e-9)


@pytest.mark.parametrize(("value", "exact"), [("altruistic", 3.541e-12), ("prosocial", 8.280e-6)])
def test_two_perfect_trials_by_chance(value, exact):
    assert within_of_two(*sc.random_angles(), sc.targets()[value], 0) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("value", VALUES)
def test_perfect_answers_are_never_impossible_for_random_ones(value):
    """As likely, at least, as that every trial gives just the ideal answers; the last bits change nothing."""
    found = sc.random_at_least(value, 10, 60.0)
    assert 9.0**-60 <= found < 1e-9
    for near in (np.nextafter(60, 0), np.nextafter(60, 61), 60 - 1e-12):
        assert sc.random_at_least(value, 10, near) == found


def test_the_smallest_probabilities_are_right_too():
    """Ten random trials that come near the altruist's target, p of about 1e-19, by importance sampling.

    Angles are drawn with the density tilted by exp(tx), so that their mean is at the threshold, and
    weighted back; the share's standard error comes from the same draws.
    """
    angles, mass = sc.random_angles()
    mean = sc.targets()["altruistic"] - 7.787

    def tilted(t: float) -> np.ndarray:
        weights = mass * np.exp(t * (angles - mean))
        return weights / weights.sum()

    t = brentq(lambda t: tilted(t) @ angles - mean, 0, 1)
    drawn = np.random.default_rng(5).choice(angles, p=tilted(t), size=(400_000, 10))
    log_scale = 10 * math.log(mass @ np.exp(t * (angles - mean)))
    weight = np.exp(log_scale - t * (drawn - mean).sum(axis=1)) * (drawn.mean(axis=1) >= mean)
    margin = 4 * weight.std() / math.sqrt(len(weight))
    found = sc.random_at_least("altruistic", 10, 60 - 7.787)
    assert 1e-20 < found < 1e-19
    assert weight.mean() - margin < found < 1.1 * weight.mean() + margin
    assert margin < 0.02 * found


def test_ten_trials_agree_with_a_simulation():
    angles, mass = sc.random_angles()
    drawn = np.random.default_rng(8).choice(angles, p=mass, size=(100_000, 10)).mean(axis=1)
    for value in VALUES:
        simulated = 60 - abs(drawn - sc.targets()[value])
        margin = 4 * simulated.std() / math.sqrt(len(simulated))
        assert sc.random_value_rationality(value, 10) == pytest.approx(simulated.mean(), abs=margin)
        assert sc.random_at_least(value, 10, 42.0) == pytest.approx((simulated >= 42).mean(), abs=0.007)


def test_no_trials_have_no_chance_level():
    assert math.isnan(sc.random_value_rationality("prosocial", 0))
    assert math.isnan(sc.random_at_least("prosocial", 0, 30.0))


@given(st.sampled_from(VALUES), st.integers(1, 12))
def test_correction_maps_chance_to_zero_and_the_target_to_one(value, trials):
    chance = sc.random_value_rationality(value, trials)
    assert sc.chance_corrected(chance, value, trials) == pytest.approx(0)
    best = sc.value_rationality(sc.targets()[value], value)
    assert sc.chance_corrected(best, value, trials) == pytest.approx(1)
    assert sc.random_at_least(value, trials, -100.0) == pytest.approx(1)


def test_letters():
    assert sc.parse(LETTERS + "-") == [*range(9), -1]
