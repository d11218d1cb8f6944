"""Statistics of study 2 against definitions, known truths, and the published figures."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.discrete.conditional_models import ConditionalLogit

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.svo.analysis import comparisons, instrument, published, scoring
from deepvalues.studies.svo.analysis import statistics as svo
from deepvalues.studies.svo.respondents import PRECISION, WEIGHTS, reference_agents
from deepvalues.studies.svo.stimuli import LETTERS, VALUES, payoffs, questions_of
from deepvalues.studies.svo.study import SocialValues
from svo_trials import answers, scored

STUDY = SocialValues(paths.STIMULI / "svo.yml", trials=10)
AGENTS = reference_agents(STUDY.wording)
ITEMS = STUDY.items("standard")
NAMES = (
    "agent-svo-follower",
    "agent-svo-noisy",
    "agent-svo-ignoring",
    "agent-svo-first",
    "agent-svo-random",
    "agent-svo-refusing",
)
HISTOGRAM, NORMS, SHARES = (
    pd.read_csv(paths.PUBLISHED / f"svo_human_{name}.csv") for name in ("histogram", "norms", "option_shares")
)


@pytest.fixture(scope="module")
def everything():
    return scored(STUDY, [AGENTS[name] for name in NAMES], ITEMS)


@pytest.fixture(scope="module")
def asked(everything):
    return everything[0]


@pytest.fixture(scope="module")
def trials(everything):
    return everything[1]


def one(table, **where):
    """The one row of a table with these contents."""
    for column, content in where.items():
        table = table[table[column] == content]
    assert len(table) == 1, where
    return table.iloc[0]


def frame_of(angles, model="m", value="prosocial", mode="faithful", goal=False):
    """Trials with given angles, complete or (NaN) not."""
    angles = np.asarray(angles, dtype=float)
    known = np.where(np.isnan(angles), [-16.0], angles), np.where(np.isnan(angles), [61.0], angles)
    return pd.DataFrame(
        {
            "model": model,
            "id": [f"{mode}.{value}.{goal}.{trial}" for trial in range(len(angles))],
            "mode": mode,
            "value": value,
            "goal": goal,
            "trial": range(len(angles)),
            "angle": angles,
            "category": scoring.categories(angles),
            "transitive": np.where(np.isnan(angles), np.nan, 1.0),
            "angle_low": known[0],
            "angle_high": known[1],
        }
    )


# From answers to trials.


def test_letters_are_mapped_back_through_the_order_shown(asked):
    row = ITEMS[ITEMS["mode"] == "controlled"].iloc[7]
    replies = answers(STUDY, [AGENTS["agent-svo-first"]], ITEMS[ITEMS["id"] == row["id"]])
    found = svo.choices(ITEMS, replies)
    for question, (item, shown) in enumerate(questions_of(row["item_order"], row["option_orders"]), start=1):
        choice = one(found, question=question)
        assert (choice["item"], choice["place"], LETTERS[choice["option"]]) == (item, 0, shown[0])


def test_only_questions_count_and_no_reply_is_a_choice_by_accident():
    replies = answers(STUDY, [AGENTS["agent-svo-follower"]], ITEMS.head(12))
    replies.loc[replies["turn"] == 3, ["status", "choice"]] = ["unparsable", "B"]
    found = svo.choices(ITEMS, replies)
    assert len(found) == 6 * 12
    assert (found.loc[found["status"] == "unparsable", ["place", "option"]] == -1).all(axis=None)
    assert len(svo.trials(found)) == 12 and (svo.trials(found)["given"] == 5).all()


def test_stray_answers_are_an_error():
    replies = answers(STUDY, [AGENTS["agent-svo-first"]], ITEMS.head(1))
    with pytest.raises(UserError, match=r"6 answers belong to no item"):
        svo.choices(ITEMS.tail(5), replies)


def test_trials_hold_what_score_says(trials):
    table = trials[svo.PRIMARY].to_numpy()
    again = scoring.score(table)
    pd.testing.assert_frame_equal(trials[["angle", "category"]], again[["angle", "category"]])
    refused = trials[(trials["model"] == "agent-svo-refusing") & (trials["value"] == "competitive")]
    assert (refused["given"] == 0).all() and (refused["category"] == "incomplete").all()
    assert refused[["angle_low", "angle_high"]].drop_duplicates().values.tolist() == [
        pytest.approx([-16.260205, 61.389540])
    ]
    assert trials["inequality_aversion"].isna().all(), "the secondary items were not asked"


def test_inequality_aversion_is_for_prosocial_trials():
    study = SocialValues(STUDY.wording_file, trials=1)
    items = study.items("full")
    frame = scored(
        study,
        [AGENTS["agent-svo-egalitarian"], AGENTS["agent-svo-prosocial"], AGENTS["agent-svo-altruist"]],
        items,
    )[1]
    index = frame.groupby("model")["inequality_aversion"]
    assert index.max()["agent-svo-egalitarian"] == 0
    assert index.min()["agent-svo-prosocial"] == pytest.approx(1, abs=0.1)
    assert math.isnan(index.max()["agent-svo-altruist"])


def test_missing_is_counted_by_reason(asked):
    table = svo.missing_by_reason(asked)
    refusing = one(table, model="agent-svo-refusing")
    assert (refusing["refused"], refusing["answered"]) == (240, 960)
    assert refusing["no_choice_share"] == pytest.approx(0.2)
    assert one(table, model="agent-svo-first")["no_choice_share"] == 0


# Means, shares, value rationality, steering.


def test_mean_angles_and_their_intervals():
    angles = [10.0, 20.0, 30.0, 40.0, math.nan]
    row = svo.mean_angles(frame_of(angles), seed=1).iloc[0]
    assert (row["trials"], row["complete"], row["angle"]) == (5, 4, 25.0)
    assert row["sd"] == pytest.approx(np.std(angles[:4], ddof=1))
    assert (row["bound_low"], row["bound_high"]) == pytest.approx(((100 - 16) / 5, (100 + 61) / 5))
    sample = np.random.default_rng(5).choice(angles[:4], size=(20_000, 4)).mean(axis=1)
    low, high = np.quantile(sample, [0.025, 0.975])
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.6)
    same = svo.mean_angles(frame_of([-16.26] * 10), seed=1).iloc[0]
    assert math.isnan(same["low"]) and same["angle"] == pytest.approx(-16.26)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Ten trials of random answers, two hundred times; a percentile interval of ten covers a little less."""
    angles, mass = scoring.random_angles()
    truth = mass @ angles
    drawn = np.random.default_rng(2).choice(angles, p=mass, size=(200, 10))
    frame = pd.concat([frame_of(row, model=f"m{i:03d}") for i, row in enumerate(drawn)])
    table = svo.mean_angles(frame, seed=1)
    covered = ((table["low"] <= truth) & (truth <= table["high"])).mean()
    assert 0.85 <= covered <= 0.98


def test_category_shares_are_of_complete_trials():
    table = svo.category_shares(frame_of([60.0, 30.0, 31.0, math.nan]))
    assert table["category"].tolist() == list(scoring.CATEGORIES)
    assert table["count"].tolist() == [0, 0, 2, 1]
    assert table["share"].tolist() == pytest.approx([0, 0, 2 / 3, 1 / 3])
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()


def test_value_rationality_of_known_agents(trials):
    table = svo.value_rationality(trials, seed=1)
    follower = table[table["model"] == "agent-svo-follower"]
    assert len(follower) == 2 * 4 * 2
    assert follower["rationality"].tolist() == pytest.approx([60] * 16)
    assert follower["corrected"].tolist() == pytest.approx([1] * 16)
    assert (follower["p_value"] < 0.001).all() and (follower["hit_rate"] == 1).all()
    random = table[table["model"] == "agent-svo-random"]
    assert (random["p_value"] < 0.05).sum() <= 3, "sixteen tests, one in twenty by chance"
    assert abs(random["corrected"].mean()) < 0.15
    assert table["random"].groupby(table["value"]).first()["prosocial"] > 37
    assert set(table["value"]) == set(VALUES), "without a value there is nothing to be rational about"


def test_refused_values_are_bounded(trials):
    row = one(
        svo.value_rationality(trials, seed=1),
        model="agent-svo-refusing",
        value="competitive",
        mode="faithful",
        goal=True,
    )
    assert row["complete"] == 0 and math.isnan(row["rationality"]) and math.isnan(row["hit_rate"])
    assert (row["bound_low"], row["bound_high"]) == pytest.approx((60 - 77.65, 60), abs=0.005)


@given(
    st.lists(st.floats(-16, 61), min_size=2, max_size=8),
    st.sampled_from(VALUES),
)
@settings(max_examples=25)
def test_value_rationality_lies_within_its_interval_and_bounds(angles, value):
    row = svo.value_rationality(frame_of(angles, value=value), seed=1).iloc[0]
    assert row["rationality"] == pytest.approx(60 - abs(np.mean(angles) - scoring.targets()[value]))
    assert row["bound_low"] == pytest.approx(row["bound_high"]) == pytest.approx(row["rationality"])
    if not math.isnan(row["low"]):
        assert row["low"] - 1e-9 <= row["rationality"] <= row["high"] + 1e-9


def test_mean_rationality_is_over_values_without_goal_prompting():
    frame = pd.concat(
        [
            frame_of([45.0, 45.0]),
            frame_of([0.0, 0.0], value="individualistic"),
            frame_of([math.nan] * 2, value="competitive"),
            frame_of([10.0, 12.0], goal=True),
        ]
    )
    row = svo.mean_rationality(svo.value_rationality(frame, seed=1)).iloc[0]
    assert (row["model"], row["mode"]) == ("m", "faithful")
    assert (row["rationality"], row["corrected"]) == pytest.approx((60, 1))
    assert (row["values"], row["left_out"], row["complete"]) == (2, "competitive", 4)
    # `frame_of` takes a missing choice to make anything from -16 to 61 degrees.
    worst, best = 60 - (61 + 16.2602), 60 - 0.2602
    assert row["bound_low"] == pytest.approx((60 + 60 + worst) / 3, abs=1e-4)
    assert row["bound_high"] == pytest.approx((60 + 60 + best) / 3, abs=1e-4)


def test_refusing_a_value_shows_in_the_mean(trials):
    table = svo.mean_rationality(svo.value_rationality(trials, seed=1)).set_index(["model", "mode"])
    refusing, follower = (table.loc[f"agent-svo-{name}", "faithful"] for name in ("refusing", "follower"))
    assert refusing["rationality"] == pytest.approx(60) == follower["rationality"]
    assert (refusing["values"], refusing["left_out"]) == (3, "competitive")
    assert (follower["values"], follower["left_out"], follower["complete"]) == (4, "", 40)
    assert refusing["bound_low"] == pytest.approx((3 * 60 + 60 - 77.65) / 4, abs=0.005)
    assert follower["bound_low"] == follower["bound_high"] == pytest.approx(60)


def test_an_interval_around_the_target_reaches_the_best():
    row = svo.value_rationality(frame_of([40.0, 45.0, 52.0, 44.0]), seed=1).iloc[0]
    assert row["high"] == 60 and row["low"] < row["rationality"] < 60


def test_steering_range(trials):
    table = svo.steering_range(trials, seed=1)
    follower = one(table, model="agent-svo-follower", mode="controlled", goal=True)
    assert follower["range"] == pytest.approx(follower["ideal"]) == pytest.approx(77.65, abs=0.005)
    ignoring = table[table["model"] == "agent-svo-ignoring"]
    assert (ignoring["range"].abs() < 15).all(), "no more than ten trials' chance, five degrees a mean"
    assert ((ignoring["low"] < ignoring["range"]) & (ignoring["range"] < ignoring["high"])).all()
    refusing = one(table, model="agent-svo-refusing", mode="faithful", goal=False)
    assert refusing["pairs"] == 0 and math.isnan(refusing["range"])
    assert (refusing["bound_low"], refusing["bound_high"]) == pytest.approx((0, 77.65), abs=0.005)


# Goal prompting.


def test_goal_effect_is_paired_by_trial():
    without, with_goal = np.array([10.0, 20, 30, 40, 50, 25]), np.array([16.0, 27, 35, 44, 47, 26])
    frame = pd.concat([frame_of(without), frame_of(with_goal, goal=True)])
    row = one(svo.goal_effect(frame, seed=1), value="prosocial")
    closer = abs(without - 45) - abs(with_goal - 45)
    assert row["pairs"] == 6
    assert row["angle_change"] == pytest.approx((with_goal - without).mean())
    assert row["closer"] == pytest.approx(closer.mean())
    assert row["closer_low"] <= row["closer"] <= row["closer_high"]
    assert row["p_value"] == pytest.approx(stats.wilcoxon(closer).pvalue)


def test_goal_effect_without_pairs_values_or_differences():
    frame = pd.concat(
        [
            frame_of([10.0, 20, math.nan], value="none"),
            frame_of([10.0, 25, 30], value="none", goal=True),
            frame_of([45.0, 45.0]),
            frame_of([45.0, 45.0], goal=True),
        ]
    )
    table = svo.goal_effect(frame, seed=1)
    assert table["value"].tolist() == ["all values", "none", "prosocial"]
    none = one(table, value="none")
    assert (none["pairs"], none["angle_change"]) == (2, 2.5) and math.isnan(none["closer"])
    assert math.isnan(one(table, value="prosocial")["p_value"])


def test_agents_have_no_goal_effect(trials):
    table = svo.goal_effect(trials, seed=1)
    assert (table["p_holm"].dropna() > 0.05).all()


# Places.


def test_position_bias_is_found_where_it_is_and_only_there(asked):
    table = svo.position_bias(asked, seed=1).set_index("model")
    first = table.loc["agent-svo-first"]
    assert first["first_share"] == 1 and first["p_holm"] < 0.01 and first["excess"] > 0.8
    assert table.loc["agent-svo-follower", "p_value"] == 1, "always the same option, wherever it stands"
    assert (table.drop("agent-svo-first")["p_value"] > 0.01).all()


def test_position_test_keeps_its_level():
    """Logit choice without a taste for places, forty times: few false alarms."""
    study = SocialValues(STUDY.wording_file, trials=9)
    items = study.items("standard")
    items = items[(items["mode"] == "controlled") & (items["value"] == "none") & ~items["goal"]]
    frames = [
        svo.choices(items, answers(study, [AGENTS["agent-svo-ignoring"]], items, seed)).assign(
            model=f"m{seed}"
        )
        for seed in range(40)
    ]
    p = svo.position_bias(pd.concat(frames), seed=1)["p_value"]
    assert (p < 0.05).mean() <= 0.15 and p.max() > 0.5


def test_option_shares_by_hand(asked):
    table = svo.option_shares(asked[asked["model"] == "agent-svo-follower"], ["model", "value"])
    altruistic = table[(table["value"] == "altruistic") & (table["share"] > 0)]
    assert altruistic["option"].tolist() == list("AIAAII")
    assert (altruistic["choices"] == 40).all()
    sums = table.groupby(["value", "item"])["share"].sum()
    assert sums.tolist() == pytest.approx([1] * 30)


# Models and values.


def test_anova_agrees_with_the_sums_of_squares():
    rng = np.random.default_rng(3)
    frame = pd.concat(
        [
            frame_of(rng.normal(20 + 5 * m + 9 * v, 6, size=8), model=f"m{m}", value=value)
            for m in range(3)
            for v, value in enumerate(VALUES)
        ]
    )
    table = comparisons.anova(frame, seed=1).set_index("source")
    cells = frame.pivot_table(index="model", columns="value", values="angle")
    within = frame["angle"] - frame.groupby(["model", "value"])["angle"].transform("mean")
    residual = (within**2).sum() / (96 - 12)
    by_value = 8 * 3 * ((cells.mean() - cells.to_numpy().mean()) ** 2).sum() / 3
    assert table.loc["value", "f"] == pytest.approx(by_value / residual)
    assert table.loc["value", "p_value"] == pytest.approx(stats.f.sf(by_value / residual, 3, 84))
    assert table["p_permutation"].iloc[:2].tolist() == [0.0005, 0.0005]
    # Without differences in spread both tests say much the same.
    interaction = table.loc["model * value"]
    assert interaction["p_permutation"] == pytest.approx(interaction["p_value"], abs=0.05)


def test_permuted_f_is_the_f_of_anova():
    rng = np.random.default_rng(4)
    frame = pd.concat(
        [
            frame_of(rng.normal(size=n), model=m, value=v)
            for m, v, n in [
                ("a", "prosocial", 4),
                ("a", "altruistic", 6),
                ("b", "prosocial", 5),
                ("b", "altruistic", 3),
            ]
        ]
    )
    model, value = (pd.factorize(frame[name])[0] for name in ("model", "value"))
    centred = frame["angle"].to_numpy() - frame["angle"].mean()
    found = comparisons._f(comparisons._design(model, value), centred[:, None])[:, 0]
    assert found.tolist() == pytest.approx(comparisons.anova(frame, seed=1)["f"].tolist())


def test_anova_of_agents(trials):
    table = comparisons.anova(trials, seed=1)
    assert (table["models"] == 5).all(), "a model that refuses a value altogether is left out"
    assert (table[table["source"] != "model"]["p_permutation"] < 0.01).all()
    deaf = comparisons.anova(trials[trials["model"].isin(["agent-svo-ignoring", "agent-svo-random"])], seed=1)
    assert (deaf[deaf["source"] == "value"]["p_permutation"] > 0.01).all()


def test_models_that_anova_leaves_out(trials):
    table = comparisons.left_out(trials)
    assert table.to_dict("records") == [
        {"model": "agent-svo-refusing", "value": "competitive", "lacking": 4, "analyses": 4}
    ]
    assert len(NAMES) - len(table) == comparisons.anova(trials, seed=1)["models"].unique()
    assert comparisons.left_out(trials[trials["model"] != "agent-svo-refusing"]).empty


def test_a_value_that_no_model_acts_on_leaves_nobody_out():
    angles = {"altruistic": [60.0, math.nan], "prosocial": [45.0, 44.0], "competitive": [math.nan] * 2}
    both = [frame_of(angles[value], model=m, value=value) for value in angles for m in ("a", "b")]
    assert comparisons.left_out(pd.concat(both)).empty
    other = [frame_of([math.nan] * 2, model="c", value="altruistic"), frame_of([45.0, 41.0], model="c")]
    again = [part.assign(mode="controlled") for part in both]
    table = comparisons.left_out(
        pd.concat([*both, *other, *again, frame_of([math.nan], model="c", value="none")])
    )
    assert table.to_numpy().tolist() == [["c", "altruistic", 1, 2]]
    assert (comparisons.anova(pd.concat([*both, *other]), seed=1)["models"] == 2).all()


def test_anova_where_nothing_can_be_tested(trials):
    alone = comparisons.anova(trials[trials["model"] == "agent-svo-noisy"], seed=1)
    certain = comparisons.anova(
        trials[trials["model"].isin(["agent-svo-follower", "agent-svo-refusing"])], seed=1
    )
    for table in (alone, certain):
        assert table["source"].tolist() == list(comparisons.SOURCES) * 4
        assert table[["f", "p_value", "eta", "p_permutation"]].isna().all(axis=None)


# Weights.


def draws(weight, precision, n, seed=1):
    rng, pay = np.random.default_rng(seed), payoffs()
    items = np.tile(np.arange(1, 7), n // 6)
    angle = np.radians(weight)
    utility = precision * (np.cos(angle) * pay.own + np.sin(angle) * pay.other)[items - 1]
    return items, (utility + rng.gumbel(size=utility.shape)).argmax(axis=1)


@pytest.mark.parametrize(("weight", "precision"), [(30, 0.12), (-30, 0.12), (75, 0.3), (0, 0.05)])
def test_weights_are_recovered(weight, precision):
    fits = [instrument.fit(*draws(weight, precision, 600, seed)) for seed in range(40)]
    for name, truth in (("weight", weight), ("precision", precision)):
        estimates = np.array([getattr(fit, name) for fit in fits])
        error = estimates.std(ddof=1) / math.sqrt(len(fits))
        assert estimates.mean() == pytest.approx(truth, abs=4 * error + 0.01 * abs(truth)), name
        claimed = np.mean([getattr(fit, f"{name}_high") - getattr(fit, f"{name}_low") for fit in fits]) / 3.92
        assert claimed == pytest.approx(estimates.std(ddof=1), rel=0.4), "intervals are as wide as errors are"


def test_weights_cover_the_truth():
    fits = [instrument.fit(*draws(40, 0.12, 240, seed)) for seed in range(200)]
    covered = np.mean([fit.weight_low < 40 < fit.weight_high for fit in fits])
    precise = np.mean([fit.precision_low < 0.12 < fit.precision_high for fit in fits])
    assert 0.9 <= covered <= 0.99 and 0.9 <= precise <= 0.99


def test_weights_agree_with_statsmodels():
    items, options = draws(30, 0.12, 60)
    pay = payoffs()
    coins = np.stack(pay, axis=2)[items - 1].reshape(-1, 2)
    chosen = (np.arange(9) == options[:, None]).astype(float).ravel()
    groups = np.repeat(np.arange(len(items)), 9)
    other = ConditionalLogit(chosen, coins, groups=groups).fit(disp=0, method="newton")
    found = instrument.fit(items, options)
    assert found.precision == pytest.approx(np.hypot(*other.params), rel=1e-6)
    assert found.weight == pytest.approx(np.degrees(np.arctan2(*other.params[::-1])), abs=1e-4)


def test_weights_of_agents(asked):
    table = instrument.weights(asked).set_index(["model", "value"])
    for value, weight in WEIGHTS.items():
        row = table.loc["agent-svo-noisy", value]
        assert abs(row["weight"] - weight) < 12 and abs(row["precision"] - PRECISION) < 0.05
    assert table.loc[("agent-svo-follower", "altruistic")].drop("choices").isna().all(), "no finite precision"
    assert table.loc["agent-svo-random", "weight"].isna().sum() >= 4, "random answers weigh nothing"
    assert math.isnan(instrument.fit([], []).weight)


def test_recovery_says_which_intervals_hold_the_truth():
    columns = ["value", "weight_low", "weight_high", "precision_low", "precision_high"]
    rows = [("altruistic", 70, 75, 0.1, 0.2), ("none", 31, 40, 0.13, 0.2), ("prosocial", *[math.nan] * 4)]
    truth = {"altruistic": 75.0, "none": 30.0, "prosocial": 45.0}
    table = instrument.recovery(pd.DataFrame(rows, columns=columns), truth, 0.12)
    assert table["true_weight"].tolist() == [75, 30, 45] and (table["true_precision"] == 0.12).all()
    assert table["weight_held"].tolist() == [True, False, False], "an end of the interval belongs to it"
    assert table["precision_held"].tolist() == [True, False, False]
    none = instrument.recovery(pd.DataFrame(rows, columns=columns).iloc[:0], truth, 0.12)
    assert none.empty and none[["weight_held", "precision_held"]].to_numpy().sum() == 0


# People.


def test_wasserstein_by_hand():
    histogram = pd.DataFrame({"bin_low_degrees": [0], "bin_width_degrees": [10], "count": [7]})
    assert comparisons.wasserstein([5.0], histogram) == pytest.approx(2.5, abs=0.01)
    assert comparisons.wasserstein([20.0, 20.0], histogram) == pytest.approx(15, abs=0.01)
    assert math.isnan(comparisons.wasserstein([], histogram))
    assert comparisons.total_variation([1, 0], [0.25, 0.75]) == 0.75


def test_models_beside_people(trials, asked):
    table = comparisons.against_people(trials, asked, HISTOGRAM, NORMS, SHARES, seed=1)
    assert len(table) == len(NAMES) * 4
    follower = one(table, model="agent-svo-follower", mode="faithful", goal=False)
    assert follower["angle"] == pytest.approx(37.4824, abs=5e-5) and follower["people_angle"] == 29.48
    assert follower["categories"] == pytest.approx(1 - 75.2 / 100.1, abs=1e-9)
    shares = SHARES.set_index(["item", "option"])["share"]
    missed = [1 - shares[item, letter] / shares[item].sum() for item, letter in enumerate("AIIDEI", start=1)]
    assert follower["options"] == pytest.approx(np.mean(missed))
    for measure in ("wasserstein", "categories", "options"):
        assert (table[f"{measure}_people"] < table[f"{measure}_people_95"]).all()
    assert follower["wasserstein"] > follower["wasserstein_people_95"]


def test_people_among_people_are_not_told_apart():
    """Ten people drawn from the histogram are within the 95% quantile nineteen times in twenty."""
    points, weights = comparisons.spread_people(HISTOGRAM)
    _, most = comparisons._angles_of_people(10, HISTOGRAM, 1)
    drawn = np.random.default_rng(99).choice(points, size=(300, 10), p=weights)
    within = [comparisons.wasserstein(sample, HISTOGRAM) <= most for sample in drawn]
    assert 0.9 <= np.mean(within) <= 0.985


# The published radar.


@pytest.fixture(scope="module")
def reread():
    return published.reread(pd.read_csv(paths.PUBLISHED / "hvae_value_rationality.csv"))


def test_corrected_means_of_the_specification(reread):
    table = published.by_value(reread).set_index("value")
    found = table.loc[["altruistic", "prosocial", "individualistic", "competitive"], "corrected"]
    # The specification says "about"; its third value rests on single trials, where ten lie behind the figure.
    assert found.tolist() == pytest.approx([0.44, 0.50, 0.01, 0.15], abs=0.015)
    assert (table["models"] == 8).all()


def test_rereading_keeps_the_reading_error_in_view(reread):
    row = one(reread, model="GPT-4", value="competitive", goal=True)
    assert (row["raw"], row["raw_low"], row["raw_high"]) == (59.2, 58.7, 59.7)
    chance = scoring.random_value_rationality("competitive", 10)
    assert row["corrected"] == pytest.approx((59.2 - chance) / (60 - chance))
    assert (reread["raw_high"] <= 60).all()


def test_the_lean_to_neutral_values_does_not_survive(reread):
    table = published.neutral_lean(reread).set_index(["scale", "contrast"])
    raw, corrected = (table.loc[scale, "neutral minus extreme"] for scale in ("raw", "corrected"))
    assert raw["verdict"] == "yes" and corrected["verdict"] == "open"
    assert corrected["lean"] == pytest.approx((0.496 - 0.001 - 0.439 - 0.149) / 2, abs=0.002)
    assert corrected["read_low"] < corrected["low"] < 0 < corrected["high"] < corrected["read_high"]
    assert table.loc[("corrected", "prosocial minus the others"), "verdict"] == "yes"
    assert table.loc[("corrected", "individualistic minus the others"), "verdict"] == "no"


def test_lean_intervals_are_students_t(reread):
    wide = reread.pivot_table(index="model", columns="value", values="raw", aggfunc="mean")
    lean = wide[["prosocial", "individualistic"]].mean(axis=1) - wide[["altruistic", "competitive"]].mean(
        axis=1
    )
    half = stats.t.ppf(0.975, 7) * lean.std() / math.sqrt(8)
    row = published.neutral_lean(reread).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((lean.mean() - half, lean.mean() + half))
    assert (row["read_low"], row["read_high"]) == pytest.approx((row["low"] - 1, row["high"] + 1))
    assert row["models_leaning"] == (lean > 0).sum()


def test_random_answers_lean_raw_but_not_corrected():
    """What eight models that answer at random would have shown in the figure."""
    rng = np.random.default_rng(6)
    angles, mass = scoring.random_angles()
    rows = [
        (f"m{model:02d}", value, goal, scoring.value_rationality(drawn, value))
        for model in range(40)
        for value in VALUES
        for goal, drawn in zip(
            (True, False), rng.choice(angles, p=mass, size=(2, 10)).mean(axis=1), strict=True
        )
    ]
    columns = ["model", "target_value", "goal_prompt", "value_rationality"]
    table = published.neutral_lean(published.reread(pd.DataFrame(rows, columns=columns))).set_index(
        ["scale", "contrast"]
    )
    assert table.loc[("raw", "neutral minus extreme"), "lean"] == pytest.approx(16.3, abs=1.5)
    assert table.loc[("corrected", "neutral minus extreme"), "verdict"] == "open"
