"""The parts: plain scripts that hand JSON to one function, small enough to be loaded one by one.

An index holds what filters and table need of every answer, as numbers; it is loaded with the page. All else
is in parts that a detail asks for: fragments and sequences of the prompts, what is known of the items,
replies. A part begins at a numbered row, and the index knows the first number of each.

Every prompt is stored once. Prompts of a study are made of the same sentences in other orders, and begin
alike over thousands of characters. Two steps use that. Texts are cut into fragments, at places that say
nothing about any study: after a line's end and after " that ". And texts are sorted, so that each gives only
the fragments that follow what it shares with the text before it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any

import pandas as pd

from deepvalues.browser.collect import JOINER, OPENER, ROLES, Marked, Row, Sheet

#: Characters that a part is filled up to, before escaping.
PART = 500_000
#: A choice that the table shows is no longer than this; the detail shows all of it.
SHOWN_CHOICE = 60
LONG_CHOICE = "(see the answer)"
_ARM = ("arm", "task", "stimulus", "mode", "scale", "goal")
_VALUES = ("v1", "v2", "value")
#: What a reply's part holds of an answer.
_RECEIVED = ("choice", "reply", "refusal", "finish_reason", "error", "letters")
_UNSHOWN = ("id", "prompt", "hash", "prefix_chars", "sentence")

Json = Any


def script(name: str, payload: Json) -> str:
    """A part as a script: nothing in it can end the script element or break a line of JavaScript."""
    written = json.dumps(payload, ensure_ascii=True, separators=(",", ":"))
    escaped = written.replace("<", r"\u003c").replace(">", r"\u003e")
    return f'answers("{name}",{escaped});\n'


def starts(costs: Iterable[int], limit: int = PART) -> list[int]:
    """Where parts begin so that none costs more than the limit, but for one that is a single row."""
    found, sum_ = [0], 0
    for number, cost in enumerate(costs):
        if sum_ and sum_ + cost > limit:
            found.append(number)
            sum_ = 0
        sum_ += cost
    return found


def _parts(
    name: str, costs: Sequence[int], payload: Callable[[int, int], dict[str, Json]]
) -> tuple[list[int], dict[str, str]]:
    """First rows of the parts of a kind, and their files."""
    first = starts(costs)
    files = {
        f"{name}-{number:03d}": {"first": start, **payload(start, end)}
        for number, (start, end) in enumerate(pairwise([*first, len(costs)]))
    }
    return first, {part: script(part, content) for part, content in files.items()}


class _Words:
    """Numbers for strings, in order of first use."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def __call__(self, word: object) -> int:
        return -1 if word is None else self.known.setdefault(str(word), len(self.known))


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str | None]], start: int, end: int
) -> dict[str, Json]:
    words = _Words()
    numbered = [[words(cell) for cell in row] for row in rows[start:end]]
    return {"columns": list(columns), "words": list(words.known), "rows": numbered}


def _cost(row: Sequence[str | None]) -> int:
    return sum(10 + len(cell or "") for cell in row)


def encode(sheets: Sequence[Sheet], families: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """The files of the data folder by name without ending: ``index`` and the parts.

    Parameters
    ----------
    families
        Model families by model.
    names
        How values and dimensions are called, by id.
    """
    texts = Texts(text for sheet in sheets for turns in _turns(sheet) for text in turns if text is not None)
    text_starts, files = _parts(
        "texts",
        [len(piece) + 3 for piece in texts.fragments],
        lambda start, end: {"rows": texts.fragments[start:end]},
    )
    prompt_starts, more = _parts(
        "prompts",
        [6 * len(sequence) for sequence in front_coded(texts.sequences)],
        lambda start, end: {"rows": front_coded(texts.sequences[start:end])},
    )
    files |= more
    readings = _Readings(sheets)
    models = list(dict.fromkeys(row.model for sheet in sheets for row in sheet.answers))
    studies = []
    for sheet in sheets:
        item_starts, item_files = _item_parts(sheet, texts)
        slots = _slots(sheet)
        replies, reply_files = _reply_parts(sheet, slots, readings, models)
        files |= item_files | reply_files
        studies.append(
            {
                "name": sheet.study,
                "title": sheet.title,
                "items": sheet.items["id"].tolist(),
                "slots": _slot_columns(slots),
                "facets": _facets(sheet.items, names),
                "itemParts": item_starts,
                "models": replies,
                "hidden": sheet.hidden,
            }
        )
    index = {
        "models": [[model, families.get(model, "")] for model in models],
        "readings": readings.listed,
        "opener": OPENER,
        "joiner": JOINER,
        "roles": ROLES,
        "textParts": text_starts,
        "promptParts": prompt_starts,
        "studies": studies,
    }
    return {"index": script("index", index), **files}


def _turns(sheet: Sheet) -> Iterator[tuple[str | None, ...]]:
    """The system text, where there is one, and the user's turns of each item."""
    for conversation in sheet.conversations:
        yield conversation.system, *conversation.turns


def _item_parts(sheet: Sheet, texts: Texts) -> tuple[list[int], dict[str, str]]:
    columns = [name for name in sheet.items.columns if name not in _UNSHOWN]
    rows = [tuple(map(str, row)) for row in sheet.items[columns].itertuples(index=False, name=None)]
    turns = [[-1 if text is None else texts.number[text] for text in item] for item in _turns(sheet)]

    def payload(start: int, end: int) -> dict[str, Json]:
        words = _Words()
        options = [_option_numbers(marked, words) for marked in sheet.options[start:end]]
        marks = {"turns": turns[start:end], "options": options, "names": list(words.known)}
        return _table(columns, rows, start, end) | marks

    options = (str(marked) for marked in sheet.options)
    costs = [
        _cost(row) + 6 * len(item) + len(marked)
        for row, item, marked in zip(rows, turns, options, strict=True)
    ]
    return _parts(f"items-{sheet.study}", costs, payload)


def _option_numbers(marked: Marked, words: _Words) -> list[Json]:
    return [
        [
            [words(option.label), int(option.is_target), *(list(map(words, mark)) for mark in option.marks)]
            for option in turn
        ]
        for turn in marked
    ]


class _Readings:
    """The different pairs of status and choice, the most frequent first, as answers refer to them."""

    def __init__(self, sheets: Sequence[Sheet]) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for sheet in sheets:
            counts.update(self.shown(row) for row in sheet.answers)
        self.listed = [list(pair) for pair, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        self._number = {(status, choice): number for number, (status, choice) in enumerate(self.listed)}

    @staticmethod
    def shown(row: Row) -> tuple[str, str]:
        """A status and a choice that fits into the table."""
        text = row.choice or ""
        return row.status, text if len(text) <= SHOWN_CHOICE else LONG_CHOICE

    def number(self, row: Row) -> int:
        """The number of an answer's reading."""
        return self._number[self.shown(row)]


Slots = dict[tuple[int, int, int], int]


def _slots(sheet: Sheet) -> Slots:
    """Every item (by number), repeat and turn that any model has a row for, numbered in this order."""
    number = {item: place for place, item in enumerate(sheet.items["id"])}
    used = {(number[row.item], row.repeat, row.turn) for row in sheet.answers}
    return {slot: place for place, slot in enumerate(sorted(used))}


def _slot_columns(slots: Slots) -> dict[str, Json]:
    """Item, repeat and turn of the slots; 0 stands for a column of zeros."""
    columns = dict(zip(("item", "repeat", "turn"), map(list, zip(*slots, strict=True)), strict=True))
    return {name: column if any(column) else 0 for name, column in columns.items()}


def _reply_parts(
    sheet: Sheet, slots: Slots, readings: _Readings, models: Sequence[str]
) -> tuple[list[Json], dict[str, str]]:
    """For each model its number, its reading in every slot (-1: not asked), and its parts by slot."""
    number = {item: place for place, item in enumerate(sheet.items["id"])}
    received: Callable[[Row], tuple[str | None, ...]] = attrgetter(*_RECEIVED)
    entries: list[Json] = []
    files: dict[str, str] = {}
    for model, answers in groupby(sheet.answers, key=attrgetter("model")):
        codes = [-1] * len(slots)
        rows: list[Sequence[str | None]] = [()] * len(slots)
        for row in answers:
            slot = slots[number[row.item], row.repeat, row.turn]
            codes[slot] = readings.number(row)
            rows[slot] = received(row)
        place = models.index(model)
        name = f"replies-{sheet.study}-{place:03d}"
        first, parts = _parts(name, list(map(_cost, rows)), partial(_table, _RECEIVED, rows))
        entries.append({"model": place, "codes": codes, "parts": first, "file": name})
        files |= parts
    return entries, files


def _facets(items: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Json]:
    """What the filters ask of an item, each as a list of labels and the label's number (-1: none) by item."""
    facets: dict[str, list[list[str | None]]] = {
        "arm": [[" · ".join(parts) or None] for parts in _labels(items, _ARM)],
        "examples": [[parts[0] if parts else None] for parts in _labels(items, ["n_examples"])],
        "value": [[names.get(part, part) for part in parts] for parts in _labels(items, _VALUES)],
        "dimension": [[names.get(p, p) for p in parts] or [None] for parts in _labels(items, ["dimension"])],
        "target": [[parts[0] if parts else None] for parts in _labels(items, ["right"])],
    }
    return {name: _facet(rows) for name, rows in facets.items()}


def _labels(items: pd.DataFrame, columns: Sequence[str]) -> list[list[str]]:
    present = [column for column in columns if column in items.columns]
    if not present:
        return [[] for _ in range(len(items))]
    rows = items[present].itertuples(index=False, name=None)
    return [[label for label in map(_label, present, row) if label] for row in rows]


def _label(column: str, cell: object) -> str:
    if isinstance(cell, bool):
        return column if cell else f"no {column}"
    return str(cell)


def _facet(rows: Sequence[Sequence[str | None]]) -> Json:
    words = _Words()
    width = max((len(row) for row in rows), default=0)
    columns = [[words(row[place]) if place < len(row) else -1 for row in rows] for place in range(width)]
    return (
        {"labels": [label.replace("_", " ") for label in words.known], "of": columns} if words.known else None
    )


# ---- every prompt once ----

_CUT = re.compile(r"(?<=\n)|(?<= that )")


def fragments_of(text: str) -> list[str]:
    """Cut a text; the fragments joined are the text."""
    return _CUT.split(text)


class Texts:
    """Different texts, numbered in sorted order: ``number`` by text, and ``sequences`` of numbered fragments.

    ``fragments`` are the different ones, in order of first use.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = sorted(set(texts))
        self.number = {text: number for number, text in enumerate(self.texts)}
        known: dict[str, int] = {}
        self.sequences = [
            [known.setdefault(piece, len(known)) for piece in fragments_of(text)] for text in self.texts
        ]
        self.fragments = list(known)


def front_coded(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """Each sequence as [how many places it shares with the one before, the places that follow …]."""
    coded = []
    before: Sequence[int] = ()
    for sequence in sequences:
        shared = 0
        for own, other in zip(sequence, before, strict=False):
            if own != other:
                break
            shared += 1
        coded.append([shared, *sequence[shared:]])
        before = sequence
    return coded
