"""Prompt variants: the same tests with another end of the prompt, each a study of its own.

The examples, and with them the prefix that providers cache, stay as they are. The published follow-up
had the same two variants beside the baseline: an instruction to go by the values, and a rationale first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd
import pandera.pandas as pa

from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.reading import Reading, Received, read_choice
from deepvalues.core.errors import UserError
from deepvalues.stats.contrasts import Paired, paired
from deepvalues.stats.rates import holm
from deepvalues.studies.dvb.analysis.statistics import missing_by_reason, rates
from deepvalues.studies.dvb.items.prompts import ANSWER_ONLY, LETTERS, RATIONALE_FIRST, VALUES_FIRST
from deepvalues.studies.dvb.study import LETTER_CHOICE, MAX_TOKENS, DeepValueBenchmark

#: The longest reply, in tokens, of a rationale of about 50 words and an answer.
MAX_RATIONALE_TOKENS = 200
BASELINE = "dvb"
#: What each study's wording of the question is called, in the order in which they are shown.
NAMES = {BASELINE: "baseline", "dvb-explicit": "explicit instruction", "dvb-cot": "rationale first"}
#: What the published table calls the variant of each study.
PUBLISHED_NAMES = {
    "chain_of_thought": "dvb-cot",
    "baseline": BASELINE,
    "explicit_instruction": "dvb-explicit",
}


@dataclass(frozen=True)
class PromptVariant:
    """The tests of a benchmark with another instruction at the end."""

    benchmark: DeepValueBenchmark
    name: str
    title: str
    instruction: str
    max_tokens: int

    @property
    def seed(self) -> int:
        """The seed of the benchmark."""
        return self.benchmark.seed

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of every request."""
        return MappingProxyType({"max_tokens": self.max_tokens})

    def items(self, item_set: str) -> pd.DataFrame:
        """The benchmark's items of a set under the same ids, with this variant's end of the prompt."""
        return reworded(self.benchmark.items(item_set), self.instruction)

    @property
    def letter_choice(self) -> LetterChoice | None:
        """As in the benchmark; None after a rationale, which has to be written first."""
        return LETTER_CHOICE if self.instruction.endswith(ANSWER_ONLY) else None

    @property
    def contract(self) -> pa.DataFrameSchema:
        """What every frame of items meets."""
        return self.benchmark.contract

    def conversations(self, items: pd.DataFrame) -> list[Conversation]:
        """One user message per item, as for the benchmark."""
        return self.benchmark.conversations(items)

    def read(self, received: Received) -> Reading:
        """Read a reply, with or without a rationale."""
        return read_choice(received, LETTERS)


def prompt_variants(benchmark: DeepValueBenchmark) -> list[PromptVariant]:
    """The two variants beside the baseline."""
    explicit = "dvb-explicit", "Study 1, explicit instruction"
    rationale = "dvb-cot", "Study 1, rationale first"
    return [
        PromptVariant(benchmark, *explicit, VALUES_FIRST + ANSWER_ONLY, MAX_TOKENS),
        PromptVariant(benchmark, *rationale, RATIONALE_FIRST, MAX_RATIONALE_TOKENS),
    ]


def reworded(items: pd.DataFrame, instruction: str) -> pd.DataFrame:
    """Items whose prompts end with another instruction; all columns but prompt and hash stay.

    Raises
    ------
    UserError
        When a prompt does not end with the baseline's instruction.
    """
    other = items.loc[~items["prompt"].str.endswith(ANSWER_ONLY), "id"]
    if len(other):
        raise UserError(
            f"{len(other)} prompts do not end with the benchmark's own instruction, the first is "
            f"{other.iloc[0]}: variants exist of the project's own item sets only"
        )
    prompts = [prompt.removesuffix(ANSWER_ONLY) + instruction for prompt in items["prompt"]]
    hashes = [hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in prompts]
    return items.assign(prompt=prompts, hash=hashes)


def variant_trials(trials: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the trials of several variants under each other.

    Parameters
    ----------
    trials
        By the study's name, from `analysis.statistics.trials`.

    Returns
    -------
    pandas.DataFrame
        The deconfounded trials, with ``study`` as the first column.
    """
    frame = pd.concat(trials, names=["study"]).reset_index(level="study").reset_index(drop=True)
    return frame[frame["arm"] == "deconfounded"].reset_index(drop=True)


def variant_rates(frame: pd.DataFrame, by: Sequence[str] = ("model",)) -> pd.DataFrame:
    """DVGR of each variant and group.

    Parameters
    ----------
    frame
        From `variant_trials`.
    by
        Columns that make the groups within a variant; may be empty.

    Returns
    -------
    pandas.DataFrame
        study, the columns ``by``, and the others as from `analysis.statistics.rates`, with ``dvgr``
        for the rate.
    """
    return rates(frame, ["study", *by]).rename(columns={"rate": "dvgr"})


def variant_differences(
    frame: pd.DataFrame, by: Sequence[str] = ("model",), bound: float = 0.05
) -> pd.DataFrame:
    """Each variant against the baseline, on the tests that a model answered under both.

    Parameters
    ----------
    frame
        From `variant_trials`, with the baseline.
    by
        Columns that make the groups; may be empty. A pair is always one model's pair.
    bound
        Differences smaller than this count as equivalent.

    Returns
    -------
    pandas.DataFrame
        study, the columns ``by``, and the fields of `deepvalues.stats.contrasts.Paired`, where a is the
        variant and b the baseline; clusters are cells. p_mcnemar_holm corrects over the rows.
    """
    key = ["model", "item"]
    kept = list(dict.fromkeys([*key, "cell", *by]))
    baseline = frame.loc[frame["study"] == BASELINE, [*key, "followed"]]
    others = frame.loc[frame["study"] != BASELINE, ["study", *kept, "followed"]]
    pairs = others.merge(baseline, on=key, suffixes=("", "_baseline"), validate="many_to_one")
    rows = []
    for group_key, group in pairs.groupby(["study", *by], sort=True):
        first, second = (group[column].to_numpy(dtype=float) for column in ("followed", "followed_baseline"))
        rows.append((*group_key, *paired(first, second, group["cell"], bound)))
    table = pd.DataFrame(rows, columns=["study", *by, *Paired._fields])
    return table.assign(p_mcnemar_holm=holm(list(table["p_mcnemar"])))


def missing_by_variant(trials: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Replies by status for each variant: as `analysis.statistics.missing_by_reason`, with ``study``.

    Parameters
    ----------
    trials
        By the study's name.
    """
    tables = [missing_by_reason(frame).assign(study=study) for study, frame in trials.items()]
    return pd.concat(tables, ignore_index=True)


def published_variants(published: pd.DataFrame) -> pd.DataFrame:
    """The published DVGRs under the names of our studies.

    Parameters
    ----------
    published
        ``data/published/dvb_prompt_variants.csv``.

    Returns
    -------
    pandas.DataFrame
        study, published_dvgr, published_low, published_high; sorted by study.
    """
    names = {"dvgr": "published_dvgr", "ci_low": "published_low", "ci_high": "published_high"}
    table = published.assign(study=published["variant"].map(PUBLISHED_NAMES)).rename(columns=names)
    return table[["study", *names.values()]].sort_values("study", ignore_index=True)
