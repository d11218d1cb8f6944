"""The survey of study 3: people read the very themes and questions that models read."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from deepvalues.studies.profiles.stimuli.instrument import OPEN, Stimuli
from deepvalues.survey.priorities import human_reference, mode_blocks, open_answers
from deepvalues.survey.questions import Option, Question, Survey
from deepvalues.survey.results import included

NAME = "profiles"
CONSENT = (
    "I am at least 18 years old and take part of my own free will. I know that I may stop at any time. I "
    "agree that my answers, under a code and without my name, are used for research and published."
)


def value_profiles(stimuli: Stimuli, seed: int) -> Survey:
    """The open question and the three closed modes, in one of the five wordings of the frame.

    Parameters
    ----------
    seed
        Settles the wording: seed mod 5. Orders are each respondent's own.
    """
    wording = list(stimuli.frames)[seed % len(stimuli.frames)]
    themes = tuple(Option(theme.key, theme.name, theme.definition) for theme in stimuli.themes)
    yes_no = (Option("yes", "Yes"), Option("no", "No"), Option("unsure", "I cannot tell"))
    check = Question(
        "check.ai",
        "choice",
        "Are you asked what matters for an AI, and not for yourself?",
        yes_no,
        correct="yes",
        measure="check",
    )
    questions = {OPEN: f"{stimuli.open_questions[wording]} {stimuli.open_format}", **stimuli.questions}
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
        checks=(check,),
        blocks=mode_blocks(themes, stimuli.frames[wording], questions),
    )


def reference_tables(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What completed forms give study 3.

    Parameters
    ----------
    tables
        From `deepvalues.survey.files.results_of`.

    Returns
    -------
    dict
        ``reference``, which `analysis.reference.read_reference` reads, and ``texts``: the open
        answers.
    """
    counting = included(tables["answers"], tables["respondents"])
    return {"reference": human_reference(counting), "texts": open_answers(counting)}
