"""Sentences on language models: each way that one can go, and none that lies without any."""

import math

import pandas as pd
import pytest

from deepvalues.ask.registry import CONTINUE, FREE, HEAD
from deepvalues.paper.sentences import Sentences
from deepvalues.studies.dvb import model_facts as facts
from deepvalues.studies.dvb.analysis.asked_read import ASKED, NULL
from deepvalues.studies.dvb.analysis.public_prompt_rates import PUBLISHED
from deepvalues.studies.dvb.analysis.several_sets import MODES
from deepvalues.studies.dvb.analysis.verdicts import CONTRACT
from kept_numbers import telling

NAN = math.nan
said, told = Sentences("models"), telling("models", facts)


def of_own(sentence, rows):
    """A sentence on the measures of the language models."""
    return said(sentence, {"own": facts.own(rows)}).replace("\u00a0", " ")


def how(*rows):
    """How models were asked: (model, billions, cells, mode, letter mass, read anew)."""
    columns = ["model", "billions", "cells", "mode", "letter_mass", "read_anew"]
    return pd.DataFrame(rows, columns=columns).assign(items=2200)


NOBODY = how()
ONE = how(("gpt-x", NAN, 400, MODES[FREE], NAN, NAN))
TWO = how(("a", 0.135, 100, MODES[CONTINUE], 0.93, 0.4), ("b", 1.5, 200, MODES[CONTINUE], 0.99, 0.3))


def table(*rows):
    """Rows of verdicts: each a mapping with model, verdict and measures; intervals are ± .01."""
    filled = []
    for row in rows:
        own = {"family": "language model", **row}
        for name, value in row.items():
            if name not in ("model", "verdict", "family") and f"{name}_low" in CONTRACT.columns:
                own |= {f"{name}_low": value - 0.01, f"{name}_high": value + 0.01}
        filled.append(own)
    return pd.DataFrame(filled, columns=list(CONTRACT.columns)).astype(
        {name: float for name, each in CONTRACT.columns.items() if str(each.dtype) == "float64"}
    )


PLACE = {
    "model": "a",
    "verdict": "place",
    "order_consistency": 0.1,
    "by_place": 0.12,
    "first_option_rate": 0.9,
    "dvgr": 0.5,
    "control": 0.5,
    "probe_value": 0.5,
    "probe_surface": 0.51,
    "prior": 0.5,
    "shuffled": 0.5,
    "repeat_copy": 0.6,
    "repeat_swapped": 0.4,
    "control_lean": 0.0,
    "probe_value_lean": 0.0,
    "probe_surface_lean": 0.2,
}
VALUE = PLACE | {
    "model": "b",
    "verdict": "value",
    "order_consistency": 0.7,
    "dvgr": 0.66,
    "control": 0.9,
    "control_lean": 0.5,
    "probe_value_lean": 0.5,
    "dvgr_minus_lexical": 0.1,
}
NO_TABLE = table()


def rates(*rows):
    """Rates as of asked against read: (model, respondent, arm, N, rate)."""
    return pd.DataFrame(rows, columns=["model", "respondent", "arm", "n_examples", "rate"])


def of_all_arms(respondent, n, deep, value, surface, model="a"):
    arms = ("deconfounded", deep), ("probe_value", value), ("probe_surface", surface)
    return [(model, respondent, arm, n, rate) for arm, rate in arms]


READ = rates(
    *of_all_arms(ASKED, 4, 0.5, 0.51, 0.52),
    *of_all_arms("head, mean", 4, 0.6, 0.7, 0.55),
    *of_all_arms("head, last", 4, 0.7, 0.8, 0.56),
    *of_all_arms(NULL, 4, 0.49, 0.5, 0.5),
    *of_all_arms("head, mean", 20, 0.9, 0.95, 0.6),
)
NOTHING_READ = rates()


# ---- the paper as a whole ----


@pytest.mark.parametrize(
    ("asked", "read", "about"),
    [
        (False, True, "a reproducible instrument, checked with agents and text learners"),
        (True, False, "what language models learn from watching a person choose"),
        (True, True, "what language models choose when asked, and what can be read from them"),
    ],
)
def test_the_title_follows_from_who_answered(asked, read, about):
    assert said("title", {"asked": asked, "read": read}) == f"Deep values or the surface of choices: {about}"


def test_the_scope_names_sizes_and_controls():
    assert "no finding about language models" in told("scope", NOBODY, ["text learner"])
    assert told("scope", ONE, []) == "No local model stands beside them as a control."
    assert told("scope", ONE, ["reference agent"]).startswith(
        "Reference agents, which are not language models,"
    )
    assert told("scope", TWO, ["text learner", HEAD]) == (
        "These models are small, of 1.5 billion parameters at most. Text learners and heads on hidden "
        "states, which are not language models, stand beside them as controls."
    )


def test_models_of_unknown_or_larger_size_are_not_called_small():
    large = how(("a", 0.5, 400, MODES[FREE], NAN, NAN), ("b", 70.0, 400, MODES[FREE], NAN, NAN))
    for table_ in (ONE, large):
        assert "small" not in told("scope", table_, ["text learner"])


def test_the_limitation_counts_models_and_cells():
    assert told("limitation", NOBODY, 400).startswith("Study 1 has no language model")
    assert "Study 1 asks 1 language model, in the version" in told("limitation", ONE, 400)
    assert "Study 1 asks 2 language models, on 100 to 200 of 400 cells, in" in told("limitation", TWO, 400)


def test_who_was_asked_and_who_was_not():
    assert told("asked", NOBODY, []) == "No language model was asked in Study 1."
    assert told("asked", NOBODY, ["x", "y"]).endswith("Of the paper's list 2 language models were not asked.")
    assert told("asked", ONE, ["x"]) == (
        "1 language model was asked: gpt-x (400 cells, 2,200 items). Of the paper's list 1 language model "
        "was not asked."
    )
    assert told("asked", TWO, []) == (
        "2 language models were asked: a (100 cells, 2,200 items) and b (200 cells, 2,200 items). 2 of 2 "
        "were asked by letter probability; the letters have a mean probability of .930 to .990 together, "
        "and .300 to .400 of the prompts' tokens had to be read anew."
    )


# ---- what they do ----


def test_the_verdicts_come_in_the_order_of_the_rules_with_what_they_mean():
    assert told("verdicts", NO_TABLE) == "There is no language model to give a verdict on."
    one = told("verdicts", table(PLACE))
    assert one.startswith("At N = 4 the verdict is “chooses a place” for a. Chooses a place: its two choices")
    two = told("verdicts", table(PLACE, VALUE))
    assert two.startswith(
        "At N = 4 the verdicts are “value learner” for b and “chooses a place” for a. Value learner: it"
    )


def test_heads_and_learners_get_no_sentence():
    others = table(PLACE | {"family": HEAD}, VALUE | {"family": "text learner"})
    assert told("verdicts", others).startswith("There is no language model")
    for sentence in ("places", "without_evidence", "learned"):
        assert of_own(sentence, others).endswith("is not known.")
        assert of_own(sentence, NO_TABLE) == of_own(sentence, others)


def test_places_stand_beside_what_place_alone_would_give():
    assert of_own("places", table(PLACE)) == (
        "The share of tests on which the two orders have the same option chosen is .100 [.090, .110] (a), "
        "where going by place alone would give .120; the rate of first options is .900 [.890, .910] (a)."
    )
    both = of_own("places", table(PLACE, VALUE))
    assert "runs from .100 [.090, .110] (a) to .700 [.690, .710] (b)" in both
    assert "the rate of first options is .900 for all" in both


def test_without_evidence_says_what_was_not_asked():
    found = of_own("without_evidence", table(PLACE | {"prior": NAN}))
    assert found.startswith(
        "Without examples the rate of deep options is not known, and with shuffled ones it is .500"
    )


def test_learned_counts_who_is_above_and_tells_of_more_examples_where_asked():
    found = of_own("learned", table(PLACE, VALUE))
    assert (
        "preferred for certain by 1 of 2 on the control, 1 of 2 on the value probe and 2 of 2 on the surface"
        in found
    )
    assert "The DVGR less that of the lexical learners is .100" in found
    assert "N = 20" not in found
    more = {"dvgr_n20": 0.6, "probe_value_n20": 0.7, "probe_surface_n20": 0.5}
    assert "At N = 20 the DVGR is .600 [.590, .610] (b), the value probe is .700" in of_own(
        "learned", table(PLACE, VALUE | more)
    )
    alone = of_own("learned", table(PLACE))
    assert "preferred for certain on the surface probe alone." in alone
    nowhere = of_own("learned", table(PLACE | {"probe_surface_lean": 0.0}))
    assert "preferred for certain nowhere." in nowhere
    assert "lexical" not in alone


# ---- what can be read ----


def test_what_heads_read_stands_beside_the_null_and_the_models():
    assert told("read", NOTHING_READ) == "No head on hidden states is on record."
    assert told("read", READ) == (
        "With N = 4, heads on the hidden states of a have a DVGR of .600 to .700, a value probe of .700 to "
        ".800 and a surface probe of .550 to .560; shuffled choices leave .490, .500 and .500; the models "
        "when asked have .500, .510 and .520. With N = 20, heads on the hidden states of a have a DVGR of "
        ".900, a value probe of .950 and a surface probe of .600."
    )


def test_of_many_numbers_of_examples_the_ends_are_told():
    many = rates(*(row for n in (4, 20, 80, 320) for row in of_all_arms("head, mean", n, 0.6, 0.6, 0.6)))
    found = told("read", many)
    assert "N = 4," in found
    assert "N = 320," in found
    assert "N = 20," not in found


def public(*rows):
    columns = ["model", "family", "dvgr", "wilson_low", "wilson_high"]
    rows += ((PUBLISHED, "language model", 0.302, 0.3, 0.305),)
    return pd.DataFrame(rows, columns=columns)


def test_public_prompts_by_family():
    assert told("public", public()) == "Nobody was asked the public prompts."
    found = told(
        "public",
        public(
            ("learner-words", "text learner", 0.495, 0.4, 0.6),
            ("learner-style", "text learner", 0.1, 0.0, 0.2),
            ("a", "language model", 0.5, 0.4, 0.6),
            ("head-a-mean", HEAD, 0.67, 0.6, 0.7),
            ("head-a-mean-shuffled", HEAD, 0.2, 0.1, 0.3),
        ),
    )
    assert found == (
        "On public prompts of the published kind the DVGR of the lexical learners is .495 [.400, .600] "
        "(learner-words); that of the language models asked is .500 [.400, .600] (a); that of the heads is "
        ".670 [.600, .700] (head-a-mean); the published language models have .302 on theirs."
    )


# ---- in short ----


def test_the_finding_names_models_verdicts_and_what_was_read():
    assert told("finding", NOBODY, NO_TABLE, READ) == "No language model was asked in Study 1."
    found = told("finding", TWO, table(PLACE, VALUE), READ)
    assert found == (
        "The language models asked (a and b) met every test in both orders of its options. By rules fixed "
        "before the answers came the verdict is “value learner” for b and “chooses a place” for a. With 4 "
        "examples the DVGR is .500 to .660, and the two orders agree on .100 to .700 of the tests. Linear "
        "heads fitted to the hidden states of these models, on the same examples, have a DVGR of .900 with "
        "20 examples."
    )


@pytest.mark.parametrize(
    ("rows", "who"),
    [((PLACE, PLACE | {"model": "b"}), "“chooses a place” for all"), ((PLACE,), "“chooses a place” for it")],
)
def test_one_verdict_for_all(rows, who):
    found = told("finding", TWO.iloc[: len(rows)], table(*rows), READ[READ["n_examples"] == 4])
    assert f"the verdict is {who}. With" in found
    assert found.endswith("with 4 examples, where shuffled choices leave .490.")


def test_without_heads_nothing_is_said_of_them():
    assert "heads" not in told("finding", TWO, table(PLACE, VALUE), NOTHING_READ)
