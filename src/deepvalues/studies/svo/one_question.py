"""The slider measure one question at a time, for models that choose by letter probability.

A prompt holds the definition of a value, or none, and one primary item in one of the nine cyclic orders of
its options. Each option stands once at each letter, so that what a model likes of a letter and what it likes
of a division come apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.studies.svo.items import CONDITIONS
from deepvalues.studies.svo.stimuli.payoffs import LETTERS, N_OPTIONS, N_PRIMARY
from deepvalues.studies.svo.stimuli.prompts import NO_VALUE, Wording, lines_of

#: How many of the nine cyclic orders each set has.
ITEM_SETS = {"smoke": 1, "standard": N_OPTIONS}
#: What is put into a model's mouth; the lines of the options begin with it.
BEGIN = "Option"
_TEXTS = ("define", "question", "option", "ending", "bare_ending")


def turned(places: int) -> str:
    """The options in the printed order, turned by a number of places: 1 gives BCDEFGHIA."""
    return LETTERS[places:] + LETTERS[:places]


_TURNED = {places: turned(places) for places in range(N_OPTIONS)}

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "value": pa.Column(str, pa.Check.isin(CONDITIONS)),
        "item": pa.Column("int64", pa.Check.in_range(1, N_PRIMARY)),
        # By how many places the printed order is turned, and the item's options in the order shown.
        "turned": pa.Column("int64", pa.Check.in_range(0, N_OPTIONS - 1)),
        "shown": pa.Column(str, pa.Check.str_matches(r"^[A-I]{9}$")),
        "prefix_chars": pa.Column("int64", pa.Check.gt(0)),
        "prompt": pa.Column(str),
        "hash": pa.Column(str, pa.Check.str_length(16, 16), unique=True),
    },
    checks=pa.Check(
        lambda frame: frame["shown"] == frame["turned"].map(_TURNED),
        error="options are not in the order that they are turned to",
    ),
    strict=True,
    ordered=True,
    name="svo-letters items",
)


@dataclass(frozen=True)
class OneQuestionWording:
    """The texts of ``data/stimuli/svo_letters.yml``, with labels and definitions of `Wording`."""

    values: Wording
    texts: Mapping[str, str]

    def opening(self, value: str) -> str:
        """What stands before the options: the value, where one is assigned, and the question."""
        question = f"{self.texts['question']}\n"
        if value == NO_VALUE:
            return question
        filled = {"label": self.values.labels[value], "definition": self.values.definitions[value]}
        return f"{self.texts['define'].format(**filled)}\n\n{question}"

    def prompt(self, value: str, item: int, shown: str) -> str:
        """A whole prompt.

        Parameters
        ----------
        item
            A primary item, 1 to 6.
        shown
            Its nine options in the order in which they are shown.
        """
        lines = lines_of(self.texts["option"], item, shown)
        return self.opening(value) + "\n".join([*lines, "", self.texts["ending"]])


def load_one_question(path: Path, values: Wording) -> OneQuestionWording:
    """Read the wording.

    Raises
    ------
    UserError
        When the file lacks a text, or a text has other slots.
    """
    content: Mapping[str, Any] = read_yaml(path)
    try:
        wording = OneQuestionWording(values, {name: str(content[name]) for name in _TEXTS})
        wording.prompt(CONDITIONS[-1], 1, LETTERS)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{paths.shown(path)}: not the wording of this study: {error!r}") from None
    return wording


def build_items(wording: OneQuestionWording, item_set: str) -> pd.DataFrame:
    """Build the items of a set: 5 conditions × 6 items × the nine cyclic orders, or the first of them.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `CONTRACT`: 270 rows in ``standard``, of which ``smoke`` has 30.
    """
    rows = []
    for value, item, places in product(CONDITIONS, range(1, N_PRIMARY + 1), range(ITEM_SETS[item_set])):
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
    validated: pd.DataFrame = CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))
    return validated
