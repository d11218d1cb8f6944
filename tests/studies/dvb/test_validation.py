"""Validation of the stimuli: the questions are balanced, right, and about the very texts of the benchmark."""

import pandas as pd
import pytest
from scipy import stats

import bank_sums
from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.reading import Received
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis.side_studies import published_validation, validation_accuracy
from deepvalues.studies.dvb.analysis.statistics import trials
from deepvalues.studies.dvb.items.prompts import parse_match, situations
from deepvalues.studies.dvb.items.validation import STIMULI, TASKS
from deepvalues.studies.dvb.respondents.agents import Matcher

SIDES = {"training": ({"v1": "s1", "v2": "s2"}), "test": ({"v1": "s2", "v2": "s1"})}


@pytest.fixture(scope="module")
def validation():
    return catalogue.study("dvb-validation")


@pytest.fixture(scope="module")
def items(validation):
    return validation.items("standard")


def options(row):
    (posed,) = situations(row.prompt)
    return {"A": posed.option_a, "B": posed.option_b}


def test_sizes(items, validation):
    assert len(items) == 2400
    assert items.groupby(["task", "stimulus"]).size().to_dict() == {
        (t, s): 400 for t in TASKS for s in STIMULI
    }
    assert len(validation.items("smoke")) == 48
    with pytest.raises(UserError, match="unknown item set 'full'; dvb-validation has smoke, half, standard"):
        validation.items("full")


def test_half_of_the_validation_has_all_layouts_equally_often(items, validation):
    half = validation.items("half")
    assert len(half) == 1200 and set(half["hash"]) <= set(items["hash"])
    assert set(half.groupby(["task", "right", "clause_order"]).size()) == {100}
    assert set(half["asked"]) >= set(items.loc[items["task"] == "embodies_value", "asked"])


def test_prompts_are_those_that_answers_are_kept_for(items):
    assert bank_sums.of_items(items) == bank_sums.kept()["dvb-validation standard"]


@pytest.mark.parametrize("task", TASKS)
def test_positions_are_balanced_in_every_value_pair(items, task):
    own = items[(items["task"] == task) & ~items["swapped"]]
    for (_, _, _), pair in own.groupby(["stimulus", "v1", "v2"]):
        assert sorted(pair["right"]) == ["A", "A", "B", "B"]
        assert sorted(pair["clause_order"]) == ["pole_first"] * 2 + ["value_first"] * 2
        preferred = pair["s1"] if task == "embodies_pole" else pair["v1"]
        assert (pair["asked"] == preferred).sum() == 2, "either trait is asked about twice"
        assert len(pair) == 4
    assert own["domain"].value_counts().between(36, 66).all()


def test_every_question_is_asked_in_both_orders(items):
    first, second = (items[items["swapped"] == swapped].reset_index(drop=True) for swapped in (False, True))
    varies = ["id", "right", "swapped", "prompt", "hash"]
    pd.testing.assert_frame_equal(first.drop(columns=varies), second.drop(columns=varies))
    assert list(first["id"].str[:-2]) == list(second["id"].str[:-2])
    assert (first["right"] != second["right"]).all()
    for one, other in zip(first.itertuples(), second.itertuples(), strict=True):
        a, b = options(one), options(other)
        assert a == {"A": b["B"], "B": b["A"]}
        turned = one.prompt.replace(a["A"], "\0").replace(a["B"], a["A"]).replace("\0", a["B"])
        assert turned == other.prompt


def test_training_and_test_pairs_come_from_the_same_cells_in_the_same_layout(items):
    shared = ["task", "cell", "clause_order", "asked", "other", "swapped"]
    training, test = (items.loc[items["stimulus"] == s, shared].reset_index(drop=True) for s in STIMULI)
    pd.testing.assert_frame_equal(training, test)
    assert (items["example"] == 0).equals(items["stimulus"] == "test")


def test_every_option_shows_what_its_kind_of_stimuli_has(items, recogniser):
    for row in items.itertuples():
        poles = SIDES[row.stimulus]
        expected = {(getattr(row, v), getattr(row, s)) for v, s in poles.items()}
        shown = {letter: recogniser.option(text) for letter, text in options(row).items()}
        assert {(found["value"], found["pole"]) for found in shown.values()} == expected
        assert row.asked in shown[row.right].values()
        assert row.other not in shown[row.right].values()
        first_layer = next(iter(shown["A"]))
        assert row.clause_order == f"{first_layer}_first"


def test_stimuli_are_those_of_the_benchmark(items, items_standard):
    used = "arm == 'deconfounded' and n_examples == 40 and not swapped"
    deep = items_standard.query(used).set_index("cell")["prompt"]
    for row in items.iloc[::7].itertuples():
        *examples, test = situations(deep[row.cell])
        source = test if row.stimulus == "test" else examples[row.example - 1]
        (posed,) = situations(row.prompt)
        shown = (posed.option_a, posed.option_b)[:: -1 if row.swapped else 1]
        assert (posed.context, *shown) == source[:3]


def test_questions_name_and_define_what_they_ask_about(items, bank):
    definitions = {trait.id: trait.definition for trait in bank.traits}
    for row in items.itertuples():
        lines = row.prompt.split("\n")
        kind = "trait" if row.task == "embodies_pole" else "value"
        assert lines[2].startswith(f"First {kind}: ")
        assert lines[2].endswith(definitions[row.asked])
        assert lines[3].startswith(f"Second {kind}: ")
        assert lines[3].endswith(definitions[row.other])
        assert parse_match(row.prompt)[0] == definitions[row.asked]


def test_only_predictions_speak_of_a_user(items, design):
    users = {cell.id: cell.user for cell in design.cells}
    for row in items.iloc[::5].itertuples():
        assert (users[row.cell] in row.prompt) == (row.task == "predicts_choice")


def test_items_are_written_and_read(items, tmp_path):
    path = tmp_path / "dvb-validation_standard.parquet"
    items.to_parquet(path)
    pd.testing.assert_frame_equal(catalogue.read_items("dvb-validation", "standard", tmp_path), items)
    items.assign(right="C").to_parquet(path)
    with pytest.raises(UserError, match="items of another version"):
        catalogue.read_items("dvb-validation", "standard", tmp_path)


def test_how_it_is_asked(validation, items):
    conversations = validation.conversations(items.head(3))
    assert [c.item for c in conversations] == items["id"].head(3).tolist()
    assert [c.turns for c in conversations] == [(prompt,) for prompt in items["prompt"].head(3)]
    assert dict(validation.parameters) == {"max_tokens": 10}
    assert validation.read(Received("B.", None, "stop")) == ("answered", "B")


# What known judges score.


def judged(items, judge):
    rows = []
    for item, prompt in items[["id", "prompt"]].itertuples(index=False, name=None):
        reply = judge.reply([{"role": "user", "content": prompt}], stable_random.integer("judge", item))
        rows.append((judge.name, item, "answered", reply.text.removeprefix("Option ")))
    return trials(items, pd.DataFrame(rows, columns=["model", "item", "status", "choice"]))


def test_the_recogniser_is_always_right(items, recogniser):
    table = validation_accuracy(judged(items, Matcher(recogniser)))
    assert len(table) == 6
    assert (table["accuracy"] == 1).all()
    assert (table["correct"] == 400).all()
    assert table["wilson_low"].to_numpy() == pytest.approx(400 / (400 + 1.959964**2))
    # Where nothing varies, each of the 200 cells counts as one trial.
    assert table["clustered_low"].to_numpy() == pytest.approx(200 / (200 + stats.t.ppf(0.975, 199) ** 2))
    # 200 questions in two orders are 200 questions.
    assert table["p_value"].to_numpy() == pytest.approx(2 * 0.5**200)


def test_who_always_takes_one_place_is_right_in_half_and_tells_nothing(items, agents):
    rows = [("first", item, "answered", "A") for item in items["id"]]
    frame = trials(items, pd.DataFrame(rows, columns=["model", "item", "status", "choice"]))
    table = validation_accuracy(frame)
    assert (table["accuracy"] == 0.5).all()
    assert (table["p_value"] == 1).all()
    # Every cell is right once and wrong once.
    assert table["clustered_high"].to_numpy() == pytest.approx(0.5, nan_ok=True)


def test_the_random_agent_is_right_by_chance(items, agents):
    table = validation_accuracy(judged(items, agents["agent-random"]))
    assert table["answered"].sum() == 2400
    assert stats.binomtest(int(table["correct"].sum()), 2400).pvalue > 0.01
    assert table["p_value"].min() > 0.001
    assert (table["clustered_low"] < table["accuracy"]).all()


def test_accuracy_leaves_missing_answers_out(items, recogniser):
    frame = judged(items, Matcher(recogniser))
    frame.loc[frame.index[:3], "followed"] = [float("nan"), 0.0, float("nan")]
    row = validation_accuracy(frame).query("task == 'predicts_choice'")
    assert row["items"].sum() == 800
    assert row["answered"].sum() == 798
    assert row["correct"].sum() == 797


def test_the_recogniser_is_asked_through_the_server(items, tmp_path):
    few = items.groupby(["task", "stimulus"]).head(3)
    models = catalogue.registry().choose(["agent-recogniser"], "dvb-validation")
    run_query.query("dvb-validation", models, few, record_folder=tmp_path)
    frame = trials(few, on_record.answers("dvb-validation", models, few, tmp_path))
    assert frame["followed"].tolist() == [1.0] * 18


def test_the_record_holds_what_known_judges_answer(items):
    models = [m for m in catalogue.registry().choose([], "dvb-validation") if m.is_local]
    frame = trials(items, on_record.answers("dvb-validation", models, items))
    correct = frame.groupby("model")["followed"].agg(["sum", "count"])
    assert correct.loc["agent-recogniser"].tolist() == [2400, 2400]
    assert stats.binomtest(int(correct.loc["agent-random", "sum"]), 2400).pvalue > 0.01


def test_the_recogniser_answers_validation_only(recogniser, items, items_smoke):
    judge = Matcher(recogniser)
    for prompt in (items_smoke["prompt"].iloc[0], items_smoke["prompt"].iloc[8]):
        with pytest.raises(ValueError, match="does not ask which option"):
            judge.reply([{"role": "user", "content": prompt}], 1)
    asked = items["prompt"].iloc[0].replace("First value: ", "First value: Thrift. Saves.\nOnce: ")
    with pytest.raises(ValueError, match="not a value or pole"):
        judge.reply([{"role": "user", "content": asked}], 1)


def test_published_accuracies_carry_our_names():
    published = pd.DataFrame(
        {
            "experiment": [
                "shallowness rating",
                "value predicts choice",
                "which option embodies which, nine models",
            ],
            "trials": [560, 200, 450],
            "estimate": [-0.98, 0.91, 0.987],
            "ci_low": [-1.13, 0.86, 0.971],
            "ci_high": [-0.83, 0.94, 0.994],
        }
    )
    table = published_validation(published)
    assert table[["task", "judges"]].to_numpy().tolist() == [
        ["embodies_value", "nine models"],
        ["predicts_choice", "people"],
    ]
    assert table["accuracy"].tolist() == [0.987, 0.91]
