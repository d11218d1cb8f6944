"""Commands that write report cards: of a model, of two side by side, and those of the site."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepvalues.cli.command import KEY_VARIABLE, Commands, flag, option, record
from deepvalues.core import paths
from deepvalues.core.errors import UserError

if TYPE_CHECKING:
    from deepvalues.card.gather import Asked

COMMANDS = Commands()
#: Apart from the cards of the site, which `make paper` writes anew.
_OUT, _OF_SITE = paths.BY_HAND / "cards", paths.ROOT / "build" / "cards"


@COMMANDS.add(
    "smollm2-135m",
    option("model", "MODEL", "a model on record, or two that are to be compared", nargs="+"),
    option("--base-url", "URL", "where the model was asked, if it was asked by its address"),
    KEY_VARIABLE,
    record(),
    option("--out", "DIR", "the folder of page and PDF (default: build/by_hand/cards)", Path, default=_OUT),
    flag("--replace", "overwrite files that are there with another content"),
)
def card(arguments: argparse.Namespace) -> None:
    """Write a model's report card as a page and a PDF, or the card of what tells two models apart."""
    from deepvalues.card.compare import comparison
    from deepvalues.card.facts import card
    from deepvalues.card.write import rendered, write

    if len(arguments.model) > 2:
        raise UserError(f"a card shows one model or two, not {len(arguments.model)}")
    asked = [_asked(name, arguments) for name in arguments.model]
    found = card(*asked) if len(asked) == 1 else comparison(*asked)
    for path in write(rendered(found), arguments.out, arguments.replace):
        print(paths.shown(path))


def _asked(name: str, arguments: argparse.Namespace) -> Asked:
    from deepvalues.ask import catalogue
    from deepvalues.ask.questions import record_path
    from deepvalues.card.gather import gather

    registry = catalogue.registry()
    files = (record_path(arguments.record, study, name) for study in catalogue.studies())
    if name not in registry.models and not arguments.base_url and any(file.is_file() for file in files):
        raise UserError(
            f"{name}: {paths.shown(arguments.record)} has answers of it, but {paths.shown(paths.MODELS)} "
            "has no entry: give the --base-url at which it was asked"
        )
    return gather(registry.model(name, arguments.base_url, arguments.key_variable), arguments.record)


@COMMANDS.add(
    "",
    record("the paper's record"),
    option("--out", "DIR", "the folder, which is replaced (default: build/cards)", Path, default=_OF_SITE),
    for_make=True,
)
def cards(arguments: argparse.Namespace) -> None:
    """Write the report cards of the site: one of each language model of the paper that is on record."""
    from deepvalues.card.site import write_cards

    models = write_cards(arguments.out, arguments.record)
    print(f"{paths.shown(arguments.out / 'index.html')}: {len(models)} cards")
