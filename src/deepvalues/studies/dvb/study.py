"""The Deep Value Benchmark as the query engine sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pandera.pandas as pa

from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.reading import Reading, Received, read_choice
from deepvalues.core import paths
from deepvalues.core.downloads import Store
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.items.items import (
    AUTHORS,
    CONTRACT,
    RELEASED_SETS,
    ItemSet,
    both_orders,
    build_items,
    items_of,
)
from deepvalues.studies.dvb.items.prompts import ANSWER_ONLY, LETTER_ONLY, LETTERS
from deepvalues.studies.dvb.items.public_prompts import PublicPrompts
from deepvalues.studies.dvb.items.released import read_released
from deepvalues.studies.dvb.items.subset import subset
from deepvalues.studies.dvb.stimuli.arms import EXAMPLES
from deepvalues.studies.dvb.stimuli.bank import Bank, load_bank
from deepvalues.studies.dvb.stimuli.design import Design, load_design

#: How prompts that end with the benchmark's own instruction are asked by letter probability.
LETTER_CHOICE = LetterChoice(LETTERS, "Option", ANSWER_ONLY, LETTER_ONLY)
#: The longest reply, in tokens, that an option alone needs.
MAX_TOKENS = 10
SUBSET = "subset"


@dataclass(frozen=True)
class DeepValueBenchmark:
    """Study 1: its bank and design, read on first use."""

    bank_folder: Path
    design_file: Path
    name: str = "dvb"
    downloads: Store = field(default_factory=Store.project)
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({"max_tokens": MAX_TOKENS})
    )
    title: str = "Study 1: deep values"
    letter_choice: LetterChoice | None = LETTER_CHOICE
    public_prompts: Path = paths.PUBLIC_PROMPTS

    @cached_property
    def bank(self) -> Bank:
        """The wording bank, held to its rules."""
        return load_bank(self.bank_folder)

    @cached_property
    def design(self) -> Design:
        """The cells."""
        return load_design(self.design_file, self.bank)

    @property
    def seed(self) -> int:
        """The seed of design and requests."""
        return self.design.seed

    def items(self, item_set: str) -> pd.DataFrame:
        """The items of a set: one of `ITEM_SETS`, ``subset``, a released one, or ``authors``."""
        if item_set == SUBSET:
            return self._subset.copy()
        if item_set in RELEASED_SETS:
            return read_released(self.downloads.verified(item_set), self.bank)
        if item_set == AUTHORS:
            return self.authors.items()
        return build_items(self.bank, self.design, item_set)

    @cached_property
    def authors(self) -> PublicPrompts:
        """The public prompts of the published kind."""
        return PublicPrompts(self.public_prompts, self.downloads)

    def without_prompts(self, item_set: str) -> pd.DataFrame:
        """The items of a set built here without their prompts, which are nearly all of its memory."""
        return build_items(self.bank, self.design, item_set, prompts_too=False)

    @cached_property
    def _subset(self) -> pd.DataFrame:
        # Kept, because all variants ask it and `full` takes seconds to build.
        return subset(build_items(self.bank, self.design, "full"), self.design)

    @property
    def contract(self) -> pa.DataFrameSchema:
        """What every frame of items meets."""
        return CONTRACT

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One user message per item; items with the same examples share a prefix.

        Items without a prompt are public ones, whose text is looked for on this machine.
        """
        columns = items[["id", "prompt", "prefix_chars"]].itertuples(index=False, name=None)
        return [
            Conversation(item=id, turns=(prompt,), prefix=prompt[:prefix_chars])
            if prompt
            else self.authors.conversation(id)
            for id, prompt, prefix_chars in columns
        ]

    def read(self, received: Received) -> Reading:
        """Read a reply of the short form."""
        return read_choice(received, LETTERS)


#: Cells that free replies are asked for, by set.
FREE_CELLS = {"smoke": 5, "standard": 50}
_FREE_ARMS = ("deconfounded", "control")


@dataclass(frozen=True)
class FreeReplies(DeepValueBenchmark):
    """Tests of Study 1 that every model answers in words of its own, also where it could be asked by letters.

    The share of replies that can be read is a result: whether a model does as it is told.
    """

    name: str = "dvb-free"
    title: str = "Study 1, free replies"
    letter_choice: LetterChoice | None = None

    def items(self, item_set: str) -> pd.DataFrame:
        """The deconfounded tests and controls at N = 4: ``smoke`` (20) or ``standard`` (200), of 50 cells.

        Raises
        ------
        UserError
            When the set is unknown.
        """
        if item_set not in FREE_CELLS:
            raise UserError(f"unknown item set {item_set!r}; {self.name} has {', '.join(FREE_CELLS)}")
        asked = both_orders((min(EXAMPLES),), _FREE_ARMS)
        return items_of(self.bank, self.design, ItemSet(asked, FREE_CELLS[item_set], balanced=True))
