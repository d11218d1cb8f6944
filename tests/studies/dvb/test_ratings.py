"""Value dispositions: what is asked, how a rating is read, what known raters give, and the statistics."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import bank_sums
from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.reading import STATUSES, Received
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis.side_studies import (
    answered_shares,
    odds_with_published,
    rating_consistency,
    rating_means,
    rating_odds,
    rating_profile_means,
    rating_trials,
)
from deepvalues.studies.dvb.items.prompts import SCALES, parse_rating
from deepvalues.studies.dvb.items.ratings import RATING_WORDS, read_rating
from deepvalues.studies.dvb.respondents.agents import HIGHEST_RATING, RATING_FORMS, raters, rating_profile


@pytest.fixture(scope="module")
def ratings():
    return catalogue.study("dvb-ratings")


@pytest.fixture(scope="module")
def items(ratings):
    return ratings.items("standard")


# What is asked.


def test_every_value_is_asked_about_on_every_scale(items, bank):
    assert len(items) == 33
    assert set(zip(items["value"], items["scale"], strict=True)) == {
        (v, s) for v in bank.values for s in SCALES
    }
    for row in items.itertuples():
        value = bank.values[row.value]
        assert f"{value.name}. {value.definition}" in row.prompt
        assert row.prompt.count("1 (") == 1
        assert " to 10 (" in row.prompt
        assert parse_rating(row.prompt) == (value.definition, row.scale)


def test_prompts_are_those_that_answers_are_kept_for(items):
    assert bank_sums.of_items(items) == bank_sums.kept()["dvb-ratings standard"]


def test_each_is_asked_ten_times_in_five_tokens(ratings, items):
    conversations = ratings.conversations(items)
    assert {c.repeats for c in conversations} == {10}
    assert {c.n_turns for c in conversations} == {1}
    assert dict(ratings.parameters) == {"max_tokens": 5}
    assert len(ratings.items("smoke")) == 3


def test_an_unknown_set_is_refused(ratings):
    with pytest.raises(UserError, match="unknown item set 'subset'; dvb-ratings has smoke, standard"):
        ratings.items("subset")


def test_items_are_written_and_read(items, tmp_path):
    path = tmp_path / "dvb-ratings_standard.parquet"
    items.to_parquet(path)
    pd.testing.assert_frame_equal(catalogue.read_items("dvb-ratings", "standard", tmp_path), items)
    items.assign(scale="height").to_parquet(path)
    with pytest.raises(UserError, match="items of another version"):
        catalogue.read_items("dvb-ratings", "standard", tmp_path)


# How a rating is read.

READ = [
    ("8", "8"),
    ("8.", "8"),
    (" 8\n", "8"),
    ("10", "10"),
    ("1", "1"),
    ("8/10", "8"),
    ("8 / 10", "8"),
    ("10/10", "10"),
    ("8 out of 10", "8"),
    ("eight out of ten", "8"),
    ("Rating: 8", "8"),
    ("**8**", "8"),
    ("(8)", "8"),
    ("eight", "8"),
    ("Ten.", "10"),
    ("Eight (8)", "8"),
    ("I would rate it 7.", "7"),
    ("On a scale from 1 to 10, a 6", "6"),
    ("６", "6"),
    ("<think>Perhaps 3, or 4.</think>9", "9"),
]
UNREAD = [
    "0",
    "11",
    "100",
    "-3",
    "7.5",
    "7,5",
    "8.0",
    "8.0/10",
    "7-8",
    "7–8",
    "7 or 8",
    "between 7 and 8",
    "7 8",
    "8/5",
    "−3",
    "8/100",
    "and/or 8",
    "80%",
    "8+",
    "<8",
    "about 8",
    "at least 6",
    "not 8",
    "less than 5",
    "seven and a half",
    "8th",
    "high",
    "zero",
    "eleven",
    "",
    "Option A",
    "/10",
    "out of 10",
]


@pytest.mark.parametrize(("text", "rating"), READ)
def test_what_is_certain_is_read(text, rating):
    assert read_rating(Received(text, None, "stop")) == ("answered", rating)


@pytest.mark.parametrize("text", UNREAD)
def test_what_is_not_certain_is_unparsable(text):
    assert read_rating(Received(text, None, "stop")) == ("unparsable", None)


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("I can't rate", "length", ("refused", None)),
        ("I'm sorry, but", "length", ("refused", None)),
        ("As an AI, I have no view.", "stop", ("refused", None)),
        ("8", "content_filter", ("refused", None)),
        ("", "length", ("truncated", None)),
        ("I would rate this", "length", ("truncated", None)),
        ("Rating: 1", "length", ("truncated", None)),
        ("8 because it is", "length", ("truncated", None)),
        ("8\n\nThis value", "length", ("answered", "8")),
        ("7.5\n\nThis value", "length", ("truncated", None)),
        (None, "stop", ("unparsable", None)),
    ],
)
def test_refused_and_cut_replies(text, finish, expected):
    assert read_rating(Received(text, None, finish)) == expected


def test_a_refusal_field_is_a_refusal():
    assert read_rating(Received(None, "No.", "stop")).status == "refused"


@given(
    st.integers(1, 10), st.sampled_from(["{}", "{}.", "Rating: {}", "**{}**", "{}/10", "My rating is {}."])
)
def test_every_rating_is_read_in_every_form(rating, form):
    assert read_rating(Received(form.format(rating), None, "stop")) == ("answered", str(rating))
    if "/" not in form:
        word = RATING_WORDS[rating - 1]
        assert read_rating(Received(form.format(word), None, "stop")) == ("answered", str(rating))


@given(st.text(max_size=30), st.sampled_from(["stop", "length", None]))
def test_any_text_has_a_reading(text, finish):
    reading = read_rating(Received(text, None, finish))
    assert reading.status in STATUSES
    assert (reading.choice is not None) == (reading.status == "answered")
    if reading.choice is not None:
        assert 1 <= int(reading.choice) <= 10


@given(st.integers(11, 10**6))
def test_numbers_off_the_scale_are_never_ratings(number):
    assert read_rating(Received(str(number), None, "stop")).status == "unparsable"


# What known raters give.


@pytest.fixture(scope="module")
def rated(ratings, items, tmp_path_factory):
    """Ratings of the three agents, asked through the server."""
    folder = tmp_path_factory.mktemp("ratings")
    models = catalogue.registry().choose(
        ["agent-rater", "agent-rater-noisy", "agent-rater-stray"], "dvb-ratings"
    )
    done = run_query.query("dvb-ratings", models, items, record_folder=folder)
    assert done["asked"].tolist() == [330] * 3
    return on_record.answers("dvb-ratings", models, items, folder)


@pytest.fixture(scope="module")
def rating_frame(items, rated):
    return rating_trials(items, rated)


def test_the_profile_lies_within_the_scale_and_differs(bank):
    profile = rating_profile(bank)
    assert len(profile) == 33
    assert (min(profile.values()), max(profile.values())) == (2, HIGHEST_RATING)
    assert profile["beneficence", "popularity"] == 2
    assert profile["beneficence", "distinctiveness"] == 5
    assert profile["fidelity", "predictiveness"] == 3


def test_the_rater_gives_its_profile(rating_frame, bank):
    profile = rating_profile(bank)
    means = rating_means(rating_frame).query("model == 'agent-rater'")
    assert len(means) == 33
    for row in means.itertuples():
        assert (row.mean, row.sd, row.answered) == (profile[row.value, row.scale], 0, 10)
        assert math.isnan(row.low)


def test_the_noisy_rater_is_one_off_at_most_and_right_in_the_mean(rating_frame, bank):
    profile = rating_profile(bank)
    own = rating_frame.query("model == 'agent-rater-noisy'")
    off = [row.rating - profile[row.value, row.scale] for row in own.itertuples()]
    assert set(off) == {-1, 0, 1}
    assert stats.chisquare([off.count(step) for step in (-1, 0, 1)]).pvalue > 0.01
    consistency = rating_consistency(own)
    # A uniform draw of −1, 0 and 1 has the variance 2/3.
    assert consistency["sd"].to_numpy() == pytest.approx(math.sqrt(2 / 3), abs=0.12)


def test_the_stray_rater_answers_five_in_eight(rated, bank):
    own = rated[rated["model"] == "agent-rater-stray"]
    counts = own["status"].value_counts()
    assert set(counts.index) == {"answered", "refused", "unparsable"}
    assert stats.binomtest(int(counts["answered"]), 330, 5 / len(RATING_FORMS)).pvalue > 0.01
    assert stats.binomtest(int(counts["refused"]), 330, 1 / len(RATING_FORMS)).pvalue > 0.01
    profile = rating_profile(bank)
    for row in own[own["status"] == "answered"].itertuples():
        value, scale = row.item.split(".")
        assert int(row.choice) == profile[value, scale], row.reply
    assert set(own.loc[own["status"] == "unparsable", "reply"]) == {"11", "7.5"}


def test_the_record_holds_what_the_raters_answer(items, rated):
    models = [m for m in catalogue.registry().choose([], "dvb-ratings") if m.is_local]
    recorded = on_record.answers("dvb-ratings", models, items)
    pd.testing.assert_frame_equal(recorded, rated)


def test_raters_answer_ratings_only(bank, items_smoke):
    rater = raters(bank)["agent-rater"]
    with pytest.raises(ValueError, match="does not ask for a rating"):
        rater.reply([{"role": "user", "content": items_smoke["prompt"].iloc[0]}], 1)
    unknown = "Value: Thrift. The agent saves.\n\n" + SCALES["popularity"].question
    with pytest.raises(ValueError, match="not a value of the bank"):
        rater.reply([{"role": "user", "content": unknown}], 1)


def test_other_local_models_do_not_rate(items, agents):
    message = [{"role": "user", "content": items["prompt"].iloc[0]}]
    for name in ("agent-value", "learner-words", "agent-recogniser"):
        with pytest.raises(ValueError, match="options"):
            catalogue.local_models()[name].reply(message, 1)


# Statistics.


def made(ratings, model="m", value="v", scale="popularity"):
    return pd.DataFrame(
        {
            "model": model,
            "value": value,
            "scale": scale,
            "repeat": range(len(ratings)),
            "status": ["refused" if math.isnan(r) else "answered" for r in ratings],
            "rating": ratings,
        }
    )


def test_means_and_intervals_are_students():
    row = rating_means(made([7.0, 8.0, 9.0, math.nan])).iloc[0]
    half = 4.302653 / math.sqrt(3)
    assert (row["asked"], row["answered"], row["mean"], row["sd"]) == (4, 3, 8, 1)
    assert (row["low"], row["high"]) == pytest.approx((8 - half, 8 + half), abs=1e-5)


@pytest.mark.parametrize("ratings", [[math.nan], [5.0], [5.0, 5.0]])
def test_nothing_to_estimate_is_nan(ratings):
    row = rating_means(made(ratings)).iloc[0]
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])


def test_icc_is_that_of_shrout_and_fleiss():
    # Six targets and four judges, as in Shrout and Fleiss (1979): ICC(1,1) = .17, ICC(1,4) = .44.
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    frame = pd.concat(made([float(r) for r in row], value=f"v{number}") for number, row in enumerate(table))
    row = rating_consistency(frame).iloc[0]
    assert (row["values"], row["repeats"]) == (6, 4)
    assert row["icc"] == pytest.approx(0.17, abs=0.005)
    assert row["icc_mean"] == pytest.approx(0.44, abs=0.005)
    assert row["icc_low"] < row["icc"] < row["icc_high"]
    assert row["sd"] == pytest.approx(math.sqrt(np.mean([np.var(row, ddof=1) for row in table])))


def test_missing_ratings_leave_as_many_repeats_as_the_value_with_fewest():
    rows = {"a": [1.0, 2.0, 9.0], "b": [8.0, math.nan, 9.0], "c": [4.0, 4.0, 1.0]}
    row = rating_consistency(pd.concat(made(own, value=value) for value, own in rows.items())).iloc[0]
    assert (row["values"], row["repeats"]) == (3, 2)
    # Of (1, 2), (8, 9) and (4, 4): mean squares 151/6 between and 1/3 within.
    assert row["icc"] == pytest.approx((151 / 6 - 1 / 3) / (151 / 6 + 1 / 3))


def test_consistency_is_nan_where_nothing_can_be_told():
    assert math.isnan(rating_consistency(made([5.0, 6.0])).iloc[0]["icc"])
    few = pd.concat([made([1.0, 2.0], value="a"), made([8.0, 9.0], value="b")])
    assert math.isnan(rating_consistency(few).iloc[0]["icc"])
    same = pd.concat([made([5.0, 5.0], value="a"), made([5.0, 5.0], value="b")])
    assert math.isnan(rating_consistency(same).iloc[0]["icc"])
    apart = pd.concat([made([5.0] * 3, value="a"), made([6.0] * 3, value="b")])
    row = rating_consistency(apart).iloc[0]
    assert (row["icc"], row["sd"]) == (1, 0)
    assert math.isnan(row["icc_low"])


def test_stray_answers_are_named(items, rated):
    with pytest.raises(UserError, match="the first is other"):
        rating_trials(items, rated.head(2).assign(item="other"))


ODDS = {"popularity": 0.6, "distinctiveness": 1.5, "predictiveness": 1.0}


def simulated(seed, models=9, tests=120):
    """Ratings of eleven values by several models, and trials that follow from them by known odds."""
    rng = np.random.default_rng(seed)
    means, trials = [], []
    for model in range(models):
        raw = rng.normal(6, 1.5, size=(11, 3)) + rng.normal(0, 2)
        z = (raw - raw.mean(axis=0)) / raw.std(axis=0, ddof=1)
        for value in range(11):
            for place, scale in enumerate(SCALES):
                means.append((f"m{model}", f"v{value}", scale, raw[value, place]))
            logit = -0.8 + z[value] @ np.log(list(ODDS.values()))
            followed = rng.random(tests) < 1 / (1 + np.exp(-logit))
            trials += [(f"m{model}", f"v{value}", "deconfounded", float(f)) for f in followed]
    return (
        pd.DataFrame(trials, columns=["model", "v1", "arm", "followed"]),
        pd.DataFrame(means, columns=["model", "value", "scale", "mean"]),
    )


def test_known_odds_ratios_come_back():
    table = rating_odds(*simulated(3)).set_index("rating")
    assert (table["models"] == 9).all()
    assert (table["clusters"] == 99).all()
    assert (table["trials"] == 9 * 11 * 120).all()
    for scale, odds in ODDS.items():
        row = table.loc[scale]
        assert row["low"] < odds < row["high"]
        assert row["odds_ratio"] == pytest.approx(odds, rel=0.1)
    assert table.loc["popularity", "p_value"] < 0.001 < table.loc["predictiveness", "p_value"]


def test_a_model_that_rates_all_higher_changes_nothing():
    trials, means = simulated(4, models=3)
    shifted = means.assign(mean=means["mean"] * 2 + means["model"].map({"m0": 0, "m1": 5, "m2": -3}))
    pd.testing.assert_frame_equal(rating_odds(trials, means), rating_odds(trials, shifted))


def test_models_without_all_ratings_are_left_out():
    trials, means = simulated(5, models=3)
    lacking = means.assign(mean=means["mean"].mask((means["model"] == "m1") & (means["value"] == "v3")))
    constant = lacking.assign(
        mean=lacking["mean"].mask((means["model"] == "m2") & (means["scale"] == "popularity"), 5.0)
    )
    assert (rating_odds(trials, lacking)["models"] == 2).all()
    assert (rating_odds(trials, constant)["models"] == 1).all()
    assert rating_odds(trials, constant)["odds_ratio"].notna().all()


def test_odds_are_nan_where_they_are_not_identified():
    trials, means = simulated(6, models=2)
    nobody = rating_odds(trials.assign(model="other"), means)
    assert nobody[["models", "clusters", "trials"]].eq(0).all(axis=None)
    always = rating_odds(trials.assign(followed=1.0), means)
    alike = means.assign(mean=means.groupby(["model", "value"])["mean"].transform("first"))
    rising = means.assign(
        mean=means["mean"].where(means["scale"] != "popularity", means["value"].str[1:].astype(float))
    )
    order = trials.assign(followed=(trials["v1"].str[1:].astype(int) > 4).astype(float))
    for table in (nobody, always, rating_odds(trials, alike), rating_odds(order, rising)):
        assert table[["odds_ratio", "low", "high", "p_value"]].isna().all(axis=None)
        assert table["rating"].tolist() == list(SCALES)


def test_published_figures_stand_beside_ours(rating_frame):
    published = pd.DataFrame(
        {"value": ["fidelity"], "popularity": [8.15], "distinctiveness": [5.57], "predictiveness": [6.36]}
    )
    means = rating_means(rating_frame)
    table = rating_profile_means(means, published).set_index(["value", "scale"])
    assert len(table) == 33
    row = table.loc[("fidelity", "popularity")]
    ours = means.query("value == 'fidelity' and scale == 'popularity'")["mean"]
    assert (row["models"], row["published"]) == (3, 8.15)
    assert row["mean"] == pytest.approx(ours.mean())
    assert math.isnan(table.loc[("justice", "popularity"), "published"])


def test_shares_of_ratings_that_could_be_read():
    rows = [("m", "popularity", 7.0), ("m", "popularity", math.nan), ("m", "predictiveness", math.nan)]
    table = answered_shares(pd.DataFrame(rows, columns=["model", "scale", "rating"]))
    assert table.to_dict("records") == [
        {"model": "m", "scale": "popularity", "answered": 0.5},
        {"model": "m", "scale": "predictiveness", "answered": 0.0},
    ]


def test_odds_stand_beside_the_printed_ones_of_the_scale():
    ours = pd.DataFrame({"rating": ["popularity"], "odds_ratio": [1.5]})
    columns = {"odds_ratio": [0.9, 1.2], "ci_low": [0.8, 1.1], "ci_high": [1.0, 1.3], "p_value": [0.1, 0.2]}
    printed = pd.DataFrame({"rating": ["popularity", "distinctiveness"], **columns})
    table = odds_with_published(ours, printed).set_index("rating")
    assert table.loc["popularity", ["odds_ratio", "published_odds_ratio"]].tolist() == [1.5, 0.9]
    assert math.isnan(table.loc["distinctiveness", "odds_ratio"])
    assert table.loc["distinctiveness", "published_low"] == 1.1
