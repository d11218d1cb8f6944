"""Respondents over several sets: trials with probabilities, how models were asked, layers they can't tell."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from deepvalues.ask import catalogue, on_record
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.record_counts import how_asked, how_asked_shown
from deepvalues.ask.registry import BARE, CONTINUE, FREE
from deepvalues.studies.dvb.analysis import several_sets
from deepvalues.studies.dvb.analysis.several_sets import MODES
from markdown_cells import shown

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b", "agent-value")
NAN = math.nan


@pytest.fixture(scope="module")
def items():
    return catalogue.study("dvb").items("smoke")


def answered(items, folder, name, mass=0.9, cached=30):
    """The questions put to a model that prefers A by the number of the item, each prompt of 100 tokens."""
    (asked,) = on_record.questions_by_model("dvb", [catalogue.registry().model(name)], items, folder)
    letters = asked.letter_choice is not None
    with asked.record.writing() as journal:
        for number, (conversation, repeat, _) in enumerate(asked.recorded()):
            p_a = (number + 1) / (len(items) + 1)
            short = {
                "letters": {"A": math.log(p_a * mass), "B": math.log((1 - p_a) * mass)},
                "rest": 1 - mass,
            }
            text = " A" if letters else "Option A"
            key = asked.ask.key(conversation, (), repeat)
            said = Answer(
                key, conversation.item, repeat, 0, text, None, "stop", 100, 1, letters and short, "m"
            )
            journal.append(said if letters else said._replace(logprobs=None))
            journal.log({"key": key, "cached_tokens": cached})
    return asked


def questions(items, folder, *names, **how):
    return [answered(items, folder, name, **how) for name in names]


def test_trials_bear_the_probability_of_a_and_the_mass(items, tmp_path):
    found = several_sets.trials(items, questions(items, tmp_path, "smollm2-135m", "agent-value"))
    by_letters, by_words = (found[found["model"] == name] for name in ("smollm2-135m", "agent-value"))
    expected = (np.arange(len(items)) + 1) / (len(items) + 1)
    assert by_letters["p_a"].to_numpy() == pytest.approx(expected)
    assert by_letters["mass"].to_numpy() == pytest.approx(0.9)
    assert (by_letters["choice"] == np.where(expected >= 0.5, "A", "B")).mean() > 0.98
    assert by_words["p_a"].isna().all()
    assert by_words["mass"].isna().all()
    assert set(found["family"]) == {"language model", "reference agent"}


def test_an_item_of_two_sets_counts_once(items, tmp_path):
    found = several_sets.trials(items, questions(items, tmp_path, "smollm2-135m"))
    both = several_sets.together([found, found.iloc[:7], several_sets.trials(items, [])])
    pd.testing.assert_frame_equal(both, found)


def test_several_sets_are_the_trials_of_each_in_their_order_and_each_record_is_read_once(
    items, tmp_path, monkeypatch
):
    names = "smollm2-135m", "agent-value"
    asked = questions(items, tmp_path, *names)
    models = [each.model for each in asked]
    few, first = items.iloc[::2].reset_index(drop=True), models[:1]
    sets = [
        on_record.Answered("dvb", "few", few, first, tmp_path),
        on_record.Answered("dvb", "smoke", items, models[::-1], tmp_path),
    ]
    expected = several_sets.together([several_sets.trials(each.items, each.questions()) for each in sets])
    read = []
    monkeypatch.setattr(on_record, "Record", lambda path: read.append(path) or Record(path))
    pd.testing.assert_frame_equal(several_sets.of_sets(sets), expected)
    assert [path.stem for path in read] == list(names)
    assert several_sets.of_sets([]).empty
    (only,) = sets[1].questions("language model")
    assert only.model.name == "smollm2-135m"


@pytest.mark.parametrize("sets", [[], [several_sets.trials(pd.DataFrame(), [])]])
def test_without_anybody_there_are_no_trials_but_their_columns(sets):
    nothing = several_sets.together(sets)
    assert nothing.empty
    assert {"model", "family", "cell", "arm", "p_a", "mass"} <= set(nothing)


def test_how_models_were_asked(items, tmp_path):
    asked = questions(items, tmp_path, *MODELS)
    # A set that shares its items with another one: nothing counts twice.
    how = several_sets.how_asked([*asked, *asked], several_sets.trials(items, asked))
    assert list(how["model"]) == ["qwen2.5-coder-0.5b", "smollm2-135m"], "language models only, in order"
    row = how.iloc[1]
    weights = catalogue.registry().model("smollm2-135m").weights
    assert row["weights_sha256"] == weights.sha256
    assert (row["mode"], row["cells"], row["items"]) == (MODES[CONTINUE], 5, len(items))
    assert row["letter_mass"] == pytest.approx(0.9)
    assert row["prompt_tokens"] == 100 * len(items)
    assert row["read_anew"] == pytest.approx(0.7)


def test_what_no_log_says_is_not_known(items, tmp_path):
    (asked,) = questions(items, tmp_path, "smollm2-135m")
    asked.record.log_path.unlink()
    how = several_sets.how_asked([asked], several_sets.trials(items, [asked]))
    assert math.isnan(how["read_anew"].iloc[0])


def test_the_log_tells_cached_tokens_of_answers_alone(items, tmp_path):
    (asked,) = questions(items, tmp_path, "smollm2-135m")
    lines = asked.record.log_path.read_text().splitlines()
    known = json.loads(lines[0])["key"]
    more = [
        {"key": "none", "cached_tokens": 1},
        {"key": known, "cached_tokens": 5},
        {"key": known, "error": "E"},
    ]
    asked.record.log_path.write_text("\n".join([*lines, *map(json.dumps, more), '{"key": "cut']))
    cached = asked.record.cached_tokens()
    assert len(cached) == len(items)
    assert cached[known] == 5, "the last attempt counts"
    assert asked.record.failures() == {}, "what has an answer has not failed"


def test_every_way_of_asking_has_words():
    assert set(MODES) == {CONTINUE, BARE, FREE}


# ---- layers that a respondent cannot tell ----


def judged(model, value, surface, cells=20):
    """Trials of the validation in which a share of the cells is right, in both orders."""
    return pd.DataFrame(
        [
            (model, task, f"c{cell}", float(cell < share * cells))
            for task, share in (("embodies_value", value), ("embodies_pole", surface))
            if share is not None
            for cell in range(cells)
            for _ in range(2)
        ],
        columns=["model", "task", "cell", "followed"],
    )


@pytest.mark.parametrize(
    ("value", "surface", "expected"),
    [
        (1.0, 1.0, {}),
        (0.9, 0.9, {}),
        (0.9, 0.55, {"m": ("surface",)}),
        (0.5, 0.9, {"m": ("value",)}),
        (0.2, 0.0, {"m": ("value", "surface")}),
        (0.9, None, {}),
    ],
)
def test_a_layer_is_untold_unless_it_is_told_above_chance(value, surface, expected):
    assert several_sets.unrecognized_layers(judged("m", value, surface)) == expected


def test_of_who_was_not_asked_nothing_is_said():
    assert several_sets.unrecognized_layers(judged("m", 0.9, 0.9).iloc[:0]) == {}


def test_how_a_model_was_asked_in_a_study_is_told_from_its_record_and_log(items, tmp_path):
    asked = questions(items, tmp_path, *MODELS)
    letters = next(each for each in asked if each.model.name == "smollm2-135m")
    keys = sorted(letters.record.answers)
    dated = [
        {"key": keys[0], "date": "2026-03-02T23:59:59+00:00", "fingerprint": "fp_b"},
        {"key": keys[1], "date": "2026-03-01T00:00:01+00:00", "fingerprint": "fp_a"},
        {"key": keys[2], "date": "2026-03-09T00:00:01+00:00", "error": "Timeout"},
        {"key": "of-another", "date": "2026-03-09T00:00:01+00:00", "fingerprint": "fp_z"},
    ]
    letters.record.log_path.write_text("".join(f"{json.dumps(line)}\n" for line in dated))
    how = how_asked([*asked, *asked])
    assert list(how["model"]) == ["qwen2.5-coder-0.5b", "smollm2-135m"], "no local model"
    words, row = how.iloc[0], how.iloc[1]
    assert (row["study"], row["endpoint"], row["mode"]) == ("dvb", "llama.cpp", CONTINUE)
    assert (row["replies"], row["log_probabilities"], row["read"]) == (len(items), 1, 1)
    assert (row["first"], row["last"], row["fingerprints"]) == ("2026-03-01", "2026-03-02", "fp_a, fp_b")
    assert "max_tokens 1, seed by item, temperature 0" in row["parameters"]
    assert pd.isna(words["first"])
    assert pd.isna(words["fingerprints"])
    assert "2026-03-01 to 2026-03-02" in shown(how_asked_shown(how), "query/how_asked")
    assert how_asked_shown(how_asked([])).empty


def test_a_model_that_never_answers_has_no_share_read(items, tmp_path):
    model = catalogue.registry().model("gpt-4o-mini-2024-07-18")
    (asked,) = on_record.questions_by_model("dvb", [model], items, tmp_path)
    assert how_asked([asked]).empty, "before it was asked"
    with asked.record.writing() as journal:
        for conversation, repeat, _ in asked.recorded():
            key = asked.ask.key(conversation, (), repeat)
            journal.append(Answer(key, conversation.item, repeat, 0, "", None, "stop", 9, 0, None, "m"))
    (row,) = how_asked([asked]).to_dict("records")
    assert (row["read"], row["log_probabilities"], row["mode"]) == (0, 0, "free")
