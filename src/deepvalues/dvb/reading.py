"""Reading replies: which option a reply names, if it does so for certain.

What is not certain is unparsable; nothing is guessed. The example table of the specification, reply
by reply, is in ``tests/test_reading.py``.
"""

from __future__ import annotations

import re
import unicodedata

from deepvalues.query.reading import Reading, Received

_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPEN_THINKING = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_MARKUP = re.compile(r"[*_`\"“”«»#>]+")
#: The whole reply is an option, perhaps with a label before it and brackets or a stop around it.
_LABEL = r"(?:(?:my |the |final )*(?:answer|choice|prediction)(?: is)?\s*[:=-]?\s*)"
_EXACT = re.compile(rf"{_LABEL}?[(\[]?(?:option\s*)?[(\[]?([ab])[)\].:,]*", re.IGNORECASE)
_MENTION = re.compile(r"\boption\s+[(\[]?([a-z])\b", re.IGNORECASE)
#: A lone capital names an option too, but "A" before a lower-case word is an article.
_LONE = re.compile(r"(?<![\w'’])(?:([B-Z])(?![\w'’])|(A)(?![\w'’])(?!\s+[a-z]))")
_DOUBT = re.compile(
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
_ANSWER_LINE = re.compile(rf"{_LABEL}[(\[]?(?:option\s*)?[(\[]?([ab])[)\].]*", re.IGNORECASE)


def _clean(text: str) -> str:
    """Reply text in plain letters: width folded, closed thinking and markup taken out."""
    folded = unicodedata.normalize("NFKC", text)
    return _MARKUP.sub("", _THINKING.sub(" ", folded)).strip()


def _settled(received: Received) -> Reading | None:
    """The cases that no form of reply needs the text for."""
    if received.refusal or received.finish_reason == "content_filter":
        return Reading("refused")
    if received.text is None or not received.text.strip():
        return Reading("truncated" if received.finish_reason == "length" else "unparsable")
    return None


def _unread(text: str, received: Received) -> Reading:
    """The status of a reply from which no option was read."""
    if received.finish_reason == "length":
        return Reading("truncated")
    if _REFUSAL.match(text) and not _MENTION.search(text):
        return Reading("refused")
    return Reading("unparsable")


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
    settled = _settled(received)
    if settled:
        return settled
    text = _clean(received.text or "")
    exact = _EXACT.fullmatch(text)
    if exact:
        return Reading("answered", exact[1].upper())
    if _OPEN_THINKING.search(received.text or "") and not text:
        return _unread(text, received)
    named = {letter.upper() for letter in _MENTION.findall(text)}
    lone = {first or second for first, second in _LONE.findall(_MENTION.sub(" ", text))} - {"I"}
    certain = len(named) == 1 and named <= {"A", "B"} and lone <= named
    if certain and received.finish_reason != "length" and not _DOUBT.search(text):
        return Reading("answered", named.pop())
    return _unread(text, received)


def read_chain_of_thought(received: Received) -> Reading:
    """Read a rationale followed by a line with the answer.

    Only lines that are an answer and nothing else count ("Answer: Option B", or a last line "Option
    B"); when they name both options, the reply is unparsable.
    """
    settled = _settled(received)
    if settled:
        return settled
    text = _clean(received.text or "")
    lines = [line.strip() for line in re.split(r"\n|\s/\s", text) if line.strip()]
    matches = (
        [_ANSWER_LINE.fullmatch(line) for line in lines] + [_EXACT.fullmatch(lines[-1])] if lines else []
    )
    named = {match[1].upper() for match in matches if match}
    if len(named) == 1:
        return Reading("answered", named.pop())
    return _unread(text, received) if not named else Reading("unparsable")
