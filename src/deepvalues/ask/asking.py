"""Asking models: the one function behind `deepvalues query` and the query notebook."""

from __future__ import annotations

import math
import multiprocessing
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from deepvalues.ask import batch
from deepvalues.ask.conversation import Conversation, Withheld
from deepvalues.ask.engine import Job, Summary
from deepvalues.ask.money import Plan
from deepvalues.ask.processes import processors, run
from deepvalues.ask.progress import Progress
from deepvalues.ask.reading import STATUSES
from deepvalues.ask.record import Record
from deepvalues.ask.registry import HEAD, Model
from deepvalues.ask.settings import Settings
from deepvalues.ask.study import Questions, model_of, record_path
from deepvalues.core import guard, paths
from deepvalues.core.errors import UserError
from deepvalues.studies import catalogue


class Chosen(NamedTuple):
    """A set of items, and the models that are to answer it."""

    study: str
    item_set: str
    items: pd.DataFrame
    models: Sequence[Model]


class Answered(NamedTuple):
    """A set of items, the models whose records answer all of it, and where these records are."""

    study: str
    item_set: str
    items: pd.DataFrame
    models: Sequence[Model]
    record_folder: Path

    def answers(self) -> pd.DataFrame:
        """What the models answered, read anew at each call: see the function `answers`."""
        return answers(self.study, self.models, self.items, self.record_folder)

    def questions(self) -> Iterator[Questions]:
        """The items as they were put to each model, with its record, read anew at each call."""
        return questions(self.study, self.models, self.items, self.record_folder)

    @property
    def family(self) -> dict[str, str]:
        """The models' families by name."""
        return {model.name: model.family for model in self.models}

    @property
    def about(self) -> pd.DataFrame:
        """What comparisons of models ask about them: model, developer, size_tier."""
        rows = [(model.name, model.developer, model.size_tier) for model in self.models]
        return pd.DataFrame(rows, columns=["model", "developer", "size_tier"])


class Asked(NamedTuple):
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


def questions(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
) -> Iterator[Questions]:
    """A study's items put to each model in turn, with the model's record.

    All models share the conversations, so that each prompt is hashed once.
    """
    found = catalogue.study(study)
    conversations = found.conversations(items)
    for model in models:
        record = Record(record_path(record_folder, study, model.name))
        yield Questions(found, conversations, model, record)


def plans(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
    retry: frozenset[str] = frozenset(),
) -> list[Plan]:
    """What each model still has to be asked, and what that will cost; nothing is sent."""
    return [asked.plan(asked.jobs(_known(retry))) for asked in questions(study, models, items, record_folder)]


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
        One row per model: see `Asked`.

    Raises
    ------
    UserError
        When a status to retry is unknown, a record is damaged, a key is missing, nobody confirms the
        cost, or an endpoint refuses or keeps failing. What was received before is in the record.
    """
    rows = []
    settings = settings or Settings()
    with catalogue.endpoints(settings.threads) as base_url:
        for asked in questions(study, models, items, record_folder):
            replayed = asked.items - asked.missing()
            price = asked.model.price
            saved = asked.replayed().cost(price) if price else math.nan
            jobs = asked.jobs(_known(retry))
            summary = Summary()
            if jobs:
                _stop_if_withheld(jobs)
                _stop_if_in_batch(asked, jobs)
                _confirm(asked, jobs, yes)
                # What a head does not know yet it has read by the server of its model.
                own = asked.model.weights or asked.model.family == HEAD
                how = settings.for_own_server() if own else settings
                summary = _ask(asked, jobs, base_url(asked.model), how)
            for notice in asked.record.notices:
                print(notice)
            if summary.failed and not summary.stopped:
                print(f"{asked.model.name}: {summary.failed} failed, the last with: {summary.last_error}")
            rows.append(_row(asked, replayed, summary, saved))
            _stop_if_stopped(asked.model, summary)
    return pd.DataFrame(rows, columns=list(Asked._fields))


def _known(retry: frozenset[str]) -> frozenset[str]:
    unknown = retry - set(STATUSES)
    if unknown:
        raise UserError(f"unknown status {sorted(unknown)[0]!r}; there are {', '.join(STATUSES)}")
    return retry


def _confirm(asked: Questions, jobs: Sequence[Job], yes: bool) -> None:
    asked.model.require_key(len(jobs))
    if asked.model.price is None or yes:
        return
    print("\n".join(asked.plan(jobs).lines()), flush=True)
    ask_leave(asked.model.name)


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


def submit(asked: Questions, yes: bool, limits: batch.Limits | None = None) -> list[batch.Part]:
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
        priced = asked.model.price is not None
        note = ["  in a batch usually half of that"] if priced else []
        print("\n".join([*asked.plan(jobs).lines(), *note]), flush=True)
        if priced and not yes:
            ask_leave(asked.model.name)

    return batch.submit(asked, confirm, limits)


def _stop_if_withheld(jobs: Sequence[Job]) -> None:
    """What is known by its digest alone can't be sent: say so before anything is."""
    for job in jobs:
        if isinstance(job.conversation, Withheld):
            job.conversation.messages(())


def _stop_if_in_batch(asked: Questions, jobs: Sequence[Job]) -> None:
    """A request that waits in an open batch must not be paid for a second time."""
    keys, folder = batch.State.beside(asked.record).keys, asked.record.path.parent.parent
    if keys and any(asked.ask.key(job.conversation, (), job.repeat) in keys for job in jobs):
        raise UserError(
            f"{asked.model.name}: some of these requests are in an open batch; "
            f"take its replies first: {_command('batch collect', asked.study.name, asked.model, folder)}"
        )


def _command(
    name: str, study: str, model: Model | str, record_folder: Path, item_set: str | None = None
) -> str:
    """A command with all that the user gave, so that whoever copies it asks, and pays, where it was asked."""
    words = ["deepvalues", *name.split(), "--study", study, *(["--set", item_set] if item_set else [])]
    words += ["--model", model if isinstance(model, str) else model.name]
    if isinstance(model, Model):
        endpoint, entry = model.endpoint, catalogue.registry().models.get(model.name)
        if endpoint.base_url and (entry is None or entry.endpoint.base_url != endpoint.base_url):
            words += ["--base-url", endpoint.base_url]
    if record_folder != paths.RESPONSES:
        words += ["--record", str(record_folder)]
    return shlex.join(words)


def _ask(asked: Questions, jobs: Sequence[Job], base_url: str, settings: Settings) -> Summary:
    if settings.max_cost is not None and asked.model.price is None:
        raise UserError(
            f"{asked.model.name}: a maximum cost needs a price; give it one by --price, or in "
            f"{paths.shown(paths.MODELS)}"
        )
    model = asked.model
    with Progress(
        model.name, len(jobs), lambda answer: asked.read(answer).status == "answered", model.price
    ) as bar:
        return run(asked.ask, base_url, settings, jobs, asked.record, bar.report)


def _row(asked: Questions, replayed: int, summary: Summary, saved: float) -> Asked:
    price = asked.model.price
    spent = summary.used.cost(price) if price else math.nan
    cached = summary.used.saved_by_caching(price) if price else math.nan
    return Asked(
        model=asked.model.name,
        family=asked.model.family,
        items=asked.items,
        replayed=replayed,
        asked=summary.asked,
        failed=summary.failed,
        orphans=asked.orphans(),
        spent=spent,
        saved_by_record=saved,
        saved_by_caching=cached,
        unread=_unread(asked) if summary.asked else "",
    )


def _unread(asked: Questions) -> str:
    """How many of the recorded replies can be read, by the last turn of each conversation."""
    read = Counter(
        asked.read(found[-1], conversation).status for conversation, _, found in asked.recorded() if found
    )
    if read.total() == read["answered"]:
        return ""
    others = ", ".join(f"{read[status]:,} {status}" for status in STATUSES[1:] if read[status])
    advice = "; this model may need more max_tokens" if read["truncated"] > read.total() / 2 else ""
    return f"{read['answered']:,} of {read.total():,} could be read: {others}{advice}"


def _stop_if_stopped(model: Model, summary: Summary) -> None:
    if summary.stopped:
        last = f" The last error was: {summary.last_error}." if summary.last_error else ""
        raise UserError(
            f"{model.name}: stopped, because {summary.stopped}.{last} "
            f"{summary.asked} answers were saved; the same command goes on from there."
        )


def chosen(item_sets: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[Chosen]:
    """The sets of a notebook's parameters, with their items and models.

    Parameters
    ----------
    item_sets
        Item sets by study.
    names
        Models; where none is named, those that the paper lists: see `Registry.choose`.

    Raises
    ------
    UserError
        When a study or model is unknown, or items have not been built.
    """
    found = []
    registry = catalogue.registry()
    for study, sets in item_sets.items():
        for item_set in sets:
            items = catalogue.read_items(study, item_set)
            models = registry.choose(names, f"{study}/{item_set}")
            found.append(Chosen(study, item_set, items, models))
    return found


def stop_if_left_out(parameter: str, item_sets: Mapping[str, Sequence[str]], needed: Sequence[str]) -> None:
    """Stop where a notebook's parameter leaves out studies that the notebook reads.

    Raises
    ------
    UserError
        With the parameter and the studies.
    """
    if left_out := [study for study in needed if not item_sets.get(study)]:
        raise UserError(
            f"{parameter} names no set of {', '.join(left_out)}, which this notebook reads: name one of "
            "each, or leave the parameter as it is"
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
        A row for each set and model that lacked answers: see `Asked`.

    Raises
    ------
    UserError
        As from `query`.
    """
    lacking: dict[tuple[str, str], list[Chosen]] = {}
    for each in sets:
        local = [model for model in each.models if model.is_local and model.family != HEAD]
        for asked in questions(each.study, local, each.items, record_folder):
            withheld = any(isinstance(each, Withheld) for each in asked.conversations)
            if not withheld and asked.missing():
                part = each._replace(models=[asked.model])
                lacking.setdefault((each.study, asked.model.name), []).append(part)
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
    return pd.concat([pd.DataFrame(columns=list(Asked._fields)), *done], ignore_index=True)


def _complete(sets: Sequence[Chosen], record_folder: Path) -> pd.DataFrame:
    return pd.concat(
        [query(each.study, each.models, each.items, record_folder=record_folder) for each in sets]
    )


def coverage(sets: Sequence[Chosen], record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """How much of each set each model's record answers.

    Sets of a study may share items. A set was not asked where the record holds no more of it than answers
    that it shares with an earlier one, or with one that is answered in full: such a record is no part of
    the set that waits to be completed. A single turn of a conversation that no other set accounts for
    makes the record a part.

    Returns
    -------
    pandas.DataFrame
        study, item_set, model, family, items, recorded (items answered to the last turn), state: complete,
        partial, or not asked.
    """
    rows = []
    for place, each in enumerate(sets):
        others: list[_Other] | None = None
        for asked in questions(each.study, each.models, each.items, record_folder):
            recorded, state = 0, "not asked"
            keys: set[str] = set()
            for conversation, _, found in asked.recorded():
                recorded += conversation.is_over(found)
                keys.update(answer.key for answer in found)
            if recorded == asked.items:
                state = "complete"
            elif keys:
                others = _others(sets, place) if others is None else others
                state = "not asked" if keys <= _accounted_for(asked, others) else "partial"
            row = (asked.model.name, asked.model.family, asked.items, recorded, state)
            rows.append((each.study, each.item_set, *row))
    columns = ["study", "item_set", "model", "family", "items", "recorded", "state"]
    return pd.DataFrame(rows, columns=columns)


#: Sets that may be answered in full where a notebook reads another one that shares items with them. Not
#: ``full``: who has answered it has answered all that it shares.
_SHARING = ("smoke", "n4", "n20", "n40", "layers", "standard", "subset")


class _Other(NamedTuple):
    """Conversations of another set of a study; whether their answers count before all of them are there."""

    conversations: Sequence[Conversation]
    in_part: bool


def _others(sets: Sequence[Chosen], place: int) -> list[_Other]:
    """The sets that may share items with the one at a place: those beside it, and `_SHARING`."""
    study = catalogue.study(sets[place].study)
    found, known = [], set()
    for other_place, other in enumerate(sets):
        if other.study == study.name:
            known.add(other.item_set)
            if other_place != place:
                found.append(_Other(study.conversations(other.items), other_place < place))
    for item_set in _SHARING:
        # A study need not have a set of the name, nor what it is made of.
        with suppress(UserError):
            if item_set not in known:
                found.append(_Other(study.conversations(study.items(item_set)), in_part=False))
    return found


def _accounted_for(asked: Questions, others: Sequence[_Other]) -> set[str]:
    """Keys of the answers that a model's record holds because other sets were asked."""
    keys: set[str] = set()
    for conversations, in_part in others:
        other = replace(asked, conversations=conversations)
        if in_part or not other.missing():
            keys |= other.recorded_keys()
    return keys


def complete(each: Chosen, table: pd.DataFrame) -> list[Model]:
    """The models of a set whose records answer all of it.

    Parameters
    ----------
    table
        From `coverage`.
    """
    return _in_state("complete", each, table)


def _in_state(state: str, each: Chosen, table: pd.DataFrame) -> list[Model]:
    of_set = (table["study"] == each.study) & (table["item_set"] == each.item_set)
    names = set(table.loc[of_set & (table["state"] == state), "model"])
    return [model for model in each.models if model.name in names]


def to_ask(
    sets: Sequence[Chosen], table: pd.DataFrame, record_folder: Path = paths.RESPONSES
) -> pd.DataFrame:
    """What it would take to ask the models that were not asked; nothing is sent.

    Sets of a study may share items. Each set is counted as if it were the only one.

    Parameters
    ----------
    table
        From `coverage`.

    Returns
    -------
    pandas.DataFrame
        study, item_set, model, requests, input_tokens, output_tokens (at most), dollars, dollars_cached (with
        the provider's prefix cache); dollars are NaN where the registry has no price.
    """
    rows = []
    for each in sets:
        waiting = _in_state("not asked", each, table)
        for plan in plans(each.study, waiting, each.items, record_folder):
            price, usage = plan.price, plan.usage
            costs = [use.cost(price) if price else math.nan for use in (usage.uncached(), usage)]
            tokens = round(usage.input), round(usage.output)
            rows.append((each.study, each.item_set, plan.model, plan.requests, *tokens, *costs))
    columns = ["study", "item_set", "model", "requests", "input_tokens", "output_tokens"]
    return pd.DataFrame(rows, columns=[*columns, "dollars", "dollars_cached"])


def stop_if_partial(table: pd.DataFrame, record_folder: Path = paths.RESPONSES) -> None:
    """Stop when a record answers only a part of a set.

    Parameters
    ----------
    table
        From `coverage`.

    Raises
    ------
    UserError
        With study, model, count, and the command that completes the record.
    """
    partial = table[table["state"] == "partial"]
    columns = ["study", "item_set", "model", "items", "recorded"]
    lines = [
        f"  {study}: {model}: {items - recorded} of {items} items are not answered in full; "
        f"{_command('query', study, model, record_folder, item_set)}"
        for study, item_set, model, items, recorded in partial[columns].itertuples(index=False, name=None)
    ]
    if lines:
        raise UserError(
            "some records are not complete; these commands ask for the rest:\n" + "\n".join(lines)
        )


def stop_if_unanswered(each: Chosen, table: pd.DataFrame, record_folder: Path = paths.RESPONSES) -> None:
    """Stop when no model has answered a set, of which there would be nothing to say.

    Parameters
    ----------
    table
        From `coverage`.

    Raises
    ------
    UserError
        With study, set, folder, and a command that asks a model.
    """
    if complete(each, table):
        return
    free_first = [model.name for model in sorted(each.models, key=lambda model: not model.is_local)]
    model = [*free_first, "NAME"][0]
    command = _command("query", each.study, model, record_folder, each.item_set)
    raise UserError(
        f"no model has answered {each.study}/{each.item_set} in {paths.shown(record_folder)}; "
        f"to ask one: {command}"
    )


def orphans(sets: Sequence[Chosen], record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """Recorded answers, and those of them that none of a study's sets asks for: kept, and counted.

    Returns
    -------
    pandas.DataFrame
        study, model, answers (on record in all), orphans.
    """
    asked_for: dict[tuple[str, str], set[str]] = {}
    recorded: dict[tuple[str, str], set[str]] = {}
    for each in sets:
        for asked in questions(each.study, each.models, each.items, record_folder):
            place = each.study, asked.model.name
            recorded[place] = set(asked.record.answers)
            asked_for[place] = asked_for.get(place, set()) | asked.recorded_keys()
    rows = [(*place, len(recorded[place]), len(recorded[place] - keys)) for place, keys in asked_for.items()]
    return pd.DataFrame(rows, columns=["study", "model", "answers", "orphans"])


def unlisted(record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """Models with answers on record to a study for which the paper does not list them.

    Returns
    -------
    pandas.DataFrame
        study, model, sorted. Their answers are kept, and enter no result.
    """
    listed: dict[str, set[str]] = {}
    for place, names in catalogue.registry().paper.items():
        listed.setdefault(place.partition("/")[0], set()).update(names)
    rows = []
    for study, known in sorted(listed.items()):
        of_paper = {record_path(record_folder, study, name) for name in known}
        on_record = set((record_folder / study).glob("*.jsonl")) - set(
            (record_folder / study).glob("*.log.jsonl")
        )
        rows += [(study, model_of(path)) for path in sorted(on_record - of_paper)]
    return pd.DataFrame(rows, columns=["study", "model"])


def answers(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
) -> pd.DataFrame:
    """The recorded answers of several models, read: see `Questions.answers`; without models no rows."""
    frames = [asked.answers() for asked in questions(study, models, items, record_folder)]
    columns = ["model", "item", "repeat", "turn", "status", "choice", "reply", "error"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def answered(
    sets: Sequence[Chosen], table: pd.DataFrame, record_folder: Path = paths.RESPONSES
) -> list[Answered]:
    """Several sets with the models whose records answer all of them, in the order of these.

    Parameters
    ----------
    table
        From `coverage`, of these sets.
    """
    return [
        Answered(each.study, each.item_set, each.items, complete(each, table), record_folder) for each in sets
    ]
