"""Study 2 one question at a time: items, words, and scoring held to respondents whose taste is known."""

import hashlib
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from deepvalues.ask import catalogue, letters, on_record, run_query
from deepvalues.ask.on_record import letter_probabilities
from deepvalues.ask.questions import record_path
from deepvalues.ask.reading import Received
from deepvalues.ask.record import Record
from deepvalues.ask.registry import BARE, CONTINUE
from deepvalues.browser.collect import marked
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.studies.dvb.respondents.agents import Recogniser
from deepvalues.studies.svo.analysis import letter_scoring as scoring
from deepvalues.studies.svo.analysis.scoring import targets
from deepvalues.studies.svo.respondents import letter_agents
from deepvalues.studies.svo.stimuli import LETTERS, VALUES, load_one_question, option_lines, payoffs, turned
from markdown_cells import shown

#: Of data/stimuli/svo_letters.yml: answers are keyed by these words.
FROZEN = "a3345716612d333c"
SEED = 3


@pytest.fixture(scope="module")
def study():
    return catalogue.study("svo-letters")


@pytest.fixture(scope="module")
def items(study):
    return study.items("standard")


@pytest.fixture(scope="module")
def agents(study):
    return letter_agents(study.wording)


def answers(items, name, share, mass=1.0):
    """Answers of a respondent with a rule from (value, item, shown) to nine shares by letter."""
    rows = [share(row.value, row.item, row.shown) for row in items.itertuples()]
    p = np.asarray(rows, dtype=float)
    frame = pd.DataFrame(p, columns=[f"p_{letter}" for letter in LETTERS])
    choice = [LETTERS[place] for place in p.argmax(axis=1)]
    head = {"model": name, "item": items["id"].to_numpy(), "status": "answered", "choice": choice}
    return pd.concat([pd.DataFrame(head), frame.assign(mass=mass, unlisted=0.0)], axis=1)


def utility(value, item, shown, precision=0.1):
    """Logits of the options as shown, of somebody who wants coins for the other, less so without a value."""
    pay = payoffs()
    places = [LETTERS.index(option) for option in shown]
    weight = {"altruistic": 1.0, "competitive": -1.0}.get(value, 0.3)
    return precision * (pay.own[item - 1, places] * 0.5 + weight * pay.other[item - 1, places])


LIKING = np.array([1.5, 0.2, 0, 0, 0, 0, 0, 0.4, 0.9])


def score(items, *respondents):
    return scoring.trials(items, pd.concat(respondents, ignore_index=True))


# ---- what is asked


def test_the_words_are_those_that_answers_are_keyed_by():
    assert hashlib.sha256(json.dumps(read_yaml(paths.SVO_LETTERS)).encode()).hexdigest()[:16] == FROZEN


def test_a_set_is_whole(items, study):
    assert len(items) == 9 * 6 * 5
    assert items.groupby(["value", "item"])["turned"].nunique().eq(9).all()
    assert set(study.items("smoke")["id"]) <= set(items["id"])
    with pytest.raises(UserError, match="unknown item set 'full'; svo-letters has smoke, standard"):
        study.items("full")


def test_each_option_stands_once_at_each_letter():
    for place in range(9):
        assert sorted(turned(places)[place] for places in range(9)) == sorted(LETTERS)


def test_a_prompt_shows_the_item_in_its_order_and_ends_so_that_the_begun_reply_fits(items, study):
    row = items[items["id"] == "competitive.i2.o3"].iloc[0]
    assert row["prompt"].startswith('Here is what is meant by the "hyper-competitive value system"')
    shown = option_lines(row["prompt"])
    assert shown["A"] == (91, 28), "option D, turned by three places"
    assert shown["G"] == (85, 15)
    assert "\nOption A: 91, 28\n" in row["prompt"]
    (conversation,) = study.conversations(items[items["id"] == row["id"]])
    put = letters.put(conversation, study.letter_choice, CONTINUE)
    assert put.messages(())[-1] == {"role": "assistant", "content": "Option"}
    bare = letters.put(conversation, study.letter_choice, BARE)
    assert bare.messages(())[-1]["content"].endswith("\nAnswer with the letter of one option only.")


def test_prompts_of_a_condition_share_what_stands_before_the_options(items, study):
    prefixes = {conversation.prefix for conversation in study.conversations(items)}
    assert len(prefixes) == 5


def test_without_a_value_none_is_named(items):
    without = items[items["value"] == "none"]["prompt"]
    assert not without.str.contains("value system").any()


@pytest.mark.parametrize("reply", ["B", "Option B", "Option B.", "Option B: 85, 76"])
def test_free_replies_are_read(items, study, reply):
    conversation = study.conversations(items[items["id"] == "none.i1.o0"])[0]
    assert study.read(Received(reply, None, "stop", conversation.parts[0])) == ("answered", "B")


@pytest.mark.parametrize("spoil", ["version: 1\n", "", 'define: "{nobody}"\n'])
def test_a_file_without_the_words_is_refused(tmp_path, study, spoil):
    path = tmp_path / "svo_letters.yml"
    words = paths.SVO_LETTERS.read_text(encoding="utf-8")
    path.write_text(words + spoil if "nobody" in spoil else spoil)
    with pytest.raises(UserError, match=r"svo_letters\.yml: "):
        load_one_question(path, study.wording.values)


def test_the_browser_marks_the_ideal_division(items):
    row = items[items["id"] == "altruistic.i1.o2"]
    ((options,),) = marked(row, Recogniser(catalogue.study("dvb").bank))
    (target,) = [option for option in options if option.is_target]
    assert target.label == "H", "85, 85 is printed at A"


# ---- how it is scored


def test_an_ideal_altruist_has_the_altruists_angle(items, agents):
    ideal = agents["agent-svo-letters-ideal"]

    def share(_, item, shown):
        options = option_lines(catalogue.study("svo-letters").wording.prompt("altruistic", item, shown))
        return list(ideal.shares(options, "altruistic").values())

    table = scoring.angles(score(items, answers(items, "altruist", share)), seed=SEED)
    assert table["angle"].round(2).eq(61.39).all()
    assert table["likeliest"].round(2).eq(61.39).all()
    # It is as good an altruist without the value: the value brings it no nearer.
    altruistic = table[table["value"] == "altruistic"].iloc[0]
    assert (altruistic["corrected"], altruistic["gain"]) == (pytest.approx(1), pytest.approx(0))


def test_a_place_chooser_is_at_the_centre_and_is_told_by_its_letter(items):
    frame = score(items, answers(items, "first", lambda *_: np.eye(9)[0]))
    table = scoring.angles(frame, seed=SEED)
    assert table["angle"].to_numpy() == pytest.approx([scoring.centre()] * 5)
    assert table["likeliest"].to_numpy() == pytest.approx([scoring.centre()] * 5)
    assert table["corrected"].dropna().to_numpy() == pytest.approx([0] * 4, abs=1e-9)
    (row,) = scoring.by_model(frame, seed=SEED).to_dict("records")
    assert (row["letter"], row["first"], row["place"]) == ("A", 1, pytest.approx(8 / 9))
    assert (row["content"], row["steering"]) == (pytest.approx(0), pytest.approx(0))
    assert row["likeliest_steering"] == pytest.approx(0)


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_a_known_taste_comes_back_whatever_letters_are_liked(items, strength):
    def share(value, item, shown):
        return softmax(utility(value, item, shown) + strength * LIKING)

    table = scoring.angles(score(items, answers(items, "m", share)), seed=SEED).set_index("value")
    for value in ("none", *VALUES):
        taste = np.array([softmax(utility(value, item, LETTERS)) for item in range(1, 7)])
        assert table.loc[value, "place_free"] == pytest.approx(scoring.angle(taste), abs=1e-3)
        if not strength:
            assert table.loc[value, "angle"] == pytest.approx(scoring.angle(taste), abs=1e-6)


def test_a_liking_for_letters_draws_angles_to_the_centre_and_widens_intervals(items):
    def respondent(name, strength):
        return answers(items, name, lambda *row: softmax(utility(*row) + strength * LIKING))

    frame = score(items, respondent("a", 0.5), respondent("b", 3.0))
    table = scoring.angles(frame, seed=SEED).set_index(["model", "value"])
    for value in ("altruistic", "competitive"):
        weak, strong = table.loc[("a", value)], table.loc[("b", value)]
        assert abs(strong["angle"] - scoring.centre()) < abs(weak["angle"] - scoring.centre())
        assert strong["high"] - strong["low"] > weak["high"] - weak["low"] > 0
        assert strong["low"] < strong["angle"] < strong["high"]
    models = scoring.by_model(frame, seed=SEED).set_index("model")
    assert models.loc["a", "steering"] > models.loc["b", "steering"] > 0
    ends = table.loc["a", "likeliest"]
    expected = ends["altruistic"] - ends["competitive"]
    assert models.loc["a", "likeliest_steering"] == pytest.approx(expected) and expected > 0
    assert models.loc["b", "place"] > models.loc["a", "place"] > 0


@given(arrays(float, (9, 6, 9), elements=st.floats(-3, 3)), arrays(float, 9, elements=st.floats(-3, 3)))
def test_a_liking_for_places_cancels_exactly(noise, liking):
    """Whatever tastes are, order by order: a common factor of a place changes no place-free share."""
    places = (np.arange(9)[None, :] - np.arange(9)[:, None]) % 9
    plain = softmax(noise, axis=-1)
    liked = softmax(noise + liking[places][:, None, :], axis=-1)
    assert np.allclose(scoring.place_free(plain), scoring.place_free(liked), atol=1e-4)


def test_rationality_stands_beside_that_of_no_value(items):
    frame = score(items, answers(items, "m", lambda *row: softmax(utility(*row))))
    table = scoring.angles(frame, seed=SEED).set_index("value")
    row, without = table.loc["altruistic"], table.loc["none"]
    assert row["target"] == targets()["altruistic"]
    assert row["rationality"] == pytest.approx(60 - abs(row["angle"] - row["target"]))
    assert row["blind"] == pytest.approx(60 - abs(without["angle"] - row["target"]))
    assert row["gain"] == pytest.approx(row["rationality"] - row["blind"])
    assert math.isnan(without["rationality"])


def test_replies_without_probabilities_count_as_certain(items):
    free = answers(items, "m", lambda *row: softmax(5 * utility(*row)))
    free[[f"p_{letter}" for letter in LETTERS] + ["mass", "unlisted"]] = np.nan
    table = scoring.angles(score(items, free), seed=SEED)
    # Where two options are as good, the first one shown was chosen, and the order decides between them.
    assert table["angle"].to_numpy() == pytest.approx(table["likeliest"].to_numpy(), abs=0.2)
    assert table["place_free"].isna().all(), "there is no logarithm of a certain choice"
    assert scoring.by_model(score(items, free), seed=SEED)["mass"].isna().all()


def test_what_is_missing_is_counted_and_an_item_without_any_answer_has_no_angle(items):
    found = answers(items, "m", lambda *row: softmax(utility(*row)))
    shares = [f"p_{letter}" for letter in LETTERS]
    lost = found["item"].str.startswith("none.i3.") | (found["item"] == "prosocial.i1.o0")
    found.loc[lost, [*shares, "mass"]] = np.nan
    found.loc[lost, "choice"], found.loc[lost, "status"] = None, "unparsable"
    table = scoring.angles(score(items, found), seed=SEED).set_index("value")
    assert table["answered"].to_dict() == dict.fromkeys(VALUES, 54) | {"none": 45, "prosocial": 53}
    assert math.isnan(table.loc["none", "angle"])
    assert table.loc["prosocial", "angle"] > 0
    assert math.isnan(table.loc["prosocial", "place_free"]), "a missing order cancels nothing"


def test_one_order_alone_has_angles_and_no_interval(study):
    smoke = study.items("smoke")
    frame = score(smoke, answers(smoke, "m", lambda *row: softmax(utility(*row))))
    table = scoring.angles(frame, seed=SEED)
    assert table["angle"].notna().all()
    assert table[["low", "high", "gain_low", "place_free"]].isna().all(axis=None)


def test_no_letter_is_liked_where_all_are_alike(items):
    frame = score(items, answers(items, "m", lambda *_: np.full(9, 1 / 9)))
    assert scoring.by_model(frame, seed=SEED)["letter"].isna().all()


def test_nobody_has_answered(items):
    none = letter_probabilities([], LETTERS)
    frame = scoring.trials(items, none)
    assert scoring.angles(frame, seed=SEED).empty
    assert scoring.by_model(frame, seed=SEED).empty
    assert scoring.places(frame).empty
    assert scoring.option_shares(frame).empty


# ---- the whole way, through server and record


@pytest.fixture(scope="module")
def frame(items, study, agents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("record")
    models = catalogue.registry().choose(list(agents), "svo-letters")
    run_query.query("svo-letters", models, items, record_folder=folder)
    record = Record(record_path(folder, "svo-letters", "agent-svo-letters-ideal"))
    assert all(answer.text.startswith(" ") for answer in record.answers.values()), "after a begun reply"
    put = on_record.questions_by_model("svo-letters", models, items, folder)
    found = letter_probabilities(put, study.letter_choice.letters)
    return scoring.trials(items, found)


def test_agents_come_to_the_angles_of_their_tastes(frame, agents):
    table = scoring.angles(frame, seed=SEED)
    check = scoring.instrument(table, agents)
    assert len(check) == 15
    assert check["agrees"].all()
    ideal = table[(table["model"] == "agent-svo-letters-ideal") & (table["value"] != "none")]
    assert ideal["angle"].to_numpy() == pytest.approx(ideal["target"].to_numpy(), abs=1e-6)
    assert ideal["corrected"].to_numpy() == pytest.approx([1] * 4)


def test_tables_hold_every_model(frame):
    angles = shown(scoring.angles(frame, seed=SEED), "svo/letter_angles")
    assert angles.count("agent-svo-letters-leaning") == 5
    assert shown(scoring.by_model(frame, seed=SEED), "svo/letter_models").count("agent-svo-letters") == 3


def test_shares_sum_to_one(frame):
    assert frame[scoring.PLACES].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    by_option = scoring.option_shares(frame).groupby(["model", "value", "item"])["share"].sum()
    assert by_option.to_numpy() == pytest.approx(1, abs=1e-5)
    assert scoring.places(frame).groupby("model")["share"].sum().to_numpy() == pytest.approx(1, abs=1e-5)


def test_an_agent_refuses_another_question(agents):
    with pytest.raises(ValueError, match="not a question of the slider"):
        agents["agent-svo-letters-ideal"].reply([{"role": "user", "content": "Hello?"}], 0)
