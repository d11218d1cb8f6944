"""A query run: show the plan, have it confirmed, ask for what the record lacks, report the outcome."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from deepvalues.ask import batch, catalogue
from deepvalues.ask.conversation import Withheld
from deepvalues.ask.engine import Job, Summary
from deepvalues.ask.local import Target
from deepvalues.ask.money import NO_USAGE, Plan, Usage, total
from deepvalues.ask.on_record import Chosen, by_record, command_line, questions_by_model
from deepvalues.ask.processes import processors, run
from deepvalues.ask.questions import Questions
from deepvalues.ask.reading import STATUSES
from deepvalues.ask.record import Answer, Record, aside_names, found_aside
from deepvalues.ask.registry import HEAD, Model, Price, proxy_for
from deepvalues.ask.settings import Settings
from deepvalues.ask.weights.serve import ready
from deepvalues.core import guard, paths
from deepvalues.core.errors import UserError
from deepvalues.core.number_format import listed


class Outcome(NamedTuple):
    """The outcome of a run for one model; dollars are NaN without a price.

    ``unread`` says how many replies could be read, if not all of them.
    """

    model: str
    family: str
    items: int
    replayed: int
    asked: int
    failed: int
    orphans: int
    spent: float
    saved_by_record: float
    saved_by_caching: float
    unread: str = ""


def plans(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
    retry: frozenset[str] = frozenset(),
) -> list[Plan]:
    """What each model has yet to be asked, and the cost; sends nothing."""
    _stop_if_unknown(retry)
    return [
        questions.plan(questions.jobs(retry))
        for questions in questions_by_model(study, models, items, record_folder)
    ]


def query(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    *,
    record_folder: Path = paths.RESPONSES,
    settings: Settings | None = None,
    retry: frozenset[str] = frozenset(),
) -> pd.DataFrame:
    """Ask each model for what its record lacks, without a confirmation; recorded answers are replayed.

    Parameters
    ----------
    retry
        Statuses whose answers are requested again.

    Returns
    -------
    pandas.DataFrame
        One row per model: see `Outcome`.

    Raises
    ------
    UserError
        When a status to retry is unknown, a record is damaged, a key is missing, or an endpoint rejects
        requests or keeps failing. What was received before is in the record.
    """
    _stop_if_unknown(retry)
    with catalogue.targets() as target:
        rows = [
            _asked(questions, target, settings or Settings(), retry)
            for questions in questions_by_model(study, models, items, record_folder)
        ]
    return pd.DataFrame(rows, columns=list(Outcome._fields))


class Part(NamedTuple):
    """What a model is asked in one study: the items of its sets, each once, and the plan.

    ``withheld`` names incomplete sets whose prompts are not on this machine; their items are left out.
    """

    study: str
    item_sets: Sequence[str]
    model: Model
    items: pd.DataFrame
    plan: Plan
    withheld: Sequence[str] = ()


def parts(
    study: str,
    item_set: str,
    models: Sequence[Model],
    record_folder: Path = paths.RESPONSES,
    retry: frozenset[str] = frozenset(),
) -> list[Part]:
    """A set for each model; sends nothing."""
    items = catalogue.study(study).items(item_set)
    planned = plans(study, models, items, record_folder, retry)
    return [Part(study, [item_set], model, items, plan) for model, plan in zip(models, planned, strict=True)]


def parts_of_paper(
    models: Sequence[Model], record_folder: Path = paths.RESPONSES, retry: frozenset[str] = frozenset()
) -> list[Part]:
    """What the paper needs from each model, study by study; sends nothing.

    Raises
    ------
    UserError
        When the paper has no set for a model, or a set's sources are missing.
    """
    registry = catalogue.registry()
    found = []
    for model in models:
        needed = registry.needed_of(model)
        if not needed:
            raise UserError(f"{model.name}: {paths.shown(paths.MODELS)} lists no set for it under `paper`")
        found += [_part(study, sets, model, record_folder, retry) for study, sets in needed.items()]
    return found


def _part(
    study: str, item_sets: Sequence[str], model: Model, record_folder: Path, retry: frozenset[str]
) -> Part:
    sets = [Chosen(study, name, catalogue.study(study).items(name), [model]) for name in item_sets]
    lacking = [
        sets[place].item_set
        for place, questions in by_record(sets, record_folder)
        if questions.withheld and questions.missing()
    ]
    sendable = [each for each in sets if each.item_set not in lacking]
    # Items that sets share are asked once.
    frames = [each.items for each in sendable] or [sets[0].items.head(0)]
    items = pd.concat(frames).drop_duplicates("id", ignore_index=True)
    (plan,) = plans(study, [model], items, record_folder, retry)
    return Part(study, [each.item_set for each in sendable], model, items, plan, lacking)


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
    *,
    record_folder: Path = paths.RESPONSES,
    settings: Settings | None = None,
    retry: frozenset[str] = frozenset(),
    yes: bool = False,
    show: bool = False,
) -> Iterator[tuple[Part, Outcome]]:
    """Check all parts, show the plan and have it confirmed if it costs money, and ask part by part.

    Parameters
    ----------
    settings
        Their maximum cost applies to all parts together.
    yes
        Whether to skip the confirmation.
    show
        Whether to show even a plan without prices.

    Yields
    ------
    tuple
        Each part and its outcome.

    Raises
    ------
    UserError
        Before anything is sent when some part can't be asked or the cost is not confirmed; later as from
        `query`. What was received before is in the record; call again to continue.
    """
    settings = settings or Settings()
    pending = [part for part in parts if part.plan.requests]
    with catalogue.targets() as target:
        for part in pending:
            for questions in questions_by_model(part.study, [part.model], part.items, record_folder):
                _stop_if_refused(questions, questions.jobs(retry), settings)
        for model in {part.model.name: part.model for part in pending}.values():
            _stop_if_unreachable(model, target)
        if show or any(part.model.price for part in parts):
            print("\n".join(lines(parts)), flush=True)
        priced = dict.fromkeys(part.model.name for part in pending if part.model.price)
        if priced and not yes:
            _require_consent(", ".join(priced))
        for part in parts:
            (questions,) = questions_by_model(part.study, [part.model], part.items, record_folder)
            outcome = _asked(questions, target, settings, retry)
            yield part, outcome
            if settings.max_cost is not None and not math.isnan(outcome.spent):
                settings = replace(settings, max_cost=max(settings.max_cost - outcome.spent, 0.0))


def _asked(
    questions: Questions, target: Callable[[Model], Target], settings: Settings, retry: frozenset[str]
) -> Outcome:
    """Ask a model for what its record lacks."""
    model, price, replayed = questions.model, questions.model.price, questions.items - questions.missing()
    saved = questions.replayed().cost(price) if price else math.nan
    jobs, summary = questions.jobs(retry), Summary()
    if jobs:
        _stop_if_refused(questions, jobs, settings)
        summary = _ask(questions, jobs, target(model), settings)
    for notice in questions.record.notices:
        print(notice)
    _stop_if_stopped(model, questions.record, summary)
    if summary.failed:
        print(f"{model.name}: {summary.failed} failed; last error: {summary.last_error}")
    return Outcome(
        model=model.name,
        family=model.family,
        items=questions.items,
        replayed=replayed,
        asked=summary.asked,
        failed=summary.failed,
        orphans=questions.orphans(),
        spent=summary.used.cost(price) if price else math.nan,
        saved_by_record=saved,
        saved_by_caching=summary.used.saved_by_caching(price) if price else math.nan,
        unread=_unread(questions) if summary.asked else "",
    )


def _stop_if_unknown(statuses: frozenset[str]) -> None:
    if unknown := statuses - set(STATUSES):
        raise UserError(f"unknown status {min(unknown)!r}; there are {', '.join(STATUSES)}")


def _require_consent(names: str) -> None:
    """Ask the user at the terminal to confirm the plan shown.

    Parameters
    ----------
    names
        The models that cost money, separated by commas.

    Raises
    ------
    UserError
        When there is no terminal, or the answer is no.
    """
    if not sys.stdin.isatty():
        raise UserError(f"{names} costs money: add --yes to skip the confirmation")
    if input("Send them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError(f"{names}: nothing was sent")


def submit(questions: Questions, yes: bool) -> batch.Part | None:
    """Show the plan, then submit what a record lacks to the endpoint's batch service.

    Parameters
    ----------
    yes
        Whether to skip the confirmation for a model with a price.

    Returns
    -------
    deepvalues.ask.batch.Part, optional
        The new batch; None if the record and all open batches lack nothing.

    Raises
    ------
    UserError
        When the cost is not confirmed, and as from `deepvalues.ask.batch.submit`.
    """

    def confirm(jobs: Sequence[Job]) -> None:
        priced = questions.model.price is not None
        note = ["  usually half of that in a batch"] if priced else []
        print("\n".join([*questions.plan(jobs).lines(), *note]), flush=True)
        if priced and not yes:
            _require_consent(questions.model.name)

    return batch.submit(questions, confirm)


def _stop_if_refused(questions: Questions, jobs: Sequence[Job], settings: Settings) -> None:
    """Raise if jobs can't be sent: no key or text, in an open batch, or a maximum cost without a price."""
    model = questions.model
    model.require_key(len(jobs))
    for job in jobs:
        if isinstance(job.conversation, Withheld):
            job.conversation.messages(())
    _stop_if_in_batch(questions, jobs)
    if settings.max_cost is not None and model.price is None:
        raise UserError(
            f"{model.name}: a maximum cost needs a price; set one with --price, or in "
            f"{paths.shown(paths.MODELS)}"
        )


def _stop_if_unreachable(model: Model, target: Callable[[Model], Target]) -> None:
    """Raise if there is nowhere to ask a model; starts no server."""
    if model.weights:
        ready(model)
    elif isinstance(where := target(model), str):
        proxy_for(where)


def _stop_if_in_batch(questions: Questions, jobs: Sequence[Job]) -> None:
    """Keep requests in an open batch from being paid for twice."""
    keys, folder = batch.State.beside(questions.record).keys, questions.record.path.parent.parent
    if keys and any(questions.ask.key(job.conversation, (), job.repeat) in keys for job in jobs):
        command = command_line("batch collect", questions.study.name, questions.model, folder)
        raise UserError(
            f"{questions.model.name}: some of these requests are in an open batch; "
            f"collect its replies first: {command}"
        )


def _ask(questions: Questions, jobs: Sequence[Job], target: Target, settings: Settings) -> Summary:
    model = questions.model
    # A head needs its model's server for texts whose hidden states are not cached.
    if model.weights or model.family == HEAD:
        settings = settings.for_own_server()
    with Progress(
        model.name, len(jobs), lambda answer: questions.read(answer).status == "answered", model.price
    ) as bar:
        return run(questions.ask, target, settings, jobs, questions.record, bar.report)


class Progress:
    """A progress bar of finished conversations, on a terminal or in a notebook.

    Nothing is written to a file or pipe, or if TQDM_DISABLE is set.
    """

    def __init__(
        self, name: str, number: int, is_answer: Callable[[Answer], bool], price: Price | None
    ) -> None:
        self._is_answer, self._price = is_answer, price
        self._answered = self._done = 0
        self._usage = NO_USAGE
        visible = sys.stderr.isatty() or "ipykernel" in sys.modules
        options: dict[str, Any] = {} if visible else {"disable": True}
        self._bar: tqdm[Any] = tqdm(total=number, desc=name, unit="item", **options)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def report(self, answers: Sequence[Answer] | None) -> None:
        """Count a finished conversation, or None for one that failed."""
        if self._bar.disable:
            return
        self._done += 1
        for answer in answers or ():
            used = Usage(float(answer.prompt_tokens or 0), 0.0, float(answer.completion_tokens or 0))
            self._usage = total([self._usage, used])
        self._answered += bool(answers) and self._is_answer((answers or ())[-1])
        cost = f", up to ${self._usage.cost(self._price):.2f}" if self._price else ""
        self._bar.set_postfix_str(f"{self._answered / self._done:.0%} answered{cost}", refresh=False)
        self._bar.update()


def _unread(questions: Questions) -> str:
    """How many recorded replies could be read, by the last turn of each conversation; "" if all."""
    read = Counter(
        questions.read(answers[-1], conversation).status
        for conversation, _, answers in questions.recorded()
        if answers
    )
    if read.total() == read["answered"]:
        return ""
    others = ", ".join(f"{read[status]:,} {status}" for status in STATUSES[1:] if read[status])
    advice = "; this model may need more max_tokens" if read["truncated"] > read.total() / 2 else ""
    return f"{read['answered']:,} of {read.total():,} could be read: {others}{advice}"


def _stop_if_stopped(model: Model, record: Record, summary: Summary) -> None:
    if not summary.stopped:
        return
    last = f" The last error was: {summary.last_error.rstrip('.')}." if summary.last_error else ""
    saved = f"{summary.asked} answers were saved"
    if aside := found_aside(record.path):
        files = sorted({str(file.with_name(aside_names(record.path))) for file in aside})
        saved += f", {len(aside)} of them for lack of space in {', '.join(files)}"
    if summary.lost:
        saved += f"; {summary.lost} could not be saved and will be requested, and perhaps paid for, again"
    raise UserError(
        f"{model.name}: stopped because {summary.stopped}.{last} {saved}; run the same command to continue."
    )


def complete_local(sets: Sequence[Chosen], record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """Ask the local models of several sets for what their records lack, in parallel.

    Heads on hidden states are left out: they need hours, and weights that not every machine has. Questions
    whose text is not on this machine are skipped.

    There is one process per processor, since both asking and answering happen on this machine. Only one
    process writes to a record, so a model answers the sets of a study in sequence.

    Returns
    -------
    pandas.DataFrame
        One row for each set and model that lacked answers: see `Outcome`.

    Raises
    ------
    UserError
        As from `query`.
    """
    local = [
        each._replace(models=[model for model in each.models if model.is_local and model.family != HEAD])
        for each in sets
    ]
    lacking: dict[Path, list[Chosen]] = {}
    for place, questions in by_record(local, record_folder):
        if questions.missing() and not questions.withheld:
            part = local[place]._replace(models=[questions.model])
            lacking.setdefault(questions.record.path, []).append(part)
    # Learners take longest, so they start first.
    records = sorted(lacking.values(), key=lambda parts: parts[0].models[0].family != "text learner")
    processes = min(processors(), len(records))
    ask = partial(_complete, record_folder=record_folder)
    if processes <= 1:
        done = list(map(ask, records))
    else:
        # Forking is unsafe in a notebook, whose process has threads.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            processes, spawn, initializer=guard.end_with, initargs=(os.getpid(),)
        ) as pool:
            try:
                done = list(pool.map(ask, records))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return pd.concat([pd.DataFrame(columns=list(Outcome._fields)), *done], ignore_index=True)


def _complete(sets: Sequence[Chosen], record_folder: Path) -> pd.DataFrame:
    return pd.concat(
        [query(each.study, each.models, each.items, record_folder=record_folder) for each in sets]
    )
