"""Figures of the profiles: what they show is what the frames say, and which reference made them."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from deepvalues.figures import profiles as figures
from deepvalues.figures.theme import COLOURS, WIDTH, image
from deepvalues.profiles.measures import measures
from deepvalues.profiles.structure import centred_profiles, plane, tree

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


def lines(axes, colour):
    return [line for line in axes.lines if to_hex(line.get_color()) == colour.lower()]


def test_lines_run_through_the_means_in_the_reference_s_order(profiles, reference):
    figure = figures.profile_lines(profiles, reference, "rating", NAMES, FAMILIES)
    (axes,) = figure.axes
    (people,) = lines(axes, figures.PEOPLE)
    assert list(people.get_ydata()) == sorted(reference["mean"].iloc[:6], reverse=True)
    (model,) = lines(axes, COLOURS["language model"])
    assert axes.get_xticklabels()[0].get_text() == "Art"
    assert "Care and\nResponsibility" in [tick.get_text() for tick in axes.get_xticklabels()]
    assert list(model.get_ydata()) == [6, 5, 4.4, 3, 2, 1]
    assert {"a", "b", "gpt-x"} <= set(texts(figure))
    assert len(lines(axes, COLOURS["reference agent"])) == 2


def test_the_plane_shows_r_and_v_and_leaves_out_what_has_no_order(table):
    figure = figures.fidelity_plane(table, FAMILIES)
    ranking, rating = figure.axes
    assert (ranking.get_title(loc="left"), rating.get_title(loc="left")) == ("ranking", "rating")
    points = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in rating.lines
        if line.get_marker() == "o"
    }
    shown = table[(table["mode"] == "rating") & table["r"].notna()]
    assert points == set(zip(shown["r"], shown["v"], strict=True))
    assert "flat" not in texts(figure)
    assert ranking.get_ylim() == figures.V_LIMITS


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
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["gpt-x", "a"]
    (bar,) = [line for line in lines(figure.axes[1], COLOURS["language model"]) if len(line.get_xdata()) == 2]
    assert list(bar.get_xdata()) == pytest.approx([0.1, 0.25])


def test_tree_and_map_have_every_model_once(profiles, reference):
    people = reference.assign(model=reference["reference"])
    both = pd.concat([profiles, people[["mode", "model", "theme", "mean"]]])
    centred = centred_profiles(both, "rating", list(NAMES))
    found = plane(centred)
    figure = figures.tree_and_map(tree(centred), found.points, found.themes, found.shares, NAMES, FAMILIES)
    left, right = figure.axes
    for axes in (left, right):
        names = [text.get_text() for text in axes.texts]
        assert sorted(names) == ["a", "b", "gpt-x", "synthetic reference"]
    squares = [line for line in right.lines if line.get_marker() == "s"]
    assert [to_hex(line.get_color()) for line in squares] == [figures.PEOPLE]
    x_scale = np.ptp(right.get_xlim()) * right.get_box_aspect()
    assert x_scale == pytest.approx(np.ptp(right.get_ylim())), "one scale on both axes"
    assert "%" in right.get_xlabel() and "→" in right.get_ylabel()


def test_residuals_have_a_panel_for_each_theme(profiles):
    table = profiles.assign(residual=profiles["mean"] - 3.5, reference="human reference")
    table = table.assign(low=table["residual"] - 0.2, high=table["residual"] + 0.3)
    figure = figures.residuals(table, "ranking", NAMES, FAMILIES)
    assert [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes] == list(NAMES.values())
    (dot,) = [line for line in lines(figure.axes[0], COLOURS["language model"]) if line.get_marker() == "o"]
    assert float(dot.get_xdata()[0]) == pytest.approx(0.9)
    assert "made with a human reference" in texts(figure)


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
