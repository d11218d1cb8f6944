"""The slider measure, its payoffs and ideal points, and the words of a conversation. Nothing here draws.

The structure of a conversation follows the published study (a value described and played, perhaps a goal,
then the choices); the sentences are the project's own, in ``data/stimuli/svo.yml``.

References
----------
Murphy, Ackermann and Handgraaf (2011), Judgment and Decision Making 6(8).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.shared import wording_of

Floats = npt.NDArray[np.float64]

LETTERS = "ABCDEFGHI"
N_OPTIONS = len(LETTERS)
#: Items 1 to 6 make the angle; 7 to 15 tell kinds of prosocial people apart.
N_PRIMARY, N_ITEMS = 6, 15
#: Where each orientation would like the coins to lie on the ring: (self, other).
IDEAL_POINTS = {
    "altruistic": (50, 100),
    "prosocial": (85, 85),
    "individualistic": (100, 50),
    "competitive": (85, 15),
}
VALUES = tuple(IDEAL_POINTS)
#: The two ideal points that each primary item joins, the one at option A first.
ENDS = (
    ("prosocial", "competitive"),
    ("competitive", "individualistic"),
    ("altruistic", "prosocial"),
    ("altruistic", "competitive"),
    ("individualistic", "altruistic"),
    ("individualistic", "prosocial"),
)
#: The answers to items 1 to 6 that suit each orientation best; where all options of an item do so equally,
#: the one nearest the ideal point. The angles that they come to are the targets of value rationality.
IDEAL_ANSWERS = {
    "altruistic": "AIAAII",
    "prosocial": "AIIAEI",
    "individualistic": "EIIIAA",
    "competitive": "IAIIAA",
}


class Payoffs(NamedTuple):
    """Coins for oneself and for the other, each of shape (items, options)."""

    own: Floats
    other: Floats


@cache
def payoffs() -> Payoffs:
    """The payoffs of all items, from ``data/published/svo_items.csv``.

    Raises
    ------
    UserError
        When the file lacks an option of an item.
    """
    path = paths.PUBLISHED / "svo_items.csv"
    frame = pd.read_csv(path)
    whole = pd.MultiIndex.from_product([range(1, N_ITEMS + 1), list(LETTERS)], names=["item", "option"])
    table = frame.set_index(["item", "option"])[["self", "other"]].reindex(whole)
    if len(frame) != len(whole) or table.isna().any(axis=None):
        raise UserError(f"{paths.shown(path)}: not the {N_ITEMS} items with {N_OPTIONS} options each")
    own, other = (
        table[column].to_numpy(dtype=float).reshape(N_ITEMS, N_OPTIONS) for column in ("self", "other")
    )
    return Payoffs(own, other)


#: The model describes the value itself, options in their printed order; or definition and order are ours.
FAITHFUL, CONTROLLED = "faithful", "controlled"
MODES = (FAITHFUL, CONTROLLED)
#: In place of a value: none is assigned.
NO_VALUE = "none"
_OPTION_LINE = re.compile(r"^(?:Option )?([A-I]): (\d+), (\d+)$", re.MULTILINE)
_TEXTS = ("describe", "embody", "define", "goal", "keep_goal", "no_goal", "question", "option", "further")


class Coins(NamedTuple):
    """What an option pays."""

    own: int
    other: int


def option_lines(question: str) -> dict[str, Coins]:
    """The options that a question shows, by letter; empty for a turn that shows none."""
    return {letter: Coins(int(own), int(other)) for letter, own, other in _OPTION_LINE.findall(question)}


def options_of(item: int, shown: str) -> dict[str, Coins]:
    """What each letter pays when the options of an item (1 to 15) stand in the order ``shown``."""
    pay, row = payoffs(), item - 1
    places = [LETTERS.index(option) for option in shown]
    pairs = [Coins(int(pay.own[row, place]), int(pay.other[row, place])) for place in places]
    return dict(zip(LETTERS, pairs, strict=True))


def lines_of(wording: str, item: int, shown: str) -> list[str]:
    """The lines that show the options of an item in the order ``shown``, each worded alike."""
    options = options_of(item, shown).items()
    return [wording.format(letter=letter, **pays._asdict()) for letter, pays in options]


@dataclass(frozen=True)
class Wording:
    """The texts of ``data/stimuli/svo.yml``."""

    labels: Mapping[str, str]
    definitions: Mapping[str, str]
    texts: Mapping[str, str]

    def openings(self, mode: str, value: str) -> list[str]:
        """The turns that assign a value; none where no value is assigned."""
        if value == NO_VALUE:
            return []
        filled = {"label": self.labels[value], "definition": self.definitions[value]}
        names = ("describe", "embody") if mode == FAITHFUL else ("define",)
        return [self.texts[name].format(**filled) for name in names]

    def turns(
        self, mode: str, value: str, goal: bool, order: Sequence[int], options: Sequence[str]
    ) -> tuple[str, ...]:
        """All user turns of one trial.

        Parameters
        ----------
        order
            Item numbers (1 to 15) as they are asked.
        options
            For each question the nine option letters of the item, in the order in which they are shown.
        """
        turns = self.openings(mode, value)
        if goal:
            turns.append(self.texts["goal"])
        aim = self.texts["keep_goal"].format(turn=len(turns)) if goal else self.texts["no_goal"]
        for place, (item, shown) in enumerate(zip(order, options, strict=True)):
            question = self.question(place, item, shown, aim)
            turns.append(f"{self.texts['further']}\n\n{question}" if place == N_PRIMARY else question)
        return tuple(turns)

    def question(self, place: int, item: int, shown: str, aim: str) -> str:
        """One question, with the options of an item in the order ``shown``."""
        lines = lines_of(self.texts["option"], item, shown)
        block, of = (place - N_PRIMARY, N_ITEMS - N_PRIMARY) if place >= N_PRIMARY else (place, N_PRIMARY)
        return self.texts["question"].format(number=block + 1, of=of, aim=aim, options="\n".join(lines))


def load_wording(path: Path) -> Wording:
    """Read the wording.

    Raises
    ------
    UserError
        When the file lacks a text, or a value.
    """
    with wording_of(path) as content:
        wording = Wording(
            {value: str(content["labels"][value]) for value in VALUES},
            {value: str(content["definitions"][value]) for value in VALUES},
            {name: str(content[name]) for name in _TEXTS},
        )
        wording.turns(FAITHFUL, VALUES[0], True, [1], [LETTERS])
    return wording
