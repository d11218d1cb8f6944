"""The slider measure itself: what the options of its fifteen items pay, and its ideal points.

References
----------
Murphy, Ackermann and Handgraaf (2011), Judgment and Decision Making 6(8).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepvalues.core import paths
from deepvalues.core.errors import UserError

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
