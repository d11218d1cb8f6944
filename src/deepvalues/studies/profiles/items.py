"""Items: the questions of a set, one per mode and run or per pair of themes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.profiles.stimuli import CLOSED_MODES, MODES, OPEN, WORDINGS, Stimuli, Theme
from deepvalues.studies.shared import wording_of

#: Runs per mode: every run is a conversation of its own. A set holds those of the smaller ones.
ITEM_SETS = {"smoke": 5, "standard": 30, "full": 150}
#: A row of a Latin square in which every theme also stands once after every other (Williams 1949).
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
    """An order of the themes for each run, no two alike, balanced in every six runs.

    Six runs are a Latin square: each theme stands once at each place, and once after each other theme.
    Squares begin with a seeded shuffle; one that would repeat an order is drawn again. More runs keep the
    first ones.

    Raises
    ------
    UserError
        When there are fewer orders than runs: six themes have 720, in 120 squares.
    """
    if runs > 600:
        raise UserError(f"{runs} runs of a mode: there are not enough orders of six themes; 600 is the most")
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
    """A frame, the themes in an order, the question of the mode, and how to reply."""
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
        # The same words are asked several times; the number of the repeat keeps their answers apart.
        yield f"{OPEN}-{run:03d}", OPEN, wording, run, run // WORDINGS, "", prompt


def build_items(stimuli: Stimuli, runs: int, modes: Sequence[str] = CLOSED_MODES) -> pd.DataFrame:
    """The items of some modes, in sorted order of mode and run.

    Parameters
    ----------
    runs
        Conversations per mode; wordings take turns, so that a multiple of 30 balances them with the orders.

    Returns
    -------
    pandas.DataFrame
        id, mode, wording, run, repeat (number of the same words before), order (keys of the themes as listed,
        empty in the open mode), prompt.
    """
    rows = [
        row
        for mode in modes
        for row in (_open_rows(stimuli, runs) if mode == OPEN else _closed_rows(stimuli, mode, runs))
    ]
    frame = pd.DataFrame(rows, columns=list(CONTRACT.columns))
    return CONTRACT.validate(frame)


# ---- pairs ----

LETTERS = ("A", "B")
#: What is put into a model's mouth; the lines of the options begin with it.
BEGIN = "Option"
#: How many of the five frames each set has.
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
        """What stands before the options."""
        return f"{self.frames[frame]}\n\n"

    def prompt(self, frame: str, shown: Sequence[Theme]) -> str:
        """A whole prompt, with two themes in the order in which they are shown."""
        options = [
            self.option.format(letter=letter, name=theme.name, definition=theme.definition)
            for letter, theme in zip(LETTERS, shown, strict=True)
        ]
        return self.opening(frame) + "\n".join([*options, "", f"{self.question} {self.ending}"])

    def themes_of(self, prompt: str) -> tuple[str, ...]:
        """Keys of the themes that a prompt shows, in the order shown; empty where it is no such prompt."""
        lines = {
            self.option.format(letter=letter, name=theme.name, definition=theme.definition): theme.key
            for theme in self.themes
            for letter in LETTERS
        }
        found = tuple(lines[line] for line in prompt.splitlines() if line in lines)
        return found if len(found) == len(LETTERS) else ()


def load_pairs(path: Path, themes: tuple[Theme, ...]) -> PairWording:
    """Read the wording.

    Raises
    ------
    UserError
        When the file lacks a text, has not five frames, or a text has other slots.
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
        A frame that meets `PAIR_CONTRACT`: 150 rows in ``standard``; ``smoke`` has the 30 of one frame.
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
