"""What is known of the chosen wordings: what lexical learners make of them, and how they were read blind.

The rates are those that `deepvalues select` measures; see `stimuli.selection`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pandera.pandas as pa

from deepvalues.core.errors import UserError
from deepvalues.core.number_format import listed, number
from deepvalues.core.paths import shown
from deepvalues.studies.dvb.stimuli.selection import DVGR_WITHIN, LAYERS_WITHIN

if TYPE_CHECKING:
    from deepvalues.paper.results import Results

BLIND = pa.DataFrameSchema(
    {
        "read": pa.Column("int64", pa.Check.gt(0)),
        "right": pa.Column("int64", pa.Check.ge(0)),
        "dropped": pa.Column("int64", pa.Check.ge(0)),
    },
    strict=True,
    name="blind reading",
)


def over_designs(rates: pd.DataFrame) -> pd.DataFrame:
    """Rates of each learner, arm and N over the designs that the bank is judged in.

    Parameters
    ----------
    rates
        From `stimuli.selection.read_rates`.

    Returns
    -------
    pandas.DataFrame
        model, arm, n_examples, designs (number), items (of all designs), rate (mean over the designs), least
        and most.
    """
    groups = rates.groupby(["model", "arm", "n_examples"], sort=False)
    table = groups.agg(
        designs=("rate", "size"),
        items=("items", "sum"),
        rate=("rate", "mean"),
        least=("rate", "min"),
        most=("rate", "max"),
    )
    return table.reset_index()


def read_blind_reading(path: Path) -> pd.DataFrame:
    """Read how many wordings were read blind, named right, and dropped as unsure or odd.

    Raises
    ------
    UserError
        When the file is missing or is no such table.
    """
    try:
        validated: pd.DataFrame = BLIND.validate(pd.read_csv(path))
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: missing; restore it from git") from None
    except (ValueError, pa.errors.SchemaError, pa.errors.SchemaErrors):
        raise UserError(f"{shown(path)}: not a table of {BLIND.name}; restore it from git") from None
    return validated


def limits(means: pd.DataFrame) -> str:
    """Whether the learners keep the limits that the bank is judged by.

    Parameters
    ----------
    means
        From `stimuli.selection.mean_rates`.
    """
    dvgr, layers = (number(limit, 2, bounded=True) for limit in (DVGR_WITHIN, LAYERS_WITHIN))
    wanted = f"a DVGR within .50 ± {dvgr}, and accuracies on the two layers within {layers} of each other"
    missed = list(means.loc[~means["kept"].astype(bool), "model"])
    if not missed:
        return f"All lexical learners stay within the intended limits ({wanted})."
    verb = "exceeds" if len(missed) == 1 else "exceed"
    return f"Of the lexical learners, {listed(missed)} {verb} the intended limits ({wanted})."


def numbers_of(results: Results, means: pd.DataFrame, table: pd.DataFrame, blind: pd.DataFrame) -> None:
    """The numbers of the text on how the wordings were chosen.

    Parameters
    ----------
    means
        From `stimuli.selection.mean_rates`.
    table
        From `over_designs`.
    blind
        From `read_blind_reading`.
    """
    deep = table.loc[table["arm"] == "deconfounded", "rate"]
    results.share("stimuli.least", deep.min())
    results.share("stimuli.most", deep.max())
    results.share("stimuli.largest_gap", (means["value_only"] - means["surface_only"]).abs().max())
    results.count("stimuli.designs", table["designs"].max())
    for name in BLIND.columns:
        results.count(f"stimuli.{name}", blind[name].sum())
    results.text("text.limits", limits(means))
