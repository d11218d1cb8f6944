"""Cards as files: a page and a PDF each, by pandoc and typst, from the templates in ``paper/card/``.

The site has one of each language model of the paper that is on record, and a list of them.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from deepvalues.ask import catalogue
from deepvalues.ask.registry import FAMILIES, Model
from deepvalues.card.facts import facts
from deepvalues.card.gather import Asked, gathered
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder, writing
from deepvalues.core.paths import shown
from deepvalues.paper.article import document, typeset
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


def card(asked: Asked) -> Card:
    """The card of a respondent."""
    model = asked.model
    size = "" if model.billions is None else f"{model.billions:g} billion parameters"
    developer = "" if model.developer == "unknown" else model.developer
    line = ", ".join(each for each in (model.family, developer, size) if each)
    return Card(file_name(model.name), f"Report card: {model.name}", line, "card", facts(asked))


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
        found = typeset(source, TEMPLATES / "card.typ", sys_inputs={"size": str(size)})
        if len(_PAGE.findall(found)) == 1:
            break
    return found


def _pandoc(card: Card, frame: str, options: Sequence[str]) -> str:
    text = Sentences(card.template, TEMPLATES).whole({**card.facts, "html": frame.endswith(".html")})
    own = [f"--metadata=title:{card.title}", f"--metadata=subtitle:{card.subtitle}"]
    fixed = ["--from=markdown-citations-smart", f"--template={TEMPLATES / frame}", *own]
    return document(text, [*fixed, *options], TEMPLATES / f"{card.template}.md")


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


# ---- the cards of the site ----

_ARTICLE = Link("Article", "../index.html")


def write_cards(folder: Path, record_folder: Path = paths.RESPONSES) -> list[str]:
    """Write a folder with the cards of the paper's language models; it replaces what was in the folder.

    Returns
    -------
    list of str
        The models that have a card: those that answered all of a section.

    Raises
    ------
    UserError
        When the folder holds anything else than cards, or can't be written.
    """
    there = list(folder.glob("[!.]*"))
    own = (folder / "index.html").is_file() and {path.suffix for path in there} <= {".html", ".pdf"}
    if folder.is_file() or (there and not own):
        raise UserError(f"{shown(folder)}: holds other files than cards; name another folder")
    found = [gathered(model, record_folder) for model in _listed()]
    cards = {asked.model.name: card(asked) for asked in found if asked.has_section}
    with tempfile.TemporaryDirectory(prefix="deepvalues-") as temporary:
        site = Path(temporary) / "cards"
        site.mkdir()
        for model, each in cards.items():
            answers = f"../answers/index.html#{urlencode({'model': model})}"
            links = [Link("All cards", "index.html"), _ARTICLE, Link("Its answers", answers)]
            for name, content in rendered(each, links).items():
                (site / name).write_bytes(content)
        listed = [{"file": each.file, "title": each.title, **each.facts} for each in cards.values()]
        index = Card("index", "Report cards", "language models on record", "all", {"cards": listed})
        (site / "index.html").write_text(html(index, [_ARTICLE]), encoding="utf-8")
        replace_folder(site, folder)
    return list(cards)


def _listed() -> list[Model]:
    """The language models of the paper, each once, in its order."""
    registry = catalogue.registry()
    names = dict.fromkeys(name for listed in registry.paper.values() for name in listed)
    return [model for name, model in registry.models.items() if name in names and model.family == FAMILIES[0]]
