"""The files of a survey: form, codebook and codes going out; tidy answers and statistics coming back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from deepvalues.core.errors import UserError
from deepvalues.core.files import write_text
from deepvalues.survey import results
from deepvalues.survey.form import MOST, codes, form
from deepvalues.survey.questions import TYPES, Question, Survey
from deepvalues.survey.reading import read_answers

#: The codebook: one row for each question of a survey.
CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "block": pa.Column(str),
        "check": pa.Column(bool),
        "type": pa.Column(str, pa.Check.isin(TYPES)),
        "measure": pa.Column(str),
        "stratum": pa.Column(str),
        "subject": pa.Column(str),
        "passage": pa.Column(str),
        "text": pa.Column(str, pa.Check.str_length(min_value=1)),
        "options": pa.Column(str),
        "correct": pa.Column(str),
        "scoring": pa.Column(str, pa.Check.str_length(min_value=1)),
        "form": pa.Column(str, pa.Check.str_length(12, 12)),
    },
    strict=True,
    ordered=True,
    name="codebook",
)


def scoring(question: Question) -> str:
    """How an answer becomes a number, in words."""
    if question.type == "rating":
        assert question.scale is not None
        plain = f"the number, {question.scale.low} to {question.scale.high}"
        middle = f"{question.scale.middle:g} is neither right nor wrong"
        return f"{plain}; {question.correct} the middle is right, {middle}" if question.correct else plain
    return {
        "choice": "1 for the correct option, 0 for any other" if question.correct else "none",
        "ranking": f"the rank of each option, 1 (first) to {len(question.options)}, each rank once",
        "allocation": f"the points of each option, whole numbers that add up to {question.total}",
        "text": "none; coded afterwards",
    }[question.type]


def _answers(question: Question) -> str:
    if question.scale:
        scale = question.scale
        return f"{scale.low} = {scale.low_text} | {scale.high} = {scale.high_text}"
    return " | ".join(
        f"{option.code} = {option.text}" + (f" ({option.detail})" if option.detail else "")
        for option in question.options
    )


def codebook(survey: Survey) -> pd.DataFrame:
    """Describe every question of a survey.

    Returns
    -------
    pandas.DataFrame
        A row per question, checks first: id, block, check (is it a comprehension check), type, measure,
        stratum, subject, passage (what is shown above it), text, options (code = text), correct (an option's
        code, or below/above the middle of a scale), scoring (in words), form (the survey's checksum).
    """
    placed = [("", "", question) for question in survey.checks]
    placed += [(block.id, " / ".join(block.passage), q) for block in survey.blocks for q in block.questions]
    rows = [
        {
            **vars(question),
            "block": block,
            "check": not block,
            "passage": passage,
            "options": _answers(question),
            "scoring": scoring(question),
            "form": survey.checksum,
        }
        for block, passage, question in placed
    ]
    validated: pd.DataFrame = CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))
    return validated


#: What the message says where a file can't be written.
_REMEDY = "; name another folder"


def _write_table(frame: pd.DataFrame, path: Path) -> Path:
    return write_text(path, frame.to_csv(index=False, lineterminator="\n", float_format="%.10g"), _REMEDY)


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
        write_text(folder / f"{survey.name}.html", form(survey), _REMEDY),
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
