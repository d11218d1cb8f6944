"""Items: one row per trial of a condition, or per single question, with all that the statistics need.

Models that choose by letter probability are asked one question at a time: a prompt contains at most one
value's definition, and one primary item in one of the nine cyclic orders of its options. Each option appears
once at each letter, which separates a preference for a letter from a preference for a division.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from deepvalues.core import stable_random
from deepvalues.studies.shared import wording_of
from deepvalues.studies.svo.stimuli import (
    CONTROLLED,
    LETTERS,
    MODES,
    N_ITEMS,
    N_OPTIONS,
    N_PRIMARY,
    NO_VALUE,
    VALUES,
    Wording,
    lines_of,
)

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
_TEXTS = ("define", "question", "option", "ending", "bare_ending")


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
        wording = OneQuestionWording(values, {name: str(content[name]) for name in _TEXTS})
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
