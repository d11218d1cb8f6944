"""Respondent codes: short, drawn, and with a last character that gives a slip of the pen away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from deepvalues.core import stable_random

#: Without most of what is read for something else (0, O, 1, I, L, B, S, Z), and without vowels:
#: spreadsheets take 23E45 for a number and MAR22 for a date. 23 is a prime, so that the check character
#: finds every single wrong character and every two neighbours swapped.
ALPHABET = "23456789CDFGHJKMNPRTWXY"
LENGTH = 5
#: There are 23⁴ codes; so many are drawn without trouble.
MOST = 100_000


def check_character(body: str) -> str:
    """The last character of a code: the sum of the others' places, weighted 2, 3, 4 …, modulo 23."""
    return ALPHABET[sum((place + 2) * ALPHABET.index(c) for place, c in enumerate(body)) % len(ALPHABET)]


def is_code(text: str) -> bool:
    """Whether a text is a code."""
    known = len(text) == LENGTH and set(text) <= set(ALPHABET)
    return known and check_character(text[:-1]) == text[-1]


def _all(survey: str, seed: int) -> Iterator[str]:
    for number in count():
        at = stable_random.integer(seed, survey, "respondent", number)
        body = ""
        for _ in range(LENGTH - 1):
            at, place = divmod(at, len(ALPHABET))
            body += ALPHABET[place]
        yield body + check_character(body)


def codes(survey: str, seed: int, respondents: int) -> list[str]:
    """Draw different codes for a survey's respondents; more respondents only add codes."""
    different = dict.fromkeys(islice(_all(survey, seed), respondents * 2 + 10))
    return list(different)[:respondents]
