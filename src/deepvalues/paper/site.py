"""Finish the rendered site of either renderer: add resources, captions and navigation, and fix links.

The article and the captions in the notebooks write links relative to the site's root
(``data/results/dvb/models.csv``, ``notebooks/03_deep_values-preview.html#cell-fig-x``). A caption is shown on
two pages, one folder apart, so links are adjusted on each page after rendering. Each step looks for the
markup of both renderers and skips what it does not find.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deepvalues.core.errors import UserError
from deepvalues.paper import manifest
from deepvalues.paper.article import Article
from deepvalues.paper.notebooks import read_cells
from deepvalues.paper.project import Notebook, Project
from deepvalues.paper.trace import Number
from deepvalues.paper.trace import numbers as all_numbers

#: Folders copied into the site, with their target; answer browser and cards are built beforehand.
RESOURCES = {
    "data/published": "data/published",
    "data/results": "data/results",
    "figures": "figures",
    "paper/fonts": "fonts",
    "build/answers": "answers",
    "build/cards": "cards",
}

_FOLDERS = "|".join(RESOURCES.values())
_LINK = re.compile(
    rf"(?P<head>\b(?:(?:href|src)\s*=\s*|url\()\")(?:\.\./)*(?P<path>(?:{_FOLDERS}|notebooks)/)"
)
_KINDS = {"fig": "Figure", "tbl": "Table"}
#: CSS pixels in a point.
_PIXELS = 96 / 72
_IMAGE = re.compile(r'<img\b(?P<rest>[^>]*\bsrc="(?P<path>[^"]*)"[^>]*?)\s*/?>')
_SIZE_OF_SVG = re.compile(rb'<svg\b[^>]*?\bwidth="([\d.]+)pt" height="([\d.]+)pt"')
_FIGURE = re.compile(r'\bid="(?P<label>fig-[\w-]+)".*?<img\b[^>]*\bsrc="(?P<path>[^"]*)"', re.DOTALL)
_ABSTRACT = re.compile(r'<(?:div|section) class="abstract"')
#: The caption, and its copy for the enlarged picture.
_CAPTION_OF_QUARTO = re.compile(
    r"(?P<head><(?:figcaption\b[^>]*\bid|div\b[^>]*\baria-describedby)="
    r'"(?P<label>(?:fig|tbl)-[\w-]+?)-caption-[^"]*"[^>]*>\s*(?:<a\b[^>]*\btitle=")?)'
    r"(?:Figure|Table)(?:&nbsp;|\xa0)\d+:"
)
_OUTPUT_OF_QUARTO = re.compile(r'<div class="((?:cell-output )?cell-output-display\b[^"]*)"')
#: Quarto creates its colour-scheme switch on loading; on a notebook's page the bar would cover it.
_TOGGLE_OF_QUARTO = "window.document.body.appendChild(a);"
_TOGGLE = (
    "a.ariaLabel = 'Light or dark'; "
    "window.document.querySelector('#quarto-embed-header, #title-block-header').appendChild(a);"
)
_BAR_OF_QUARTO = '<div id="quarto-embed-header"'
_BODY = re.compile(r"<body\b[^>]*>")
_MAIN_OF_QUARTO = "quarto-document-content"
#: Longer values are phrases, which are not underlined.
_SHORT = 24
_LINK_OR_NUMBER = re.compile(
    r"(?P<open><a\b[^>]*>)|(?P<close></a>)"
    r"|<span(?=[^>]*\bclass=\"number\")(?=[^>]*\bdata-key=\"(?P<key>[\w.]+)\")[^>]*>"
    r"(?P<text>(?:(?!</?span\b|</?a\b).)*)</span>",
    re.DOTALL,
)


def finish_site(project: Project, numbers: Mapping[str, Mapping[str, str]], site: Path) -> None:
    """Apply the final steps that both renderings need to a site.

    Parameters
    ----------
    numbers
        From `caption_numbers`.

    Raises
    ------
    UserError
        If a link is broken.
    """
    root = project.paper.parent
    _rewrite_whole(site / "index.html", with_teaser)
    for position, notebook in enumerate(project.notebooks):
        numbered = partial(with_numbers, numbers=numbers[notebook.path])
        navigation = partial(with_navigation, notebooks=project.notebooks, position=position)
        _rewrite_whole(site / notebook.page, numbered, navigation)
    copy_resources(root, site)
    name_commit(root, site)
    mend_links(site)
    show_traces(root, site)
    check_links(site)


def rewrite(page: Path, *steps: Callable[[str], str]) -> None:
    """Apply steps to the text of a page, in place."""
    text = before = page.read_text(encoding="utf-8")
    for step in steps:
        text = step(text)
    if text != before:
        page.write_text(text, encoding="utf-8")


def _rewrite_whole(page: Path, *steps: Callable[[str], str]) -> None:
    if page.is_file():
        rewrite(page, reachable, partial(with_light_images, folder=page.parent), *steps)


def copy_resources(root: Path, site: Path) -> None:
    """Copy data, figures, fonts, answers and cards into the site (Quarto copies only its own folder)."""
    for source, target in RESOURCES.items():
        if (root / source).is_dir():
            shutil.copytree(root / source, site / target, dirs_exist_ok=True)


def name_commit(root: Path, site: Path) -> None:
    """Add the commit checked out to the site's manifest and to the end of the article's page.

    Does nothing outside a git repository.
    """
    found = manifest.commit(root)
    if found is None:
        return
    listing = site / manifest.MANIFEST
    if listing.is_file():
        content = manifest.read(root) | {"commit": found._asdict()}
        shown = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
        listing.write_text(shown + "\n", encoding="utf-8")
    changed = "" if found.clean else ", with changes that are not committed"
    line = (
        f'<p class="built">Built from commit <code>{found.id}</code>{changed}. What was made by which cell '
        f'from what: <a href="{manifest.MANIFEST}">manifest</a>.</p>\n'
    )
    rewrite(site / "index.html", partial(_at_the_end, line))


def _at_the_end(line: str, page: str) -> str:
    """The page with a line added at the end of its text."""
    before, end, after = page.rpartition("</main>")
    return before + line + end + after


# ---- captions, navigation, images ----


def caption_numbers(project: Project, article: Article) -> dict[str, dict[str, str]]:
    """Caption prefixes by notebook and label: "Table 2" as in the article, else "Table S3.1".

    S stands for the supplement, the first number for the notebook.
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
    """A notebook's page with the given caption numbers; Quarto itself numbers each page from 1."""

    def numbered(match: re.Match[str]) -> str:
        number = numbers.get(match["label"])
        return f"{match['head']}{number.replace(' ', '&nbsp;')}:" if number else match[0]

    return _CAPTION_OF_QUARTO.sub(numbered, page)


def reachable(page: str) -> str:
    """A Quarto page with a skip link, labels for switch and bar, and outputs that scroll by keyboard."""
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
    """The article's page with its first figure above the abstract, linked to its position in the text."""
    figure, abstract = _FIGURE.search(page), _ABSTRACT.search(page)
    if figure is None or abstract is None:
        return page
    image = f'<img src="{figure["path"]}" alt="Figure 1, in the text below">'
    teaser = f'<a class="teaser" href="#{figure["label"]}">{image}</a>\n'
    return page[: abstract.start()] + teaser + page[abstract.start() :]


def with_navigation(page: str, notebooks: Sequence[Notebook], position: int) -> str:
    """A notebook's page with links to the notebooks before and after it."""
    neighbours = {"Before": position - 1, "Next": position + 1}
    links = [
        f'<a href="{Path(notebooks[other].page).name}">{word}: {html.escape(notebooks[other].title)}</a>'
        for word, other in neighbours.items()
        if 0 <= other < len(notebooks)
    ]
    return _at_the_end(f'<nav class="way-on" aria-label="Other notebooks">{"".join(links)}</nav>\n', page)


def with_light_images(page: str, folder: Path) -> str:
    """A page whose images, except the first, are loaded lazily, with their size reserved.

    Each image links to its full size, as Quarto's lightbox does on Quarto's pages.
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
    """Width and height of a figure in CSS pixels; None if it is not an SVG sized in points."""
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        found = _SIZE_OF_SVG.search(stream.read(2000))
    return (round(float(found[1]) * _PIXELS), round(float(found[2]) * _PIXELS)) if found else None


# ---- links ----


def mend_links(site: Path) -> None:
    """Fix the links to data, figures, fonts and notebooks on every page of the site."""
    for page in sorted(site.rglob("*.html")):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        rewrite(page, partial(_LINK.sub, rf"\g<head>{up}\g<path>"))


def show_traces(root: Path, site: Path) -> None:
    """Link each number on the article's page to the cell that made it, with a description on hover.

    Both renderings mark numbers as ``<span class="number" data-key="…">``; the style sheets show the
    description.
    """
    found = all_numbers(root)
    # Each page is read only once.
    pages = {number.notebook: site / _page_of(number) for number in found.values()}
    targets = {name: _read(page).anchors if page.is_file() else () for name, page in pages.items()}
    rewrite(site / "index.html", partial(linked, found=found, targets=targets))


def linked(page: str, found: Mapping[str, Number], targets: Mapping[str, Collection[str]]) -> str:
    """The page with its marked numbers as links, except numbers inside another link.

    Parameters
    ----------
    page
        The page's HTML.
    found
        Numbers by key; other keys are left unchanged.
    targets
        The anchors of each notebook's page.
    """
    inside = 0

    def link(match: re.Match[str]) -> str:
        nonlocal inside
        inside += bool(match["open"]) - bool(match["close"])
        number = found.get(match["key"] or "")
        if number is None or inside > 0:
            return match[0]
        kind = "number" if len(number.text) <= _SHORT else "number phrase"
        # Both renderings use the same anchor.
        there = number.cell and number.cell.anchor in targets.get(number.notebook, ())
        href = _page_of(number) + (f"#{number.cell.anchor}" if number.cell and there else "")
        shown = html.escape(number.shown)
        attributes = f'class="{kind}" href="{href}" data-key="{number.key}" aria-description="{shown}"'
        return f"<a {attributes}>{match['text']}</a>"

    return _LINK_OR_NUMBER.sub(link, page)


def _page_of(number: Number) -> str:
    return f"notebooks/{number.notebook}-preview.html"


def check_links(site: Path) -> None:
    """Check every link within the site.

    Raises
    ------
    UserError
        If files or anchors that links lead to are missing; lists all such links.
    """
    pages = {page.resolve(): _read(page) for page in sorted(site.rglob("*.html"))}
    faults = [
        f"{page.relative_to(site.resolve())}: the link to {link} leads nowhere."
        for page, parsed in pages.items()
        for link in parsed.links
        if not _leads_somewhere(page, link, pages)
    ]
    if faults:
        raise UserError("\n".join(faults))


class _Page(HTMLParser):
    """Collects the anchors and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag's id and link target."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def _read(file: Path) -> _Page:
    page = _Page()
    page.feed(file.read_text(encoding="utf-8"))
    return page


def _leads_somewhere(page: Path, link: str, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.exists():
        return False
    if "=" in parts.fragment and target.parent.name == RESOURCES["build/answers"]:
        return True  # filters of the answer browser, not an anchor
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].anchors
