"""Tables of the bank, the design and the items of study 1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import pandas as pd

from deepvalues.core.number_format import count, number
from deepvalues.paper.markdown import markdown

_tenths = partial(number, digits=1)
_hundredths = partial(number, digits=2)
#: The roles of an option, "(v1, s=)", or a role alone, "v1".
_ROLES = re.compile(r"\([vs][12=], [vs][12=]\)|\b[vs][12=]")


def wordings(table: pd.DataFrame) -> str:
    """Wordings of values and poles, from `stimuli.description.wordings_by_split`."""
    names = {
        "kind": "of",
        "split": "used in",
        "traits": "traits",
        "wordings": "wordings",
        "mean_words": "mean words",
        "shortest": "shortest trait",
        "longest": "longest trait",
    }
    lengths = dict.fromkeys(("mean words", "shortest trait", "longest trait"), _hundredths)
    shown = table.rename(columns=names)[list(names.values())]
    return markdown(shown, {"traits": count, "wordings": count, **lengths})


def values(table: pd.DataFrame, sets: Mapping[str, str]) -> str:
    """The values, from `stimuli.description.values`, with a name for each set."""
    named = table.assign(set=table["set"].map(sets))
    return markdown(named.rename(columns={"wording": "an agent that …"}))


def dimensions(table: pd.DataFrame) -> str:
    """The shallow dimensions, from `stimuli.description.dimensions`; names of poles are emphasized."""
    shown = table.rename(columns={"first_pole": "first pole", "second_pole": "second pole"})
    for pole in ("first pole", "second pole"):
        parts = (cell.partition(": ") for cell in shown[pole])
        shown[pole] = [f"*{name}*: {wording}" for name, _, wording in parts]
    return markdown(shown)


def _in_mathematics(roles: re.Match[str]) -> str:
    """Letters with subscripts; braces only where they are needed, as pandoc goes by a column's characters."""
    return "$" + re.sub(r"(?<=[vs])([12])", r"_\1", roles[0]).replace("=", "_{=}") + "$"


def arms(table: pd.DataFrame) -> str:
    """The arms, from `stimuli.description.arms`; roles are set as mathematics."""
    names = {
        "arm": "arm",
        "examples": "examples: chosen / rejected",
        "n_examples": "N",
        "test": "test: target / other",
        "right_means": "right means",
        "always_value": "value agent",
        "always_surface": "surface agent",
    }
    shown = table.rename(columns=names)[list(names.values())]
    for column in ("examples: chosen / rejected", "test: target / other", "right means"):
        shown[column] = [_ROLES.sub(_in_mathematics, cell) for cell in shown[column]]
    return markdown(shown, {"value agent": _tenths, "surface agent": _tenths})


def item_sets(built: Mapping[tuple[str, str], pd.DataFrame], titles: Mapping[str, str]) -> str:
    """How many items each set has.

    Parameters
    ----------
    built
        Items by study and set, from `deepvalues.ask.catalogue.write_items`.
    titles
        What readers call each study.
    """
    rows = [(titles[study], study, item_set, len(items)) for (study, item_set), items in built.items()]
    return markdown(pd.DataFrame(rows, columns=["study", "id", "set", "items"]), {"items": count})


def items(table: pd.DataFrame) -> str:
    """Items by arm, from `stimuli.description.item_counts`."""
    names = {
        "arm": "arm",
        "n_examples": "N",
        "items": "items",
        "right_is_a": "right option is A",
        "value_first": "value clause first",
        "mean_characters": "mean characters",
    }
    shown = table.rename(columns=names)[list(names.values())]
    shown["arm"] = shown["arm"].str.replace("_", " ")
    shares = dict.fromkeys(("right option is A", "value clause first"), _hundredths)
    return markdown(shown, {"N": count, "items": count, **shares, "mean characters": count})


def balance(table: pd.DataFrame) -> str:
    """How evenly the directed dimensions are spread, from `stimuli.description.balance`."""
    names = {"within": "cells of one directed dimension in", "least": "least", "most": "most"}
    return markdown(table.rename(columns=names)[list(names.values())], {"least": count, "most": count})
