"""What a study is to the query engine: items, conversations, and a way to read replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from deepvalues.query.conversation import Conversation
from deepvalues.query.engine import Ask, Summary, ask_missing, recorded
from deepvalues.query.reading import Reading, Received
from deepvalues.query.record import Answer, Record
from deepvalues.query.registry import Model


class Study(Protocol):
    """A study as the engine sees it."""

    @property
    def name(self) -> str:
        """Its name, also that of its folder in the record."""

    @property
    def seed(self) -> int:
        """The seed that, with messages and repeat, makes the seed of a request."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of every request."""

    def items(self, item_set: str) -> pd.DataFrame:
        """The items of a set."""

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """How the items are asked, one conversation per row."""

    def read(self, received: Received) -> Reading:
        """How a reply is read."""


@dataclass(frozen=True)
class Questions:
    """A study's conversations for one set of items, put to one model."""

    study: Study
    conversations: Sequence[Conversation]
    model: Model
    record: Record

    @property
    def ask(self) -> Ask:
        """How this model is asked."""
        return Ask(self.model, self.study.parameters, self.study.seed)

    def missing(self) -> int:
        """Number of conversations that the record does not answer in full."""
        return sum(
            len(recorded(self.ask, conversation, repeat, self.record)) < len(conversation.turns)
            for conversation in self.conversations
            for repeat in range(conversation.repeats)
        )

    def read(self, answer: Answer) -> Reading:
        """The reading of a recorded answer."""
        received = Received(answer.text, answer.refusal, answer.finish_reason)
        return self.study.read(received)

    def to_retry(self, statuses: frozenset[str]) -> frozenset[str]:
        """Keys of recorded answers whose reading has one of these statuses."""
        if not statuses:
            return frozenset()
        return frozenset(
            answer.key
            for conversation in self.conversations
            for repeat in range(conversation.repeats)
            for answer in recorded(self.ask, conversation, repeat, self.record)
            if self.read(answer).status in statuses
        )

    def ask_missing(self, base_url: str, concurrency: int, retry: frozenset[str] = frozenset()) -> Summary:
        """Ask what the record lacks, and once more what was read with a status in ``retry``."""
        return ask_missing(
            self.ask,
            self.conversations,
            self.record,
            base_url=base_url,
            concurrency=concurrency,
            again=self.to_retry(retry),
        )

    def answers(self) -> pd.DataFrame:
        """One row per item, repeat and turn: status, choice and reply text.

        A turn without a recorded answer has the status ``failed`` and no text.
        """
        rows = []
        for conversation in self.conversations:
            for repeat in range(conversation.repeats):
                found = recorded(self.ask, conversation, repeat, self.record)
                for turn in range(len(conversation.turns)):
                    answer = found[turn] if turn < len(found) else None
                    reading = self.read(answer) if answer else Reading("failed")
                    text = answer.text if answer else None
                    rows.append((conversation.item, repeat, turn, *reading, text))
        columns = ["item", "repeat", "turn", "status", "choice", "reply"]
        frame = pd.DataFrame(rows, columns=columns)
        frame.insert(0, "model", self.model.name)
        return frame

    def orphans(self) -> int:
        """Number of recorded answers that no conversation of this set asks for."""
        keys = {
            answer.key
            for conversation in self.conversations
            for repeat in range(conversation.repeats)
            for answer in recorded(self.ask, conversation, repeat, self.record)
        }
        return len(self.record.answers.keys() - keys)


def record_path(folder: Path, study: str, model: str) -> Path:
    """Where a model's answers to a study are; a slash in a model's name becomes two underscores."""
    return folder / study / f"{model.replace('/', '__')}.jsonl"
