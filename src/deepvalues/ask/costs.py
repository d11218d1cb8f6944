"""What a set costs each model: worked out once, and kept until something that it rests on is changed.

Building items and reading records takes seconds, and libraries that take seconds to load.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from deepvalues.ask.registry import Registry
from deepvalues.core import paths

FILE = paths.ROOT / "build" / "costs.json"


class Costs(NamedTuple):
    """A set, whether its study is asked by letters where it can be, and US dollars by model.

    Dollars are those of what a model's record lacks, without a cache; models without a price have none.
    """

    study: str
    item_set: str
    by_letters: bool
    dollars: dict[str, float]


def costs(registry: Registry, study: str | None, item_set: str | None, file: Path | None = None) -> Costs:
    """The costs of a set; by default of Study 1, and of the first set of a study that the paper reads.

    Parameters
    ----------
    file
        Where they are kept, by default `FILE`.

    Raises
    ------
    UserError
        When study or set are unknown, or a record is damaged.
    """
    file = file or FILE
    state, place = _state(registry), f"{study}/{item_set}"
    known = _known(file, state)
    if place not in known:
        known[place] = _worked_out(registry, study, item_set)
        # Where nothing can be written it is worked out again the next time.
        with contextlib.suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps({"state": state, "sets": known}))
    return known[place]


@dataclass
class _Kept:
    """What the file holds."""

    state: str
    sets: dict[str, Costs]


def _known(file: Path, state: str) -> dict[str, Costs]:
    # Whatever else the file holds, it is written anew.
    with contextlib.suppress(OSError, ValueError):
        kept = TypeAdapter(_Kept).validate_json(file.read_bytes())
        if kept.state == state:
            return kept.sets
    return {}


def _state(registry: Registry) -> str:
    """Changes with the models, and with any file that items, conversations and answers come from."""
    digest = hashlib.sha256(repr([*registry.paper, *registry.models.items()]).encode())
    for path in sorted(_sources()):
        about = path.stat()
        digest.update(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    yield from Path(__file__).parents[1].rglob("*.py")
    for folder in (paths.STIMULI, paths.PUBLISHED, paths.DOWNLOADS, paths.RESPONSES):
        yield from folder.rglob("*.*")


def _worked_out(registry: Registry, study: str | None, item_set: str | None) -> Costs:
    from deepvalues.ask import catalogue, run_query

    found = catalogue.study(study or "dvb")
    item_set = item_set or (*registry.sets(found.name), "standard")[0]
    priced = [model for model in registry.models.values() if model.price]
    plans = run_query.plans(found.name, priced, found.items(item_set))
    dollars = {plan.model: plan.usage.uncached().cost(plan.price) for plan in plans if plan.price}
    return Costs(found.name, item_set, found.letter_choice is not None, dollars)
