"""What a set costs with each model, cached until something it depends on changes.

Building items, reading records and loading the libraries for it take seconds.
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
    """A set, whether its study can be asked by letters, and US dollars by model.

    Dollars are for the answers that a model's record lacks, without prompt caching; only for models with a
    price.
    """

    study: str
    item_set: str
    by_letters: bool
    dollars: dict[str, float]


def costs(registry: Registry, study: str | None, item_set: str | None, file: Path | None = None) -> Costs:
    """The costs of a set; by default Study 1, and the first set of the study that the paper uses.

    Parameters
    ----------
    file
        The cache, by default `FILE`.

    Raises
    ------
    UserError
        When study or set is unknown, or a record is damaged.
    """
    file = file or FILE
    state, name = _state(registry), f"{study}/{item_set}"
    cached = _cached(file, state)
    if name not in cached:
        cached[name] = _computed(registry, study, item_set)
        # The cache is optional: without it, costs are computed again next time.
        with contextlib.suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps({"state": state, "sets": cached}))
    return cached[name]


@dataclass
class _Cache:
    state: str
    sets: dict[str, Costs]


def _cached(file: Path, state: str) -> dict[str, Costs]:
    # An unreadable or outdated cache is overwritten.
    with contextlib.suppress(OSError, ValueError):
        cache = TypeAdapter(_Cache).validate_json(file.read_bytes())
        if cache.state == state:
            return cache.sets
    return {}


def _state(registry: Registry) -> str:
    """A digest of the models and of all files that items, conversations and answers come from."""
    digest = hashlib.sha256(repr([*registry.paper, *registry.models.items()]).encode())
    for path in sorted(_sources()):
        stat = path.stat()
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    yield from Path(__file__).parents[1].rglob("*.py")
    for folder in (paths.STIMULI, paths.PUBLISHED, paths.DOWNLOADS, paths.RESPONSES):
        yield from folder.rglob("*.*")


def _computed(registry: Registry, study: str | None, item_set: str | None) -> Costs:
    from deepvalues.ask import catalogue, run_query

    asked = catalogue.study(study or "dvb")
    item_set = item_set or (*registry.sets(asked.name), "standard")[0]
    priced = [model for model in registry.models.values() if model.price]
    plans = run_query.plans(asked.name, priced, asked.items(item_set))
    dollars = {plan.model: plan.usage.uncached().cost(plan.price) for plan in plans if plan.price}
    return Costs(asked.name, item_set, asked.letter_choice is not None, dollars)
