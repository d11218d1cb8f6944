"""What the pages of both renderings get in the end: reachable boxes, light images, numbers, a way on.

Each step looks for markup of either rendering and leaves alone what it does not find.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import unquote

from deepvalues.paper.article import Article
from deepvalues.paper.cells import read_cells
from deepvalues.paper.project import Notebook, Project

_KINDS = {"fig": "Figure", "tbl": "Table"}
#: CSS pixels in a point.
_PIXELS = 96 / 72
_IMAGE = re.compile(r'<img\b(?P<rest>[^>]*\bsrc="(?P<path>[^"]*)"[^>]*?)\s*/?>')
_SIZE_OF_SVG = re.compile(rb'<svg\b[^>]*?\bwidth="([\d.]+)pt" height="([\d.]+)pt"')
_FIGURE = re.compile(r'\bid="(?P<label>fig-[\w-]+)".*?<img\b[^>]*\bsrc="(?P<path>[^"]*)"', re.DOTALL)
_ABSTRACT = re.compile(r'<(?:div|section) class="abstract"')
#: The caption itself, and that of the enlarged picture.
_CAPTION_OF_QUARTO = re.compile(
    r"(?P<head><(?:figcaption\b[^>]*\bid|div\b[^>]*\baria-describedby)="
    r'"(?P<label>(?:fig|tbl)-[\w-]+?)-caption-[^"]*"[^>]*>\s*(?:<a\b[^>]*\btitle=")?)'
    r"(?:Figure|Table)(?:&nbsp;|\xa0)\d+:"
)
_OUTPUT_OF_QUARTO = re.compile(r'<div class="((?:cell-output )?cell-output-display\b[^"]*)"')
#: Quarto's pages make their switch when they are opened, and on a notebook's page the bar would cover it.
_TOGGLE_OF_QUARTO = "window.document.body.appendChild(a);"
_TOGGLE = (
    "a.ariaLabel = 'Light or dark'; "
    "window.document.querySelector('#quarto-embed-header, #title-block-header').appendChild(a);"
)
_BAR_OF_QUARTO = '<div id="quarto-embed-header"'
_BODY = re.compile(r"<body\b[^>]*>")
_MAIN_OF_QUARTO = "quarto-document-content"


def finish_pages(project: Project, numbers: Mapping[str, Mapping[str, str]], site: Path) -> None:
    """Finish the pages of the article and of the notebooks.

    Parameters
    ----------
    numbers
        From `caption_numbers`.
    """
    _rewrite(site / "index.html", with_teaser)
    for place, notebook in enumerate(project.notebooks):
        finish = partial(_finish_notebook, project, place, numbers[notebook.path])
        _rewrite(site / notebook.page, finish)


def _rewrite(file: Path, finish: Callable[[str], str]) -> None:
    if file.is_file():
        text = with_light_images(reachable(file.read_text(encoding="utf-8")), file.parent)
        file.write_text(finish(text), encoding="utf-8")


def _finish_notebook(project: Project, place: int, numbers: Mapping[str, str], page: str) -> str:
    return with_way_on(with_numbers(page, numbers), project.notebooks, place)


def caption_numbers(project: Project, article: Article) -> dict[str, dict[str, str]]:
    """By notebook and label how a caption begins: "Table 2" as in the article, else "Table S3.1".

    The letter stands for the supplement, the first number for the notebook.
    """
    counts: Counter[str] = Counter()
    own: dict[str, str] = {}
    for label, _ in article.contents.labels:
        kind = label.partition("-")[0].lower()
        if kind in _KINDS:
            counts[kind] += 1
            own[label] = f"{_KINDS[kind]} {counts[kind]}"
    return {
        notebook.path: _numbers_of(notebook.file, number, own)
        for number, notebook in enumerate(project.notebooks, start=1)
    }


def _numbers_of(notebook: Path, number: int, own: Mapping[str, str]) -> dict[str, str]:
    counters = {kind: count(1) for kind in _KINDS}
    found = {}
    for cell in read_cells(notebook):
        kind = cell.label.partition("-")[0]
        if kind in _KINDS and cell.caption:
            found[cell.label] = own.get(cell.label) or f"{_KINDS[kind]} S{number}.{next(counters[kind])}"
    return found


def with_numbers(page: str, numbers: Mapping[str, str]) -> str:
    """A notebook's page by Quarto, which counts from 1 on each, with the numbers given."""

    def numbered(match: re.Match[str]) -> str:
        number = numbers.get(match["label"])
        return f"{match['head']}{number.replace(' ', '&nbsp;')}:" if number else match[0]

    return _CAPTION_OF_QUARTO.sub(numbered, page)


def reachable(page: str) -> str:
    """A page by Quarto with a link to its text, names for switch and bar, outputs that keys can scroll."""
    if f'id="{_MAIN_OF_QUARTO}"' not in page:
        return page
    numbers = count(1)

    def output(match: re.Match[str]) -> str:
        name = f"Output {next(numbers)} of this page"
        return f'<div tabindex="0" role="region" aria-label="{name}" class="{match[1]}"'

    skip = f'<a class="skip" href="#{_MAIN_OF_QUARTO}">Skip to the text</a>'
    page = _OUTPUT_OF_QUARTO.sub(output, page)
    page = page.replace(_TOGGLE_OF_QUARTO, _TOGGLE)
    page = page.replace(_BAR_OF_QUARTO, f'{_BAR_OF_QUARTO} role="navigation" aria-label="This notebook"')
    return _BODY.sub(lambda match: match[0] + skip, page, count=1)


def with_teaser(page: str) -> str:
    """The article's page with its first figure above the abstract, as a link to where it stands."""
    figure, abstract = _FIGURE.search(page), _ABSTRACT.search(page)
    if figure is None or abstract is None:
        return page
    image = f'<img src="{figure["path"]}" alt="Figure 1, in the text below">'
    teaser = f'<a class="teaser" href="#{figure["label"]}">{image}</a>\n'
    return page[: abstract.start()] + teaser + page[abstract.start() :]


def with_way_on(page: str, notebooks: Sequence[Notebook], place: int) -> str:
    """A notebook's page with links to the notebooks before and after it."""
    beside = {"Before": place - 1, "Next": place + 1}
    links = [
        f'<a href="{Path(notebooks[other].page).name}">{word}: {html.escape(notebooks[other].title)}</a>'
        for word, other in beside.items()
        if 0 <= other < len(notebooks)
    ]
    before, end, after = page.rpartition("</main>")
    return f'{before}<nav class="way-on" aria-label="Other notebooks">{"".join(links)}</nav>\n{end}{after}'


def with_light_images(page: str, folder: Path) -> str:
    """A page whose images, but for the first, are loaded when they come near, and keep their place before.

    Each leads to itself alone, in its full size; Quarto's lightbox does that on Quarto's pages.
    """
    images, boxed = count(), f'id="{_MAIN_OF_QUARTO}"' in page

    def light(match: re.Match[str]) -> str:
        width, height = svg_size(folder / unquote(match["path"])) or (None, None)
        size = f' width="{width}" height="{height}"' if width and " width=" not in match["rest"] else ""
        lazy = ' loading="lazy"' if next(images) and " loading=" not in match["rest"] else ""
        image = f"<img{match['rest']}{size}{lazy}>"
        return image if boxed else f'<a class="picture" href="{match["path"]}">{image}</a>'

    return _IMAGE.sub(light, page)


def svg_size(file: Path) -> tuple[int, int] | None:
    """Width and height of a figure in CSS pixels; None for what is no SVG in points."""
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        found = _SIZE_OF_SVG.search(stream.read(2000))
    return (round(float(found[1]) * _PIXELS), round(float(found[2]) * _PIXELS)) if found else None
