"""Commands for the stimuli: exports, imports of other harnesses' logs, checks, surveys, wordings."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepvalues.cli.command import Commands, flag, option, record
from deepvalues.core import paths
from deepvalues.core.errors import UserError

if TYPE_CHECKING:
    from deepvalues.survey.form import Survey

COMMANDS = Commands()


@COMMANDS.add(
    "--to /tmp/deepvalues --study dvb --set n4-50",
    option("--to", "DIR", "a new or empty folder", Path, required=True),
    option("--study", "NAME", "the study (default: all)"),
    option("--set", "NAME", "its item set (default: those that the paper uses)"),
)
def export(arguments: argparse.Namespace) -> None:
    """Write the items as a data set for the model hub, with tasks for lm-evaluation-harness."""
    from deepvalues.export import write

    for line in write.write(arguments.to, write.chosen(arguments.study, arguments.set)):
        print(line)
    print(f"{paths.shown(arguments.to)}: the data set with its card, README.md, and croissant.json")


@COMMANDS.add(
    "logs/results_2026-11-20T10-00-00.json --record /tmp/answers",
    option("log", "LOG", "results_….json of lm_eval (or its folder), or an Inspect log", Path),
    option("--model", "NAME", "the respondent's name (default: model and harness)"),
    record(),
)
def import_(arguments: argparse.Namespace) -> None:
    """Import a log of lm-evaluation-harness or Inspect into the record, as a separate respondent."""
    from deepvalues.export import importing

    entries = []
    for log in importing.read(arguments.log):
        # Reported one by one, since a later log of the file may be rejected.
        print(done := importing.bring_in(log, arguments.model, arguments.record))
        entries.append(done.entry())
    for entry in dict.fromkeys(entries):
        print(f"For the paper, list it in data/models.yml under `models` and `language_models`:\n  {entry}")


@COMMANDS.add()
def check(_: argparse.Namespace) -> int:
    """Check the wording bank, the design and the manuscript's sources."""
    from deepvalues.ask import catalogue
    from deepvalues.paper import check, manifest
    from deepvalues.studies.dvb.study import BENCHMARK

    print(f"bank {BENCHMARK.bank.version}: every rule holds")
    print(f"design: {len(BENCHMARK.design.cells)} cells, made for this bank")
    names = catalogue.registry().models
    problems = check.problems(paths.PAPER, names=names, declared=manifest.made(paths.ROOT))
    problems += [
        check.Problem(paths.ROOT / manifest.MANIFEST, 1, fault) for fault in manifest.faults(paths.ROOT)
    ]
    for problem in problems:
        print(problem)
    print(f"manuscript: {check.summary(paths.PAPER)}")
    print(f"manifest: {manifest.summary(paths.ROOT)}")
    return 1 if problems else 0


def surveys() -> dict[str, Callable[[int], Survey]]:
    """Functions that build each survey from a seed, by name."""
    from deepvalues.studies.dvb.study import BENCHMARK
    from deepvalues.studies.dvb.surveys import SURVEYS
    from deepvalues.studies.profiles import survey
    from deepvalues.studies.profiles.study import PROFILES

    of_benchmark = {name: partial(build, BENCHMARK) for name, build in SURVEYS.items()}
    return {**of_benchmark, survey.NAME: partial(survey.value_profiles, PROFILES.stimuli)}


@COMMANDS.add(
    "value-predicts --out forms --respondents 20",
    option("name", "NAME", "shallowness, value-predicts, embodies, embodies-pole, profiles"),
    option("--out", "DIR", "the output folder", Path, required=True),
    option("--seed", "SEED", "seed for questions, their order and codes (default: the study's)", int),
    option("--respondents", "N", "number of codes to hand out (default: %(default)s)", int, default=30),
    option("--read", "FILE", "completed forms to read instead", Path, nargs="+"),
)
def survey(arguments: argparse.Namespace) -> None:
    """Write a survey as an offline form, or read completed forms."""
    from deepvalues.studies.dvb.study import BENCHMARK
    from deepvalues.studies.profiles.survey import NAME, reference_tables
    from deepvalues.survey.form import write_survey, write_tables
    from deepvalues.survey.results import results_of

    known = surveys()
    if arguments.name not in known:
        raise UserError(f"unknown survey {arguments.name!r}; there are {', '.join(known)}")
    seed = BENCHMARK.seed if arguments.seed is None else arguments.seed
    survey = known[arguments.name](seed)
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


@COMMANDS.add(
    "--seed 20251102", option("--seed", "SEED", "the study seed", int, required=True), for_make=True
)
def design(arguments: argparse.Namespace) -> None:
    """Build data/stimuli/designs.yml."""
    from deepvalues.studies.dvb.stimuli.bank import load_bank
    from deepvalues.studies.dvb.stimuli.design import build_design, write_design

    design = build_design(load_bank(paths.BANK), arguments.seed)
    write_design(design, paths.DESIGNS)
    print(f"{paths.shown(paths.DESIGNS)}: {len(design.cells)} cells from seed {design.seed}")


@COMMANDS.add("--check", flag("--check", "only measure the current bank, and write nothing"), for_make=True)
def select(arguments: argparse.Namespace) -> None:
    """Choose the bank's wordings from data/stimuli/pool/, and measure text learners on it (takes minutes)."""
    from deepvalues.studies.dvb.stimuli import selection
    from deepvalues.studies.dvb.stimuli.bank import check_rules, checksum, load_bank, read_bank

    if not arguments.check:
        pool = selection.read_pool(paths.POOL)
        chosen = selection.select(read_bank(paths.BANK), pool)
        # Checked before any file is overwritten.
        check_rules(chosen, paths.POOL)
        selection.write_wordings(chosen, paths.BANK)
        print(f"{paths.shown(paths.BANK)}: chosen from {sum(map(len, pool.values())):,} wordings", flush=True)
    rates = selection.measure(load_bank(paths.BANK), checksum(paths.BANK))
    means = selection.mean_rates(rates)
    print("\n".join(selection.summary_lines(means)))
    if not arguments.check:
        selection.write_rates(rates, paths.LEARNER_RATES)
        print(f"{paths.shown(paths.LEARNER_RATES)}: {len(rates)} rates")
