"""A tolerant reader of JSON replies.

It never guesses: an ambiguous reply is unparsable, with the reason. It accepts code fences, thinking, prose
around the JSON, trailing commas, theme names in another case or punctuation, numbers as text, a plain object
of names and numbers and, for a ranking, a list of names in order. Two JSON values that differ in meaning, a
repeated theme, or a number off the scale make a reply unparsable.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deepvalues.ask.reading import Reading, Received, declines, settled, without_thinking
from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.profiles.stimuli import OPEN, letters

_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_NUMBER = re.compile(r"([+-]?\d{1,9}(?:\.\d{1,9})?) ?(?:%|points?|pts?\.?)?", re.IGNORECASE)
_LISTED = re.compile(r"(?:\d{1,2} ?)?[.):-]? ?([^\d]+)")
_BEGIN = re.compile(r"[{\[]")
#: Limit on brackets that begin no JSON value; no sensible reply has as many in its prose.
_FALSE_STARTS = 100
#: Points may differ from 100 only by the rounding of decimals.
_SUM_TOLERANCE = 0.011


class Parsed(NamedTuple):
    """The six numbers of a reply in the fixed order of themes, or the reason why there are none."""

    numbers: tuple[float, ...] | None
    reason: str = ""


class _UnreadableError(Exception):
    """A JSON value about themes is ambiguous or incomplete."""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as a list of pairs, which keeps repeated names."""


def _values(text: str) -> Iterator[Any]:
    """Yield each outermost JSON object or list, up to the limit of `_FALSE_STARTS`."""
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs)
    place = failed = 0
    # The decoder may read from a false start to the end of the text, so their number is limited.
    while failed < _FALSE_STARTS and (found := _BEGIN.search(text, place)):
        try:
            value, place = decoder.raw_decode(text, found.start())
        except ValueError:
            place = found.start() + 1
            failed += 1
            continue
        except RecursionError:
            return
        yield value


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _number(value: Any) -> float:
    if isinstance(value, str) and (match := _NUMBER.fullmatch(_squeezed(value))):
        return float(match[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _UnreadableError(f"{value!r} is not a number")
    return float(value)


def _entry(value: Any) -> tuple[str, Any] | None:
    """The theme name and number in an entry ``{"theme": …, "response": …}``."""
    fields = dict(value) if isinstance(value, _Pairs) else {}
    name = fields.get("theme", fields.get("name"))
    numbers = [fields[key] for key in ("response", "rank", "rating", "points", "score") if key in fields]
    return (name, numbers[0]) if isinstance(name, str) and len(numbers) == 1 else None


def _pairs(value: Any, mode: str, names: Mapping[str, int]) -> list[tuple[str, Any]] | None:
    """Names and numbers in a JSON value; None if it is about something else."""
    if isinstance(value, _Pairs):
        if any(letters(name) in names for name, _ in value):
            return list(value)
        inner = [_pairs(each, mode, names) for _, each in value]
        found = [each for each in inner if each]
        return found[0] if len(found) == 1 else None
    return _listed_pairs(value, mode) if isinstance(value, list) and value else None


def _listed_pairs(value: Sequence[Any], mode: str) -> list[tuple[str, Any]] | None:
    """Pairs from a list of entries, of objects with one name each or, in a ranking, of names in order."""
    entries = [entry for each in value if (entry := _entry(each))]
    single = [each[0] for each in value if isinstance(each, _Pairs) and len(each) == 1]
    matches = [_LISTED.fullmatch(_squeezed(each)) for each in value if isinstance(each, str)]
    ranked = [(match[1], place) for place, match in enumerate(matches, start=1) if match]
    for found in (entries, single, ranked if mode == "ranking" else []):
        if len(found) == len(value):
            return found
    return None


def _assigned(pairs: Sequence[tuple[str, Any]], names: Mapping[str, int]) -> list[float]:
    found: dict[int, float] = {}
    for name, value in pairs:
        place = names.get(letters(name))
        if place is None:
            raise _UnreadableError(f"{name!r} is none of the themes")
        if place in found:
            raise _UnreadableError(f"{name!r} is there twice")
        found[place] = _number(value)
    if len(found) < THEMES:
        raise _UnreadableError(f"{THEMES - len(found)} themes are missing")
    return [found[place] for place in range(THEMES)]


def off_scale(numbers: Sequence[float], mode: str) -> str:
    """Why six numbers are not a valid response in a mode; empty if they are.

    A ranking is a permutation of 1 to 6, ratings are whole numbers from 1 to 7, and points are at least 0 and
    sum to 100, as do the percentages of the open mode.
    """
    if mode == "ranking" and sorted(numbers) != list(range(1, THEMES + 1)):
        return "the ranks are not 1 to 6, each once"
    if mode == "rating" and not all(number in range(1, 8) for number in numbers):
        return "a rating is not a whole number from 1 to 7"
    if mode in ("allocation", OPEN):
        if min(numbers) < 0:
            return "there are points below 0"
        if abs(sum(numbers) - 100) > _SUM_TOLERANCE:
            return f"the points sum to {sum(numbers):g}, not 100"
    return ""


def _folded(text: str) -> str:
    """A reply without its thinking, with full-width letters and digits folded."""
    return unicodedata.normalize("NFKC", without_thinking(text))


def parse(text: str, mode: str, theme_names: Sequence[str]) -> Parsed:
    """Read the six numbers of a reply in a closed mode.

    Parameters
    ----------
    theme_names
        Names of the themes in their fixed order; their keys are also accepted.

    Returns
    -------
    Parsed
        The numbers as given (a rank stays a rank), or None and the reason.
    """
    names = {letters(name): place for place, name in enumerate(theme_names)}
    readings: set[tuple[float, ...]] = set()
    reasons: list[str] = []
    for value in _values(_TRAILING_COMMA.sub(r"\1", _folded(text))):
        pairs = _pairs(value, mode, names)
        if pairs is None:
            continue
        try:
            numbers = tuple(_assigned(pairs, names))
        except _UnreadableError as error:
            reasons.append(str(error))
            continue
        reason = off_scale(numbers, mode)
        if reason:
            reasons.append(reason)
        else:
            readings.add(numbers)
    if len(readings) + len(set(reasons)) > 1:
        return Parsed(None, "there are several answers, and they differ")
    if reasons:
        return Parsed(None, reasons[0])
    return Parsed(readings.pop()) if readings else Parsed(None, "no JSON with the themes")


def _unread(received: Received) -> Reading:
    if received.cut:
        return Reading("truncated")
    return Reading("refused" if declines(without_thinking(received.text or "")) else "unparsable")


def written(numbers: Sequence[float]) -> str:
    """Format six numbers as the choice of a reading: separated by spaces, in the fixed order of themes."""
    return " ".join(f"{number:g}" for number in numbers)


def read_closed(received: Received, mode: str, theme_names: Sequence[str]) -> Reading:
    """Read a reply in a closed mode; the choice is formatted by `written`."""
    if (known := settled(received)) is not None:
        return known
    parsed = parse(received.text or "", mode, theme_names)
    return Reading("answered", written(parsed.numbers)) if parsed.numbers else _unread(received)


def read_open(received: Received) -> Reading:
    """Read an open answer: any complete text that is not a refusal. It has no choice."""
    if (known := settled(received)) is not None:
        return known
    shown = without_thinking(received.text or "")
    if received.cut:
        return Reading("truncated")
    if not re.search(r"[^\W\d_]", shown):
        return Reading("unparsable")
    return Reading("refused" if declines(shown) else "answered")


def read_code(received: Received, names: Mapping[str, str]) -> Reading:
    """Read a coder's reply; the choice is the key of a theme, or ``none``.

    Accepted are ``{"theme": "…"}``, also within prose or code fences, and a bare name.

    Parameters
    ----------
    names
        Names of the codes by key.
    """
    if (known := settled(received)) is not None:
        return known
    by_letters = {letters(name): key for key, name in names.items()} | {letters(key): key for key in names}
    text = _folded(received.text or "")
    given = {dict(value).get("theme") for value in _values(text) if isinstance(value, _Pairs)}
    codes = {by_letters.get(letters(name)) if isinstance(name, str) else None for name in given}
    codes |= {by_letters[letters(text)]} if letters(text) in by_letters else set()
    if len(codes) == 1 and None not in codes:
        return Reading("answered", codes.pop())
    return _unread(received)
