"""Sentences on language models: each way that one can go, and none that lies without any."""

import math

import pandas as pd
import pytest

from deepvalues.ask.registry import CONTINUE, FREE, HEAD
from deepvalues.paper.sentences import Sentences
from deepvalues.studies.dvb import facts
from deepvalues.studies.dvb.analysis import several_sets
from deepvalues.studies.dvb.analysis import verdicts as rules
from deepvalues.studies.dvb.analysis.asked_read import ASKED, LAST, NULL, TOKENS
from deepvalues.studies.dvb.analysis.orders import PUBLISHED
from deepvalues.studies.dvb.analysis.several_sets import MODES
from deepvalues.studies.dvb.analysis.verdicts import CONTRACT
from kept_numbers import telling

NAN = math.nan
said, told = Sentences("models"), telling("models", facts)


def of_own(sentence, rows):
    """A sentence on the measures of the language models."""
    return said(sentence, {"own": facts.own(rows)}).replace("\u00a0", " ")


def how(*rows):
    """How models were asked: (model, billions, cells, mode, letter mass)."""
    columns = ["model", "billions", "cells", "mode", "letter_mass"]
    return pd.DataFrame(rows, columns=columns).assign(items=2200)


NOBODY = how()
ONE = how(("gpt-x", NAN, 400, MODES[FREE], NAN))
TWO = how(("a", 0.135, 100, MODES[CONTINUE], 0.93), ("b", 1.5, 200, MODES[CONTINUE], 0.99))


def table(*rows):
    """Rows of verdicts: each a mapping with model, verdict and measures; intervals not given are ± .01."""
    filled = []
    for row in rows:
        own = {"family": "language model", **row}
        for name, value in row.items():
            if name not in ("model", "verdict", "family") and f"{name}_low" in CONTRACT.columns:
                own = {f"{name}_low": value - 0.01, f"{name}_high": value + 0.01} | own
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
}
NO_TABLE = table()


def rates(*rows):
    """Rates as of asked against read, on 50 cells: (model, respondent, arm, N, rate)."""
    return pd.DataFrame(rows, columns=["model", "respondent", "arm", "n_examples", "rate"]).assign(
        cells=50, low=NAN, high=NAN
    )


def of_all_arms(respondent, n, deep, value, surface, model="a"):
    arms = ("deconfounded", deep), ("probe_value", value), ("probe_surface", surface)
    return [(model, respondent, arm, n, rate) for arm, rate in arms]


READ = rates(
    *of_all_arms(ASKED, 4, 0.5, 0.51, 0.52),
    *of_all_arms("head, mean", 4, 0.6, 0.7, 0.55),
    *of_all_arms("head, last", 4, 0.7, 0.8, 0.56),
    *of_all_arms(NULL, 4, 0.49, 0.5, 0.5),
    *of_all_arms(TOKENS, 4, 0.5, 0.6, 0.55),
    *of_all_arms("head, mean", 20, 0.9, 0.95, 0.6),
)
NOTHING_READ = rates()


# ---- who was asked ----


def test_models_of_unknown_or_larger_size_are_not_called_small():
    large = how(("a", 0.5, 400, MODES[FREE], NAN), ("b", 70.0, 400, MODES[FREE], NAN))
    for table_ in (ONE, large):
        assert "small" not in told("limitation", table_, 400)


def test_the_limitation_counts_models_and_cells():
    assert told("limitation", NOBODY, 400).startswith("Study 1 has no language model yet")
    assert told("limitation", ONE, 400) == (
        "Study 1 tests one language model. Its results say nothing about others."
    )
    assert told("limitation", TWO, 400) == (
        "Study 1 tests two language models, on 100 to 200 of 400 cells. Its results say nothing about "
        "others. "
        "These models are small, with at most 1.5 billion parameters."
    )
    assert told("limitation", TWO.head(1), 400).endswith("This model is small, with 0.1 billion parameters.")


def test_who_was_asked_and_how():
    assert told("asked", NOBODY) == "No language model was asked in Study 1."
    assert told("asked", ONE) == "We asked one language model on 400 cells (2,200 items): gpt-x."
    assert told("asked", TWO) == (
        "We asked two language models: a (100 cells, 2,200 items) and b (200 cells, 2,200 items). Both were "
        "asked by letter probability; over all items, their mean letter mass is .930 to .990."
    )
    more = TWO.assign(cells=50, items=[2200, 2600])
    assert told("asked", more).startswith(
        "We asked two language models on 50 cells: a (2,200 items) and b (2,600 items). Both"
    )
    assert "2 of 3 were asked by letter probability" in told("asked", pd.concat([ONE, TWO]))
    assert "It was asked by letter probability; over all items, its mean letter mass is .930." in told(
        "asked", TWO.head(1)
    )


# ---- what they do ----


def test_heads_and_learners_get_no_sentence():
    others = table(PLACE | {"family": HEAD}, VALUE | {"family": "text learner"})
    for sentence in ("places", "without_evidence", "learned"):
        assert of_own(sentence, others).endswith("is not known.")
        assert of_own(sentence, NO_TABLE) == of_own(sentence, others)


def test_places_and_whether_position_explains_them():
    chance = {"consistency_excess": 0.0}
    assert of_own("places", table(PLACE | chance)) == (
        "a nearly always took the first option. The model did not choose the same option in both orders "
        "detectably more often than position alone would give."
    )
    second = PLACE | {"model": "c", "first_option_rate": 0.03}
    found = of_own("places", table(PLACE | chance, VALUE | {"consistency_excess": 0.2}, second | chance))
    assert found == (
        "a and b nearly always took the first option, c the second. b chose the same option in "
        "both orders more often than position alone would give."
    )
    even = PLACE | chance | {"first_option_rate": 0.5}
    assert of_own("places", table(even, even | {"model": "b"})).startswith("Neither model chose")
    assert of_own("places", table(even, even, even)).startswith("No model chose")


def in_words(*rows):
    """Free replies: (model, share answered, excess over position, control); intervals are ± .01."""
    found = pd.DataFrame(rows, columns=["model", "answered", "consistency_excess", "control"])
    found = found.assign(tests=17, by_place=0.47, order_consistency=0.77)
    for name in ("consistency_excess", "control", "order_consistency"):
        found[f"{name}_low"], found[f"{name}_high"] = found[name] - 0.01, found[name] + 0.01
    return found


NO_PAIRS = pd.DataFrame(columns=["model", "arm", "n_examples", "sampled_agree"])


def test_what_sampling_letters_would_give_is_of_the_tests_in_free_text():
    readable = table(PLACE | {"readable": 1.0})
    rows = [
        ("a", "control", 4, 0.4),
        ("a", "deconfounded", 4, 0.5),
        ("a", "probe_value", 4, 0.9),
        ("a", "control", 20, 0.9),
    ]
    pairs = pd.DataFrame(rows, columns=list(NO_PAIRS))
    found = told("free", readable, in_words(("a", 1.0, 0.0, 0.5)), pairs)
    assert "letters sampled with the recorded probabilities would give .450, so" in found
    assert "Order consistency is .770;" in found


def test_free_replies_tell_what_was_learned_if_all_of_them_can_be_read():
    readable = table(PLACE | {"readable": 0.4}, VALUE | {"readable": 1.0})
    assert told("free", NO_TABLE, in_words(), NO_PAIRS) == "No language model was asked in free text."
    some = told("free", readable, in_words(("a", 0.4, 0.0, 0.9), ("b", 1.0, 0.0, 0.5)), NO_PAIRS)
    assert some == (
        "In free text, all replies of b can be read. None chose the same option in both orders detectably "
        "more often than position alone would give. None was above chance on the control."
    )
    both = told("free", readable, in_words(("a", 1.0, 0.3, 0.9), ("b", 1.0, 0.0, 0.5)), NO_PAIRS)
    assert "of a and b can be read. a chose the same option in both orders more often" in both
    assert both.endswith(
        "would give. a was above chance on the control, at a rate of .900 [.890, .910], uncorrected "
        "for the number of tests; by that, the verdict would be “learned, layer unclear”."
    )
    though = told("free", readable, in_words(("a", 1.0, 0.0, 0.9), ("b", 1.0, 0.0, 0.5)), NO_PAIRS)
    assert "of a and b can be read. Neither chose" in though
    assert "a was above chance on the control, at a rate of" in though
    partly = told("free", readable, in_words(("a", 0.4, 0.3, 0.9)), NO_PAIRS)
    assert partly == (
        "In free text, the share of replies that clearly name one option is .400 to 1.000. "
        "On the 17 tests (a selected subset) for which both replies of a can be read, its order consistency "
        "was "
        ".770 [.760, .780], more than the .470 that position alone would give."
    )


def judged(*rows):
    """Validation trials: (model, family, task, right answers of ten, one in each cell)."""
    columns = ["model", "family", "task", "cell", "followed"]
    trials = [(*row, cell, float(cell < right)) for *row, right in rows for cell in range(10)]
    return pd.DataFrame(trials, columns=columns)


def test_asked_outright_language_models_alone_are_counted():
    for nobody in (several_sets.together([]), judged(("g", "reference agent", "embodies_value", 10))):
        assert told("outright", nobody) == (
            "No language model was asked outright which option shows a value or a pole."
        )
    one = ("a", "language model", "embodies_value", 5), ("a", "language model", "embodies_pole", 9)
    found = told("outright", judged(*one, ("g", "reference agent", "embodies_value", 10)))
    assert found == (
        "Asked outright which of two options shows a value or a pole, the model is right, over both orders, "
        "at rates of .500 (values) and .900 (poles)."
    )
    chance = judged(*(("a", "language model", f"embodies_{layer}", 5) for layer in ("value", "pole")))
    assert told("outright", chance).endswith(
        "and .500 (poles); no interval lies above one half, so the question does not show that the model "
        "recognizes them. By our rule, the best verdict open to this model was “learned, layer unclear”."
    )
    two = told("outright", judged(*one, ("b", "language model", "embodies_value", 6)))
    assert "a pole (b was asked 10 of the 20 questions), the models are right" in two
    assert "questions" not in found
    assert "at rates of .500 to .600 (values) and" in two


def test_repeats_of_an_example_in_both_orders():
    assert of_own("without_evidence", table(PLACE)) == (
        "When the test was one of the examples, the model reproduced the choice shown there "
        "at a rate of .600 in the same order and .400 with the options exchanged."
    )
    apart = of_own("without_evidence", table(PLACE, VALUE | {"repeat_copy": 0.7}))
    assert "the models reproduced" in apart
    assert "at a rate of .600 to .700 in the same order and" in apart
    always = VALUE | {"repeat_copy_lean": 0.5, "repeat_copy_lean_low": NAN, "cells": 50}
    assert "(above chance for b)" in of_own("without_evidence", table(PLACE, always))
    copied = of_own("without_evidence", table(PLACE, VALUE | {"repeat_copy_lean": 0.2}))
    assert "in the same order (above chance for b) and .400 with the options exchanged." in copied
    assert of_own("without_evidence", table(PLACE | {"repeat_copy": NAN, "repeat_swapped": NAN})) == ""


def test_intervals_that_exclude_one_half_although_nothing_was_shown():
    assert of_own("nothing_shown", table(PLACE)) == (
        "With no examples or shuffled ones, none of the 2 intervals of the rate at which choices follow the "
        "value excludes one half."
    )
    assert of_own("nothing_shown", table(PLACE, VALUE | {"shuffled": 0.53})).endswith(
        "1 of the 4 intervals of the rate at which choices follow the value excludes one half (b, shuffled "
        "examples: .530 [.520, .540])."
    )
    not_asked = table(PLACE | {"prior": NAN, "shuffled": NAN})
    assert of_own("nothing_shown", not_asked).startswith("No language model was asked without examples")


def test_a_head_that_learned_both_layers_is_told_from_models_of_the_same_dvgr_by_its_control():
    head = {"model": "h-last", "family": HEAD, "verdict": "both", "dvgr": 0.495, "control": 0.8}
    far = head | {"model": "g-last", "dvgr": 0.6}
    found = told("same_dvgr", table(PLACE, far, head))
    assert found == (
        "The DVGR of the language models, .500, looks like that of h-last, a head that learned both layers: "
        ".495 [.485, .505]. The control tells them apart: accuracy is .500 "
        "for the models and .800 for the head."
    )
    assert facts.claims(table(PLACE, head))["dvgr_hides"]
    for others in ((VALUE, head), (PLACE, head | {"control": 0.5}), (PLACE, far), (PLACE,), (head,)):
        assert not facts.claims(table(*others))["dvgr_hides"]
    unlike = told("same_dvgr", table(VALUE, head))
    assert "differs from that of h-last, a head that learned both layers: .495" in unlike
    assert "Accuracy on the control is .900 for the models" in unlike
    for rows in (table(PLACE), table(head), table(PLACE, far)):
        assert told("same_dvgr", rows).startswith("No head that learned both layers has a DVGR of about one")


def test_learned_counts_who_is_above_and_tells_of_more_examples_where_asked():
    assert of_own("learned", table(PLACE, VALUE)) == (
        "1 of 2 models prefers the right option significantly at N = 4 on the control, 1 on the value probe "
        "and 2 on the surface probe."
    )
    more = {"dvgr": 0.6, "probe_value": 0.7, "probe_surface": 0.5, "control": 0.8}
    more = {f"{name}_n20": value for name, value in more.items()}
    told_of_more = "the DVGR is .600, and accuracy on control and probes is .500 to .800."
    some = of_own("learned", table(PLACE, VALUE | more))
    assert some.endswith(f"At N = 20, for the one model asked, {told_of_more}")
    assert of_own("learned", table(VALUE | more)).endswith(f"At N = 20, {told_of_more}")
    alone = of_own("learned", table(PLACE))
    assert alone == "The model prefers the right option significantly at N = 4 on the surface probe only."
    nowhere = PLACE | {"probe_surface_lean": 0.0}
    for models, who in (
        (
            "a",
            "On the control and the probes, the model's interval for the preference for the right option "
            "does not lie",
        ),
        (
            "ab",
            "On the control and the probes, neither model's interval for the preference for the right "
            "option lies",
        ),
        (
            "abc",
            "On the control and the probes, no model's interval for the preference for the right option lies",
        ),
    ):
        rows = [nowhere | {"model": name} for name in models]
        assert of_own("learned", table(*rows)) == f"{who} above zero."
    by_letter = {"letter_mass": 0.9, "cells": 200, "control_positive": 0.5, "probe_value_positive": 0.44}
    odds = of_own("learned", table(nowhere | by_letter | {"probe_surface_positive": 0.6}))
    assert odds == (
        "Log odds averaged over both orders, in which a constant preference for a letter cancels, favour the "
        "right option in .500 of the controls, .440 of the value probes and .600 of the surface probes. Of "
        "these 3 shares, 1 has an interval above one half, uncorrected (a, the surface probe: .600 [.588, "
        ".612]). On the control and the probes, the model's interval for the mean log odds does not lie "
        "above zero."
    )
    unread = dict.fromkeys(("dvgr", "control", "probe_value", "probe_surface"), NAN)
    assert of_own("learned", table(PLACE | unread)) == (
        "What was learned is not known: at N = 4, no reply to these tests could be read."
    )


# ---- what can be read ----


def test_what_heads_read_stands_beside_the_null():
    learner = {"model": "learner-words", "family": "text learner", "dvgr": 0.48}
    words = table(learner | {"probe_value": 0.54, "probe_surface": 0.62})
    assert told("read", NOTHING_READ, words) == "No head on hidden states is on record."
    found = told("read", READ, words)
    assert told("read", READ, NO_TABLE) == found
    assert found == (
        "At N = 4, on 50 cells, the accuracy of heads on hidden states is .700 to .800 on the value probe "
        "and .550 to .560 on the surface probe. With coin-flipped choices, both heads of a model pooled, it "
        "is .500 and .500."
    )


def test_the_null_of_heads_is_reported_with_its_control_and_the_intervals_off_one_half():
    null = rates(*of_all_arms(NULL, 4, 0.5, 0.5, 0.45), ("a", NULL, "control", 4, 0.44))
    wide = null.assign(low=null["rate"] - 0.04, high=null["rate"] + 0.04)
    found = facts.read(pd.concat([READ[READ["respondent"] != NULL], wide]), NO_TABLE)
    assert said("null_of_heads", found).replace("\u00a0", " ") == (
        "Two of the 4 intervals (for each model, the control, both probes and the DVGR) lie below one half "
        "and none above it; they are not independent, as all heads share the same coins."
    )


def test_verdicts_on_the_first_cells_are_counted():
    heads = [
        {"model": name, "family": HEAD, "verdict": "value", "cells": 50} for name in ("g-mean", "h-mean")
    ]
    few = [PLACE | {"cells": 50}, heads[0], heads[1] | {"verdict": "both"}]
    assert told("first_cells", table(PLACE, *heads), table(*few)) == (
        "On the first 50 cells alone, 1 of 1 language model and 1 of 2 heads on hidden states have the same "
        "verdict; that of "
        "h-mean is “learned both”."
    )
    same = told("first_cells", table(PLACE, *heads), table(few[0], *heads))
    assert same.endswith("and 2 of 2 heads on hidden states have the same verdict.")


def compared(*rows):
    """Differences at N = 4, ± .05: (respondent, other, arm, difference)."""
    table_ = pd.DataFrame(rows, columns=["respondent", "other", "arm", "difference"])
    ends = {"clustered_low": table_["difference"] - 0.05, "clustered_high": table_["difference"] + 0.05}
    return table_.assign(model="a", n_examples=4, **ends)


def gained(*rows):
    """Gains on the probes: (n_examples, other, respondent, measure, models, above)."""
    columns = ["n_examples", "other", "respondent", "measure", "models", "above"]
    return pd.DataFrame(rows, columns=columns)


#: Columns of comparisons of heads with others.
GAINED = [
    "model",
    "n_examples",
    "other",
    "respondent",
    "arm",
    "difference",
    "clustered_low",
    "clustered_high",
]


def test_intervals_of_gains_with_more_examples_are_counted():
    table_ = gained(
        (20, TOKENS, "head, mean", "value", 3, 1),
        (20, TOKENS, "head, last", "value", 3, 2),
        (20, TOKENS, "head, last", "surface", 3, 0),
        (20, TOKENS, "head, last", "apart", 3, 3),
        (20, "asked", "head, last", "value", 3, 3),
        (4, TOKENS, "head, last", "value", 3, 3),
    )
    own = (
        "At N = 20, with fewer cells, 3 of 6 gains over token embeddings have intervals above zero on the "
        "value probe, and none on the surface probe"
    )
    nothing = pd.DataFrame(columns=GAINED)
    assert told("gains", table_, nothing) == f"{own}."
    one = ("a", 4, TOKENS, "head, mean", "probe_value", 0.1, 0.02, 0.18)
    others = [("b", *one[1:5], 0.2, 0.1, 0.3), ("b", 20, *one[2:5], 0.4, 0.3, 0.5)]
    assert told("gains", table_, pd.DataFrame([one, *others], columns=GAINED)) == (
        "The gains over token embeddings on the value probe go from .100 [.020, .180] (a) to .200 [.100, "
        f".300] (b). {own}."
    )
    lexical = gained((20, "lexical", "head, last", "value", 3, 1))
    assert told("gains", pd.concat([table_, lexical]), nothing) == (
        f"{own}; of the gains over the best lexical learner, 1 and none."
    )
    nowhere = told("gains", pd.concat([table_, lexical.assign(above=0)]), nothing)
    assert nowhere.endswith("; of the gains over the best lexical learner, none has.")
    assert (
        told("gains", table_[4:], nothing) == "No head was compared with one on token embeddings at N = 20."
    )


def test_value_is_added_if_all_mean_states_gain_over_token_embeddings_on_the_value_alone():
    value, surface = (4, TOKENS, "head, mean", "value", 3, 3), (4, TOKENS, "head, mean", "surface", 3, 0)
    others = (4, TOKENS, "head, last", "value", 3, 0), (20, TOKENS, "head, mean", "value", 3, 0)
    assert facts.adds_value(gained(value, surface, *others))
    assert not facts.adds_value(gained((*value[:5], 2), surface))
    assert not facts.adds_value(gained(value, (*surface[:5], 1)))
    assert not facts.adds_value(gained(value)) and not facts.adds_value(gained())


def test_what_the_most_examples_add_is_told_without_the_nulls():
    head = {"value": 0.1, "surface": 0.02, "apart": 0.08}
    changes = {"head-a-mean": head, "learner-words": {**head, "apart": 0.01}, "head-a-last-shuffled": head}
    rows = [
        (model, n, measure, 50, change, change - 0.05, change + 0.05)
        for model, by_measure in changes.items()
        for n in (80, 320)
        for measure, change in by_measure.items()
    ]
    climbed = pd.DataFrame(
        rows, columns=["model", "n_examples", "measure", "cells", "difference", "low", "high"]
    )
    climbed.loc[climbed["n_examples"] == 80, "difference"] = 0.9
    assert told("ladder", climbed) == (
        "From N = 20 to N = 320, on 50 cells, 1 of 2 intervals for the change on the value probe minus that "
        "on the surface probe lies above zero and none below. As the wordings of a value or a pole recur, "
        "further examples may hold little that is new."
    )
    alike = climbed.assign(low=-0.1, high=0.1)
    assert told("ladder", alike).startswith(
        "More such examples, up to N = 320 on 50 cells, moved no respondent detectably towards a layer: all "
        "2 intervals for"
    )
    assert told("ladder", climbed[:0]) == "No head was asked with more than 20 examples."


def test_a_model_that_examples_make_choose_by_position_is_named():
    turned = PLACE | {"prior_consistency": 0.77}
    found = of_own("without_evidence", table(turned, VALUE | {"prior_consistency": 0.7}))
    assert found.startswith(
        "a chooses by position only with the examples (or only with a longer prompt): without them, the same "
        "option was chosen in both orders in .770 [.760, .780] of the tests, where position alone "
        "would give at most one half. "
    )
    both = of_own("without_evidence", table(turned, turned | {"model": "b"}))
    assert both.startswith("Two models choose by position only with the examples")
    assert "longer prompt" not in of_own("without_evidence", table(VALUE | {"prior_consistency": 0.7}))


def test_models_that_go_by_position_when_asked_outright_are_said_to():
    of_place = judged(*(("a", "language model", f"embodies_{layer}", 5) for layer in ("value", "pole")))
    assert told("outright", of_place.assign(followed=0.5)) == (
        "Asked outright which of two options shows a value or a pole, a goes by position as well: the "
        "accuracy over both orders is .500, so the question does not show that the model recognizes them. "
        "By our rule, the best verdict open to this model was “learned, layer unclear”."
    )


def test_a_verdict_that_all_heads_on_a_state_share_is_told():
    heads = [{"model": f"{name}-mean", "family": HEAD, "verdict": "value"} for name in "gh"]
    last = {"model": "h-last", "family": HEAD, "verdict": "both"}
    other = {"model": "g-last", "family": HEAD, "verdict": "layer_open"}
    null = {"model": "h-mean-shuffled", "family": HEAD, "verdict": "place"}
    assert (
        ".500. The verdict is “value learner” for heads on mean states and “learned both” for heads "
        "on the last token's state."
    ) in told("read", READ, table(*heads, null, last))
    apart = told("read", READ, table(*heads, null, last, other))
    assert "The verdict is “value learner” for heads on mean states." in apart


def test_lexical_learners_that_learned_are_counted_and_the_best_named():
    learner = {"family": "text learner", "verdict": "both"}
    rows = [
        learner | {"model": "learner-words", "probe_value": 0.6, "probe_surface": 0.7},
        learner | {"model": "learner-nearest", "verdict": "layer_open", "probe_value": 0.5},
        learner | {"model": "learner-words-tuned", "probe_value": 0.62, "probe_surface": 0.7},
        learner | {"model": "learner-characters", "verdict": "place"},
        {"model": "h-mean", "family": HEAD, "probe_value": 0.9},
    ]
    assert told("lexical", table(*rows)) == (
        "By the same rules, applied to accuracies, 3 of 4 lexical learners learned from the examples too, so "
        "the heads must be compared with them. The best of them is learner-words-tuned on the value probe "
        "and learner-words on the surface probe."
    )
    assert told("lexical", table(rows[3])) == (
        "By the same rules, applied to accuracies, none of 1 lexical learners learned from the examples."
    )
    assert told("lexical", NO_TABLE) == "No lexical learner has a verdict."


NO_STATES = compared()


def public(*rows):
    columns = ["model", "family", "dvgr", "low", "high"]
    rows += ((PUBLISHED, "language model", 0.302, 0.3, 0.305),)
    return pd.DataFrame(rows, columns=columns)


def test_public_prompts_by_family():
    assert told("public", public(), NO_STATES, []) == "No respondent was asked the public prompts."
    rows = [
        ("learner-words", "text learner", 0.495, 0.4, 0.6),
        ("learner-style", "text learner", 0.1, 0.0, 0.2),
        ("learner-encoder", "text learner", 0.8, 0.7, 0.9),
        ("a", "language model", 0.5, 0.4, 0.6),
        ("head-a-mean", HEAD, 0.67, 0.6, 0.7),
        ("head-a-last", HEAD, 0.55, 0.4, 0.6),
        ("head-a-tokens", HEAD, 0.52, 0.4, 0.6),
        ("head-a-mean-shuffled", HEAD, 0.51, 0.1, 0.3),
    ]
    states = compared(("head, mean", LAST, "deconfounded", 0.12))
    assert told("public", public(*rows), states, ["a", "b"]) == (
        "On the public prompts, the DVGR is .500 for the language models, .495 for the lexical learners, "
        ".800 for the learner on sentence embeddings, .670 for heads on mean states and .550 for heads on "
        "the last token's state. It thus depends on which state is read: it is .120 higher for mean states "
        "than for the last token's (1 of the 1 intervals lies above zero). The interval for head-a-mean "
        "lies above one half. "
        "b was not asked these prompts."
    )
    worse = told("public", public(*rows, ("head-b-last", HEAD, 0.36, 0.31, 0.46)), states, [])
    assert worse.endswith(
        "above zero). The interval for head-a-mean lies above one half; that for head-b-last lies below it."
    )
    alike = told("public", public(*rows), compared(("head, mean", LAST, "deconfounded", 0.02)), [])
    assert alike.endswith(
        " The DVGR of heads on mean states minus that of heads on the last token's state is .020 (none of "
        "the 1 intervals lies above zero). The interval for head-a-mean lies above one half."
    )
    assert "which state is read" not in alike + told("public", public(*rows), NO_STATES, [])


# ---- in short ----


def test_the_finding_names_models_verdicts_and_what_was_read():
    assert told("finding", NO_TABLE, READ, TWO) == "No language model was asked in Study 1."
    found = told("finding", table(PLACE, VALUE), READ, TWO)
    assert found == (
        "Given four examples, b mainly learned the value; a chose by position. Their DVGR was .500 to .660, "
        "and value-probe accuracy .500. On this probe, linear models fitted to such examples reached .700 "
        "to .800 on the hidden states of a, .600 on token embeddings."
    )
    own = told("finding", table(PLACE), READ, TWO)
    assert "On this probe, linear models fitted to such examples reached .700 to .800 on hidden states" in own
    encoder = {"model": "learner-encoder", "family": "text learner", "probe_value": 0.8}
    assert told("finding", table(PLACE, VALUE, encoder), READ, TWO).endswith(
        ".600 on token embeddings and .800 on sentence embeddings."
    )
    unread = told("finding", table(PLACE | {"dvgr": NAN}), READ, TWO)
    assert "position. No reply could be read. On this probe, linear models" in unread


@pytest.mark.parametrize(
    ("names", "who"), [("a", "a"), ("ab", "two language models (at most 1.5 billion parameters)")]
)
def test_one_verdict_for_all(names, who):
    rows = [PLACE | {"model": name} for name in names]
    found = told("finding", table(*rows), READ, TWO)
    assert found.startswith(
        f"Given four examples, {who} chose by position. {'Its' if who == 'a' else 'Their'} DVGR"
    )


@pytest.mark.parametrize("verdict", rules.NAMES)
def test_the_finding_on_two_models_of_one_verdict_fits_an_abstract(verdict):
    one = PLACE | {"verdict": verdict}
    other = one | {"model": "b", "order_consistency": 0.2, "dvgr": 0.6, "probe_value": 0.6}
    encoder = {"model": "learner-encoder", "family": "text learner", "probe_value": 0.8}
    found = told("finding", table(one, other, encoder), pd.concat([READ, READ.assign(model="b")]), TWO)
    assert ".600 on token embeddings and .800 on sentence embeddings." in found
    assert len(found.split()) <= 60


def test_heads_count_in_the_finding_only_with_the_examples_of_the_models():
    for read in (NOTHING_READ, READ[READ["n_examples"] == 20]):
        assert "heads" not in told("finding", table(PLACE, VALUE), read, TWO)


@pytest.mark.parametrize(
    ("rows", "by_position", "heads_learned"),
    [
        ([], False, False),
        ([("m", "language model", "place"), ("n", "language model", "place")], True, False),
        ([("m", "language model", "place"), ("n", "language model", "value")], False, False),
        ([("h-mean", HEAD, "both"), ("h-mean-shuffled", HEAD, "place")], False, True),
        ([("h-mean", HEAD, "both"), ("h-tokens", HEAD, "layer_open")], False, True),
        ([("h-mean", HEAD, "both"), ("g-last", HEAD, "undecided")], False, False),
        ([("h-mean", HEAD, "value"), ("h-mean-shuffled", HEAD, "surface")], False, False),
        ([("h-mean-shuffled", HEAD, "place"), ("h-tokens", HEAD, "value")], False, False),
    ],
)
def test_claims_on_all_models_and_all_heads(rows, by_position, heads_learned):
    found = table(*(dict(zip(("model", "family", "verdict"), row, strict=True)) for row in rows))
    claims = facts.claims(found)
    assert (claims["by_position"], claims["heads_learned"]) == (by_position, heads_learned)
    assert not claims["encoder_learned"]


@pytest.mark.parametrize("verdict", rules.LAYER_NAMED)
def test_the_claim_on_the_learner_on_embeddings(verdict):
    for given, claimed in {verdict: True, "layer_open": False}.items():
        found = table({"model": "learner-encoder", "family": "text learner", "verdict": given})
        assert facts.claims(found)["encoder_learned"] == claimed


def test_an_agent_whose_verdict_is_not_the_expected_one_is_named():
    rows = [{"model": name, "verdict": verdicts[0]} for name, verdicts in facts._AGENTS.items()]
    assert told("agents", table(*rows)).endswith(
        "All five agents with a simple rule get a verdict that their rule implies."
    )
    rows[-1] |= {"verdict": "no_capability"}
    assert told("agents", table(*rows, PLACE)).endswith(
        "All five agents with a simple rule get a verdict that their rule implies."
    )
    rows[-1] |= {"verdict": "value"}
    assert told("agents", table(*rows)).endswith(
        "Four of five agents with a simple rule get a verdict that their rule implies; that of agent-random "
        "is “value learner”."
    )
    assert told("agents", table(PLACE)) == "No reference agent with a simple rule has a verdict."
