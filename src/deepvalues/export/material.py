"""The item sets to export: those that we may redistribute, in the form for the hub and the harnesses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from deepvalues.ask import catalogue
from deepvalues.ask.conversation import Withheld
from deepvalues.ask.letters import coin
from deepvalues.ask.study import Study
from deepvalues.core.errors import UserError


class Exported(NamedTuple):
    """One item set of a study.

    ``items`` may have two columns besides the study's: ``user_turns``, if an item has several turns, and
    ``if_tied``, the letter that counts if both are equally probable.
    """

    study: Study
    item_set: str
    items: pd.DataFrame

    @property
    def name(self) -> str:
        """The name on the hub, such as ``dvb-n4-50``."""
        return f"{self.study.name}-{self.item_set}"

    @property
    def path(self) -> str:
        """The path of its Parquet file in an export."""
        return f"data/{self.study.name}/{self.item_set}.parquet"

    @property
    def has_arms(self) -> bool:
        """Whether its items have arms and cells, so that a harness can compute rates."""
        return {"arm", "cell", "right", "prompt"} <= set(self.items)


def chosen(study: str | None = None, item_set: str | None = None) -> list[tuple[str, str]]:
    """The sets to export, as (study, set): those of the paper, for all studies or one, or a named set.

    Raises
    ------
    UserError
        When the study or set is unknown, or its texts may not be redistributed.
    """
    if item_set is not None:
        known = catalogue.study(study or "dvb")
        if item_set in known.sets_of_others:
            raise UserError(
                f"{known.name}/{item_set}: these prompts belong to others and may not be redistributed; "
                "export another set. To put them to a model, use `deepvalues query`"
            )
        if item_set not in known.item_sets:
            raise UserError(f"unknown item set {item_set!r}; {known.name} has {', '.join(known.item_sets)}")
        return [(known.name, item_set)]
    wanted = [catalogue.study(study).name] if study else list(catalogue.studies())
    return [
        (name, each)
        for name in wanted
        for each in catalogue.registry().sets(name)
        if each not in catalogue.study(name).sets_of_others
    ]


def exported(sets: list[tuple[str, str]]) -> Iterator[Exported]:
    """The items of the sets, one set at a time to save memory."""
    for name, item_set in sets:
        study = catalogue.study(name)
        items = study.items(item_set)
        conversations = study.conversations(items)
        if withheld := next((each for each in conversations if isinstance(each, Withheld)), None):
            raise UserError(f"{withheld.item}: its text may not be redistributed")
        if any(conversation.n_turns > 1 for conversation in conversations):
            turns = [list(conversation.turns) for conversation in conversations]
            items = items.assign(user_turns=pd.Series(turns, index=items.index))
        choice = study.letter_choice
        if choice and len(choice.letters) == 2:
            tied = [choice.letters[coin(study.seed, id, 0) % 2] for id in items["id"]]
            items = items.assign(if_tied=tied)
        yield Exported(study, item_set, items)
