"""The public prompts: 101 in the authors' repository, as the item set ``authors``.

We may not redistribute their texts. Git holds facts about them: numbers of examples, right letters,
names of values, checksums, and the digests of the messages under which answers are on record. Items are
built from these facts alone, so recorded answers are found without the texts. The texts are needed only to
ask a model; `make data` downloads the three files that hold them.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.ask.conversation import Conversation, Withheld, digest
from deepvalues.core import paths
from deepvalues.core.downloads import Store
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.items.items import AUTHORS, CONTRACT
from deepvalues.studies.dvb.items.prompts import exchanged, parse_with_end
from deepvalues.studies.dvb.items.released import SIDES, WORDINGS, FaultError, Names
from deepvalues.studies.dvb.stimuli.bank import Bank

#: The names of the files in ``data/sources.yml``.
FILES = ("authors-debugfull", "authors-debugsample", "authors-debug")
#: Values of these early prompts that are missing in the published benchmark, and the set they belong to.
EARLY_VALUES = {"gratitude": "ross_duty"}
#: By column of the facts, the words that begin the reply for the model, if any.
BEGUN = {"digest_free": "", "digest_option": "Option"}
ORDERS = ("as published", "exchanged")
_TEST = re.compile(r"^## Test (\d+)[ \t]*$", re.MULTILINE)
_PROMPT = re.compile(r"^### PROMPT[ \t]*$", re.MULTILINE)
_END = re.compile(r"^---[ \t]*$", re.MULTILINE)
_LINE = re.compile(r"^\*\*(?P<head>[^*\n]+?):\*\*[ \t]*(?P<text>.*?)[ \t]*$", re.MULTILINE)
_NAMED = ("v1", "v2", "dimension", "direction", "s1", "s2", "domain", "activity")
_DIGESTED = ("characters", "examples_end", "sha256", *BEGUN)
#: A row of facts is a prompt in one order of its options; a prompt that was left out has a reason instead.
COLUMNS = ("id", "file", "test", "n_examples", "order", "right", "value_set", *_NAMED, *_DIGESTED, "left_out")


class Block(NamedTuple):
    """A test in a file: its number, what the file says about it, and the prompt."""

    test: str
    said: Mapping[str, str]
    prompt: str


def blocks(text: str) -> Iterator[Block]:
    """The tests of a file, in order.

    Whitespace around a prompt belongs to the file and is stripped.
    """
    _, *parts = _TEST.split(text)
    for number, part in zip(parts[::2], parts[1::2], strict=True):
        head, *below = _PROMPT.split(part, maxsplit=1)
        prompt = _END.split(below[0], maxsplit=1)[0].strip() if below else ""
        yield Block(number, {line["head"]: line["text"] for line in _LINE.finditer(head)}, prompt)


def _known(block: Block, names: Names) -> dict[str, str]:
    """What the file says about a test, with ids of the bank where names match."""
    values, poles = (_sides(block, head) for head in ("Deep values", "Shallow preferences"))
    domain, _, activity = _said(block, "Context").partition(": ")
    domain = names.domain(domain)
    v1, v2 = (side if side in EARLY_VALUES else names.value(side) for side in values[:2])
    groups = {EARLY_VALUES.get(v) or names.bank.values[v].group for v in (v1, v2)}
    if v1 == v2 or len(groups) > 1:
        raise FaultError(f"{v1} and {v2} are not two values of one set")
    found = names.poles(*poles)
    return {
        "value_set": groups.pop(),
        "v1": v1,
        "v2": v2,
        **found._asdict(),
        "domain": domain,
        "activity": names.activity(domain, activity),
    }


def _said(block: Block, head: str) -> str:
    if head not in block.said:
        raise FaultError(f"has no line {head!r}")
    return block.said[head]


def _sides(block: Block, head: str) -> tuple[str, ...]:
    """The preferred and the other name, then both definitions."""
    try:
        said = ast.literal_eval(_said(block, head).strip("`"))
        return tuple(str(said[key]) for key in SIDES)
    except (ValueError, SyntaxError, TypeError, KeyError):
        raise FaultError(f"the line {head!r} does not name two sides with their definitions") from None


def _right(block: Block) -> str:
    """The letter of the option that follows the value."""
    expected = _said(block, "Expected choice (if generalizing deep value)")
    other = _said(block, "Alternative choice (if generalizing shallow preference)")
    if sorted([expected, other]) != ["Option A", "Option B"]:
        raise FaultError(f"the expected choices are {expected!r} and {other!r}, not options A and B")
    return expected[-1]


def _n_examples(block: Block) -> tuple[int, int]:
    """The number of examples, and the position in the prompt where they end."""
    task, end = parse_with_end(block.prompt)
    stated, found = _said(block, "Number of training examples"), len(task.examples)
    if stated != str(found):
        raise FaultError(f"{stated} examples are announced, and the prompt has {found}")
    return found, end


def _facts_of(source: str, file: str, block: Block, names: Names) -> list[dict[str, str]]:
    """The rows of a test: one per option order, or a single one that says why it was left out."""
    common = dict.fromkeys(COLUMNS, "") | {"file": file, "test": block.test}
    try:
        (n, end), right = _n_examples(block), _right(block)
        common |= {"n_examples": str(n), "examples_end": str(end), **_known(block, names)}
        prompts = (block.prompt, exchanged(block.prompt))
    except (FaultError, ValueError) as fault:
        return [common | {"left_out": str(fault)}]
    rows = []
    for order, prompt, letter in zip(ORDERS, prompts, (right, "BA"["AB".index(right)]), strict=True):
        id = f"{AUTHORS}.{source.partition('-')[2]}.t{int(block.test):02d}{'ab'[ORDERS.index(order)]}"
        rows.append({**common, "id": id, "order": order, "right": letter, **_digests(prompt)})
    return rows


def _digests(prompt: str) -> dict[str, str]:
    """The digest that identifies a prompt, and those under which its answers are on record."""
    asked = [{"role": "user", "content": prompt}]
    begun = {
        column: digest([*asked, {"role": "assistant", "content": words}] if words else asked).hex()
        for column, words in BEGUN.items()
    }
    sha256 = hashlib.sha256(prompt.encode()).hexdigest()
    return {"characters": str(len(prompt)), "sha256": sha256, **begun}


def read_files(store: Store, bank: Bank) -> pd.DataFrame:
    """The facts about every prompt in the three files.

    A prompt is left out if its examples, its test or the facts about it can't be read with certainty.

    Parameters
    ----------
    store
        The downloads with the files.
    bank
        Supplies ids of values, poles and domains where names match.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, all of them text: a row per prompt and option order, or one per left-out prompt with the
        reason in ``left_out``.

    Raises
    ------
    UserError
        When a file is missing, is not the expected one, or has no tests.
    """
    names, rows = Names(bank), []
    for source in FILES:
        path = store.verified(source)
        found = list(blocks(path.read_text(encoding="utf-8")))
        if not found:
            raise UserError(f"{paths.shown(path)}: no tests in it; each begins with a line '## Test 1'")
        for block in found:
            rows += _facts_of(source, path.name, block, names)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_facts(path: Path) -> pd.DataFrame:
    """Read the facts that git holds; see `read_files`.

    Raises
    ------
    UserError
        When the file is missing or not such a table.
    """
    try:
        facts = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{paths.shown(path)}: file not found; restore it from git") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{paths.shown(path)}: not a table: {error}; restore it from git") from None
    if list(facts) != list(COLUMNS):
        raise UserError(f"{paths.shown(path)}: its columns are not {', '.join(COLUMNS)}; restore it from git")
    return facts


def check(store: Store, facts_file: Path, bank: Bank) -> str:
    """Compare the facts with the files; if there are no facts yet, write them.

    Returns
    -------
    str
        The number of prompts, and which ones were left out and why.

    Raises
    ------
    UserError
        When facts and files differ, with the first test that differs; and as from `read_files`.
    """
    found = read_files(store, bank)
    if not facts_file.exists():
        found.to_csv(facts_file, index=False, lineterminator="\n")
    known = read_facts(facts_file)
    if not known.equals(found):
        same = [list(one) == list(other) for one, other in zip(known.values, found.values, strict=False)]
        first = same.index(False) if False in same else len(same) - 1
        where = f"{found['file'][first]}, test {found['test'][first]}"
        raise UserError(
            f"{paths.shown(facts_file)} does not say what the files say, first of {where}. Restore it from "
            "git; or delete it, and the next run writes it anew."
        )
    out, tests = known[known["left_out"] != ""], known[["file", "test"]].drop_duplicates()
    reasons = [f"  left out: {row.file}, test {row.test}: {row.left_out}" for row in out.itertuples()]
    kept = f"{AUTHORS}: {len(tests) - len(out)} of {len(tests)} prompts, each in both orders"
    return "\n".join([kept, *reasons])


@dataclass(frozen=True)
class PublicPrompts:
    """The public prompts: facts about them, and their texts if these are on this machine."""

    facts_file: Path
    store: Store

    @cached_property
    def facts(self) -> dict[str, dict[Hashable, Any]]:
        """The facts about the prompts in use, by id and column."""
        known = read_facts(self.facts_file).to_dict("records")
        return {fact["id"]: fact for fact in known if not fact["left_out"]}

    def items(self, most_examples: int | None = None) -> pd.DataFrame:
        """The prompts, or those with at most so many examples, as items; a test's two orders are adjacent.

        Columns that the files do not supply are filled as in `items.released.read_released`. Prompts are
        empty, so that nothing built from the items contains the authors' sentences.

        Returns
        -------
        pandas.DataFrame
            A frame that meets `items.items.CONTRACT`.
        """
        facts = pd.DataFrame(self.facts.values()).astype({"n_examples": "int64"})
        if most_examples is not None:
            facts = facts[facts["n_examples"] <= most_examples].reset_index(drop=True)
        facts["cell"] = facts["v1"] + "/" + facts["v2"] + "/" + facts["s1"] + "/" + facts["domain"]
        facts["swapped"] = facts["order"] == ORDERS[1]
        facts["test"] = facts.groupby(["cell", "n_examples", "swapped"]).cumcount()
        frame = facts.assign(
            arm="deconfounded",
            prefix_chars=facts["examples_end"].astype("int64"),
            hash=facts["sha256"].str[:16],
            **dict.fromkeys(("example_activities", "scene", "clause_order", "prompt"), ""),
            **dict.fromkeys(WORDINGS, facts["cell"]),
        )
        return CONTRACT.validate(frame[list(CONTRACT.columns)])

    @cached_property
    def texts(self) -> dict[str, str]:
        """The prompts by id, from those files that are on this machine.

        Raises
        ------
        UserError
            When a file is not the expected one, or a prompt does not match its facts.
        """
        found: dict[str, str] = {}
        for source in FILES:
            if self.store.path(source).exists():
                found.update(self._texts_of(self.store.verified(source)))
        return found

    def _texts_of(self, path: Path) -> Iterator[tuple[str, str]]:
        prompts = {block.test: block.prompt for block in blocks(path.read_text(encoding="utf-8"))}
        for id, fact in self.facts.items():
            if fact["file"] != path.name:
                continue
            prompt = prompts.get(fact["test"], "")
            text = prompt if fact["order"] == ORDERS[0] else exchanged(prompt)
            if hashlib.sha256(text.encode()).hexdigest() != fact["sha256"]:
                raise UserError(
                    f"{paths.shown(self.facts_file)}: {id} is not what {path.name} has; restore it from git"
                )
            yield id, text

    def conversation(self, id: str) -> Conversation:
        """The conversation for asking a prompt or, without its text here, for finding its answers.

        Raises
        ------
        UserError
            When there is no such prompt; and as from `texts`.
        """
        if id not in self.facts:
            raise UserError(f"{paths.shown(self.facts_file)} has no prompt {id}; run 01_load_data again")
        fact = self.facts[id]
        if id in self.texts:
            text = self.texts[id]
            return Conversation(id, (text,), prefix=text[: int(fact["examples_end"])])
        digests = {words: bytes.fromhex(fact[column]) for column, words in BEGUN.items()}
        folder = paths.shown(self.store.folder)
        advice = (
            f"{fact['file']}: the public prompts are not on this machine. Fetch them with: make data; or put "
            f"a copy of this file into {folder}/"
        )
        return Withheld(id, digests, int(fact["characters"]), advice)
