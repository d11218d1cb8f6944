"""The wording of study 3: themes, frames, questions, codebook and sentence bank in ``data/stimuli/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.shared import wording_of

#: Modes with a number per theme. The priority is 7 − rank in a ranking, the number itself in the others.
CLOSED_MODES = ("ranking", "rating", "allocation")
#: The mode whose profiles are counted from coded sentences.
OPEN = "open"
MODES = (*CLOSED_MODES, OPEN)
#: The code of a sentence about none of the themes.
NONE = "none"
#: Number of wordings of the frame.
WORDINGS = 5


class Theme(NamedTuple):
    """A theme: its key in tables, and its name and definition in prompts."""

    key: str
    name: str
    definition: str


@dataclass(frozen=True)
class Stimuli:
    """The questions put to people and models."""

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
        """The turn that follows an unreadable reply in a mode."""
        return self.repair.format(reply=self.replies[mode])

    def mode_of(self, question: str) -> str | None:
        """The mode of a first turn or repair turn; None for any other text."""
        for mode in CLOSED_MODES:
            if self.questions[mode] in question or question == self.repair_turn(mode):
                return mode
        opened = (f"{text} {self.open_format}" for text in self.open_questions.values())
        return OPEN if question in opened else None


@dataclass(frozen=True)
class Codebook:
    """Instructions for coding sentences, the same for coder models and people."""

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
    """Sentences by their known code, from which reference agents compose open answers."""

    sentences: Mapping[str, tuple[str, ...]]
    refusal: str


def letters(text: str) -> str:
    """Reduce a name to its letters without "and", so that its spellings and its key match."""
    return re.sub(r"\band\b|[^a-z]", "", text.casefold().replace("_", " "))


def load_stimuli(path: Path) -> Stimuli:
    """Read ``profiles.yml``.

    Raises
    ------
    UserError
        When an entry is missing or invalid, or there are not six themes, five wordings and three modes.
    """
    with wording_of(path) as content:
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
    counts = (len(themes), len(stimuli.frames), len(stimuli.open_questions), tuple(stimuli.questions))
    if counts != (THEMES, WORDINGS, WORDINGS, CLOSED_MODES):
        raise UserError(
            f"{shown(path)}: there must be {THEMES} themes, {WORDINGS} frames, {WORDINGS} open questions and "
            f"the modes {', '.join(CLOSED_MODES)}; there are {counts}"
        )
    return stimuli


def load_codebook(path: Path, themes: tuple[Theme, ...]) -> Codebook:
    """Read ``profiles_codebook.yml``.

    Raises
    ------
    UserError
        When an entry is missing or invalid, or the file's themes differ from these.
    """
    with wording_of(path) as content:
        if list(content["themes"]) != [theme.key for theme in themes]:
            raise UserError(f"{shown(path)}: the themes must be those of the instrument, in the same order")
        names = {theme.key: theme.name for theme in themes} | {NONE: "None"}
        lines = [content["task"], "", *(f"- {rule}" for rule in content["rules"]), ""]
        for theme in themes:
            entry = content["themes"][theme.key]
            lines.append(f"{theme.name}: {entry['about']}. Not: {entry['not']}.")
        lines.append(f"None: {content['none']}.")
        listed = ", ".join(f'"{name}"' for name in names.values())
        text = "\n".join([*lines, "", content["format"].format(names=listed)])
        return Codebook(content["version"], text, content["repair"].format(names=listed), names)


def load_bank(path: Path, themes: tuple[Theme, ...]) -> SentenceBank:
    """Read ``profiles_sentences.yml``.

    Raises
    ------
    UserError
        When a theme has no sentences, or a sentence has two codes.
    """
    with wording_of(path) as content:
        codes = [*(theme.key for theme in themes), NONE]
        bank = SentenceBank({code: tuple(content[code]) for code in codes}, content["refusal"])
    listed = [sentence for sentences in bank.sentences.values() for sentence in sentences]
    twice = {sentence for sentence in listed if listed.count(sentence) > 1}
    if twice or not all(bank.sentences.values()):
        raise UserError(
            f"{shown(path)}: each code needs its own sentences; repeated: {sorted(twice)[:1] or 'none'}"
        )
    return bank
