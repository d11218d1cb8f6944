"""Tables of the value-priority profiles, and of the three studies side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from deepvalues.core.number_format import coefficient, count, logit, p_value, share
from deepvalues.paper.markdown import intervals, markdown
from deepvalues.studies.profiles.stimuli.instrument import MODES

#: What a model does to the reference's differences, where its spread says so for certain.
_DIRECTIONS = {"exaggerates": "exaggerated", "flattens": "flattened"}


def _by_mode(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by mode, in the order of the text and the figures; within one as they were."""
    return table.sort_values("mode", key=lambda modes: modes.map(MODES.index), kind="stable")


def missing(table: pd.DataFrame) -> str:
    """Runs with and without an answer, from `analysis.responses.over_modes`."""
    counts = ["runs", "answered", "repaired", "missing"]
    return markdown(table[["model", *counts]], dict.fromkeys(counts, count))


def pairs(table: pd.DataFrame, by_model: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Worths of the themes by model, dashes where its choices go by place, beside what they go by.

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
        return "No model has answered."
    claimed = by_model.set_index("model")["claimed"]
    kept = table.assign(worth=table["worth"].where(table["model"].map(claimed).astype(bool)))
    wide = kept.pivot(index="model", columns="theme", values="worth")[list(names)].rename(columns=names)
    of_model = by_model.set_index("model").loc[wide.index]
    shown = pd.DataFrame(
        {
            "model": wide.index,
            "letter mass": of_model["mass"].to_numpy(),
            "consistency": of_model["consistency"].to_numpy(),
            "by place alone": of_model["by_place"].to_numpy(),
            "excess": intervals(of_model, "excess", 2, bounded=False),
            "first option": of_model["first_option"].to_numpy(),
            **{theme: wide[theme].to_numpy() for theme in wide.columns},
        }
    )
    shares = ["letter mass", "consistency", "by place alone", "first option"]
    return markdown(shown, dict.fromkeys(shares, share) | dict.fromkeys(wide.columns, logit))


def ceiling(table: pd.DataFrame) -> str:
    """How faithful single respondents are, from `analysis.comparison.human_ceiling`."""
    (reference,) = set(table["reference"])
    table = _by_mode(table)
    middle = {"low": table["fidelity_q25"], "high": table["fidelity_q75"]}
    shown = table.assign(
        interval=intervals(table, digits=2, bounded=False),
        middle=intervals(table.assign(**middle), digits=2, bounded=False),
    )
    names = {
        "mode": f"mode, {reference}",
        "respondents": "respondents",
        "mean": "mean F",
        "interval": "interval of the mean",
        "middle": "middle half of F",
    }
    return markdown(shown[list(names)].rename(columns=names), {"respondents": count, "mean F": logit})


def convergence(table: pd.DataFrame) -> str:
    """How alike the models' mean profiles are, from `analysis.stability.convergence`."""
    names = {
        "mode": "mode",
        "models": "models",
        "w": "W",
        "interval": "interval",
        "correlation": "mean ρ",
        "p_value": "p",
    }
    table = _by_mode(table)
    shown = table.assign(interval=intervals(table, "w", 2))[list(names)].rename(columns=names)
    return markdown(shown, {"models": count, "W": logit, "mean ρ": logit, "p": p_value})


def agents(table: pd.DataFrame, mode: str = "rating") -> str:
    """What agents' known profiles imply and what was estimated in a mode; held over all modes.

    Parameters
    ----------
    table
        From `analysis.recovery.recovery`.
    """
    if table.empty:
        return "No reference agent is among the models."
    (reference,) = set(table["reference"])
    chosen = table[table["mode"] == mode]
    wide = chosen.assign(interval=intervals(chosen, digits=2, bounded=False)).pivot(
        index="model", columns="measure", values=["implied", "estimate", "interval"]
    )
    held = table.groupby("model")["held"].agg(["sum", "size"])
    shown = pd.DataFrame(
        {
            f"agent, against a {reference}": wide.index,
            "F implied": wide["implied", "fidelity"].astype(float),
            "F": wide["estimate", "fidelity"].astype(float),
            "interval of F": wide["interval", "fidelity"],
            "v implied": wide["implied", "v"].astype(float),
            "v": wide["estimate", "v"].astype(float),
            "interval of v": wide["interval", "v"],
            "in interval": [f"{number} of {of}" for number, of in held.itertuples(index=False)],
        }
    )
    return markdown(shown, dict.fromkeys(["F implied", "F", "v implied", "v"], logit))


def fidelity(table: pd.DataFrame) -> str:
    """Fidelity of each model and mode, from `analysis.comparison.fidelity_table`."""
    (reference,) = set(table["reference"])
    table = _by_mode(table)
    shown = table.assign(
        interval=intervals(table, "fidelity", 2, bounded=False),
        # What is not certain has no word, and so a dash.
        direction=table["direction"].map(_DIRECTIONS),
    )
    names = {
        "mode": "mode",
        "model": f"model, against the {reference}",
        "fidelity": "F",
        "interval": "interval of F",
        "r": "r",
        "p_greater": "p of r",
        "v": "v",
        "direction": "differences",
    }
    shown = shown[list(names)].rename(columns=names)
    return markdown(shown, {"F": logit, "r": logit, "p of r": p_value, "v": logit})


def single_respondents(table: pd.DataFrame, mode: str = "rating") -> str:
    """Mean profiles against single respondents in a mode.

    Parameters
    ----------
    table
        From `analysis.comparison.against_single_respondents`.
    """
    (reference,) = set(table["reference"])
    chosen = table[table["mode"] == mode]
    middle = {"low": chosen["fidelity_q25"], "high": chosen["fidelity_q75"]}
    shown = chosen.assign(middle=intervals(chosen.assign(**middle), digits=2, bounded=False))
    names = {
        "model": f"model, against single respondents of the {reference}",
        "fidelity_median": "median F",
        "middle": "middle half of F",
        "v_median": "median v",
        "exaggerates": "share with v above 1",
    }
    formats = {"median F": logit, "median v": logit, "share with v above 1": share}
    return markdown(shown[list(names)].rename(columns=names), formats)


def coders(table: pd.DataFrame) -> str:
    """Agreement of coders, from `analysis.coders.coder_agreement`."""
    shown = table.assign(interval=intervals(table, digits=2))
    names = {"measure": "measure", "units": "sentences", "estimate": "estimate", "interval": "interval"}
    return markdown(shown[list(names)].rename(columns=names), {"sentences": count, "estimate": coefficient})


def _correlations(table: pd.DataFrame, names: dict[str, str], counts: dict[str, str]) -> str:
    """Rank correlations under the columns that tell them apart, and the numbers of models."""
    shown = table.assign(interval=intervals(table, digits=2))
    names = names | counts | {"rho": "ρ", "interval": "interval", "p_value": "p"}
    formats = dict.fromkeys(counts.values(), count) | {"ρ": logit, "p": p_value}
    return markdown(shown[list(names)].rename(columns=names), formats)


def associations(table: pd.DataFrame) -> str:
    """Fidelity against traits of models, from `analysis.comparison.associations`."""
    names = {"mode": "mode", "predictor": "fidelity against"}
    return _correlations(_by_mode(table), names, {"models": "models"})


def reported(table: pd.DataFrame) -> str:
    """Figures of abstracts, from ``data/published/profiles_reported.csv`` read as text."""
    names = {"version": "version", "date": "of", "statement": "what is reported", "value": "as printed"}
    shown = table.assign(value=table["value"].str.replace("-", "–"))
    return markdown(shown[list(names)].rename(columns=names))


def joint(table: pd.DataFrame, reference: str) -> str:
    """Rank correlations between the studies, from `deepvalues.studies.across_studies.rank_correlations`.

    Parameters
    ----------
    reference
        What fidelity is to.
    """
    named = {"profile_fidelity": f"fidelity to the {reference}"}
    measures = {name: table[name].replace(named).str.replace("_", " ") for name in ("first", "second")}
    names = {"first": "first measure", "second": "second measure"}
    counts = {"models_first": "with first", "models_second": "with second", "models": "with both"}
    return _correlations(table.assign(**measures), names, counts)
