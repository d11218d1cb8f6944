"""Study 2: social value orientation, in conversations and one question at a time."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.local import LocalModel
from deepvalues.ask.reading import Reading, Received, read_choice, settled
from deepvalues.ask.study import Study, register
from deepvalues.core import paths
from deepvalues.studies.svo import stimuli
from deepvalues.studies.svo.stimuli import LETTERS, Wording, load_wording, option_lines, questions_of

#: Trials of each condition, as published.
TRIALS = 10
SEED = 20230517
#: The two amounts of an option: "85, 50", "(85 / 50)", "85 for me and 50 for the other".
_AMOUNTS = re.compile(
    r"(?<![\d.,])[(\[]?(\d{1,3})(?: coins?)?(?: (?:for|to) (?:me|myself))? ?(?:,|/|;|:|\band\b|-) ?(?:and )?"
    r"(\d{1,3})(?: coins?)?(?: (?:for|to) (?:them|you|(?:the )?other(?: (?:person|participant))?))?"
    r"[)\]]?(?![.,]?\d)",
    re.IGNORECASE,
)
_GAP = re.compile(r"[^\S\n]+")


def read(received: Received) -> Reading:
    """Read a reply to a turn of this study.

    Any text answers a turn without options (a description, a goal).

    Returns
    -------
    Reading
        ``answered`` with the letter shown (no choice for a turn without options), or another status without
        a choice.
    """
    options = option_lines(received.question)
    if not options:
        return settled(received) or Reading("answered")

    def named(match: re.Match[str]) -> str:
        letters = [letter for letter, coins in options.items() if coins == (int(match[1]), int(match[2]))]
        return f"(option {letters[0] if len(letters) == 1 else '?'})"

    return read_choice(received, options, lambda text: _AMOUNTS.sub(named, _GAP.sub(" ", text)))


@dataclass(frozen=True)
class SocialValues(Study):
    """The slider measure in conversations, with ``trials`` (K) per condition."""

    wording_file: Path = paths.SVO
    trials: int = TRIALS
    seed: int = SEED
    name = "svo"
    title = "Study 2: social values"
    number = 2
    #: Enough for a description of a value.
    max_tokens = 300
    item_sets: ClassVar[Collection[str]] = stimuli.ITEM_SETS
    contract = stimuli.CONTRACT
    sets_with_all = ("full",)

    @cached_property
    def wording(self) -> Wording:
        """The texts of the conversations."""
        return load_wording(self.wording_file)

    def build(self, item_set: str) -> pd.DataFrame:
        """Build the trials of ``smoke``, ``standard`` or ``full``."""
        return stimuli.build_items(self.wording, self.seed, self.trials, item_set)

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One conversation per trial: the value, optionally a goal, then the questions one by one."""
        columns = ["id", "mode", "value", "goal", "repeat", "item_order", "option_orders"]
        return [
            Conversation(
                id,
                self.wording.turns(mode, value, goal, *zip(*questions_of(order, options), strict=True)),
                first_repeat=repeat,
            )
            for id, mode, value, goal, repeat, order, options in items[columns].itertuples(
                index=False, name=None
            )
        ]

    def read(self, received: Received) -> Reading:
        """Read a reply: a letter shown, or any text if the turn has no options."""
        return read(received)

    def local_models(self) -> Mapping[str, LocalModel]:
        """Agents that divide coins by a rule."""
        from deepvalues.studies.svo.respondents import reference_agents

        return reference_agents(self.wording)


@dataclass(frozen=True)
class OneQuestion(Study):
    """The slider measure with each question asked alone."""

    wording_file: Path = paths.SVO_LETTERS
    values_file: Path = paths.SVO
    seed: int = SEED
    name = "svo-letters"
    title = "Study 2, one question at a time"
    number = 2
    #: Enough for an option alone.
    max_tokens = 10
    item_sets: ClassVar[Collection[str]] = stimuli.LETTER_SETS
    contract = stimuli.LETTER_CONTRACT

    @cached_property
    def wording(self) -> stimuli.OneQuestionWording:
        """The texts of the prompts."""
        return stimuli.load_one_question(self.wording_file, load_wording(self.values_file))

    @cached_property
    def letter_choice(self) -> LetterChoice:
        """The request for letter probabilities: nine letters, after "Option"."""
        texts = self.wording.texts
        return LetterChoice(tuple(LETTERS), stimuli.BEGIN, texts["ending"], texts["bare_ending"])

    def build(self, item_set: str) -> pd.DataFrame:
        """Build ``smoke`` (30) or ``standard`` (270)."""
        return stimuli.build_letter_items(self.wording, item_set)

    def read(self, received: Received) -> Reading:
        """Read a free reply: the letter shown."""
        return read(received)

    def local_models(self) -> Mapping[str, LocalModel]:
        """Agents that give each letter a probability."""
        from deepvalues.studies.svo.respondents import letter_agents

        return letter_agents(self.wording)


register(SocialValues())
register(OneQuestion())
