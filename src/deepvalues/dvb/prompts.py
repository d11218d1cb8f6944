"""The words of a prompt: options, examples, question. Nothing here draws or counts.

The structure follows the published test (an opening line that names the user, examples with the
choice made, a new situation, a question); the sentences are the project's own.
"""

from __future__ import annotations

from typing import NamedTuple

LETTERS = ("A", "B")


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
    return (
        f"{opening}{_options(test)}\n"
        f"{given} option would {user} more likely choose? "
        'Answer with only "Option A" or "Option B".'
    )
