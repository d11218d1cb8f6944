"""Completed forms: reading them, checking them against their survey, and whom to exclude."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from deepvalues.core.errors import UserError
from deepvalues.survey.form import COLUMNS, IN_PARTS, Question, Survey, is_code

#: Columns of the answers, with a row per part of each question.
ANSWERS = (
    *("respondent", "position", "question", "part", "check", "type", "measure", "stratum", "subject"),
    *("answer", "number", "right"),
)


class Line(NamedTuple):
    """A line of a completed form, with its file and line number."""

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
            f"{path}: cannot be read as UTF-8 text ({error}); use the file as the form saved it"
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
            f"{line.place}: this answers the survey {line.survey!r}, not {survey.name!r}; "
            f"read it with: deepvalues survey {line.survey} --read …"
        )
    if line.form != survey.checksum:
        raise UserError(
            f"{line.place}: the form {line.form} is from another version of {survey.name}, not "
            f"{survey.checksum} ({survey.version}); give the --seed that the form was written with, or read "
            "it with the version of the project that wrote it"
        )
    if not is_code(line.respondent):
        raise UserError(
            f"{line.place}: {line.respondent!r} is not a respondent code; correct the typing error"
        )
    if line.respondent != first.respondent:
        raise UserError(
            f"{line.place}: respondent {line.respondent} is in the file of {first.respondent}; "
            "keep each respondent in a separate file"
        )


def _fault(question: Question, answer: str) -> str:
    """Why an answer to one part is invalid; empty if it is valid."""
    if question.type == "choice":
        codes = [option.code for option in question.options]
        return "" if answer in codes else f"{answer!r} is not one of {', '.join(codes)}"
    if question.type == "text":
        return ""
    scale = question.scale
    bounds = {"ranking": (1, len(question.options)), "allocation": (0, question.total)}
    low, high = (scale.low, scale.high) if scale else bounds[question.type]
    try:
        number = int(answer)
    except ValueError:
        return f"{answer!r} is not a whole number"
    return "" if low <= number <= high else f"{answer} is not between {low} and {high}"


def _fault_of_parts(question: Question, answers: Sequence[str]) -> str:
    """Why valid answers to all parts are inconsistent; empty if they are not."""
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
        raise UserError(f"{line.place}: the position {line.position!r} is not a positive whole number")
    fault = _fault(question, line.answer) if line.answer else ""
    if fault:
        raise UserError(f"{line.place}: {line.question}: {fault}; correct it, or leave the answer empty")


def _read_file(survey: Survey, path: Path) -> dict[tuple[str, str], Line]:
    """The lines of a file by question and part, checked for validity and completeness."""
    questions = {question.id: question for question in survey.questions}
    found: dict[tuple[str, str], Line] = {}
    for line in _lines(path):
        _check_origin(survey, line, next(iter(found.values()), line))
        if (line.question, line.part) in found:
            other = found[line.question, line.part].place
            raise UserError(f"{line.place}: {line.question} is also answered in {other}; delete one line")
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
            f"{path}: no line for {question.id}, so the file is incomplete; request it again "
            "(an unanswered question still has a line)"
        )
    answers = [line.answer for line in present]
    if not any(answers) or question.type not in IN_PARTS:
        return
    fault = "some parts are empty" if not all(answers) else _fault_of_parts(question, answers)
    if fault:
        raise UserError(f"{present[-1].place}: {question.id}: {fault}; correct it, or leave all parts empty")


def _right(question: Question, answer: str) -> float:
    """1 if correct, 0 if wrong; NaN for a missing or middle answer, or if no answer is correct."""
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
        The survey of the form, from the same material and seed.
    files
        CSV files as the form saves them, one per respondent.

    Returns
    -------
    pandas.DataFrame
        The columns `ANSWERS`, sorted by respondent, then in the order of the survey. ``answer`` is empty if
        missing; ``number`` is a rating, a rank, or points; ``right`` is 1, 0, or NaN (missing, middle of a
        scale, or no correct answer).

    Raises
    ------
    UserError
        When there are no files, two files are from one respondent, or a line is not an answer to this survey.
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
                f"{path}: respondent {respondent} is also in {by_respondent[respondent]}; "
                "leave one of the two out"
            )
        by_respondent[respondent] = path
        for question in survey.questions:
            rows += [_row(question, found[question.id, part], checks) for part in question.parts]
    frame = pd.DataFrame(rows, columns=list(ANSWERS))
    return frame.sort_values("respondent", kind="stable", ignore_index=True)


# ---- exclusions ----

#: Respondents who fail more checks, or leave a larger share of questions open, are excluded.
MOST_FAILED, MOST_MISSING = 0, 0.1


def respondents(answers: pd.DataFrame) -> pd.DataFrame:
    """Apply the exclusion rules to each respondent.

    An unanswered check is a failed check. A ranking or allocation counts as one question.

    Returns
    -------
    pandas.DataFrame
        respondent, checks, failed_checks, questions (without checks), missing, excluded (the reason, empty if
        included; failed checks take precedence).
    """
    rows = []
    for respondent, given in answers.groupby("respondent", sort=True):
        checks = given[given["check"]]
        failed = int((checks["right"] != 1).sum())
        by_question = given[~given["check"]].groupby("question")["answer"].first()
        missing = int((by_question == "").sum())
        reason = "too many missing" if missing > MOST_MISSING * len(by_question) else ""
        reason = "failed checks" if failed > MOST_FAILED else reason
        rows.append((respondent, len(checks), failed, len(by_question), missing, reason))
    columns = ["respondent", "checks", "failed_checks", "questions", "missing", "excluded"]
    return pd.DataFrame(rows, columns=columns)


def exclusions(people: pd.DataFrame) -> pd.DataFrame:
    """Count the respondents excluded by each rule; ``people`` comes from `respondents`.

    Returns
    -------
    pandas.DataFrame
        rule, limit (in words), respondents: a row for each rule (zeros included), for those included, and for
        those of them with open questions, which are left out individually.
    """
    counts = people["excluded"].value_counts()
    stay = people[people["excluded"] == ""]
    rows = [
        ("failed checks", f"more than {MOST_FAILED} failed", int(counts.get("failed checks", 0))),
        ("too many missing", f"more than {MOST_MISSING:.0%} open", int(counts.get("too many missing", 0))),
        ("included", "", len(stay)),
        ("included, with open questions", "only what is open is left out", int((stay["missing"] > 0).sum())),
    ]
    return pd.DataFrame(rows, columns=["rule", "limit", "respondents"])


def included(answers: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """The answers of included respondents, without checks and open questions."""
    stay = people.loc[people["excluded"] == "", "respondent"]
    return answers[answers["respondent"].isin(stay) & ~answers["check"] & (answers["answer"] != "")]


def results_of(survey: Survey, files: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Read completed forms and apply the exclusion rules.

    Returns
    -------
    dict
        ``answers`` (all), ``respondents`` and ``exclusions``, from the functions of this module.

    Raises
    ------
    UserError
        When a form cannot be read.
    """
    answers = read_answers(survey, files)
    people = respondents(answers)
    return {"answers": answers, "respondents": people, "exclusions": exclusions(people)}
