"""What a reading of a reply is, and the one reader of choices that all studies share.

A reply counts where it has one of the known forms that say a choice: an option alone, a line of answer, a
sentence of choosing. Whatever else names an option (rejects it, quotes it, weighs it) makes a reply
unparsable; nothing is guessed. The table of examples, reply by reply, is in ``tests/ask/test_reading.py``.

Time is linear in the reply. Runs of space are folded before anything is matched, the forms are tried on
statements of bounded length only, and every other pattern passes over the text once.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
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

    @property
    def cut(self) -> bool:
        """Whether the limit of tokens ended the reply."""
        return self.finish_reason == "length"


class Reading(NamedTuple):
    """A status and, when it is ``answered``, the choice."""

    status: str
    choice: str | None = None


# Thinking.

_THOUGHT = re.compile(r"<(/?)(?:think(?:ing)?|thought|reasoning)>", re.IGNORECASE)


def without_thinking(text: str) -> str:
    """What a reply says after its thinking; nothing where a thought was not brought to its end.

    What stands before the last closing tag is thought, also where the prompt opened it.
    """
    tags = list(_THOUGHT.finditer(text))
    closed = [tag.end() for tag in tags if tag[1]]
    if tags and not tags[-1][1]:
        return ""
    return (text[closed[-1] :] if closed else text).strip()


# Replies that need no reading, and refusals.

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
    """Whether a reply has a word beside thinking, closed or cut."""
    return bool(text and without_thinking(text))


def settled(received: Received) -> Reading | None:
    """The cases that no reader needs the text for."""
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


# The forms. All are matched against statements whose words stand one space apart.

#: An option in a sentence: "Option B", "option b", "(B)", "B"; "?" is what stands for no option.
_OPTION = r"['(\[]{0,2}(?:(?:the )?(?:option|letter) ['(\[]?([a-z?])|(?-i:([A-Z])))['\])]{0,2}"
#: An option that stands by itself may be a small letter.
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
#: Any mention of an option, chosen or not. "A", "a", "I" before a word are words, but for "Option A".
_NAMES = re.compile(
    r"\b(?i:options?|letters?|choices?|answers?):? [(\[\"']?(?:[B-HJ-Zb-hj-z?]|A|[aiI](?! [a-z]))(?![\w'’])"
    r"|(?<![\w'’])(?:[B-HJ-Z]|[AI](?!['’]| [a-z]))(?![\w'’])"
)
#: Doubt, negation, comparison. No such list is whole, so it reads nothing: it only takes readings away.
_DOUBT = re.compile(
    r"\b(?:not|never|neither|nor|no|wrong|rather|instead|except|unlikely|less|than|but|however|although|unless|"
    r"if|might|maybe|perhaps|either|both|could|unsure|uncertain|wait|actually|cannot)\b|n['’]t\b",
    re.IGNORECASE,
)
#: A sentence that says what the choice before it is takes it back if it rejects: "That is the wrong one."
#: This, too, only takes readings away. "This option avoids jargon" explains a choice, and leaves it.
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
    #: alone: an option and nothing else. answer: with a label before it. prose: a sentence of choosing.
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
                return _said(match, form, text)
    names = _NAMES.search(text) or _takes_back(text)
    return _Statement(names=bool(names), doubts=bool(_DOUBT.search(text)))


def _takes_back(text: str) -> bool:
    patterns = (_CALLS_IT.match, _THE_CHOICE.search, _REJECTS.search)
    return len(text) <= _LONGEST and all(look(text) for look in patterns)


def _said(match: re.Match[str], form: str, text: str) -> _Statement:
    """What a form says; a reason in it may neither doubt nor name another option."""
    named = {each.upper() for each in match.groups() if each and len(each) == 1}
    reason = text[match.end(match.re.groups) :] if match[match.re.groups] and form == "prose" else ""
    if len(named) > 1 or _NAMES.search(reason) or _DOUBT.search(reason):
        return _Statement(names=True)
    return _Statement(named.pop(), form, names=True)


# From a reply to its statements.

_COMMAND = re.compile(r"\\(?:boxed|text\w{0,9}|math\w{0,9})\{([^{}\\]{0,200})\}")
_MARKUP = re.compile(r"^```\w*$|[*_`#$]+|\\[()\[\]]", re.MULTILINE)
_QUOTED = re.compile(r"\"([^\"]*)(?:\"|\Z)|[“„]([^“”]*)(?:[“”]|\Z)|«([^»]*)(?:»|\Z)")
_SHOWN = re.compile(r"^(?:Option )?([A-Z]): (.{3,})$", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?;]) ")
_ITEM = re.compile(r"^[-•] ")
#: Fields of a JSON object that hold the answer.
_FIELDS = frozenset({"answer", "choice", "option", "letter", "prediction", "decision", "selected"})


def _unquoted(match: re.Match[str]) -> str:
    """An option in quotes without them; of any other quotation, only whether it names an option."""
    inner = " ".join((match[1] or match[2] or match[3] or "").split())
    if len(inner) <= _LONGEST and _ALONE.fullmatch(inner):
        return inner
    return "(quoted option ?)" if _NAMES.search(inner) else "(quoted)"


def _plain(text: str, question: str) -> str:
    """A reply without its markup; the text of an option that the question shows stands for the option."""
    text = _COMMAND.sub(r"\1", _COMMAND.sub(r"\1", text))
    text = _MARKUP.sub("", text).replace("’", "'").strip()
    shown = _SHOWN.findall(question)
    for letter, words in shown if len({letter for letter, _ in shown}) == len(shown) else []:
        text = text.replace(words.strip().rstrip("."), f"(option {letter})")
    whole = _QUOTED.fullmatch(text)
    return (whole[1] or whole[2] or whole[3] or "") if whole else _QUOTED.sub(_unquoted, text)


def _lines(text: str) -> list[list[str]]:
    """The sentences of each line. After a colon, question or broken sentence a line goes on in the next."""
    found: list[list[str]] = []
    for paragraph in re.split(r"\n\s*\n| / ", text):
        for place, raw in enumerate(paragraph.split("\n")):
            line = _ITEM.sub("", " ".join(raw.split()))
            before = found[-1][-1] if found else ""
            goes_on = before.endswith((":", "?", ",")) or (
                place and line[:2].islower() and len(line) > 2 and not before.endswith((".", "!"))
            )
            if line and before and goes_on:
                found[-1].append(line)
            elif line:
                found.append([line])
    return [_SENTENCE.split(" ".join(parts)) for parts in found]


def _json_answer(text: str) -> str | None:
    """The answer of a reply that is one JSON object, as a line of answer."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        fields = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    given = [value for name, value in fields if str(name).lower() in _FIELDS]
    return f"Answer: {given[0]}" if len(given) == 1 and isinstance(given[0], str) else None


# From the statements to the choice.


def _concluded(lines: Sequence[Sequence[_Statement]]) -> str | None:
    """The choice of lines that are an answer and nothing else: with a label, or the first or last line."""
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
    """The one choice that the lines of a reply say, if they do."""
    read = [[_statement(sentence) for sentence in line] for line in lines]
    if (concluded := _concluded(read)) is not None:
        return concluded
    every = [each for line in read for each in line]
    # An option alone within prose says nothing ("Which is worse? Option A."), but for the first sentence.
    counts = [bool(each.says) and (each.form != "alone" or place == 0) for place, each in enumerate(every)]
    said = {each.says for each, counted in zip(every, counts, strict=True) if counted}
    others = [each for each, counted in zip(every, counts, strict=True) if not counted]
    certain = len(said) == 1 and not any(each.names or each.doubts for each in others)
    return said.pop() if certain else None


@lru_cache(maxsize=4096)  # Most replies are one of a few.
def _whole_choice(text: str) -> str | None:
    """The choice of a reply that came to its end."""
    return _choice(_lines(text))


def _cut_choice(text: str) -> str | None:
    """The choice of a reply that was cut: an option alone, or a first line that answered before the cut."""
    first, ended, rest = text.lstrip().partition("\n")
    lines = _lines(first)
    if not ended:
        return said.says if (said := _statement(" ".join(text.split()))).form == "alone" else None
    if _lines(text)[:1] != lines or _NAMES.search(rest):
        return None
    return _choice(lines)


def _same(text: str) -> str:
    return text


def read_choice(
    received: Received, letters: Collection[str], respell: Callable[[str], str] = _same
) -> Reading:
    """Read a reply to a question that shows options.

    Parameters
    ----------
    received
        Text, refusal field and finish reason of a reply, and the turn that it replies to. The text of an
        option as the turn shows it counts as that option.
    letters
        The letters that the question offers.
    respell
        Puts "(option X)" for what else stands for an option in this study, and "(option ?)" for what looks
        like one and is none.

    Returns
    -------
    Reading
        ``answered`` with one of the letters, or one of the other statuses without a choice.
    """
    if (known := settled(received)) is not None:
        return known
    said = without_thinking(unicodedata.normalize("NFKC", received.text or ""))
    fenced = _MARKUP.sub("", said).strip() if said.startswith("```") else said
    text = _json_answer(fenced) or _plain(respell(said), received.question)
    # What `strip` took from the end tells whether the first line was ended.
    ended = "\n" if (received.text or "").rstrip(" ").endswith("\n") else ""
    choice = _cut_choice(text + ended) if received.cut else _whole_choice(text)
    return Reading("answered", choice) if choice and choice in letters else unread(received)
