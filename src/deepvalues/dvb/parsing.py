"""Taking a prompt's text apart again: the examples with their choices, and the test.

Local models get a prompt as any model does, as text. This module is all they have to read it with.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_EXAMPLE = re.compile(
    r"^Option A: (?P<a>.+?)\s*\nOption B: (?P<b>.+?)\s*\n(?P<user>\S+) chose: Option (?P<chosen>[AB])",
    re.MULTILINE,
)
_OPTIONS = re.compile(r"^Option A: (?P<a>.+?)\s*\nOption B: (?P<b>.+?)\s*$", re.MULTILINE)


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
