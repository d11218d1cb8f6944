"""Validation of the stimuli: do options visibly show what they should?

Three questions about two options of the benchmark, each asked in both orders of the options so that position
bias cannot pass for recognition: which option would somebody choose who ranks one value above another
(``predicts_choice``), which option shows a value (``embodies_value``), and which one shows a pole
(``embodies_pole``). Each is asked about pairs as in the examples, (v1,s1) against (v2,s2), and as in the
tests, (v1,s2) against (v2,s1). The question names and defines the values, as a judge must know what to
look for.

The published study asked people and its nine models the first two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import pandas as pd
import pandera.pandas as pa

from deepvalues.core import stable_random
from deepvalues.studies.dvb.items import prompts
from deepvalues.studies.dvb.items.items import CLAUSE_ORDERS
from deepvalues.studies.dvb.items.prompts import Situation, situations
from deepvalues.studies.dvb.stimuli.bank import Bank

if TYPE_CHECKING:
    from deepvalues.studies.dvb.respondents.agents import Recogniser

TASKS = ("predicts_choice", "embodies_value", "embodies_pole")
#: The kinds of stimuli: pairs from the examples and pairs from the tests.
STIMULI = ("training", "test")
CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "task": pa.Column(str, pa.Check.isin(TASKS)),
        "stimulus": pa.Column(str, pa.Check.isin(STIMULI)),
        "cell": pa.Column(str, pa.Check.str_matches(r"^c\d{3}$")),
        "v1": pa.Column(str),
        "v2": pa.Column(str),
        "s1": pa.Column(str),
        "s2": pa.Column(str),
        "dimension": pa.Column(str),
        "domain": pa.Column(str),
        "example": pa.Column("int64", pa.Check.in_range(0, 40)),
        "asked": pa.Column(str),
        "other": pa.Column(str),
        "clause_order": pa.Column(str, pa.Check.isin(CLAUSE_ORDERS)),
        "right": pa.Column(str, pa.Check.isin(prompts.LETTERS)),
        # Whether the options are in the second order.
        "swapped": pa.Column(bool),
        "prefix_chars": pa.Column("int64", pa.Check.eq(0)),
        "prompt": pa.Column(str),
        "hash": pa.Column(str, pa.Check.str_length(16, 16), unique=True),
    },
    strict=True,
    ordered=True,
    name="validation items",
)


#: Columns that a question takes over from the benchmark's test.
_TEST_COLUMNS = ("cell", "v1", "v2", "s1", "s2", "dimension", "domain", "clause_order")


@dataclass(frozen=True)
class _Builder:
    """Builds questions about pairs of the bank's wordings."""

    bank: Bank
    recogniser: Recogniser
    users: Mapping[str, str]

    def label(self, trait: str) -> prompts.Label:
        if trait in self.bank.values:
            value = self.bank.values[trait]
            return prompts.Label(value.name, value.definition)
        pole = self.bank.poles[trait]
        return prompts.Label(f"{self.bank.dimensions[pole.group].name}, {pole.name}", pole.definition)

    def clause_order(self, posed: Situation) -> str:
        """Read the clause order from an option, as the items lack that of the examples."""
        first, _ = self.recogniser.option(posed.option_a)
        return f"{first}_first"

    def text(self, task: str, user: str, asked: str, other: str, posed: Situation) -> str:
        labels = self.label(asked), self.label(other)
        if task == "predicts_choice":
            return prompts.preference_text(user, *labels, posed)
        return prompts.match_text("value" if task == "embodies_value" else "trait", *labels, posed)


def _sampled(tests: pd.DataFrame, task: str, pairs: Container[int], seed: int) -> list[tuple[Any, bool]]:
    """(test, whether v1 or s1 is asked about): one cell of each value pair for each layout.

    A layout is a right letter with a clause order; among a value pair's eight cells each occurs twice. The
    trait asked about alternates, so that each of a pair's four layouts takes turns with both.
    """
    chosen = []
    for number, (_, pair) in enumerate(tests.groupby(["v1", "v2"], sort=False)):
        if number not in pairs:
            continue
        for index, (layout, cells) in enumerate(pair.groupby(["right", "clause_order"])):
            rows = list(cells.itertuples(index=False))
            row = rows[stable_random.integer(seed, "validation", task, number, *layout) % len(rows)]
            chosen.append((row, (number + index) % 2 == 0))
    return chosen


def build_validation(
    bank: Bank, stimuli: pd.DataFrame, users: Mapping[str, str], seed: int, pairs: Container[int]
) -> pd.DataFrame:
    """Build the questions: for each task and kind of stimuli, four per value pair, each in both orders.

    The four use one cell for each combination of right letter and clause order. The test pair is the
    cell's test in the benchmark. The training pair is an example of the same cell with the same combination,
    drawn from the ten that a prompt with 40 examples has. Both kinds therefore have the same cells and
    positions, and a judge sees the same texts as the models.

    Parameters
    ----------
    stimuli
        The benchmark's items; only deconfounded ones with 40 examples in their first order are used.
    users
        User names by cell.
    pairs
        The value pairs to ask about, by their numbers from 0 to 49.

    Returns
    -------
    pandas.DataFrame
        48 rows per value pair, in a frame that meets `CONTRACT`. ``example`` is the number of the example, 0
        for a test; ``asked`` is the value or pole that the right option shows.
    """
    # Imported here, because agents import scipy, which the study itself does not need.
    from deepvalues.studies.dvb.respondents.agents import Recogniser

    builder = _Builder(bank, Recogniser(bank), users)
    first = (stimuli["test"] == 0) & ~stimuli["swapped"]
    tests = stimuli[(stimuli["arm"] == "deconfounded") & (stimuli["n_examples"] == 40) & first]
    rows = [
        row
        for task in TASKS
        for test, first in _sampled(tests, task, pairs, seed)
        for row in _questions(builder, task, test, first, seed)
    ]
    return CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))


def _questions(builder: _Builder, task: str, test: Any, first: bool, seed: int) -> list[dict[str, Any]]:
    """The questions about a training pair and about the test pair of a cell, each in both orders."""
    *examples, posed = situations(test.prompt)
    alike = [
        (number, example)
        for number, example in enumerate(examples, start=1)
        if example.right == test.right and builder.clause_order(example) == test.clause_order
    ]
    training = alike[stable_random.integer(seed, "validation", task, test.cell) % len(alike)]
    traits = (test.s1, test.s2) if task == "embodies_pole" else (test.v1, test.v2)
    asked, other = traits if first else traits[::-1]
    rows = []
    pairs = zip(STIMULI, (training, (0, posed)), strict=True)
    for (stimulus, (number, pair)), swapped in product(pairs, (False, True)):
        shown = pair._replace(option_a=pair.option_b, option_b=pair.option_a) if swapped else pair
        prompt = builder.text(task, builder.users[test.cell], asked, other, shown)
        right = "A" if asked in builder.recogniser.option(shown.option_a).values() else "B"
        rows.append(
            {
                **{name: getattr(test, name) for name in _TEST_COLUMNS},
                "id": f"{test.cell}.{task}.{stimulus}.{'b' if swapped else 'a'}",
                "task": task,
                "stimulus": stimulus,
                "example": number,
                "asked": asked,
                "other": other,
                "right": right,
                "swapped": swapped,
                "prefix_chars": 0,
                "prompt": prompt,
                "hash": hashlib.sha256(prompt.encode()).hexdigest()[:16],
            }
        )
    return rows
