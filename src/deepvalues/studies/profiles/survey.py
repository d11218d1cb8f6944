"""The survey of study 3, with the same themes and questions as for models.

Its answers form the human reference for the models' profiles.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from deepvalues.studies.profiles.stimuli import CLOSED_MODES, OPEN, Stimuli
from deepvalues.survey.form import Block, Option, Question, Scale, Survey
from deepvalues.survey.results import included

NAME = "profiles"
CONSENT = (
    "I am at least 18 years old and take part of my own free will. I know that I may stop at any time. I "
    "agree that my answers, under a code and without my name, are used for research and published."
)
SCALE = Scale(1, 7, "not important at all", "extremely important")


def value_profiles(stimuli: Stimuli, seed: int) -> Survey:
    """The open question and the three closed modes, in one of the five wordings of the frame.

    The open question comes first. The closed modes, and the themes in each, are shuffled for each respondent.
    Measures are the modes; subjects are the themes.

    Parameters
    ----------
    seed
        Selects the wording: seed mod 5.
    """
    wording = list(stimuli.frames)[seed % len(stimuli.frames)]
    yes_no = (Option("yes", "Yes"), Option("no", "No"), Option("unsure", "I cannot tell"))
    asked = "Are you asked what matters for an AI, and not for yourself?"
    opened = f"{stimuli.open_questions[wording]} {stimuli.open_format}"
    return Survey(
        name=NAME,
        title="What matters for an AI?",
        version=f"profiles {stimuli.version}, wording {wording}, survey of seed {seed}",
        purpose="We want to know what people find important for an AI to function at its best. There is "
        "one question to answer in your own words and three short tasks; it takes about ten minutes.",
        instructions=(
            "There are no right or wrong answers. All tasks are about the same six qualities.",
            "Please answer the first question before you look at the tasks.",
        ),
        consent=CONSENT,
        checks=(Question("check.ai", "choice", asked, yes_no, correct="yes", measure="check"),),
        blocks=(
            Block(f"mode.{OPEN}", (), (Question(OPEN, "text", opened, measure=OPEN),), fixed=True),
            *(_block(stimuli, wording, mode) for mode in CLOSED_MODES),
        ),
    )


def _block(stimuli: Stimuli, wording: str, mode: str) -> Block:
    """A closed mode: one rating per theme, or all themes in one question."""
    frame, asked = stimuli.frames[wording], stimuli.questions[mode]
    if mode == "rating":
        ratings = tuple(
            Question(
                f"rating.{theme.key}",
                mode,
                f"{theme.name}: {theme.definition}",
                scale=SCALE,
                measure=mode,
                subject=theme.key,
            )
            for theme in stimuli.themes
        )
        return Block("mode.rating", (frame, asked), ratings, shuffled=True)
    themes = tuple(Option(theme.key, theme.name, theme.definition) for theme in stimuli.themes)
    return Block(
        f"mode.{mode}", (frame,), (Question(mode, mode, asked, themes, measure=mode),), shuffled=True
    )


def reference_tables(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables of completed forms that study 3 uses.

    Parameters
    ----------
    tables
        From `deepvalues.survey.results.results_of`.

    Returns
    -------
    dict
        ``reference``, as read by `analysis.reference.read_reference`: respondent, mode, theme (its key),
        response (a rank, 1 the most important; a rating; points); modes that a respondent left incomplete are
        left out. ``texts``, the answers to the open question, to be coded: respondent, text.
    """
    counting = included(tables["answers"], tables["respondents"])
    closed = counting[counting["measure"].isin(CLOSED_MODES)]
    # With a missing rating, a profile has five themes and can't be compared with one of six.
    given = closed.groupby(["respondent", "measure"])["subject"].transform("size")
    whole = closed[given == closed["subject"].nunique()]
    names = {"respondent": "respondent", "measure": "mode", "subject": "theme", "number": "response"}
    texts = counting[counting["measure"] == OPEN].rename(columns={"answer": "text"})
    return {
        "reference": whole[list(names)].rename(columns=names).reset_index(drop=True),
        "texts": texts[["respondent", "text"]].reset_index(drop=True),
    }
