"""Items, words and conversations of study 2, and the way through engine and record."""

import hashlib
import json

import pandas as pd
import pandera.pandas as pa
import pytest

from deepvalues.ask.conversation import Conversation
from deepvalues.ask.money import CHARACTERS_PER_TOKEN
from deepvalues.ask.processes import run
from deepvalues.ask.questions import Questions
from deepvalues.ask.record import Record
from deepvalues.ask.registry import Endpoint, Model
from deepvalues.ask.settings import Settings
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.studies.svo.analysis import statistics
from deepvalues.studies.svo.respondents import GOAL, reference_agents
from deepvalues.studies.svo.stimuli import (
    CONTRACT,
    LETTERS,
    VALUES,
    item_order,
    load_wording,
    option_lines,
    option_order,
    payoffs,
    questions_of,
)
from deepvalues.studies.svo.study import SocialValues
from local_server import create_app, serving

WORDING = paths.STIMULI / "svo.yml"
#: Answers are keyed by these words, so a new wording needs a new file.
FROZEN = "81eeb68f810c1385"


@pytest.fixture(scope="module")
def study():
    return SocialValues(WORDING)


@pytest.fixture(scope="module")
def standard(study):
    return study.items("standard")


@pytest.fixture(scope="module")
def talks(study, standard):
    return {talk.item: talk for talk in study.conversations(standard)}


def test_the_wording_is_frozen():
    assert hashlib.sha256(json.dumps(read_yaml(WORDING)).encode()).hexdigest()[:16] == FROZEN


# Items.


def test_sets_and_their_sizes(study, standard):
    sizes = {
        name: (len(frame), frame["turns"].sum())
        for name, frame in [
            ("smoke", study.items("smoke")),
            ("standard", standard),
            ("full", study.items("full")),
        ]
    }
    assert sizes == {"smoke": (20, 154), "standard": (200, 1540), "full": (200, 3340)}
    assert len(SocialValues(WORDING, trials=3).items("standard")) == 60
    with pytest.raises(UserError, match="unknown item set 'medium'; svo has smoke, standard, full"):
        study.items("medium")


def test_every_condition_has_the_same_trials(standard):
    counts = standard.groupby(["mode", "value", "goal"])["trial"].apply(sorted)
    assert len(counts) == 2 * 5 * 2
    assert all(trials == list(range(10)) for trials in counts)


def test_items_meet_their_contract_after_parquet(standard, tmp_path):
    standard.to_parquet(tmp_path / "items.parquet")
    pd.testing.assert_frame_equal(CONTRACT.validate(pd.read_parquet(tmp_path / "items.parquet")), standard)


@pytest.mark.parametrize(
    "change", [{"mode": "free"}, {"value": "kind"}, {"option_orders": LETTERS}, {"turns": 12}, {"id": "same"}]
)
def test_broken_items_are_refused(standard, change):
    with pytest.raises(pa.errors.SchemaError):
        CONTRACT.validate(standard.assign(**change))


def test_faithful_order_is_that_of_print(standard):
    faithful = standard[standard["mode"] == "faithful"]
    assert set(faithful["item_order"]) == {"1 2 3 4 5 6"}
    assert set(faithful["option_orders"]) == {" ".join([LETTERS] * 6)}


def test_controlled_orders_are_permutations_shared_by_all_conditions_of_a_trial(standard):
    controlled = standard[standard["mode"] == "controlled"]
    assert (controlled.groupby("trial")["item_order"].nunique() == 1).all()
    assert (controlled.groupby("trial")["option_orders"].nunique() == 1).all()
    assert controlled["item_order"].nunique() > 5
    for row in controlled.itertuples():
        questions = questions_of(row.item_order, row.option_orders)
        assert sorted(item for item, _ in questions) == [1, 2, 3, 4, 5, 6]
        assert all(sorted(shown) == list(LETTERS) for _, shown in questions)


def test_each_option_stands_once_at_each_place_within_nine_trials():
    for block in (range(9), range(9, 18)):
        for item in range(1, 16):
            orders = [option_order(1, "controlled", trial, item) for trial in block]
            assert all(sorted(column) == list(LETTERS) for column in zip(*orders, strict=True))
    assert option_order(1, "controlled", 0, 1) != option_order(2, "controlled", 0, 1)


def test_secondary_items_come_last_and_leave_the_rest_alone(study, standard):
    full = study.items("full")
    assert full["id"].tolist() == standard["id"].tolist()
    assert all(map(str.startswith, full["item_order"], standard["item_order"]))
    for short, long in zip(study.conversations(standard), study.conversations(full), strict=True):
        assert long.turns[: short.n_turns] == short.turns, "what was answered serves both sets"
        assert long.n_turns == short.n_turns + 9
        assert "Choice question 1 of 9" in long.turns[short.n_turns]
    assert sorted(item_order(1, "controlled", 4, True)[6:]) == list(range(7, 16))


# Conversations.


@pytest.mark.parametrize(("mode", "openings"), [("faithful", 2), ("controlled", 1)])
@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_assigned_first(study, talks, mode, openings, value):
    label = study.wording.labels[value]
    talk = talks[f"{mode}.{value}.goal.t00"]
    assert talk.n_turns == openings + 1 + 6
    assert all(f"{label} value system" in turn for turn in talk.turns[:openings])
    assert (study.wording.definitions[value] in talk.turns[0]) == (mode == "controlled")
    assert not any(option_lines(turn) for turn in talk.turns[: openings + 1])


def test_the_goal_is_quoted_in_every_question(talks, study):
    talk = talks["faithful.altruistic.goal.t00"]
    assert talk.turns[2] == study.wording.texts["goal"]
    replies = ["kind people", "ready", "MY OWN GOAL", *"AAAAA"]
    for answered in range(3, 9):
        assert '"MY OWN GOAL"' in talk.messages(replies[:answered])[-1]["content"]
    assert talk.messages(replies)[1] == {"role": "assistant", "content": "kind people"}


def test_without_a_goal_a_fixed_sentence_takes_its_place(talks, study):
    talk = talks["controlled.competitive.no-goal.t00"]
    assert talk.n_turns == 7
    assert all(study.wording.texts["no_goal"] in turn for turn in talk.turns[1:])
    assert not any("{{" in turn for turn in talk.turns)


def test_without_a_value_nothing_speaks_of_one(talks):
    for mode in ("faithful", "controlled"):
        plain, goal = (talks[f"{mode}.none.{kind}.t00"] for kind in ("no-goal", "goal"))
        assert (plain.n_turns, goal.n_turns) == (6, 7)
        assert "value system" not in " ".join(plain.turns + goal.turns)


def test_questions_show_every_payoff_of_their_item(standard, talks):
    pay = payoffs()
    for row in standard.itertuples():
        turns = talks[row.id].turns[row.openings :]
        for turn, (item, shown) in zip(turns, questions_of(row.item_order, row.option_orders), strict=True):
            lines = option_lines(turn)
            assert list(lines) == list(LETTERS)
            found = {option: lines[letter] for letter, option in zip(LETTERS, shown, strict=True)}
            assert [found[option].own for option in LETTERS] == pay.own[item - 1].tolist()
            assert [found[option].other for option in LETTERS] == pay.other[item - 1].tolist()


@pytest.mark.parametrize("spoil", ["labels: 3", "version: 1\nlabels: {altruistic: a}"])
def test_other_wordings_are_refused(tmp_path, spoil):
    (tmp_path / "svo.yml").write_text(spoil)
    with pytest.raises(UserError, match=r"an entry is missing or invalid .*; restore the file from git"):
        load_wording(tmp_path / "svo.yml")
    (tmp_path / "svo.yml").write_text("")
    with pytest.raises(UserError, match="the file is empty; restore it from git"):
        load_wording(tmp_path / "svo.yml")
    with pytest.raises(UserError, match=r"none\.yml: file not found"):
        load_wording(tmp_path / "none.yml")


def test_a_plan_counts_what_later_turns_carry(study, standard, tmp_path):
    questions = put(study, "agent-svo-first", standard, Record(tmp_path / "m.jsonl"))
    (job,) = questions.jobs()[:1]
    plan = questions.plan([job])
    talk, longest = job.conversation, study.parameters["max_tokens"]
    sent = 0.0
    for turn in range(talk.n_turns):
        messages = talk.messages(["x" * int(longest * CHARACTERS_PER_TOKEN)] * turn)
        sent += sum(len(message["content"]) for message in messages) / CHARACTERS_PER_TOKEN
    assert (plan.requests, plan.usage.output) == (6, 6 * longest)
    assert plan.usage.input == pytest.approx(sent)


# Through the engine.


@pytest.fixture(scope="module")
def server(study):
    with serving(create_app(reference_agents(study.wording))) as url:
        yield url


def model(name):
    return Model(name, Endpoint("local", None, None), name, "reference agent")


def put(study, name, items, record):
    return Questions(study, study.conversations(items), model(name), record)


def ask(questions, url):
    jobs = questions.jobs()
    return run(questions.ask, url, Settings(max_retries=0), jobs, questions.record, lambda _: None)


@pytest.fixture(scope="module")
def few(study):
    """Two trials of all conditions."""
    return SocialValues(WORDING, trials=2).items("standard")


def test_first_turns_are_alike_and_their_keys_are_not(study, standard):
    questions = put(study, "agent-svo-follower", standard, Record(paths.DERIVED / "none.jsonl"))
    keys = [questions.ask.request(talk, (), talk.first_repeat).key for talk in questions.conversations]
    assert len(set(keys)) == len(standard)
    assert len({talk.turns[0] for talk in questions.conversations}) < len(standard) / 2


def test_a_conversation_numbers_its_repeats_from_where_it_says():
    assert list(Conversation("i", ("a",), repeats=2, first_repeat=5).repeat_numbers) == [5, 6]
    assert list(Conversation("i", ("a",)).repeat_numbers) == [0]


def test_asked_over_the_server_recorded_read_and_scored(study, few, server, tmp_path):
    record = Record(tmp_path / "agent-svo-follower.jsonl")
    questions = put(study, "agent-svo-follower", few, record)
    assert questions.missing() == len(few)
    assert ask(questions, server).asked == few["turns"].sum()
    assert questions.missing() == 0 and not questions.jobs()
    frame = questions.answers()
    assert (frame["status"] == "answered").all()
    assert frame.loc[frame["reply"] == GOAL, "choice"].isna().all(), (
        "a goal is no choice, though it has capitals"
    )
    trials = statistics.trials(statistics.choices(few, frame))
    expected = {"altruistic": 61.3895, "prosocial": 45, "individualistic": 0, "competitive": -16.2602}
    for row in trials.itertuples():
        assert row.angle == pytest.approx(expected.get(row.value, 37.4824), abs=5e-5)
    again = put(study, "agent-svo-follower", few, Record(record.path))
    pd.testing.assert_frame_equal(again.answers(), frame)


def test_the_larger_set_asks_only_what_it_adds(study, server, tmp_path):
    small = SocialValues(WORDING, trials=1)
    record = Record(tmp_path / "m.jsonl")
    ask(put(study, "agent-svo-egalitarian", small.items("standard"), record), server)
    full = put(study, "agent-svo-egalitarian", small.items("full"), Record(record.path))
    assert ask(full, server).asked == 9 * len(small.items("full"))
    trials = statistics.trials(statistics.choices(small.items("full"), full.answers()))
    assert (trials["inequality_aversion"] == 0).all()


def test_a_refusal_is_recorded_as_one(study, few, server, tmp_path):
    questions = put(study, "agent-svo-refusing", few, Record(tmp_path / "m.jsonl"))
    ask(questions, server)
    asked = statistics.choices(few, questions.answers())
    competitive = asked["value"] == "competitive"
    assert set(asked[competitive]["status"]) == {"refused"}
    assert (asked[competitive]["option"] == -1).all() and (asked[~competitive]["option"] >= 0).all()
    again = questions.jobs(frozenset({"refused"}))
    assert len(again) == few["value"].eq("competitive").sum(), "a reading knows which turn it is of"
