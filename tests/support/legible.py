"""Whether the texts of a figure can be read: none cut off, none upon another."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def drawn_texts(figure):
    """Every text that the figure shows, without the labels of ticks that lie off their axis."""
    beyond = set()
    for axes in figure.findobj(Axes):
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted(limits)
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            beyond |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    texts = figure.findobj(Text)
    return [text for text in texts if text.get_visible() and text.get_text().strip() and text not in beyond]


def assert_legible(figure):
    """No text is cut off at the figure's edge, and no two that are not slanted run into each other."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # Of an annotation the text alone, without the line to its point.
    boxes = [
        (text, Text.get_window_extent(text, canvas.get_renderer()).padded(-1)) for text in drawn_texts(figure)
    ]
    for text, box in boxes:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text.get_text()!r} is cut off"
    upright = [(text.get_text(), box) for text, box in boxes if text.get_rotation() == 0]
    for (one, first), (other, second) in combinations(upright, 2):
        assert not first.overlaps(second), f"{one!r} and {other!r} overlap"
