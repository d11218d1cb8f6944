"""Facts on language models for ``paper/sentences/models.md``: the arguments of the macro of the same name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from deepvalues.ask.registry import FREE, HEAD
from deepvalues.paper.sentences import spread
from deepvalues.studies.dvb.analysis import verdicts as rules
from deepvalues.studies.dvb.analysis.asked_read import ASKED, NULL
from deepvalues.studies.dvb.analysis.orders import by_cell
from deepvalues.studies.dvb.analysis.public_prompt_rates import PUBLISHED
from deepvalues.studies.dvb.analysis.several_sets import MODES, TASK_OF_LAYER

LANGUAGE_MODEL = "language model"

# ---- who was asked ----


def limitation(how: pd.DataFrame, cells: int) -> dict[str, Any]:
    """How many models were asked in how many cells.

    Parameters
    ----------
    how
        From `analysis.several_sets.how_asked`.
    cells
        Of the design.
    """
    # Without a model there is no largest one, and it is not known where the size of one is not.
    billions = float(how["billions"].max(skipna=False)) if len(how) else math.nan
    asked = {"least": how["cells"].min(), "most": how["cells"].max(), "cells": cells}
    return {"models": len(how), "billions": billions, **asked}


def asked(how: pd.DataFrame, not_asked: Sequence[str]) -> dict[str, Any]:
    """Who was asked, how, and who was not.

    Parameters
    ----------
    how
        From `analysis.several_sets.how_asked`.
    not_asked
        Language models on the paper's list whose records answer none of its sets.
    """
    by_letters = how[how["mode"] != MODES[FREE]]
    return {
        "models": how[["model", "cells", "items"]].to_dict("records"),
        "by_letters": len(by_letters),
        "letter_mass": spread(by_letters, "letter_mass"),
        "not_asked": len(not_asked),
    }


# ---- what they do ----


def verdicts(table: pd.DataFrame) -> dict[str, Any]:
    """The verdicts that language models got, in the order of the rules.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.
    """
    given = [fact._asdict() for fact in rules.facts(table).values() if fact.size]
    return {"n": rules.N, "verdicts": given}


#: Verdicts of those who learned something of a known layer.
_LEARNED = ("value", "surface", "both")
_ENCODER = "learner-encoder"
_AGENTS = {
    "agent-value": "value",
    "agent-surface": "surface",
    "agent-first": "place",
    "agent-random": "place",
}


def claims(table: pd.DataFrame) -> dict[str, bool]:
    """What the article says of all language models, and of all heads, by their verdicts.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.

    Returns
    -------
    dict
        by_position: every language model chooses by position; heads_learned: every head has a verdict of
        having learned a layer, and none that was fitted to shuffled choices has one; encoder_learned: the
        learner on sentence embeddings has such a verdict; agents_as_known: reference agents of a plain rule
        have the verdict that it calls for. False without any.
    """
    given = dict(zip(table["model"], table["verdict"], strict=True))
    asked = table.loc[table["family"] == LANGUAGE_MODEL, "verdict"]
    heads = table[table["family"] == HEAD]
    learned, shuffled = heads["verdict"].isin(_LEARNED), heads["model"].str.endswith("-shuffled")
    return {
        "by_position": len(asked) > 0 and bool((asked == "place").all()),
        "heads_learned": bool((~shuffled).any() and (learned != shuffled).all()),
        "encoder_learned": given.get(_ENCODER) in _LEARNED,
        "agents_as_known": all(given.get(name) == verdict for name, verdict in _AGENTS.items()),
    }


#: Measures of the sentences, and those that were also asked with more examples.
_MEASURES = (
    *("order_consistency", "by_place", "first_option_rate", "prior", "shuffled"),
    *("repeat_copy", "repeat_swapped", "control", "soft_dvgr", "dvgr_minus_lexical", "readable"),
)
_AT_BOTH = ("dvgr", "probe_value", "probe_surface")
#: From so many cells that are all alike on, Wilson's interval lies above one half; see `verdicts.above`.
_ENOUGH, _ROUNDING = 4, 1e-9
#: What may be above, and what it is called.
_LEANS = {
    "control_lean": "the control",
    "probe_value_lean": "the value probe",
    "probe_surface_lean": "the surface probe",
}


def own(table: pd.DataFrame) -> dict[str, Any]:
    """Measures of the language models, for `places`, `without_evidence`, `learned` and `finding`.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.

    Returns
    -------
    dict
        models (their number), n and more (numbers of examples), certain (by arm, how many prefer the right
        option for certain), and each measure as `deepvalues.paper.sentences.spread` gives it.
    """
    rows = _language_models(table)
    certain = {arm: int(_above(rows, lean).sum()) for lean, arm in _LEANS.items()}
    measures = {name: spread(rows, name) for name in (*_MEASURES, *_AT_BOTH)}
    measures |= {f"{name}_more": spread(rows, f"{name}_n{rules.MORE}") for name in _AT_BOTH}
    return {"models": len(rows), "n": rules.N, "more": rules.MORE, "certain": certain, **measures}


def _above(own: pd.DataFrame, lean: str) -> pd.Series[bool]:
    """Whose lean lies above 0 for certain; one that is the same in every cell has no interval."""
    alike = own[f"{lean}_low"].isna() & (own[lean] > _ROUNDING) & (own["cells"] >= _ENOUGH)
    return (own[f"{lean}_low"] > 0) | alike


def _language_models(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["family"] == LANGUAGE_MODEL]


def outright(judged: pd.DataFrame) -> dict[str, Any]:
    """How often language models tell which option shows a value or a pole when they are asked outright.

    Parameters
    ----------
    judged
        Trials of the validation, training and test stimuli together, as `analysis.several_sets.untold` takes
        them, with family.
    """
    # Without a trial there is no column of tasks.
    own = _language_models(judged).reindex(columns=["model", "task", "cell", "followed"])
    found = {layer: _right(own[own["task"] == task]) for layer, task in TASK_OF_LAYER.items()}
    return {"models": own["model"].nunique(), **found}


def _right(judged: pd.DataFrame) -> dict[str, Any]:
    """Shares of right answers over both orders, with intervals clustered by cell."""
    found = [(model, by_cell(rows, "followed")) for model, rows in judged.groupby("model")]
    rows = [(model, each.value, each.interval.low, each.interval.high) for model, each in found]
    return spread(pd.DataFrame(rows, columns=["model", "rate", "rate_low", "rate_high"]), "rate")


# ---- what can be read ----


def read(rates: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """What heads on hidden states find with the fewest and with the most examples, or with either of two.

    Parameters
    ----------
    rates
        From `analysis.asked_read.asked_against_read`.
    table
        From `analysis.verdicts.verdicts`; what the lexical learners find.
    """
    steps = sorted(_heads(rates)["n_examples"].unique())
    ends = steps if len(steps) < 3 else [steps[0], steps[-1]]
    return {
        "steps": [
            _read_at(rates[rates["n_examples"] == n], int(n)) | {"lexical": _lexical(table, int(n))}
            for n in ends
        ],
        "nothing": _nothing_to_learn(table),
    }


def _nothing_to_learn(table: pd.DataFrame) -> dict[str, Any]:
    """What heads do with shuffled examples, and how many of their intervals leave one half out."""
    heads = table[(table["family"] == HEAD) & ~table["model"].str.endswith("-shuffled")]
    probes = ("probe_value", "probe_surface")
    low, high = (heads[[f"shuffled_{probe}_{end}" for probe in probes]] for end in ("low", "high"))
    found = {probe: spread(heads, f"shuffled_{probe}") for probe in probes}
    return {
        **found,
        "intervals": int(low.count().sum()),
        "off": int((low > 0.5).to_numpy().sum() + (high < 0.5).to_numpy().sum()),
    }


def _lexical(table: pd.DataFrame, n: int) -> dict[str, Any]:
    """What the lexical learners find with so many examples, which the verdicts may lack."""
    rows = table[table["model"].isin(rules.LEXICAL)]
    ending = "" if n == rules.N else f"_n{n}"
    names = {"deconfounded": "dvgr", "probe_value": "probe_value", "probe_surface": "probe_surface"}
    return {
        arm: spread(rows.reindex(columns=["model", f"{name}{ending}"]), f"{name}{ending}")
        for arm, name in names.items()
    }


def _heads(rates: pd.DataFrame) -> pd.DataFrame:
    return rates[~rates["respondent"].isin([ASKED, NULL])]


def _read_at(rates: pd.DataFrame, n: int) -> dict[str, Any]:
    """Heads and shuffled choices with so many examples; None where there are none."""
    heads, shuffled = _heads(rates), rates[rates["respondent"] == NULL]
    arms = {"heads": _by_arm(heads), "shuffled": _by_arm(shuffled)}
    return {"n": n, "models": sorted(heads["model"].unique()), **arms}


def _by_arm(rates: pd.DataFrame) -> dict[str, Any] | None:
    arms = ("deconfounded", "probe_value", "probe_surface")
    return {arm: spread(rates[rates["arm"] == arm], "rate") for arm in arms} if len(rates) else None


def public(table: pd.DataFrame) -> dict[str, Any]:
    """What respondents make of the public prompts; None for a group that was not asked.

    ``above`` is whether all intervals of these groups lie above the rate of the published models.

    Parameters
    ----------
    table
        From `analysis.public_prompt_rates.beside_published`.
    """
    published = table.loc[table["model"] == PUBLISHED, "dvgr"].iloc[0]
    ours = table[table["model"] != PUBLISHED].rename(
        columns={"wilson_low": "dvgr_low", "wilson_high": "dvgr_high"}
    )
    groups = {
        "learners": ours[ours["model"].isin(rules.LEXICAL)],
        "encoder": ours[ours["model"] == _ENCODER],
        "asked": _language_models(ours),
        "heads": ours[(ours["family"] == HEAD) & ~ours["model"].str.endswith("-shuffled")],
    }
    found = {name: spread(rows, "dvgr") if len(rows) else None for name, rows in groups.items()}
    above = bool((pd.concat(list(groups.values()))["dvgr_low"] > published).all())
    return {**found, "published": published, "above": above}


# ---- in short ----


def finding(table: pd.DataFrame, rates: pd.DataFrame) -> dict[str, Any]:
    """What was found about language models, for the abstract: all of it from the same examples.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.
    rates
        From `analysis.asked_read.asked_against_read`.
    """
    on_probe = rates[(rates["arm"] == "probe_value") & (rates["n_examples"] == rules.N)]
    null = on_probe[on_probe["respondent"] == NULL]
    heads = {"value": spread(_heads(on_probe), "rate"), "shuffled": spread(null, "rate")}
    encoder = spread(table[table["model"] == _ENCODER], "probe_value")
    return {"own": own(table), "verdicts": verdicts(table)["verdicts"], "heads": heads, "encoder": encoder}
