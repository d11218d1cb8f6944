"""The subset: 1,302 deconfounded tests on which the prompt variants are compared.

The published follow-up used 1,302 prompts, the fewest that give a power of 95% to detect a rate that is .05
off chance. This subset has the same number, drawn from the 12,000 deconfounded prompts of ``full``
by this rule, where "drawn" means with the seed of the design:

1. Every cell gives one test at each N. 102 cells give a fourth one, at N = 4, 20, 40 in turn.
2. Two cells of each value pair give a fourth test, in domains drawn eight at a time without replacement.
   The two that remain go to two drawn pairs with different preferred values.
3. From a cell's unused tests, one is drawn among those with the right letter that is rarer so far at this
   N. In a tie, the letter alternates between value pairs, so that it is not confounded with the domain. If
   several tests remain, those whose right letter and clause order together are rarer so far at this N have
   precedence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain, count, cycle
from typing import NamedTuple

import numpy as np
import pandas as pd

from deepvalues.core import stable_random
from deepvalues.studies.dvb.items.prompts import LETTERS
from deepvalues.studies.dvb.stimuli.design import ARMS, Cell, Design

SIZE = 1302


class Layout(NamedTuple):
    """The layout of a test: its right letter and clause order."""

    right: str
    clause_order: str


_N = ARMS["deconfounded"].n_examples


def fourths(design: Design) -> list[Cell]:
    """The cells that give a fourth test, by rule 2."""
    pairs: dict[tuple[str, str], dict[str, Cell]] = defaultdict(dict)
    for cell in design.cells:
        pairs[cell.v1, cell.v2][cell.domain] = cell
    each = sorted({cell.domain for cell in design.cells})
    # An endless sequence of blocks, each of which has every domain once.
    blocks = (stable_random.shuffled(each, design.seed, "subset", "domains", block) for block in count())
    domains = chain.from_iterable(blocks)
    share, rest = divmod(SIZE - len(_N) * len(design.cells), len(pairs))
    taken = [by_domain[next(domains)] for by_domain in pairs.values() for _ in range(share)]
    drawn = stable_random.shuffled(list(pairs), design.seed, "subset", "pairs")
    by_value = {v1: (v1, v2) for v1, v2 in reversed(drawn)}
    for pair in [pair for pair in drawn if by_value[pair[0]] == pair][:rest]:
        domain = next(domains)
        while pairs[pair][domain] in taken:
            domain = next(domains)
        taken.append(pairs[pair][domain])
    return taken


def _slots(design: Design) -> Iterator[tuple[int, Cell, int]]:
    """(number of the value pair, cell, N) of every test, by rules 1 and 2."""
    pairs: dict[tuple[str, str], int] = {}
    for cell in design.cells:
        number = pairs.setdefault((cell.v1, cell.v2), len(pairs))
        for n in _N:
            yield number, cell, n
    for cell, n in zip(fourths(design), cycle(_N), strict=False):
        yield pairs[cell.v1, cell.v2], cell, n


def choose(design: Design, layouts: Mapping[tuple[str, int], Layout]) -> list[tuple[str, int, int]]:
    """Choose (cell, N, test) for every item of the subset, by rule 3.

    Parameters
    ----------
    layouts
        Right letter and clause order of each test, by cell and test number; they are the same at
        every N.
    """
    tests: dict[str, list[int]] = defaultdict(list)
    for id, test in layouts:
        tests[id].append(test)
    orders = {id: stable_random.shuffled(own, design.seed, "subset", id) for id, own in tests.items()}
    counts: Counter[tuple[int, str | Layout]] = Counter()
    chosen = []
    for pair, cell, n in _slots(design):
        first = LETTERS[(pair + _N.index(n)) % 2]

        def rank(test: int, n: int = n, id: str = cell.id, first: str = first) -> tuple[int, bool, int]:
            layout = layouts[id, test]
            return counts[n, layout[0]], layout[0] != first, counts[n, layout]

        # In a tie, the first one in the drawn order.
        test = min(orders[cell.id], key=rank)
        orders[cell.id].remove(test)
        layout = layouts[cell.id, test]
        counts.update([(n, layout[0]), (n, layout)])
        chosen.append((cell.id, n, test))
    return chosen


def subset(items: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Draw the subset from the set ``full``.

    Parameters
    ----------
    items
        The items of ``full``.
    design
        The design that they were built from.

    Returns
    -------
    pandas.DataFrame
        1,302 rows of ``items`` in their order, with a new index.
    """
    # Without the prompts: selecting would copy more than a hundred megabytes of them.
    rows = np.flatnonzero(items["arm"] == "deconfounded")
    deep = items[["cell", "n_examples", "test", "right", "clause_order"]].iloc[rows]
    tests = deep.drop_duplicates(["cell", "test"])[["cell", "test", "right", "clause_order"]]
    layouts = {(cell, test): Layout(*layout) for cell, test, *layout in tests.itertuples(index=False)}
    keys = pd.MultiIndex.from_tuples(choose(design, layouts))
    inside = pd.MultiIndex.from_frame(deep[["cell", "n_examples", "test"]]).isin(keys)
    return items.iloc[rows[inside]].reset_index(drop=True)
