"""Sentences that depend on the results: Jinja macros in ``paper/sentences/<study>.md``, one per sentence.

A macro's arguments are the facts that its sentence may use: plain values, which a study's `facts` module
takes from tables. The template chooses the words. Line ends and runs of spaces become one space, as in
Markdown; a hyphen within a tag (``{%-``) removes the space before it. Text outside of macros is for readers
of the file. A macro with the single argument ``n`` is a paragraph on the numbers that a notebook has stored;
see `Results.paragraph`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from deepvalues.core import number_format, paths
from deepvalues.core.errors import UserError

#: Decimals that are compared: the last bits differ between processors and would change the order of ties.
_DECIMALS = 9


class Sentences:
    """The sentences of one study.

    Parameters
    ----------
    study
        Name of the file in ``folder``, without suffix.
    folder
        The folder of the templates.
    """

    def __init__(self, study: str, folder: Path = paths.SENTENCES) -> None:
        self._path = folder / f"{study}.md"
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
        )
        self._environment.filters |= FILTERS
        self._environment.tests["known"] = _known

    def __call__(self, sentence: str, facts: Mapping[str, Any]) -> str:
        """Write a sentence.

        Parameters
        ----------
        sentence
            Name of its macro.
        facts
            The macro's arguments.

        Raises
        ------
        UserError
            If the file, the macro or a fact is missing, or the template is broken; names file and line.
        """
        with self._readable(sentence):
            macros = self._environment.get_template(self._path.name).module
            if not isinstance(getattr(macros, sentence, None), jinja2.runtime.Macro):
                raise UserError(f"{paths.shown(self._path)} has no sentence “{sentence}”: add its macro")
            return re.sub(r"[ \n]+", " ", getattr(macros, sentence)(**facts)).strip(" ")

    def whole(self, facts: Mapping[str, Any]) -> str:
        """Render the whole file, with its line ends.

        Parameters
        ----------
        facts
            The variables of the template.

        Raises
        ------
        UserError
            As for a sentence.
        """
        with self._readable(self._path.stem):
            return self._environment.get_template(self._path.name).render(facts)

    @contextmanager
    def _readable(self, sentence: str) -> Iterator[None]:
        """Turn any error in a template into one message."""
        file = paths.shown(self._path)
        try:
            yield
        except jinja2.TemplateNotFound as error:
            raise UserError(f"{file} is missing: a study's sentences are there") from error
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"{file}, line {error.lineno}: {error.message}") from error
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            line = self._line(error)
            raise UserError(
                f"{file}{line}, sentence “{sentence}”: {error}; mend the template or its facts"
            ) from error

    def _line(self, error: Exception) -> str:
        """The line of the template where an error arose; empty if no macro was entered."""
        trace, line = error.__traceback__, ""
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == str(self._path):
                template = self._environment.get_template(self._path.name)
                line = f", line {template.get_corresponding_lineno(trace.tb_lineno)}"
            trace = trace.tb_next
        return line


# ---- tests and filters for templates ----


def _known(value: float | None) -> bool:
    """Whether there is a number; NaN stands for none in tables."""
    return value is not None and math.isfinite(value)


def _count_or_none(value: float) -> str:
    return number_format.count(value) if value else "none"


def _spelled(value: float) -> str:
    """A count for prose, spelled out below ten."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[int(value)] if value < len(words) else number_format.count(value)


def _plain(text: str) -> str:
    """A text escaped for Markdown, on one line."""
    return re.sub(r"([!-/:-@[-`{-~])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """A text as inline code in Markdown."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}"


def _separator(loop: Any) -> str:
    """The separator after an element of a list in a loop, as in `number_format.listed`."""
    return "" if loop.last else " and " if loop.revindex == 2 else ", "


FILTERS: dict[str, Callable[..., str]] = {
    "count": number_format.count,
    "count_or_none": _count_or_none,
    "spelled": _spelled,
    "share": number_format.share,
    "number": number_format.number,
    "interval": lambda ends, **form: number_format.interval(*ends, **form),
    "p": number_format.equal_or_less,
    "plural": number_format.plural,
    "listed": number_format.listed,
    "plain": _plain,
    "code": _code,
    "separator": _separator,
}


# ---- shared facts ----


def spread(
    table: pd.DataFrame,
    column: str,
    name: str = "model",
    written: Callable[[float], str] = number_format.share,
) -> dict[str, Any]:
    """The smallest and largest value of a measure, for a sentence that gives its range over models.

    Parameters
    ----------
    table
        One row per model; columns ``<column>_low`` and ``<column>_high``, if any, hold the interval.
    column
        The measure; rows without it are ignored.
    name
        The column with names.
    written
        How the measure is formatted; values with the same text count as equal.

    Returns
    -------
    dict
        known (number of rows with the measure), alike (whether all have the same text), least and most. The
        last two are mappings with value, name, names (of all rows with the same text, in the order of the
        table) and interval (two numbers, NaN without an interval). If no row has the measure, value is NaN
        and name empty.
    """
    known = table.dropna(subset=column).round({column: _DECIMALS}).reset_index(drop=True)
    texts = known[column].map(written)
    ordered = known.sort_values([column, name])

    def end(position: int) -> dict[str, Any]:
        if ordered.empty:
            return {"value": math.nan, "name": "", "names": [], "interval": (math.nan, math.nan)}
        row = ordered.iloc[position]
        return {
            "value": float(row[column]),
            "name": str(row[name]),
            "names": [str(each) for each in known.loc[texts == written(row[column]), name]],
            "interval": tuple(float(row.get(f"{column}_{side}", math.nan)) for side in ("low", "high")),
        }

    return {"known": len(known), "alike": texts.nunique() < 2, "least": end(0), "most": end(-1)}
