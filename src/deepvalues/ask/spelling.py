"""Which letter a token spells, and the probability of each letter in a list of tokens.

This module uses only the standard library because it is copied into exports: see `deepvalues.export.write`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache

#: The protocol's value for a practically impossible token; JSON has no infinity.
IMPOSSIBLE = -9999.0
#: Decimals to which log probabilities are kept and compared.
DIGITS = 6
_OPTION = re.compile(r"option[\W_]*$", re.IGNORECASE)


def spelled(token: str, before: str, letters: Sequence[str]) -> str | None:
    """The letter that a token spells: a capital, with nothing but "Option" or punctuation around it.

    A small letter counts only after "option", since "a" is also an article.

    Parameters
    ----------
    before
        The reply up to the token.
    letters
        The options' letters.
    """
    capital, small = _spellings(tuple(letters))
    match = capital.fullmatch(token) or (small.fullmatch(token) if _OPTION.search(before) else None)
    return match[1].upper() if match else None


@cache
def _spellings(letters: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    named = "".join(letters)
    # Some servers write a token's leading space as Ġ.
    capital = re.compile(rf"[\W_Ġ]*(?:option\s*)?(?-i:([{named}]))[\W_]*", re.IGNORECASE)
    return capital, re.compile(rf"[\W_Ġ]*([{named.lower()}])[\W_]*")


def by_letter(listed: Mapping[str, float], before: str, letters: Sequence[str]) -> dict[str, float]:
    """The log probability of each letter that a listed token spells, summed over spellings.

    Parameters
    ----------
    listed
        Natural logarithms by token, none below `IMPOSSIBLE`.
    before, letters
        As for `spelled`.
    """
    found: dict[str, list[float]] = {letter: [] for letter in letters}
    for token, logprob in listed.items():
        if letter := spelled(token, before, letters):
            found[letter].append(logprob)
    return {letter: _log_sum(logprobs) for letter, logprobs in found.items() if logprobs}


def _log_sum(logprobs: Sequence[float]) -> float:
    """The logarithm of a sum of probabilities, at most 0."""
    largest = max(logprobs)
    return min(0.0, largest + math.log(sum(math.exp(each - largest) for each in logprobs)))
