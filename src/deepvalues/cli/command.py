"""What a command is, and the options that several have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.core import paths

#: Does what a command says; gives its exit status, 0 where it says nothing.
Run = Callable[[argparse.Namespace], int | None]


class Option(NamedTuple):
    """An argument of a command: its names, and what `argparse` is told of it."""

    names: tuple[str, ...]
    told: dict[str, Any]


def option(name: str, metavar: str, about: str, type: Callable[[str], object] = str, **told: Any) -> Option:
    """An option that has a value, or an argument without a name; several names have spaces between them."""
    return Option(tuple(name.split()), {"metavar": metavar, "help": about, "type": type, **told})


def flag(name: str, about: str) -> Option:
    """An option that is given or not."""
    return Option((name,), {"action": "store_true", "help": about})


class Command(NamedTuple):
    """A command, or one step of a command; without a function it has steps only.

    ``notes`` stand before the example in its help, with the lines as they are.
    """

    run: Run | None
    summary: str
    example: str
    options: tuple[Option, ...] = ()
    notes: str = ""
    for_make: bool = False


class Commands(dict[str, Command]):
    """Commands by name, each before its steps (``batch``, ``batch submit``), in the order of the help."""

    def add(
        self, example: str = "", *options: Option, notes: str = "", for_make: bool = False
    ) -> Callable[[Run], Run]:
        """Make a function a command of its name, with its docstring for help; ``batch_submit`` is a step.

        A name that Python keeps to itself ends with an underscore: ``import_``.

        Parameters
        ----------
        example
            What stands after the name in the example of the help.
        for_make
            Whether it is listed as one that make calls; people can, too.
        """

        def register(run: Run) -> Run:
            name, summary = run.__name__.replace("_", " ").strip(), " ".join((run.__doc__ or "").split())
            self[name] = Command(run, summary, f"{name} {example}".rstrip(), options, notes, for_make)
            return run

        return register


# Of a ValueError argparse would tell with the name of the function that raised it.


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
#: Which set a study's first one is stands in data/models.yml.
SET = option(
    "--set", "NAME", "its item set (default: the first that the paper reads, such as standard or subset)"
)
MODEL = option("--model", "NAME", "may be given repeatedly", action="append", required=True)
KEY_VARIABLE = option(
    "--key-variable",
    "NAME",
    "the environment variable that holds the key for --base-url; without it a key of data/models.yml is sent "
    "to its own host, and none to any other",
)


def record(about: str = "where answers are kept") -> Option:
    """The option that names the folder of the record."""
    return option("--record", "DIR", f"{about} (default: data/responses)", Path, default=paths.RESPONSES)
