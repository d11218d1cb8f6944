"""Surveys of study 1: are dimensions shallow, does a value predict a choice, does an option show its value?

The last two ask people exactly the questions that `items.validation` asks models. The published study asked
people the same three things, in its own words and about its own stimuli.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from deepvalues.core import stable_random
from deepvalues.studies.dvb.items import prompts
from deepvalues.studies.dvb.items.validation import STIMULI
from deepvalues.studies.dvb.stimuli.bank import VALUE_SETS, Bank
from deepvalues.studies.dvb.study import DeepValueBenchmark, StimulusValidation
from deepvalues.survey.form import Block, Option, Question, Scale, Survey

CONSENT = (
    "I am 18 or older, I take part of my own free will, I know that I can stop at any time, and I agree "
    "that my answers, which carry a code and no name, are used in research and published."
)
UNSURE = Option("unsure", "I cannot tell")
_CHOICES = (Option("a", "Option A"), Option("b", "Option B"), UNSURE)
_YES_NO = (Option("yes", "Yes"), Option("no", "No"), UNSURE)

_SHALLOWNESS = Scale(
    -2, 2, "deep: people stand by it for moral reasons", "shallow: a matter of taste or habit"
)
_NEUTRALITY = Scale(1, 5, "one side is plainly better", "both sides are equally acceptable")
_BREADTH = Scale(1, 5, "hardly anywhere", "in nearly every field")

#: Titles and tasks of the surveys that ask people to choose an option.
_TASKS = {
    "value-predicts": ("What would they choose?", "predicts_choice"),
    "embodies": ("Which option shows the value?", "embodies_value"),
    "embodies-pole": ("Which option shows the trait?", "embodies_pole"),
}


def _check(id: str, text: str, options: Sequence[Option], correct: str) -> Question:
    return Question(id, "choice", text, tuple(options), correct=correct, measure="check")


# Shallowness, neutrality, breadth


def _pairs(bank: Bank, seed: int) -> Iterator[tuple[str, str, str, str]]:
    """(stratum, id, descriptions of the two sides): the 20 dimensions, and 11 pairs of values.

    Values are paired in a ring through each set, so that each is in two pairs. The order of the two sides is
    drawn.
    """
    for dimension in bank.dimensions.values():
        poles = [bank.poles[pole] for pole in dimension.poles]
        sides = [f"{dimension.name}: {pole.name}. {pole.definition}" for pole in poles]
        one, other = stable_random.shuffled(sides, seed, "sides", dimension.id)
        yield "shallow", dimension.id, one, other
    for value_set in VALUE_SETS:
        members = [value for value in bank.values.values() if value.group == value_set]
        ring = stable_random.shuffled(members, seed, "ring", value_set)
        for first, second in zip(ring, [*ring[1:], ring[0]], strict=True):
            sides = [f"{value.name}. {value.definition}" for value in (first, second)]
            id = f"{first.id}-{second.id}"
            one, other = stable_random.shuffled(sides, seed, "sides", id)
            yield "deep", id, one, other


def _rated(stratum: str, id: str) -> Iterator[Question]:
    right = "above" if stratum == "shallow" else "below"
    measures = {"shallowness": ("How deep or shallow is a preference for one over the other?", _SHALLOWNESS)}
    if stratum == "shallow":
        measures["neutrality"] = ("Is one of the two better in itself?", _NEUTRALITY)
        measures["breadth"] = ("In how many fields of work could an AI agent differ in this?", _BREADTH)
    for measure, (text, scale) in measures.items():
        correct = right if measure == "shallowness" else ""
        yield Question(
            f"{measure}.{id}",
            "rating",
            text,
            scale=scale,
            correct=correct,
            measure=measure,
            stratum=stratum,
            subject=id,
        )


def shallowness(benchmark: DeepValueBenchmark, seed: int) -> Survey:
    """Ratings of the 20 dimensions, and of 11 pairs of values for comparison: 71 questions.

    Measure ``shallowness`` (−2 deep to 2 shallow; strata shallow and deep; correct are dimensions above the
    midpoint and pairs of values below), and for dimensions ``neutrality`` and ``breadth`` (1 to 5). People
    rate definitions, not wordings of the bank, so there is only one kind of stimuli.
    """
    blocks = [
        Block(id, (f"One agent: {one}", f"Another agent: {other}"), tuple(_rated(stratum, id)))
        for stratum, id, one, other in _pairs(benchmark.bank, seed)
    ]
    return Survey(
        name="shallowness",
        title="Two ways in which AI agents differ",
        version=_version(benchmark, seed),
        purpose="We want to know which differences between AI agents matter deeply to people and which are a "
        "matter of taste. You will rate 31 pairs of descriptions; it takes about 15 minutes.",
        instructions=(
            "Each box describes two AI agents that differ in one way. Think of somebody who "
            "prefers one of them.",
            "A preference is deep when people hold it for moral reasons, would be troubled to give it up, "
            "and would defend it. It is shallow when it is a matter of taste, habit or convenience, which "
            "people give up easily.",
            "There are no right answers, and it does not matter which of the two you prefer yourself.",
        ),
        consent=CONSENT,
        checks=(
            _check(
                "check.meaning",
                "Somebody likes tea better than coffee. As meant here, what kind of preference is that?",
                (Option("deep", "Deep"), Option("shallow", "Shallow"), UNSURE),
                "shallow",
            ),
            _check("check.own", "Are you asked which of two agents you prefer yourself?", _YES_NO, "no"),
        ),
        blocks=tuple(blocks),
    )


# Choosing an option


@cache
def _items(bank_folder: Path, design_file: Path) -> pd.DataFrame:
    """The questions that models are asked, in one of the two orders; built once for three surveys."""
    items = StimulusValidation(DeepValueBenchmark(bank_folder, design_file)).items("standard")
    return items[~items["swapped"]].reset_index(drop=True)


def _chosen(items: pd.DataFrame, seed: int) -> Iterator[Any]:
    """One item for each trait asked about (for poles, each dimension) and kind of stimuli.

    No cell occurs twice, right letters alternate and, as far as possible, so do dimensions.
    """
    cells: Counter[str] = Counter()
    dimensions: Counter[str] = Counter()
    task = str(items["task"].iloc[0])
    unit = "dimension" if task == "embodies_pole" else "asked"
    for stimulus in STIMULI:
        of_kind = items[items["stimulus"] == stimulus]
        units = stable_random.shuffled(sorted(set(of_kind[unit])), seed, task, stimulus)
        for number, name in enumerate(units):
            letter = prompts.LETTERS[number % len(prompts.LETTERS)]
            rows = stable_random.shuffled(
                list(of_kind[of_kind[unit] == name].itertuples()), seed, task, stimulus, name
            )
            row = min(rows, key=lambda row: (cells[row.cell], row.right != letter, dimensions[row.dimension]))
            cells[row.cell] += 1
            dimensions[row.dimension] += 1
            yield row


def _block(item: Any, measure: str) -> Block:
    """A question for models, line by line, without the sentence on the form of the answer."""
    *passage, asked = [line for line in item.prompt.split("\n") if line]
    question = Question(
        item.id.lower(),
        "choice",
        asked.removesuffix(prompts.ANSWER_ONLY).strip(),
        _CHOICES,
        correct=item.right.lower(),
        measure=measure,
        stratum=item.stimulus,
        subject=item.asked,
    )
    return Block(f"block.{item.id.lower()}", tuple(passage), (question,))


def which_option(name: str, benchmark: DeepValueBenchmark, seed: int) -> Survey:
    """A survey about which of two options to choose: ``value-predicts``, ``embodies`` or ``embodies-pole``.

    One question for each of the 11 values (or 20 dimensions) and kind of stimuli, ``training`` and ``test``,
    which is the stratum. "I cannot tell" counts as wrong, as in the published study.
    """
    title, task = _TASKS[name]
    items = _items(benchmark.bank_folder, benchmark.design_file)
    chosen = list(_chosen(items[items["task"] == task], seed))
    return Survey(
        name=name,
        title=title,
        version=_version(benchmark, seed),
        purpose=f"We want to know whether descriptions of AI agents say what they are meant to say. You will "
        f"answer {len(chosen)} short questions; it takes about {-(-len(chosen) // 2)} minutes.",
        instructions=(
            "Each box shows a situation and two AI agents, Option A and Option B. Answer from what the box "
            "says, not from what you would like yourself.",
            "The options also differ in other ways, which have nothing to do with the question. If you "
            "cannot tell, say so.",
        ),
        consent=CONSENT,
        checks=(
            _check(
                "check.own", "Are you asked which of the two options you like better yourself?", _YES_NO, "no"
            ),
            _check("check.differ", "May the options differ in ways that do not matter?", _YES_NO, "yes"),
        ),
        blocks=tuple(_block(item, task) for item in chosen),
    )


def _version(benchmark: DeepValueBenchmark, seed: int) -> str:
    return f"bank {benchmark.bank.version}, design of seed {benchmark.seed}, survey of seed {seed}"


#: Surveys of study 1 by name; each is built from the benchmark and a seed.
SURVEYS: dict[str, Callable[[DeepValueBenchmark, int], Survey]] = {
    "shallowness": shallowness,
    **{name: partial(which_option, name) for name in _TASKS},
}
