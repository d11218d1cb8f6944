"""What the studies' sentences and numbers are handed to, so that no study knows the manuscript."""

from __future__ import annotations

from typing import Protocol


class Numbers(Protocol):
    """Keeps the numbers of the text under their keys: `deepvalues.paper.results.Results`."""

    def number(self, key: str, value: float, text: str) -> None:
        """Keep a number and how it is written."""

    def count(self, key: str, value: float) -> None:
        """Keep a whole number."""

    def share(self, key: str, value: float) -> None:
        """Keep a share, rate or correlation."""

    def decimals(self, key: str, value: float, digits: int = 2) -> None:
        """Keep a number with a zero before its point."""

    def interval(self, key: str, low: float, high: float, digits: int = 3, *, bounded: bool = True) -> None:
        """Keep an interval as the text shows it."""

    def text(self, key: str, text: str) -> None:
        """Keep a word or sentence."""

    def claim(self, key: str, holds: bool) -> None:
        """Keep whether a sentence's claim holds."""
