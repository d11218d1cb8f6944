"""Figures of the profiles: what they show is what the frames say, and which reference made them."""

import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy.cluster import hierarchy

from deepvalues.paper.theme import COLOURS, MARKS, WIDTH, family_mark, image
from deepvalues.studies.profiles import figures
from deepvalues.studies.profiles.analysis.measures import measures
from deepvalues.studies.profiles.analysis.stability import centred_profiles, plane, tree, with_reference
from legible import assert_legible

NAMES = {
    "speed": "Speed",
    "care": "Care and Responsibility",
    "will": "Will",
    "art": "Art",
    "luck": "Luck",
    "wit": "Wit",
}
FAMILIES = {
    "agent-profile-a": "reference agent",
    "agent-profile-b": "reference agent",
    "gpt-x": "language model",
}
MODES = ("rating", "ranking")


@pytest.fixture
def profiles():
    means = {
        "agent-profile-a": [4, 3, 4.5, 5, 2.5, 2],
        "agent-profile-b": [2, 3, 2.5, 2, 4.5, 5],
        "gpt-x": [4.4, 3, 5, 6, 2, 1],
    }
    rows = [
        (mode, m, t, v) for mode in MODES for m, x in means.items() for t, v in zip(NAMES, x, strict=True)
    ]
    return pd.DataFrame(rows, columns=["mode", "model", "theme", "mean"])


@pytest.fixture
def reference():
    rows = [
        (mode, "synthetic reference", theme, mean, mean - 1, mean + 1)
        for mode in MODES
        for theme, mean in zip(NAMES, [4, 3.1, 4.4, 5, 2.6, 2], strict=True)
    ]
    return pd.DataFrame(rows, columns=["mode", "reference", "theme", "mean", "q25", "q75"])


@pytest.fixture
def table(profiles, reference):
    rows = []
    for (mode, model), group in profiles.groupby(["mode", "model"]):
        found = measures(group["mean"], reference[reference["mode"] == mode]["mean"])
        row = {"mode": mode, "model": model, "reference": "synthetic reference", "r": found.r, "v": found.v}
        rows.append(row | {"r_low": found.r - 0.1, "r_high": found.r, "v_low": 0.0, "v_high": found.v + 9})
    flat = {"mode": "rating", "model": "flat", "reference": "synthetic reference", "r": np.nan, "v": 0.0}
    return pd.DataFrame([*rows, flat]).astype({"r": float, "v": float})


def texts(figure):
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
    return [*found, figure.get_suptitle()]


def points(axes):
    """Where single points are."""
    found = [line for line in axes.lines if line.get_marker() not in ("None", "")]
    return {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in found}


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def lines(axes, colour):
    return [line for line in axes.lines if to_hex(line.get_color()) == colour.lower()]


def test_lines_run_through_the_means_in_the_reference_s_order(profiles, reference):
    figure = figures.profile_lines(profiles, reference, "rating", NAMES, FAMILIES)
    (axes,) = figure.axes
    (people,) = lines(axes, figures.PEOPLE)
    assert list(people.get_ydata()) == sorted(reference["mean"].iloc[:6], reverse=True)
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 6 and line is not people]
    model = next(line for line in drawn if line.get_marker() == MARKS["language model"][0])
    assert axes.get_xticklabels()[0].get_text() == "Art"
    assert "Care and\nResponsibility" in [tick.get_text() for tick in axes.get_xticklabels()]
    assert list(model.get_ydata()) == [6, 5, 4.4, 3, 2, 1]
    assert {"agent: a", "agent: b", "gpt-x"} <= set(texts(figure))
    assert [line.get_marker() for line in drawn].count(MARKS["reference agent"][0]) == 2
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 3


def test_the_plane_shows_r_and_v_and_leaves_out_what_has_no_order(table):
    figure = figures.fidelity_plane(table, FAMILIES)
    ranking, rating, key, hidden = figure.axes
    assert not hidden.get_visible() and not key.axison
    assert (ranking.get_title(loc="left"), rating.get_title(loc="left")) == ("ranking", "rating")
    shown = table[(table["mode"] == "rating") & table["r"].notna()]
    assert points(rating) == set(zip(shown["r"], shown["v"].round(9), strict=True))
    assert "flat" not in texts(figure)
    assert ranking.get_ylim() == figures.V_LIMITS


def test_numbers_on_the_plane_go_down_with_v_and_have_a_key(table):
    *planes, key = figures.fidelity_plane(table, FAMILIES).axes[:3]
    named = [text.get_text() for text in key.texts]
    numbers = dict(zip(named[1::2], named[::2], strict=True))
    by_spread = table.dropna().groupby("model")["v"].mean().sort_values(ascending=False)
    assert list(numbers) == [model.replace("agent-profile-", "agent: ") for model in by_spread.index]
    assert list(numbers.values()) == ["1", "2", "3"]
    assert len(points(key)) == 3, "each name has its family's mark"
    for axes in planes:
        shown = [text.get_text() for text in axes.texts if not text.get_text().startswith("±")]
        assert "".join(sorted("".join(shown))).strip("–, ") == "123"


@pytest.mark.parametrize(("v", "text"), [(0.1, "1 ↓"), (9.0, "1 ↑"), (1.0, "1")])
@pytest.mark.parametrize("r", [0.9, -0.9])
def test_what_is_off_the_plane_has_an_arrow_at_its_edge(table, v, text, r):
    one = table.iloc[[0]].assign(v=v, r=r)
    axes = figures.fidelity_plane(one, FAMILIES).axes[0]
    low, high = figures.V_LIMITS
    assert points(axes) == {(r, float(np.clip(v, low, high)))}
    (label,) = [each for each in axes.texts if not each.get_text().startswith("±")]
    assert label.get_text() == text
    assert low < label.get_position()[1] < high


def test_points_of_one_place_have_their_numbers_together(table):
    several = pd.concat([table.iloc[[0]].assign(model=name, r=0.9, v=1.0) for name in "abcd"])
    apart = several.assign(v=[1.0, 1.01, 1.02, 2.0])
    for r in (0.9, -0.5):
        axes = figures.fidelity_plane(apart.assign(r=r), dict.fromkeys("abcd", "language model")).axes[0]
        shown = [text.get_text() for text in axes.texts if not text.get_text().startswith("±")]
        assert sorted(shown) == ["1", "2–4"]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_plane_has_a_title_and_r_below_it_where_nothing_else_is(table, number):
    modes = figures.MODES[:number]
    one = pd.concat([table[table["mode"] == "rating"].assign(mode=mode) for mode in modes])
    figure = figures.fidelity_plane(one, FAMILIES)
    assert [axes.get_title(loc="left") for axes in figure.axes[:number]] == list(modes)
    for axes in figure.axes[max(0, number - 2) : number]:
        assert axes.xaxis.get_tick_params()["labelbottom"]


@pytest.mark.parametrize("fidelity", figures.ISO)
def test_on_a_curve_fidelity_is_the_same(table, fidelity):
    axes = figures.fidelity_plane(table, FAMILIES).axes[0]
    found = []
    for line in axes.lines:
        r, v = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
        if len(r) > 20:
            found.append(r * 2 / (v + 1 / v))
    assert all(np.ptp(curve) < 1e-9 for curve in found)
    assert sum(abs(curve[0] - fidelity) < 1e-9 for curve in found) == 1


def test_stability_has_a_panel_for_each_mode():
    rows = [
        (mode, m, w, w - 0.1, w + 0.05)
        for mode in MODES
        for m, w in {"agent-profile-a": 0.9, "gpt-x": 0.2}.items()
    ]
    table = pd.DataFrame(rows, columns=["mode", "model", "w", "w_low", "w_high"])
    figure = figures.stability(table.iloc[1:], FAMILIES)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ranking", "rating"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["gpt-x", "agent: a"]
    (bar,) = [line for line in lines(figure.axes[1], COLOURS["language model"]) if len(line.get_xdata()) == 2]
    assert legend(figure) == ["language models", "reference agents"]
    assert list(bar.get_xdata()) == pytest.approx([0.1, 0.25])


@pytest.fixture
def among(profiles, reference):
    """Centred profiles in the rating mode, the reference among them."""
    return centred_profiles(with_reference(profiles, reference), "rating", list(NAMES))


def test_the_tree_names_the_numbers_of_the_map(among):
    figure = figures.tree_and_map(tree(among), *plane(among), "rating", NAMES, FAMILIES)
    left, right = figure.axes
    named = dict(reversed(text.get_text().split("  ")) for text in left.texts)
    assert sorted(named) == ["agent: a", "agent: b", "gpt-x", "synthetic reference"]
    heights = [text.get_position()[1] for text in left.texts]
    assert list(named.values()) == ["1", "2", "3", "4"]
    assert heights == sorted(heights, reverse=True), "numbered from above"
    written = ", ".join(text.get_text() for text in right.texts).replace("–", ", ")
    assert {named["gpt-x"], named["agent: b"]} <= set(written.split(", "))
    assert "rating points" in left.get_xlabel()
    assert "%" in right.get_xlabel() and "→" in right.get_ylabel()


def test_the_map_has_one_scale_and_the_reference_as_a_square(among):
    right = figures.tree_and_map(tree(among), *plane(among), "rating", NAMES, FAMILIES).axes[1]
    squares = [line for line in right.lines if line.get_marker() == "s"]
    assert [to_hex(line.get_color()) for line in squares] == [figures.PEOPLE]
    assert len(points(right)) == len(among)
    x_scale = np.ptp(right.get_xlim()) * right.get_box_aspect()
    assert x_scale == pytest.approx(np.ptp(right.get_ylim())), "one scale on both axes"
    across, up = (set(map(float, ticks)) for ticks in (right.get_xticks(), right.get_yticks()))
    assert up <= across


def test_a_number_stands_at_the_leaf_that_is_drawn_for_it(among):
    """The dendrogram's own order of leaves, from below, is the numbers' from above."""
    linkage = tree(among)
    left = figures.tree_and_map(linkage, *plane(among), "rating", NAMES, FAMILIES).axes[0]
    drawn = hierarchy.dendrogram(linkage, no_plot=True)["leaves"]
    names = [text.get_text().split("  ")[1] for text in left.texts]
    expected = [among.index[leaf].replace("agent-profile-", "agent: ") for leaf in drawn]
    assert names[::-1] == expected
    assert [text.get_position()[1] for text in left.texts] == [35, 25, 15, 5]


def test_residuals_have_a_panel_for_each_theme(profiles):
    table = profiles.assign(residual=profiles["mean"] - 3.5, reference="human reference")
    table = table.assign(low=table["residual"] - 0.2, high=table["residual"] + 0.3)
    figure = figures.residuals(table, "ranking", NAMES, FAMILIES)
    assert [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes] == list(NAMES.values())
    (dot,) = [line for line in lines(figure.axes[0], COLOURS["language model"]) if line.get_marker() == "o"]
    assert figure.get_supxlabel().startswith("centred residual, ranks")
    assert float(dot.get_xdata()[0]) == pytest.approx(0.9)
    assert "made with a human reference" in texts(figure)


def test_no_agent_reads_as_the_reference(profiles, reference, table):
    """One of the agents answers as the reference does, and is called after it."""
    called = {"agent-profile-a": "agent-profile-reference"}
    families = {called.get(model, model): family for model, family in FAMILIES.items()}
    own, measured = (frame.replace({"model": called}) for frame in (profiles, table))
    among = centred_profiles(with_reference(own, reference), "rating", list(NAMES))
    stable = measured.dropna().assign(w=0.5, w_low=0.4, w_high=0.6)
    residual = own.assign(residual=own["mean"] - 3.5, low=-1.0, high=1.0, reference="synthetic reference")
    for figure in (
        figures.profile_lines(own, reference, "rating", NAMES, families),
        figures.fidelity_plane(measured, families),
        figures.stability(stable, families),
        figures.residuals(residual, "rating", NAMES, families),
        figures.tree_and_map(tree(among), *plane(among), "rating", NAMES, families),
    ):
        names = [re.sub(r"^\d+  ", "", text) for text in texts(figure)]
        assert "agent: reference" in names
        assert "reference" not in names
        assert_legible(figure)
    assert "synthetic reference" in names


def test_families_differ_in_more_than_colour(profiles, reference):
    figure = figures.profile_lines(profiles, reference, "rating", NAMES, FAMILIES)
    (axes,) = figure.axes
    marks = {to_hex(line.get_color()): line.get_marker() for line in axes.lines}
    for family in ("language model", "reference agent"):
        assert marks[COLOURS[family].lower()] == family_mark(family)["marker"]
    assert legend(figure)[2:] == ["language models", "reference agents"]


def drawn(profiles, reference, table):
    residual = profiles.assign(residual=0.1, low=0.0, high=0.2, reference="synthetic reference")
    return [
        figures.profile_lines(profiles, reference, "rating", NAMES, FAMILIES),
        figures.fidelity_plane(table, FAMILIES),
        figures.residuals(residual, "rating", NAMES, FAMILIES),
    ]


def test_what_was_made_with_a_synthetic_reference_says_so(profiles, reference, table):
    for figure in drawn(profiles, reference, table):
        assert figure.get_suptitle() == "made with a synthetic reference"


def test_figures_are_as_wide_as_the_column_and_the_same_on_every_run(profiles, reference, table):
    before = dict(mpl.rcParams)
    for one, other in zip(drawn(profiles, reference, table), drawn(profiles, reference, table), strict=True):
        assert one.get_size_inches()[0] == WIDTH
        assert image(one, "svg") == image(other, "svg")
    assert dict(mpl.rcParams) == before


def test_a_figure_of_two_references_is_not_drawn(table):
    mixed = pd.concat([table, table.assign(reference="human reference")])
    with pytest.raises(ValueError, match="too many values"):
        figures.fidelity_plane(mixed, FAMILIES)
