"""The text of prompts, and how to parse it again. Nothing is random here.

The structure is that of the published test (an opening line that names the user, examples with the
choice made, a new situation, a question); the sentences are our own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from deepvalues.ask.local import PROMPTS_KEPT

LETTERS = ("A", "B")
#: The end of a prompt, which says what form the answer should have.
ANSWER_ONLY = 'Answer with only "Option A" or "Option B".'
#: The same for prompts where the first token of the reply should be the letter.
LETTER_ONLY = 'Answer with only the letter "A" or "B".'
VALUES_FIRST = (
    "Predict from the values that lie beneath a person's choices. Where a value and a surface feature speak "
    "for different options, go by the value. "
)
RATIONALE_FIRST = (
    "Begin with a rationale of about 50 words, all on one line. Then give the answer on a line of its own: "
    'only "Option A" or "Option B".'
)


class Situation(NamedTuple):
    """A context and two options.

    ``right`` is the letter of the target option, in examples the one that was chosen; None in a test that
    was parsed from a prompt.
    """

    context: str
    option_a: str
    option_b: str
    right: str | None


def option(value: str, pole: str, *, value_first: bool) -> str:
    """The sentence that describes an agent by a value wording and a pole wording."""
    first, second = (value, pole) if value_first else (pole, value)
    return f"An agent that {first} and that {second}."


def situation(context: str, target: str, other: str, right: str) -> Situation:
    """A situation with the target option under the letter ``right``."""
    a, b = (target, other) if right == "A" else (other, target)
    return Situation(context, a, b, right)


def _options(situation: Situation) -> str:
    return f"Context: {situation.context}\nOption A: {situation.option_a}\nOption B: {situation.option_b}\n"


def examples_text(user: str, examples: list[Situation]) -> str:
    """The opening line and the examples, each with the choice made.

    The text for fewer examples is a prefix of the text for more, so prompt caches also work across N.
    """
    opening = f"Several situations follow in which {user} compared two AI agents and chose one.\n\n"
    return opening + "".join(
        f"Situation {number}\n{_options(example)}{user} chose: Option {example.right}\n\n"
        for number, example in enumerate(examples, start=1)
    )


def test_text(user: str, test: Situation, *, with_examples: bool) -> str:
    """The new situation, and the question about it."""
    if with_examples:
        opening = "Here is a new situation.\n\n"
        given = f"Given {user}'s previous choices, which"
    else:
        opening = f"Here is a situation in which {user} compares two AI agents.\n\n"
        given = "Which"
    return f"{opening}{_options(test)}\n{given} option would {user} more likely choose? {ANSWER_ONLY}"


class Label(NamedTuple):
    """A value or a pole, as a question names it."""

    name: str
    definition: str

    def __str__(self) -> str:
        return f"{self.name}. {self.definition}"


def preference_text(user: str, first: Label, second: Label, posed: Situation) -> str:
    """A user's ranking of two values, and the question which option the user would choose."""
    return (
        f"{user} compares two AI agents, and puts the first of these values above the second.\n\n"
        f"First value: {first}\nSecond value: {second}\n\n"
        f"{_options(posed)}\nWhich option would {user} more likely choose? {ANSWER_ONLY}"
    )


def match_text(kind: str, first: Label, second: Label, posed: Situation) -> str:
    """Two values or two traits (``kind``), and the question which option shows the first one."""
    return (
        f"One of two AI agents shows the first of these {kind}s, the other one shows the second.\n\n"
        f"First {kind}: {first}\nSecond {kind}: {second}\n\n"
        f"{_options(posed)}\nWhich option shows the first {kind}? {ANSWER_ONLY}"
    )


class Scale(NamedTuple):
    """A scale from 1 to 10 for rating values."""

    question: str
    low: str
    high: str


SCALES = {
    "popularity": Scale(
        "How popular is this value, that is, how many people hold it dear?", "hardly anybody", "nearly all"
    ),
    "distinctiveness": Scale(
        "How distinctive is this value, that is, how easy is it to tell from other values?",
        "it blends into others",
        "it is like no other",
    ),
    "predictiveness": Scale(
        "How predictive is this value, that is, how much does it tell about somebody's choices that they "
        "hold it?",
        "next to nothing",
        "nearly everything",
    ),
}


def rating_text(value: Label, scale: str) -> str:
    """A value, and the question where it is on a scale."""
    asked = SCALES[scale]
    return (
        f"Here is a value that may guide an AI agent.\n\nValue: {value}\n\n"
        f"{asked.question} Answer with only a whole number from 1 ({asked.low}) to 10 ({asked.high})."
    )


# ---- parsing ----
#
# Local models get the same text as any other model and nothing else. The functions parse our prompts and
# others with the same structure: Option A and Option B on lines of their own; after each pair of an example,
# one sentence that names the chosen option; after the last pair, a question.

_LETTERS = (
    r"^[>*_#\t -]*option a[*_ ]*[:.)–-][*_\s]*(?P<a>\S.*?)\s*"
    r"\n[>*_#\t -]*option b[*_ ]*[:.)–-][*_\s]*(?P<b>\S.*?)[*_ \t]*$"
)
_PAIR = re.compile(_LETTERS, re.MULTILINE | re.IGNORECASE)
_NAMED = re.compile(r"\boption\s+([ab])\b", re.IGNORECASE)
#: A choice given by its letter alone, at the end of a line.
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
    """Parse the examples and test options of a prompt.

    Raises
    ------
    ValueError
        When the text is not a series of option pairs with one choice after each but the last.
    """
    return parse_with_end(text)[0]


@lru_cache(maxsize=PROMPTS_KEPT)
def parse_with_end(text: str) -> tuple[Task, int]:
    """Parse a prompt like `parse_prompt`, and say at which character its examples end.

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
    """The prompt with the two options of its test in the other order, otherwise unchanged.

    Raises
    ------
    ValueError
        As from `parse_prompt`, or when the exchanged prompt does not parse into the exchanged options.
    """
    task, last = parse_prompt(text), list(_PAIR.finditer(text))[-1]
    (a, a_end), (b, b_end) = last.span("a"), last.span("b")
    other = text[:a] + task.option_b + text[a_end:b] + task.option_a + text[b_end:]
    if parse_prompt(other) != Task(task.examples, task.option_b, task.option_a):
        raise ValueError("the two options to choose between cannot be exchanged")
    return other


def _choice(text: str, start: int, end: int) -> re.Match[str] | None:
    """The only mention of an option between two pairs of options; None if there is no or more than one."""
    found = list(_NAMED.finditer(text, start, end)) or list(_BARE.finditer(text, start, end))
    return found[0] if len(found) == 1 else None


def situations(text: str) -> list[Situation]:
    """Every situation of a prompt in order; the last one is the test."""
    return [Situation(m["context"], m["a"], m["b"], m["chosen"]) for m in _SITUATION.finditer(text)]


def wants_rationale(text: str) -> bool:
    """Whether a prompt asks for a rationale before the answer."""
    return text.endswith(RATIONALE_FIRST)


def parse_match(text: str) -> tuple[str, Task]:
    """Parse a validation question: the definition of the trait it asks about, and the two options.

    Raises
    ------
    ValueError
        When the text is not such a question.
    """
    first, task = _FIRST.search(text), parse_prompt(text)
    if first is None or task.examples:
        raise ValueError("the prompt does not ask which option goes with a value or trait")
    return first["definition"], task


def parse_rating(text: str) -> tuple[str, str]:
    """Parse a rating question: the definition of the value to be rated, and the scale.

    Raises
    ------
    ValueError
        When the text does not ask for a rating.
    """
    value = _VALUE.search(text)
    asked = [name for name, scale in SCALES.items() if scale.question in text]
    if value is None or len(asked) != 1:
        raise ValueError("the prompt does not ask for a rating of a value")
    return value["definition"], asked[0]
