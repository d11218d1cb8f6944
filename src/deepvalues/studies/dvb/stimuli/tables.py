"""Display versions of the tables of the bank, the design and the items of study 1."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from deepvalues.core.number_format import count
from deepvalues.paper.tables import markdown

#: The roles of an option, "(v1, s=)", or a role alone, "v1".
_ROLES = re.compile(r"\([vs][12=], [vs][12=]\)|\b[vs][12=]")


def dimensions(table: pd.DataFrame) -> pd.DataFrame:
    """The shallow dimensions, from `stimuli.description.dimensions`, with the names of poles emphasized."""
    shown = table.copy()
    for pole in ("first_pole", "second_pole"):
        parts = (cell.partition(": ") for cell in shown[pole])
        shown[pole] = [f"*{name}*: {wording}" for name, _, wording in parts]
    return shown


def arm_name(arm: str) -> str:
    """The display name of an arm: "shuffled value probe" for ``shuffled_probe_value``."""
    return re.sub(r"probe (value|surface)", r"\1 probe", arm.replace("_", " "))


def _in_mathematics(roles: re.Match[str]) -> str:
    """Letters with subscripts; braces only if needed, as pandoc sizes columns by their characters."""
    return "$" + re.sub(r"(?<=[vs])([12])", r"_\1", roles[0]).replace("=", "_{=}") + "$"


def arms(table: pd.DataFrame) -> pd.DataFrame:
    """The arms, from `stimuli.description.arms`, with display names and with roles as mathematics."""
    shown = table.assign(arm=table["arm"].map(arm_name))
    for column in ("examples", "test", "right_means"):
        shown[column] = [_ROLES.sub(_in_mathematics, cell) for cell in shown[column]]
    return shown


def item_sets(built: Mapping[tuple[str, str], pd.DataFrame], titles: Mapping[str, str]) -> str:
    """The number of items in each set.

    Parameters
    ----------
    built
        Items by study and set, from `deepvalues.ask.catalogue.write_items`.
    titles
        Display name of each study.
    """
    rows = [(titles[study], study, item_set, len(items)) for (study, item_set), items in built.items()]
    return markdown(pd.DataFrame(rows, columns=["study", "id", "set", "items"]), {"items": count})


def balance(table: pd.DataFrame) -> str:
    """How evenly directed dimensions are spread, from `stimuli.description.balance`."""
    names = {"within": "cells of one directed dimension in", "least": "least", "most": "most"}
    return markdown(table.rename(columns=names)[list(names.values())], {"least": count, "most": count})
