"""The slider measure, its payoffs and ideal points, and the wording of a conversation; nothing is random.

Conversations follow the structure of the published study (a value described and adopted, optionally a goal,
then the choices); the sentences in ``data/stimuli/svo.yml`` are our own.

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
#: Items 1 to 6 give the angle; 7 to 15 distinguish kinds of prosocial people.
N_PRIMARY, N_ITEMS = 6, 15
#: Each orientation's ideal point on the ring, in coins: (self, other).
IDEAL_POINTS = {
    "altruistic": (50, 100),
    "prosocial": (85, 85),
    "individualistic": (100, 50),
    "competitive": (85, 15),
}
VALUES = tuple(IDEAL_POINTS)
#: The two ideal points that each primary item connects, the one at option A first.
ENDS = (
    ("prosocial", "competitive"),
    ("competitive", "individualistic"),
    ("altruistic", "prosocial"),
    ("altruistic", "competitive"),
    ("individualistic", "altruistic"),
    ("individualistic", "prosocial"),
)
#: Each orientation's best answers to items 1 to 6; if all options of an item are equally good, the one
#: nearest the ideal point. Their angles are the targets of value rationality.
IDEAL_ANSWERS = {
    "altruistic": "AIAAII",
    "prosocial": "AIIAEI",
    "individualistic": "EIIIAA",
    "competitive": "IAIIAA",
}


class Payoffs(NamedTuple):
    """Coins for self and other, each of shape (items, options)."""

    own: Floats
    other: Floats


@cache
def payoffs() -> Payoffs:
    """The payoffs of all items, from ``data/published/svo_items.csv``.

    Raises
    ------
    UserError
        When the file does not have exactly the options of all items.
    """
    path = paths.PUBLISHED / "svo_items.csv"
    frame = pd.read_csv(path)
    whole = pd.MultiIndex.from_product([range(1, N_ITEMS + 1), list(LETTERS)], names=["item", "option"])
    table = frame.set_index(["item", "option"])[["self", "other"]].reindex(whole)
    if len(frame) != len(whole) or table.isna().any(axis=None):
        wanted = f"{N_ITEMS} items with {N_OPTIONS} options each"
        raise UserError(f"{paths.shown(path)}: there must be {wanted}; restore the file from git")
    own, other = (
        table[column].to_numpy(dtype=float).reshape(N_ITEMS, N_OPTIONS) for column in ("self", "other")
    )
    return Payoffs(own, other)


#: Faithful: the model describes the value itself, options in printed order. Controlled: we set both.
FAITHFUL, CONTROLLED = "faithful", "controlled"
MODES = (FAITHFUL, CONTROLLED)
#: Stands for the value if none is assigned.
NO_VALUE = "none"
_OPTION_LINE = re.compile(r"^(?:Option )?([A-I]): (\d+), (\d+)$", re.MULTILINE)
_TEXTS = ("describe", "embody", "define", "goal", "keep_goal", "no_goal", "question", "option", "further")


class Coins(NamedTuple):
    """The payoffs of an option."""

    own: int
    other: int


def option_lines(question: str) -> dict[str, Coins]:
    """The options in a question, by letter; empty for a turn without options."""
    return {letter: Coins(int(own), int(other)) for letter, own, other in _OPTION_LINE.findall(question)}


def options_of(item: int, shown: str) -> dict[str, Coins]:
    """Payoffs by letter when the options of an item (1 to 15) appear in the order ``shown``."""
    pay, row = payoffs(), item - 1
    places = [LETTERS.index(option) for option in shown]
    pairs = [Coins(int(pay.own[row, place]), int(pay.other[row, place])) for place in places]
    return dict(zip(LETTERS, pairs, strict=True))


def lines_of(wording: str, item: int, shown: str) -> list[str]:
    """The lines for the options of an item in the order ``shown``, all in the same wording."""
    options = options_of(item, shown).items()
    return [wording.format(letter=letter, **pays._asdict()) for letter, pays in options]


@dataclass(frozen=True)
class Wording:
    """The texts of ``data/stimuli/svo.yml``."""

    labels: Mapping[str, str]
    definitions: Mapping[str, str]
    texts: Mapping[str, str]

    def openings(self, mode: str, value: str) -> list[str]:
        """The turns that assign a value; empty if none is assigned."""
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
            Item numbers (1 to 15) in the order asked.
        options
            Each question's nine option letters in the order shown.
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
        When a text or value is missing.
    """
    with wording_of(path) as content:
        wording = Wording(
            {value: str(content["labels"][value]) for value in VALUES},
            {value: str(content["definitions"][value]) for value in VALUES},
            {name: str(content[name]) for name in _TEXTS},
        )
        wording.turns(FAITHFUL, VALUES[0], True, [1], [LETTERS])
    return wording
