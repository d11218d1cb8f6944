"""Taking a prompt's text apart again: the examples with their choices, and the test.

Local models get a prompt as any model does, as text. This module is all they have to read it with. It
reads the project's prompts and others of the same build: Option A and Option B on lines of their own,
under each pair of an example one sentence that names the option chosen, under the last pair a question.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from deepvalues.studies.dvb.items.prompts import RATIONALE_FIRST, SCALES

_LETTERS = (
    r"^[>*_#\t -]*option a[*_ ]*[:.)–-][*_\s]*(?P<a>\S.*?)\s*"
    r"\n[>*_#\t -]*option b[*_ ]*[:.)–-][*_\s]*(?P<b>\S.*?)[*_ \t]*$"
)
_PAIR = re.compile(_LETTERS, re.MULTILINE | re.IGNORECASE)
_NAMED = re.compile(r"\boption\s+([ab])\b", re.IGNORECASE)
#: A choice that is named by its letter alone, at the end of a line.
_BARE = re.compile(
    r"\b(?i:chose|chosen|choice|selected|picked|preferred)\b\W*(?i:is|was)?\W*\b([AB])\b\W*$", re.M
)
_SITUATION = re.compile(
    r"^Context: (?P<context>.+?)\s*\nOption A: (?P<a>.+?)\s*\nOption B: (?P<b>.+?)\s*"
    r"(?:\n\S+ chose: Option (?P<chosen>[AB])|$)",
    re.MULTILINE,
)
_FIRST = re.compile(r"^First \w+: .+?\. (?P<definition>.+)$", re.MULTILINE)
_VALUE = re.compile(r"^Value: .+?\. (?P<definition>.+)$", re.MULTILINE)


class Example(NamedTuple):
    """The texts of a chosen and a rejected option."""

    chosen: str
    rejected: str


class Task(NamedTuple):
    """What a prompt asks: examples of choices, and the two options to choose between."""

    examples: tuple[Example, ...]
    option_a: str
    option_b: str


def parse_prompt(text: str) -> Task:
    """Read examples and test options out of a prompt.

    Raises
    ------
    ValueError
        When the text does not have pairs of options with one choice after each but the last.
    """
    return take_apart(text)[0]


def take_apart(text: str) -> tuple[Task, int]:
    """Read a prompt as `parse_prompt` does; and say where its examples end, in characters.

    Raises
    ------
    ValueError
        As from `parse_prompt`.
    """
    pairs = list(_PAIR.finditer(text))
    if not pairs:
        raise ValueError("the prompt does not end with one pair of options to choose between")
    examples = []
    end = 0
    for number, (pair, after) in enumerate(pairwise(pairs), start=1):
        choice = _choice(text, pair.end(), after.start())
        if choice is None:
            problem = f"the choice after pair {number} cannot be told for certain"
            raise ValueError(f"not examples with a choice each, then one pair of options: {problem}")
        chosen = choice[1].lower()
        examples.append(Example(pair[chosen], pair["b" if chosen == "a" else "a"]))
        end = text.find("\n", choice.end()) + 1
    last = pairs[-1]
    below = text[last.end() :].lstrip()
    if len(_NAMED.findall(below.partition("\n")[0])) == 1:
        raise ValueError("the prompt ends with a choice made, not with one pair of options to choose between")
    return Task(tuple(examples), last["a"], last["b"]), end


def exchanged(text: str) -> str:
    """A prompt with the two options of its test in the other order; nothing else changes.

    Raises
    ------
    ValueError
        As from `parse_prompt`; or when the two texts do not read the same in each other's place.
    """
    task, last = parse_prompt(text), list(_PAIR.finditer(text))[-1]
    (a, a_end), (b, b_end) = last.span("a"), last.span("b")
    other = text[:a] + task.option_b + text[a_end:b] + task.option_a + text[b_end:]
    if parse_prompt(other) != Task(task.examples, task.option_b, task.option_a):
        raise ValueError("the two options to choose between cannot be exchanged")
    return other


def _choice(text: str, start: int, end: int) -> re.Match[str] | None:
    """The one mention of an option between two pairs of options; None where there are more, or none."""
    found = list(_NAMED.finditer(text, start, end)) or list(_BARE.finditer(text, start, end))
    return found[0] if len(found) == 1 else None


class Posed(NamedTuple):
    """A situation as it stands in a prompt; ``chosen`` is a letter, or None in the test."""

    context: str
    option_a: str
    option_b: str
    chosen: str | None


def situations(text: str) -> list[Posed]:
    """Every situation of a prompt in order, the test last."""
    return [Posed(m["context"], m["a"], m["b"], m["chosen"]) for m in _SITUATION.finditer(text)]


def wants_rationale(text: str) -> bool:
    """Whether a prompt asks for a rationale before the answer."""
    return text.endswith(RATIONALE_FIRST)


class Match(NamedTuple):
    """A question which option goes with a trait, known by its definition."""

    definition: str
    option_a: str
    option_b: str


def parse_match(text: str) -> Match:
    """Read the trait that a validation question asks about, and the two options.

    Raises
    ------
    ValueError
        When the text is no such question.
    """
    first, task = _FIRST.search(text), parse_prompt(text)
    if first is None or task.examples:
        raise ValueError("the prompt does not ask which option goes with a value or trait")
    return Match(first["definition"], task.option_a, task.option_b)


class Rated(NamedTuple):
    """A question where a value, known by its definition, stands on a scale."""

    definition: str
    scale: str


def parse_rating(text: str) -> Rated:
    """Read which value is to be rated, and on which scale.

    Raises
    ------
    ValueError
        When the text does not ask for a rating.
    """
    value = _VALUE.search(text)
    asked = [name for name, scale in SCALES.items() if scale.question in text]
    if value is None or len(asked) != 1:
        raise ValueError("the prompt does not ask for a rating of a value")
    return Rated(value["definition"], asked[0])
