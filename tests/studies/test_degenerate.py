"""Respondents that go by a place, by a coin, or never answer: no sentence about them says what is not so."""

import re

import pandas as pd
import pytest

from deepvalues.ask import catalogue, on_record
from deepvalues.paper.sentences import Sentences
from deepvalues.studies.dvb import facts
from deepvalues.studies.dvb.analysis import orders, several_sets, statistics, verdicts
from deepvalues.studies.dvb.analysis.comparisons import control_gate
from deepvalues.studies.dvb.analysis.statistics import leave_one_out, sides_by_interval, sides_by_test
from deepvalues.studies.profiles import facts as profiles_facts
from deepvalues.studies.profiles import tables as profiles_tables
from deepvalues.studies.profiles.analysis import comparison, pair_profiles, responses
from deepvalues.studies.profiles.analysis.reference import synthetic_reference
from deepvalues.studies.svo import facts as svo_facts
from deepvalues.studies.svo.analysis import comparisons as svo_comparisons
from deepvalues.studies.svo.analysis import letter_scoring
from deepvalues.studies.svo.analysis import statistics as svo_statistics
from deepvalues.studies.svo.analysis.instrument import instrument
from deepvalues.studies.svo.respondents import reference_agents as svo_agents
from kept_numbers import saying, telling
from markdown_cells import rows, shown
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
        }
    )
    said, told = Sentences("models"), telling("models", facts)
    own = {"own": facts.own(table)}
    nothing = pd.DataFrame(columns=["model", "respondent", "arm", "n_examples", "rate"])
    hold_true(
        [
            *(said(name, own) for name in ("places", "without_evidence", "learned")),
            told("asked", how),
            told("same_dvgr", table),
            told("finding", table, nothing, how),
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
            saying("dvb")("sides", {**facts.span(by_model), **sides}),
            told("control", gate, "language model"),
            told("leave_one_out", leave_one_out(trials)),
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
    own = facts.own(verdicts.verdicts(orders.pairs(found)))
    told = Sentences("models")("learned", {"own": own})
    assert (
        "The model prefers the right option significantly at N = 4 on the control and the value probe only."
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
    anova, left_out = svo_comparisons.anova(trials, seed=1), svo_comparisons.left_out(trials)
    told = telling("svo", svo_facts)
    position = told("position", svo_statistics.position_bias(asked, seed=1))
    hold_true(
        [
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


# ---- studies 2 and 3 by letter probability ----


def by_place(row):
    return "A"


def one_letter(row):
    return "B"


def never(row):
    return None


def not_under_one_value(row):
    return None if getattr(row, "value", "") == "competitive" else "A"


def one_order_only(row):
    return None if getattr(row, "swapped", False) else "A"


def letter_answers(items, letters, rule, by_probability):
    """Answers of somebody who is certain, with probabilities of letters or in words."""
    choice = pd.Series([rule(row) for row in items.itertuples()], dtype=object)
    known = choice.notna() & by_probability
    shares = {f"p_{letter}": (choice == letter).astype(float).where(known) for letter in letters}
    status = choice.notna().map({True: "answered", False: "unparsable"})
    head = {"model": rule.__name__, "item": items["id"].to_numpy(), "status": status, "choice": choice}
    return pd.DataFrame({**head, **shares, "mass": shares["p_A"] * 0 + 1, "unlisted": shares["p_A"] * 0})


def answers_of(name, rules, by_probability):
    study = catalogue.study(name)
    items = study.items("standard")
    letters = study.letter_choice.letters
    return items, pd.concat([letter_answers(items, letters, rule, by_probability) for rule in rules])


def hold_numbers(tables):
    """No number of a table is one that is none: what is not known is a dash."""
    for table in tables:
        assert not re.search(r"\b(?:nan|inf|None|NaN)\b|[-−]0?\.?0+\b(?!\.?\d)", table), table


RULES = [by_place, one_letter, never, not_under_one_value, one_order_only]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("by_probability", [True, False], ids=["by probability", "in words"])
@pytest.mark.parametrize(
    "rules", [*([rule] for rule in RULES), RULES], ids=[*(r.__name__ for r in RULES), "all"]
)
def test_study_2_by_letters(rules, by_probability):
    items, answers = answers_of("svo-letters", rules, by_probability)
    trials = letter_scoring.trials(items, answers)
    models, angles = (measure(trials, seed=1) for measure in (letter_scoring.by_model, letter_scoring.angles))
    hold_numbers([shown(models, "svo/letter_models"), shown(angles, "svo/letter_angles")])
    answering = [rule for rule in rules if rule is not never]
    assert list(models["model"]) == sorted(rule.__name__ for rule in answering)
    # Who goes by the letter meets each option once at it: the angle is that of the centre.
    assert angles["angle"].tolist() == pytest.approx([letter_scoring.centre()] * len(angles))
    assert (models["letter"] == models["model"].map({"one_letter": "B"}).fillna("A")).all()
    families = dict.fromkeys((rule.__name__ for rule in rules), "language model")
    said = telling("svo", svo_facts)("letters", models, families)
    hold_true([said])
    steered = [rule for rule in answering if rule is not not_under_one_value]
    if not steered:
        assert said.endswith("at a time under both the altruistic and the competitive value.")
    elif len(steered) == 1:
        assert said.startswith("Our language model hardly moves with the assigned value")
    else:
        assert said.startswith("Our three language models hardly move with the assigned value")
    assert ("by 0.0 of 77.65 degrees" in said) is bool(steered)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("by_probability", [True, False], ids=["by probability", "in words"])
@pytest.mark.parametrize(
    "rules", [*([rule] for rule in RULES), RULES], ids=[*(r.__name__ for r in RULES), "all"]
)
def test_study_3_by_pairs(rules, by_probability):
    items, answers = answers_of("profiles-pairs", rules, by_probability)
    stimuli = catalogue.study("profiles-pairs").stimuli
    names = {theme.key: theme.name for theme in stimuli.themes}
    pairs = pair_profiles.pairs(items, answers)
    worths, models = (
        measure(pairs, stimuli.keys) for measure in (pair_profiles.profiles, pair_profiles.by_model)
    )
    table = shown(profiles_tables.pairs(worths, models, names), "profiles/pair_models")
    hold_numbers([table])
    assert not models["claimed"].any(), "nobody of these has a profile"
    for row in rows(table):
        assert row[-len(names) :] == ["–"] * len(names)
        silent = row[0] in ("never", "one_order_only")
        assert row[2] == ("–" if silent else ".000"), "their two choices are never of one theme"
        assert row[5] == ("–" if silent else ".000" if row[0] == "one_letter" else "1.000")
