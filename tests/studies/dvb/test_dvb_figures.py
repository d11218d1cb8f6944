"""Figures and tables: what they show is what the frame says, and the same bytes on every run."""

import math
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.colors import to_hex

from deepvalues.core.number_format import MISSING, count, number, share
from deepvalues.paper import theme
from deepvalues.paper.tables import markdown
from deepvalues.paper.theme import (
    COLOURS,
    FAMILY_ORDER,
    WIDTH,
    family_mark,
    image,
    in_order,
    new_figure,
    spread,
    stable_ids,
)
from deepvalues.studies.dvb.figures import rates as figures
from legible import assert_legible
from markdown_cells import cells

MODELS = {
    "agent-value": "reference agent",
    "agent-first": "reference agent",
    "learner-words": "text learner",
    "learner-style": "text learner",
    "gpt-x": "language model",
    "published-1": "published",
}
ORDER = ["gpt-x", "learner-style", "learner-words", "agent-value", "agent-first", "published-1"]
RATES = dict(zip(MODELS, (1.0, 0.5, 0.31, 0.62, 0.24, 0.4), strict=True))


@pytest.fixture
def by_model():
    table = pd.DataFrame({"model": list(MODELS), "family": list(MODELS.values())})
    table["dvgr"] = list(RATES.values())
    table["wilson_low"], table["wilson_high"] = table["dvgr"] - 0.02, table["dvgr"] + 0.03
    known = ~table["dvgr"].isin([1.0])
    table["clustered_low"] = (table["dvgr"] - 0.04).where(known)
    table["clustered_high"] = (table["dvgr"] + 0.05).where(known)
    return table


@pytest.fixture
def by_arm():
    rows = [
        (model, family, arm, n, RATES[model] if arm == "deconfounded" else 0.75)
        for model, family in MODELS.items()
        for arm, n in figures.ARM_LABELS
    ]
    table = pd.DataFrame(rows, columns=["model", "family", "arm", "n_examples", "rate"])
    table["clustered_low"], table["clustered_high"] = table["rate"] - 0.05, table["rate"] + 0.05
    table.loc[(table["model"] == "gpt-x") & (table["arm"] == "control"), "rate"] = math.nan
    return table


@pytest.fixture
def by_n(by_arm):
    return by_arm[(by_arm["arm"] == "deconfounded") & (by_arm["family"] != "published")]


VALUES = {"justice": "justice", "security": "security", "self_improvement": "self-improvement"}


@pytest.fixture
def by_value():
    rows = [
        (model, family, value, round(0.1 * place + RATES[model] / 2, 2))
        for model, family in MODELS.items()
        for place, value in enumerate(VALUES)
    ]
    return pd.DataFrame(rows, columns=["model", "family", "v1", "rate"]).iloc[::-1]


NAMES = {f"d{number}": (f"Dimension {number}", "this", "that") for number in range(4)}


@pytest.fixture
def by_dimension():
    rows = [
        (name, direction, rate, rate - 0.1, rate + 0.1)
        for name, (forward, backward) in zip(
            NAMES, [(0.6, 0.4), (0.2, 0.3), (0.9, 0.7), (0.1, 0.1)], strict=True
        )
        for direction, rate in (("forward", forward), ("reversed", backward))
    ]
    return pd.DataFrame(rows, columns=["dimension", "direction", "rate", "clustered_low", "clustered_high"])


@pytest.fixture
def estimates():
    table = pd.DataFrame({"model": list(MODELS)[:4], "family": list(MODELS.values())[:4]})
    for name, values in {"b_v": [math.nan, 0.1, 0.8, 1.2], "b_s": [math.nan, -0.2, 1.6, 0.4]}.items():
        table[name] = values
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.3, table[name] + 0.3
    return table


@pytest.fixture
def drawn(by_model, by_arm, by_n, by_value, by_dimension, estimates):
    """A function that draws every figure anew."""
    return lambda: {
        "dvgr_by_model": figures.dvgr_by_model(by_model),
        "arms": figures.arms(by_arm),
        "dvgr_by_n": figures.dvgr_by_n(by_n),
        "dvgr_by_value": figures.dvgr_by_value(by_value, VALUES),
        "dvgr_by_dimension": figures.dvgr_by_dimension(by_dimension, NAMES),
        "sensitivities": figures.sensitivities(estimates),
    }


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def dots(axes):
    """(x, y, colour) of every single dot, whatever its shape."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_color())
        for line in axes.lines
        if line.get_marker() not in ("None", "") and len(line.get_xdata()) == 1
    ]


# ---- bytes ----


def test_a_font_of_the_machine_is_not_taken_for_the_bundled_one(monkeypatch, tmp_path):
    bundled = Path(mpl.get_data_path()) / "fonts" / "ttf"
    installed = tmp_path / "DejaVuSans.ttf"
    installed.write_bytes((bundled / "DejaVuSans.ttf").read_bytes())
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", [])
    manager.addfont(installed)
    assert Path(font_manager.findfont("DejaVu Sans")) == installed
    theme.use_bundled_fonts()
    assert Path(font_manager.findfont("DejaVu Sans")) == bundled / "DejaVuSans.ttf"
    assert {Path(font.fname).parent for font in manager.ttflist} == {bundled}


@pytest.mark.slow
def test_every_figure_has_the_same_bytes_when_drawn_again(drawn):
    first, second = drawn(), drawn()
    assert len(first) == 6
    for name, figure in first.items():
        svg, png = image(figure, "svg"), image(figure, "png")
        assert svg == image(second[name], "svg"), name
        assert png == image(second[name], "png"), name
        assert b"<dc:date>" not in svg
        assert png.startswith(b"\x89PNG")
        assert b"Software" not in png


def test_settings_of_others_change_no_bytes_and_stay_as_they_were(by_model):
    before = image(figures.dvgr_by_model(by_model), "svg")
    with mpl.rc_context({"font.size": 20, "axes.spines.top": True, "svg.hashsalt": "other"}):
        assert image(figures.dvgr_by_model(by_model), "svg") == before
        assert mpl.rcParams["font.size"] == 20
        assert mpl.rcParams["svg.hashsalt"] == "other"


def test_bytes_depend_on_the_data(by_model):
    other = by_model.assign(dvgr=by_model["dvgr"] / 2)
    assert image(figures.dvgr_by_model(by_model), "svg") != image(figures.dvgr_by_model(other), "svg")


def test_figures_have_the_width_of_the_column(drawn):
    assert {figure.get_figwidth() for figure in drawn().values()} == {WIDTH}
    assert new_figure(2.5)[0].get_size_inches().tolist() == [WIDTH, 2.5]


# ---- order ----


def test_models_are_ordered_by_family_then_rate_then_name(by_model):
    assert list(in_order(by_model)["model"]) == ORDER
    assert list(in_order(by_model).columns) == list(by_model.columns)
    tied = by_model.assign(dvgr=0.5)
    assert list(in_order(tied)["model"]) == [
        *["gpt-x", "learner-style", "learner-words", "agent-first", "agent-value", "published-1"]
    ]


@given(st.permutations(range(6)))
def test_the_order_of_the_rows_that_come_in_does_not_matter(places):
    table = pd.DataFrame(
        {"model": list(MODELS), "family": list(MODELS.values()), "dvgr": list(RATES.values())}
    )
    assert list(in_order(table.iloc[places])["model"]) == ORDER


def test_every_family_has_a_colour_of_its_own():
    assert set(COLOURS) == set(FAMILY_ORDER)
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert len({family_mark(family)["marker"] for family in FAMILY_ORDER}) == len(FAMILY_ORDER)


# ---- what the figures show ----


def test_dvgr_by_model_shows_every_rate_and_both_intervals(by_model):
    asked, published = figures.dvgr_by_model(by_model).axes
    *ours, last = ORDER
    assert labels(asked.get_yticklabels()) == ours
    assert labels(published.get_yticklabels()) == [last], "what is in print stands apart"
    places = dict(zip(ours, asked.get_yticks(), strict=True))
    assert list(places.values()) == sorted(places.values(), reverse=True)
    assert dots(asked) == [(RATES[model], places[model], COLOURS[MODELS[model]]) for model in ours]
    assert [(x, colour) for x, _, colour in dots(published)] == [(RATES[last], COLOURS["published"])]
    # One line for chance, and for each model two intervals and a dot.
    assert len(asked.lines) == 1 + 3 * len(ours)
    assert list(asked.lines[0].get_xdata()) == [0.5, 0.5]
    thin, thick = asked.lines[1], asked.lines[2]
    assert list(thin.get_xdata()) == pytest.approx([0.22, 0.27])
    assert list(thick.get_xdata()) == pytest.approx([0.20, 0.29])
    assert thick.get_linewidth() > thin.get_linewidth()
    # Square ends would make an interval longer than it is.
    assert {line.get_solid_capstyle() for line in (thin, thick)} == {"butt"}
    families = [family for family in FAMILY_ORDER if family in MODELS.values()]
    assert labels(published.get_legend().get_texts()) == [*families, "Wilson", "clustered by cell"]
    assert "chance" in texts(asked)


def test_the_legend_names_only_families_that_are_shown(by_model):
    (axes,) = figures.dvgr_by_model(by_model[by_model["family"] == "text learner"]).axes
    assert axes.get_title() == ""
    assert labels(axes.get_legend().get_texts()) == ["text learner", "Wilson", "clustered by cell"]


def heat_map(figure):
    """Labels of rows and columns, and the notes as rows of a table."""
    axes = figure.axes[0]
    columns, rows = labels(axes.get_xticklabels()), labels(axes.get_yticklabels())
    notes = np.full((len(rows), len(columns)), "", dtype=object)
    for text in axes.texts:
        column, row = text.get_position()
        notes[int(row), int(column)] += text.get_text()
    return rows, columns, notes


def test_arms_show_every_model_and_arm(by_arm):
    rows, columns, notes = heat_map(figures.arms(by_arm))
    assert rows == ORDER
    assert columns == list(figures.ARM_LABELS.values())
    assert len(columns) == 9
    assert [notes[place, 2] for place in range(6)] == [
        *[f"{RATES[model]:.2f}".removeprefix("0") for model in ORDER]
    ]
    # A rate that is not there is no number.
    assert notes[0, columns.index("control")] in ("", "–")
    assert (notes[1:, columns.index("control")] == ".75").all()


def test_arms_that_were_not_asked_have_no_column(by_arm):
    deep = by_arm[by_arm["arm"] == "deconfounded"]
    rows, columns, _ = heat_map(figures.arms(deep))
    assert len(columns) == 3
    assert set(rows) == set(by_arm["model"])


def test_values_that_were_not_asked_are_empty_cells(by_value):
    some = by_value[by_value["v1"] == by_value["v1"].iloc[0]]
    _, columns, notes = heat_map(figures.dvgr_by_value(some, VALUES))
    assert len(columns) == len(VALUES)
    assert np.count_nonzero(notes) == len(some)


def test_a_dimension_asked_in_one_direction_has_one_dot(by_dimension):
    forward = by_dimension[by_dimension["direction"] == "forward"]
    (axes,) = figures.dvgr_by_dimension(forward, NAMES).axes
    assert len(dots(axes)) == len(forward)


def test_dvgr_by_value_shows_every_model_and_value(by_value):
    rows, columns, notes = heat_map(figures.dvgr_by_value(by_value, VALUES))
    assert rows == ORDER
    assert columns == ["justice", "security", "self-improvement"]
    for model, row in zip(rows, notes, strict=True):
        expected = [f"{round(0.1 * place + RATES[model] / 2, 2):.2f}".removeprefix("0") for place in range(3)]
        assert list(row) == expected


def test_dvgr_by_n_has_a_panel_a_family_and_a_line_a_model(by_n):
    figure = figures.dvgr_by_n(by_n)
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == ["language models", "text learners", "reference agents"]
    shown = [["gpt-x"], ["words", "style"], ["first", "value"]]
    for axes, names in zip(figure.axes, shown, strict=True):
        assert sorted(texts(axes)) == sorted(names)
        assert len(axes.containers) == len(names)
        assert list(axes.get_xticks()) == [4, 20, 40]
    assert labels(figure.legends[0].get_texts()) == ["chance"]
    lines = figure.axes[1].containers[0].lines
    assert list(lines[0].get_ydata()) == [RATES["learner-style"]] * 3


def test_names_at_the_ends_of_lines_do_not_overlap(by_n):
    close = by_n.assign(rate=0.99, clustered_low=0.98, clustered_high=1.0)
    for axes in figures.dvgr_by_n(close).axes:
        heights = sorted(text.xyann[1] for text in axes.texts)
        low, high = axes.get_ylim()
        assert all(np.diff(heights) >= 0.05)
        assert all(low < height < high for height in heights)


PLACES = st.lists(st.floats(0, 1), min_size=1, max_size=10).map(sorted)


@given(PLACES)
def test_spread_keeps_the_gap_the_order_and_the_bounds(places):
    moved = spread(places, 0.1, 0, 1)
    assert len(moved) == len(places)
    assert all(step >= 0.1 - 1e-9 for step in np.diff(moved))
    assert max(moved) <= 1 + 1e-9
    assert min(moved) >= -1e-9


@given(PLACES)
def test_spread_leaves_alone_what_is_far_enough_apart(places):
    apart = [place + 2 * number for number, place in enumerate(places)]
    assert spread(apart, 1, 0, 100) == apart


def test_spread_by_hand():
    assert spread([0.5, 0.5], 0.2, 0, 1) == pytest.approx([0.5, 0.7])
    assert spread([0.95, 0.97], 0.2, 0, 1) == pytest.approx([0.8, 1.0])
    assert spread([-1.0], 0.2, 0, 1) == [0]


def test_dvgr_by_dimension_shows_two_dots_a_row(by_dimension):
    (axes,) = figures.dvgr_by_dimension(by_dimension, NAMES).axes
    # By rising mean rate of the two directions.
    assert labels(axes.get_yticklabels()) == [f"Dimension {number}: this / that" for number in (3, 1, 0, 2)]
    found = {(rate, math.floor(place + 0.5), colour) for rate, place, colour in dots(axes)}
    first, second = (handle.get_color() for handle in axes.get_legend().legend_handles)
    assert labels(axes.get_legend().get_texts()) == ["first pole preferred", "second pole preferred"]
    rows = [(0.1, 0.1), (0.2, 0.3), (0.6, 0.4), (0.9, 0.7)]
    expected = {
        (rate, place, colour)
        for place, pair in enumerate(rows)
        for rate, colour in zip(pair, (first, second), strict=True)
    }
    assert found == expected
    assert len(axes.lines) == 1 + 4 * (1 + 2 * 2)


def test_sensitivities_leave_out_models_without_an_estimate(estimates):
    figure = figures.sensitivities(estimates)
    axes, key = figure.axes
    # From above, each beside its dot.
    named = texts(key)
    assert dict(zip(named[::2], named[1::2], strict=True)) == {
        "1": "learner-words",
        "2": "learner-style",
        "3": "agent-first",
    }
    numbers = {text.get_text(): text.xy for text in axes.texts}
    assert numbers == {"1": (0.8, 1.6), "2": (1.2, 0.4), "3": (0.1, -0.2)}
    assert [(x, y) for x, y, _ in dots(axes)] == [(0.8, 1.6), (1.2, 0.4), (0.1, -0.2)]
    # Families are told apart by shape as well, here and in the key.
    shapes = [family_mark(family)["marker"] for family in ("text learner", "reference agent")]
    for panel in (axes, key):
        drawn = [line.get_marker() for line in panel.lines if len(line.get_xdata()) == 1]
        assert drawn == [shapes[0], *shapes]
        colours = [to_hex(colour) for _, _, colour in dots(panel)]
        assert colours == [*[COLOURS["text learner"].lower()] * 2, COLOURS["reference agent"].lower()]
    (legend,) = figure.legends
    assert labels(legend.get_texts()) == ["text learner", "reference agent"]
    assert [handle.get_marker() for handle in legend.legend_handles] == shapes
    # Diagonal, two axes, and for each model two intervals and a dot.
    assert len(axes.lines) == 3 + 3 * 3
    # Both axes hold every interval.
    assert axes.get_xlim() == axes.get_ylim()
    low, high = axes.get_xlim()
    assert low < -0.5
    assert high > 1.9


def test_sensitivities_of_one_place_have_their_numbers_together(estimates):
    together = estimates.iloc[1:].assign(b_v=[0.8, 0.81, 0.82], b_s=[0.31, 0.3, 0.29])
    axes = figures.sensitivities(together).axes[0]
    assert texts(axes) == ["1–3"]
    apart = figures.sensitivities(together.assign(b_s=[0.3, 0.3, 1.4])).axes[0]
    assert sorted(texts(apart)) == ["1", "2, 3"]


def test_sensitivities_without_any_estimate_are_an_empty_figure(estimates):
    axes, key = figures.sensitivities(estimates.iloc[:1]).axes
    assert len(axes.lines) == 3
    assert not texts(axes) and not texts(key)


# ---- many models with long names ----


@pytest.fixture
def crowd():
    """Twenty language models with names as long as any, beside the other families."""
    names = [f"a-language-model-{number:02d}-2025-01" for number in range(20)]
    return {**dict.fromkeys(names, "language model"), **MODELS}


def crowded(crowd, columns):
    rows = [
        (model, family, round(0.1 + 0.04 * (place % 20), 2))
        for place, (model, family) in enumerate(crowd.items())
    ]
    table = pd.DataFrame(rows, columns=["model", "family", "rate"])
    for name in columns:
        table[f"{name}_low"], table[f"{name}_high"] = table["rate"] - 0.05, table["rate"] + 0.05
    return table


def test_every_figure_is_legible(drawn):
    for figure in drawn().values():
        assert_legible(figure)


def test_the_dvgr_of_many_models_is_legible(crowd):
    table = crowded(crowd, ["wilson", "clustered"]).rename(columns={"rate": "dvgr"})
    assert_legible(figures.dvgr_by_model(table))


def test_arms_of_many_models_are_legible(crowd):
    table = crowded(crowd, [])
    arms = [table.assign(arm=arm, n_examples=n) for arm, n in figures.ARM_LABELS]
    assert_legible(figures.arms(pd.concat(arms)))


def test_lines_of_many_models_are_legible(crowd):
    table = crowded(crowd, ["clustered"])
    table = table[table["family"] != "published"]
    by_n = pd.concat([table.assign(n_examples=n) for n in (4, 20, 40)])
    assert_legible(figures.dvgr_by_n(by_n))


def test_values_of_many_models_are_legible(crowd):
    table = crowded(crowd, [])
    assert_legible(figures.dvgr_by_value(pd.concat([table.assign(v1=value) for value in VALUES]), VALUES))


@pytest.mark.parametrize("steep", [0.0, 0.02, 1.0, -3.0])
def test_sensitivities_of_many_models_are_legible(crowd, steep):
    table = crowded(crowd, ["b_v"]).assign(b_v=lambda frame: frame["rate"])
    table = table.assign(b_s=(0.1 + steep * table["b_v"]).round(3))
    assert_legible(
        figures.sensitivities(table.assign(b_s_low=table["b_s"] - 0.1, b_s_high=table["b_s"] + 0.1))
    )


# ---- tables ----


def test_tables_align_text_left_and_numbers_right():
    frame = pd.DataFrame({"model": ["a", "longer"], "n": [1200, 7], "DVGR": [0.3024, 1.0]})
    table = markdown(frame, {"n": count, "DVGR": share})
    head, rule, *rows = cells(table)
    assert head == ["model", "n", "DVGR"]
    assert [(mark[0] == ":", mark[-1] == ":") for mark in rule] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert rows == [["a", "1,200", ".302"], ["longer", "7", "1.000"]]
    widths = [len(mark) for mark in table.splitlines()[1].strip("|").split("|")]
    assert widths == [len("longer") + 2, len("1,200") + 2, len("1.000") + 2]


def test_a_column_has_room_for_its_longest_word_and_long_texts_share_the_rest():
    frame = pd.DataFrame({"short": ["incomprehensible"], "long": ["many small words " * 20]})
    widths = [len(mark) for mark in markdown(frame).splitlines()[1].strip("|").split("|")]
    # An eighth more for a long word.
    assert widths == [16 + 2 + 2, 44 + 2]


def test_a_table_without_rows_keeps_its_head():
    assert cells(markdown(pd.DataFrame({"model": [], "n": []}), {"n": count}))[0] == ["model", "n"]


def test_a_table_says_how_its_fractions_are_written():
    frame = pd.DataFrame({"factor": ["model"], "χ²": [111.48325784758104]})
    assert "111.5" in markdown(frame, {"χ²": lambda size: number(size, 1)})
    with pytest.raises(ValueError, match="'χ²' needs a format"):
        markdown(frame)
    with pytest.raises(ValueError, match="no column of the table is called"):
        markdown(frame, {"chi²": count})


def test_missing_cells_are_a_dash_with_or_without_a_format():
    frame = pd.DataFrame({"model": ["a", None], "rate": [math.nan, 0.5], "note": [pd.NA, "x"]})
    _, _, *rows = cells(markdown(frame, {"rate": share}))
    assert rows == [["a", MISSING, MISSING], [MISSING, ".500", "x"]]


def test_tables_keep_texts_that_look_like_numbers():
    _, _, row = cells(markdown(pd.DataFrame({"version": ["1.10"], "p": ["<.001"], "id": ["007"]})))
    assert row == ["1.10", "<.001", "007"]


def test_tables_keep_the_order_of_rows_and_columns():
    frame = pd.DataFrame({"b": ["3", "1", "2"], "a": ["x", "y", "z"]}, index=[5, 1, 9])
    assert cells(markdown(frame))[0] == ["b", "a"]
    assert re.findall(r"\d", markdown(frame)) == ["3", "1", "2"]


SVG = (
    b'<svg><defs><path id="m{0}"/></defs><use href="#m{0}"/><g id="axes_1" clip-path="url(#p{1})"/>'
    b'<clipPath id="p{1}"><rect x="{2}"/></clipPath></svg>'
)


def svg_with(marker, clip, x=b"1.0"):
    return SVG.replace(b"{0}", marker).replace(b"{1}", clip).replace(b"{2}", x)


def test_ids_depend_on_what_is_drawn_and_not_on_what_matplotlib_hashed():
    one = stable_ids(svg_with(b"0123456789", b"abcdef0123"))
    assert one == stable_ids(svg_with(b"fedcba9876", b"9876543210"))
    assert b'<g id="axes_1"' in one
    assert one != stable_ids(svg_with(b"0123456789", b"abcdef0123", b"1.1"))


def test_every_reference_in_a_figure_keeps_its_target(by_model):
    svg = image(figures.dvgr_by_model(by_model), "svg").decode()
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(ids)
    assert not re.search(r'\bid="[mp][0-9a-f]{10}"', svg)


def test_ids_of_two_figures_do_not_meet_on_one_page():
    ids = [
        set(re.findall(rb'id="(i[^"]+)"', stable_ids(svg_with(b"0" * 10, b"1" * 10, x))))
        for x in (b"1", b"2")
    ]
    assert len(ids[0]) == len(ids[1]) == 2
    assert not ids[0] & ids[1]
