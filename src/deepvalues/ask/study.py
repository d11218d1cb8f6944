"""What a study is: items, conversations, a way to read replies, and models that answer on this machine.

A study's folder ``deepvalues/studies/NAME/`` has a module ``study`` that makes and registers its studies:
``NAME`` itself, and those whose names begin with ``NAME-``. Nothing else need know of them.
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
from deepvalues.ask.loopback import LocalModel
from deepvalues.ask.reading import Reading, Received, read_choice
from deepvalues.core.errors import UserError


@dataclass(frozen=True)
class Study(ABC):
    """A study; one whose questions are prompts with options A and B adds its names, its sets and `build`.

    ``name`` is also that of its folder in the record and on the command line; ``title`` is what readers call
    it, such as "Study 1: deep values", and ``number`` its place; ``max_tokens`` is the longest reply.
    ``item_sets`` are its sets by name, and ``contract`` is what every frame of its items meets; ``id`` is the
    one column that all have.
    ``sets_with_all`` are searched for recorded items until each is found: the quickest to build first, but
    where sets have the same ids and one asks more, that one. ``sets_that_share`` may be answered in full
    where a notebook reads another one that has items of theirs; not ``full``: who has answered it has
    answered all that it shares. ``sets_of_others`` have texts that are not ours to pass on.
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
        """The seed that, with messages and repeat, makes the seed of a request."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of every request."""
        return MappingProxyType({"max_tokens": self.max_tokens})

    @property
    def letter_choice(self) -> LetterChoice | None:
        """How it is asked by letter probability; None where all models are asked for free replies."""
        return None

    def items(self, item_set: str) -> pd.DataFrame:
        """The items of a set.

        Raises
        ------
        UserError
            When there is no such set, or what it is made of is not there.
        """
        if item_set not in self.item_sets:
            raise UserError(f"unknown item set {item_set!r}; {self.name} has {', '.join(self.item_sets)}")
        return self.build(item_set)

    @abstractmethod
    def build(self, item_set: str) -> pd.DataFrame:
        """Build the items of one of ``item_sets``."""

    def items_with(self, ids: Collection[str]) -> pd.DataFrame:
        """The items of the given ids, as far as ``sets_with_all`` have them, in the order of the sets."""
        frames: list[pd.DataFrame] = []
        missing = set(ids)
        for item_set in self.sets_with_all:
            if missing:
                items = self.items(item_set)
                frames.append(items[items["id"].isin(missing)])
                missing -= set(frames[-1]["id"])
        return pd.concat(frames, ignore_index=True)

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """How the items are asked, one conversation a row: here their prompts, which may share a prefix."""
        columns = items[["id", "prompt", "prefix_chars"]].itertuples(index=False, name=None)
        return [Conversation(id, (prompt,), prefix=prompt[:length]) for id, prompt, length in columns]

    def read(self, received: Received) -> Reading:
        """How a reply is read: here a choice between options A and B."""
        return read_choice(received, ("A", "B"))

    def local_models(self) -> Mapping[str, LocalModel]:
        """The models by name that the loopback server serves for this study."""
        return {}


S = TypeVar("S", bound=Study)
#: Studies by name, as far as their modules have been loaded: see `deepvalues.ask.catalogue.study`.
REGISTERED: dict[str, Study] = {}


def register(study: S) -> S:
    """Have a study found by its name; gives it back."""
    REGISTERED[study.name] = study
    return study
