"""The slider measure, its payoffs and ideal points, the wording of conversations and prompts, and the items.

Conversations follow the structure of the published study (a value described and adopted, optionally a goal,
then the choices); the sentences in ``data/stimuli/svo.yml`` are our own. An item is one row per trial of a
condition, or per single question, with all that the statistics need.

Models that choose by letter probability are asked one question at a time: a prompt contains at most one
value's definition, and one primary item in one of the nine cyclic orders of its options. Each option appears
once at each letter, which separates a preference for a letter from a preference for a division.

References
----------
Murphy, Ackermann and Handgraaf (2011), Judgment and Decision Making 6(8).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa

from deepvalues.core import paths, stable_random
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


# ---- items ----

#: Trials per condition (None: as many as the study has), and whether the secondary items are asked.
ITEM_SETS: dict[str, tuple[int | None, bool]] = {
    "smoke": (1, False),
    "standard": (None, False),
    "full": (None, True),
}
CONDITIONS = (NO_VALUE, *VALUES)
#: Separates a trial's item numbers, and the option orders of its questions.
SEPARATOR = " "

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "mode": pa.Column(str, pa.Check.isin(MODES)),
        "value": pa.Column(str, pa.Check.isin(CONDITIONS)),
        "goal": pa.Column(bool),
        "trial": pa.Column("int64", pa.Check.ge(0)),
        # Part of the keys, so that trials with the same opening words get separate answers.
        "repeat": pa.Column("int64", pa.Check.ge(0)),
        # Item numbers in the order asked, and each question's options in the order shown.
        "item_order": pa.Column(str, pa.Check.str_matches(r"^\d+( \d+){5}(( \d+){9})?$")),
        "option_orders": pa.Column(str, pa.Check.str_matches(r"^[A-I]{9}( [A-I]{9}){5}(( [A-I]{9}){9})?$")),
        "openings": pa.Column("int64", pa.Check.in_range(0, 3)),
        "turns": pa.Column("int64", pa.Check.in_range(N_PRIMARY, N_ITEMS + 3)),
        "hash": pa.Column(str, pa.Check.str_length(16, 16)),
    },
    checks=pa.Check(
        lambda frame: frame["turns"] == frame["openings"] + frame["item_order"].str.count(" ") + 1,
        error="turns must be openings plus questions",
    ),
    strict=True,
    ordered=True,
    name="svo items",
)


def item_order(seed: int, mode: str, trial: int, secondary: bool) -> list[int]:
    """Item numbers in the order asked: as printed, or drawn per trial; secondary items always come last."""
    blocks = [list(range(1, N_PRIMARY + 1))]
    if secondary:
        blocks.append(list(range(N_PRIMARY + 1, N_ITEMS + 1)))
    if mode == CONTROLLED:
        blocks = [stable_random.shuffled(block, seed, "items", trial, block[0]) for block in blocks]
    return [item for block in blocks for item in block]


def option_order(seed: int, mode: str, trial: int, item: int) -> str:
    """The options of an item in the order that a trial shows.

    In controlled mode a random order is rotated from trial to trial, so that each option appears once at each
    position within nine trials; the next nine have a new order.
    """
    if mode != CONTROLLED:
        return LETTERS
    nine, within = divmod(trial, N_OPTIONS)
    order = stable_random.shuffled(LETTERS, seed, "options", item, nine)
    turn = stable_random.shuffled(range(N_OPTIONS), seed, "turns", item, nine)[within]
    return "".join(order[turn:] + order[:turn])


def build_items(wording: Wording, seed: int, trials: int, item_set: str) -> pd.DataFrame:
    """Build the items of a set: 2 modes × (4 values and none) × with or without goal prompting × trials.

    Parameters
    ----------
    trials
        Trials K per condition in the sets ``standard`` and ``full``; ``smoke`` has one.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `CONTRACT`. ``full`` appends the nine secondary items to the conversations of
        ``standard``, so that recorded answers serve both.
    """
    number, secondary = ITEM_SETS[item_set]
    rows = []
    for mode, value, goal in product(MODES, CONDITIONS, (False, True)):
        for trial in range(trials if number is None else number):
            order = item_order(seed, mode, trial, secondary)
            options = [option_order(seed, mode, trial, item) for item in order]
            turns = wording.turns(mode, value, goal, order, options)
            rows.append(
                {
                    "id": f"{mode}.{value}.{'goal' if goal else 'no-goal'}.t{trial:02d}",
                    "mode": mode,
                    "value": value,
                    "goal": goal,
                    "trial": trial,
                    # Some trials open in the same words: with and without a goal or, without a value, in
                    # both modes.
                    "repeat": 4 * trial + 2 * MODES.index(mode) + goal,
                    "item_order": SEPARATOR.join(map(str, order)),
                    "option_orders": SEPARATOR.join(options),
                    "openings": len(turns) - len(order),
                    "turns": len(turns),
                    "hash": hashlib.sha256("\n\n".join(turns).encode()).hexdigest()[:16],
                }
            )
    return CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))


def questions_of(item_order: str, option_orders: str) -> list[tuple[int, str]]:
    """(item number, options as shown) for each question of a row, in the order asked."""
    numbers = map(int, item_order.split(SEPARATOR))
    return list(zip(numbers, option_orders.split(SEPARATOR), strict=True))


# ---- one question at a time ----

#: Number of the nine cyclic orders in each set.
LETTER_SETS = {"smoke": 1, "standard": N_OPTIONS}
#: The start of a reply that the model continues; the option lines begin with it.
BEGIN = "Option"
_PARTS = ("define", "question", "option", "ending", "bare_ending")


def turned(places: int) -> str:
    """The options in printed order, rotated by a number of places: 1 gives BCDEFGHIA."""
    return LETTERS[places:] + LETTERS[:places]


LETTER_CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "value": pa.Column(str, pa.Check.isin(CONDITIONS)),
        "item": pa.Column("int64", pa.Check.in_range(1, N_PRIMARY)),
        # The number of places by which the printed order is rotated, and the options in the order shown.
        "turned": pa.Column("int64", pa.Check.in_range(0, N_OPTIONS - 1)),
        "shown": pa.Column(str, pa.Check.str_matches(r"^[A-I]{9}$")),
        "prefix_chars": pa.Column("int64", pa.Check.gt(0)),
        "prompt": pa.Column(str),
        "hash": pa.Column(str, pa.Check.str_length(16, 16), unique=True),
    },
    checks=pa.Check(
        lambda frame: frame["shown"] == frame["turned"].map(turned),
        error="options must be shown in the printed order rotated by turned",
    ),
    strict=True,
    ordered=True,
    name="svo-letters items",
)


@dataclass(frozen=True)
class OneQuestionWording:
    """The texts of ``data/stimuli/svo_letters.yml``, with the labels and definitions of `Wording`."""

    values: Wording
    texts: Mapping[str, str]

    def opening(self, value: str) -> str:
        """The text before the options: the value, if one is assigned, and the question."""
        question = f"{self.texts['question']}\n"
        if value == NO_VALUE:
            return question
        filled = {"label": self.values.labels[value], "definition": self.values.definitions[value]}
        return f"{self.texts['define'].format(**filled)}\n\n{question}"

    def prompt(self, value: str, item: int, shown: str) -> str:
        """A complete prompt for a primary item (1 to 6), with its nine options in the order ``shown``."""
        lines = lines_of(self.texts["option"], item, shown)
        return self.opening(value) + "\n".join([*lines, "", self.texts["ending"]])


def load_one_question(path: Path, values: Wording) -> OneQuestionWording:
    """Read the wording.

    Raises
    ------
    UserError
        When a text is missing or has unknown slots.
    """
    with wording_of(path) as content:
        wording = OneQuestionWording(values, {name: str(content[name]) for name in _PARTS})
        wording.prompt(CONDITIONS[-1], 1, LETTERS)
    return wording


def build_letter_items(wording: OneQuestionWording, item_set: str) -> pd.DataFrame:
    """Build the items of a set: 5 conditions × 6 items × nine cyclic orders (or only the first).

    Returns
    -------
    pandas.DataFrame
        A frame that meets `LETTER_CONTRACT`: 270 rows in ``standard``, 30 of them in ``smoke``.
    """
    rows = []
    for value, item, places in product(CONDITIONS, range(1, N_PRIMARY + 1), range(LETTER_SETS[item_set])):
        prompt = wording.prompt(value, item, turned(places))
        rows.append(
            {
                "id": f"{value}.i{item}.o{places}",
                "value": value,
                "item": item,
                "turned": places,
                "shown": turned(places),
                "prefix_chars": len(wording.opening(value)),
                "prompt": prompt,
                "hash": hashlib.sha256(prompt.encode()).hexdigest()[:16],
            }
        )
    return LETTER_CONTRACT.validate(pd.DataFrame(rows, columns=list(LETTER_CONTRACT.columns)))
