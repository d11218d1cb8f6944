"""Collect the recorded answers behind a card, for any respondent, whether or not models.yml lists it."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from deepvalues.ask import catalogue, on_record
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Record
from deepvalues.ask.registry import Model
from deepvalues.core import paths
from deepvalues.core.errors import UserError

#: The sets for each section. The first set answered is used. Respondents asked by letters are asked the first
#: set, others the last.
SECTIONS = {
    "values": (("dvb", "n4-50"),),
    "social": (("svo-letters", "standard"), ("svo", "standard")),
    "priorities": (("profiles-pairs", "standard"), ("profiles", "standard")),
}
#: Sets of more cells: the first answered in full replaces the smaller set.
MORE_CELLS = {("dvb", "n4-50"): (("dvb", "n4-200"), ("dvb", "n4-100"))}
#: Sets that supplement Study 1 but are not sections of their own.
BESIDE = {
    "validation": (("dvb-validation", "standard"), ("dvb-validation", "half")),
    "free": (("dvb-free", "standard"),),
}
#: The sets of each study that contain everything a card needs.
ENOUGH = {
    "dvb": ("n4-50", "n4-100", "n4-200", "n4", "standard"),
    **{study: (name,) for found in SECTIONS.values() for study, name in found if study != "dvb"},
}


class Part(NamedTuple):
    """The answers of a respondent to one set.

    ``recorded`` counts the items answered to the last turn, ``begun`` says whether there is any answer, and
    ``command`` asks for the rest.
    """

    questions: Questions
    item_set: str
    items: pd.DataFrame
    recorded: int
    begun: bool
    command: str

    @property
    def study(self) -> str:
        """The study's name."""
        return self.questions.study.name

    @property
    def is_complete(self) -> bool:
        """Whether the whole set is answered; figures use only complete sets."""
        return self.begun and self.recorded == self.questions.items


class Asked(NamedTuple):
    """A respondent, and its parts by the names in `SECTIONS` and `BESIDE`."""

    model: Model
    parts: dict[str, Part]

    def complete(self, name: str) -> Part | None:
        """The part, if it is answered in full, else None."""
        part = self.parts[name]
        return part if part.is_complete else None

    @property
    def has_section(self) -> bool:
        """Whether any section is answered in full."""
        return len(self.lacking()) < len(SECTIONS)

    def begun(self) -> list[Part]:
        """The parts with any recorded answer."""
        return [part for part in self.parts.values() if part.begun]

    def lacking(self) -> list[Part]:
        """The sections that are not answered in full."""
        return [self.parts[name] for name in SECTIONS if not self.parts[name].is_complete]


def card_command(model: Model, record_folder: Path) -> str:
    """The command that writes a respondent's card, with the options that the user gave."""
    return shlex.join(["deepvalues", "card", model.name, *on_record.given_options(model, record_folder)])


def gather(model: Model, record_folder: Path = paths.RESPONSES) -> Asked:
    """Collect the recorded answers of a respondent.

    Raises
    ------
    UserError
        When no section is answered in full; lists what is missing and the commands that ask for it.
    """
    asked = gathered(model, record_folder)
    if asked.has_section:
        return asked
    begun = [part for part in asked.lacking() if part.begun]
    where = paths.shown(record_folder)
    first = f"{model.name}: {where} holds no answers to the sets of a card; this command asks for them:"
    if begun:
        first = f"{model.name}: no study is answered in full in {where}; these commands ask for the rest:"
    raise UserError("\n".join([first, *(f"  {_missing(part)}" for part in begun or asked.lacking()[:1])]))


def _missing(part: Part) -> str:
    if not part.begun:
        return part.command
    return f"{part.study}: {part.recorded:,} of {part.questions.items:,} items are answered; {part.command}"


def gathered(model: Model, record_folder: Path = paths.RESPONSES) -> Asked:
    """Collect the recorded answers of a respondent, even if there are none."""
    # Respondents asked in words are asked the last set of a section.
    sections = {name: sets if model.letters else sets[::-1] for name, sets in SECTIONS.items()}
    parts = {}
    for name, sets in (sections | BESIDE).items():
        found = [_part(model, *each, record_folder) for each in sets]
        complete = [part for part in found if part.is_complete]
        if complete:
            larger = MORE_CELLS.get((complete[0].study, complete[0].item_set), ())
            complete[:0] = [
                each for each in (_part(model, *one, record_folder) for one in larger) if each.is_complete
            ]
        parts[name] = [*complete, *(part for part in found if part.begun), *found][0]
    return Asked(model, parts)


def _part(model: Model, name: str, item_set: str, record_folder: Path) -> Part:
    study, record = catalogue.study(name), Record(record_path(record_folder, name, model.name))
    # Items are not needed without answers.
    items = _items(name, item_set) if record.answers else pd.DataFrame(columns=["id"])
    conversations = study.conversations(items) if record.answers else ()
    questions = Questions(study, conversations, model, record)
    return Part(
        questions,
        item_set,
        items,
        recorded=questions.items - questions.missing(),
        begun=bool(questions.recorded_keys()),
        command=on_record.command_line("query", name, model, record_folder, item_set),
    )


def _items(study: str, item_set: str) -> pd.DataFrame:
    """The items as written by notebook 1, which is faster; rebuilt if they are missing or out of date."""
    if paths.items_file(study, item_set).is_file():
        with suppress(UserError):
            return catalogue.read_items(study, item_set)
    return catalogue.study(study).items(item_set)
