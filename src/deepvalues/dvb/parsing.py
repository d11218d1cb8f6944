"""Taking a prompt's text apart again: the examples with their choices, and the test.

Local models get a prompt as any model does, as text. This module is all they have to read it with.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from deepvalues.dvb.prompts import RATIONALE_FIRST, SCALES

_EXAMPLE = re.compile(
    r"^Option A: (?P<a>.+?)\s*\nOption B: (?P<b>.+?)\s*\n(?P<user>\S+) chose: Option (?P<chosen>[AB])",
    re.MULTILINE,
)
_OPTIONS = re.compile(r"^Option A: (?P<a>.+?)\s*\nOption B: (?P<b>.+?)\s*$", re.MULTILINE)
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
        When the text has no pair of options.
    """
    found = [match.groupdict() for match in _EXAMPLE.finditer(text)]
    examples = tuple(Example(*((m["a"], m["b"]) if m["chosen"] == "A" else (m["b"], m["a"]))) for m in found)
    options = list(_OPTIONS.finditer(text))
    if len(options) != len(examples) + 1:
        raise ValueError("the prompt does not end with one pair of options to choose between")
    return Task(examples, options[-1]["a"], options[-1]["b"])


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
