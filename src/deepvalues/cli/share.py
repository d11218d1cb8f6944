"""Commands that bring the benchmark to other harnesses, and their logs back: export, import."""

from __future__ import annotations

import argparse
from pathlib import Path

from deepvalues.cli.command import Commands, option, record
from deepvalues.core import paths

COMMANDS = Commands()


@COMMANDS.add(
    "--to /tmp/deepvalues --study dvb --set n4-50",
    option("--to", "DIR", "a new or empty folder", Path, required=True),
    option("--study", "NAME", "the study (default: all)"),
    option("--set", "NAME", "its item set (default: those that the paper reads)"),
)
def export(arguments: argparse.Namespace) -> None:
    """Write the items as a data set for the model hub, with tasks of lm-evaluation-harness."""
    from deepvalues.export import material, write

    for line in write.write(arguments.to, material.chosen(arguments.study, arguments.set)):
        print(line)
    print(f"{paths.shown(arguments.to)}: the data set with its card, README.md, and croissant.json")


@COMMANDS.add(
    "logs/results_2026-11-20T10-00-00.json --record /tmp/answers",
    option("log", "LOG", "results_….json of lm_eval (or its folder), or a log of Inspect", Path),
    option("--model", "NAME", "the respondent's name (default: the model's and the harness's)"),
    record(),
)
def import_(arguments: argparse.Namespace) -> None:
    """Read a log of lm-evaluation-harness or Inspect into the record, as a respondent of its own."""
    from deepvalues.export import importing

    entries = []
    for log in importing.read(arguments.log):
        # Each is told once it is in the record, as another log of the file may be refused.
        print(done := importing.bring_in(log, arguments.model, arguments.record))
        entries.append(done.entry())
    for entry in dict.fromkeys(entries):
        print(
            f"In the paper only if data/models.yml has it, under `models` and `language_models`:\n  {entry}"
        )
