"""Tables of study 2 that differ from their frames; ``data/dictionary.yml`` gives the heads."""

from __future__ import annotations

import pandas as pd

from deepvalues.core import number_format
from deepvalues.core.number_format import like
from deepvalues.paper.tables import intervals


def steering(table: pd.DataFrame) -> pd.DataFrame:
    """How far the assigned value moves the angle: a row per model, a column per mode and prompting.

    Parameters
    ----------
    table
        From `analysis.statistics.steering_range`.
    """
    prompting = table["goal"].map({False: "", True: ", goal prompting"})
    columns = table.assign(condition=table["mode"] + prompting)
    return columns.pivot(index="model", columns="condition", values="range").reset_index()


def rationality(means: pd.DataFrame) -> pd.DataFrame:
    """Value rationality, raw and corrected for chance: a row per model, columns by mode.

    The column ``values`` gives the number of values behind each mean, in the order of the modes: "4 / 3".

    Parameters
    ----------
    means
        From `analysis.statistics.mean_rationality`.
    """
    scales = means.assign(
        raw=means["rationality"].map(like("0.0")), corrected=means["corrected"].map(like("0.00"))
    )
    wide = scales.pivot(index="model", columns="mode", values=["raw", "corrected"])
    wide.columns = wide.columns.map(", ".join)
    values = means.assign(values=means["values"].map(number_format.count)).groupby("model")["values"]
    wide.insert(0, "values", values.agg(" / ".join))
    return wide.reset_index()


def anova(table: pd.DataFrame) -> pd.DataFrame:
    """Analysis of variance of the angle, with the prompting in words.

    Parameters
    ----------
    table
        Rows of `analysis.comparisons.anova` for one mode.
    """
    prompting = table["goal"].map({True: "goal", False: "no goal"})
    return table.assign(goal=prompting, source=table["source"].str.replace("*", "×"))


def against_people(table: pd.DataFrame) -> pd.DataFrame:
    """Distance of models from people, with the 95% quantile for equally large samples of people in brackets.

    Parameters
    ----------
    table
        Rows of `analysis.comparisons.against_people`, one per model.
    """
    shown = table[["model", "angle"]].copy()
    for measure, example in (("wasserstein", "0.0"), ("categories", ".000"), ("options", ".000")):
        distance, of_people = (table[name].map(like(example)) for name in (measure, f"{measure}_people_95"))
        shown[f"{measure.replace('was', 'Was')} (95% of people)"] = distance + " (" + of_people + ")"
    return shown


def lean(table: pd.DataFrame) -> pd.DataFrame:
    """Lean of the published models to neutral values: degrees with one decimal, corrected with two.

    Parameters
    ----------
    table
        From `analysis.published.neutral_lean`.
    """
    # Scores were read off the figure to half a degree, so degrees get no second decimal.
    parts = [
        part.assign(
            scale=part["scale"].str.replace("_", " "),
            lean=[number_format.number(lean, digits) for lean in part["lean"]],
            interval=intervals(part, "", digits, bounded=False),
            read_interval=intervals(part, "read", digits, bounded=False),
        )
        for scale, part in table.groupby("scale", sort=False)
        for digits in [2 if scale == "corrected" else 1]
    ]
    return pd.concat(parts)
