"""Whether the instrument gives back what is known: reference agents against what their profiles imply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from deepvalues.studies.profiles.analysis.measures import fidelity
from deepvalues.studies.profiles.analysis.reference import label, mean_profiles
from deepvalues.studies.profiles.respondents.agents import ProfileAgent

#: The measures that are compared.
RECOVERED = ("fidelity", "v")
#: Rounding that puts no truth outside an interval whose end it is.
ROUNDING = 1e-9


def recovery(
    table: pd.DataFrame, agents: Mapping[str, ProfileAgent], reference: pd.DataFrame, themes: Sequence[str]
) -> pd.DataFrame:
    """Fidelity and spread of each reference agent: implied by its known profile, and estimated from its runs.

    Parameters
    ----------
    table
        From `analysis.comparison.fidelity_table`; models that are no agents are left out.
    agents
        By name, from `respondents.agents.profile_agents`.
    reference
        The reference that the table was made with.
    themes
        Keys of the themes in their fixed order.

    Returns
    -------
    pandas.DataFrame
        model, mode, measure (one of `RECOVERED`), implied, estimate, low, high, held (whether the interval
        holds what is implied), reference.
    """
    means = mean_profiles(reference, themes)
    rows = []
    for row in table[table["model"].isin(list(agents))].to_dict("records"):
        implied = fidelity(agents[row["model"]].expected(row["mode"]), means[row["mode"]])
        for measure in RECOVERED:
            estimate, low, high = (row[f"{measure}{end}"] for end in ("", "_low", "_high"))
            rows.append((row["model"], row["mode"], measure, implied[measure], estimate, low, high))
    columns = ["model", "mode", "measure", "implied", "estimate", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns)
    above = frame["low"].sub(ROUNDING).le(frame["implied"])
    below = frame["high"].add(ROUNDING).ge(frame["implied"])
    return frame.assign(held=above & below, reference=label(reference))
