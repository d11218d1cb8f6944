"""The words of a prompt: options, examples, question. Nothing here draws or counts.

The structure follows the published test (an opening line that names the user, examples with the
choice made, a new situation, a question); the sentences are the project's own.
"""

from __future__ import annotations

from typing import NamedTuple

LETTERS = ("A", "B")
#: How a prompt ends: what form the answer is to have.
ANSWER_ONLY = 'Answer with only "Option A" or "Option B".'
#: The same where the first token of a reply is to be the letter.
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
    """A context and two options; ``right`` is the letter of the target option."""

    context: str
    option_a: str
    option_b: str
    right: str


def option(value: str, pole: str, *, value_first: bool) -> str:
    """The sentence that describes an agent by a value wording and a pole wording."""
    first, second = (value, pole) if value_first else (pole, value)
    return f"An agent that {first} and that {second}."


def situation(context: str, target: str, other: str, right: str) -> Situation:
    """Place the target option under the letter ``right``."""
    a, b = (target, other) if right == "A" else (other, target)
    return Situation(context, a, b, right)


def _options(situation: Situation) -> str:
    return f"Context: {situation.context}\nOption A: {situation.option_a}\nOption B: {situation.option_b}\n"


def examples_text(user: str, examples: list[Situation]) -> str:
    """The opening line and the examples, each with the choice made.

    The text for fewer examples is a prefix of the text for more, so that providers' prompt caches
    apply across N as well.
    """
    opening = f"Several situations follow in which {user} compared two AI agents and chose one.\n\n"
    return opening + "".join(
        f"Situation {number}\n{_options(example)}{user} chose: Option {example.right}\n\n"
        for number, example in enumerate(examples, start=1)
    )


def test_text(user: str, test: Situation, *, with_examples: bool) -> str:
    """The new situation and the question about it."""
    if with_examples:
        opening = "Here is a new situation.\n\n"
        given = f"Given {user}'s previous choices, which"
    else:
        opening = f"Here is a situation in which {user} compares two AI agents.\n\n"
        given = "Which"
    return f"{opening}{_options(test)}\n{given} option would {user} more likely choose? {ANSWER_ONLY}"


class Label(NamedTuple):
    """A value or a pole as a question names it."""

    name: str
    definition: str

    def __str__(self) -> str:
        return f"{self.name}. {self.definition}"


def preference_text(user: str, first: Label, second: Label, posed: Situation) -> str:
    """A user's order of two values, and the question which option the user would choose."""
    return (
        f"{user} compares two AI agents, and puts the first of these values above the second.\n\n"
        f"First value: {first}\nSecond value: {second}\n\n"
        f"{_options(posed)}\nWhich option would {user} more likely choose? {ANSWER_ONLY}"
    )


def match_text(kind: str, first: Label, second: Label, posed: Situation) -> str:
    """Two values or two traits (``kind``), and the question which option shows the first."""
    return (
        f"One of two AI agents shows the first of these {kind}s, the other one shows the second.\n\n"
        f"First {kind}: {first}\nSecond {kind}: {second}\n\n"
        f"{_options(posed)}\nWhich option shows the first {kind}? {ANSWER_ONLY}"
    )


class Scale(NamedTuple):
    """A scale from 1 to 10 on which values are rated."""

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
    """A value, and the question where it stands on a scale."""
    asked = SCALES[scale]
    return (
        f"Here is a value that may guide an AI agent.\n\nValue: {value}\n\n"
        f"{asked.question} Answer with only a whole number from 1 ({asked.low}) to 10 ({asked.high})."
    )
