"""All sets that the paper needs from a model, as one plan that is confirmed once."""

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
    """What a model is asked in one study: the items of its sets, each once, and the plan.

    ``withheld`` names incomplete sets whose prompts are not on this machine; their items are left out.
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
    """What the paper needs from each model, study by study; sends nothing.

    Raises
    ------
    UserError
        When the paper has no set for a model, or a set's sources are missing.
    """
    registry = catalogue.registry()
    parts = []
    for model in models:
        needed = registry.needed_of(model)
        if not needed:
            raise UserError(f"{model.name}: {paths.shown(paths.MODELS)} lists no set for it under `paper`")
        parts += [_part(study, sets, model, record_folder, retry) for study, sets in needed.items()]
    return parts


def _part(
    study: str, item_sets: Sequence[str], model: Model, record_folder: Path, retry: frozenset[str]
) -> Part:
    frames = {name: catalogue.study(study).items(name) for name in item_sets}
    withheld = [name for name, items in frames.items() if _is_withheld(study, model, items, record_folder)]
    sendable = [name for name in item_sets if name not in withheld]
    # Items that sets share are asked once.
    chosen = [frames[name] for name in sendable] or [frames[item_sets[0]].head(0)]
    items = pd.concat(chosen).drop_duplicates("id", ignore_index=True)
    (plan,) = run_query.plans(study, [model], items, record_folder, retry)
    return Part(study, sendable, withheld, model, items, plan)


def _is_withheld(study: str, model: Model, items: pd.DataFrame, record_folder: Path) -> bool:
    (questions,) = on_record.questions_by_model(study, [model], items, record_folder)
    return questions.withheld and questions.missing() > 0


def lines(parts: Sequence[Part]) -> list[str]:
    """The plan as text: for each model, what each study asks, and the total."""
    text = []
    for name in dict.fromkeys(part.model.name for part in parts):
        own = [part for part in parts if part.model.name == name]
        first, *rest = replace(
            own[0].plan,
            requests=sum(part.plan.requests for part in own),
            usage=total(part.plan.usage for part in own),
            letters=None,
        ).lines()
        text += [first, *(line for part in own for line in _lines(part)), *rest]
    return text


def _lines(part: Part) -> list[str]:
    how = f", choices by letter probability ({part.plan.letters})" if part.plan.letters else ""
    text = [f"  {part.study} ({listed(part.item_sets)}): {part.plan.requests:,}{how}"]
    if part.withheld:
        text.append(
            f"  {part.study} ({listed(part.withheld)}): left out, as its prompts are not on this machine; "
            "fetch them with `make data`"
        )
    return text


def ask(
    parts: Sequence[Part],
    report: Callable[[str, run_query.Outcome], None],
    *,
    record_folder: Path = paths.RESPONSES,
    settings: Settings | None = None,
    retry: frozenset[str] = frozenset(),
    yes: bool = False,
) -> bool:
    """Show the whole plan, have it confirmed if it costs money, and ask study by study.

    Parameters
    ----------
    parts
        From the function `parts`.
    report
        Called with each study and its outcome.
    settings
        Their maximum cost applies to all studies and models together.

    Returns
    -------
    bool
        Whether all requests succeeded.

    Raises
    ------
    UserError
        As from `deepvalues.ask.run_query.query`. What was received before is in the record; call again to
        continue.
    """
    settings = settings or Settings()
    print("\n".join(lines(parts)), flush=True)
    _confirm([part for part in parts if part.plan.requests], yes)
    succeeded = True
    for part in parts:
        outcomes = run_query.query(
            part.study,
            [part.model],
            part.items,
            record_folder=record_folder,
            settings=settings,
            retry=retry,
            yes=True,
        )
        for row in outcomes.itertuples(index=False, name=None):
            report(part.study, run_query.Outcome(*row))
        succeeded = succeeded and not outcomes["failed"].any()
        if settings.max_cost is not None:
            left = settings.max_cost - float(np.nansum(outcomes["spent"]))
            settings = replace(settings, max_cost=max(left, 0.0))
    return succeeded


def _confirm(pending: Sequence[Part], yes: bool) -> None:
    """Require every key and the user's consent before anything is sent."""
    for part in pending:
        part.model.require_key(part.plan.requests)
    priced = dict.fromkeys(part.model.name for part in pending if part.model.price)
    if priced and not yes:
        run_query.require_consent(", ".join(priced))
