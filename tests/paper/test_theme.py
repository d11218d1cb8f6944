"""Numbers at points, and their key."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from deepvalues.paper.theme import groups, key, new_figure, runs
from legible import assert_legible


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([3], "3"), ([2, 1], "1, 2"), ([1, 2, 3], "1–3"), ([9, 1, 2, 4, 5, 6, 7], "1, 2, 4–7, 9"), ([], "")],
)
def test_numbers_in_a_row_are_written_as_one_run(numbers, text):
    assert runs(numbers) == text


def test_points_of_a_group_are_near_to_another_one_of_it():
    points = pd.DataFrame({"x": [0, 1, 2, 5, 9], "y": [0.0] * 5}, index=list("abcde"))
    found = groups(points, ["x", "y"], 1.5)
    assert sorted("".join(group.index) for group in found) == ["abc", "d", "e"]
    assert [len(group) for group in groups(points.iloc[:1], ["x"], 1)] == [1]
    assert groups(points.iloc[:0], ["x"], 1) == []


@pytest.mark.parametrize("count", [3, 24])
def test_the_key_names_each_number_beside_its_mark(count):
    numbers = {f"model-{number:02d}": number for number in range(1, count + 1)}
    colours = dict(zip(numbers, ["#0072b2", "#d55e00"] * count, strict=False))
    figure, axes = new_figure(0.12 * 24)
    key(axes, numbers, lambda model: {"marker": "o", "color": colours[model]}, str.upper, rows=20)
    texts = [text.get_text() for text in axes.texts]
    assert dict(zip(texts[1::2], map(int, texts[::2]), strict=True)) == {
        model.upper(): number for model, number in numbers.items()
    }
    heights = [text.xy[1] for text in axes.texts[1::2]]
    assert heights == sorted(heights, reverse=True), "from above"
    marks = {line.get_ydata()[0]: to_hex(line.get_color()) for line in axes.lines}
    assert [marks[height] for height in heights] == list(colours.values())
    assert not axes.axison
    assert_legible(figure)
