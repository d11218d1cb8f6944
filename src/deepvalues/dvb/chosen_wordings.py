"""What is known of the chosen wordings: what lexical learners make of them, and how they were read blind.

Both are files beside the stimuli, as the first takes many minutes to make and the second was done by readers.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from deepvalues.dvb.arms import ARMS
from deepvalues.dvb.selection import LEARNERS
from deepvalues.errors import UserError
from deepvalues.paths import shown

_SHARE = pa.Check.in_range(0, 1)
RATES = pa.DataFrameSchema(
    {
        "model": pa.Column(str, pa.Check.isin(LEARNERS)),
        "arm": pa.Column(str, pa.Check.isin(list(ARMS))),
        "n_examples": pa.Column("int64", pa.Check.gt(0)),
        "designs": pa.Column("int64", pa.Check.gt(0)),
        "items": pa.Column("int64", pa.Check.gt(0)),
        "rate": pa.Column(float, _SHARE),
        "least": pa.Column(float, _SHARE),
        "most": pa.Column(float, _SHARE),
    },
    unique=["model", "arm", "n_examples"],
    strict=True,
    coerce=True,
    name="rates of lexical learners",
)
BLIND = pa.DataFrameSchema(
    {
        "read": pa.Column("int64", pa.Check.gt(0)),
        "right": pa.Column("int64", pa.Check.ge(0)),
        "dropped": pa.Column("int64", pa.Check.ge(0)),
    },
    strict=True,
    coerce=True,
    name="blind reading",
)


def over_designs(rates: pd.DataFrame) -> pd.DataFrame:
    """What lexical learners make of the bank, over the designs in which it was judged.

    Parameters
    ----------
    rates
        From `deepvalues.dvb.selection.read_rates`.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `RATES`: model, arm, n_examples, designs (number), items (in each), rate (mean over
        the designs), least and most.
    """
    table = rates.groupby(["model", "arm", "n_examples"], sort=False).agg(
        designs=("rate", "size"),
        items=("items", "max"),
        rate=("rate", "mean"),
        least=("rate", "min"),
        most=("rate", "max"),
    )
    validated: pd.DataFrame = RATES.validate(table.round(6).reset_index())
    return validated


def read_blind_reading(path: Path) -> pd.DataFrame:
    """Read how many wordings were read blind, named right, and dropped as unsure or odd."""
    return _read(path, BLIND)


def _read(path: Path, contract: pa.DataFrameSchema) -> pd.DataFrame:
    try:
        validated: pd.DataFrame = contract.validate(pd.read_csv(path))
    except (OSError, ValueError, pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
        fault = (
            error.strerror
            if isinstance(error, OSError) and error.strerror
            else f"not a table of {contract.name}"
        )
        raise UserError(f"{shown(path)}: {fault}; restore it from git") from None
    return validated
