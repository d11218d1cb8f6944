"""The argument parser, and the help that lists all commands.

It uses argparse: typer does not support options with any number of values (``--fetch [NAME ...]``, ``--read
FILE ...``), would add a tenth of a second to every start, and would save no lines.
"""

from __future__ import annotations

import argparse
import textwrap

from deepvalues import __version__
from deepvalues.cli import models, paper, query, stimuli

COMMANDS = {**query.COMMANDS, **models.COMMANDS, **stimuli.COMMANDS, **paper.COMMANDS}


def parser() -> argparse.ArgumentParser:
    """Build the parser for the command line."""
    top = _Grouped(
        prog="deepvalues",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Ask language models, trace the paper's numbers to their answers, rebuild the paper.",
        epilog="deepvalues COMMAND --help describes each command, with an example.",
    )
    top.add_argument("--version", action="version", version=__version__)
    groups = {
        "": top.add_subparsers(
            prog=top.prog,
            dest="command",
            required=True,
            metavar="COMMAND",
            parser_class=argparse.ArgumentParser,
        )
    }
    for name, command in COMMANDS.items():
        group, _, step = name.rpartition(" ")
        added = groups[group].add_parser(
            step,
            help=command.summary,
            description=command.summary,
            epilog=f"{command.notes}\n\nexample: deepvalues {command.example}".strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter if command.notes else argparse.HelpFormatter,
        )
        if command.run is None:
            groups[name] = added.add_subparsers(dest="step", required=True, metavar="STEP")
        added.set_defaults(run=command.run)
        for names, settings in command.options:
            added.add_argument(*names, **settings)
    return top


class _Grouped(argparse.ArgumentParser):
    """A parser whose help lists commands in two groups, which argparse does not support."""

    def format_help(self) -> str:
        """The help, with commands for users before those that make uses."""
        parts = [self.format_usage(), f"{self.description}\n"]
        for title, for_make in (("for users", False), ("for make", True)):
            lines = [
                _line(name, command.summary)
                for name, command in COMMANDS.items()
                if command.for_make is for_make and " " not in name
            ]
            parts.append("\n".join([f"{title}:", *lines, ""]))
        options = "options:\n    -h, --help  show this help\n    --version   show the version\n"
        return "\n".join([*parts, options, f"{self.epilog}\n"])


def _line(name: str, summary: str) -> str:
    return textwrap.fill(summary, width=100, initial_indent=f"    {name:<12}", subsequent_indent=" " * 16)
