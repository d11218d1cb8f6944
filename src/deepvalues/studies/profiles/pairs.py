"""Pairs: which of two themes matters more, for models that choose by letter probability.

Each of the fifteen pairs is put in both orders and in five frames. A prompt shows the two themes as options A
and B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pandera.pandas as pa

from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.reading import Reading, Received, read_choice
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.paths import shown
from deepvalues.studies.profiles.stimuli.instrument import WORDINGS, Stimuli, Theme, load_stimuli

LETTERS = ("A", "B")
#: What is put into a model's mouth; the lines of the options begin with it.
BEGIN = "Option"
#: How many of the five frames each set has.
ITEM_SETS = {"smoke": 1, "standard": WORDINGS}
#: The longest free reply, in tokens: room for an option alone.
MAX_TOKENS = 10

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "wording": pa.Column(str),
        # The themes in their fixed order, and whether the first of them is option B.
        "first": pa.Column(str),
        "second": pa.Column(str),
        "swapped": pa.Column(bool),
        "prefix_chars": pa.Column("int64", pa.Check.gt(0)),
        "prompt": pa.Column(str, unique=True),
    },
    strict=True,
    ordered=True,
    name="profiles-pairs items",
)


@dataclass(frozen=True)
class PairWording:
    """The texts of ``data/stimuli/profiles_pairs.yml``, and the themes."""

    themes: tuple[Theme, ...]
    frames: Mapping[str, str]
    option: str
    question: str
    ending: str
    bare_ending: str

    def opening(self, frame: str) -> str:
        """What stands before the options."""
        return f"{self.frames[frame]}\n\n"

    def prompt(self, frame: str, shown: Sequence[Theme]) -> str:
        """A whole prompt, with two themes in the order in which they are shown."""
        options = [
            self.option.format(letter=letter, name=theme.name, definition=theme.definition)
            for letter, theme in zip(LETTERS, shown, strict=True)
        ]
        return self.opening(frame) + "\n".join([*options, "", f"{self.question} {self.ending}"])

    def themes_of(self, prompt: str) -> tuple[str, ...]:
        """Keys of the themes that a prompt shows, in the order shown; empty where it is no such prompt."""
        lines = {
            self.option.format(letter=letter, name=theme.name, definition=theme.definition): theme.key
            for theme in self.themes
            for letter in LETTERS
        }
        found = tuple(lines[line] for line in prompt.splitlines() if line in lines)
        return found if len(found) == len(LETTERS) else ()


def load_pairs(path: Path, themes: tuple[Theme, ...]) -> PairWording:
    """Read the wording.

    Raises
    ------
    UserError
        When the file lacks a text, has not five frames, or a text has other slots.
    """
    content: Mapping[str, Any] = read_yaml(path)
    try:
        frames = {str(entry["id"]): str(entry["text"]) for entry in content["frames"]}
        texts = (str(content[name]) for name in ("option", "question", "ending", "bare_ending"))
        wording = PairWording(themes, frames, *texts)
        if len(frames) != WORDINGS:
            raise ValueError(f"there are {len(frames)} frames, not {WORDINGS}")
        wording.prompt(next(iter(frames)), themes[:2])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{shown(path)}: not the wording of this study: {error!r}") from None
    return wording


def build_pairs(wording: PairWording, item_set: str) -> pd.DataFrame:
    """Build the items of a set: frames × 15 pairs × 2 orders.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `CONTRACT`: 150 rows in ``standard``, of which ``smoke`` has the 30 of one frame.

    Raises
    ------
    UserError
        When the set is unknown.
    """
    if item_set not in ITEM_SETS:
        raise UserError(f"unknown set {item_set!r}; there are {', '.join(ITEM_SETS)}")
    rows = [
        (
            f"{frame}.{first.key}.{second.key}.{'b' if swapped else 'a'}",
            frame,
            first.key,
            second.key,
            swapped,
            len(wording.opening(frame)),
            wording.prompt(frame, (second, first) if swapped else (first, second)),
        )
        for frame in list(wording.frames)[: ITEM_SETS[item_set]]
        for first, second in combinations(wording.themes, 2)
        for swapped in (False, True)
    ]
    validated: pd.DataFrame = CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))
    return validated


@dataclass(frozen=True)
class ThemePairs:
    """Study 3 in pairs."""

    stimuli_file: Path
    wording_file: Path
    name: str = "profiles-pairs"
    title: str = "Study 3, pairs"
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({"max_tokens": MAX_TOKENS})
    )

    @cached_property
    def stimuli(self) -> Stimuli:
        """The instrument's words."""
        return load_stimuli(self.stimuli_file)

    @cached_property
    def wording(self) -> PairWording:
        """The words of the pairs."""
        return load_pairs(self.wording_file, self.stimuli.themes)

    @cached_property
    def letter_choice(self) -> LetterChoice:
        """How it is asked by letter probability."""
        return LetterChoice(LETTERS, BEGIN, self.wording.ending, self.wording.bare_ending)

    @property
    def contract(self) -> pa.DataFrameSchema:
        """What the items of any set meet."""
        return CONTRACT

    @property
    def seed(self) -> int:
        """The seed of requests."""
        return self.stimuli.seed

    def items(self, item_set: str) -> pd.DataFrame:
        """The items of ``smoke`` (30) or ``standard`` (150)."""
        return build_pairs(self.wording, item_set)

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One user message an item; items of a frame share its text."""
        columns = items[["id", "prompt", "prefix_chars"]].itertuples(index=False, name=None)
        return [Conversation(id, (prompt,), prefix=prompt[:length]) for id, prompt, length in columns]

    def read(self, received: Received) -> Reading:
        """Read a free reply."""
        return read_choice(received, LETTERS)
