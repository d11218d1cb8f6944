"""The codebook: one row for each question of a survey."""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

from deepvalues.survey.questions import TYPES, Question, Survey

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
            "id": question.id,
            "block": block,
            "check": not block,
            "type": question.type,
            "measure": question.measure,
            "stratum": question.stratum,
            "subject": question.subject,
            "passage": passage,
            "text": question.text,
            "options": _answers(question),
            "correct": question.correct,
            "scoring": scoring(question),
            "form": survey.checksum,
        }
        for block, passage, question in placed
    ]
    validated: pd.DataFrame = CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))
    return validated
