"""Pairs: which of two themes matters more, for models that choose by letter probability.

Each of the fifteen pairs is put in both orders and in five frames. A prompt shows the two themes as options A
and B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.paths import shown
from deepvalues.studies.profiles.stimuli.instrument import WORDINGS, Theme

LETTERS = ("A", "B")
#: What is put into a model's mouth; the lines of the options begin with it.
BEGIN = "Option"
#: How many of the five frames each set has.
ITEM_SETS = {"smoke": 1, "standard": WORDINGS}

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
    """
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
