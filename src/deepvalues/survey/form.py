"""The form: one HTML file that works from disk and sends nothing anywhere, and the codes of its respondents.

Python writes the questions, so that they can be read and checked without a browser; the page's script
orders them for the respondent, keeps the answers on the respondent's machine, and saves them as CSV.
Correct answers are not in the page. A respondent's code is short and drawn, and its last character gives a
slip of the pen away.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import jinja2

from deepvalues.core import stable_random
from deepvalues.survey.questions import Survey

#: Without most of what is read for something else (0, O, 1, I, L, B, S, Z), and without vowels:
#: spreadsheets take 23E45 for a number and MAR22 for a date. 23 is a prime, so that the check character
#: finds every single wrong character and every two neighbours swapped.
ALPHABET = "23456789CDFGHJKMNPRTWXY"
LENGTH = 5
#: There are 23⁴ codes; so many are drawn without trouble.
MOST = 100_000


def check_character(body: str) -> str:
    """The last character of a code: the sum of the others' places, weighted 2, 3, 4 …, modulo 23."""
    return ALPHABET[sum((place + 2) * ALPHABET.index(c) for place, c in enumerate(body)) % len(ALPHABET)]


def is_code(text: str) -> bool:
    """Whether a text is a code."""
    known = len(text) == LENGTH and set(text) <= set(ALPHABET)
    return known and check_character(text[:-1]) == text[-1]


def _all(survey: str, seed: int) -> Iterator[str]:
    for number in count():
        at = stable_random.integer(seed, survey, "respondent", number)
        body = ""
        for _ in range(LENGTH - 1):
            at, place = divmod(at, len(ALPHABET))
            body += ALPHABET[place]
        yield body + check_character(body)


def codes(survey: str, seed: int, respondents: int) -> list[str]:
    """Draw different codes for a survey's respondents; more respondents only add codes."""
    different = dict.fromkeys(islice(_all(survey, seed), respondents * 2 + 10))
    return list(different)[:respondents]


# ---- the page ----

#: Columns of the CSV that a form saves, a row for each part of each question in the order shown.
COLUMNS = ("survey", "form", "respondent", "position", "question", "part", "answer")

_FOLDER = Path(__file__).parent
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=True,
)


def _data(survey: Survey) -> str:
    """What the script needs to know; no correct answer is in it."""
    told = {
        "name": survey.name,
        "form": survey.checksum,
        "columns": COLUMNS,
        "alphabet": ALPHABET,
        "codeLength": LENGTH,
    }
    return json.dumps(told).replace("<", "\\u003c")


def _source(text: str) -> str:
    """A policy source that allows this very script or style and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def form(survey: Survey) -> str:
    """Write a survey as one HTML page, the same bytes every time.

    The page's content security policy forbids every connection, and every script but its own.
    """
    script, style = ((_FOLDER / f"form.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)};"
        " base-uri 'none'; form-action 'none'"
    )
    page = _TEMPLATES.get_template("form.html")
    return page.render(
        survey=survey, policy=policy, style=style, script=script, data=_data(survey), length=LENGTH
    )
