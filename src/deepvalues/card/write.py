"""Cards as files: a page and a PDF each, by pandoc and typst, from the templates in ``paper/card/``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typst

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import writing
from deepvalues.core.paths import shown
from deepvalues.paper.article import pandoc
from deepvalues.paper.plain import link_list
from deepvalues.paper.project import Link
from deepvalues.paper.sentences import Sentences

TEMPLATES = paths.PAPER / "card"
_STYLES = (paths.PAPER / "plain" / "style.css", TEMPLATES / "card.css")
#: Sizes of the text on paper, in points: the first with which a card is one page.
_SIZES = (9.6, 9.2, 8.8, 8.4, 8.0, 7.6)
_PAGE = re.compile(rb"/Type\s*/Page\b")


class Card(NamedTuple):
    """A card as it is written: the name of its files, title and line below, template and facts."""

    file: str
    title: str
    subtitle: str
    template: str
    facts: Mapping[str, Any]


def file_name(*models: str) -> str:
    """The name of a card's files, without an ending; a slash in a model's name becomes two underscores."""
    return "-against-".join(model.replace("/", "__") for model in models)


def rendered(card: Card, links: Sequence[Link] = ()) -> dict[str, bytes]:
    """The files of a card by name: the page, and the PDF, which it links to.

    Parameters
    ----------
    links
        Beside the one to the PDF.

    Raises
    ------
    UserError
        When template and facts do not fit, or pandoc or typst refuse the text.
    """
    pdf = f"{card.file}.pdf"
    page = html(card, [Link("PDF", pdf), *links])
    return {f"{card.file}.html": page.encode(), pdf: _pdf(card)}


def html(card: Card, links: Sequence[Link]) -> str:
    """The page of a card, or of any template of this folder."""
    style = "\n".join(file.read_text(encoding="utf-8") for file in _STYLES)
    variables = [f"--variable=style={style}", f"--variable=head={link_list('', links)}"]
    return _pandoc(card, "page.html", ["--to=html5", "--shift-heading-level-by=1", *variables])


def _pdf(card: Card) -> bytes:
    """The card on as few pages as its text allows, which is one."""
    found, source = b"", _pandoc(card, "card.typ", ["--to=typst"]).encode()
    for size in _SIZES:
        try:
            # Only typst's own fonts, so that every machine sets the same page.
            found = typst.compile(source, ignore_system_fonts=True, sys_inputs={"size": str(size)})
        except typst.TypstError as error:
            raise UserError(f"{shown(TEMPLATES / 'card.typ')}: typst refuses the text: {error}") from error
        if len(_PAGE.findall(found)) == 1:
            break
    return found


def _pandoc(card: Card, frame: str, options: Sequence[str]) -> str:
    text = Sentences(card.template, TEMPLATES).whole({**card.facts, "html": frame.endswith(".html")})
    own = [f"--metadata=title:{card.title}", f"--metadata=subtitle:{card.subtitle}"]
    fixed = ["--from=markdown-citations-smart", "--standalone", "--wrap=none", "--columns=100000"]
    options = [*fixed, "--fail-if-warnings", f"--template={TEMPLATES / frame}", *own, *options]
    return pandoc(text, options, TEMPLATES / f"{card.template}.md")


def write(files: Mapping[str, bytes], folder: Path, replace: bool = False) -> list[Path]:
    """Write files into a folder; give their paths.

    Parameters
    ----------
    replace
        Whether files that are there with another content are overwritten.

    Raises
    ------
    UserError
        When one is there and may not be overwritten, so that none is written; or the folder can't be written.
    """
    targets = {folder / name: content for name, content in files.items()}
    others = [
        path
        for path, content in targets.items()
        if path.exists() and not (path.is_file() and path.read_bytes() == content)
    ]
    if others and not replace:
        names = ", ".join(shown(path) for path in others)
        raise UserError(
            f"{names}: there already, with another content; --replace overwrites it, --out DIR names another "
            "folder"
        )
    for path, content in targets.items():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return list(targets)
