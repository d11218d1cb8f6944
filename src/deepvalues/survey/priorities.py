"""The survey of study 3, value priorities: things to rank, to rate, to give points to, to write about.

The words come from the caller, so that people read what models read. What comes back is the human
reference against which profiles are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pandera.pandas as pa

from deepvalues.survey.questions import Block, Option, Question, Scale, Survey

MODES = ("ranking", "rating", "allocation", "open")
SCALE = Scale(1, 7, "not important at all", "extremely important")

REFERENCE = pa.DataFrameSchema(
    {
        "respondent": pa.Column(str),
        "mode": pa.Column(str, pa.Check.isin(MODES)),
        "theme": pa.Column(str),
        "response": pa.Column(str, pa.Check.str_length(min_value=1)),
    },
    unique=["respondent", "mode", "theme"],
    strict=True,
    ordered=True,
    name="human reference",
)


@dataclass(frozen=True)
class Words:
    """What respondents read.

    Parameters
    ----------
    themes
        What is ranked, rated and given points: key, name and definition as an `Option`.
    frame
        The sentences before the closed questions.
    questions
        What is asked in each of the modes; a mode without a question is left out.
    """

    name: str
    title: str
    version: str
    purpose: str
    instructions: tuple[str, ...]
    consent: str
    themes: tuple[Option, ...]
    frame: str
    questions: Mapping[str, str]
    checks: tuple[Question, ...] = ()


def priorities(words: Words) -> Survey:
    """Build the survey: the open question first, then the closed modes in each respondent's own order.

    So are the themes inside each mode. Measures are the modes; subjects are the themes.

    Raises
    ------
    ValueError
        When a mode is none of `MODES`, or there are no two themes.
    """
    unknown = set(words.questions) - set(MODES)
    if unknown or len(words.themes) < 2:
        raise ValueError(f"modes that do not exist: {sorted(unknown)}; themes: {len(words.themes)}")
    blocks = [_block(words, mode) for mode in (MODES[-1], *MODES[:-1]) if mode in words.questions]
    return Survey(
        name=words.name,
        title=words.title,
        version=words.version,
        purpose=words.purpose,
        instructions=words.instructions,
        consent=words.consent,
        checks=words.checks,
        blocks=tuple(blocks),
    )


def _block(words: Words, mode: str) -> Block:
    asked = words.questions[mode]
    if mode == "open":
        return Block("mode.open", (), (Question("open", "text", asked, measure="open"),), fixed=True)
    if mode == "rating":
        return Block("mode.rating", (words.frame, asked), tuple(_ratings(words.themes)), shuffled=True)
    question = Question(mode, mode, asked, words.themes, measure=mode)
    return Block(f"mode.{mode}", (words.frame,), (question,), shuffled=True)


def _ratings(themes: Sequence[Option]) -> list[Question]:
    return [
        Question(
            f"rating.{theme.code}",
            "rating",
            f"{theme.text}: {theme.detail}" if theme.detail else theme.text,
            scale=SCALE,
            measure="rating",
            subject=theme.code,
        )
        for theme in themes
    ]


def human_reference(answers: pd.DataFrame) -> pd.DataFrame:
    """The human reference: what each respondent answered, per mode and theme.

    Parameters
    ----------
    answers
        Those that count, from `deepvalues.survey.results.included`.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `REFERENCE`: respondent, mode, theme (its key; empty for the open question),
        response (a rank, 1 the most important; a rating; points; the text). A mode in which a respondent left
        anything open is left out for that respondent.
    """
    frame = answers.rename(columns={"measure": "mode", "subject": "theme", "answer": "response"})
    frame = frame[frame["mode"].isin(MODES)][list(REFERENCE.columns)]
    # A rating left open makes a profile of five themes, which cannot be compared with one of six.
    given = frame.groupby(["respondent", "mode"])["theme"].transform("size")
    complete = frame[given == frame.groupby("mode")["theme"].transform("nunique")]
    validated: pd.DataFrame = REFERENCE.validate(complete.reset_index(drop=True))
    return validated
