"""Reading replies: which option a reply names, if it does so for certain.

A reply to a turn that shows no options (a description, a goal) is answered by any text. What names no option
for certain is no choice, and its status says why; nothing is forced into a letter. The example table, reply
by reply, is in ``tests/test_svo_reading.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deepvalues.query.reading import DOUBT, OPEN_THINKING, Reading, Received, plain, settled, unread
from deepvalues.svo.prompts import Coins, option_lines

_LABEL = r"(?:(?:my |the |final )*(?:answer|choice|option|decision)(?: is)?\s*[:=-]?\s*)"
_LETTER = r"[(\[]?([a-i])[)\]]?"
#: Two amounts as the options show them: "85, 50", "(85 / 50)", "85 for me and 50 for the other".
_AMOUNTS = (
    r"(\d{1,3})(?:\s+coins?)?(?:\s+(?:for|to)\s+(?:me|myself))?\s*(?:,|/|;|:|\band\b|-)\s*(?:and\s+)?"
    r"(\d{1,3})(?:\s+coins?)?(?:\s+(?:for|to)\s+(?:them|you|(?:the )?other(?: (?:person|participant))?))?"
)
_PAIR = re.compile(rf"(?<![\d.]){_AMOUNTS}(?![\d.]\d)", re.IGNORECASE)
#: A line that is an answer and nothing else: a letter, amounts, or a letter with its amounts.
_ALONE = re.compile(
    rf"{_LABEL}*(?:{_LETTER}[.:,)]*)?\s*(?:[:(\[,-]*\s*{_AMOUNTS}\s*[)\].,]*)?[.!]?", re.IGNORECASE
)
#: A letter that prose names as an option: after the word, or as a capital after a verb of choosing.
_MENTION = re.compile(
    r"\b(?i:option|letter)\s+[(\[]?([A-Ia-i])(?![\w'’])"
    r"|\b(?i:choose|chose|choosing|pick|select|take|prefer|go(?:ing)? (?:with|for)|(?:answer|choice) is|"
    r"answer:)"
    r"\s+[(\[]?(?:([B-H])(?![\w'’])|([AI])(?![\w'’])(?!\s+[a-z]))"
)
#: Any other capital that stands alone; "A" before a word is an article, "I" before a word a pronoun.
_LONE = re.compile(r"(?<![\w'’])(?:([B-H])|([AI])(?!['’]|\s+[a-z]))(?![\w'’])")


def _alone(text: str, options: Mapping[str, Coins]) -> set[str | None]:
    """Options named by lines that are an answer and nothing else; None for one that fits no option."""
    found: set[str | None] = set()
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _ALONE.fullmatch(line)
        if match and (match[1] or match[2]):
            amounts = {letter for letter, coins in options.items() if _shows(match[2], match[3], coins)}
            named = {match[1].upper()} if match[1] else amounts
            fits = named and (not match[2] or named <= amounts)
            found |= named if fits else {None}
    return found


def _shows(own: str | None, other: str | None, coins: Coins) -> bool:
    return own is not None and other is not None and (int(own), int(other)) == coins


def _in_prose(text: str, options: Mapping[str, Coins]) -> set[str | None]:
    """Options that sentences name, by letter or by amounts; None for amounts that fit no option."""
    named: set[str | None] = {"".join(match).upper() for match in _MENTION.findall(text)}
    for own, other in _PAIR.findall(text):
        named |= {letter for letter, coins in options.items() if _shows(own, other, coins)} or {None}
    if named:
        named |= {"".join(match) for match in _LONE.findall(_MENTION.sub(" ", text))}
    return named


def read(received: Received) -> Reading:
    """Read a reply to a turn of this study.

    Read are, in replies to a question: lines that are an answer alone (``A``, ``(b)``, ``Option C.``,
    ``D: 59, 76``, ``59, 76``), where they agree; else sentences that name one option only, as "option C", as
    a capital after a verb of choosing, or by amounts that exactly one option shows, without a word of doubt,
    negation or comparison.

    Parameters
    ----------
    received
        Text, refusal field and finish reason of a reply, and the turn that it replies to.

    Returns
    -------
    Reading
        ``answered`` with the letter as shown (no choice for a turn without options), or one of the other
        statuses without a choice.
    """
    if (known := settled(received)) is not None:
        return known
    options = option_lines(received.question)
    if not options:
        return Reading("answered")
    text = plain(received.text or "")
    cut = received.finish_reason == "length" or bool(OPEN_THINKING.search(text))
    named = _alone(text, options) if not cut else set()
    if not named and not cut and not DOUBT.search(text):
        named = _in_prose(text, options)
    choice = named.pop() if len(named) == 1 else None
    return Reading("answered", choice) if choice else unread(text, received, _MENTION)
