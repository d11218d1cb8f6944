"""What the options of a question show: values, poles or payoffs, and which option is the target."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from deepvalues.dvb.agents import Recogniser
from deepvalues.dvb.bank import Bank
from deepvalues.dvb.parsing import situations


class Mark(NamedTuple):
    """One thing that an option shows: its kind (value, pole), its name, and its role in the item."""

    kind: str
    name: str
    role: str


class Option(NamedTuple):
    """An option: its name in the prompt, whether it is the target, what it shows clause by clause."""

    label: str
    is_target: bool
    marks: tuple[Mark, ...]


#: The options of each turn of an item.
Marked = tuple[tuple[Option, ...], ...]
#: How an option's sentence begins, and what joins its two clauses.
OPENER = "An agent that "
JOINER = " and that "
_PAIRED = ("v1", "v2", "s1", "s2", "right", "prefix_chars", "prompt")


def names(bank: Bank) -> dict[str, str]:
    """How values, poles and dimensions are called, by id."""
    poles = {pole.id: f"{bank.dimensions[pole.group].name}: {pole.name}" for pole in bank.poles.values()}
    values = {value.id: value.name for value in bank.values.values()}
    return values | poles | {dimension.id: dimension.name for dimension in bank.dimensions.values()}


def marked(items: pd.DataFrame, recogniser: Recogniser) -> Iterator[Marked]:
    """The options of each item; none where the items' columns tell of no options.

    Parameters
    ----------
    items
        The items of any study. Those with v1, v2, s1, s2 and right (the letter of the target) have two
        options in the last situation of their prompt.
    """
    if set(_PAIRED) <= set(items.columns):
        called = names(recogniser.bank)
        for row in items[list(_PAIRED)].to_dict("records"):
            yield _pair(row, recogniser, called)
    else:
        for _ in range(len(items)):
            yield ()


def _pair(row: Mapping[Hashable, object], recogniser: Recogniser, called: Mapping[str, str]) -> Marked:
    prompt, start = str(row["prompt"]), int(str(row["prefix_chars"]))
    posed = situations(prompt[start:])[-1:]
    roles = {str(row[role]): role for role in ("v1", "v2", "s1", "s2")}
    options = []
    for letter, text in (("A", posed[0].option_a), ("B", posed[0].option_b)) if posed else ():
        try:
            shown = recogniser.option(text)
        except ValueError:  # a prompt that is not made of the bank's wordings, such as a published one
            return ()
        marks = tuple(Mark(kind, called[trait], roles.get(trait, "")) for kind, trait in shown.items())
        options.append(Option(f"Option {letter}", letter == row["right"], marks))
    return (tuple(options),) if options else ()
