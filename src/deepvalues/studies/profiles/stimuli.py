"""The wording of study 3 in ``data/stimuli/``, and its items: one per mode and run, or per pair of themes.

The wording consists of themes, frames, questions, a codebook and a bank of sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pandera.pandas as pa

from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.shared import wording_of

#: Modes with a number per theme. The priority is 7 − rank in a ranking, the number itself in the others.
CLOSED_MODES = ("ranking", "rating", "allocation")
#: The mode whose profiles are counted from coded sentences.
OPEN = "open"
MODES = (*CLOSED_MODES, OPEN)
#: The code of a sentence about none of the themes.
NONE = "none"
#: Number of wordings of the frame.
WORDINGS = 5


class Theme(NamedTuple):
    """A theme: its key in tables, and its name and definition in prompts."""

    key: str
    name: str
    definition: str


@dataclass(frozen=True)
class Stimuli:
    """The questions put to people and models."""

    version: str
    seed: int
    themes: tuple[Theme, ...]
    frames: Mapping[str, str]
    questions: Mapping[str, str]
    replies: Mapping[str, str]
    reply_format: str
    repair: str
    open_questions: Mapping[str, str]
    open_format: str

    @property
    def keys(self) -> list[str]:
        """Keys of the themes in their fixed order."""
        return [theme.key for theme in self.themes]

    def repair_turn(self, mode: str) -> str:
        """The turn that follows an unreadable reply in a mode."""
        return self.repair.format(reply=self.replies[mode])

    def mode_of(self, question: str) -> str | None:
        """The mode of a first turn or repair turn; None for any other text."""
        for mode in CLOSED_MODES:
            if self.questions[mode] in question or question == self.repair_turn(mode):
                return mode
        opened = (f"{text} {self.open_format}" for text in self.open_questions.values())
        return OPEN if question in opened else None


@dataclass(frozen=True)
class Codebook:
    """Instructions for coding sentences, the same for coder models and people."""

    version: str
    text: str
    repair: str
    names: Mapping[str, str]

    @property
    def codes(self) -> list[str]:
        """Keys of the themes, and ``none``."""
        return list(self.names)


@dataclass(frozen=True)
class SentenceBank:
    """Sentences by their known code, from which reference agents compose open answers."""

    sentences: Mapping[str, tuple[str, ...]]
    refusal: str


def letters(text: str) -> str:
    """Reduce a name to its letters without "and", so that its spellings and its key match."""
    return re.sub(r"\band\b|[^a-z]", "", text.casefold().replace("_", " "))


def load_stimuli(path: Path) -> Stimuli:
    """Read ``profiles.yml``.

    Raises
    ------
    UserError
        When an entry is missing or invalid, or there are not six themes, five wordings and three modes.
    """
    with wording_of(path) as content:
        themes = tuple(Theme(key, **entry) for key, entry in content["themes"].items())
        stimuli = Stimuli(
            version=content["version"],
            seed=int(content["seed"]),
            themes=themes,
            frames={entry["id"]: entry["text"] for entry in content["frames"]},
            questions={mode: entry["question"] for mode, entry in content["modes"].items()},
            replies={mode: entry["reply"] for mode, entry in content["modes"].items()},
            reply_format=content["format"],
            repair=content["repair"],
            open_questions={entry["id"]: entry["text"] for entry in content["open"]},
            open_format=content["open_format"],
        )
    counts = (len(themes), len(stimuli.frames), len(stimuli.open_questions), tuple(stimuli.questions))
    if counts != (THEMES, WORDINGS, WORDINGS, CLOSED_MODES):
        raise UserError(
            f"{shown(path)}: there must be {THEMES} themes, {WORDINGS} frames, {WORDINGS} open questions and "
            f"the modes {', '.join(CLOSED_MODES)}; there are {counts}"
        )
    return stimuli


def load_codebook(path: Path, themes: tuple[Theme, ...]) -> Codebook:
    """Read ``profiles_codebook.yml``.

    Raises
    ------
    UserError
        When an entry is missing or invalid, or the file's themes differ from these.
    """
    with wording_of(path) as content:
        if list(content["themes"]) != [theme.key for theme in themes]:
            raise UserError(f"{shown(path)}: the themes must be those of the instrument, in the same order")
        names = {theme.key: theme.name for theme in themes} | {NONE: "None"}
        lines = [content["task"], "", *(f"- {rule}" for rule in content["rules"]), ""]
        for theme in themes:
            entry = content["themes"][theme.key]
            lines.append(f"{theme.name}: {entry['about']}. Not: {entry['not']}.")
        lines.append(f"None: {content['none']}.")
        listed = ", ".join(f'"{name}"' for name in names.values())
        text = "\n".join([*lines, "", content["format"].format(names=listed)])
        return Codebook(content["version"], text, content["repair"].format(names=listed), names)


def load_bank(path: Path, themes: tuple[Theme, ...]) -> SentenceBank:
    """Read ``profiles_sentences.yml``.

    Raises
    ------
    UserError
        When a theme has no sentences, or a sentence has two codes.
    """
    with wording_of(path) as content:
        codes = [*(theme.key for theme in themes), NONE]
        bank = SentenceBank({code: tuple(content[code]) for code in codes}, content["refusal"])
    listed = [sentence for sentences in bank.sentences.values() for sentence in sentences]
    twice = {sentence for sentence in listed if listed.count(sentence) > 1}
    if twice or not all(bank.sentences.values()):
        raise UserError(
            f"{shown(path)}: each code needs its own sentences; repeated: {sorted(twice)[:1] or 'none'}"
        )
    return bank


# ---- items ----

#: Runs per mode, each a separate conversation; a set includes those of the smaller sets.
ITEM_SETS = {"smoke": 5, "standard": 30, "full": 150}
#: A row of a Latin square in which every theme also follows every other exactly once (Williams 1949).
_WILLIAMS = (0, 5, 1, 4, 2, 3)

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "mode": pa.Column(str, pa.Check.isin(MODES)),
        "wording": pa.Column(str),
        "run": pa.Column("int64", pa.Check.ge(0)),
        "repeat": pa.Column("int64", pa.Check.ge(0)),
        "order": pa.Column(str),
        "prompt": pa.Column(str),
    },
    checks=pa.Check(
        lambda frame: ~frame.duplicated(["prompt", "repeat"]), error="two runs would share their answer"
    ),
    strict=True,
    ordered=True,
    name="items",
)


def orders(keys: Sequence[str], runs: int, *seed: object) -> list[tuple[str, ...]]:
    """A different order of the themes for each run, balanced in every six runs.

    Six runs form a Latin square: each theme appears once at each position and once after each other theme.
    Squares start from a seeded shuffle; one that would repeat an order is redrawn. More runs extend fewer;
    six themes have 720 orders.
    """
    found: list[tuple[str, ...]] = []
    attempt = 0
    while len(found) < runs:
        first = stable_random.shuffled(keys, *seed, attempt)
        square = [
            tuple(first[(place + shift) % THEMES] for place in _WILLIAMS)
            for shift in stable_random.shuffled(range(THEMES), *seed, attempt, "rows")
        ]
        if not set(square) & set(found):
            found += square
        attempt += 1
    return found[:runs]


def _closed_rows(stimuli: Stimuli, mode: str, runs: int) -> Iterator[tuple[object, ...]]:
    """Rows whose prompt is a frame, the ordered themes, the question of the mode, and the reply format."""
    lines = {theme.key: f"- {theme.name}: {theme.definition}" for theme in stimuli.themes}
    how = stimuli.reply_format.format(reply=stimuli.replies[mode])
    for run, order in enumerate(orders(stimuli.keys, runs, stimuli.seed, mode)):
        wording = list(stimuli.frames)[run % WORDINGS]
        listed = "\n".join(lines[key] for key in order)
        prompt = f"{stimuli.frames[wording]}\n\n{listed}\n\n{stimuli.questions[mode]}\n\n{how}"
        yield f"{mode}-{run:03d}", mode, wording, run, 0, " ".join(order), prompt


def _open_rows(stimuli: Stimuli, runs: int) -> Iterator[tuple[object, ...]]:
    wordings = list(stimuli.open_questions)
    for run in range(runs):
        wording = wordings[run % WORDINGS]
        prompt = f"{stimuli.open_questions[wording]} {stimuli.open_format}"
        # The same prompt is asked several times; the repeat number keeps its answers apart.
        yield f"{OPEN}-{run:03d}", OPEN, wording, run, run // WORDINGS, "", prompt


def build_items(stimuli: Stimuli, runs: int, modes: Sequence[str] = CLOSED_MODES) -> pd.DataFrame:
    """The items of some modes, sorted by mode and run.

    Parameters
    ----------
    runs
        Conversations per mode. Wordings alternate, so a multiple of 30 balances them against the orders.

    Returns
    -------
    pandas.DataFrame
        id, mode, wording, run, repeat (number of earlier runs with the same prompt), order (keys of the
        themes as listed, empty in the open mode), prompt.
    """
    rows = [
        row
        for mode in modes
        for row in (_open_rows(stimuli, runs) if mode == OPEN else _closed_rows(stimuli, mode, runs))
    ]
    return CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))


# ---- pairs ----

LETTERS = ("A", "B")
#: The start of a reply that the model continues; the option lines begin with it.
BEGIN = "Option"
#: Number of the five frames in each set.
PAIR_SETS = {"smoke": 1, "standard": WORDINGS}

PAIR_CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "wording": pa.Column(str),
        # The themes in their fixed order, and whether the first of them is option B.
        "first": pa.Column(str),
        "second": pa.Column(str),
        "swapped": pa.Column(bool),
        "prefix_chars": pa.Column("int64", pa.Check.gt(0)),
        "prompt": pa.Column(str, unique=True),
    },
    strict=True,
    ordered=True,
    name="profiles-pairs items",
)


@dataclass(frozen=True)
class PairWording:
    """The texts of ``data/stimuli/profiles_pairs.yml``, and the themes."""

    themes: tuple[Theme, ...]
    frames: Mapping[str, str]
    option: str
    question: str
    ending: str
    bare_ending: str

    def opening(self, frame: str) -> str:
        """The text before the options."""
        return f"{self.frames[frame]}\n\n"

    def prompt(self, frame: str, shown: Sequence[Theme]) -> str:
        """A complete prompt with two themes, in the order shown."""
        options = map(self._line, LETTERS, shown)
        return self.opening(frame) + "\n".join([*options, "", f"{self.question} {self.ending}"])

    def _line(self, letter: str, theme: Theme) -> str:
        return self.option.format(letter=letter, name=theme.name, definition=theme.definition)

    def themes_of(self, prompt: str) -> tuple[str, ...]:
        """Keys of the themes in a prompt, in the order shown; empty if it is not a prompt of two themes."""
        lines = {self._line(letter, theme): theme.key for theme in self.themes for letter in LETTERS}
        found = tuple(lines[line] for line in prompt.splitlines() if line in lines)
        return found if len(found) == len(LETTERS) else ()


def load_pairs(path: Path, themes: tuple[Theme, ...]) -> PairWording:
    """Read the wording.

    Raises
    ------
    UserError
        When a text is missing or has unknown slots, or there are not five frames.
    """
    with wording_of(path) as content:
        frames = {str(entry["id"]): str(entry["text"]) for entry in content["frames"]}
        texts = (str(content[name]) for name in ("option", "question", "ending", "bare_ending"))
        wording = PairWording(themes, frames, *texts)
        if len(frames) != WORDINGS:
            raise ValueError(f"there are {len(frames)} frames, not {WORDINGS}")
        wording.prompt(next(iter(frames)), themes[:2])
    return wording


def build_pairs(wording: PairWording, item_set: str) -> pd.DataFrame:
    """Build the items of a set: frames × 15 pairs × 2 orders.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `PAIR_CONTRACT`: 150 rows in ``standard``, the 30 of one frame in ``smoke``.
    """
    rows = [
        (
            f"{frame}.{first.key}.{second.key}.{'b' if swapped else 'a'}",
            frame,
            first.key,
            second.key,
            swapped,
            len(wording.opening(frame)),
            wording.prompt(frame, (second, first) if swapped else (first, second)),
        )
        for frame in list(wording.frames)[: PAIR_SETS[item_set]]
        for first, second in combinations(wording.themes, 2)
        for swapped in (False, True)
    ]
    return PAIR_CONTRACT.validate(pd.DataFrame(rows, columns=list(PAIR_CONTRACT.columns)))
