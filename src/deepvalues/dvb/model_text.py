"""Numbers of the manuscript on language models and on how the stimuli were chosen."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from deepvalues.dvb.verdicts import Verdict
from deepvalues.keeping import Numbers


def rules(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The rules of the verdicts as a table: number, verdict, rule, meaning, in their order."""
    columns = ["number", "verdict", "rule", "meaning"]
    rows = [(each.number, each.name, each.rule, each.meaning) for each in verdicts]
    return pd.DataFrame(rows, columns=columns)


def stimuli(numbers: Numbers, rates: pd.DataFrame, blind: pd.DataFrame) -> None:
    """How the wordings were chosen.

    Parameters
    ----------
    rates, blind
        From `deepvalues.dvb.chosen_wordings.read_rates` and `read_blind_reading`.
    """
    deep = rates[rates["arm"] == "deconfounded"]
    numbers.share("stimuli.least", deep["least"].min())
    numbers.share("stimuli.most", deep["most"].max())
    numbers.count("stimuli.designs", rates["designs"].max())
    numbers.count("stimuli.read", blind["read"].sum())
    numbers.count("stimuli.right", blind["right"].sum())
    numbers.count("stimuli.dropped", blind["dropped"].sum())
    single = rates[rates["arm"].isin(["value_only", "surface_only"])]
    wide = single.pivot(index="model", columns="arm", values="rate")
    numbers.share("stimuli.largest_gap", (wide["value_only"] - wide["surface_only"]).abs().max())
