"""Respondents that go by a place, by a coin, or never answer: no sentence about them says what is not so."""

import re

import pandas as pd
import pytest
from kept_numbers import kept

from deepvalues import asking, catalogue
from deepvalues.dvb import model_sentences, orders, respondents, sentences, statistics, text, verdicts
from deepvalues.dvb.comparisons import control_gate
from deepvalues.dvb.focus import leave_one_out, sides_by_test
from deepvalues.manuscript.results import Results

#: What a sentence says of a range that is none, of a share of one, or of a number that is none.
_FALSE = (
    re.compile(r"runs? from (\S+)[^;.]*? to \1(?!\d)"),
    re.compile(r"\b(none|1|0) of 1\b"),
    re.compile(r"\bnan\b|–(?!\d)"),
    re.compile("equally well"),
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
    return catalogue.dvb().items("n4-50")


@pytest.fixture(scope="module", params=[*AGENTS, "never"])
def trials(request, items):
    """Trials of agents that stand for language models; the one that never answers is read as silent."""
    names = AGENTS.get(request.param, ["agent-first"])
    models = [catalogue.registry().model(name) for name in names]
    found = respondents.trials(items, asking.questions("dvb", models, items))
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
    nothing = pd.DataFrame(columns=["model", "respondent", "arm", "n_examples", "rate"])
    hold_true(
        [
            model_sentences.verdicts(table),
            model_sentences.places(table),
            model_sentences.without_evidence(table),
            model_sentences.learned(table),
            model_sentences.asked(how, []),
            model_sentences.finding(how, table, nothing),
        ]
    )


def test_study_1_by_rates(trials, tmp_path):
    by_model = statistics.dvgr_by_model(trials)
    gate = control_gate(trials, n_examples=4)
    deep = trials[trials["arm"] == "deconfounded"]
    results = Results("dvb", tmp_path)
    values = {value.id: value.name for value in catalogue.dvb().bank.values.values()}
    text.values(results, statistics.rates(deep, ["model", "v1"]), values)
    hold_true(
        [
            sentences.span(by_model),
            sentences.control(gate, "language model", 0.8),
            sentences.finding(
                list(by_model["model"]), [], 0.5, sides_by_test(by_model), sentences.passing(gate, 0.8)
            ),
            sentences.leave_one_out(leave_one_out(trials)),
            sentences.layers(statistics.rates(trials, ["model", "arm", "n_examples"])),
            kept(results)["text.values"],
        ]
    )
