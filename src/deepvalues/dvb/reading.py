"""Reading replies: which option a reply names, if it does so for certain.

What is not certain is unparsable; nothing is guessed. The example table of the specification, reply
by reply, is in ``tests/test_reading.py``.
"""

from __future__ import annotations

import re

from deepvalues.query.reading import DOUBT, OPEN_THINKING, Reading, Received, plain, settled, unread

#: The whole reply is an option, perhaps with a label before it and brackets or a stop around it.
_LABEL = r"(?:(?:my |the |final )*(?:answer|choice|prediction)(?: is)?\s*[:=-]?\s*)"
_EXACT = re.compile(rf"{_LABEL}?[(\[]?(?:option\s*)?[(\[]?([ab])[)\].:,]*", re.IGNORECASE)
_MENTION = re.compile(r"\boption\s+[(\[]?([a-z])\b", re.IGNORECASE)
#: A lone capital names an option too, but "A" before a lower-case word is an article.
_LONE = re.compile(r"(?<![\w'’])(?:([B-Z])(?![\w'’])|(A)(?![\w'’])(?!\s+[a-z]))")
_ANSWER_LINE = re.compile(rf"{_LABEL}[(\[]?(?:option\s*)?[(\[]?([ab])[)\].]*", re.IGNORECASE)


def read_short(received: Received) -> Reading:
    """Read a reply that was asked to be only "Option A" or "Option B".

    Read are: an option alone (``A``, ``b)``, ``Option B.``, ``Answer: Option A``), and one sentence
    or more that name one option only, as "Option A", without a word of doubt, negation or comparison.

    Parameters
    ----------
    received
        Text, refusal field and finish reason of a reply.

    Returns
    -------
    Reading
        ``answered`` with "A" or "B", or one of the other statuses without a choice.
    """
    if (known := settled(received)) is not None:
        return known
    text = plain(received.text or "")
    exact = _EXACT.fullmatch(text)
    if exact:
        return Reading("answered", exact[1].upper())
    if OPEN_THINKING.search(received.text or "") and not text:
        return unread(text, received, _MENTION)
    named = {letter.upper() for letter in _MENTION.findall(text)}
    lone = {first or second for first, second in _LONE.findall(_MENTION.sub(" ", text))} - {"I"}
    certain = len(named) == 1 and named <= {"A", "B"} and lone <= named
    if certain and received.finish_reason != "length" and not DOUBT.search(text):
        return Reading("answered", named.pop())
    return unread(text, received, _MENTION)


def read_chain_of_thought(received: Received) -> Reading:
    """Read a rationale followed by a line with the answer.

    Only lines that are an answer and nothing else count ("Answer: Option B", or a last line "Option
    B"); when they name both options, the reply is unparsable.
    """
    if (known := settled(received)) is not None:
        return known
    text = plain(received.text or "")
    lines = [line.strip() for line in re.split(r"\n|\s/\s", text) if line.strip()]
    matches = (
        [_ANSWER_LINE.fullmatch(line) for line in lines] + [_EXACT.fullmatch(lines[-1])] if lines else []
    )
    named = {match[1].upper() for match in matches if match}
    if len(named) == 1:
        return Reading("answered", named.pop())
    return unread(text, received, _MENTION) if not named else Reading("unparsable")


#: The ratings in words, from 1 to 10.
RATING_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {word: number for number, word in enumerate(RATING_WORDS, start=1)}
_NUMBER = re.compile(rf"\d+|\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
#: The scale that a rating stands on is not a second rating.
_SCALE = re.compile(
    r"(?<=[\dA-Za-z])\s*(?:/\s*10\b|out of (?:10|ten)\b)|"
    r"\b(?:on )?(?:a |the )?scale (?:of |from )?(?:1|one)\s*(?:-|–|to)\s*(?:10|ten)\b",
    re.IGNORECASE,
)
#: Marks that make a number something else than a whole rating: decimals, signs, ranges, another scale.
_NO_RATING = re.compile(
    r"\d\s*[.,:+–−-]\s*\d|[+–−<>≥≤~-]\s*\d|\d\s*[%+]|\d[A-Za-z]|[A-Za-z]\d|/|\bout of\b|\bhalf\b"
)
_ABOUT = re.compile(
    r"\b(?:about|around|roughly|approximately|almost|nearly|least|most|above|below|between)\b"
)


def _rating(text: str) -> int | None:
    """The one number from 1 to 10 that a plain text names for certain."""
    bare = _SCALE.sub(" ", text)
    if _NO_RATING.search(bare) or DOUBT.search(bare) or _ABOUT.search(bare.lower()):
        return None
    named = {int(_WORDS.get(found.lower(), found)) for found in _NUMBER.findall(bare)}
    return named.pop() if len(named) == 1 and named <= set(range(1, 11)) else None


def read_rating(received: Received) -> Reading:
    """Read a reply that was asked to be only a whole number from 1 to 10.

    Read are: a number alone (``8``, ``8/10``, ``Rating: 8``, ``**8**``, ``eight``) and a sentence that names
    one number only, without a word of doubt or comparison. A reply that was cut counts by its first line
    alone, if that ended before the cut. Several numbers, decimals and numbers off the scale are unparsable.

    Returns
    -------
    Reading
        ``answered`` with the number in digits, or one of the other statuses without a choice.
    """
    if (known := settled(received)) is not None:
        return known
    text = plain(received.text or "")
    whole = unread(text, received._replace(finish_reason="stop"), _NUMBER)
    if whole.status == "refused":
        return whole
    lines = text.split("\n")
    cut = received.finish_reason == "length"
    rating = _rating(lines[0] if cut and len(lines) > 1 else "" if cut else text)
    return unread(text, received, _NUMBER) if rating is None else Reading("answered", str(rating))
