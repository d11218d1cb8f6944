"""Commands that bring the benchmark to other harnesses, and their logs back: export, import."""

from __future__ import annotations

import argparse
from pathlib import Path

from deepvalues.cli.command import Commands, option
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
