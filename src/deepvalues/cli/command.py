"""Commands, and options that several of them share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.core import paths

#: Runs a command; returns its exit status, where None means 0.
Run = Callable[[argparse.Namespace], int | None]


class Option(NamedTuple):
    """An argument of a command: its names, and the settings for `argparse`."""

    names: tuple[str, ...]
    settings: dict[str, Any]


def option(
    name: str, metavar: str, help: str, type: Callable[[str], object] = str, **settings: Any
) -> Option:
    """An option with a value, or a positional argument; several names are separated by spaces."""
    return Option(tuple(name.split()), {"metavar": metavar, "help": help, "type": type, **settings})


def flag(name: str, help: str) -> Option:
    """An option without a value."""
    return Option((name,), {"action": "store_true", "help": help})


class Command(NamedTuple):
    """A command, or a step of one; a command without a function has only steps.

    ``notes`` are shown before the example in its help, with their line breaks.
    """

    run: Run | None
    summary: str
    example: str
    options: tuple[Option, ...] = ()
    notes: str = ""
    for_make: bool = False


class Commands(dict[str, Command]):
    """Commands by name, in the order of the help; each comes before its steps, as in ``batch submit``."""

    def add(
        self, example: str = "", *options: Option, notes: str = "", for_make: bool = False
    ) -> Callable[[Run], Run]:
        """Register a function as the command of its name, with its docstring as help.

        ``batch_submit`` becomes a step; a reserved word ends with an underscore, as in ``import_``.

        Parameters
        ----------
        example
            The arguments in the example of the help.
        for_make
            Whether the help lists it among the commands that make uses.
        """

        def register(run: Run) -> Run:
            name, summary = run.__name__.replace("_", " ").strip(), " ".join((run.__doc__ or "").split())
            self[name] = Command(run, summary, f"{name} {example}".rstrip(), options, notes, for_make)
            return run

        return register


# argparse would mention these functions' names in its messages for a ValueError.


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


STUDY = option("--study", "NAME", "the study (default: dvb)")
#: data/models.yml determines a study's first set.
SET = option(
    "--set", "NAME", "its item set (default: the first that the paper uses, such as standard or subset)"
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
