"""Respondents that go by a place, by a coin, or never answer: no sentence about them says what is not so."""

import re

import pandas as pd
import pytest

from deepvalues.ask import catalogue, on_record
from deepvalues.paper.sentences import Sentences
from deepvalues.studies.dvb import facts, model_facts
from deepvalues.studies.dvb.analysis import orders, several_sets, statistics, verdicts
from deepvalues.studies.dvb.analysis.comparisons import control_gate
from deepvalues.studies.dvb.analysis.pooled_rates import leave_one_out, sides_by_interval, sides_by_test
from deepvalues.studies.profiles import facts as profiles_facts
from deepvalues.studies.profiles.analysis import comparison, responses
from deepvalues.studies.profiles.analysis.reference import synthetic_reference
from deepvalues.studies.svo import facts as svo_facts
from deepvalues.studies.svo.analysis import effects as svo_effects
from deepvalues.studies.svo.analysis import statistics as svo_statistics
from deepvalues.studies.svo.analysis.instrument import instrument
from deepvalues.studies.svo.respondents.agents import reference_agents as svo_agents
from kept_numbers import saying, telling
from svo_trials import scored

#: What a sentence says of a range that is none, of a share of one, or of a number that is none.
_FALSE = (
    re.compile(r"r(?:uns?|anges?) from (\S+)[^;.]*? to \1(?!\d)"),
    re.compile(r"\b(none|1|0) of 1\b"),
    re.compile(r"\bnan\b|–(?!\d)"),
    re.compile("equally well|unknown"),
)


def hold_true(told):
    for sentence in told:
        for pattern in _FALSE:
            assert not pattern.search(sentence), sentence


AGENTS = {
    "first": ["agent-first"],
    "random": ["agent-random"],
    "declining": ["agent-declining"],
    "prose": ["agent-prose"],
    "two that take the first": ["agent-first", "agent-value"],
}


@pytest.fixture(scope="module")
def items():
    return catalogue.study("dvb").items("n4-50")


@pytest.fixture(scope="module", params=[*AGENTS, "never"])
def trials(request, items):
    """Trials of agents that stand for language models; the one that never answers is read as silent."""
    names = AGENTS.get(request.param, ["agent-first"])
    models = [catalogue.registry().model(name) for name in names]
    found = several_sets.trials(items, on_record.questions_by_model("dvb", models, items))
    if request.param == "never":
        found = found.assign(status="unparsable", choice=None, followed=float("nan"))
    return found.assign(family="language model")


def test_study_1_by_verdicts(trials):
    table = verdicts.verdicts(orders.pairs(trials))
    how = pd.DataFrame(
        {
            "model": table["model"],
            "billions": 1.0,
            "cells": 50,
            "mode": "letters, reply begun",
            "items": 1100,
            "letter_mass": float("nan"),
            "read_anew": float("nan"),
        }
    )
    said, told = Sentences("models"), telling("models", model_facts)
    own = {"own": model_facts.own(table)}
    nothing = pd.DataFrame(columns=["model", "respondent", "arm", "n_examples", "rate"])
    hold_true(
        [
            *(said(name, own) for name in ("places", "without_evidence", "learned")),
            told("verdicts", table),
            told("asked", how, []),
            told("finding", how, table, nothing),
        ]
    )


def test_study_1_by_rates(trials):
    by_model = statistics.dvgr_by_model(trials)
    gate = control_gate(trials, n_examples=4)
    deep = trials[trials["arm"] == "deconfounded"]
    told = telling("dvb", facts)
    values = {value.id: value.name for value in catalogue.study("dvb").bank.values.values()}
    sides = {"by_test": sides_by_test(by_model), "by_interval": sides_by_interval(by_model)}
    hold_true(
        [
            saying("dvb")("sides", {"family": "language model", **facts.span(by_model), **sides}),
            told("control", gate, "language model", 0.8),
            told("leave_one_out", leave_one_out(trials)),
            told("layers", statistics.rates(trials, ["model", "arm", "n_examples"])),
            told("values", statistics.rates(deep, ["model", "v1"]), values),
        ]
    )


@pytest.mark.parametrize(
    "false",
    [
        "The 2 rates run from .500 (a) to .500 (b)",
        "The DVGR ranges from .500 (a) to .500 (b).",
        "none of 1 text learner falls",
        "the DVGR is –.",
        "With examples the DVGR is nan",
        "Both probes are answered about equally well.",
    ],
)
def test_what_is_not_so_would_be_found(false):
    with pytest.raises(AssertionError):
        hold_true([false])


def test_a_rate_that_is_1_in_every_cell_is_above_chance_for_certain(items):
    models = [catalogue.registry().model("agent-prose")]
    found = several_sets.trials(items, on_record.questions_by_model("dvb", models, items)).assign(
        family="language model"
    )
    own = model_facts.own(verdicts.verdicts(orders.pairs(found)))
    told = Sentences("models")("learned", {"own": own})
    assert (
        "a significant preference for the right option at N = 4 on the control and the value probe only."
        in told
    )
    assert sides_by_interval(statistics.dvgr_by_model(found)).above == 1


# ---- study 2 ----


@pytest.mark.parametrize("rule", ["first", "random", "prose", "refusing"])
def test_study_2(rule):
    items = catalogue.study("svo").items("standard")
    items = items[items["mode"] == "controlled"].groupby("value", sort=False).head(12).reset_index(drop=True)
    agent = svo_agents(catalogue.study("svo").wording)[f"agent-svo-{rule}"]
    asked, trials = scored(catalogue.study("svo"), [agent], items)
    means = svo_statistics.mean_rationality(svo_statistics.value_rationality(trials, seed=1))
    anova, left_out = svo_effects.anova(trials, seed=1), svo_effects.left_out(trials)
    told = telling("svo", svo_facts)
    position = told("position", svo_statistics.position_bias(asked, seed=1))
    hold_true(
        [
            told("rationality", means),
            told("rationality_left_out", means),
            told("anova_left_out", anova, left_out),
            told("instrument", instrument(trials, items, {agent.name: agent})),
            position,
        ]
    )
    by_place = "significant position bias" in position and "no model" not in position
    assert by_place == (rule == "first")


# ---- study 3 ----


@pytest.mark.parametrize("rule", ["random", "malformed", "refusing", "flattening"])
def test_study_3(rule):
    study = catalogue.study("profiles")
    items = study.items("standard")
    models = [catalogue.registry().model(f"agent-profile-{rule}")]
    runs = responses.runs(study.stimuli, items, on_record.answers("profiles", models, items))
    themes = study.stimuli.keys
    given, reference = responses.responses(runs, themes), synthetic_reference(themes)
    table = comparison.fidelity_table(given, reference, themes, 50, 1)
    told = telling("profiles", profiles_facts)
    hold_true(
        [told("fidelity", table), told("runs", responses.missing(runs), {models[0].name: "reference agent"})]
    )
