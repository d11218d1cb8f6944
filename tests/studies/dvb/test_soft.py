"""The soft DVGR: replies made by hand in the protocol's shape, and reference agents."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.record import Answer
from deepvalues.stats.clusters import clustered, mean
from deepvalues.studies.dvb.analysis import statistics
from deepvalues.studies.dvb.analysis.soft import (
    UNKNOWN,
    all_soft_trials,
    probabilities,
    soft_dvgr,
    soft_trials,
    weigh,
)


def token(text, p, **others):
    """A token with its alternatives: others' names stand for spaces by an underscore."""
    listed = {text: p} | {name.replace("_", " "): q for name, q in others.items()}
    entries = [{"token": name, "logprob": math.log(q) if q else -9999.0} for name, q in listed.items()]
    return {**entries[0], "bytes": None, "top_logprobs": entries}


def reply(*tokens):
    return {"content": list(tokens), "refusal": None}


# ---- one reply ----


@pytest.mark.parametrize(
    ("logprobs", "letter", "p_a"),
    [
        (reply(token("A", 0.6, B=0.2)), "A", 0.75),
        (reply(token("Option", 1.0), token(" B", 0.9, _A=0.1)), "B", 0.1),
        (reply(token("**", 0.9, Option=0.1), token("Option", 1.0), token(" A", 0.5, _B=0.5)), "A", 0.5),
        (reply(token(" (B", 0.7, **{"_(A": 0.3})), "B", 0.3),
        (reply(token("Option A", 0.8, **{"Option B": 0.2})), "A", 0.8),
        (reply(token("option", 1.0), token(" b", 0.5, _a=0.2, _B=0.2, _A=0.1)), "B", 0.3),
        (reply(token("ĠA", 0.5, **{"ĠB": 0.5})), "A", 0.5),
        (reply(token("▁B", 0.8, **{"▁A": 0.2})), "B", 0.2),
        (reply(token("A", 0.4, _A=0.2, B=0.1, _B=0.1, Option=0.2)), "A", 0.75),
        (reply(token("B", 1.0, A=0.0)), "B", 0.0),
        # Only the first letter decides; what follows is its echo.
        (reply(token("A", 0.6, B=0.4), token(",", 1.0), token(" B", 1.0, _A=0.0)), "A", 0.6),
        # The word "a" before "option" is no letter, and neither is what a model thinks.
        (reply(token("a", 1.0), token(" user", 1.0), token(" B", 0.9, _A=0.1)), "B", 0.1),
        (
            reply(token("<think>", 1), token(" B", 1, _A=0), token("</think>", 1), token("A", 0.7, B=0.3)),
            "A",
            0.7,
        ),
    ],
)  # fmt: skip
def test_the_deciding_token(logprobs, letter, p_a):
    found = weigh(logprobs)
    assert (found.letter, found.covered) == (letter, True)
    assert (found.p_a, found.p_a_low, found.p_a_high) == pytest.approx((p_a, p_a, p_a))


def test_mass_is_what_both_letters_have_before_they_are_normalised():
    assert weigh(reply(token("A", 0.6, B=0.2, I=0.1))).mass == pytest.approx(0.8)


def test_a_letter_that_is_not_listed_is_bounded_by_what_the_list_leaves():
    found = weigh(reply(token("B", 0.9, Option=0.04)))
    assert (found.letter, found.covered) == ("B", False)
    assert math.isnan(found.p_a)
    assert (found.p_a_low, found.p_a_high) == pytest.approx((0, 0.06 / 0.96))
    alone = weigh({"content": [{"token": "A", "logprob": math.log(0.7), "top_logprobs": []}]})
    assert (alone.p_a_low, alone.p_a_high) == pytest.approx((0.7, 1))


@given(st.floats(0.01, 0.98), st.floats(0, 1), st.floats(0, 1))
def test_bounds_hold_whatever_is_hidden(p_b, part_a, part_listed):
    """A reply of B; A has a part of the rest and is not listed, another word has a part of what is left."""
    p_a = (1 - p_b) * part_a
    other = (1 - p_b - p_a) * part_listed
    found = weigh(reply(token("B", p_b, **({"Well": other} if other else {}))))
    assert found.p_a_low <= p_a / (p_a + p_b) <= found.p_a_high + 1e-12


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None, "refusal": None},
        reply(),
        reply(token("I", 1.0), token(" can't", 1.0)),
        reply(token("a", 1.0), token(" user", 1.0)),
        reply(token("Alpha", 1.0), token(" Band", 1.0)),
    ],
)
def test_without_a_deciding_token_nothing_is_known(logprobs):
    found = weigh(logprobs)
    assert found[:1] + found[2:4] + found[5:] == UNKNOWN[:1] + UNKNOWN[2:4] + UNKNOWN[5:]
    assert math.isnan(found.p_a)


def test_impossible_letters_leave_the_bounds_open():
    found = weigh({"content": [{"token": "A", "logprob": -9999.0, "top_logprobs": []}]})
    assert (found.letter, found.covered, found.p_a_low, found.p_a_high) == ("A", False, 0, 1)


# ---- many replies ----


def answer(item, logprobs):
    return Answer("k" + item, item, 0, 0, "x", None, "stop", 1, 1, logprobs, "m")


def made_up(letters, right, choice):
    """Trials of one model with items i0, i1 … in cells of two."""
    n = len(letters)
    frame = pd.DataFrame(
        {
            "model": "m",
            "item": [f"i{k}" for k in range(n)],
            "repeat": 0,
            "turn": 0,
            "arm": "deconfounded",
            "cell": [f"c{k // 2}" for k in range(n)],
            "right": right,
            "choice": choice,
        }
    )
    frame["followed"] = (frame["choice"] == frame["right"]).astype(float)
    return frame, probabilities([answer(f"i{k}", x) for k, x in enumerate(letters)])


def test_soft_dvgr_of_hand_made_answers():
    letters = [
        reply(token("A", 0.6, B=0.4)),
        reply(token("B", 0.8, A=0.2)),
        reply(token("A", 0.9)),
        None,
        reply(token("A", 0.7, B=0.3)),
        reply(token("A", 0.9, B=0.1)),
    ]
    # The last reply was read as B although its first letter is A: not covered.
    frame, weighed = made_up(letters, list("ABBABB"), list("ABAAAB"))
    trials = soft_trials(frame, weighed, "m")
    assert list(trials["covered"]) == [True, True, False, False, True, False]
    row = soft_dvgr(trials).iloc[0]
    assert (row["answered"], row["covered"], row["coverage"]) == (6, 3, 0.5)
    assert row["soft"] == pytest.approx((0.6 + 0.8 + 0.3) / 3)
    assert row["hard"] == pytest.approx(2 / 3)
    assert row["difference"] == pytest.approx(row["soft"] - row["hard"])
    assert row["mass"] == pytest.approx(1)
    # Bounds: A listed alone with .9 leaves target B between 0 and .1; the two unknown ones 0 to 1.
    assert row["bound_low"] == pytest.approx((0.6 + 0.8 + 0.3) / 6)
    assert row["bound_high"] == pytest.approx((0.6 + 0.8 + 0.1 + 1 + 0.3 + 1) / 6)


def test_intervals_are_clustered_by_cell():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.05, 0.95, 60)
    letters = [reply(token("A", x, B=1 - x)) for x in p]
    frame, weighed = made_up(letters, ["A"] * 60, ["A"] * 60)
    trials = soft_trials(frame, weighed, "m")
    row = soft_dvgr(trials).iloc[0]
    assert (row["clustered_low"], row["clustered_high"]) == pytest.approx(
        clustered(pd.Series(p), frame["cell"])
    )
    expected = mean((pd.Series(p) - frame["followed"]).to_numpy(), frame["cell"]).interval
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(tuple(expected))


def test_without_log_probabilities_there_is_no_soft_dvgr_and_the_bounds_say_so():
    frame, weighed = made_up([None] * 4, list("AABB"), list("ABAB"))
    row = soft_dvgr(soft_trials(frame, weighed, "m")).iloc[0]
    assert (row["covered"], row["coverage"], row["bound_low"], row["bound_high"]) == (0, 0, 0, 1)
    assert row[["soft", "clustered_low", "hard", "difference"]].isna().all()


def test_only_answered_trials_of_the_model_are_used():
    frame, weighed = made_up([reply(token("A", 0.6, B=0.4))] * 4, list("AABB"), list("ABAB"))
    frame.loc[0, "followed"] = np.nan
    both = pd.concat([frame, frame.assign(model="other")])
    trials = soft_trials(both, weighed, "m")
    assert list(trials["item"]) == ["i1", "i2", "i3"]
    assert set(trials["model"]) == {"m"}


class Put:
    """Items as put to a model, with what its record holds."""

    def __init__(self, name, answers):
        self.model = catalogue.registry().model("agent-value")
        self.model = replace(self.model, name=name)
        self.answers = answers

    def recorded(self):
        for place, found in enumerate(self.answers):
            yield place, 0, [found] if found else []


def test_all_models_with_log_probabilities_are_weighed():
    frame, _ = made_up([None] * 2, list("AB"), list("AA"))
    letters = [reply(token("A", 0.6, B=0.4)), reply(token("A", 0.9, B=0.1))]
    known = [answer(f"i{place}", each) for place, each in enumerate(letters)]
    asked = [Put("m", known), Put("silent", [answer("i0", None), None])]
    trials = all_soft_trials(pd.concat([frame, frame.assign(model="silent")]), asked)
    pd.testing.assert_frame_equal(trials, soft_trials(frame, probabilities(known), "m"))
    assert list(soft_dvgr(trials)["model"]) == ["m"]


def test_where_no_record_has_log_probabilities_the_table_has_no_rows():
    frame, weighed = made_up([None] * 2, list("AB"), list("AA"))
    trials = all_soft_trials(frame, [Put("m", [answer("i0", None)])])
    assert len(trials) == 0
    assert list(trials) == list(soft_trials(frame, weighed, "m"))
    table = soft_dvgr(trials)
    assert len(table) == 0
    assert list(table) == list(soft_dvgr(soft_trials(frame, weighed, "m")))


# ---- local agents, asked with log probabilities ----


def test_agents_soft_dvgr_is_the_mean_of_their_own_probabilities(items_standard, agents, tmp_path):
    """agent-sensitive answers with known probabilities; what comes back over the protocol is their mean."""
    items = items_standard[items_standard["arm"] == "deconfounded"].sample(60, random_state=1)
    known = catalogue.registry().model("agent-sensitive")
    model = replace(known, parameters={**known.parameters, "logprobs": True, "top_logprobs": 5})
    run_query.query("dvb", [model], items, record_folder=tmp_path)
    (asked,) = on_record.questions_by_model("dvb", [model], items, tmp_path)
    weighed = probabilities(a for _, _, found in asked.recorded() for a in found)
    trials = soft_trials(statistics.trials(items, asked.answers()), weighed, model.name)
    row = soft_dvgr(trials).iloc[0]
    expected = []
    for prompt, right in items[["prompt", "right"]].itertuples(index=False):
        p_a = agents[model.name].reply([{"role": "user", "content": prompt}], 1).alternatives["A"]
        expected.append(p_a if right == "A" else 1 - p_a)
    assert row["coverage"] == 1
    assert row["soft"] == pytest.approx(np.mean(expected), abs=1e-8)
    assert list(trials["soft"]) == pytest.approx(expected, abs=1e-8)
    assert row["difference_low"] < 0 < row["difference_high"]
    assert row["clustered_high"] - row["clustered_low"] < 0.2
