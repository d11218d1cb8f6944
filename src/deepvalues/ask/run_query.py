"""One run of a query: show the plan, have it confirmed, ask for what the record lacks, say what was done."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from deepvalues.ask import batch, catalogue
from deepvalues.ask.conversation import Withheld
from deepvalues.ask.engine import Job, Summary
from deepvalues.ask.money import NO_USAGE, Plan, Usage
from deepvalues.ask.on_record import Chosen, by_record, command_line, questions_by_model
from deepvalues.ask.processes import processors, run
from deepvalues.ask.questions import Questions
from deepvalues.ask.reading import STATUSES
from deepvalues.ask.record import Answer, Record, aside_names, found_aside
from deepvalues.ask.registry import HEAD, Model, Price
from deepvalues.ask.settings import Settings
from deepvalues.core import guard, paths
from deepvalues.core.errors import UserError


class Outcome(NamedTuple):
    """What a run did for one model; dollars are NaN where the registry has no price.

    ``unread`` says how many replies could be read, where it was not all of them.
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
    """What each model still has to be asked, and what that will cost; nothing is sent."""
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
    yes: bool = False,
) -> pd.DataFrame:
    """Ask each model for what its record lacks; recorded answers are replayed.

    Parameters
    ----------
    retry
        Statuses whose answers are asked for again.
    yes
        Whether a model with a price is asked without a confirmation on the terminal.

    Returns
    -------
    pandas.DataFrame
        One row per model: see `Outcome`.

    Raises
    ------
    UserError
        When a status to retry is unknown, a record is damaged, a key is missing, nobody confirms the
        cost, or an endpoint refuses or keeps failing. What was received before is in the record.
    """
    _stop_if_unknown(retry)
    rows = []
    settings = settings or Settings()
    with catalogue.endpoints(settings.threads) as base_url:
        for questions in questions_by_model(study, models, items, record_folder):
            replayed = questions.items - questions.missing()
            price = questions.model.price
            saved = questions.replayed().cost(price) if price else math.nan
            jobs, summary = questions.jobs(retry), Summary()
            if jobs:
                _stop_if_withheld(jobs)
                _stop_if_in_batch(questions, jobs)
                _confirm(questions, jobs, yes)
                summary = _ask(questions, jobs, base_url(questions.model), settings)
            for notice in questions.record.notices:
                print(notice)
            if summary.failed and not summary.stopped:
                print(f"{questions.model.name}: {summary.failed} failed, the last with: {summary.last_error}")
            rows.append(_outcome(questions, replayed, summary, saved))
            _stop_if_stopped(questions.model, questions.record, summary)
    return pd.DataFrame(rows, columns=list(Outcome._fields))


def _stop_if_unknown(statuses: frozenset[str]) -> None:
    if unknown := statuses - set(STATUSES):
        raise UserError(f"unknown status {min(unknown)!r}; there are {', '.join(STATUSES)}")


def _confirm(questions: Questions, jobs: Sequence[Job], yes: bool) -> None:
    questions.model.require_key(len(jobs))
    if questions.model.price is None or yes:
        return
    print("\n".join(questions.plan(jobs).lines()), flush=True)
    ask_leave(questions.model.name)


def ask_leave(names: str) -> None:
    """Have a person at the terminal agree to what was shown.

    Parameters
    ----------
    names
        Of the models that cost money, or one name.

    Raises
    ------
    UserError
        When nobody sits there, or the answer is no.
    """
    if not sys.stdin.isatty():
        raise UserError(f"{names} costs money: add --yes to ask without a confirmation")
    if input("Send them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError(f"{names}: nothing was sent")


def submit(questions: Questions, yes: bool, limits: batch.Limits | None = None) -> list[batch.Part]:
    """Submit what a record lacks to the batch service of its endpoint, after showing the plan.

    Parameters
    ----------
    yes
        Whether a model with a price is asked without a confirmation on the terminal.

    Returns
    -------
    list of deepvalues.ask.batch.Part
        The new batches.

    Raises
    ------
    UserError
        When nobody confirms the cost; and see `deepvalues.ask.batch.submit`.
    """

    def confirm(jobs: Sequence[Job]) -> None:
        priced = questions.model.price is not None
        note = ["  in a batch usually half of that"] if priced else []
        print("\n".join([*questions.plan(jobs).lines(), *note]), flush=True)
        if priced and not yes:
            ask_leave(questions.model.name)

    return batch.submit(questions, confirm, limits)


def _stop_if_withheld(jobs: Sequence[Job]) -> None:
    """What is known by its digest alone can't be sent: say so before anything is."""
    for job in jobs:
        if isinstance(job.conversation, Withheld):
            job.conversation.messages(())


def _stop_if_in_batch(questions: Questions, jobs: Sequence[Job]) -> None:
    """A request that waits in an open batch must not be paid for a second time."""
    keys, folder = batch.State.beside(questions.record).keys, questions.record.path.parent.parent
    if keys and any(questions.ask.key(job.conversation, (), job.repeat) in keys for job in jobs):
        command = command_line("batch collect", questions.study.name, questions.model, folder)
        raise UserError(
            f"{questions.model.name}: some of these requests are in an open batch; "
            f"take its replies first: {command}"
        )


def _ask(questions: Questions, jobs: Sequence[Job], base_url: str, settings: Settings) -> Summary:
    model = questions.model
    # What a head does not know yet it has read by the server of its model.
    if model.weights or model.family == HEAD:
        settings = settings.for_own_server()
    if settings.max_cost is not None and model.price is None:
        raise UserError(
            f"{model.name}: a maximum cost needs a price; give it one by --price, or in "
            f"{paths.shown(paths.MODELS)}"
        )
    with Progress(
        model.name, len(jobs), lambda answer: questions.read(answer).status == "answered", model.price
    ) as bar:
        return run(questions.ask, base_url, settings, jobs, questions.record, bar.report)


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


def _outcome(questions: Questions, replayed: int, summary: Summary, saved: float) -> Outcome:
    price = questions.model.price
    spent = summary.used.cost(price) if price else math.nan
    cached = summary.used.saved_by_caching(price) if price else math.nan
    return Outcome(
        model=questions.model.name,
        family=questions.model.family,
        items=questions.items,
        replayed=replayed,
        asked=summary.asked,
        failed=summary.failed,
        orphans=questions.orphans(),
        spent=spent,
        saved_by_record=saved,
        saved_by_caching=cached,
        unread=_unread(questions) if summary.asked else "",
    )


def _unread(questions: Questions) -> str:
    """How many of the recorded replies can be read, by the last turn of each conversation."""
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
        saved += f", {len(aside)} of them, for want of room, in {', '.join(files)}"
    if summary.lost:
        saved += f"; {summary.lost} could be written nowhere, and will be asked, and perhaps paid for, again"
    raise UserError(
        f"{model.name}: stopped, because {summary.stopped}.{last} "
        f"{saved}; the same command goes on from there."
    )


def complete_local(sets: Sequence[Chosen], record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """Ask the local models of several sets for what their records lack, several models at a time.

    Heads on hidden states are left out: they need weights that not every machine has, and hours.
    Questions whose text is not on this machine are left as the record has them.

    What answers is on this machine, so that one process asks and answers at a time on each processor.
    A record belongs to one process: a model answers the sets of a study one after the other.

    Returns
    -------
    pandas.DataFrame
        A row for each set and model that lacked answers: see `Outcome`.

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
    # Learners take longest: begun first, they leave no processor waiting at the end.
    records = sorted(lacking.values(), key=lambda parts: parts[0].models[0].family != "text learner")
    processes = min(processors(), len(records))
    ask = partial(_complete, record_folder=record_folder)
    if processes <= 1:
        done = list(map(ask, records))
    else:
        # Not forked: a notebook's process has threads.
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
