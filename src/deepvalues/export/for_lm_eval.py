"""Functions that lm-evaluation-harness calls: load items, score replies, and rates with clustered errors.

Every export contains this file and copies of the two modules of this package that it imports; the copies
need nothing else.
"""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from deepvalues.ask.reading import Received, read_choice
from deepvalues.ask.spelling import IMPOSSIBLE

LETTERS = ("A", "B")
#: Score (1 for the target option, 0 for the other, None without an answer) and cell.
Trial = tuple[float | None, str]
#: How to install a supported version; a test compares it with ``pyproject.toml``.
INSTALL = 'pip install "lm_eval[api]>=0.4.13,<0.5"'


def supported(found: str, least: tuple[int, ...], below: tuple[int, ...]) -> bool:
    """Whether a version lies in a range, by its first three numbers."""
    return least <= tuple(map(int, re.findall(r"\d+", found)[:3])) < below


def stop_unless_supported() -> None:
    """Exit with one line if the installed harness has an unsupported version.

    Raises
    ------
    SystemExit
        With the message: the harness would show any other exception as a traceback.
    importlib.metadata.PackageNotFoundError
        When it is not installed.
    """
    found = version("lm_eval")
    if not supported(found, (0, 4, 13), (0, 5)):
        raise SystemExit(f"lm_eval {found} is installed; these tasks need >=0.4.13,<0.5: run `{INSTALL}`")


# As early as possible: another version may fail before it calls a function.
if "lm_eval" in sys.modules:
    stop_unless_supported()


def load(study: str, item_set: str, arm: str, **_: Any) -> Any:
    """The items of an arm as a data set with the split ``test``."""
    import datasets
    import pyarrow.parquet as pq

    path = Path(__file__).parents[1] / "data" / study / f"{item_set}.parquet"
    return {"test": datasets.Dataset(pq.read_table(path, filters=[("arm", "=", arm)]))}


def free(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Score a free-text reply."""
    question = doc["prompt"][doc["prefix_chars"] :]
    return _scored(doc, read_choice(Received(results[0], question=question), LETTERS).choice)


def letters(doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Score the log probabilities of the letters."""
    logprobs = [logprob for logprob, _ in results]
    best = [letter for letter, each in zip(LETTERS, logprobs, strict=True) if each == max(logprobs)]
    if max(logprobs) == IMPOSSIBLE and len(best) > 1:
        return _scored(doc, None)
    return _scored(doc, best[0] if len(best) == 1 else doc["if_tied"])


def _scored(doc: Mapping[str, Any], choice: str | None) -> dict[str, Any]:
    trial = None if choice is None else float(choice == doc["right"]), doc["cell"]
    name = "dvgr" if doc["arm"] == "deconfounded" else "right"
    return {name: trial, f"{name}_error_by_cell": trial, "answered": float(choice is not None)}


def _answered(trials: Sequence[Trial]) -> list[tuple[float, str]]:
    return [(followed, cell) for followed, cell in trials if followed is not None]


def rate(trials: Sequence[Trial]) -> float:
    """The share of answers that chose the target option; NaN without answers."""
    followed = [each for each, _ in _answered(trials)]
    return sum(followed) / len(followed) if followed else math.nan


def error_by_cell(trials: Sequence[Trial]) -> float:
    """The standard error of `rate`, clustered by cell: √(G/(G − 1) Σ_g (Σ_i (y_i − ȳ))²) / n.

    NaN with fewer than two cells. A test compares it with ``deepvalues.stats.clusters.mean``.
    """
    mean = rate(trials)
    sums: defaultdict[str, float] = defaultdict(float)
    answered = _answered(trials)
    for followed, cell in answered:
        sums[cell] += followed - mean
    groups = len(sums)
    if groups < 2:
        return math.nan
    return math.sqrt(groups / (groups - 1) * math.fsum(each**2 for each in sums.values())) / len(answered)
