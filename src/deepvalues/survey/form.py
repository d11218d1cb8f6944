"""Questions, the form that asks them (one HTML file, works from disk, sends no data), and its codebook.

Python writes the questions, so they can be checked without a browser. The page's script orders them for the
respondent, stores the answers on the respondent's machine, and saves them as CSV. The page does not contain
the correct answers. A respondent's code is short and random, and its last character detects copying errors.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import pandas as pd

from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.core.files import write_text

#: Types of questions whose answer has one part per option.
IN_PARTS = ("ranking", "allocation")


@dataclass(frozen=True)
class Option:
    """Something to choose, rank or give points to, with an optional explanation."""

    code: str
    text: str
    detail: str = ""


@dataclass(frozen=True)
class Scale:
    """Whole numbers from low to high, with labels for both ends."""

    low: int
    high: int
    low_text: str
    high_text: str

    @property
    def middle(self) -> float:
        """The midpoint."""
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class Question:
    """A question.

    Parameters
    ----------
    id
        Lower-case letters, digits, and ``_ . -``.
    type
        ``choice`` (one of several options), ``rating`` (a number on a scale), ``ranking`` (an order of all
        options), ``allocation`` (points divided among them) or ``text``.
    measure, stratum, subject
        The groups of the statistics: the quantity measured, the kind of stimulus (training or test, deep or
        shallow pairs), and the stimulus itself (for a ranking or allocation, its parts).
    correct
        The code of the correct option; for a rating, the correct side of the scale's middle,
        ``below`` or ``above``; empty if no answer is correct.
    total
        The points of an allocation.
    """

    id: str
    type: str
    text: str
    options: tuple[Option, ...] = ()
    scale: Scale | None = None
    correct: str = ""
    measure: str = ""
    stratum: str = ""
    subject: str = ""
    total: int = 100

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of an answer; a single part has an empty name."""
        return tuple(option.code for option in self.options) if self.type in IN_PARTS else ("",)


@dataclass(frozen=True)
class Block:
    """Questions shown together under a passage.

    ``shuffled``: questions, and the options of rankings and allocations, are in random order.
    ``fixed``: the block precedes all others, whose order is random.
    """

    id: str
    passage: tuple[str, ...]
    questions: tuple[Question, ...]
    shuffled: bool = False
    fixed: bool = False


@dataclass(frozen=True)
class Survey:
    """A survey: its checks in fixed order, then its blocks in a random order for each respondent.

    ``version`` identifies the source of the questions: a bank and a seed.
    """

    name: str
    title: str
    version: str
    purpose: str
    instructions: tuple[str, ...]
    consent: str
    checks: tuple[Question, ...]
    blocks: tuple[Block, ...]

    @property
    def questions(self) -> Iterator[Question]:
        """Checks, then the questions of all blocks."""
        yield from self.checks
        for block in self.blocks:
            yield from block.questions

    @property
    def checksum(self) -> str:
        """Twelve hexadecimal digits that depend on every word of the survey."""
        text = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


# ---- codes of respondents ----

#: Without most ambiguous characters (0, O, 1, I, L, B, S, Z), and without vowels, because spreadsheets read
#: 23E45 as a number and MAR22 as a date. 23 is prime, so the check character detects every single wrong
#: character and every swap of adjacent ones.
ALPHABET = "23456789CDFGHJKMNPRTWXY"
LENGTH = 5
#: Largest number of codes; there are 23⁴, so distinct ones are still easy to draw.
MOST = 100_000


def check_character(body: str) -> str:
    """The last character of a code: the sum of the others' indices, weighted 2, 3, 4 …, modulo 23."""
    return ALPHABET[sum((place + 2) * ALPHABET.index(c) for place, c in enumerate(body)) % len(ALPHABET)]


def is_code(text: str) -> bool:
    """Whether a text is a valid code."""
    known = len(text) == LENGTH and set(text) <= set(ALPHABET)
    return known and check_character(text[:-1]) == text[-1]


def codes(survey: str, seed: int, respondents: int) -> list[str]:
    """Draw distinct codes for a survey's respondents; a larger number keeps the codes of a smaller one."""
    drawn: dict[str, None] = {}
    for number in range(2 * respondents + 10):
        at = stable_random.integer(seed, survey, "respondent", number)
        body = ""
        for _ in range(LENGTH - 1):
            at, place = divmod(at, len(ALPHABET))
            body += ALPHABET[place]
        drawn[body + check_character(body)] = None
    return list(drawn)[:respondents]


# ---- the page ----

#: Columns of the CSV saved by a form, with a row per part of each question in the order shown.
COLUMNS = ("survey", "form", "respondent", "position", "question", "part", "answer")

_FOLDER = Path(__file__).parent
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=True,
)


def _source(text: str) -> str:
    """A policy source that allows exactly this script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def form(survey: Survey) -> str:
    """Render a survey as one HTML page, byte for byte reproducible.

    The page's content security policy forbids all connections, and all scripts but its own.
    """
    script, style = ((_FOLDER / f"form.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)};"
        " base-uri 'none'; form-action 'none'"
    )
    # For the script; correct answers must not be included.
    settings = {
        "name": survey.name,
        "form": survey.checksum,
        "columns": COLUMNS,
        "alphabet": ALPHABET,
        "codeLength": LENGTH,
    }
    data = json.dumps(settings).replace("<", "\\u003c")
    page = _TEMPLATES.get_template("form.html")
    return page.render(survey=survey, policy=policy, style=style, script=script, data=data, length=LENGTH)


# ---- the codebook, and files ----

#: Columns of the codebook, with a row per question of a survey.
CODEBOOK = (
    *("id", "block", "check", "type", "measure", "stratum", "subject", "passage", "text", "options"),
    *("correct", "scoring", "form"),
)


def scoring(question: Question) -> str:
    """How an answer becomes a number, in words."""
    if question.type == "rating":
        assert question.scale is not None
        plain = f"the number, {question.scale.low} to {question.scale.high}"
        middle = f"{question.scale.middle:g} is neither right nor wrong"
        return f"{plain}; {question.correct} the middle is right, {middle}" if question.correct else plain
    return {
        "choice": "1 for the correct option, 0 for any other" if question.correct else "none",
        "ranking": f"the rank of each option, 1 (first) to {len(question.options)}, each rank once",
        "allocation": f"the points of each option, whole numbers that add up to {question.total}",
        "text": "none; coded afterwards",
    }[question.type]


def _answers(question: Question) -> str:
    if question.scale:
        scale = question.scale
        return f"{scale.low} = {scale.low_text} | {scale.high} = {scale.high_text}"
    return " | ".join(
        f"{option.code} = {option.text}" + (f" ({option.detail})" if option.detail else "")
        for option in question.options
    )


def codebook(survey: Survey) -> pd.DataFrame:
    """Describe every question of a survey.

    Returns
    -------
    pandas.DataFrame
        A row per question, checks first: id, block, check (whether it is a comprehension check), type,
        measure, stratum, subject, passage (text shown above it), text, options (code = text), correct (an
        option's code, or below or above for a scale), scoring (in words), form (the survey's checksum).
    """
    placed = [("", "", question) for question in survey.checks]
    placed += [(block.id, " / ".join(block.passage), q) for block in survey.blocks for q in block.questions]
    rows = [
        {
            **vars(question),
            "block": block,
            "check": not block,
            "passage": passage,
            "options": _answers(question),
            "scoring": scoring(question),
            "form": survey.checksum,
        }
        for block, passage, question in placed
    ]
    return pd.DataFrame(rows, columns=list(CODEBOOK))


#: What to do if a file can't be written.
_REMEDY = "; name another folder"


def _write_table(frame: pd.DataFrame, path: Path) -> Path:
    return write_text(path, frame.to_csv(index=False, lineterminator="\n", float_format="%.10g"), _REMEDY)


def write_survey(survey: Survey, folder: Path, seed: int, respondents: int) -> list[Path]:
    """Write ``NAME.html``, ``NAME_codebook.csv`` and ``NAME_codes.csv`` (a code for each respondent).

    Raises
    ------
    UserError
        When the number of respondents is out of bounds, or the folder is not writable.
    """
    if not 1 <= respondents <= MOST:
        raise UserError(f"--respondents is {respondents}; there can be 1 to {MOST:,}")
    drawn = pd.DataFrame({"respondent": codes(survey.name, seed, respondents)})
    return [
        write_text(folder / f"{survey.name}.html", form(survey), _REMEDY),
        _write_table(codebook(survey), folder / f"{survey.name}_codebook.csv"),
        _write_table(drawn, folder / f"{survey.name}_codes.csv"),
    ]


def write_tables(survey: Survey, tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write each table as ``NAME_TABLE.csv``.

    Raises
    ------
    UserError
        When the folder is not writable.
    """
    return [_write_table(table, folder / f"{survey.name}_{name}.csv") for name, table in tables.items()]
