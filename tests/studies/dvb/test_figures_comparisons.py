"""Figures that compare, and intervals in tables: what is drawn, not pixels; the same bytes twice."""

import math

import numpy as np
import pandas as pd
import pytest

from deepvalues.core.number_format import MISSING
from deepvalues.paper.tables import intervals
from deepvalues.paper.theme import COLOURS, WIDTH, image
from deepvalues.studies.dvb.figures import comparisons as figures
from deepvalues.studies.dvb.figures.rates import rate_matrix
from legible import assert_legible

NAMES = {"dvb": "baseline", "dvb-explicit": "values first", "dvb-cot": "rationale first"}


@pytest.fixture
def levels():
    rows = [
        ("domain", "care_home", 0.2, 0.1, 0.3),
        ("domain", "school", 0.6, math.nan, math.nan),
        ("direction", "forward", 0.4, 0.3, 0.5),
        ("not shown", "x", 0.9, 0.8, 1.0),
    ]
    return pd.DataFrame(rows, columns=["factor", "level", "rate", "clustered_low", "clustered_high"])


@pytest.fixture
def matrix():
    models = ["one", "two", "three"]
    return pd.DataFrame([[1, 0.5, 0.25], [0.5, 1, math.nan], [0.25, math.nan, 1]], models, models)


@pytest.fixture
def wordings():
    rows = [
        (study, model, family, rate, rate - 0.1, rate + 0.1)
        for study, shift in zip(NAMES, (0.0, 0.1, 0.2), strict=True)
        for model, family, rate in (
            ("agent", "reference agent", 0.3 + shift),
            ("llm", "language model", 0.5 + shift),
        )
    ]
    columns = ["study", "model", "family", "dvgr", "clustered_low", "clustered_high"]
    # One model was not asked in one of the wordings.
    return pd.DataFrame(rows, columns=columns).drop(index=5)


@pytest.fixture
def printed():
    columns = {"study": list(NAMES), "published_dvgr": [0.3, 0.29, 0.28]}
    return pd.DataFrame({**columns, "published_low": [0.29, 0.28, 0.27], "published_high": [0.31, 0.3, 0.29]})


@pytest.fixture
def simulated():
    rows = [
        (item_set, "pooled", effects, method, 0.9 + place / 100)
        for item_set in ("standard", "full")
        for effects in ("none", "cells")
        for place, method in enumerate(("wilson", "clustered"))
    ]
    columns = ["item_set", "estimand", "effects", "method", "coverage"]
    return pd.DataFrame(rows, columns=columns).drop(index=7)


@pytest.fixture
def powers():
    rows = [
        (cells, true, min(1.0, cells * abs(true - 0.5) / 40)) for true in (0.4, 0.3) for cells in (50, 400)
    ]
    return pd.DataFrame(rows, columns=["cells", "true_dvgr", "power"])


@pytest.fixture
def drawn(levels, matrix, wordings, printed, simulated, powers):
    """A function that draws every figure anew."""
    methods = {"wilson": "Wilson", "clustered": "clustered"}
    return lambda: {
        "breakdown": figures.breakdown(
            levels,
            {"domain": "domain", "direction": "direction of the dimension"},
            {"domain": {"care_home": "care home"}, "direction": {"forward": "first pole preferred"}},
            "#123456",
        ),
        "agreement": figures.agreement(matrix),
        "variants": figures.variants(wordings, printed, NAMES),
        "coverage": figures.coverage(simulated, methods, ["none", "cells"]),
        "power": figures.power(powers),
        "rate_matrix": rate_matrix(matrix),
    }


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def dots(axes, colour=None):
    """(x, y) of every single marker."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_marker() not in ("None", "") and len(line.get_xdata()) == 1
        if colour in (None, line.get_color())
    ]


@pytest.mark.slow
def test_every_figure_has_the_same_bytes_when_drawn_again(drawn):
    first, second = drawn(), drawn()
    for name, figure in first.items():
        assert figure.get_figwidth() == WIDTH
        assert image(figure, "svg") == image(second[name], "svg"), name
        assert image(figure, "png") == image(second[name], "png"), name


def test_every_figure_is_legible(drawn):
    for figure in drawn().values():
        assert_legible(figure)


def test_a_breakdown_shows_the_factors_in_order_with_their_levels(drawn):
    (axes,) = drawn()["breakdown"].axes
    chance, *names = axes.texts
    assert chance.get_text() == "chance"
    assert [text.get_text() for text in names] == ["domain", "direction of the dimension"]
    assert labels(axes.get_yticklabels()) == ["care home", "school", "first pole preferred"]
    places = list(axes.get_yticks())
    assert places == sorted(places, reverse=True)
    assert dots(axes, "#123456") == list(zip([0.2, 0.6, 0.4], places, strict=True))
    low, high = axes.get_ylim()
    assert low < min(places)
    assert max(places) < high
    heights = [text.get_position()[1] for text in names]
    assert heights[0] > places[0] > places[1] > heights[1] > places[2]
    # One line for chance; a missing interval is drawn as nothing, its dot stays.
    bars = [line for line in axes.lines[1:] if len(line.get_xdata()) == 2]
    assert [list(line.get_xdata()) for line in bars[::2]] == [[0.1, 0.3], [0.3, 0.5]]
    assert np.isnan(bars[1].get_xdata().astype(float)).all()


def test_agreement_shows_each_pair_once(drawn):
    axes = drawn()["agreement"].axes[0]
    # The first model has no row and the last no column: they would be empty.
    assert labels(axes.get_xticklabels()) == ["one", "two"]
    assert labels(axes.get_yticklabels()) == ["two", "three"]
    notes = {tuple(int(place) for place in text.get_position()): text.get_text() for text in axes.texts}
    assert notes[(0, 0)] == ".50"
    assert notes[(0, 1)] == ".25"
    assert (1, 0) not in notes
    assert notes.get((1, 1), "") in ("", MISSING), "an agreement that is not there is no number"


@pytest.mark.parametrize("names", [[], ["one"]])
def test_agreement_of_one_model_is_a_sentence(names, recwarn):
    figure = figures.agreement(pd.DataFrame(math.nan, names, names))
    assert_legible(figure)
    (axes,) = figure.axes
    assert labels(axes.texts) == ["With one model there are no pairs to compare."]
    assert not axes.axison
    assert not recwarn


@pytest.mark.parametrize(("models", "numbers"), [(21, True), (36, False)])
def test_agreement_of_many_models_is_shaded_without_numbers(models, numbers):
    names = [f"a-model-with-a-long-name-{number:02d}" for number in range(models)]
    figure = figures.agreement(pd.DataFrame(np.full((models, models), 0.5), names, names))
    assert_legible(figure)
    assert bool(figure.axes[0].texts) == numbers


def test_variants_of_many_models_are_legible(printed):
    rows = [
        (study, f"a-model-with-a-long-name-{number:02d}", "language model", number / 20, 0.3, 0.6)
        for study in NAMES
        for number in range(20)
    ]
    columns = ["study", "model", "family", "dvgr", "clustered_low", "clustered_high"]
    assert_legible(figures.variants(pd.DataFrame(rows, columns=columns), printed, NAMES))


def test_variants_show_every_model_and_the_published_rates(drawn):
    (axes,) = drawn()["variants"].axes
    assert labels(axes.get_yticklabels()) == ["llm", "agent", "published, nine models"]
    assert labels(axes.get_legend().get_texts()) == list(NAMES.values())
    colours = [handle.get_color() for handle in axes.get_legend().legend_handles]
    assert len(set(colours)) == 3
    shown = [[x for x, _ in dots(axes, colour)] for colour in colours]
    assert shown[0] == [0.5, 0.3, 0.3]
    assert shown[1] == pytest.approx([0.6, 0.4, 0.29])
    assert math.isnan(shown[2][0])
    assert shown[2][1:] == pytest.approx([0.5, 0.28])
    assert len({y for _, y in dots(axes)}) == 9, "no marker hides another"


def test_coverage_has_a_panel_for_each_estimand_and_set(drawn):
    figure = drawn()["coverage"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        *["pooled rate,\nstandard set", "pooled rate,\nfull set"]
    ]
    for axes in figure.axes:
        assert labels(axes.get_xticklabels()) == ["none", "cells"]
        assert list(axes.lines[0].get_ydata()) == [0.95, 0.95]
    assert list(figure.axes[0].lines[2].get_ydata()) == [0.91, 0.91]
    # What belongs to one condition stands around it, one beside the other.
    first, second = (figure.axes[0].lines[place].get_xdata() for place in (1, 2))
    assert list(first) == [-0.2, 0.8]
    assert list(second) == [0.2, 1.2]
    last = list(figure.axes[1].lines[2].get_ydata())
    assert last[0] == 0.91
    assert math.isnan(last[1])
    assert labels(figure.legends[0].get_texts()) == ["Wilson", "clustered"]


def test_power_has_a_line_for_each_true_rate(drawn):
    (axes,) = drawn()["power"].axes
    *names, heading = [text.get_text().split() for text in axes.texts]
    assert names == [[".30"], [".40"]]
    assert heading == ["true", "DVGR"]
    lines = [line for line in axes.lines if line.get_color() == COLOURS["language model"]]
    assert [list(line.get_ydata()) for line in lines] == [
        pytest.approx([0.25, 1.0]),
        pytest.approx([0.125, 1.0]),
    ]
    assert labels(axes.get_xticklabels()) == ["50", "400"]
    assert axes.get_xlim()[0] < 50


def test_a_rate_matrix_keeps_rows_and_columns_as_they_come(matrix):
    figure = rate_matrix(matrix.set_axis(["b", "a", "c"]))
    axes = figure.axes[0]
    assert labels(axes.get_yticklabels()) == ["b", "a", "c"]
    assert labels(axes.get_xticklabels()) == ["one", "two", "three"]
    notes = [text.get_text() for text in axes.texts]
    assert [note for note in notes if note] == ["1.00", ".50", ".25", ".50", "1.00", ".25", "1.00"]


def test_intervals_are_written_from_the_columns_of_their_name():
    frame = pd.DataFrame({"low": [0.1, math.nan], "high": [0.25, math.nan]})
    named = frame.rename(columns={"low": "rate_low", "high": "rate_high"})
    assert intervals(frame) == intervals(named, "rate")
    assert intervals(frame)[1] == MISSING
    assert ".100" in intervals(frame)[0]
    assert ".250" in intervals(frame)[0]
    assert ".10" in intervals(frame, digits=2)[0]
    assert ".100" not in intervals(frame, digits=2)[0]
    wide = pd.DataFrame({"low": [-1.5], "high": [2.0]})
    (text,) = intervals(wide, bounded=False)
    assert "1.500" in text
    assert "2.000" in text
