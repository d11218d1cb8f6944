"""Commands that ask models and manage their answers: query, batch, record."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deepvalues.ask.settings import Settings
from deepvalues.cli.command import (
    KEY_VARIABLE,
    MODEL,
    SET,
    STUDY,
    Command,
    Commands,
    flag,
    option,
    positive,
    record,
)
from deepvalues.core import paths
from deepvalues.core.errors import UserError

if TYPE_CHECKING:
    from deepvalues.ask.questions import Questions
    from deepvalues.ask.registry import Model, Price
    from deepvalues.ask.run_query import Outcome

COMMANDS = Commands()
_USUAL, _DEFAULT = Settings(), "(default: %(default)s)"


def price(text: str) -> Price:
    """Dollars per million tokens, as in 0.1,0.4."""
    from deepvalues.ask.registry import Price

    try:
        into, out = map(float, text.split(","))
    except ValueError:
        into = out = math.nan
    if not (0 <= into < math.inf and 0 <= out < math.inf):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not dollars per million tokens in and out, as in 0.1,0.4"
        )
    # The price of cached tokens is unknown; they may cost as much as others.
    return Price(into, into, out, f"{datetime.now():%Y-%m-%d}")


@COMMANDS.add(
    "--study dvb --set smoke --model agent-value --record /tmp/answers",
    STUDY,
    SET,
    flag("--paper", "ask everything that the paper needs from the models, in all studies"),
    MODEL,
    option("--base-url", "URL", "any OpenAI-compatible endpoint, with any model name"),
    KEY_VARIABLE,
    record(),
    option(
        "--concurrency",
        "N",
        f"maximum number of requests in flight {_DEFAULT}",
        int,
        default=_USUAL.concurrency,
    ),
    option("--timeout", "SECONDS", f"timeout per attempt {_DEFAULT}", positive, default=_USUAL.timeout),
    option("--threads", "N", "threads of the server for open weights (default: one per processor)", int),
    option("--rpm", "N", "maximum requests per minute", positive),
    option("--tpm", "N", "maximum tokens per minute", positive),
    option("--max-cost", "USD", "stop before all models together could cost more than this", positive),
    option("--price", "IN,OUT", "dollars per million tokens, instead of the price in data/models.yml", price),
    flag("--dry-run", "show what would be sent and what it would cost"),
    flag("--yes", "skip the confirmation of costs"),
    option(
        "--retry",
        "STATUS",
        "ask again for answers read as refused, unparsable or truncated; can be repeated",
        action="append",
        default=[],
    ),
)
def query(arguments: argparse.Namespace) -> int:
    """Ask models for what their records lack; recorded answers are never asked for again."""
    from deepvalues.ask import run_query
    from deepvalues.ask.weights.serve import THREADS_VARIABLE
    from deepvalues.card.gather import ENOUGH, card_command

    models = _chosen_models(arguments)
    if arguments.threads is not None:
        # In the environment, as heads start the servers of the models that they read on their own.
        os.environ[THREADS_VARIABLE] = str(arguments.threads)
    if arguments.price:
        models = [replace(model, price=arguments.price) for model in models]
    folder, retry = arguments.record, frozenset(arguments.retry)
    settings = Settings(
        concurrency=arguments.concurrency,
        timeout=arguments.timeout,
        requests_per_minute=arguments.rpm,
        tokens_per_minute=arguments.tpm,
        max_cost=arguments.max_cost,
    )
    if arguments.paper:
        if arguments.study or arguments.set:
            raise UserError("--paper asks everything that the paper needs: drop --study and --set")
        parts = run_query.parts_of_paper(models, folder, retry)
    else:
        parts = run_query.parts(*place(arguments), models, folder, retry)
    if arguments.dry_run:
        print("\n".join(run_query.lines(parts)))
        return 0
    failed = 0
    yes, show = arguments.yes, arguments.paper
    for part, row in run_query.ask(
        parts, record_folder=folder, settings=settings, retry=retry, yes=yes, show=show
    ):
        print(f"{part.study}: {outcome(row)}" if arguments.paper else outcome(row), flush=True)
        failed += row.failed
    if failed:
        return 1
    if any(item_set in ENOUGH.get(part.study, ()) for part in parts for item_set in part.item_sets):
        for model in models:
            print(f"{model.name}: for its report card, run: {card_command(model, folder)}")
    return 0


def _chosen_models(arguments: argparse.Namespace) -> list[Model]:
    from deepvalues.ask import catalogue

    registry = catalogue.registry()
    names = dict.fromkeys(arguments.model)
    return [registry.model(name, arguments.base_url, arguments.key_variable) for name in names]


def place(arguments: argparse.Namespace) -> tuple[str, str]:
    """The study and set to ask; by default Study 1, and the first set of a study that the paper uses."""
    from deepvalues.ask import catalogue

    study = catalogue.study(arguments.study or "dvb").name
    return study, arguments.set or (*catalogue.registry().sets(study), "standard")[0]


def outcome(row: Outcome) -> str:
    """The outcome of a run, in one line."""
    line = f"{row.model}: {row.asked} asked, {row.replayed} replayed, {row.failed} failed"
    if row.unread:
        line += f"; {row.unread}"
    if row.orphans:
        line += f", {row.orphans} answers to other prompts kept"
    if not math.isnan(row.spent):
        line += f"; spent ${row.spent:.2f}, saved ${row.saved_by_record:.2f} by the record and "
        line += f"${row.saved_by_caching:.2f} by prefix caching"
    return line


_BATCH = "--study dvb --set full --model gpt-4.1-nano-2025-04-14"
_BATCH_OPTIONS = (
    STUDY,
    SET,
    MODEL,
    option("--base-url", "URL", "an endpoint with a batch service like OpenAI's"),
    KEY_VARIABLE,
    record(),
)
COMMANDS["batch"] = Command(
    None, "Ask through a batch service: half the price, within a day.", f"batch submit {_BATCH}"
)


def _batch_questions(arguments: argparse.Namespace) -> Iterator[Questions]:
    from deepvalues.ask import catalogue, on_record

    models = _chosen_models(arguments)
    study, item_set = place(arguments)
    items = catalogue.study(study).items(item_set)
    for questions in on_record.questions_by_model(study, models, items, arguments.record):
        yield questions
        for notice in questions.record.notices:
            print(notice)


@COMMANDS.add(_BATCH, *_BATCH_OPTIONS, flag("--yes", "skip the confirmation of costs"))
def batch_submit(arguments: argparse.Namespace) -> None:
    """Submit what the records and all open batches lack."""
    from deepvalues.ask import run_query

    for questions in _batch_questions(arguments):
        part = run_query.submit(questions, arguments.yes)
        what = f"{part.batch}: {len(part.requests):,} requests submitted" if part else "nothing to submit"
        print(f"{questions.model.name}: {what}")


@COMMANDS.add(_BATCH, *_BATCH_OPTIONS)
def batch_status(arguments: argparse.Namespace) -> None:
    """Show the open batches."""
    from deepvalues.ask import batch

    for questions in _batch_questions(arguments):
        for line in batch.status(questions) or ["no open batch"]:
            print(f"{questions.model.name}: {line}")


@COMMANDS.add(_BATCH, *_BATCH_OPTIONS)
def batch_collect(arguments: argparse.Namespace) -> int:
    """Collect the replies of finished batches; the exit status is 0 if none is missing."""
    from deepvalues.ask import batch

    complete = True
    for questions in _batch_questions(arguments):
        done = batch.collect(questions)
        missing = questions.missing()
        line = f"{questions.model.name}: {done.answered:,} replies collected, {done.failed:,} failed"
        line += f", {done.open:,} pending; the record lacks {missing:,} of {questions.items:,}"
        print(line + (f"; last error: {done.last_error}" if done.last_error else ""))
        complete = complete and not missing
    return 0 if complete else 1


COMMANDS["record"] = Command(
    None,
    "Adopt answers from another base URL, or list models that are not fully in the paper.",
    "record adopt --model NAME --from /tmp/answers",
)


@COMMANDS.add(
    "--model NAME --from /tmp/answers --base-url https://host/v1",
    option("--model", "NAME", "its name in data/models.yml", required=True),
    option("--from", "DIR", "the record with the answers", Path, dest="source", required=True),
    option("--base-url", "URL", "the --base-url that was used (default: that of the model's endpoint)"),
    record("the paper's record"),
)
def record_adopt(arguments: argparse.Namespace) -> None:
    """Copy answers that were requested with --base-url to the record of a model's entry; sends nothing."""
    from deepvalues.ask import catalogue
    from deepvalues.ask.adopt import adopt

    model = catalogue.registry().model(arguments.model)
    for adopted in adopt(model, arguments.source, arguments.base_url, arguments.record):
        print(f"{model.name}: {adopted}")


@COMMANDS.add("", record("the paper's record"))
def record_status(arguments: argparse.Namespace) -> None:
    """List models that are on record but not in the paper, and those in the paper but incomplete."""
    import pandas as pd

    from deepvalues.ask import on_record, record_counts
    from deepvalues.paper import manifest

    file = paths.RESULTS / "query" / "coverage.csv"
    if not file.is_file():
        raise UserError(f"{paths.shown(file)}: missing; make paper writes it")
    unlisted = on_record.unlisted(arguments.record)
    changed = manifest.changed_records(paths.ROOT) if arguments.record == paths.RESPONSES else []
    lines = [
        *([] if unlisted.empty else [record_counts.unlisted(unlisted)]),
        *record_counts.incomplete(pd.read_csv(file)),
    ]
    if changed:
        lines += ["This is as of the last make paper; the record has changed since:", *changed]
    print("\n".join(lines))
