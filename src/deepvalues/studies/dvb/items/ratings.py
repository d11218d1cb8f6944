"""The ratings of values: each of the eleven on three scales from 1 to 10, and how replies are read.

A reply counts if it gives a number in one of the known forms; nothing is guessed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

import pandas as pd
import pandera.pandas as pa

from deepvalues.ask.reading import Reading, Received, declines, settled, unread, without_thinking
from deepvalues.studies.dvb.items.prompts import SCALES, Label, rating_text
from deepvalues.studies.dvb.stimuli.bank import VALUE_SETS, Bank

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "value": pa.Column(str),
        "value_set": pa.Column(str, pa.Check.isin(VALUE_SETS)),
        "scale": pa.Column(str, pa.Check.isin(list(SCALES))),
        "prompt": pa.Column(str),
        "hash": pa.Column(str, pa.Check.str_length(16, 16), unique=True),
    },
    strict=True,
    ordered=True,
    name="rating items",
)


def build_ratings(bank: Bank) -> pd.DataFrame:
    """Build the 33 questions, ordered by value and scale; the frame meets `CONTRACT`."""
    rows = []
    for value in bank.values.values():
        for scale in SCALES:
            prompt = rating_text(Label(value.name, value.definition), scale)
            digest = hashlib.sha256(prompt.encode()).hexdigest()[:16]
            rows.append((f"{value.id}.{scale}", value.id, value.group, scale, prompt, digest))
    return CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))


# ---- replies ----

#: The ratings from 1 to 10 in words.
RATING_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {word: number for number, word in enumerate(RATING_WORDS, start=1)}
_NUMBER = rf"[(\[]?(\d{{1,2}}|{'|'.join(_WORDS)})[)\]]?"
_SCALE = r"on (?:a |the |this )?scale (?:of |from )?(?:1|one) ?(?:-|–|to) ?(?:10|ten)"
_GIVES = (
    r"(?:(?:i|i'd|i would|i will|i'll)(?: would)? (?:rate|give|score|say)(?: (?:it|this|that)(?: value)?)?|"
    r"(?:the |my )?(?:rating|score|answer|value)(?: is| would be)?)(?: (?:as|at))? ?:? ?"
)
_RATING = re.compile(
    rf"(?:{_SCALE},? )?(?:{_GIVES})?(?:an? )?{_NUMBER}(?: {_NUMBER})?"
    rf"(?: ?/ ?10| out of (?:10|ten))?(?: {_SCALE})?[.!]?",
    re.IGNORECASE,
)
#: No known form is longer than this, in characters.
_LONGEST = 100
_MARKUP = re.compile(r"[*_`\"“”#]+")


def _rating(text: str) -> int | None:
    """The number from 1 to 10 if a text is a rating and nothing else."""
    words = " ".join(_MARKUP.sub("", text).split()).replace("’", "'")
    match = _RATING.fullmatch(words) if len(words) <= _LONGEST else None
    found = match.groups() if match else ()
    named = {int(_WORDS.get(each.lower(), each)) for each in found if each}
    return named.pop() if len(named) == 1 and named <= set(range(1, 11)) else None


def read_rating(received: Received) -> Reading:
    """Read a reply that should be a whole number from 1 to 10.

    Accepted are a number alone (``8``, ``8/10``, ``Rating: 8``, ``**8**``, ``eight``) and one in a sentence
    that states it ("I would rate it 8."). Of a truncated reply only the first line counts, if it ended before
    the cut. Several numbers, decimals and numbers off the scale are unparsable.

    Returns
    -------
    Reading
        ``answered`` with the number in digits, or one of the other statuses without a choice.
    """
    if (known := settled(received)) is not None:
        return known
    text = without_thinking(unicodedata.normalize("NFKC", received.text or ""))
    if declines(text):
        return Reading("refused")
    first, ended, _ = text.partition("\n")
    rating = _rating((first if ended else "") if received.cut else text)
    return unread(received) if rating is None else Reading("answered", str(rating))
