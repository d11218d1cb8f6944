"""Value-priority profiles as the query engine sees them: three studies on the same rails.

``profiles`` asks in the closed modes, ``profiles-open`` asks the open question, and ``profiles-coding`` has
coder models code the sentences of the open answers on record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.reading import Reading, Received
from deepvalues.studies.profiles.analysis.sentences import UNIQUE, sentences_of, unique_sentences
from deepvalues.studies.profiles.items import CONTRACT, build_items, runs_of
from deepvalues.studies.profiles.reading import read_closed, read_code, read_open
from deepvalues.studies.profiles.stimuli.instrument import (
    CLOSED_MODES,
    OPEN,
    Codebook,
    Stimuli,
    load_codebook,
    load_stimuli,
)

#: The longest reply, in tokens: a profile as JSON, or an open answer; and a code.
MAX_TOKENS = 600
MAX_TOKENS_CODE = 60
#: How often a reply that could not be read is asked for again.
REPAIRS = 2
#: What stands before the sentence to be coded.
SENTENCE_MARK = "The sentence: "


def _json_schema(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "strict": True, "schema": _object(properties)},
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def profile_schema(stimuli: Stimuli) -> dict[str, Any]:
    """The ``response_format`` of the closed modes: a list, so that a model may keep the prompt's order."""
    entry = {
        "theme": {"type": "string", "enum": [theme.name for theme in stimuli.themes]},
        "response": {"type": "integer"},
    }
    return _json_schema("profile", {"responses": {"type": "array", "items": _object(entry)}})


def _is_code(names: Mapping[str, str], received: Received) -> bool:
    return read_code(received, names).status in ("answered", "refused")


def _is_settled(study: ValueProfiles, received: Received) -> bool:
    """A refusal is an answer of its own; only what can't be read is asked for again."""
    return study.read(received).status in ("answered", "refused")


@dataclass(frozen=True)
class ValueProfiles:
    """Study 3 in its closed modes: ranking, rating and allocation.

    ``response_format`` asks for JSON by its schema; a model whose endpoint can't do that takes it out by
    ``parameters: {response_format: null}`` in the registry.
    """

    stimuli_file: Path
    name: str = "profiles"
    title: str = "Study 3: value priorities"
    letter_choice: LetterChoice | None = None

    @cached_property
    def stimuli(self) -> Stimuli:
        """The instrument's words."""
        return load_stimuli(self.stimuli_file)

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of every request."""
        return {"max_tokens": MAX_TOKENS, "response_format": profile_schema(self.stimuli)}

    @property
    def contract(self) -> pa.DataFrameSchema:
        """What the items of any set meet."""
        return CONTRACT

    @property
    def seed(self) -> int:
        """The seed of orders and requests."""
        return self.stimuli.seed

    def items(self, item_set: str) -> pd.DataFrame:
        """The items of ``smoke``, ``standard`` or ``full``: 5, 30 or 150 runs per mode."""
        return build_items(self.stimuli, runs_of(item_set), CLOSED_MODES)

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """A question and at most two repairs for each item."""
        until = partial(_is_settled, self)
        columns = items[["id", "mode", "repeat", "prompt"]].itertuples(index=False, name=None)
        return [
            Conversation(
                id,
                (prompt, *[self.stimuli.repair_turn(mode)] * REPAIRS),
                first_repeat=repeat,
                until=until,
            )
            for id, mode, repeat, prompt in columns
        ]

    def read(self, received: Received) -> Reading:
        """Read a reply in the mode of its question."""
        mode = self.stimuli.mode_of(received.question)
        if mode not in CLOSED_MODES:
            return Reading("unparsable")
        return read_closed(received, mode, [theme.name for theme in self.stimuli.themes])


@dataclass(frozen=True)
class OpenProfiles:
    """Study 3's open question: what an AI's optimal functioning means, in a few sentences."""

    stimuli_file: Path
    name: str = "profiles-open"
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"max_tokens": MAX_TOKENS})
    title: str = "Study 3, open text"
    letter_choice: LetterChoice | None = None

    @property
    def contract(self) -> pa.DataFrameSchema:
        """What the items of any set meet."""
        return CONTRACT

    @cached_property
    def stimuli(self) -> Stimuli:
        """The instrument's words."""
        return load_stimuli(self.stimuli_file)

    @property
    def seed(self) -> int:
        """The seed of requests."""
        return self.stimuli.seed

    def items(self, item_set: str) -> pd.DataFrame:
        """The items of ``smoke``, ``standard`` or ``full``: 5, 30 or 150 runs."""
        return build_items(self.stimuli, runs_of(item_set), [OPEN])

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One question per item."""
        columns = items[["id", "repeat", "prompt"]].itertuples(index=False, name=None)
        return [Conversation(id, (prompt,), first_repeat=repeat) for id, repeat, prompt in columns]

    def read(self, received: Received) -> Reading:
        """Whether there is a text."""
        return read_open(received)


@dataclass(frozen=True)
class ProfileCoding:
    """The coding of open answers by coder models: an item is a sentence, and carries no trace of its author.

    ``open_answers`` gives, for a set, the answers to ``profiles-open`` on record (`Questions.answers`).
    """

    stimuli_file: Path
    codebook_file: Path
    open_answers: Callable[[str], pd.DataFrame]
    name: str = "profiles-coding"
    title: str = "Study 3, coding of open text"
    letter_choice: LetterChoice | None = None

    @cached_property
    def stimuli(self) -> Stimuli:
        """The instrument's words."""
        return load_stimuli(self.stimuli_file)

    @property
    def contract(self) -> pa.DataFrameSchema:
        """What the items of any set meet."""
        return UNIQUE

    @cached_property
    def codebook(self) -> Codebook:
        """How sentences are coded."""
        return load_codebook(self.codebook_file, self.stimuli.themes)

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of every request."""
        code = {"theme": {"type": "string", "enum": list(self.codebook.names.values())}}
        schema = _json_schema("code", code)
        return {"max_tokens": MAX_TOKENS_CODE, "temperature": 0, "response_format": schema}

    @property
    def seed(self) -> int:
        """The seed of requests."""
        return self.stimuli.seed

    def items(self, item_set: str) -> pd.DataFrame:
        """Every different sentence of a set's open answers, once: id and sentence.

        Raises
        ------
        deepvalues.core.errors.UserError
            When no open answer is on record.
        """
        return unique_sentences(sentences_of(self.open_answers(item_set)))

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """The codebook and a sentence, and at most two repairs."""
        until = partial(_is_code, dict(self.codebook.names))
        prefix = f"{self.codebook.text}\n\n{SENTENCE_MARK}"
        repairs = (self.codebook.repair,) * REPAIRS
        columns = items[["id", "sentence"]].itertuples(index=False, name=None)
        return [
            Conversation(id, (prefix + sentence, *repairs), prefix=prefix, until=until)
            for id, sentence in columns
        ]

    def read(self, received: Received) -> Reading:
        """Read a code."""
        return read_code(received, self.codebook.names)
