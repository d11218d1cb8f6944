"""What the paper needs of a model: every set of every study, as one plan that is confirmed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.money import Plan, total
from deepvalues.ask.registry import Model
from deepvalues.ask.settings import Settings
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.number_format import listed


class Part(NamedTuple):
    """What a model is asked in one study: the items of its sets, each once, and what its record lacks.

    ``withheld`` are sets that its record lacks and whose prompts are not on this machine; they are no part
    of the items.
    """

    study: str
    item_sets: list[str]
    withheld: list[str]
    model: Model
    items: pd.DataFrame
    plan: Plan


def parts(
    models: Sequence[Model], record_folder: Path = paths.RESPONSES, retry: frozenset[str] = frozenset()
) -> list[Part]:
    """What the paper asks of models, model by model and study by study; nothing is sent.

    Raises
    ------
    UserError
        When the paper has no set for a model, or what a set is made of is not there.
    """
    registry = catalogue.registry()
    found = []
    for model in models:
        needed = registry.needed_of(model)
        if not needed:
            raise UserError(f"{model.name}: {paths.shown(paths.MODELS)} names no set under `paper` for it")
        found += [_part(study, sets, model, record_folder, retry) for study, sets in needed.items()]
    return found


def _part(
    study: str, item_sets: Sequence[str], model: Model, record_folder: Path, retry: frozenset[str]
) -> Part:
    frames = {name: catalogue.study(study).items(name) for name in item_sets}
    withheld = [name for name, items in frames.items() if _is_withheld(study, model, items, record_folder)]
    sendable = [name for name in item_sets if name not in withheld]
    # Sets may share items, which are asked once.
    shared = [frames[name] for name in sendable] or [frames[item_sets[0]].head(0)]
    items = pd.concat(shared).drop_duplicates("id", ignore_index=True)
    (plan,) = run_query.plans(study, [model], items, record_folder, retry)
    return Part(study, sendable, withheld, model, items, plan)


def _is_withheld(study: str, model: Model, items: pd.DataFrame, record_folder: Path) -> bool:
    (questions,) = on_record.questions_by_model(study, [model], items, record_folder)
    return questions.withheld and questions.missing() > 0


def lines(found: Sequence[Part]) -> list[str]:
    """The plan in words: of each model what it is asked, study by study, and what that takes together."""
    shown = []
    for name in dict.fromkeys(part.model.name for part in found):
        own = [part for part in found if part.model.name == name]
        whole = replace(
            own[0].plan,
            requests=sum(part.plan.requests for part in own),
            usage=total(part.plan.usage for part in own),
            letters=None,
        ).lines()
        shown += [whole[0], *(line for part in own for line in _lines(part)), *whole[1:]]
    return shown


def _lines(part: Part) -> list[str]:
    how = f", choices by letter probability ({part.plan.letters})" if part.plan.letters else ""
    shown = [f"  {part.study} ({listed(part.item_sets)}): {part.plan.requests:,}{how}"]
    if part.withheld:
        shown.append(
            f"  {part.study} ({listed(part.withheld)}): left out, as its prompts are not on this machine; "
            "`make data` fetches them"
        )
    return shown


def ask(
    found: Sequence[Part],
    tell: Callable[[str, run_query.Outcome], None],
    *,
    record_folder: Path = paths.RESPONSES,
    settings: Settings | None = None,
    retry: frozenset[str] = frozenset(),
    yes: bool = False,
) -> bool:
    """Show the whole plan, have it confirmed where it costs money, and ask study by study.

    Parameters
    ----------
    found
        From `parts`.
    tell
        Is told of each study what was done.
    settings
        The maximum cost is that of all studies and models together.

    Returns
    -------
    bool
        Whether no request has failed.

    Raises
    ------
    UserError
        As from `deepvalues.ask.run_query.query`. What was received before is in the record, and the same
        command goes on from there.
    """
    settings = settings or Settings()
    _confirm([part for part in found if part.plan.requests], lines(found), yes)
    whole = True
    for part in found:
        done = run_query.query(
            part.study,
            [part.model],
            part.items,
            record_folder=record_folder,
            settings=settings,
            retry=retry,
            yes=True,
        )
        for row in done.itertuples(index=False, name=None):
            tell(part.study, run_query.Outcome(*row))
        whole = whole and not done["failed"].any()
        if settings.max_cost is not None:
            left = settings.max_cost - float(np.nansum(done["spent"]))
            settings = replace(settings, max_cost=max(left, 0.0))
    return whole


def _confirm(waiting: Sequence[Part], shown: Sequence[str], yes: bool) -> None:
    """Show the plan; before anything is sent every model has its key, and whoever pays has agreed."""
    print("\n".join(shown), flush=True)
    for part in waiting:
        part.model.require_key(part.plan.requests)
    priced = dict.fromkeys(part.model.name for part in waiting if part.model.price)
    if priced and not yes:
        run_query.ask_leave(", ".join(priced))
