"""Tables of the value-priority profiles; ``data/dictionary.yml`` lists their columns."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from deepvalues.paper.tables import intervals, markdown
from deepvalues.studies.profiles.analysis.recovery import RECOVERED
from deepvalues.studies.profiles.stimuli import CLOSED_MODES, MODES

#: Words for the directions of which the interval of the spread leaves no doubt.
_DIRECTIONS = {"exaggerates": "exaggerated", "flattens": "flattened"}


def by_mode(table: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by mode, in the order of the text and figures, keeping their order within a mode."""
    return table.sort_values("mode", key=lambda modes: modes.map(MODES.index), kind="stable")


def pairs(table: pd.DataFrame, by_model: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Worths of the themes by model (dashes if it chooses by position), beside its order consistency.

    Parameters
    ----------
    table
        From `analysis.pair_profiles.profiles`.
    by_model
        From `analysis.pair_profiles.by_model`.
    names
        Names of the themes by key.
    """
    if table.empty:
        return table
    claimed = by_model.set_index("model")["claimed"]
    kept = table.assign(worth=table["worth"].where(table["model"].map(claimed).astype(bool)))
    wide = kept.pivot(index="model", columns="theme", values="worth")[list(names)].rename(columns=names)
    of_model = ["model", "mass", "consistency", "by_place", "excess_low", "excess_high", "first_option"]
    return by_model[of_model].merge(wide.reset_index(), on="model").sort_values("model")


def _middle(table: pd.DataFrame) -> pd.DataFrame:
    """Add the interquartile range of the fidelity, as text."""
    quartiles = table[["fidelity_q25", "fidelity_q75"]].set_axis(["low", "high"], axis="columns")
    return table.assign(middle=intervals(quartiles, digits=2, bounded=False))


def ceiling(table: pd.DataFrame) -> pd.DataFrame:
    """Fidelity of single respondents, from `analysis.comparison.human_ceiling`."""
    return by_mode(_middle(table))


def agents(table: pd.DataFrame) -> pd.DataFrame:
    """Values implied by agents' known profiles and estimates from ratings, from `analysis.recovery.recovery`.

    The last column counts, over all modes, the implied values that lie in their intervals.
    """
    if table.empty:
        return table
    chosen = table[table["mode"] == "rating"]
    wide = chosen.assign(interval=intervals(chosen, digits=2, bounded=False)).pivot(
        index=["model", "reference"], columns="measure", values=["implied", "estimate", "interval"]
    )
    wide.columns = wide.columns.map("_".join)
    held = table.groupby("model")["held"].agg(["sum", "size"])
    counts = [f"{number} of {of}" for number, of in held.itertuples(index=False)]
    return wide.assign(in_interval=counts).reset_index()


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Coverage by agent, a column per measure and mode, from `analysis.recovery.simulated_coverage`."""
    wide = table.pivot(index=["model", "reference"], columns=["measure", "mode"], values="coverage")
    wide.columns = wide.columns.map("_".join)
    columns = [f"{measure}_{mode}" for measure in RECOVERED for mode in CLOSED_MODES]
    return wide.reindex(columns=columns).reset_index()


def fidelity(table: pd.DataFrame) -> pd.DataFrame:
    """Fidelity of each model and mode, from `analysis.comparison.fidelity_table`."""
    # An uncertain direction has no word and shows as a dash.
    return by_mode(table).assign(direction=lambda sorted_: sorted_["direction"].map(_DIRECTIONS))


def single_respondents(table: pd.DataFrame) -> pd.DataFrame:
    """Ratings against single respondents, from `analysis.comparison.against_single_respondents`."""
    return _middle(table[table["mode"] == "rating"])


def reported(table: pd.DataFrame) -> str:
    """Numbers reported in abstracts, from ``data/published/profiles_reported.csv`` read as text."""
    names = {"version": "version", "date": "of", "statement": "what is reported", "value": "as printed"}
    shown = table.assign(value=table["value"].str.replace("-", "–"))
    return markdown(shown[list(names)].rename(columns=names))
