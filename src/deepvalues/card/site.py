"""The cards of the site: one of each language model of the paper that is on record, and a list of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlencode

from deepvalues.ask import catalogue
from deepvalues.ask.registry import FAMILIES, Model
from deepvalues.card.facts import card
from deepvalues.card.gather import gathered
from deepvalues.card.write import Card, html, rendered
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder
from deepvalues.core.paths import shown
from deepvalues.paper.project import Link

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
