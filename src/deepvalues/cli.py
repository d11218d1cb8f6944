"""The thin command line: reads arguments, calls the package, prints what comes out.

A user's mistake ends in one message on standard error and exit status 2. A reader that has gone, as `head`
does, ends it without a word.
"""

from __future__ import annotations

import argparse
import errno
import io
import math
import os
import select
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deepvalues import __version__
from deepvalues.core.errors import UserError

if TYPE_CHECKING:
    from deepvalues.ask.questions import Questions
    from deepvalues.ask.registry import Model, Price
    from deepvalues.ask.run_query import Outcome
    from deepvalues.ask.settings import Settings
    from deepvalues.survey.questions import Survey


KEY_VARIABLE = (
    "the environment variable that holds the key for --base-url; without it a key of data/models.yml is sent "
    "to its own host, and none to any other"
)


def _query(arguments: argparse.Namespace) -> int:
    from deepvalues.ask import catalogue, run_query
    from deepvalues.ask.settings import Settings

    models = _chosen_models(arguments)
    if arguments.price:
        models = [replace(model, price=arguments.price) for model in models]
    retry = frozenset(arguments.retry)
    settings = Settings(
        concurrency=arguments.concurrency,
        timeout=arguments.timeout,
        requests_per_minute=arguments.rpm,
        tokens_per_minute=arguments.tpm,
        max_cost=arguments.max_cost,
        threads=arguments.threads,
    )
    if arguments.paper:
        return _query_for_paper(arguments, models, settings, retry)
    study, item_set = _place(arguments)
    items = catalogue.study(study).items(item_set)
    if arguments.dry_run:
        for plan in run_query.plans(study, models, items, arguments.record, retry):
            print("\n".join(plan.lines()))
        return 0
    done = run_query.query(
        study,
        models,
        items,
        record_folder=arguments.record,
        settings=settings,
        retry=retry,
        yes=arguments.yes,
    )
    for row in done.itertuples(index=False, name=None):
        print(_outcome(run_query.Outcome(*row)))
    return 1 if done["failed"].any() else 0


def _chosen_models(arguments: argparse.Namespace) -> list[Model]:
    from deepvalues.ask import catalogue

    registry = catalogue.registry()
    return [registry.model(name, arguments.base_url, arguments.key_variable) for name in arguments.model]


def _query_for_paper(
    arguments: argparse.Namespace, models: Sequence[Model], settings: Settings, retry: frozenset[str]
) -> int:
    from deepvalues.ask import for_paper

    if arguments.study or arguments.set:
        raise UserError("--paper asks all sets of all studies that the paper needs: drop --study and --set")
    found = for_paper.parts(models, arguments.record, retry)
    if arguments.dry_run:
        print("\n".join(for_paper.lines(found)))
        return 0

    def tell(study: str, row: Outcome) -> None:
        print(f"{study}: {_outcome(row)}", flush=True)

    whole = for_paper.ask(
        found, tell, record_folder=arguments.record, settings=settings, retry=retry, yes=arguments.yes
    )
    return 0 if whole else 1


def _place(arguments: argparse.Namespace) -> tuple[str, str]:
    """Study and set as they are named; by default Study 1, and the first set of it that the paper reads."""
    from deepvalues.ask import catalogue

    study = catalogue.study(arguments.study or "dvb").name
    return study, arguments.set or (*catalogue.registry().sets(study), "standard")[0]


def _outcome(row: Outcome) -> str:
    """What a run did, in one line."""
    line = f"{row.model}: {row.asked} asked, {row.replayed} replayed, {row.failed} failed"
    if row.unread:
        line += f"; {row.unread}"
    if row.orphans:
        line += f", {row.orphans} answers to other prompts kept"
    if not math.isnan(row.spent):
        line += f"; spent ${row.spent:.2f}, saved ${row.saved_by_record:.2f} by the record and "
        line += f"${row.saved_by_caching:.2f} by prefix caching"
    return line


def _data(arguments: argparse.Namespace) -> int:
    from deepvalues.core import paths
    from deepvalues.core.downloads import NoNetworkError, Store
    from deepvalues.studies.dvb.items import public_prompts
    from deepvalues.studies.dvb.study import BENCHMARK

    store = Store.project()
    problems, offline = [], {}
    names = arguments.name or list(store.sources)
    for name in names:
        # One address that is out of reach says nothing about the others.
        try:
            print(store.fetch(name), flush=True)
        except NoNetworkError as error:
            offline[name] = str(error)
        except UserError as error:
            problems.append(str(error))
    if len(offline) > 1:
        problems.append(
            f"no network: {', '.join(offline)} could not be fetched. Copies of the files in "
            f"{paths.shown(store.folder)}/ would do (names and addresses: "
            f"{paths.shown(store.sources_file)}); then run this again"
        )
    else:
        problems += offline.values()
    if set(names) >= set(public_prompts.FILES) and all(
        store.path(name).exists() for name in public_prompts.FILES
    ):
        print(public_prompts.check(store, paths.PUBLIC_PROMPTS, BENCHMARK.bank), flush=True)
    if problems:
        raise UserError("\n".join(problems))
    return 0


def _each(names: Sequence[str], fetch: Callable[[str], object]) -> None:
    """Fetch one after the other: an address that is out of reach says nothing about the others."""
    problems = []
    for name in names:
        try:
            print(fetch(name), flush=True)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def _serve(arguments: argparse.Namespace) -> int:
    from deepvalues.ask import catalogue
    from deepvalues.ask.loopback.server import create_app, serve_forever

    models = catalogue.local_models()

    def tell(url: str) -> None:
        print(f"Serving {len(models)} local models at {url} (Ctrl-C stops)", flush=True)

    serve_forever(create_app(models), arguments.port, tell)
    return 0


def _models(arguments: argparse.Namespace) -> int:
    from deepvalues.ask import catalogue, run_query
    from deepvalues.ask.registry import FREE

    if arguments.fetch is not None:
        return _fetch_weights(arguments.fetch)
    models = list(catalogue.registry().models.values())
    study, item_set = _place(arguments)
    plans = run_query.plans(study, models, catalogue.study(study).items(item_set))
    print(f"cost: US dollars for what the {item_set} set of {study} still lacks, without caching")
    row = "{:28} {:16} {:11} {:13} {:7} {:9} {:>8} {}"
    print(row.format("model", "family", "endpoint", "developer", "size", "letters", "cost", "ready"))
    for model, plan in zip(models, plans, strict=True):
        endpoint = model.endpoint
        ready = _readiness(model)
        cost = f"{plan.usage.uncached().cost(model.price):.2f}" if model.price else "-"
        about = (model.name, model.family, endpoint.kind, model.developer, model.size_tier)
        print(row.format(*about, plan.letters or FREE, cost, ready))
    return 0


def _fetch_weights(names: Sequence[str]) -> int:
    from deepvalues.ask import catalogue
    from deepvalues.ask.weights.fetch import fetch, sources

    registry = catalogue.registry()
    found = [model for model in registry.models.values() if model.weights and sources(model.weights)]
    _each(names or [model.name for model in found], lambda name: fetch(registry.model(name)))
    return 0


def _readiness(model: Model) -> str:
    """Whether a model can be asked, or what it lacks; weights are not read for this."""
    if model.weights:
        from deepvalues.ask.weights.fetch import place
        from deepvalues.ask.weights.serve import is_installed

        return "yes" if is_installed() and place(model.weights).is_file() else "make models"
    return "yes" if model.endpoint.key else f"set {model.endpoint.key_variable}"


def _check(_: argparse.Namespace) -> int:
    from deepvalues.ask import catalogue
    from deepvalues.core import paths
    from deepvalues.paper import check, manifest
    from deepvalues.studies.dvb.study import BENCHMARK

    print(f"bank {BENCHMARK.bank.version}: every rule holds")
    print(f"design: {len(BENCHMARK.design.cells)} cells, made for this bank")
    names = catalogue.registry().models
    found = check.problems(paths.PAPER, names=names, declared=manifest.made(paths.ROOT))
    found += [
        check.Problem(paths.ROOT / manifest.MANIFEST, 1, fault) for fault in manifest.faults(paths.ROOT)
    ]
    for problem in found:
        print(problem)
    print(f"manuscript: {check.summary(paths.PAPER)}")
    print(f"manifest: {manifest.summary(paths.ROOT)}")
    return 1 if found else 0


def _surveys() -> dict[str, Callable[[int], Survey]]:
    """Every survey by name; each is built from a seed."""
    from deepvalues.studies.dvb.study import BENCHMARK
    from deepvalues.studies.dvb.surveys import SURVEYS
    from deepvalues.studies.profiles import survey
    from deepvalues.studies.profiles.study import PROFILES

    found = {name: partial(build, BENCHMARK) for name, build in SURVEYS.items()}
    return {**found, survey.NAME: partial(survey.value_profiles, PROFILES.stimuli)}


def _survey(arguments: argparse.Namespace) -> int:
    from deepvalues.studies.dvb.study import BENCHMARK
    from deepvalues.studies.profiles.survey import NAME, reference_tables
    from deepvalues.survey.files import results_of, write_survey, write_tables

    surveys = _surveys()
    if arguments.name not in surveys:
        raise UserError(f"unknown survey {arguments.name!r}; there are {', '.join(surveys)}")
    seed = BENCHMARK.seed if arguments.seed is None else arguments.seed
    survey = surveys[arguments.name](seed)
    if arguments.read:
        tables = results_of(survey, arguments.read)
        if arguments.name == NAME:
            tables |= reference_tables(tables)
        for rule, limit, respondents in tables["exclusions"].itertuples(index=False, name=None):
            print(f"{rule}{f' ({limit})' if limit else ''}: {respondents}")
        written = write_tables(survey, tables, arguments.out)
    else:
        written = write_survey(survey, arguments.out, seed, arguments.respondents)
    print("\n".join(map(str, written)))
    return 0


def _design(arguments: argparse.Namespace) -> int:
    from deepvalues.core import paths
    from deepvalues.studies.dvb.stimuli.bank import load_bank
    from deepvalues.studies.dvb.stimuli.design import build_design, write_design

    design = build_design(load_bank(paths.BANK), arguments.seed)
    write_design(design, paths.DESIGNS)
    print(f"{paths.shown(paths.DESIGNS)}: {len(design.cells)} cells from seed {design.seed}")
    return 0


def _select(arguments: argparse.Namespace) -> int:
    from deepvalues.core import paths
    from deepvalues.studies.dvb.stimuli import selection
    from deepvalues.studies.dvb.stimuli.bank import checksum, hold_to_rules, load_bank, read_bank

    if not arguments.check:
        pool = selection.read_pool(paths.POOL)
        chosen = selection.select(read_bank(paths.BANK), pool)
        # Before the files are touched: what breaks a rule replaces nothing.
        hold_to_rules(chosen, paths.POOL)
        selection.write_wordings(chosen, paths.BANK)
        print(f"{paths.shown(paths.BANK)}: chosen from {sum(map(len, pool.values())):,} wordings", flush=True)
    rates = selection.measure(load_bank(paths.BANK), checksum(paths.BANK))
    means = selection.mean_rates(rates)
    print("\n".join(selection.described(means)))
    if not arguments.check:
        selection.write_rates(rates, paths.LEARNER_RATES)
        print(f"{paths.shown(paths.LEARNER_RATES)}: {len(rates)} rates")
    return 0


def _notebook(arguments: argparse.Namespace) -> int:
    from deepvalues.core import paths
    from deepvalues.paper.execute import run_notebook

    run_notebook(paths.ROOT, arguments.name, dict(_parameter(text) for text in arguments.parameter))
    return 0


def _parameter(text: str) -> tuple[str, object]:
    from deepvalues.core.files import yaml_fault

    name, equals, setting = text.partition("=")
    if not equals:
        raise UserError(f"a parameter is NAME=VALUE, not {text!r}")
    try:
        return name, yaml.safe_load(setting)
    except yaml.YAMLError as error:
        raise UserError(f"-p {text}: the value is not YAML: {yaml_fault(error)}") from None


def _render(_: argparse.Namespace) -> int:
    from deepvalues.paper.render import render

    render()
    return 0


def _browser(arguments: argparse.Namespace) -> int:
    from deepvalues.browser.write import write_browser
    from deepvalues.core import paths

    weight = write_browser(arguments.out)
    print(f"The answers are in {paths.shown(arguments.out / 'index.html')}: {weight.sentence()}.")
    return 0


def _variables(_: argparse.Namespace) -> int:
    from deepvalues.core import paths
    from deepvalues.paper.numbers import write_variables

    files = sorted(paths.RESULTS.glob("*/numbers.json"))
    write_variables(files, paths.VARIABLES)
    print(f"{paths.shown(paths.VARIABLES)} from {', '.join(paths.shown(file) for file in files)}")
    return 0


def _manifest(_: argparse.Namespace) -> int:
    from deepvalues.core import paths
    from deepvalues.paper import manifest

    print(f"{paths.shown(manifest.write(paths.ROOT))}: {manifest.summary(paths.ROOT)}")
    return 0


def _trace(arguments: argparse.Namespace) -> int:
    from deepvalues.core import paths
    from deepvalues.paper.trace import trace

    for key in arguments.key:
        print("\n".join(trace(paths.ROOT, key)))
    return 0


def _reproduce(arguments: argparse.Namespace) -> int:
    from deepvalues.core import guard, paths
    from deepvalues.paper import reproduce

    if "MAKELEVEL" in os.environ:
        # Folders that are to be deleted are, also when make is killed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
        guard.end_with(os.getppid(), signal.SIGTERM)
    rows = reproduce.reproduce(paths.ROOT, encoder=arguments.encoder, keep=arguments.keep)
    print(reproduce.report(rows), flush=True)
    same = reproduce.reproduced(rows)
    if same:
        print("Everything was rebuilt as it is in git.")
    else:
        print("\n".join(["The rebuilt files are not those in git.", *reproduce.other_versions(paths.ROOT)]))
    return 0 if _reask(arguments.open) and same else 1


def _reask(wanted: bool) -> bool:
    """Ask the open models again, where that is wanted; whether they choose as on record."""
    if not wanted:
        return True
    from deepvalues.ask import catalogue, reask

    found = reask.reask(list(catalogue.registry().models.values()))
    print(reask.report(found))
    return all(each.is_reproduced for each in found)


def _dictionary(_: argparse.Namespace) -> int:
    from deepvalues.core import paths
    from deepvalues.paper import metadata

    print(f"described: {', '.join(paths.shown(file) for file in metadata.write(paths.ROOT))}")
    return 0


def _batch_questions(arguments: argparse.Namespace) -> Iterator[Questions]:
    from deepvalues.ask import catalogue, on_record

    models = _chosen_models(arguments)
    study, item_set = _place(arguments)
    items = catalogue.study(study).items(item_set)
    for questions in on_record.questions_by_model(study, models, items, arguments.record):
        yield questions
        for notice in questions.record.notices:
            print(notice)


def _batch_submit(arguments: argparse.Namespace) -> int:
    from deepvalues.ask import run_query

    for questions in _batch_questions(arguments):
        parts = run_query.submit(questions, arguments.yes)
        for part in parts:
            print(f"{questions.model.name}: {part.batch}: {len(part.requests):,} requests submitted")
        if not parts:
            print(f"{questions.model.name}: nothing to submit")
    return 0


def _batch_status(arguments: argparse.Namespace) -> int:
    from deepvalues.ask import batch

    for questions in _batch_questions(arguments):
        for line in batch.status(questions) or ["no open batch"]:
            print(f"{questions.model.name}: {line}")
    return 0


def _batch_collect(arguments: argparse.Namespace) -> int:
    from deepvalues.ask import batch

    complete = True
    for questions in _batch_questions(arguments):
        done = batch.collect(questions)
        missing = questions.missing()
        line = f"{questions.model.name}: {done.answered:,} replies collected, {done.failed:,} failed"
        line += f", {done.open:,} under way; the record lacks {missing:,} of {questions.items:,}"
        print(line + (f"; the last error: {done.last_error}" if done.last_error else ""))
        complete = complete and not missing
    return 0 if complete else 1


def _record_adopt(arguments: argparse.Namespace) -> int:
    from deepvalues.ask import catalogue
    from deepvalues.ask.adopt import adopt

    model = catalogue.registry().model(arguments.model)
    for found in adopt(model, arguments.source, arguments.base_url, arguments.record):
        print(f"{model.name}: {found}")
    return 0


def _record_status(arguments: argparse.Namespace) -> int:
    import pandas as pd

    from deepvalues.ask import on_record, record_counts
    from deepvalues.ask.tables import unlisted
    from deepvalues.core import paths

    file = paths.RESULTS / "query" / "coverage.csv"
    if not file.is_file():
        raise UserError(f"{paths.shown(file)}: missing; make paper writes it")
    beside = on_record.unlisted(arguments.record)
    print(
        "\n".join(
            [*([] if beside.empty else [unlisted(beside)]), *record_counts.not_whole(pd.read_csv(file))]
        )
    )
    return 0


def _record_arguments(record: argparse.ArgumentParser) -> None:
    from deepvalues.core import paths

    steps = record.add_subparsers(dest="step", required=True, metavar="STEP")
    adopt = steps.add_parser(
        "adopt",
        help="Bring answers that were asked by --base-url into the record of a model's entry; sends nothing.",
        epilog="example: deepvalues record adopt --model NAME --from /tmp/answers --base-url https://host/v1",
    )
    adopt.set_defaults(run=_record_adopt)
    adopt.add_argument("--model", required=True, metavar="NAME", help="its name in data/models.yml")
    adopt.add_argument(
        "--from", dest="source", type=Path, required=True, metavar="DIR", help="the record that holds them"
    )
    adopt.add_argument(
        "--base-url",
        metavar="URL",
        help="where they were asked (default: the address of the model's endpoint)",
    )
    status = steps.add_parser(
        "status", help="Name models that are on record and not listed, and listed and not whole."
    )
    status.set_defaults(run=_record_status)
    for step in (adopt, status):
        step.add_argument(
            "--record",
            type=Path,
            default=paths.RESPONSES,
            metavar="DIR",
            help="the paper's record (default: data/responses)",
        )


#: The commands that make calls; people can, too.
_FOR_MAKE = ("design", "select", "variables", "browser", "manifest", "dictionary", "render")


def _parser() -> argparse.ArgumentParser:
    from deepvalues.core import paths

    summaries: dict[str, str] = {}
    parser = _Grouped(
        summaries,
        prog="deepvalues",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Ask language models, trace the paper's numbers to their answers, rebuild the paper.",
        epilog="deepvalues COMMAND --help tells more of each, with an example.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser
    )

    def of_steps(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        summaries[name] = summary
        return commands.add_parser(name, description=summary, epilog=f"example: deepvalues {example}")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], summary: str, example: str
    ) -> argparse.ArgumentParser:
        added = of_steps(name, summary, example)
        added.set_defaults(run=run)
        return added

    query = command(
        "query",
        _query,
        "Ask models for what their records lack; recorded answers are never asked for again.",
        "query --study dvb --set smoke --model agent-value --record /tmp/answers",
    )
    _query_arguments(query)
    query.epilog = f"{_studies_and_sets()}\n\n{query.epilog}"
    query.formatter_class = argparse.RawDescriptionHelpFormatter
    _batch_arguments(
        of_steps(
            "batch",
            "Ask through a batch service: half the price, within a day.",
            "batch submit --study dvb --set full --model gpt-4.1-nano-2025-04-14",
        )
    )
    _record_arguments(
        of_steps(
            "record",
            "Adopt answers asked by an address, or name models that are not in the paper in full.",
            "record adopt --model NAME --from /tmp/answers",
        )
    )
    data = command(
        "data",
        _data,
        "Fetch the released data sets of others into data/downloads/, and verify them.",
        "data released-1302",
    )
    data.add_argument("name", nargs="*", metavar="NAME", help="names from data/sources.yml (default: all)")
    serve = command("serve", _serve, "Serve the local models on loopback.", "serve --port 8901")
    serve.add_argument("--port", type=_whole, default=8901, help="the port (default: %(default)s)")
    models = command(
        "models",
        _models,
        "List the models, which are ready, and what a set costs; or fetch open weights.",
        "models --fetch smollm2-135m",
    )
    models.add_argument(
        "--fetch",
        nargs="*",
        metavar="NAME",
        help="fetch the weights of these models, or of all that have any, into the user's cache",
    )
    models.add_argument("--study", help="the study (default: dvb)")
    models.add_argument("--set", help=_SET_HELP)
    command("check", _check, "Check bank, design and manuscript sources.", "check")
    survey = command(
        "survey",
        _survey,
        "Write a survey for people as a form that works offline, or read completed forms.",
        "survey value-predicts --out forms --respondents 20",
    )
    _survey_arguments(survey)
    design = command("design", _design, "Build data/stimuli/designs.yml.", "design --seed 20251102")
    design.add_argument("--seed", type=_whole, required=True, help="the study seed")
    choose = command(
        "select",
        _select,
        "Choose the bank's wordings from data/stimuli/pool/, and measure what text learners make of it. "
        "Takes minutes.",
        "select --check",
    )
    choose.add_argument(
        "--check", action="store_true", help="only measure the bank as it is, and write nothing"
    )
    notebook = command(
        "notebook",
        _notebook,
        "Run a notebook and keep a scrubbed copy in paper/notebooks/.",
        "notebook 04_social_values -p most_missing=0.2",
    )
    notebook.add_argument("name", help="its name without folder and ending")
    notebook.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="YAML value"
    )
    command("variables", _variables, "Write paper/_variables.yml from the results.", "variables")
    browser = command(
        "browser", _browser, "Write the answer browser, a static page that works from disk.", "browser"
    )
    browser.add_argument(
        "--out",
        type=Path,
        default=paths.SITE / "answers",
        metavar="DIR",
        help="the folder, which is replaced (default: paper/_site/answers)",
    )
    command("manifest", _manifest, "Write data/results/manifest.json: what made each result.", "manifest")
    reproduce = command(
        "reproduce",
        _reproduce,
        "Ask all local models again in a copy, rebuild everything, compare with what is in git.",
        "reproduce --keep /tmp/copies",
    )
    reproduce.add_argument("--encoder", action="store_true", help="ask the encoder, too (needs PyTorch)")
    reproduce.add_argument(
        "--open", action="store_true", help="ask the open models again for 100 recorded answers each"
    )
    reproduce.add_argument(
        "--keep", type=Path, metavar="DIR", help="a new folder for the two copies, kept for a look"
    )
    trace = command(
        "trace", _trace, "Follow numbers of the text back to the answers.", "trace dvb.pooled.dvgr"
    )
    trace.add_argument("key", nargs="+", metavar="KEY", help="as in {{< var KEY >}}")
    command(
        "dictionary",
        _dictionary,
        "Check the data dictionary against the files; write data/README.md, Croissant and CodeMeta.",
        "dictionary",
    )
    command("render", _render, "Render the paper to paper/_site/.", "render")
    return parser


class _Grouped(argparse.ArgumentParser):
    """A parser whose help lists the commands in two groups: argparse has groups of options only."""

    def __init__(self, summaries: dict[str, str], **named: Any) -> None:
        super().__init__(**named)
        self._summaries = summaries

    def format_help(self) -> str:
        """The help, with commands for users before those that make calls."""
        made = [name for name in self._summaries if name in _FOR_MAKE]
        used = [name for name in self._summaries if name not in _FOR_MAKE]
        parts = [self.format_usage(), f"{self.description}\n"]
        for title, names in (("for users", used), ("for make", made)):
            parts.append("\n".join([f"{title}:", *(self._line(name) for name in names), ""]))
        return "\n".join(
            [
                *parts,
                "options:\n    -h, --help  show this\n    --version   show the version\n",
                f"{self.epilog}\n",
            ]
        )

    def _line(self, name: str) -> str:
        return textwrap.fill(
            self._summaries[name],
            width=100,
            initial_indent=f"    {name:<12}",
            subsequent_indent=" " * 16,
        )


#: Of --set; which set a study's first one is stands in data/models.yml.
_SET_HELP = "its item set (default: the first that the paper reads, such as standard or subset)"


def _survey_arguments(survey: argparse.ArgumentParser) -> None:
    survey.add_argument(
        "name", metavar="NAME", help="shallowness, value-predicts, embodies, embodies-pole, profiles"
    )
    survey.add_argument("--out", type=Path, required=True, metavar="DIR", help="where files are written")
    survey.add_argument(
        "--seed", type=_whole, help="draws questions, their order and codes (default: the study seed)"
    )
    survey.add_argument(
        "--respondents", type=_whole, default=30, metavar="N", help="codes to hand out (default: %(default)s)"
    )
    survey.add_argument(
        "--read", type=Path, nargs="+", metavar="FILE", help="completed forms to read instead"
    )


def _query_arguments(query: argparse.ArgumentParser) -> None:
    from deepvalues.ask.settings import Settings
    from deepvalues.core import paths

    def option(
        name: str, default: object, metavar: str, text: str, kind: Callable[[str], object] = str
    ) -> None:
        shown = f"{text} (default: %(default)s)" if default is not None else text
        query.add_argument(name, default=default, metavar=metavar, help=shown, type=kind)

    usual = Settings()
    option("--study", None, "NAME", "the study (default: dvb)")
    option("--set", None, "NAME", _SET_HELP)
    query.add_argument(
        "--paper", action="store_true", help="ask all that the paper needs of the models, in all studies"
    )
    query.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="may be given repeatedly"
    )
    option("--base-url", None, "URL", "any OpenAI-compatible endpoint; then any model name will do")
    option("--key-variable", None, "NAME", KEY_VARIABLE)
    query.add_argument(
        "--record",
        type=Path,
        default=paths.RESPONSES,
        metavar="DIR",
        help="where answers are kept (default: data/responses)",
    )
    option("--concurrency", usual.concurrency, "N", "the most requests in flight", _whole)
    option("--timeout", usual.timeout, "SECONDS", "for one attempt at one request", _positive)
    option("--threads", None, "N", "of the server of open weights; by default one for each processor", _whole)
    option("--rpm", None, "N", "keep to so many requests a minute", _positive)
    option("--tpm", None, "N", "keep to so many tokens a minute", _positive)
    option("--max-cost", None, "USD", "stop before the next request could pass this", _positive)
    option("--price", None, "IN,OUT", "dollars per million tokens, in place of those of the registry", _price)
    query.add_argument("--dry-run", action="store_true", help="show what would be sent and what it costs")
    query.add_argument("--yes", action="store_true", help="ask a paid endpoint without a confirmation")
    query.add_argument(
        "--retry",
        action="append",
        default=[],
        metavar="STATUS",
        help="ask again what was read as refused, unparsable or truncated; may be given repeatedly",
    )


def _batch_arguments(batch: argparse.ArgumentParser) -> None:
    from deepvalues.core import paths

    steps = batch.add_subparsers(dest="step", required=True, metavar="STEP")
    for name, run, summary in (
        ("submit", _batch_submit, "Submit what the records lack; what is in an open batch is left out."),
        ("status", _batch_status, "Show the open batches."),
        ("collect", _batch_collect, "Take the replies of finished batches; status 0 when none is missing."),
    ):
        example = f"example: deepvalues batch {name} --study dvb --set full --model gpt-4.1-nano-2025-04-14"
        step = steps.add_parser(name, help=summary, description=summary, epilog=example)
        step.set_defaults(run=run)
        step.add_argument("--study", metavar="NAME", help="the study (default: dvb)")
        step.add_argument("--set", metavar="NAME", help=_SET_HELP)
        step.add_argument(
            "--model", action="append", required=True, metavar="NAME", help="may be given repeatedly"
        )
        step.add_argument("--base-url", metavar="URL", help="an endpoint with batches like OpenAI's")
        step.add_argument("--key-variable", metavar="NAME", help=KEY_VARIABLE)
        step.add_argument(
            "--record",
            type=Path,
            default=paths.RESPONSES,
            metavar="DIR",
            help="where answers are kept (default: data/responses)",
        )
    steps.choices["submit"].add_argument(
        "--yes", action="store_true", help="submit to a paid endpoint without a confirmation"
    )


# Of a ValueError argparse would tell with the name of the function that raised it.


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _price(text: str) -> Price:
    from deepvalues.ask.registry import Price

    numbers = [float(part) for part in text.split(",") if _is_price(part)]
    if len(numbers) != 2 or text.count(",") != 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not dollars per million tokens in and out, as in 0.1,0.4"
        )
    # Without a word on cached tokens they may cost as much as others.
    return Price(numbers[0], numbers[0], numbers[1], f"{datetime.now():%Y-%m-%d}")


def _is_price(text: str) -> bool:
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


#: In the help of `query`; a test holds it to the studies, which would take seconds to load for it.
_SETS = {
    "dvb, dvb-explicit, dvb-cot": "smoke, standard, full, subset, n4, n20, n40, n4-50 (cells; -100, -200, "
    "and of n20 and n40), layers, ladder, released, released-1302, authors",
    "dvb-free, dvb-ratings, dvb-validation, svo-letters, profiles-pairs": "smoke, standard",
    "svo, profiles, profiles-open, profiles-coding": "smoke, standard, full",
}


def _studies_and_sets() -> str:
    folded = (
        textwrap.fill(f"{studies}: {sets}", 100, initial_indent="  ", subsequent_indent="      ")
        for studies, sets in _SETS.items()
    )
    return "\n".join(["studies and their sets:", *folded])


_REMEDY = "`make environment` installs what the paper needs; the README names what else an extra brings"
#: Of a folder that is somebody else's, a read-only one, and a full disk.
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)

#: What it reports of one that SIGTERM, 15, has ended.
_TERMINATED = 143
#: What a shell reports of a program that the signal SIGPIPE has ended: 128 and the signal's number, 13.
_READER_GONE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal can't show is written out, as \\u8f93.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            status = _run(argv)
        except SystemExit:
            # Help and version were printed; whether they are read shows here, and not after the last line.
            print(end="", flush=True)
            raise
        print(end="", flush=True)
        return status
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # Python writes what is left once more at its end, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE


def _reader_is_gone() -> bool:
    """Whether it is standard output that nobody reads any more, and not some other pipe that broke."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        status: int = arguments.run(arguments)
        return status
    except UserError as error:
        print(f"deepvalues: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "deepvalues"):
            raise
        print(f"deepvalues: {sys.executable} lacks the package {package}: {_REMEDY}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _NOT_WRITABLE or error.filename is None:
            raise
        print(f"deepvalues: {error.filename}: can't be written: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("deepvalues: interrupted", file=sys.stderr)
        return 130
