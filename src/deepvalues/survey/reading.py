"""Completed forms, read back and held to the survey they answer."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pandera.pandas as pa

from deepvalues.core.errors import UserError
from deepvalues.survey.form import COLUMNS, is_code
from deepvalues.survey.questions import IN_PARTS, TYPES, Question, Survey

ANSWERS = pa.DataFrameSchema(
    {
        "respondent": pa.Column(str, pa.Check(lambda codes: codes.map(is_code))),
        "position": pa.Column("int64", pa.Check.ge(1)),
        "question": pa.Column(str),
        "part": pa.Column(str),
        "check": pa.Column(bool),
        "type": pa.Column(str, pa.Check.isin(TYPES)),
        "measure": pa.Column(str),
        "stratum": pa.Column(str),
        "subject": pa.Column(str),
        "answer": pa.Column(str),
        "number": pa.Column(float, nullable=True),
        "right": pa.Column(float, pa.Check.isin([0, 1]), nullable=True),
    },
    unique=["respondent", "question", "part"],
    strict=True,
    ordered=True,
    name="answers",
)


class Line(NamedTuple):
    """A line of a completed form, with where it stands."""

    place: str
    survey: str
    form: str
    respondent: str
    position: str
    question: str
    part: str
    answer: str


def _lines(path: Path) -> Iterator[Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: file not found; name the CSV files that respondents saved") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not a text file in UTF-8 ({error}); use the file as the form saved it"
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    as_saved = "use the file as the form saved it, without opening it in a spreadsheet"
    try:
        header = next(reader, [])
        if header != list(COLUMNS):
            wanted = ",".join(COLUMNS)
            raise UserError(f"{path}, line 1: the columns are {','.join(header)!r}, not {wanted}; {as_saved}")
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            if len(cells) != len(COLUMNS):
                raise UserError(f"{place}: {len(cells)} cells, not {len(COLUMNS)}; {as_saved}")
            yield Line(place, *cells)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error}); {as_saved}") from None


def _check_origin(survey: Survey, line: Line, first: Line) -> None:
    if line.survey != survey.name:
        raise UserError(
            f"{line.place}: an answer to the survey {line.survey!r}, not {survey.name!r}; "
            f"read it with: deepvalues survey {line.survey} --read …"
        )
    if line.form != survey.checksum:
        raise UserError(
            f"{line.place}: the form {line.form} is another version of {survey.name} than {survey.checksum} "
            f"({survey.version}); give the --seed with which the form was written, or read it with the "
            "version of the project that wrote it"
        )
    if not is_code(line.respondent):
        raise UserError(
            f"{line.place}: {line.respondent!r} is not a respondent code; mend the typing mistake"
        )
    if line.respondent != first.respondent:
        raise UserError(
            f"{line.place}: respondent {line.respondent} in a file of {first.respondent}; "
            "keep one file for each respondent"
        )


def _fault(question: Question, answer: str) -> str:
    """Why one answer cannot stand, or nothing."""
    if question.type == "choice":
        codes = [option.code for option in question.options]
        return "" if answer in codes else f"{answer!r} is none of {', '.join(codes)}"
    if question.type == "text":
        return ""
    scale = question.scale
    bounds = {"ranking": (1, len(question.options)), "allocation": (0, question.total)}
    low, high = (scale.low, scale.high) if scale else bounds[question.type]
    try:
        number = int(answer)
    except ValueError:
        return f"{answer!r} is not a whole number"
    return "" if low <= number <= high else f"{answer} is not within {low} to {high}"


def _fault_of_parts(question: Question, answers: Sequence[str]) -> str:
    """Why the answers to all parts do not go together, or nothing."""
    numbers = [int(answer) for answer in answers]
    if question.type == "ranking" and len(set(numbers)) < len(numbers):
        return "a rank is used more than once"
    if question.type == "allocation" and sum(numbers) != question.total:
        return f"the points add up to {sum(numbers)}, not {question.total}"
    return ""


def _check_answer(line: Line, question: Question | None) -> None:
    if question is None or line.part not in question.parts:
        shown = f"{line.question} {line.part}".strip()
        raise UserError(f"{line.place}: the survey has no question {shown!r}; see its codebook")
    if not (line.position.isdecimal() and int(line.position)):
        raise UserError(f"{line.place}: the position {line.position!r} is not a number from 1 on")
    fault = _fault(question, line.answer) if line.answer else ""
    if fault:
        raise UserError(f"{line.place}: {line.question}: {fault}; mend it, or leave the answer empty")


def _read_file(survey: Survey, path: Path) -> dict[tuple[str, str], Line]:
    """The lines of a file by question and part, each of them valid, none missing."""
    questions = {question.id: question for question in survey.questions}
    found: dict[tuple[str, str], Line] = {}
    for line in _lines(path):
        _check_origin(survey, line, next(iter(found.values()), line))
        if (line.question, line.part) in found:
            other = found[line.question, line.part].place
            raise UserError(f"{line.place}: {line.question} is answered in {other} too; delete one line")
        _check_answer(line, questions.get(line.question))
        found[line.question, line.part] = line
    for question in questions.values():
        _check_whole(path, question, found)
    return found


def _check_whole(path: Path, question: Question, found: dict[tuple[str, str], Line]) -> None:
    lines = [found.get((question.id, part)) for part in question.parts]
    present = [line for line in lines if line is not None]
    if len(present) < len(lines):
        raise UserError(
            f"{path}: no line for {question.id}; the file is cut short: ask for it again "
            "(an open question has a line with an empty answer)"
        )
    answers = [line.answer for line in present]
    if not any(answers) or question.type not in IN_PARTS:
        return
    fault = "some parts are empty" if not all(answers) else _fault_of_parts(question, answers)
    if fault:
        raise UserError(f"{present[-1].place}: {question.id}: {fault}; mend it, or leave all parts empty")


def _right(question: Question, answer: str) -> float:
    """1 or 0; NaN where nothing is right, nothing was answered, or the rating is the middle one."""
    if not question.correct or not answer:
        return float("nan")
    if question.scale is None:
        return float(answer == question.correct)
    distance = int(answer) - question.scale.middle
    return float((distance > 0) == (question.correct == "above")) if distance else float("nan")


def _row(question: Question, line: Line, checks: set[str]) -> dict[str, object]:
    is_number = question.type in ("rating", *IN_PARTS) and line.answer
    return {
        **vars(question),
        **line._asdict(),
        "position": int(line.position),
        "check": question.id in checks,
        "subject": line.part or question.subject,
        "number": float(line.answer) if is_number else float("nan"),
        "right": _right(question, line.answer),
    }


def read_answers(survey: Survey, files: Sequence[Path]) -> pd.DataFrame:
    """Read completed forms.

    Parameters
    ----------
    survey
        The survey that wrote the form, from the same material and seed.
    files
        CSV files as the form saves them, one a respondent.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `ANSWERS`, in the order of respondents and of the survey: a row for each part of
        each question. ``answer`` is empty where missing; ``number`` is the answer to a rating, a rank, or
        points; ``right`` is 1, 0, or NaN (nothing right or wrong, missing, or the middle of a scale).

    Raises
    ------
    UserError
        For what is not an answer to this survey: file, line, what is wrong, what to do. Also when there is
        no file, or when two files are of one respondent.
    """
    if not files:
        raise UserError("no completed forms to read; name the CSV files that respondents saved")
    checks = {check.id for check in survey.checks}
    by_respondent: dict[str, Path] = {}
    rows = []
    for path in files:
        found = _read_file(survey, path)
        respondent = next(iter(found.values())).respondent
        if respondent in by_respondent:
            raise UserError(
                f"{path}: respondent {respondent} is in {by_respondent[respondent]} too; "
                "keep the one that counts and leave the other out"
            )
        by_respondent[respondent] = path
        for question in survey.questions:
            rows += [_row(question, found[question.id, part], checks) for part in question.parts]
    frame = pd.DataFrame(rows, columns=list(ANSWERS.columns))
    frame = frame.sort_values("respondent", kind="stable", ignore_index=True)
    return ANSWERS.validate(frame)
