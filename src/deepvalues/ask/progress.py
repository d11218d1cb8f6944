"""One progress bar per model: done, answered share, requests per second, cost, time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from deepvalues.ask.money import NO_USAGE, Usage
from deepvalues.ask.record import Answer
from deepvalues.ask.registry import Price


class Progress:
    """Counts finished conversations and shows them, unless nobody is looking.

    A bar is shown on a terminal and in a notebook; into a file or pipe nothing is written, and nothing
    where TQDM_DISABLE is set.
    """

    def __init__(
        self, name: str, number: int, is_answer: Callable[[Answer], bool], price: Price | None
    ) -> None:
        self._is_answer, self._price = is_answer, price
        self._answered = self._done = 0
        self._usage = NO_USAGE
        shown = sys.stderr.isatty() or "ipykernel" in sys.modules
        hidden: dict[str, Any] = {} if shown else {"disable": True}
        self._bar: tqdm[Any] = tqdm(total=number, desc=name, unit="item", **hidden)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def report(self, answers: Sequence[Answer] | None) -> None:
        """Count a conversation that is through, or None for one that failed."""
        if self._bar.disable:
            return
        self._done += 1
        for answer in answers or ():
            used = Usage(float(answer.prompt_tokens or 0), 0.0, float(answer.completion_tokens or 0))
            self._usage = Usage(*(a + b for a, b in zip(self._usage, used, strict=True)))
        self._answered += bool(answers) and self._is_answer((answers or ())[-1])
        cost = f", up to ${self._usage.cost(self._price):.2f}" if self._price else ""
        self._bar.set_postfix_str(f"{self._answered / self._done:.0%} answered{cost}", refresh=False)
        self._bar.update()
