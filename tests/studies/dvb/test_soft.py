"""The probabilities of the options: replies made by hand in the protocol's shape, and reference agents."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.core import paths
from deepvalues.studies.dvb.analysis.several_sets import trials
from deepvalues.studies.dvb.analysis.soft import weigh
from deepvalues.studies.dvb.respondents.agents import expected_rate
from deepvalues.studies.dvb.stimuli.design import ARMS


def token(text, p, **others):
    """A token with its alternatives: others' names stand for spaces by an underscore."""
    listed = {text: p} | {name.replace("_", " "): q for name, q in others.items()}
    entries = [{"token": name, "logprob": math.log(q) if q else -9999.0} for name, q in listed.items()]
    return {**entries[0], "bytes": None, "top_logprobs": entries}


def reply(*tokens):
    return {"content": list(tokens), "refusal": None}


# ---- one reply ----


@pytest.mark.parametrize(
    ("logprobs", "p_a"),
    [
        (reply(token("A", 0.6, B=0.2)), 0.75),
        (reply(token("Option", 1.0), token(" B", 0.9, _A=0.1)), 0.1),
        (reply(token("**", 0.9, Option=0.1), token("Option", 1.0), token(" A", 0.5, _B=0.5)), 0.5),
        (reply(token(" (B", 0.7, **{"_(A": 0.3})), 0.3),
        (reply(token("Option A", 0.8, **{"Option B": 0.2})), 0.8),
        (reply(token("option", 1.0), token(" b", 0.5, _a=0.2, _B=0.2, _A=0.1)), 0.3),
        (reply(token("ĠA", 0.5, **{"ĠB": 0.5})), 0.5),
        (reply(token("▁B", 0.8, **{"▁A": 0.2})), 0.2),
        (reply(token("A", 0.4, _A=0.2, B=0.1, _B=0.1, Option=0.2)), 0.75),
        (reply(token("B", 1.0, A=0.0)), 0.0),
        # Only the first letter decides; what follows is its echo.
        (reply(token("A", 0.6, B=0.4), token(",", 1.0), token(" B", 1.0, _A=0.0)), 0.6),
        # The word "a" before "option" is no letter, and neither is what a model thinks.
        (reply(token("a", 1.0), token(" user", 1.0), token(" B", 0.9, _A=0.1)), 0.1),
        (
            reply(token("<think>", 1), token(" B", 1, _A=0), token("</think>", 1), token("A", 0.7, B=0.3)),
            0.7,
        ),
    ],
)  # fmt: skip
def test_the_deciding_token(logprobs, p_a):
    found = weigh(logprobs)
    assert found.p_a == pytest.approx(p_a)


def test_mass_is_what_both_letters_have_before_they_are_normalised():
    assert weigh(reply(token("A", 0.6, B=0.2, I=0.1))).mass == pytest.approx(0.8)


def test_with_one_letter_listed_its_share_is_unknown():
    found = weigh(reply(token("B", 0.9, Option=0.04)))
    assert math.isnan(found.p_a)
    assert found.mass == pytest.approx(0.9)


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
    assert all(map(math.isnan, weigh(logprobs)))


def test_an_impossible_letter_has_no_share():
    assert math.isnan(weigh({"content": [{"token": "A", "logprob": -9999.0, "top_logprobs": []}]}).p_a)


# ---- local agents, asked with log probabilities ----


def test_an_agents_soft_dvgr_is_the_mean_of_its_own_probabilities(items_standard, agents, tmp_path):
    """agent-sensitive answers with known probabilities; what comes back over the protocol is their mean."""
    items = items_standard[items_standard["arm"] == "deconfounded"].sample(60, random_state=1)
    known = catalogue.registry().model("agent-sensitive")
    model = replace(known, parameters={**known.parameters, "logprobs": True, "top_logprobs": 5})
    run_query.query("dvb", [model], items, record_folder=tmp_path)
    found = trials(items, on_record.questions_by_model("dvb", [model], items, tmp_path)).set_index("item")
    expected = [
        agents[model.name].reply([{"role": "user", "content": prompt}], 1).alternatives["A"]
        for prompt in items["prompt"]
    ]
    assert list(found.loc[items["id"], "p_a"]) == pytest.approx(expected, abs=1e-8)


def test_the_soft_dvgr_of_the_sensitive_agent_is_what_its_rule_implies(agents):
    found = pd.read_csv(paths.RESULTS / "models" / "verdicts.csv", index_col="model")["soft_dvgr"]
    rate = expected_rate(agents["agent-sensitive"], ARMS["deconfounded"])
    assert found["agent-sensitive"] == pytest.approx(rate, abs=1e-5)
