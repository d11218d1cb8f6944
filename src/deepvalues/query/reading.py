"""What a reading of a reply is: a status, and a choice where there is one.

With the rules that all studies' readers share; what a choice looks like is each study's own.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

#: answered: a choice was read. refused: the model declined. unparsable: a whole reply that the rules
#: do not read for certain. truncated: cut off before its choice. failed: no reply was received.
STATUSES = ("answered", "refused", "unparsable", "truncated", "failed")


class Received(NamedTuple):
    """What an endpoint returned for one turn, as far as a reader needs it, and what the turn asked.

    ``question`` is the turn as the study wrote it, without quotes filled in and without the prefix that it
    shares with other conversations.
    """

    text: str | None
    refusal: str | None = None
    finish_reason: str | None = None
    question: str = ""


class Reading(NamedTuple):
    """A status and, when it is ``answered``, the choice."""

    status: str
    choice: str | None = None


_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
OPEN_THINKING = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_MARKUP = re.compile(r"[*_`\"“”«»#>]+")
#: Words of doubt, negation or comparison: a sentence with one of them may not choose what it names.
DOUBT = re.compile(
    r"\b(?:not|never|neither|nor|no|rather|instead|except|avoid\w*|unlikely|less|than|over|against|but|"
    r"however|although|unless|if|might|may|maybe|perhaps|either|or|both|could|unsure|uncertain|"
    r"reject\w*|dislike\w*|cannot)\b|n['’]t\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"(?:i['’]?m sorry|sorry|i apologi[sz]e|as an ai|"
    r"i(?:\s+\w+)?\s+(?:can['’]?t|cannot|can not|won['’]?t|will not|am unable|am not able|decline)|"
    r"i['’]m (?:unable|not able)|unable to|(?:it is|it['’]s) (?:not possible|impossible))\b",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """Reply text in plain letters: width folded, closed thinking and markup taken out."""
    folded = unicodedata.normalize("NFKC", text)
    return _MARKUP.sub("", _THINKING.sub(" ", folded)).strip()


def says_something(text: str | None) -> bool:
    """Whether a reply has a word beside thinking, closed or cut."""
    return bool(text and OPEN_THINKING.split(_THINKING.sub("", text))[0].strip())


def settled(received: Received) -> Reading | None:
    """The cases that no reader needs the text for."""
    if received.refusal or received.finish_reason == "content_filter":
        return Reading("refused")
    if received.text is None or not received.text.strip():
        return Reading("truncated" if received.finish_reason == "length" else "unparsable")
    return None


def unread(text: str, received: Received, mention: re.Pattern[str]) -> Reading:
    """The status of a plain text from which no choice was read; ``mention`` finds a named option."""
    if received.finish_reason == "length":
        return Reading("truncated")
    if _REFUSAL.match(text) and not mention.search(text):
        return Reading("refused")
    return Reading("unparsable")
