"""Seeded random draws that never change.

Paid answers are stored under keys that depend on the prompts, so the draws that make prompts must be the same
with every release of every library. numpy and `random` guarantee that only within a release; a hash
guarantees it for ever. (Statistics draw with numpy, where speed matters more.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def integer(*key: object) -> int:
    """A 64-bit integer that depends only on the key."""
    return int.from_bytes(_hash("\x1f".join(map(str, key))), "big")


def uniform(*key: object) -> float:
    """A number in [0, 1) that depends only on the key."""
    return (integer(*key) >> 11) / (1 << 53)


def shuffled(items: Sequence[T], *key: object) -> list[T]:
    """The items in an order that depends only on the key."""
    # Equivalent to sorting by `integer(*key, place)`, but the key is formatted only once.
    head = "".join(f"{part}\x1f" for part in key)
    order = sorted(range(len(items)), key=lambda place: _hash(f"{head}{place}"))
    return [items[place] for place in order]


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
