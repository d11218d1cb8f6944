"""The worked example: one example and the test of a prompt, with value and surface marked, and the arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.textpath import text_to_path

from deepvalues.core.errors import UserError
from deepvalues.paper.theme import WIDTH, themed
from deepvalues.studies.dvb.items.prompts import Situation, situations
from deepvalues.studies.dvb.respondents.agents import Recogniser

#: Background and text colour of the two layers, as in the answer browser.
LAYERS = {"value": ("#d5e6f7", "#0d3f66"), "pole": ("#f8e6c5", "#6b3d00")}
_INK, _QUIET = "#1f2328", "#5b6470"
#: In points: font size, line spacing, width of the page and of a box, and padding inside a box.
_SIZE, _LEAD, _PAGE, _BOX, _PAD = 8.0, 11.5, WIDTH * 72, WIDTH * 36 - 6, 6.0
#: What the arms ask after the same examples.
_DECONFOUNDED = "preferred value, other surface  against  other value, preferred surface"
_ARMS = (
    ("deconfounded", _DECONFOUNDED, "which wins?"),
    ("control", "preferred value and surface  against  the others", "was anything learned?"),
    ("value probe", "preferred value  against  the other, same surface", "was the value learned?"),
    ("surface probe", "preferred surface  against  the other, same value", "was the surface learned?"),
)


class Word(NamedTuple):
    """A word of an option and its layer, if any."""

    text: str
    layer: str | None


def words(option: str, recogniser: Recogniser) -> list[Word]:
    """An option's words, with their layers.

    Raises
    ------
    ValueError
        When the option is not made of one value and one pole of the bank.
    """
    recogniser.option(option)
    opener, joiner = "An agent that ", " and that "
    first, second = option.removeprefix(opener).removesuffix(".").split(joiner)
    parts = [(opener, None), (first, recogniser.traits[first][0])]
    parts += [(joiner, None), (f"{second}.", recogniser.traits[second][0])]
    return [Word(word, layer) for text, layer in parts for word in text.split()]


def lines(text: Sequence[Word], width: float) -> Iterator[list[tuple[float, Word]]]:
    """Break words into lines; each word has its horizontal position in points."""
    line: list[tuple[float, Word]] = []
    at = 0.0
    for word in text:
        if line and at + _width(word.text) > width:
            yield line
            line, at = [], 0.0
        line.append((at, word))
        at += _width(word.text + " ")
    yield line


def _width(text: str) -> float:
    # Without the trailing letter, a space would have no width.
    font = FontProperties(size=_SIZE)
    wide, _, _ = text_to_path.get_text_width_height_descent(text + "|", font, ismath=False)
    bar, _, _ = text_to_path.get_text_width_height_descent("|", font, ismath=False)
    return float(wide - bar)


@themed
def worked_example(prompt: str, recogniser: Recogniser, names: Mapping[str, str]) -> Figure:
    """The first example and the test of a prompt, and what the other arms ask.

    Parameters
    ----------
    prompt
        A deconfounded prompt of our own, with examples.
    recogniser
        Recognizes the value and pole of an option.
    names
        Display names of values and poles, by id.

    Raises
    ------
    UserError
        When the prompt has wordings that the bank lacks.
    """
    example, *_, test = situations(prompt)
    options = (example.option_a, example.option_b)
    right, left = options if example.right == "A" else options[::-1]
    try:
        preferred, other = (
            [names[recogniser.option(option)[layer]].lower() for layer in LAYERS] for option in (right, left)
        )
    except ValueError as error:
        raise UserError(
            f"the worked example needs a prompt in wordings of the bank ({error}): name first a "
            "set of the project's own, as in item_sets={dvb: [smoke, released]}"
        ) from None
    figure = Figure(layout=ConstrainedLayoutEngine(w_pad=0, h_pad=0))
    axes = figure.subplots()
    axes.axis("off")
    both = f"Always {' with '.join(preferred)}, over {' with '.join(other)}."
    y = _heading(axes, 8, "Examples", both)
    chosen = ["chosen" if example.right == letter else "" for letter in "AB"]
    y = _options(axes, y, example, recogniser, chosen)
    y = _heading(axes, y + 16, "Test", "The two layers come apart: which option would this person choose?")
    value = recogniser.option(right)["value"]
    follows = [
        f"follows the {'value' if recogniser.option(option)['value'] == value else 'surface'}"
        for option in (test.option_a, test.option_b)
    ]
    y = _options(axes, y, test, recogniser, follows)
    y = _heading(axes, y + 16, "Arms", "The same examples, four tests:")
    height = _arms(axes, y)
    axes.set(xlim=(0, _PAGE), ylim=(height, 0))
    figure.set_size_inches(WIDTH, height / 72)
    return figure


def _heading(axes: Axes, y: float, title: str, text: str) -> float:
    axes.text(0, y, title, fontsize=9, fontweight="bold", va="center")
    axes.text(64, y, text, color=_QUIET, va="center")
    return y + 12


def _options(axes: Axes, y: float, posed: Situation, recogniser: Recogniser, notes: Sequence[str]) -> float:
    """Draw the two options side by side, each with its note; return where they end."""
    options = (posed.option_a, posed.option_b)
    in_lines = [list(lines(words(option, recogniser), _BOX - 2 * _PAD)) for option in options]
    depth = (max(map(len, in_lines)) + 1) * _LEAD + 2 * _PAD
    for column, (text, note) in enumerate(zip(in_lines, notes, strict=True)):
        left, top = column * (_BOX + 12), y + _PAD + 4
        edge = _INK if note else "#d9dce0"
        style = "round,pad=0,rounding_size=4"
        box = FancyBboxPatch((left + 0.5, y), _BOX - 1, depth, style, facecolor="white", edgecolor=edge)
        axes.add_patch(box)
        axes.text(left + _PAD, top, f"Option {'AB'[column]}", fontweight="bold", va="center")
        axes.text(left + _BOX - _PAD, top, note, color=_QUIET, ha="right", va="center")
        for number, line in enumerate(text, start=1):
            _line(axes, left + _PAD, top + number * _LEAD, line)
    return y + depth


def _line(axes: Axes, left: float, y: float, line: Sequence[tuple[float, Word]]) -> None:
    for index, (at, word) in enumerate(line):
        after = line[index + 1][1].layer if index + 1 < len(line) else None
        if word.layer:
            paper, _ = LAYERS[word.layer]
            end = line[index + 1][0] if after == word.layer else at + _width(word.text)
            axes.add_patch(Rectangle((left + at, y - 5.5), end - at, 10.5, facecolor=paper, linewidth=0))
        ink = LAYERS[word.layer][1] if word.layer else _INK
        axes.text(left + at, y, word.text, color=ink, va="center_baseline")


def _arms(axes: Axes, y: float) -> float:
    for row, (name, tested, question) in enumerate(_ARMS):
        at = y + 3 + row * 13
        axes.text(0, at, name, va="center")
        axes.text(76, at, tested, va="center")
        axes.text(_PAGE, at, question, color=_QUIET, ha="right", va="center")
    return y + 13 * len(_ARMS)
