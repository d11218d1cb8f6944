"""Study 3: value priorities in closed modes, pairs and open text, and the coding of that text by models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from deepvalues.ask import catalogue
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.local import LocalModel
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.reading import Reading, Received
from deepvalues.ask.record import Record
from deepvalues.ask.study import Study, register
from deepvalues.core import paths
from deepvalues.studies.profiles.analysis.responses import UNIQUE, sentences_of, unique_sentences
from deepvalues.studies.profiles.reading import read_closed, read_code, read_open
from deepvalues.studies.profiles.stimuli import (
    BEGIN,
    CLOSED_MODES,
    CONTRACT,
    ITEM_SETS,
    LETTERS,
    OPEN,
    PAIR_CONTRACT,
    PAIR_SETS,
    Codebook,
    PairWording,
    SentenceBank,
    Stimuli,
    build_items,
    build_pairs,
    load_bank,
    load_codebook,
    load_pairs,
    load_stimuli,
)

#: How often an unreadable reply is asked for again.
REPAIRS = 2
#: Precedes the sentence to be coded.
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
    """The ``response_format`` of the closed modes: a list, so that a model can keep the prompt's order."""
    entry = {
        "theme": {"type": "string", "enum": [theme.name for theme in stimuli.themes]},
        "response": {"type": "integer"},
    }
    return _json_schema("profile", {"responses": {"type": "array", "items": _object(entry)}})


def _is_settled(study: Study, received: Received) -> bool:
    """Whether a reply needs no repair: only unreadable ones do, not refusals."""
    return study.read(received).status in ("answered", "refused")


def open_answers(item_set: str, record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """The recorded open answers of the paper's models, as from `Questions.answers`."""
    opened, registry = catalogue.study("profiles-open"), catalogue.registry()
    conversations = opened.conversations(opened.items(item_set))
    found = [pd.DataFrame(columns=["model", "item", "repeat", "status", "reply"])]
    listed = registry.of_paper(opened.name)
    for model in (each for each in registry.models.values() if each in listed):
        record = Record(record_path(record_folder, opened.name, model.name))
        if record.answers:
            found.append(Questions(opened, conversations, model, record).answers())
    return pd.concat(found, ignore_index=True)


@dataclass(frozen=True)
class _OfInstrument(Study):
    """A study that uses the instrument's wording."""

    stimuli_file: Path = paths.PROFILES
    number = 3
    item_sets: ClassVar[Collection[str]] = ITEM_SETS
    contract = CONTRACT
    sets_with_all: ClassVar[Collection[str]] = ("standard", "full")

    @cached_property
    def stimuli(self) -> Stimuli:
        """The instrument's wording."""
        return load_stimuli(self.stimuli_file)

    @property
    def seed(self) -> int:
        """The seed of orders and requests."""
        return self.stimuli.seed

    def sentences(self) -> SentenceBank:
        """The sentences that reference agents write and code."""
        return load_bank(paths.PROFILES_SENTENCES, self.stimuli.themes)


@dataclass(frozen=True)
class ValueProfiles(_OfInstrument):
    """The closed modes: ranking, rating and allocation.

    ``response_format`` requests JSON by schema; if a model's endpoint can't do that, remove it in the
    registry with ``parameters: {response_format: null}``.
    """

    name = "profiles"
    title = "Study 3: value priorities"
    #: Enough for a profile as JSON.
    max_tokens = 600

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of every request."""
        return {"max_tokens": self.max_tokens, "response_format": profile_schema(self.stimuli)}

    def build(self, item_set: str) -> pd.DataFrame:
        """Build ``smoke``, ``standard`` or ``full``: 5, 30 or 150 runs per mode."""
        return build_items(self.stimuli, ITEM_SETS[item_set], CLOSED_MODES)

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

    def local_models(self) -> Mapping[str, LocalModel]:
        """Agents with known profiles, which also answer the open question."""
        from deepvalues.studies.profiles.respondents import profile_agents

        return profile_agents(self.stimuli, self.sentences())


@dataclass(frozen=True)
class ThemePairs(_OfInstrument):
    """Choices of the more important of two themes."""

    wording_file: Path = paths.PROFILES_PAIRS
    name = "profiles-pairs"
    title = "Study 3, pairs"
    #: Enough for an option alone.
    max_tokens = 10
    item_sets: ClassVar[Collection[str]] = PAIR_SETS
    contract = PAIR_CONTRACT
    sets_with_all = ("standard",)

    @cached_property
    def wording(self) -> PairWording:
        """The wording of the pairs."""
        return load_pairs(self.wording_file, self.stimuli.themes)

    @cached_property
    def letter_choice(self) -> LetterChoice:
        """The request for letter probabilities."""
        return LetterChoice(LETTERS, BEGIN, self.wording.ending, self.wording.bare_ending)

    def build(self, item_set: str) -> pd.DataFrame:
        """Build ``smoke`` (30) or ``standard`` (150)."""
        return build_pairs(self.wording, item_set)

    def local_models(self) -> Mapping[str, LocalModel]:
        """Agents with a known worth for each theme."""
        from deepvalues.studies.profiles.respondents import pair_agents

        return pair_agents(self.wording)


@dataclass(frozen=True)
class OpenProfiles(_OfInstrument):
    """The open question: what optimal functioning means for an AI, in a few sentences."""

    name = "profiles-open"
    title = "Study 3, open text"
    max_tokens = 600

    def build(self, item_set: str) -> pd.DataFrame:
        """Build ``smoke``, ``standard`` or ``full``: 5, 30 or 150 runs."""
        return build_items(self.stimuli, ITEM_SETS[item_set], [OPEN])

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One question per item."""
        columns = items[["id", "repeat", "prompt"]].itertuples(index=False, name=None)
        return [Conversation(id, (prompt,), first_repeat=repeat) for id, repeat, prompt in columns]

    def read(self, received: Received) -> Reading:
        """Read an open answer."""
        return read_open(received)


@dataclass(frozen=True)
class ProfileCoding(_OfInstrument):
    """The coding of open answers by coder models: each item is a sentence without a trace of its author.

    ``open_answers`` returns the recorded answers to ``profiles-open`` in a set (as `Questions.answers`).
    """

    codebook_file: Path = paths.PROFILES_CODEBOOK
    open_answers: Callable[[str], pd.DataFrame] = open_answers
    name = "profiles-coding"
    title = "Study 3, coding of open text"
    max_tokens = 60
    contract = UNIQUE

    @cached_property
    def codebook(self) -> Codebook:
        """The instructions for coding sentences."""
        return load_codebook(self.codebook_file, self.stimuli.themes)

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of every request."""
        code = {"theme": {"type": "string", "enum": list(self.codebook.names.values())}}
        schema = _json_schema("code", code)
        return {"max_tokens": self.max_tokens, "temperature": 0, "response_format": schema}

    def build(self, item_set: str) -> pd.DataFrame:
        """Each distinct sentence of a set's open answers: id and sentence.

        Raises
        ------
        deepvalues.core.errors.UserError
            When no open answer is on record.
        """
        return unique_sentences(sentences_of(self.open_answers(item_set)))

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """The codebook with a sentence, and at most two repairs."""
        until = partial(_is_settled, self)
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

    def local_models(self) -> Mapping[str, LocalModel]:
        """Agents that code sentences, one of them with a known error rate."""
        from deepvalues.studies.profiles.respondents import coder_agents

        return coder_agents(self.codebook, self.sentences())


PROFILES = register(ValueProfiles())
for _study in (ThemePairs, OpenProfiles, ProfileCoding):
    register(_study())
