"""The prompts of the published benchmark as items, read from the released files row by row.

The columns are those that the release documents. `read_released` lists how missing information is replaced;
wrong information is an error that names the row.
"""

from __future__ import annotations

import hashlib
import re
import reprlib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json
from deepvalues.studies.dvb.items.items import CONTRACT
from deepvalues.studies.dvb.items.prompts import parse_with_end
from deepvalues.studies.dvb.stimuli.bank import Bank

N_EXAMPLES = (4, 20, 40)
_TEXTS = ("prompt_id", "prompt", "expected_deep_value_choice")
SIDES = ("preferred", "less_preferred", "preferred_definition", "less_preferred_definition")
_OBJECTS = {"deep_values": SIDES, "shallow_preferences": SIDES, "context": ("name", "activity")}
_RIGHT = {"Option A": "A", "Option B": "B"}
#: The columns of wordings, which take the cell instead.
WORDINGS = ("target_value_wording", "target_pole_wording", "other_value_wording", "other_pole_wording")
#: Number of faults that a message shows; the rest are counted.
_SHOWN = 10


class Poles(NamedTuple):
    """A directed dimension: ids of the bank if names match, otherwise names from the release."""

    dimension: str
    direction: str
    s1: str
    s2: str


class FaultError(Exception):
    """A fault in a prompt that is not ours, or in what is said about it."""


def read_released(path: Path, bank: Bank) -> pd.DataFrame:
    """Read a released file of prompts as items, in the order of the file.

    Prompts are kept byte for byte. Columns that the release lacks:

    - ``cell``: value pair, preferred pole and domain, joined by ``/``;
    - ``arm``: ``deconfounded`` throughout;
    - ``test``: the position among the rows of the same cell and N;
    - ``dimension``, ``direction``, ``s1``, ``s2``: those of the bank if names match; otherwise names from the
      release, joined by ``/``, and ``forward``, as the published design always prefers the first pole;
    - ``activity``: that of the bank if its name matches, otherwise the release's own words;
    - the four wordings: the cell. Every text of the release was written anew, so no wording recurs,
      and the cell is the smallest group of texts with the same topic;
    - ``clause_order``, ``scene``, ``example_activities``: empty, as they are unknown;
    - ``prefix_chars``: the length of the examples if another prompt begins with the same ones, otherwise 0.

    Parameters
    ----------
    path
        A JSON array of objects, as released.
    bank
        The names must match its values and domains, ignoring case, spaces and punctuation.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `items.items.CONTRACT`.

    Raises
    ------
    UserError
        When the file is not such an array, or has faulty rows: one line for each of the first ones, with
        ``prompt_id`` and fault.

    References
    ----------
    Ashkinaze, Shen, Avula, Gilbert and Budak (2025), NeurIPS, arXiv 2511.02109.
    """
    entries = _entries(path)
    names = Names(bank)
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    ids: set[str] = set()
    prompts: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            row = _row(entry, names)
            _check_unique(row, ids, prompts)
            rows.append(row)
        except FaultError as fault:
            faults.append(f"  {_label(entry, number)}: {fault}")
    if faults:
        more = [f"  … and {len(faults) - _SHOWN:,} more"] if len(faults) > _SHOWN else []
        lines = "\n".join(faults[:_SHOWN] + more)
        raise UserError(
            f"{paths.shown(path)}: {len(faults):,} of {len(entries):,} prompts cannot be used:\n{lines}"
        )
    return CONTRACT.validate(pd.DataFrame(_with_positions(rows), columns=list(CONTRACT.columns)))


def _entries(path: Path) -> list[Any]:
    entries = read_json(path, "fetch it with: make data")
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{paths.shown(path)}: not a JSON array of prompts")
    return entries


def _label(entry: object, number: int) -> str:
    """The name of a row in messages."""
    named = entry.get("prompt_id") if isinstance(entry, dict) else None
    return f"prompt_id {named}" if isinstance(named, str) and named else f"row {number}, without a prompt_id"


def _check_unique(row: Mapping[str, Any], ids: set[str], prompts: dict[str, str]) -> None:
    if row["id"] in ids:
        raise FaultError("an earlier row has this prompt_id")
    ids.add(row["id"])
    # Answers are keyed by the prompt: two rows with the same one would count an answer twice.
    first = prompts.setdefault(row["hash"], row["id"])
    if first != row["id"]:
        raise FaultError(f"its prompt is that of prompt_id {first}")


def _row(entry: object, names: Names) -> dict[str, Any]:
    """An item from an entry, without what depends on other rows: test and prefix_chars."""
    checked = _checked(entry)
    values, poles, context = (checked[key] for key in _OBJECTS)
    n, examples_end = _examples(checked)
    v1, v2 = (names.value(values[side]) for side in ("preferred", "less_preferred"))
    if v1 == v2:
        raise FaultError(f"deep_values: preferred and less_preferred are both {v1}")
    found = names.poles(*(poles[key] for key in SIDES))
    domain = names.domain(context["name"])
    cell = f"{v1}/{v2}/{found.s1}/{domain}"
    prompt = checked["prompt"]
    return {
        "id": checked["prompt_id"],
        "cell": cell,
        "arm": "deconfounded",
        "n_examples": n,
        "value_set": names.bank.values[v1].group,
        "v1": v1,
        "v2": v2,
        **found._asdict(),
        "domain": domain,
        "activity": names.activity(domain, context["activity"]),
        "example_activities": "",
        "scene": "",
        **dict.fromkeys(WORDINGS, cell),
        "clause_order": "",
        "right": _RIGHT[checked["expected_deep_value_choice"]],
        "swapped": False,
        "prefix_chars": examples_end,
        "prompt": prompt,
        "hash": hashlib.sha256(prompt.encode()).hexdigest()[:16],
    }


def _checked(entry: object) -> dict[str, Any]:
    """The entry, after checking that it has every documented column in its documented form."""
    if not isinstance(entry, dict):
        raise FaultError("not an object")
    for column in (*_TEXTS, *_OBJECTS):
        if column not in entry:
            raise FaultError(f"has no {column}")
    for column in _TEXTS:
        _text(column, entry[column])
    for column, keys in _OBJECTS.items():
        if not isinstance(entry[column], dict):
            raise FaultError(f"{column} is not an object but {reprlib.repr(entry[column])}")
        for key in keys:
            if key not in entry[column]:
                raise FaultError(f"{column} has no {key}")
            _text(f"{column}.{key}", entry[column][key])
    if entry["expected_deep_value_choice"] not in _RIGHT:
        choice = reprlib.repr(entry["expected_deep_value_choice"])
        raise FaultError(f"expected_deep_value_choice is {choice}, neither 'Option A' nor 'Option B'")
    return entry


def _text(column: str, text: object) -> None:
    if not isinstance(text, str):
        raise FaultError(f"{column} is not a text but {reprlib.repr(text)}")
    if not text.strip():
        raise FaultError(f"{column} is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FaultError(f"{column} has half a character, which cannot be sent: {error}") from None


def _examples(entry: Mapping[str, Any]) -> tuple[int, int]:
    """(N, where the examples end) from the prompt, checked against the row's own numbers."""
    try:
        task, end = parse_with_end(entry["prompt"])
    except ValueError as error:
        raise FaultError(f"prompt: {error}") from None
    n = len(task.examples)
    if n not in N_EXAMPLES:
        sizes = ", ".join(map(str, N_EXAMPLES))
        raise FaultError(f"prompt: {n or 'no'} examples with a choice, and the design has {sizes}")
    stated = entry.get("n_training_examples", n)
    if stated != n:
        raise FaultError(f"n_training_examples is {reprlib.repr(stated)}, but the prompt has {n} choices")
    return n, end


def _with_positions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add what depends on other rows: the position in cell and N, and whether examples are shared."""
    counts: Counter[tuple[str, int]] = Counter()
    prefixes = Counter(row["prompt"][: row["prefix_chars"]] for row in rows)
    for row in rows:
        row["test"] = counts[row["cell"], row["n_examples"]]
        counts[row["cell"], row["n_examples"]] += 1
        if prefixes[row["prompt"][: row["prefix_chars"]]] == 1:
            row["prefix_chars"] = 0
    return rows


class Names:
    """Ids of the bank for the names that a release uses.

    Parameters
    ----------
    bank
        The names must match its values and domains, ignoring case, spaces and punctuation.
    """

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self._values = {_plain(name): id for id, value in bank.values.items() for name in (id, value.name)}
        self._domains = {_plain(name): id for id, field in bank.domains.items() for name in (id, field.name)}

    def value(self, name: str) -> str:
        """The id of a value; an unknown name is a fault."""
        return self._known("value", name, self._values)

    def domain(self, name: str) -> str:
        """The id of a domain; an unknown name is a fault."""
        return self._known("domain", name, self._domains)

    def activity(self, domain: str, name: str) -> str:
        """The id of an activity of a domain or, if it is unknown, its name."""
        activities = self.bank.domains[domain].activities.values()
        return next((known.id for known in activities if _plain(known.name) == _plain(name)), name)

    def _known(self, kind: str, name: str, ids: Mapping[str, str]) -> str:
        if _plain(name) not in ids:
            raise FaultError(f"unknown {kind} {name!r}; there are {', '.join(sorted(set(ids.values())))}")
        return ids[_plain(name)]

    @cache  # noqa: B019 - the cache lives no longer than its short-lived instance
    def poles(self, preferred: str, less: str, *definitions: str) -> Poles:
        """Find the dimension of two poles by their names; definitions settle ties between dimensions.

        Names may be longer than the pole ("Formal Language"). If two dimensions have poles of the same names,
        the one that shares more words of its own name with these names is meant or, in a tie, with the
        definitions.
        """
        sides = _words(preferred), _words(less)
        if not all(sides) or sides[0] == sides[1]:
            raise FaultError(f"shallow_preferences: {preferred!r} and {less!r} are not two poles")
        explained = _words(" ".join(definitions))
        found = []
        for dimension in self.bank.dimensions.values():
            first, second = (_words(self.bank.poles[pole].name) for pole in dimension.poles)
            own = _words(dimension.name)
            strength = _shared(own, sides[0] | sides[1]), _shared(own, explained)
            if first <= sides[0] and second <= sides[1]:
                found.append((strength, Poles(dimension.id, "forward", *dimension.poles)))
            if second <= sides[0] and first <= sides[1]:
                found.append((strength, Poles(dimension.id, "reversed", *dimension.poles[::-1])))
        found.sort(reverse=True)
        if not found or (len(found) > 1 and found[0][0] == found[1][0]):
            s1, s2 = "_".join(_in_order(preferred)), "_".join(_in_order(less))
            return Poles(f"{s1}/{s2}", "forward", s1, s2)
        return found[0][1]


def _plain(name: str) -> str:
    """A name without case, spaces and punctuation."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _in_order(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _words(text: str) -> frozenset[str]:
    return frozenset(_in_order(text))


def _shared(own: frozenset[str], words: frozenset[str]) -> int:
    """How many words of a name occur, regardless of endings (update, updates)."""
    return sum(any(word.startswith(mine[:5]) for word in words) for mine in own)
