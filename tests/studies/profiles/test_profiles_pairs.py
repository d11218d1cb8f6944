"""Study 3 in pairs: items, words, and worths held to respondents who choose by known ones."""

import hashlib
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit

from deepvalues.ask import catalogue, letters, on_record, run_query
from deepvalues.ask.on_record import letter_probabilities
from deepvalues.ask.reading import Received
from deepvalues.ask.registry import BARE, CONTINUE
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.studies.profiles import tables
from deepvalues.studies.profiles.analysis import pair_profiles as scoring
from deepvalues.studies.profiles.respondents import pair_agents
from deepvalues.studies.profiles.stimuli import load_pairs
from markdown_cells import shown

#: Of data/stimuli/profiles_pairs.yml: answers are keyed by these words.
FROZEN = "14c8186730940588"
WORTHS = np.array([0.9, -0.3, 0.2, 1.4, -0.6, -1.6])


@pytest.fixture(scope="module")
def study():
    return catalogue.study("profiles-pairs")


@pytest.fixture(scope="module")
def items(study):
    return study.items("standard")


@pytest.fixture(scope="module")
def keys(study):
    return study.stimuli.keys


def odds(items, keys, worths=WORTHS, liking=0.0):
    """Log odds of option A of somebody who chooses by worths and likes option A."""
    worth = dict(zip(keys, worths, strict=True))
    first = items["first"].map(worth) - items["second"].map(worth)
    return first.where(~items["swapped"], -first).to_numpy(dtype=float) + liking


def answers(items, name, log_odds, rng=None, mass=1.0):
    """Answers with these log odds of A: the likelier letter, or one drawn by `rng`."""
    p_a = expit(np.broadcast_to(log_odds, len(items)))
    at_a = p_a >= 0.5 if rng is None else rng.random(len(items)) < p_a
    return pd.DataFrame(
        {
            "model": name,
            "item": items["id"].to_numpy(),
            "status": "answered",
            "choice": np.where(at_a, "A", "B"),
            "p_A": p_a,
            "p_B": 1 - p_a,
            "mass": mass,
            "unlisted": 0.0,
        }
    )


def freely(found):
    """The same answers without their probabilities."""
    return found.assign(p_A=np.nan, p_B=np.nan, mass=np.nan, unlisted=np.nan)


def worths(table):
    return table.set_index("theme")["worth"].to_numpy(dtype=float)


# ---- what is asked


def test_the_words_are_those_that_answers_are_keyed_by():
    assert hashlib.sha256(json.dumps(read_yaml(paths.PROFILES_PAIRS)).encode()).hexdigest()[:16] == FROZEN


def test_a_set_is_whole(items, study):
    assert len(items) == 15 * 2 * 5
    assert items.groupby(["first", "second"])["wording"].nunique().to_dict() == dict.fromkeys(
        items.groupby(["first", "second"]).groups, 5
    )
    assert set(study.items("smoke")["id"]) <= set(items["id"])
    with pytest.raises(UserError, match="unknown item set 'full'; profiles-pairs has smoke, standard"):
        study.items("full")


def test_both_orders_show_the_same_themes_turned_round(items, study):
    for _, pair in items.groupby(["wording", "first", "second"]):
        one, other = (study.wording.themes_of(prompt) for prompt in pair["prompt"])
        assert one == other[::-1] == tuple(pair.iloc[0][["first", "second"]])


def test_each_theme_is_option_a_as_often_as_any_other(items, study):
    at_a = [study.wording.themes_of(prompt)[0] for prompt in items["prompt"]]
    assert set(pd.Series(at_a).value_counts()) == {25}


def test_the_begun_reply_fits_and_the_bare_letter_can_be_asked_for(items, study):
    conversation = study.conversations(items)[0]
    assert "\nOption A: Performance. It carries out" in conversation.turns[0]
    put = letters.put(conversation, study.letter_choice, CONTINUE)
    assert put.messages(())[-1] == {"role": "assistant", "content": "Option"}
    bare = letters.put(conversation, study.letter_choice, BARE)
    assert bare.messages(())[-1]["content"].endswith('Answer with only the letter "A" or "B".')
    assert len({each.prefix for each in study.conversations(items)}) == 5


def test_definitions_are_those_of_the_other_modes(items, study):
    for theme in study.stimuli.themes:
        assert items["prompt"].str.contains(f"{theme.name}. {theme.definition}", regex=False).sum() == 50


def test_free_replies_are_read(study):
    assert study.read(Received("Option B.", None, "stop")) == ("answered", "B")
    assert study.read(Received("Both matter.", None, "stop")).status == "unparsable"


@pytest.mark.parametrize(
    "spoil", ["version: v1\n", "", "frames: [{id: w1, text: t}]\n", 'option: "{nobody}"\n']
)
def test_a_file_without_the_words_is_refused(tmp_path, study, spoil):
    path = tmp_path / "profiles_pairs.yml"
    whole = paths.PROFILES_PAIRS.read_text(encoding="utf-8")
    path.write_text(whole + spoil if ":" in spoil and "version" not in spoil else spoil)
    with pytest.raises(UserError, match=r"profiles_pairs\.yml: "):
        load_pairs(path, study.stimuli.themes)


# ---- what comes back


@pytest.mark.parametrize("liking", [0.0, -0.7, 3.0])
def test_known_worths_come_back_whatever_place_is_liked(items, keys, liking):
    frame = scoring.pairs(items, answers(items, "m", odds(items, keys, liking=liking)))
    table = scoring.profiles(frame, keys)
    assert worths(table) == pytest.approx(WORTHS, abs=1e-6)
    assert set(table["by"]) == {"log odds"}
    (row,) = scoring.by_model(frame, keys).to_dict("records")
    assert row["explained"] == pytest.approx(1)


@given(arrays(float, 6, elements=st.floats(-2, 2)), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_worths_sum_to_zero_and_are_the_mean_log_odds_of_a_theme(given_worths, liking):
    study = catalogue.study("profiles-pairs")
    keys, items = study.stimuli.keys, study.items("smoke")
    frame = scoring.pairs(items, answers(items, "m", odds(items, keys, given_worths, liking)))
    found = scoring.worths_of_odds(frame, keys)
    assert abs(found.sum()) < 1e-9
    assert found == pytest.approx(given_worths - given_worths.mean(), abs=1e-6)


def test_themes_named_in_another_order_have_the_same_worths(items, keys):
    frame = scoring.pairs(items, answers(items, "m", odds(items, keys)))
    assert scoring.worths_of_odds(frame, keys[::-1]) == pytest.approx(WORTHS[::-1], abs=1e-6)
    assert scoring.worths_of_choices(frame, keys[::-1]) == pytest.approx(
        scoring.worths_of_choices(frame, keys)[::-1], abs=1e-6
    )


@pytest.mark.slow
def test_choices_drawn_by_known_worths_give_them_back(items, keys):
    """By choices alone: 100 respondents' worths on average, and the truth in about 19 of 20 intervals."""
    rng, found, held = np.random.default_rng(5), [], []
    for number in range(100):
        frame = scoring.pairs(items, freely(answers(items, str(number), odds(items, keys), rng)))
        found.append(scoring.worths_of_choices(frame, keys))
        if number < 30:
            table = scoring.profiles(frame, keys)
            assert set(table["by"]) == {"choices"}
            held += list((table["low"] <= WORTHS) & (table["high"] >= WORTHS))
    assert np.mean(found, axis=0) == pytest.approx(WORTHS, abs=0.15)
    assert np.mean(held) > 0.88


def test_intervals_hold_worths_that_frames_scatter_about(items, keys):
    """Each frame adds a worth of its own: intervals over frames hold the common one in 19 of 20 cases."""
    rng, held = np.random.default_rng(7), []
    for number in range(40):
        own = {frame: rng.normal(0, 0.4, len(keys)) for frame in items["wording"].unique()}
        scattered = np.concatenate(
            [odds(part, keys, WORTHS + own[frame]) for frame, part in items.groupby("wording", sort=False)]
        )
        table = scoring.profiles(scoring.pairs(items, answers(items, str(number), scattered)), keys)
        held += list((table["low"] <= WORTHS) & (table["high"] >= WORTHS))
    assert 0.9 < np.mean(held) < 0.99


def test_a_theme_that_always_wins_has_a_finite_worth_by_choices(items, keys):
    frame = scoring.pairs(items, freely(answers(items, "m", odds(items, keys, 50 * WORTHS))))
    found = scoring.worths_of_choices(frame, keys)
    assert np.isfinite(found).all()
    assert list(np.argsort(found)) == list(np.argsort(WORTHS))


# ---- what is claimed


def test_who_chooses_by_place_has_no_profile(items, keys):
    rng = np.random.default_rng(11)
    always = answers(items, "always", 2.0)
    drawn = [answers(items, f"drawn {n}", 1.0, rng) for n in range(40)]
    table = scoring.by_model(scoring.pairs(items, pd.concat([always, *drawn])), keys).set_index("model")
    assert not table.loc["always", "claimed"]
    assert (table.loc["always", "consistency"], table.loc["always", "first_option"]) == (0, 1)
    of_drawn = table.drop("always")
    assert of_drawn["consistency"].mean() == pytest.approx(of_drawn["by_place"].mean(), abs=0.02)
    assert of_drawn["claimed"].mean() <= 0.1, "one in forty by chance"


def test_who_chooses_themes_has_one(items, keys):
    sure, leaning = (answers(items, name, odds(items, keys, liking=b)) for name, b in (("s", 0), ("l", 0.9)))
    table = scoring.by_model(scoring.pairs(items, pd.concat([sure, leaning])), keys).set_index("model")
    assert table["claimed"].all()
    assert table.loc["s", "consistency"] == 1
    assert table.loc["l", "consistency"] < 1
    assert table.loc["l", "first_option"] > 0.5


def test_preferences_in_a_circle_are_not_explained(items, keys):
    """Each theme over the two after it, around the six: all worths are equal, and they explain nothing."""
    place = {theme: number for number, theme in enumerate(keys)}
    ahead = (items["second"].map(place) - items["first"].map(place)) % 6
    sign = ahead.map({1: 1.0, 2: 1.0, 3: 0.0, 4: -1.0, 5: -1.0})
    frame = scoring.pairs(items, answers(items, "m", sign.where(~items["swapped"], -sign).to_numpy()))
    assert worths(scoring.profiles(frame, keys)) == pytest.approx(np.zeros(6), abs=1e-9)
    (row,) = scoring.by_model(frame, keys).to_dict("records")
    assert row["explained"] == pytest.approx(0)
    assert row["claimed"], "the choices are of themes, if not of worths"


def test_one_order_alone_counts_for_nothing(items, keys):
    found = answers(items, "m", odds(items, keys))
    lost = found["item"] == "w1.performance.agency.a"
    found.loc[lost, ["p_A", "p_B", "mass"]] = np.nan
    found.loc[lost, "choice"], found.loc[lost, "status"] = None, "unparsable"
    frame = scoring.pairs(items, found)
    (row,) = scoring.by_model(frame, keys).to_dict("records")
    assert (row["pairs"], row["answered"]) == (75, 74)
    assert set(scoring.profiles(frame, keys)["by"]) == {"choices"}


def test_a_theme_in_no_pair_has_no_worth(items, keys):
    part = items[(items["first"] != "agency") & (items["second"] != "agency")]
    frame = scoring.pairs(part, answers(part, "m", odds(part, keys)))
    assert np.isnan(scoring.worths_of_odds(frame, keys)).all()
    assert np.isnan(scoring.worths_of_choices(frame, keys)).all()


def test_one_frame_has_no_interval(study, keys):
    items = study.items("smoke")
    table = scoring.profiles(scoring.pairs(items, answers(items, "m", odds(items, keys))), keys)
    assert table["low"].isna().all()


def test_nobody_has_answered(items, keys):
    frame = scoring.pairs(items, letter_probabilities([], ("A", "B")))
    by_model = scoring.by_model(frame, keys)
    assert tables.pairs(scoring.profiles(frame, keys), by_model, {}).empty
    assert scoring.instrument(scoring.profiles(frame, keys), {}).empty


# ---- the whole way, through server and record


@pytest.fixture(scope="module")
def frame(items, study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("record")
    models = catalogue.registry().choose(list(pair_agents(study.wording)), "profiles-pairs")
    run_query.query("profiles-pairs", models, items, record_folder=folder)
    put = on_record.questions_by_model("profiles-pairs", models, items, folder)
    found = letter_probabilities(put, ("A", "B"))
    return scoring.pairs(items, found)


def test_agents_come_to_the_worths_that_they_choose_by(frame, keys, study):
    check = scoring.instrument(scoring.profiles(frame, keys), pair_agents(study.wording))
    assert len(check) == 12
    assert check["agrees"].all()


def test_the_place_chooser_has_dashes_in_the_table(frame, keys, study):
    names = {theme.key: theme.name for theme in study.stimuli.themes}
    by_model = scoring.by_model(frame, keys)
    assert by_model.set_index("model")["claimed"].to_dict() == {
        "agent-pairs-place": False,
        "agent-pairs-worths": True,
    }
    table = shown(tables.pairs(scoring.profiles(frame, keys), by_model, names), "profiles/pair_models")
    of_place = next(line for line in table.splitlines() if "agent-pairs-place" in line)
    assert [cell.strip() for cell in of_place.split("|")[-7:-1]] == ["–"] * 6


def test_an_agent_refuses_another_question(study):
    agent = pair_agents(study.wording)["agent-pairs-worths"]
    with pytest.raises(ValueError, match="not a question about two themes"):
        agent.reply([{"role": "user", "content": "Hello?"}], 0)


def test_a_probability_of_one_is_clipped(items, keys):
    frame = scoring.pairs(items, answers(items, "m", 800.0 * np.sign(odds(items, keys))))
    assert np.isfinite(worths(scoring.profiles(frame, keys))).all()
    assert frame["log_odds"].abs().max() == pytest.approx(-math.log(scoring.CLIP), abs=1e-3)
