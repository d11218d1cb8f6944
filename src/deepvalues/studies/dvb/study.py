"""Study 1: the Deep Value Benchmark, its variants and its side studies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from deepvalues.ask import catalogue
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.local import LocalModel
from deepvalues.ask.reading import Reading, Received
from deepvalues.ask.study import Study, register
from deepvalues.core import paths
from deepvalues.core.downloads import Store
from deepvalues.studies.dvb.items import items, prompts, ratings, validation
from deepvalues.studies.dvb.items.items import (
    AUTHORS,
    AUTHORS_FEWER,
    AUTHORS_MOST_EXAMPLES,
    RELEASED_SETS,
    ItemSet,
)
from deepvalues.studies.dvb.items.public_prompts import PublicPrompts
from deepvalues.studies.dvb.items.ratings import read_rating
from deepvalues.studies.dvb.items.released import read_released
from deepvalues.studies.dvb.items.subset import subset
from deepvalues.studies.dvb.stimuli.bank import Bank, load_bank
from deepvalues.studies.dvb.stimuli.design import EXAMPLES, Design, load_design

#: How prompts with the benchmark's own instruction are asked by letter probability.
LETTER_CHOICE = LetterChoice(prompts.LETTERS, "Option", prompts.ANSWER_ONLY, prompts.LETTER_ONLY)
SUBSET = "subset"
#: Number of times that each value is rated on each scale.
REPEATS = 10


@dataclass(frozen=True)
class DeepValueBenchmark(Study):
    """The benchmark; its bank and design are read on first use."""

    bank_folder: Path = paths.BANK
    design_file: Path = paths.DESIGNS
    downloads: Store = field(default_factory=Store.project)
    public_prompts: Path = paths.PUBLIC_PROMPTS
    name = "dvb"
    title = "Study 1: deep values"
    number = 1
    max_tokens = 10
    item_sets: ClassVar[Collection[str]] = (*items.ITEM_SETS, SUBSET, *RELEASED_SETS, AUTHORS, AUTHORS_FEWER)
    contract = items.CONTRACT
    sets_with_all = ("standard", SUBSET, "full")
    sets_that_share = ("smoke", "n4", "n20", "n40", "layers", "standard", SUBSET)
    sets_of_others = (*RELEASED_SETS, AUTHORS, AUTHORS_FEWER)
    letter_choice = LETTER_CHOICE

    @cached_property
    def bank(self) -> Bank:
        """The wording bank, checked against its rules."""
        return load_bank(self.bank_folder)

    @cached_property
    def design(self) -> Design:
        """The design."""
        return load_design(self.design_file, self.bank)

    @property
    def seed(self) -> int:
        """The seed of design and requests."""
        return self.design.seed

    def build(self, item_set: str) -> pd.DataFrame:
        """Build the items of one of `items.ITEM_SETS`, ``subset``, a released set, or public prompts."""
        if item_set == SUBSET:
            return self._subset.copy()
        if item_set in RELEASED_SETS:
            return read_released(self.downloads.verified(item_set), self.bank)
        if item_set == AUTHORS:
            return self.authors.items()
        if item_set == AUTHORS_FEWER:
            return self.authors.items(AUTHORS_MOST_EXAMPLES)
        return items.build_items(self.bank, self.design, item_set)

    @cached_property
    def authors(self) -> PublicPrompts:
        """The public prompts in the authors' repository."""
        return PublicPrompts(self.public_prompts, self.downloads)

    def without_prompts(self, item_set: str) -> pd.DataFrame:
        """The items of one of our own sets without the prompts, which take up nearly all of its memory."""
        return items.build_items(self.bank, self.design, item_set, with_prompts=False)

    @cached_property
    def _subset(self) -> pd.DataFrame:
        # Cached, because all variants ask it and `full` takes seconds to build.
        return subset(items.build_items(self.bank, self.design, "full"), self.design)

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One user message per item; items with the same examples share a prefix.

        Items without a prompt are public ones, whose text is looked up on this machine.
        """
        columns = items[["id", "prompt", "prefix_chars"]].itertuples(index=False, name=None)
        return [
            Conversation(id, (prompt,), prefix=prompt[:length]) if prompt else self.authors.conversation(id)
            for id, prompt, length in columns
        ]

    def local_models(self) -> Mapping[str, LocalModel]:
        """Reference agents, text learners, and heads on those models of the registry that have weights."""
        from deepvalues.studies.dvb.respondents.agents import reference_agents
        from deepvalues.studies.dvb.respondents.heads import heads
        from deepvalues.studies.dvb.respondents.learners import LEARNERS

        with_weights = [model for model in catalogue.registry().models.values() if model.weights]
        return {**reference_agents(self.bank), **LEARNERS, **heads(with_weights)}


BENCHMARK = register(DeepValueBenchmark())


@dataclass(frozen=True)
class _BenchmarkStudy(Study):
    """A study based on the benchmark's material."""

    benchmark: DeepValueBenchmark = BENCHMARK
    number = 1

    @property
    def seed(self) -> int:
        """The seed of the benchmark."""
        return self.benchmark.seed


@dataclass(frozen=True)
class PromptVariant(_BenchmarkStudy):
    """The tests of the benchmark with another instruction at the end.

    The examples, and with them the prefix that providers cache, stay the same. The published follow-up
    compared the same variants with the baseline: an instruction to go by the values, and a rationale first.
    """

    instruction: ClassVar[str]
    item_sets: ClassVar[Collection[str]] = DeepValueBenchmark.item_sets
    contract = items.CONTRACT
    sets_with_all = (SUBSET, "full")
    sets_that_share = DeepValueBenchmark.sets_that_share
    sets_of_others = DeepValueBenchmark.sets_of_others

    def build(self, item_set: str) -> pd.DataFrame:
        """Build the benchmark's items with the same ids and this variant's instruction."""
        return items.reworded(self.benchmark.items(item_set), self.instruction)


@dataclass(frozen=True)
class ExplicitInstruction(PromptVariant):
    """The tests with an instruction to go by the values."""

    name = "dvb-explicit"
    title = "Study 1, explicit instruction"
    max_tokens = DeepValueBenchmark.max_tokens
    instruction = prompts.VALUES_FIRST + prompts.ANSWER_ONLY
    letter_choice = LETTER_CHOICE


@dataclass(frozen=True)
class RationaleFirst(PromptVariant):
    """The tests with a rationale of about 50 words before the answer; they can't be asked by letters."""

    name = "dvb-cot"
    title = "Study 1, rationale first"
    max_tokens = 200
    instruction = prompts.RATIONALE_FIRST


@dataclass(frozen=True)
class FreeReplies(_BenchmarkStudy):
    """Tests that every model answers in its own words, even if it could be asked by letters.

    The share of replies that can be read is a result: it shows whether a model follows the instruction.
    """

    name = "dvb-free"
    title = "Study 1, free replies"
    max_tokens = DeepValueBenchmark.max_tokens
    #: Number of cells in each set.
    item_sets: ClassVar[Mapping[str, int]] = {"smoke": 5, "standard": 50}
    contract = items.CONTRACT

    def build(self, item_set: str) -> pd.DataFrame:
        """Build deconfounded tests and controls at N = 4: ``smoke`` (20) or ``standard`` (200)."""
        asked = items.both_orders((min(EXAMPLES),), ("deconfounded", "control"))
        cells = ItemSet(asked, self.item_sets[item_set], balanced=True)
        return items.items_of(self.benchmark.bank, self.benchmark.design, cells)


@dataclass(frozen=True)
class ValueRatings(_BenchmarkStudy):
    """Ratings of each value on three scales from 1 to 10, ten times."""

    name = "dvb-ratings"
    title = "Study 1, ratings of values"
    max_tokens = 5
    #: Number of values that each set asks about.
    item_sets: ClassVar[Mapping[str, int]] = {"smoke": 1, "standard": 11}
    contract = ratings.CONTRACT

    def build(self, item_set: str) -> pd.DataFrame:
        """Build ``smoke`` (3) or ``standard`` (33)."""
        whole = ratings.build_ratings(self.benchmark.bank)
        return whole.head(self.item_sets[item_set] * len(prompts.SCALES))

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One user message per item, ten times."""
        columns = items[["id", "prompt"]].itertuples(index=False, name=None)
        return [Conversation(id, (prompt,), repeats=REPEATS) for id, prompt in columns]

    def read(self, received: Received) -> Reading:
        """Read a rating."""
        return read_rating(received)

    def local_models(self) -> Mapping[str, LocalModel]:
        """Agents that rate by a fixed profile."""
        from deepvalues.studies.dvb.respondents.agents import raters

        return raters(self.benchmark.bank)


@dataclass(frozen=True)
class StimulusValidation(_BenchmarkStudy):
    """Do options visibly show what they should? See `items.validation`."""

    name = "dvb-validation"
    title = "Study 1, validation"
    max_tokens = DeepValueBenchmark.max_tokens
    #: The value pairs in each set, with four cells each; ``half`` keeps trait and layout balanced.
    item_sets: ClassVar[Mapping[str, Collection[int]]] = {
        "smoke": range(1),
        "half": [pair for pair in range(50) if pair % 4 in (0, 3)],
        "standard": range(50),
    }
    contract = validation.CONTRACT
    letter_choice = LETTER_CHOICE

    def build(self, item_set: str) -> pd.DataFrame:
        """Build ``smoke`` (48), ``half`` (1,200) or ``standard`` (2,400)."""
        bank, users = self.benchmark.bank, {cell.id: cell.user for cell in self.benchmark.design.cells}
        stimuli, pairs = self.benchmark.items("n40"), self.item_sets[item_set]
        return validation.build_validation(bank, stimuli, users, self.seed, pairs)

    def local_models(self) -> Mapping[str, LocalModel]:
        """The agent that recognizes the bank's wordings."""
        from deepvalues.studies.dvb.respondents.agents import Matcher, Recogniser

        matcher = Matcher(Recogniser(self.benchmark.bank))
        return {matcher.name: matcher}


for _study in (ExplicitInstruction, RationaleFirst, FreeReplies, ValueRatings, StimulusValidation):
    register(_study())
