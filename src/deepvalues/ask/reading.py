"""Readings of replies, and the reader of choices that all studies share.

A reply counts if it has a known form that states a choice: an option alone, an answer with a label, or a
sentence that chooses. Any other mention of an option (rejecting, quoting, weighing it) makes the reply
unparsable; nothing is guessed. ``tests/ask/test_reading.py`` has a table of examples.

The time is linear in the reply's length. Whitespace is collapsed before anything is matched, forms are tried
only on statements of bounded length, and every other pattern scans the text once.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

#: answered: a choice was read. refused: the model declined. unparsable: a complete reply without a clear
#: choice. truncated: cut off before its choice. failed: no reply was received.
STATUSES = ("answered", "refused", "unparsable", "truncated", "failed")


class Received(NamedTuple):
    """The parts of a reply that a reader needs, and the question.

    ``question`` is the turn as the study wrote it, without quoted replies filled in and without the prefix
    that it shares with other conversations.
    """

    text: str | None
    refusal: str | None = None
    finish_reason: str | None = None
    question: str = ""

    @property
    def cut(self) -> bool:
        """Whether the token limit ended the reply."""
        return self.finish_reason == "length"


class Reading(NamedTuple):
    """A status and, if it is ``answered``, the choice."""

    status: str
    choice: str | None = None


# Thinking.

_THOUGHT = re.compile(r"<(/?)(?:think(?:ing)?|thought|reasoning)>", re.IGNORECASE)


def without_thinking(text: str) -> str:
    """The text of a reply after its thinking; empty if the thinking is unfinished.

    Everything before the last closing tag is thinking, even if the prompt opened it.
    """
    tags = list(_THOUGHT.finditer(text))
    closed = [tag.end() for tag in tags if tag[1]]
    if tags and not tags[-1][1]:
        return ""
    return (text[closed[-1] :] if closed else text).strip()


# Refusals, and replies that need no reading.

_REFUSAL = re.compile(
    r"\W*(?:i['’]?m sorry|sorry|i apologi[sz]e|as an ai\b.{0,80}?\bi|unfortunately,? i|"
    r"i(?: \w{1,20})? (?:can['’]?t|cannot|can not|won['’]?t|will not|am unable|am not able|decline)|"
    r"i['’]m (?:unable|not able)|unable to|it(?: is|['’]s) (?:not possible|impossible) to "
    r"(?:say|tell|predict|know|determine|choose|decide|answer|rate))\b",
    re.IGNORECASE,
)


def declines(text: str) -> bool:
    """Whether a reply begins as a refusal."""
    return bool(_REFUSAL.match(" ".join(text.split())))


def says_something(text: str | None) -> bool:
    """Whether a reply has any text besides thinking."""
    return bool(text and without_thinking(text))


def settled(received: Received) -> Reading | None:
    """The reading of a reply for which no text is needed, if so."""
    if received.refusal or received.finish_reason == "content_filter":
        return Reading("refused")
    if received.text is None or not received.text.strip():
        return Reading("truncated" if received.cut else "unparsable")
    return None


def unread(received: Received) -> Reading:
    """The status of a reply from which no choice was read."""
    if received.cut:
        return Reading("truncated")
    text = without_thinking(received.text or "")
    return Reading("refused" if declines(text) and not _NAMES.search(text) else "unparsable")


# The forms. All are matched against statements with single spaces between words.

#: An option in a sentence: "Option B", "option b", "(B)", "B"; "?" stands for no option.
_OPTION = r"['(\[]{0,2}(?:(?:the )?(?:option|letter) ['(\[]?([a-z?])|(?-i:([A-Z])))['\])]{0,2}"
#: An option by itself may be a small letter.
_BY_ITSELF = r"['(\[]{0,2}(?:(?:option|letter) ?['(\[]?)?([a-z?])['\])]{0,2}"
_END = r"[.!:,]{0,3}"
_TWICE = rf"(?:[:.,-]{{0,2}} {_OPTION})?"
_KIND = r"(?:answer|choice|option|decision|prediction|pick|selection|division|preference)"
_PRAISE = (
    r"(?:(?:own|final|most|more|best|better|right|correct|likely|probable|logical|appropriate|suitable|"
    r"sensible|fitting|only|possible|preferred|predicted|natural|obvious|overall) ){0,3}"
)
_WHOSE = r"(?:the|my|their|his|her|this user's|the user's|the person's|user \d{1,9}'s|user\d{1,9}'s)"
_I_CHOOSE = r"(?:i|i'd|i would|i will|i'll)(?: would)? (?:choose|prefer|pick|select|give|take|go with)"
_LABEL = (
    rf"(?:(?:so|thus|therefore|hence)[, ] ?)?(?:(?:here is|here's) )?(?:{_WHOSE} )?{_PRAISE}{_KIND}"
    rf"(?: {_I_CHOOSE}| here)?(?: is| would be| will be)?(?: ?[:=-])? "
)
_WHO = (
    r"(?:i|we|they|he|she|(?:the )?user ?\d{1,9}|"
    r"(?:the|this|that|such a|a) (?:user|person|individual)(?: \d{1,9}| like (?:this|that))?)"
)
_MOST = r"(?:(?:most |more |very )?(?:likely|probably|certainly|definitely|clearly|surely) )?"
_PICK = (
    r"(?:choose|pick|select|prefer|take|go with|go for|opt for|decide on|favou?r|say|answer|predict|guess)"
)
_PICKS = (
    r"(?:chooses?|chose|picks?|picked|selects?|selected|prefers?|preferred|takes?|took|go(?:es)? with|"
    r"went with|goes for|opts? for|opted for|favou?rs?|say|predict|answer|guess)"
)
_CHOOSING = (
    rf"(?:(?:'d|'ll| would| will) {_MOST}{_PICK}|"
    rf"(?: would be|'d be| is| are| am|'m|'re)? {_MOST}to {_PICK}|"
    r"(?: am|'m) (?:choosing|picking|selecting|going with|going for|taking)|"
    rf" {_MOST}{_PICKS}):?"
)
_OPENING = (
    r"(?:(?:so|thus|therefore|hence|then|overall|ok|okay|sure|well|yes|certainly|as (?:this|such a) person|"
    r"in (?:this|the new) situation|in this case|(?:based on|given|looking at|judging by|considering) "
    r"(?:(?:the|this|that|these|their|all|his|her|previous|earlier|past|prior|given|user's) ){0,3}"
    r"(?:choices|examples|pattern|preferences|situations|scenarios|information)),? )?"
)
_OPINION = (
    r"(?:(?:i (?:would |'d )?(?:think|believe|predict|expect|say|guess)|i'd (?:say|guess)|it seems|"
    r"it is clear|it is likely)(?: that)? )?"
)
_REASON = r"(?:(,? because|,? since|, for) [^?]{1,200})?"
_IS_CHOSEN = (
    rf"(?:is|would be|will be|seems|seems to be) (?:(?:the|my|their) {_PRAISE}(?:{_KIND}|one)|"
    rf"(?:the )?(?:most|more) likely|chosen|preferred)"
)
_ALONE = re.compile(rf"{_BY_ITSELF}{_TWICE}{_END}", re.IGNORECASE)
_ANSWER = re.compile(rf"{_LABEL}(?:{_OPTION}|{_BY_ITSELF}){_TWICE}{_END}", re.IGNORECASE)
_CHOICES = tuple(
    re.compile(_OPENING + _OPINION + form + _REASON + _END, re.IGNORECASE)
    for form in (
        rf"{_WHO}{_CHOOSING} {_OPTION}{_TWICE}",
        rf"(?:let's go with|it is|it's|that is|that would be) {_OPTION}{_TWICE}",
        rf"{_LABEL}{_OPTION}{_TWICE}",
        rf"{_OPTION} {_IS_CHOSEN}",
    )
)
#: No known form is longer.
_LONGEST = 400
#: Any mention of an option, chosen or not. "A", "a" and "I" before a word are words, except in "Option A".
_NAMES = re.compile(
    r"\b(?i:options?|letters?|choices?|answers?):? [(\[\"']?(?:[B-HJ-Zb-hj-z?]|A|[aiI](?! [a-z]))(?![\w'’])"
    r"|(?<![\w'’])(?:[B-HJ-Z]|[AI](?!['’]| [a-z]))(?![\w'’])"
)
#: Doubt, negation, comparison. No such list is complete, so it is used only to discard readings.
_DOUBT = re.compile(
    r"\b(?:not|never|neither|nor|no|wrong|rather|instead|except|unlikely|less|than|but|however|although|unless|"
    r"if|might|maybe|perhaps|either|both|could|unsure|uncertain|wait|actually|cannot)\b|n['’]t\b",
    re.IGNORECASE,
)
#: A sentence that comments on the previous choice and rejects it: "That is the wrong one." This, too, only
#: discards readings. "This option avoids jargon" explains a choice and does not reject it.
_CALLS_IT = re.compile(
    r"(?:and |but )?(?:this|that|it|which)(?: (?:option|choice|one|letter|answer|pick))?"
    r"(?:'s| is| was| would be| isn't| wasn't| wouldn't be)\b",
    re.IGNORECASE,
)
_THE_CHOICE = re.compile(r"\b(?:option|choice|one|letter|answer|pick)\b", re.IGNORECASE)
_REJECTS = re.compile(
    r"\b(?:not|never|wrong|unlikely|unsuitable|dislik\w{1,3}|disagree\w{0,2}|avoid\w{0,3}|reject\w{0,3}|hates?|least|"
    r"worse|worst|opposite)\b|n't\b",
    re.IGNORECASE,
)


class _Statement(NamedTuple):
    """A sentence: what it chooses and how, and whether it names an option."""

    says: str | None = None
    #: alone: just an option. answer: an option after a label. prose: a sentence that chooses.
    form: str = ""
    names: bool = False
    doubts: bool = False


def _statement(text: str) -> _Statement:
    if len(text) <= _LONGEST:
        for form, pattern in (
            ("alone", _ALONE),
            ("answer", _ANSWER),
            *(("prose", each) for each in _CHOICES),
        ):
            if match := pattern.fullmatch(text):
                return _chosen(match, form, text)
    names = _NAMES.search(text) or _rejects(text)
    return _Statement(names=bool(names), doubts=bool(_DOUBT.search(text)))


def _rejects(text: str) -> bool:
    """Whether a sentence rejects the choice before it."""
    patterns = (_CALLS_IT.match, _THE_CHOICE.search, _REJECTS.search)
    return len(text) <= _LONGEST and all(matches(text) for matches in patterns)


def _chosen(match: re.Match[str], form: str, text: str) -> _Statement:
    """The choice in a form, whose reason must not express doubt or name another option."""
    named = {each.upper() for each in match.groups() if each and len(each) == 1}
    reason = text[match.end(match.re.groups) :] if match[match.re.groups] and form == "prose" else ""
    if len(named) > 1 or _NAMES.search(reason) or _DOUBT.search(reason):
        return _Statement(names=True)
    return _Statement(named.pop(), form, names=True)


# Splitting a reply into statements.

_COMMAND = re.compile(r"\\(?:boxed|text\w{0,9}|math\w{0,9})\{([^{}\\]{0,200})\}")
_MARKUP = re.compile(r"^```\w*$|[*_`#$]+|\\[()\[\]]", re.MULTILINE)
_QUOTED = re.compile(r"\"([^\"]*)(?:\"|\Z)|[“„]([^“”]*)(?:[“”]|\Z)|«([^»]*)(?:»|\Z)")
_SHOWN = re.compile(r"^(?:Option )?([A-Z]): (.{3,})$", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?;]) ")
_ITEM = re.compile(r"^[-•] ")
#: Fields of a JSON object that hold the answer.
_FIELDS = frozenset({"answer", "choice", "option", "letter", "prediction", "decision", "selected"})


def _unquoted(match: re.Match[str]) -> str:
    """A quoted option without quotation marks; any other quotation becomes a placeholder."""
    inner = " ".join((match[1] or match[2] or match[3] or "").split())
    if len(inner) <= _LONGEST and _ALONE.fullmatch(inner):
        return inner
    return "(quoted option ?)" if _NAMES.search(inner) else "(quoted)"


def _plain(text: str, question: str) -> str:
    """A reply without markup, where "(option A)" replaces the text of an option in the question."""
    text = _COMMAND.sub(r"\1", _COMMAND.sub(r"\1", text))
    text = _MARKUP.sub("", text).replace("’", "'").strip()
    options = _SHOWN.findall(question)
    for letter, words in options if len({letter for letter, _ in options}) == len(options) else []:
        text = text.replace(words.strip().rstrip("."), f"(option {letter})")
    quoted = _QUOTED.fullmatch(text)
    return (quoted[1] or quoted[2] or quoted[3] or "") if quoted else _QUOTED.sub(_unquoted, text)


def _lines(text: str) -> list[list[str]]:
    """The sentences of each line; a colon, question or unfinished sentence continues on the next line."""
    lines: list[list[str]] = []
    for paragraph in re.split(r"\n\s*\n| / ", text):
        for place, raw in enumerate(paragraph.split("\n")):
            line = _ITEM.sub("", " ".join(raw.split()))
            before = lines[-1][-1] if lines else ""
            continues = before.endswith((":", "?", ",")) or (
                place and line[:2].islower() and len(line) > 2 and not before.endswith((".", "!"))
            )
            if line and before and continues:
                lines[-1].append(line)
            elif line:
                lines.append([line])
    return [_SENTENCE.split(" ".join(parts)) for parts in lines]


def _json_answer(text: str) -> str | None:
    """The answer in a reply that is a single JSON object, as a labelled line."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        fields = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    given = [value for name, value in fields if str(name).lower() in _FIELDS]
    return f"Answer: {given[0]}" if len(given) == 1 and isinstance(given[0], str) else None


# Finding the choice among the statements.


def _concluded(lines: Sequence[Sequence[_Statement]]) -> str | None:
    """The choice from lines that are nothing but an answer: labelled, or the first or last line."""
    single = {place: line[0] for place, line in enumerate(lines) if len(line) == 1 and line[0].says}
    ends = (0, len(lines) - 1)
    counted = [
        place
        for place, line in single.items()
        if line.form == "answer" or (line.form == "alone" and place in ends)
    ]
    if not counted:
        return None
    after = [each for line in lines[max(counted) + 1 :] for each in line]
    said = {each.says for line in lines for each in line if each.says}
    return said.pop() if len(said) == 1 and all(each.says or not each.names for each in after) else None


def _choice(lines: Sequence[Sequence[str]]) -> str | None:
    """The single choice that the lines of a reply state, if any."""
    read = [[_statement(sentence) for sentence in line] for line in lines]
    if (concluded := _concluded(read)) is not None:
        return concluded
    every = [each for line in read for each in line]
    # An option alone within prose states no choice ("Which is worse? Option A."), unless it comes first.
    counts = [bool(each.says) and (each.form != "alone" or place == 0) for place, each in enumerate(every)]
    said = {each.says for each, counted in zip(every, counts, strict=True) if counted}
    others = [each for each, counted in zip(every, counts, strict=True) if not counted]
    certain = len(said) == 1 and not any(each.names or each.doubts for each in others)
    return said.pop() if certain else None


@lru_cache(maxsize=4096)  # few replies are distinct
def _complete_choice(text: str) -> str | None:
    """The choice in a complete reply."""
    return _choice(_lines(text))


def _cut_choice(text: str) -> str | None:
    """The choice in a truncated reply: an option alone, or a complete first line that answers."""
    first, ended, rest = text.lstrip().partition("\n")
    lines = _lines(first)
    if not ended:
        return said.says if (said := _statement(" ".join(text.split()))).form == "alone" else None
    if _lines(text)[:1] != lines or _NAMES.search(rest):
        return None
    return _choice(lines)


def read_choice(
    received: Received, letters: Collection[str], respell: Callable[[str], str] | None = None
) -> Reading:
    """Read a reply to a question with options.

    Parameters
    ----------
    received
        The reply and its question; the text of an option as shown in the question counts as that option.
    letters
        The letters that the question offers.
    respell
        Writes "(option X)" for other expressions that mean an option in this study, and "(option ?)" for
        those that only look like one.

    Returns
    -------
    Reading
        ``answered`` with one of the letters, or another status without a choice.
    """
    if (known := settled(received)) is not None:
        return known
    reply = without_thinking(unicodedata.normalize("NFKC", received.text or ""))
    unfenced = _MARKUP.sub("", reply).strip() if reply.startswith("```") else reply
    text = _json_answer(unfenced) or _plain(respell(reply) if respell else reply, received.question)
    # `strip` has removed the newline that shows that the first line was complete.
    ended = "\n" if (received.text or "").rstrip(" ").endswith("\n") else ""
    choice = _cut_choice(text + ended) if received.cut else _complete_choice(text)
    return Reading("answered", choice) if choice and choice in letters else unread(received)
