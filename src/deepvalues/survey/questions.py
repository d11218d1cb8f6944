"""The contents of a survey: questions of five types, in blocks that are shown together."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

#: One of several options; a number on a scale; an order of all options; points divided among them; text.
TYPES = ("choice", "rating", "ranking", "allocation", "text")
#: Types whose answer has one part per option.
IN_PARTS = ("ranking", "allocation")
#: The correct side of the scale's middle, for a rating.
SIDES = ("below", "above")
_ID = re.compile(r"[a-z0-9][a-z0-9_.-]*")


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
    measure, stratum, subject
        The groups of the statistics: the quantity measured, the kind of stimulus (training or test, deep or
        shallow pairs), and the stimulus itself (for a ranking or allocation, its parts).
    correct
        The code of the correct option; for a rating, one of `SIDES`; empty if no answer is correct.
    total
        The points of an allocation.

    Raises
    ------
    ValueError
        When the fields do not fit the type.
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

    def __post_init__(self) -> None:
        codes = [option.code for option in self.options]
        correctable = {"choice": codes, "rating": SIDES}
        rules = {
            f"the type must be one of {', '.join(TYPES)}": self.type in TYPES,
            "an id must consist of lower-case letters, digits, and _ . -": bool(_ID.fullmatch(self.id)),
            "option codes must be ids, each used once": len(set(codes)) == len(codes)
            and all(_ID.fullmatch(code) for code in codes),
            "choices, rankings and allocations, and no others, need two or more options": (len(codes) > 1)
            == (self.type in ("choice", *IN_PARTS)),
            "ratings, and no others, need a scale": (self.scale is not None) == (self.type == "rating"),
            "the correct answer must be a possible one": self.correct
            in ("", *correctable.get(self.type, ())),
        }
        broken = [rule for rule, kept in rules.items() if not kept]
        if broken:
            raise ValueError(f"question {self.id!r}: {'; '.join(broken)}")

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

    Raises
    ------
    ValueError
        When two blocks or questions share an id, or a check has no correct answer.
    """

    name: str
    title: str
    version: str
    purpose: str
    instructions: tuple[str, ...]
    consent: str
    checks: tuple[Question, ...]
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        ids = Counter([block.id for block in self.blocks]) | Counter(q.id for q in self.questions)
        twice = [id for id, count in ids.items() if count > 1]
        if twice:
            raise ValueError(f"survey {self.name!r} has these ids more than once: {', '.join(twice)}")
        if any(not check.correct for check in self.checks):
            raise ValueError(f"survey {self.name!r}: a comprehension check needs a correct answer")

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
