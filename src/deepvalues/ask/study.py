"""The base class of studies: items, conversations, the reading of replies, and local models.

Each folder ``deepvalues/studies/NAME/`` has a module ``study`` that creates and registers the study
``NAME`` and those named ``NAME-…``. No other module needs to know them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import pandas as pd
import pandera.pandas as pa

from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.local import LocalModel
from deepvalues.ask.reading import Reading, Received, read_choice
from deepvalues.core.errors import UserError


@dataclass(frozen=True)
class Study(ABC):
    """A study. One whose prompts have options A and B only defines its names, its sets and `build`.

    ``name`` is used on the command line and for the folder in the record; ``title`` is for readers, such as
    "Study 1: deep values"; ``number`` gives the order of studies; ``max_tokens`` limits replies.
    ``item_sets`` are the names of its sets; ``contract`` is the schema of its items, which all have ``id``.
    ``sets_with_all`` are searched for recorded items until each is found: the quickest to build first, but
    of sets with the same ids the one that asks more. ``sets_that_share`` may explain why a model has answered
    a part of another set; ``full`` is not among them, since a model that has answered it has answered all
    that it shares. ``sets_of_others`` have texts that we may not redistribute.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    number: ClassVar[int]
    max_tokens: ClassVar[int]
    item_sets: ClassVar[Collection[str]]
    contract: ClassVar[pa.DataFrameSchema]
    sets_with_all: ClassVar[Collection[str]] = ("standard",)
    sets_that_share: ClassVar[Collection[str]] = ("smoke", "standard")
    sets_of_others: ClassVar[Collection[str]] = ()

    @property
    @abstractmethod
    def seed(self) -> int:
        """The seed from which, with messages and repeat, request seeds are derived."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of every request."""
        return MappingProxyType({"max_tokens": self.max_tokens})

    @property
    def letter_choice(self) -> LetterChoice | None:
        """How choices by letter probability are requested; None if all models give free replies."""
        return None

    def items(self, item_set: str) -> pd.DataFrame:
        """The items of a set.

        Raises
        ------
        UserError
            When there is no such set, or its sources are missing.
        """
        if item_set not in self.item_sets:
            raise UserError(f"unknown item set {item_set!r}; {self.name} has {', '.join(self.item_sets)}")
        return self.build(item_set)

    @abstractmethod
    def build(self, item_set: str) -> pd.DataFrame:
        """Build the items of one of ``item_sets``."""

    def items_with(self, ids: Collection[str]) -> pd.DataFrame:
        """The items with the given ids that ``sets_with_all`` contain, in the order of the sets."""
        frames: list[pd.DataFrame] = []
        missing = set(ids)
        for item_set in self.sets_with_all:
            if missing:
                items = self.items(item_set)
                frames.append(items[items["id"].isin(missing)])
                missing -= set(frames[-1]["id"])
        return pd.concat(frames, ignore_index=True)

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One conversation per item; by default its prompt, which may share a prefix with others."""
        columns = items[["id", "prompt", "prefix_chars"]].itertuples(index=False, name=None)
        return [Conversation(id, (prompt,), prefix=prompt[:length]) for id, prompt, length in columns]

    def read(self, received: Received) -> Reading:
        """Read a reply; by default a choice between options A and B."""
        return read_choice(received, ("A", "B"))

    def local_models(self) -> Mapping[str, LocalModel]:
        """The local models of this study, by name."""
        return {}


S = TypeVar("S", bound=Study)
#: The studies whose modules are loaded, by name; see `deepvalues.ask.catalogue.study`.
REGISTERED: dict[str, Study] = {}


def register(study: S) -> S:
    """Register a study under its name, and return it."""
    REGISTERED[study.name] = study
    return study
