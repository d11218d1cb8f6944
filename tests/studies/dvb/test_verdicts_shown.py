"""The table of respondents and the figure of their probes: what they show is what the frame says."""

import math

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from deepvalues.ask.registry import HEAD
from deepvalues.core.number_format import MISSING
from deepvalues.paper.theme import COLOURS, image
from deepvalues.studies.dvb import tables
from deepvalues.studies.dvb.analysis.verdicts import CONTRACT, LEXICAL
from deepvalues.studies.dvb.figures import comparisons
from legible import assert_legible
from markdown_cells import column, head, rows, to_the_right

TEXTS = {"verdict": "undecided", "scale": "log odds", "cells": 400}


def respondent(model, family="language model", **known):
    """A row of the table, all of whose measures are missing but those given (with ± .05)."""
    row = dict.fromkeys(CONTRACT.columns, math.nan) | TEXTS | {"model": model, "family": family}
    for name, value in known.items():
        row[name] = value
        if f"{name}_low" in row:
            row |= {f"{name}_low": value - 0.05, f"{name}_high": value + 0.05}
    return row


@pytest.fixture
def table():
    learner = {"family": "text learner", "probe_value": 0.55, "probe_surface": 0.56, "dvgr": 0.5}
    shown = [
        respondent("agent-first", "reference agent", verdict="place", order_consistency=0.0),
        *(respondent(name, **learner) for name in LEXICAL),
        respondent(
            "two",
            verdict="surface",
            by_place=0.42,
            letter_mass=0.9,
            order_consistency=0.6,
            prior=0.51,
            repeat_copy=0.7,
            control=0.75,
            probe_value=0.52,
            probe_surface=0.7,
            dvgr=0.4,
            dvgr_minus_shuffled=-0.1,
            probe_value_n20=0.5,
            probe_surface_n20=0.8,
            dvgr_n20=0.3,
            control_n20=0.8,
            shuffled_probe_value=0.49,
            shuffled_probe_surface=0.51,
            control_lean=0.9,
            control_positive=0.7,
        ),
        respondent("one", verdict="layer_open", probe_value=0.6, probe_surface=0.5, dvgr=0.5),
    ]
    return CONTRACT.validate(pd.DataFrame(shown))


def cell(text, row, name):
    models = column(text, head(text)[0])
    return column(text, name)[models.index(row)].replace("\u00a0", " ")


def test_respondents_by_family(table):
    text = tables.verdicts(table)
    assert column(text, "respondent") == ["one", "two", *sorted(LEXICAL), "agent-first"]
    assert cell(text, "two", "verdict") == "surface learner"
    assert cell(text, "two", "value probe") == ".520 [.470, .570]"
    assert cell(text, "agent-first", "DVGR") == MISSING
    assert to_the_right(text) == head(text)[2:]


def test_the_article_shows_no_null_of_a_head_and_few_learners():
    models = ["one", "head-one-mean", "head-one-mean-shuffled", "learner-style", "learner-encoder", *LEXICAL]
    shown = tables.in_article(pd.DataFrame({"model": models}))
    assert list(shown["model"]) == ["one", "head-one-mean", "learner-encoder", *LEXICAL]


def test_how_language_models_answer_by_letter_and_in_free_text(table):
    free = table[table["model"] == "two"].assign(answered=0.4, order_consistency=0.3)
    text = tables.answering(table, free)
    assert column(text, "model") == ["one", "two", "two"]
    assert column(text, "asked") == ["letter", "letter", "free text"]
    assert [each[:4] for each in column(text, "order consistency")[1:]] == [".600", ".300"]
    assert column(text, "answered")[2] == ".400"
    assert cell(text, "two", "2p(1 − p)") == ".420"
    assert to_the_right(text) == head(text)[2:]
    assert column(tables.answering(table, free[:0]), "asked") == ["letter", "letter"]


def test_an_estimate_without_interval_stands_alone(table):
    table[["order_consistency_low", "order_consistency_high"]] = math.nan
    text = tables.answering(table, table[:0])
    assert cell(text, "two", "order consistency") == ".600"


def test_without_evidence(table):
    text = tables.without_evidence(table)
    arms = ["prior", "prior, order consistency", "shuffled", "repeat, copy", "repeat, swapped", "control"]
    assert head(text) == ["respondent", *arms]
    assert cell(text, "two", "repeat, copy") == ".700 [.650, .750]"


def test_learned_at_both_n(table):
    at_4, at_20 = tables.learned(table), tables.learned(table, 20)
    assert cell(at_4, "two", "DVGR − shuffled") == "−.100 [−.150, −.050]"
    assert cell(at_20, "two", "DVGR") == ".300 [.250, .350]"
    assert column(at_20, "respondent") == ["two"]
    assert "control" in head(at_20)


def test_what_verdicts_rest_on(table):
    text = tables.verdict_rules(table)
    assert cell(text, "two", "control") == "0.90 [0.85, 0.95]"
    assert cell(text, "two", "control, positive") == ".700 [.650, .750]"
    assert len(rows(text)) == len(table)


# ---- the figure ----


ASKED_COLOUR, HEAD_COLOUR = COLOURS["language model"], COLOURS[HEAD]


def marks(axes, colour):
    """Where a colour's marks stand in a panel."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", "none", "")]
    return [
        (float(x), float(y))
        for line in lines
        if to_hex(line.get_color()) == to_hex(colour)
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def test_each_model_has_a_panel_with_stages_and_arrows(table):
    figure = comparisons.probes(table)
    assert_legible(figure)
    one, two = figure.axes
    assert [axes.get_title("left") for axes in figure.axes] == ["one", "two"]
    assert marks(one, ASKED_COLOUR) == [(0.6, 0.5)]
    assert marks(two, ASKED_COLOUR) == [(0.49, 0.51), (0.52, 0.7), (0.5, 0.8)]
    arrows = [text for text in two.texts if text.arrow_patch is not None]
    assert [(arrow.xyann, arrow.xy) for arrow in arrows] == [
        ((0.49, 0.51), (0.52, 0.7)),
        ((0.52, 0.7), (0.5, 0.8)),
    ]
    assert two.get_xlim() == two.get_ylim()


def test_heads_stand_beside_their_model_and_their_null_is_left_out(table):
    heads = [
        respondent(f"head-one-mean{end}", HEAD, probe_value=value, probe_surface=0.6, dvgr=0.5)
        for end, value in (("", 0.8), ("-shuffled", 0.4))
    ]
    figure = comparisons.probes(pd.concat([table, pd.DataFrame(heads)], ignore_index=True))
    assert [axes.get_title("left") for axes in figure.axes] == ["one", "two"]
    assert marks(figure.axes[0], HEAD_COLOUR) == [(0.8, 0.6)]
    assert marks(figure.axes[1], HEAD_COLOUR) == []
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["the model, asked", "read: mean of tokens"]


def test_the_lexical_learners_are_grey_in_every_panel(table):
    figure = comparisons.probes(table)
    for axes in figure.axes:
        assert marks(axes, "#999999") == [(0.55, 0.56)] * len(LEXICAL)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    lexical = ["lexical learners, N = 4", "lexical learners, N = 20"]
    assert labels == ["the model, asked", "shuffled", "N = 4", "N = 20", *lexical, "chance"]


def test_four_models_fill_two_lines_and_leave_the_rest_empty(table):
    models = pd.concat([table[table["model"] == "two"].assign(model=name) for name in "abcd"])
    figure = comparisons.probes(models)
    assert [axes.get_title("left") for axes in figure.axes] == ["a", "b", "c", "d", "", ""]
    assert not any(axes.axison for axes in figure.axes[4:])


def test_without_language_models_the_figure_says_so(table):
    figure = comparisons.probes(table[table["family"] != "language model"])
    said = [text.get_text() for text in [*figure.texts, *figure.axes[0].texts]]
    assert said == ["no language model and no head on hidden states is on record"]


def test_the_same_bytes_on_every_run(table):
    assert image(comparisons.probes(table), "svg") == image(comparisons.probes(table), "svg")


def test_long_names_push_nothing_over_the_edge(table):
    named = table.assign(model=table["model"].replace({"one": "qwen2.5-coder-0.5b", "two": "x" * 28}))
    assert_legible(comparisons.probes(named))
