"""The files of a survey: form, codebook and codes going out; tidy answers and statistics coming back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from deepvalues.core.errors import UserError
from deepvalues.survey import results
from deepvalues.survey.codebook import codebook
from deepvalues.survey.codes import MOST, codes
from deepvalues.survey.form import form
from deepvalues.survey.questions import Survey
from deepvalues.survey.reading import read_answers


def _write(text: str, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another folder") from None
    return path


def _write_table(frame: pd.DataFrame, path: Path) -> Path:
    return _write(frame.to_csv(index=False, lineterminator="\n", float_format="%.10g"), path)


def write_survey(survey: Survey, folder: Path, seed: int, respondents: int) -> list[Path]:
    """Write ``NAME.html``, ``NAME_codebook.csv`` and ``NAME_codes.csv`` (a code for each respondent).

    Raises
    ------
    UserError
        When the number of respondents is out of bounds, or the folder cannot be written.
    """
    if not 1 <= respondents <= MOST:
        raise UserError(f"--respondents is {respondents}; there can be 1 to {MOST:,}")
    drawn = pd.DataFrame({"respondent": codes(survey.name, seed, respondents)})
    return [
        _write(form(survey), folder / f"{survey.name}.html"),
        _write_table(codebook(survey), folder / f"{survey.name}_codebook.csv"),
        _write_table(drawn, folder / f"{survey.name}_codes.csv"),
    ]


def results_of(survey: Survey, files: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Read completed forms and say what they say.

    Returns
    -------
    dict
        ``answers`` (all of them), ``respondents``, ``exclusions``, ``checks``, ``statistics`` and
        ``questions`` (of those who stay), as described in `deepvalues.survey.results`.

    Raises
    ------
    UserError
        When a form cannot be read.
    """
    answers = read_answers(survey, files)
    people = results.respondents(answers)
    counting = results.included(answers, people)
    return {
        "answers": answers,
        "respondents": people,
        "exclusions": results.exclusions(people),
        "checks": results.checks(answers),
        "statistics": results.statistics(counting),
        "questions": results.by_question(counting),
    }


def write_tables(survey: Survey, tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write each table as ``NAME_TABLE.csv``.

    Raises
    ------
    UserError
        When the folder cannot be written.
    """
    return [_write_table(table, folder / f"{survey.name}_{name}.csv") for name, table in tables.items()]
