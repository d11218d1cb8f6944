"""Write cards as HTML and PDF with pandoc and typst, from the templates in ``paper/card/``.

The site has a card for each language model of the paper with recorded answers, and an index page.
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
from deepvalues.card.facts import differences, facts
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
#: Font sizes of the PDF in points; the first at which the card fits on one page is used.
_SIZES = (9.6, 9.2, 8.8, 8.4, 8.0, 7.6)
_PAGE = re.compile(rb"/Type\s*/Page\b")


class Card(NamedTuple):
    """A card: file name without suffix, title and subtitle, template name, and facts for the template."""

    file: str
    title: str
    subtitle: str
    template: str
    facts: Mapping[str, Any]


def file_name(*models: str) -> str:
    """The file name of a card without suffix; a slash in a model's name becomes two underscores."""
    return "-against-".join(model.replace("/", "__") for model in models)


def card(asked: Asked) -> Card:
    """The card of a respondent."""
    model = asked.model
    size = "" if model.billions is None else f"{model.billions:g} billion parameters"
    developer = "" if model.developer == "unknown" else model.developer
    line = ", ".join(each for each in (model.family, developer, size) if each)
    return Card(file_name(model.name), f"Report card: {model.name}", line, "card", facts(asked))


def comparison(one: Asked, other: Asked) -> Card:
    """The card that compares two respondents.

    Raises
    ------
    UserError
        When both are the same, or have no section that both answered in full and in the same way.
    """
    names = [each.model.name for each in (one, other)]
    if names[0] == names[1]:
        raise UserError(f"{names[0]}: a model can't be compared with itself; name two models")
    found = differences(one, other)
    if not any(found.values()):
        commands = [f"  {part.command}" for each in (one, other) for part in each.lacking()]
        first = (
            f"{' and '.join(names)} share no study answered in full by both; these commands ask for the rest:"
        )
        raise UserError("\n".join([first, *commands]))
    content = {
        "names": names,
        "cards": [facts(each) for each in (one, other)],
        "differences": {name: [each._asdict() for each in rows] for name, rows in found.items()},
    }
    title = f"{names[0]} against {names[1]}"
    return Card(file_name(*names), title, "report card of two models", "compare", content)


def rendered(card: Card, links: Sequence[Link] = ()) -> dict[str, bytes]:
    """The files of a card by name: the page and the PDF, linked from it.

    Parameters
    ----------
    links
        Further links for the page.

    Raises
    ------
    UserError
        When template and facts do not match, or pandoc or typst reject the text.
    """
    pdf = f"{card.file}.pdf"
    page = html(card, [Link("PDF", pdf), *links])
    return {f"{card.file}.html": page.encode(), pdf: _pdf(card)}


def html(card: Card, links: Sequence[Link]) -> str:
    """The HTML page of a card, or of another template in the same folder."""
    style = "\n".join(file.read_text(encoding="utf-8") for file in _STYLES)
    variables = [f"--variable=style={style}", f"--variable=head={link_list('', links)}"]
    return _pandoc(card, "page.html", ["--to=html5", "--shift-heading-level-by=1", *variables])


def _pdf(card: Card) -> bytes:
    """The PDF of the card, at the largest font size at which it fits on one page."""
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
    """Write files into a folder and return their paths.

    Parameters
    ----------
    replace
        Whether existing files with different content are overwritten.

    Raises
    ------
    UserError
        When a file exists and may not be overwritten (then none is written), or the folder can't be written.
    """
    targets = {folder / name: content for name, content in files.items()}
    conflicts = [
        path
        for path, content in targets.items()
        if path.exists() and not (path.is_file() and path.read_bytes() == content)
    ]
    if conflicts and not replace:
        names = ", ".join(shown(path) for path in conflicts)
        raise UserError(
            f"{names}: already there with different content; overwrite with --replace, or use --out DIR"
        )
    for path, content in targets.items():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return list(targets)


# ---- the cards of the site ----

_ARTICLE = Link("Article", "../index.html")


def write_cards(folder: Path, record_folder: Path = paths.RESPONSES) -> list[str]:
    """Write the cards of the paper's language models into a folder, replacing its contents.

    Returns
    -------
    list of str
        The models with a card: those that answered at least one section in full.

    Raises
    ------
    UserError
        When the folder holds other files, or can't be written.
    """
    present = list(folder.glob("[!.]*"))
    own = (folder / "index.html").is_file() and {path.suffix for path in present} <= {".html", ".pdf"}
    if folder.is_file() or (present and not own):
        raise UserError(f"{shown(folder)}: holds files that are not cards; name another folder")
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
    """The language models of the paper, without duplicates, in the order of the paper."""
    registry = catalogue.registry()
    names = dict.fromkeys(name for listed in registry.paper.values() for name in listed)
    return [model for name, model in registry.models.items() if name in names and model.family == FAMILIES[0]]
