"""Commands, options that several of them share, and the parser.

It uses argparse: typer does not support options with any number of values (``--fetch [NAME ...]``, ``--read
FILE ...``), would add a tenth of a second to every start, and would save no lines.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues import __version__
from deepvalues.core import paths

#: Runs a command; returns its exit status, where None means 0.
Run = Callable[[argparse.Namespace], int | None]
#: An argument of a command: its names, and the settings for `argparse`.
Option = tuple[tuple[str, ...], dict[str, Any]]


def option(
    name: str, metavar: str, help: str, type: Callable[[str], object] = str, **settings: Any
) -> Option:
    """An option with a value, or a positional argument; several names are separated by spaces."""
    return tuple(name.split()), {"metavar": metavar, "help": help, "type": type, **settings}


def flag(name: str, help: str) -> Option:
    """An option without a value."""
    return (name,), {"action": "store_true", "help": help}


class Command(NamedTuple):
    """A command, or a step of one; a command without a function has only steps."""

    run: Run | None
    summary: str
    example: str
    options: tuple[Option, ...] = ()
    for_make: bool = False


class Commands(dict[str, Command]):
    """Commands by name, in the order of the help; each comes before its steps, as in ``batch submit``."""

    def add(self, example: str = "", *options: Option, for_make: bool = False) -> Callable[[Run], Run]:
        """Register a function as the command of its name, with its docstring as help.

        ``batch_submit`` becomes a step; a reserved word ends with an underscore, as in ``import_``.

        Parameters
        ----------
        example
            The arguments in the example of the help.
        for_make
            Whether the help only names it, as one of the commands that make uses.
        """

        def register(run: Run) -> Run:
            name, summary = run.__name__.replace("_", " ").strip(), " ".join((run.__doc__ or "").split())
            self[name] = Command(run, summary, f"{name} {example}".rstrip(), options, for_make)
            return run

        return register


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        # argparse would mention this function's name in its message.
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


STUDY = option("--study", "NAME", "the study (default: dvb); the README has a table of all")
#: data/models.yml determines a study's first set.
SET = option(
    "--set",
    "NAME",
    "its item set (default: the first that data/models.yml lists for the study, such as standard or subset); "
    "an unknown name lists all",
)
MODEL = option("--model", "NAME", "the model; can be repeated", action="append", required=True)
KEY_VARIABLE = option(
    "--key-variable",
    "NAME",
    "the environment variable with the API key for --base-url (default: the key that data/models.yml lists "
    "for the same host, or none)",
)


def record(help: str = "where answers are saved") -> Option:
    """The option for the record's folder."""
    return option("--record", "DIR", f"{help} (default: data/responses)", Path, default=paths.RESPONSES)


def parser() -> argparse.ArgumentParser:
    """Build the parser for the command line."""
    # Imported here, because they import this module.
    from deepvalues.cli import models, paper, query, stimuli

    commands = {**query.COMMANDS, **models.COMMANDS, **stimuli.COMMANDS, **paper.COMMANDS}
    for_make = ", ".join(name for name, command in commands.items() if command.for_make)
    top = argparse.ArgumentParser(
        prog="deepvalues",
        description="Ask language models, trace the paper's numbers to their answers, rebuild the paper.",
        epilog="deepvalues COMMAND --help describes a command and gives an example. Commands that only make "
        f"needs: {for_make}.",
    )
    top.add_argument("-V", "--version", action="version", version=__version__)
    groups = {"": top.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")}
    for name, command in commands.items():
        group, _, step = name.rpartition(" ")
        # argparse lists only commands with a help.
        listed: dict[str, Any] = {} if command.for_make else {"help": command.summary}
        epilog = f"example: deepvalues {command.example}"
        added = groups[group].add_parser(step, description=command.summary, epilog=epilog, **listed)
        if command.run is None:
            groups[name] = added.add_subparsers(dest="step", required=True, metavar="STEP")
        added.set_defaults(run=command.run)
        for names, settings in command.options:
            added.add_argument(*names, **settings)
    return top
