"""The ratings of values: each of the eleven on three scales from 1 to 10."""

from __future__ import annotations

import hashlib

import pandas as pd
import pandera.pandas as pa

from deepvalues.studies.dvb.items import prompts
from deepvalues.studies.dvb.items.prompts import SCALES
from deepvalues.studies.dvb.stimuli.bank import Bank

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        "value": pa.Column(str),
        "value_set": pa.Column(str, pa.Check.isin(["ross_duty", "schwartz_social"])),
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
            prompt = prompts.rating_text(prompts.Label(value.name, value.definition), scale)
            digest = hashlib.sha256(prompt.encode()).hexdigest()[:16]
            rows.append((f"{value.id}.{scale}", value.id, value.group, scale, prompt, digest))
    validated: pd.DataFrame = CONTRACT.validate(pd.DataFrame(rows, columns=list(CONTRACT.columns)))
    return validated
