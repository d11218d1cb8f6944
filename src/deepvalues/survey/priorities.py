"""The survey of study 3, value priorities: things to rank, to rate, to give points to, to write about.

The words come from the caller, so that people read what models read. What comes back is the human
reference against which profiles are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pandera.pandas as pa

from deepvalues.survey.questions import Block, Option, Question, Scale

CLOSED_MODES = ("ranking", "rating", "allocation")
OPEN = "open"
MODES = (*CLOSED_MODES, OPEN)
SCALE = Scale(1, 7, "not important at all", "extremely important")

REFERENCE = pa.DataFrameSchema(
    {
        "respondent": pa.Column(str),
        "mode": pa.Column(str, pa.Check.isin(CLOSED_MODES)),
        "theme": pa.Column(str),
        "response": pa.Column(float),
    },
    unique=["respondent", "mode", "theme"],
    strict=True,
    ordered=True,
    name="human reference",
)


def mode_blocks(themes: tuple[Option, ...], frame: str, questions: Mapping[str, str]) -> tuple[Block, ...]:
    """The survey's blocks: the open question first, then the closed modes in each respondent's own order.

    So are the themes inside each mode. Measures are the modes; subjects are the themes.

    Parameters
    ----------
    themes
        What is ranked, rated and given points: key, name and definition.
    frame
        The sentences before the closed questions.
    questions
        What is asked in each of the modes; a mode without a question is left out.

    Raises
    ------
    ValueError
        When a mode is none of `MODES`, or there are no two themes.
    """
    unknown = set(questions) - set(MODES)
    if unknown or len(themes) < 2:
        raise ValueError(f"modes that do not exist: {sorted(unknown)}; themes: {len(themes)}")
    asked = [(mode, questions[mode]) for mode in (OPEN, *CLOSED_MODES) if mode in questions]
    return tuple(_block(themes, frame, mode, question) for mode, question in asked)


def _block(themes: tuple[Option, ...], frame: str, mode: str, asked: str) -> Block:
    if mode == OPEN:
        return Block("mode.open", (), (Question(OPEN, "text", asked, measure=OPEN),), fixed=True)
    if mode == "rating":
        return Block("mode.rating", (frame, asked), tuple(_ratings(themes)), shuffled=True)
    question = Question(mode, mode, asked, themes, measure=mode)
    return Block(f"mode.{mode}", (frame,), (question,), shuffled=True)


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
    """The human reference: what each respondent answered, per closed mode and theme.

    Parameters
    ----------
    answers
        Those that count, from `deepvalues.survey.results.included`.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `REFERENCE`: respondent, mode, theme (its key), response (a rank, 1 the most
        important; a rating; points). A mode in which a respondent left anything open is left out for that
        respondent.
    """
    frame = answers.rename(columns={"measure": "mode", "subject": "theme", "number": "response"})
    frame = frame[frame["mode"].isin(CLOSED_MODES)][list(REFERENCE.columns)]
    # A rating left open makes a profile of five themes, which cannot be compared with one of six.
    given = frame.groupby(["respondent", "mode"])["theme"].transform("size")
    complete = frame[given == frame["theme"].nunique()]
    validated: pd.DataFrame = REFERENCE.validate(complete.reset_index(drop=True))
    return validated


def open_answers(answers: pd.DataFrame) -> pd.DataFrame:
    """The texts that answer the open question, to be coded: respondent, text."""
    texts = answers[answers["measure"] == OPEN].rename(columns={"answer": "text"})
    return texts[["respondent", "text"]].reset_index(drop=True)
