"""The instrument's words: themes, frames, questions, codebook and sentence bank of ``data/stimuli/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.paths import shown
from deepvalues.studies.profiles.analysis.measures import THEMES

#: Modes with a number for each theme; a ranking's priority is 7 − rank, in the others the number itself.
CLOSED_MODES = ("ranking", "rating", "allocation")
#: Where the profile is counted from coded sentences.
OPEN = "open"
MODES = (*CLOSED_MODES, OPEN)
#: The code of a sentence that is about no theme.
NONE = "none"
#: Wordings of the frame.
WORDINGS = 5


class Theme(NamedTuple):
    """A theme: its key in frames, its name and definition in prompts."""

    key: str
    name: str
    definition: str


@dataclass(frozen=True)
class Stimuli:
    """What people and models are asked."""

    version: str
    seed: int
    themes: tuple[Theme, ...]
    frames: Mapping[str, str]
    questions: Mapping[str, str]
    replies: Mapping[str, str]
    reply_format: str
    repair: str
    open_questions: Mapping[str, str]
    open_format: str

    @property
    def keys(self) -> list[str]:
        """Keys of the themes in their fixed order."""
        return [theme.key for theme in self.themes]

    def repair_turn(self, mode: str) -> str:
        """What is said where a reply in a mode could not be read."""
        return self.repair.format(reply=self.replies[mode])

    def mode_of(self, question: str) -> str | None:
        """The mode that a first turn or a repair turn asks in; None where it is neither."""
        for mode in CLOSED_MODES:
            if self.questions[mode] in question or question == self.repair_turn(mode):
                return mode
        opened = (f"{text} {self.open_format}" for text in self.open_questions.values())
        return OPEN if question in opened else None


@dataclass(frozen=True)
class Codebook:
    """How sentences are coded: the same text for coder models and for people."""

    version: str
    text: str
    repair: str
    names: Mapping[str, str]

    @property
    def codes(self) -> list[str]:
        """Keys of the themes, and ``none``."""
        return list(self.names)


@dataclass(frozen=True)
class SentenceBank:
    """Sentences of known code, by code, from which reference agents write open answers."""

    sentences: Mapping[str, tuple[str, ...]]
    refusal: str


def letters(text: str) -> str:
    """A name reduced to its letters without "and", so that ways to write it, and its key, agree."""
    return re.sub(r"\band\b|[^a-z]", "", text.casefold().replace("_", " "))


def _yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{shown(path)}: not a list of named entries; restore it from git")
    return content


def load_stimuli(path: Path) -> Stimuli:
    """Read ``profiles.yml``.

    Raises
    ------
    UserError
        When an entry is missing, or the numbers of themes, wordings or modes are not six, five and three.
    """
    content = _yaml(path)
    try:
        themes = tuple(Theme(key, **entry) for key, entry in content["themes"].items())
        stimuli = Stimuli(
            version=content["version"],
            seed=int(content["seed"]),
            themes=themes,
            frames={entry["id"]: entry["text"] for entry in content["frames"]},
            questions={mode: entry["question"] for mode, entry in content["modes"].items()},
            replies={mode: entry["reply"] for mode, entry in content["modes"].items()},
            reply_format=content["format"],
            repair=content["repair"],
            open_questions={entry["id"]: entry["text"] for entry in content["open"]},
            open_format=content["open_format"],
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{shown(path)}: wrong or missing entry {error}") from None
    counts = (len(themes), len(stimuli.frames), len(stimuli.open_questions), tuple(stimuli.questions))
    if counts != (THEMES, WORDINGS, WORDINGS, CLOSED_MODES):
        raise UserError(
            f"{shown(path)}: there must be {THEMES} themes, {WORDINGS} frames, {WORDINGS} open questions and "
            f"the modes {', '.join(CLOSED_MODES)}; there are {counts}"
        )
    return stimuli


def load_codebook(path: Path, themes: tuple[Theme, ...]) -> Codebook:
    """Read ``profiles_codebook.yml`` for these themes.

    Raises
    ------
    UserError
        When an entry is missing, or its themes are others.
    """
    content = _yaml(path)
    try:
        if list(content["themes"]) != [theme.key for theme in themes]:
            raise UserError(f"{shown(path)}: its themes are not those of the instrument, in their order")
        names = {theme.key: theme.name for theme in themes} | {NONE: "None"}
        lines = [content["task"], "", *(f"- {rule}" for rule in content["rules"]), ""]
        for theme in themes:
            entry = content["themes"][theme.key]
            lines.append(f"{theme.name}: {entry['about']}. Not: {entry['not']}.")
        lines.append(f"None: {content['none']}.")
        listed = ", ".join(f'"{name}"' for name in names.values())
        text = "\n".join([*lines, "", content["format"].format(names=listed)])
        return Codebook(content["version"], text, content["repair"].format(names=listed), names)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{shown(path)}: wrong or missing entry {error}") from None


def load_bank(path: Path, themes: tuple[Theme, ...]) -> SentenceBank:
    """Read ``profiles_sentences.yml`` for these themes.

    Raises
    ------
    UserError
        When a theme has no sentences, or a sentence has two codes.
    """
    content = _yaml(path)
    try:
        codes = [*(theme.key for theme in themes), NONE]
        bank = SentenceBank({code: tuple(content[code]) for code in codes}, content["refusal"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{shown(path)}: wrong or missing entry {error}") from None
    listed = [sentence for sentences in bank.sentences.values() for sentence in sentences]
    twice = {sentence for sentence in listed if listed.count(sentence) > 1}
    if twice or not all(bank.sentences.values()):
        raise UserError(f"{shown(path)}: each code needs sentences of its own; twice: {sorted(twice)[:1]}")
    return bank
