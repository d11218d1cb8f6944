"""Write the answer browser: a page with its data, as plain scripts that pass JSON to one function.

The scripts are parts small enough to load one by one. The index holds, as numbers, what the filters and the
table need for every answer; it is loaded with the page. Everything else is in parts that are loaded when an
answer is opened: fragments and sequences of the prompts, facts about the items, replies. A part is a range of
rows; the index lists the first row of each.

Every prompt is stored once. The prompts of a study combine the same sentences in different orders, and many
share their first thousands of characters. Two steps exploit this. Texts are cut into fragments at points that
do not depend on the study: after a line's end and after " that ". Sorted texts are then front coded: each
lists only the fragments after those that it shares with the previous text.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.ask import catalogue
from deepvalues.browser.collect import JOINER, OPENER, ROLES, Marked, Row, Sheet, names, sheets
from deepvalues.core import number_format, paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder
from deepvalues.studies.dvb.study import BENCHMARK

#: Maximum characters of a part, before escaping.
PART = 500_000
#: Maximum length of a choice in the table; the detail shows longer ones in full.
SHOWN_CHOICE = 60
LONG_CHOICE = "(see the answer)"
_ARM = ("arm", "task", "stimulus", "mode", "scale", "goal")
_VALUES = ("v1", "v2", "value")
#: Fields of an answer in the parts with replies.
_RECEIVED = ("choice", "reply", "refusal", "finish_reason", "error", "letters")
_UNSHOWN = ("id", "prompt", "hash", "prefix_chars", "sentence")

Json = Any


def script(name: str, payload: Json) -> str:
    """A part as a script, escaped so that no text can end the script element or a line of JavaScript."""
    written = json.dumps(payload, ensure_ascii=True, separators=(",", ":"))
    escaped = written.replace("<", r"\u003c").replace(">", r"\u003e")
    return f'answers("{name}",{escaped});\n'


def starts(costs: Iterable[int], limit: int = PART) -> list[int]:
    """First rows of parts that cost at most the limit; a single row that costs more is a part of its own."""
    found, total = [0], 0
    for number, cost in enumerate(costs):
        if total and total + cost > limit:
            found.append(number)
            total = 0
        total += cost
    return found


def _parts(
    name: str, costs: Sequence[int], payload: Callable[[int, int], dict[str, Json]]
) -> tuple[list[int], dict[str, str]]:
    """The first rows of the parts, and the content of their files by name."""
    first = starts(costs)
    files = {
        f"{name}-{number:03d}": {"first": start, **payload(start, end)}
        for number, (start, end) in enumerate(pairwise([*first, len(costs)]))
    }
    return first, {part: script(part, content) for part, content in files.items()}


class _Words:
    """Assigns numbers to strings, in order of first use."""

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
    """The files of the data folder by name without suffix: ``index`` and the parts.

    Parameters
    ----------
    families
        The family of each model.
    names
        Display names of values and dimensions, by id.
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
    """For each item its system message, or None, and the user's turns."""
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
    """The distinct pairs of status and choice, most frequent first; answers refer to them by number."""

    def __init__(self, sheets: Sequence[Sheet]) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for sheet in sheets:
            counts.update(self.shown(row) for row in sheet.answers)
        self.listed = [list(pair) for pair, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        self._number = {(status, choice): number for number, (status, choice) in enumerate(self.listed)}

    @staticmethod
    def shown(row: Row) -> tuple[str, str]:
        """The status and the choice, the latter shortened to fit into the table."""
        text = row.choice or ""
        return row.status, text if len(text) <= SHOWN_CHOICE else LONG_CHOICE

    def number(self, row: Row) -> int:
        """The number of the pair of an answer."""
        return self._number[self.shown(row)]


Slots = dict[tuple[int, int, int], int]


def _slots(sheet: Sheet) -> Slots:
    """Numbers for every (item number, repeat, turn) that any model has a row for, in sorted order."""
    number = {item: position for position, item in enumerate(sheet.items["id"])}
    used = {(number[row.item], row.repeat, row.turn) for row in sheet.answers}
    return {slot: position for position, slot in enumerate(sorted(used))}


def _slot_columns(slots: Slots) -> dict[str, Json]:
    """Columns with item, repeat and turn of the slots; 0 replaces a column of zeros."""
    columns = dict(zip(("item", "repeat", "turn"), map(list, zip(*slots, strict=True)), strict=True))
    return {name: column if any(column) else 0 for name, column in columns.items()}


def _reply_parts(
    sheet: Sheet, slots: Slots, readings: _Readings, models: Sequence[str]
) -> tuple[list[Json], dict[str, str]]:
    """For each model its number, its reading in every slot, and its parts; then the files.

    A reading of -n stands for n slots in a row that were not asked: most models have answered a part.
    """
    number = {item: position for position, item in enumerate(sheet.items["id"])}
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
        index = models.index(model)
        name = f"replies-{sheet.study}-{index:03d}"
        first, parts = _parts(name, list(map(_cost, rows)), partial(_table, _RECEIVED, rows))
        runs = ([-len(list(run))] if code < 0 else run for code, run in groupby(codes))
        entries.append(
            {"model": index, "codes": list(chain.from_iterable(runs)), "parts": first, "file": name}
        )
        files |= parts
    return entries, files


def _facets(items: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Json]:
    """For each filter a list of labels, and for each item the number of its label (-1: none)."""
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
    columns = [[words(row[at]) if at < len(row) else -1 for row in rows] for at in range(width)]
    return (
        {"labels": [label.replace("_", " ") for label in words.known], "of": columns} if words.known else None
    )


# ---- prompts, each stored once ----

_CUT = re.compile(r"(?<=\n)|(?<= that )")


def fragments_of(text: str) -> list[str]:
    """Cut a text into fragments, which joined give the text again."""
    return _CUT.split(text)


class Texts:
    """Distinct texts in sorted order: ``number`` by text, and ``sequences`` of fragment numbers by text.

    ``fragments`` lists the distinct fragments in order of first use.
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
    """Each sequence as [length of the prefix shared with the previous one, remaining elements …]."""
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


# ---- the folder ----

#: Maximum bytes loaded with the page, and of a part.
MOST_FIRST, MOST_PART = 3_000_000, 1_500_000
_FOLDER = Path(__file__).parent


class Weight(NamedTuple):
    """Bytes of the whole folder, of the files loaded with the page, of the largest part; number of files."""

    total: int
    first: int
    largest: int
    files: int

    def sentence(self) -> str:
        """The sentence about it on the page."""
        total, first, largest = (
            number_format.number(size / 1e6, 1) for size in (self.total, self.first, self.largest)
        )
        return (
            f"{number_format.count(self.files)} files, {total} MB in total, of which {first} MB are loaded "
            f"with the page and the rest in parts of at most {largest} MB as you open answers"
        )


def write_browser(folder: Path, record_folder: Path = paths.RESPONSES) -> Weight:
    """Write the answer browser from the records of the paper's models, replacing the folder's contents.

    Raises
    ------
    UserError
        When there is no recorded answer, a record is damaged, or the page would be too large.
    """
    found = list(sheets(record_folder))
    if not found:
        raise UserError(f"{paths.shown(record_folder)}: no recorded answer of a model of the paper to show")
    families = {name: model.family for name, model in catalogue.registry().models.items()}
    return write_files(folder, encode(found, families, names(BENCHMARK.bank)))


def write_files(folder: Path, data: Mapping[str, str]) -> Weight:
    """Write the page around encoded data (from `encode`).

    Raises
    ------
    UserError
        When the folder holds other files, the index or a part is too large, or the folder can't be written.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "data" / "index.js").is_file():
        raise UserError(
            f"{paths.shown(folder)}: holds files that are not an answer browser; name another folder"
        )
    with tempfile.TemporaryDirectory(prefix="deepvalues-") as temporary:
        site = Path(temporary) / "answers"
        (site / "data").mkdir(parents=True)
        (site / "vendor").mkdir()
        for source, target in (("page", site), ("vendor", site / "vendor")):
            for file in (_FOLDER / source).iterdir():
                if file.name != "README.md":  # it explains how to update the component
                    shutil.copyfile(file, target / file.name)
        for name, content in data.items():
            (site / "data" / f"{name}.js").write_text(content, encoding="ascii")
        weight, page = _weigh(site), (site / "index.html").read_text(encoding="utf-8")
        (site / "index.html").write_text(page.replace("{{weight}}", weight.sentence()), encoding="utf-8")
        replace_folder(site, folder)
    return weight


def _weigh(site: Path) -> Weight:
    sizes = {file: file.stat().st_size for file in site.rglob("*") if file.is_file()}
    parts = {
        file: size for file, size in sizes.items() if file.parent.name == "data" and file.stem != "index"
    }
    total, later = sum(sizes.values()), sum(parts.values())
    weight = Weight(total, total - later, max(parts.values()), len(sizes))
    if weight.first > MOST_FIRST or weight.largest > MOST_PART:
        raise UserError(
            f"the answer browser would load {weight.first:,} bytes with the page (at most {MOST_FIRST:,}) "
            f"and {weight.largest:,} in a part (at most {MOST_PART:,}): "
            f"list fewer models under `paper` in {paths.shown(paths.MODELS)}"
        )
    return weight
