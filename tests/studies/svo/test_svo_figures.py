"""Figures of study 2: what they show, from tables small enough to know."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from deepvalues.core import paths
from deepvalues.paper.theme import image
from deepvalues.studies.svo import figures
from deepvalues.studies.svo.analysis import published
from deepvalues.studies.svo.analysis.scoring import BOUNDS, parse, ring

PAYOFFS = pd.read_csv(paths.PUBLISHED / "svo_items.csv")
HISTOGRAM = pd.read_csv(paths.PUBLISHED / "svo_human_histogram.csv")


@pytest.fixture(scope="module")
def scores():
    return published.reread(pd.read_csv(paths.PUBLISHED / "hvae_value_rationality.csv"))


def trials(rows):
    frame = pd.DataFrame(rows, columns=["model", "value", "answers"])
    choices = np.array([parse(answers) for answers in frame["answers"]])
    from deepvalues.studies.svo import score

    return pd.concat([frame.assign(family="reference agent"), score(choices), ring(choices)], axis=1)


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_ring_shows_each_point_once_sized_by_its_trials():
    rows = [("m", "altruistic", "AIAAII")] * 3 + [("m", "competitive", "IAIIAA"), ("n", "none", "AIIAE-")]
    figure = figures.slider_ring(trials(rows), PAYOFFS, BOUNDS)
    first, second = (axes for axes in figure.axes if axes.get_visible())
    dots = first.collections
    assert [tuple(dot.get_offsets()[0]) for dot in dots] == [(70.0, 86.667), (90.0, 38.333)]
    assert dots[0].get_sizes()[0] > dots[1].get_sizes()[0]
    colours = [tuple(dot.get_facecolor()[0][:3]) for dot in dots]
    assert colours == [to_rgb(figures.VALUE_COLOURS[value]) for value in ("altruistic", "competitive")]
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("m", "n")
    assert not second.collections, "an incomplete trial is nowhere"


def test_ring_sets_values_on_the_same_point_side_by_side():
    rows = [("m", value, "AAAAAA") for value in ("competitive", "prosocial", "altruistic")]
    table = trials(rows)
    figure = figures.slider_ring(table, PAYOFFS, BOUNDS)
    marks = {
        to_hex(mark.get_facecolor()[0]): mark.get_offsets()[0] - 50 for mark in figure.axes[0].collections
    }
    colours = [figures.VALUE_COLOURS[value].lower() for value in ("altruistic", "prosocial", "competitive")]
    places = np.array([marks[colour] for colour in colours])
    assert np.hypot(*places.T) == pytest.approx(table["length"].iloc[0] + np.array([-2.6, 0, 2.6]), abs=0.01)
    angles = np.degrees(np.arctan2(*places.T[::-1]))
    assert angles == pytest.approx([table["angle"].iloc[0]] * 3, abs=0.01), "each stays in its sector"


def test_values_are_told_apart_without_colour():
    assert len(set(figures.VALUE_MARKS.values())) == len(figures.VALUE_COLOURS)
    rows = [("m", "altruistic", "AIAAII"), ("m", "none", "IAIIAA")]
    figure = figures.slider_ring(trials(rows), PAYOFFS, BOUNDS)
    first, second = (mark.get_paths()[0].vertices for mark in figure.axes[0].collections)
    assert first.shape != second.shape, "a triangle and a diamond"
    (legend,) = figure.legends
    assert [handle.get_marker() for handle in legend.legend_handles] == ["^", "D"]
    assert texts(figure) == list(figures.CATEGORIES), "sectors have their names in the first panel"


def test_sectors_meet_at_the_bounds():
    figure = figures.slider_ring(trials([("m", "none", "AAAAAA")]), PAYOFFS, BOUNDS)
    sectors = figure.axes[0].patches
    assert [(s.theta1, s.theta2) for s in sectors] == [
        (-45, BOUNDS[0]),
        (BOUNDS[0], BOUNDS[1]),
        (BOUNDS[1], BOUNDS[2]),
        (BOUNDS[2], 90),
    ]


def test_distributions_put_models_below_people_by_falling_angle():
    rows = [("low", "none", "IAIIAA"), ("high", "none", "AIAAII"), ("high", "none", "AIIAEI")]
    figure = figures.angle_distributions(trials(rows), HISTOGRAM, BOUNDS)
    assert [axes.get_ylabel() for axes in figure.axes] == ["people (6,234)", "high (2)", "low (1)"]
    assert [label.get_text() for label in figure.legends[0].get_texts()] == ["people", "reference agents"]
    assert texts(figure) == list(figures.CATEGORIES)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert max(heights) == 1 and heights[11] == 1, "people crowd between 35 and 40 degrees"
    own = [bar for bar in figure.axes[1].patches[len(HISTOGRAM) :] if bar.get_height()]
    assert [round(bar.get_x()) for bar in own] == [46, 61], "45 degrees are in the bin from 45 on"


def drawn(figure, words):
    """Extents of all texts with these words, in pixels, once the layout has found their places."""
    figure.draw_without_rendering()
    return [
        text.get_window_extent() for axes in figure.axes for text in axes.texts if text.get_text() in words
    ]


def test_categories_keep_apart_and_inside():
    figure = figures.angle_distributions(trials([("m", "none", "IAIIAA")]), HISTOGRAM, BOUNDS)
    boxes = drawn(figure, set(figures.CATEGORIES))
    assert all(right.x0 > left.x1 for left, right in pairwise(boxes))
    assert boxes[0].x0 >= 0 and boxes[-1].x1 <= figure.bbox.width


def test_dots_stand_raw_beside_corrected(scores):
    figure = figures.value_rationality(scores)
    for axes, scale in zip(figure.axes, ("raw", "corrected"), strict=True):
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        found = sorted(float(line.get_xdata()[0]) for line in dots)
        assert found == pytest.approx(sorted(scores[scale])), scale
        filled = [line for line in dots if line.get_markerfacecolor() != "white"]
        assert len(filled) == len(dots) / 2
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == names[:8] * 4 and names[0] == "GPT-4", "the best model first, in each block"
    assert texts(figure) == ["altruistic", "prosocial", "individualistic", "competitive"]


def test_dots_do_without_whiskers(scores):
    bare = scores[["model", "value", "goal", "raw", "corrected", "random"]]
    with_whiskers, without = (
        sum(len(axes.lines) for axes in figures.value_rationality(table).axes) for table in (scores, bare)
    )
    assert with_whiskers - without == 2 * len(scores)


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_bytes_twice(scores, kind):
    assert image(figures.value_rationality(scores), kind) == image(figures.value_rationality(scores), kind)
