"""Tables of language models and heads: what stands in them, and what stands there without any."""

import math

import pandas as pd

from deepvalues.ask.registry import HEAD
from deepvalues.studies.dvb import tables
from deepvalues.studies.dvb.analysis import verdicts
from markdown_cells import rows, shown

NAN = math.nan


HOW = [
    "model", "endpoint", "served_as", "developer", "billions", "weights_sha256", "mode", "cells", "items",
    "letter_mass", "prompt_tokens", "read_anew",
]  # fmt: skip


def test_how_asked_shows_the_first_digits_of_the_sum_and_dashes_where_nothing_is_known():
    table = pd.DataFrame(
        [
            ("a", "llama.cpp", "a", "x", 0.135, "0123456789abcdef", "letters", 100, 2200, 0.93, 9, 0.35),
            ("b", "openai", "b-1", "y", NAN, None, "reply in words", 400, 8800, NAN, 9, NAN),
        ],
        columns=HOW,
    )
    first, second = rows(shown(tables.how_asked(table), "models/how_asked"))
    assert first == [
        "a",
        "llama.cpp",
        "a",
        "0.135",
        "0123456789ab",
        "letters",
        "100",
        "2,200",
        ".930",
        ".350",
    ]
    assert second == ["b", "openai", "b-1", "–", "–", "reply in words", "400", "8,800", "–", "–"]


def test_not_asked_are_language_models_and_heads_with_their_sets():
    table = pd.DataFrame(
        [
            ("dvb", "n4", "m", "language model", "not asked"),
            ("dvb-validation", "standard", "m", "language model", "not asked"),
            ("dvb", "n4", "h", HEAD, "not asked"),
            ("dvb", "n4", "l", "text learner", "not asked"),
            ("dvb", "n4", "k", "language model", "complete"),
        ],
        columns=["study", "item_set", "model", "family", "state"],
    )
    assert rows(tables.not_asked(table)) == [["m", "dvb/n4, dvb-validation/standard"], ["h", "dvb/n4"]]
    assert tables.not_asked(table[table["state"] == "complete"]).endswith("was asked.")


def test_asked_against_read_has_a_row_for_each_respondent_and_number_of_examples():
    table = pd.DataFrame(
        [
            ("m", "asked", "deconfounded", 4, 50, 0.5, 0.4, 0.6),
            ("m", "asked", "control", 4, 50, 0.6, 0.5, 0.7),
            ("m", "head, mean", "deconfounded", 20, 200, 1.0, NAN, NAN),
        ],
        columns=["model", "respondent", "arm", "n_examples", "cells", "rate", "low", "high"],
    )
    assert rows(
        shown(tables.asked_against_read(table), "models/asked_against_read").replace("\u00a0", " ")
    ) == [
        ["m", "asked", "4", "50", ".500 [.400, .600]", ".600 [.500, .700]", "–", "–"],
        ["m", "head, mean", "20", "200", "1.000", "–", "–", "–"],
    ]


def test_learner_rates_name_the_arms():
    table = pd.DataFrame(
        [("learner-words", "deconfounded", 4, 3, 12000, 0.5, 0.49, 0.51)],
        columns=["model", "arm", "n_examples", "designs", "items", "rate", "least", "most"],
    )
    assert rows(shown(tables.learner_rates(table), "models/learner_rates")) == [
        ["learner-words", "DVGR", "4", "3", "12,000", ".500", ".490", ".510"]
    ]


def test_without_anybody_there_is_still_a_table_for_the_caption():
    # A sentence alone would leave its caption to another table of the paper.
    table = tables.learned(pd.DataFrame(columns=list(verdicts.CONTRACT.columns)), 20)
    (row,) = rows(table)
    assert row[0].endswith(".")
    assert table.split("\n")[1].startswith("|:-")


def test_nobody_asked_and_no_head_leave_nothing_to_show():
    assert tables.how_asked(pd.DataFrame(columns=HOW)).empty
    assert tables.asked_against_read(pd.DataFrame()).empty
