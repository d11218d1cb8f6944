"""Every prompt once: texts as sequences of fragments, and each sequence as what is new in it.

Prompts of a study are made of the same sentences in other orders, and begin alike over thousands of
characters. Two steps use that. Texts are cut into fragments, at places that say nothing about any study:
after a line's end and after " that ". And texts are sorted, so that each gives only the fragments that
follow what it shares with the text before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

_CUT = re.compile(r"(?<=\n)|(?<= that )")


def fragments_of(text: str) -> list[str]:
    """Cut a text; the fragments joined are the text."""
    return _CUT.split(text)


@dataclass(frozen=True, init=False)
class Texts:
    """Different texts, numbered in sorted order."""

    texts: tuple[str, ...]

    def __init__(self, texts: Iterable[str]) -> None:
        # A frozen dataclass sets its own fields in this way.
        object.__setattr__(self, "texts", tuple(sorted(set(texts))))

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each text."""
        return {text: number for number, text in enumerate(self.texts)}

    @cached_property
    def _cut(self) -> tuple[list[str], list[list[int]]]:
        known: dict[str, int] = {}
        sequences = [
            [known.setdefault(piece, len(known)) for piece in fragments_of(text)] for text in self.texts
        ]
        return list(known), sequences

    @property
    def fragments(self) -> list[str]:
        """The different fragments, in order of first use."""
        return self._cut[0]

    @property
    def sequences(self) -> list[list[int]]:
        """The numbers of each text's fragments."""
        return self._cut[1]


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
