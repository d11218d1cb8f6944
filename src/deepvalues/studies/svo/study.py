"""Social value orientation as the query engine sees it."""

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
from deepvalues.ask.reading import Reading, Received
from deepvalues.studies.svo.items import CONTRACT, build_items, questions_of
from deepvalues.studies.svo.reading import read
from deepvalues.studies.svo.stimuli.prompts import Wording, load_wording

#: The longest reply, in tokens: room for a description of a value.
MAX_TOKENS = 300
#: Trials of each condition, as published.
TRIALS = 10
SEED = 20230517


@dataclass(frozen=True)
class SocialValues:
    """Study 2: its wording, read on first use; ``trials`` is K."""

    wording_file: Path
    trials: int = TRIALS
    seed: int = SEED
    name: str = "svo"
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({"max_tokens": MAX_TOKENS})
    )
    title: str = "Study 2: social values"
    letter_choice: LetterChoice | None = None

    @property
    def contract(self) -> pa.DataFrameSchema:
        """What the items of any set meet."""
        return CONTRACT

    @cached_property
    def wording(self) -> Wording:
        """The texts of the conversations."""
        return load_wording(self.wording_file)

    def items(self, item_set: str) -> pd.DataFrame:
        """The trials of ``smoke``, ``standard`` or ``full``."""
        return build_items(self.wording, self.seed, self.trials, item_set)

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One conversation a trial: the value, perhaps a goal, then question by question."""
        columns = ["id", "mode", "value", "goal", "repeat", "item_order", "option_orders"]
        found = []
        for id, mode, value, goal, repeat, order, options in items[columns].itertuples(
            index=False, name=None
        ):
            numbers, shown = zip(*questions_of(order, options), strict=True)
            turns = self.wording.turns(mode, value, goal, numbers, shown)
            found.append(Conversation(id, turns, first_repeat=repeat))
        return found

    def read(self, received: Received) -> Reading:
        """Read a reply: a letter as shown, or any text where the turn shows no options."""
        return read(received)
