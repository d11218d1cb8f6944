"""Seeded draws that never change.

Prompts are the keys under which paid answers are stored, so the draws that make them must give the
same result under every release of every library. numpy and `random` promise that only within a
release; a hash promises it for good. (Statistics draw with numpy: there, speed matters more.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def integer(*key: object) -> int:
    """A 64-bit integer that depends on the key alone."""
    return int.from_bytes(_hash("\x1f".join(map(str, key))), "big")


def uniform(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return (integer(*key) >> 11) / (1 << 53)


def shuffled(items: Sequence[T], *key: object) -> list[T]:
    """The items in an order that depends on the key alone."""
    # The order of `integer(*key, place)`, for which the key is written out once.
    head = "".join(f"{part}\x1f" for part in key)
    order = sorted(range(len(items)), key=lambda place: _hash(f"{head}{place}"))
    return [items[place] for place in order]


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
