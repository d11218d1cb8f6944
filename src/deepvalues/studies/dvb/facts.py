"""Facts of study 1 for ``paper/sentences/``: the arguments of the macro of the same name.

First those of ``dvb_*.md``, then those of ``models.md``, on language models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from deepvalues.ask.registry import FREE, HEAD
from deepvalues.ask.weights.hidden import POOLINGS
from deepvalues.paper.sentences import spread
from deepvalues.studies.dvb.analysis import verdicts as rules
from deepvalues.studies.dvb.analysis.asked_read import ASKED, NULL
from deepvalues.studies.dvb.analysis.comparisons import FACTOR_NAMES, direction_gaps
from deepvalues.studies.dvb.analysis.orders import PUBLISHED, by_cell
from deepvalues.studies.dvb.analysis.several_sets import MODES, TASK_OF_LAYER
from deepvalues.studies.dvb.analysis.statistics import ALPHA, arm_means, sides_by_interval

# ---- the DVGR ----


def span(focused: pd.DataFrame) -> dict[str, Any]:
    """Between which rates the models in focus lie.

    Parameters
    ----------
    focused
        Their rows of `analysis.statistics.dvgr_by_model`.
    """
    return {"dvgr": spread(focused, "dvgr")}


def control(focused: pd.DataFrame, family: str) -> dict[str, Any]:
    """How many models in focus are above chance on the control; those without an accuracy are not.

    Parameters
    ----------
    focused
        Their rows of `analysis.comparisons.control_gate`.
    """
    passed, read = int((~focused["flagged"]).sum()), bool(focused["accuracy"].notna().any())
    return {"family": family, "read": read, "passed": passed, "models": len(focused)}


def learners(table: pd.DataFrame) -> dict[str, Any]:
    """How far programs get that learn from the words of one prompt, whichever family is in focus.

    Parameters
    ----------
    table
        From `analysis.statistics.dvgr_by_model`, with family.
    """
    found = table[table["family"] == "text learner"]
    followed, answered = (int(found[name].sum()) for name in ("followed", "answered"))
    above = sides_by_interval(found).above
    return {"models": list(found["model"]), "above": above, "followed": followed, "answered": answered}


def leave_one_out(table: pd.DataFrame) -> dict[str, Any]:
    """Between which rates the pooled DVGR runs without a model.

    Parameters
    ----------
    table
        From `analysis.statistics.leave_one_out`.
    """
    return {"models": len(table), "rates": spread(table, "rate", "left_out")}


# ---- arms, values, dimensions ----


def layers(focused: pd.DataFrame) -> dict[str, Any]:
    """How often the probe of each layer is answered right at N = 20.

    Parameters
    ----------
    focused
        The rows of the models in focus of ``rates(frame, ["model", "arm", "n_examples"])``.
    """
    means = arm_means(focused)
    return {layer: float(means.get((f"probe_{layer}", 20), math.nan)) for layer in ("value", "surface")}


def values(focused: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    """Which values the models in focus follow least and most often, on the mean.

    Parameters
    ----------
    focused
        Their rows of the rates by model and value: v1, rate.
    names
        Names of the values.
    """
    means = focused.groupby("v1", as_index=False)["rate"].mean()
    return {"rates": spread(means.assign(name=means["v1"].map(dict(names))), "rate", "name")}


def dimensions(table: pd.DataFrame, names: Mapping[str, tuple[str, str, str]]) -> dict[str, Any]:
    """The largest gap between the directions of a dimension; NaN where none has answers in both.

    Parameters
    ----------
    table
        dimension, direction, rate.
    names
        Names of the dimensions and their poles.
    """
    gaps = direction_gaps(table)
    both = table.dropna(subset="rate").groupby("dimension")["direction"].nunique().max() == 2
    return {"gap": float(gaps.max()) if both else math.nan, "dimension": names[str(gaps.idxmax())][0]}


def sensitivities(focused: pd.DataFrame, family: str) -> dict[str, Any]:
    """For how many models in focus a layer outweighs the other.

    Parameters
    ----------
    focused
        Their rows of `analysis.statistics.sensitivities`.
    """
    known = focused.dropna(subset="b_v")
    surface, value = int((known["d_high"] < 0).sum()), int((known["d_low"] > 0).sum())
    return {"family": family, "models": len(known), "surface": surface, "value": value}


# ---- factors and pairs ----


def factors(tests: pd.DataFrame) -> dict[str, Any]:
    """Which factors the tests with clusters leave, and which the others would add.

    Parameters
    ----------
    tests
        From `analysis.comparisons.factor_tests`.
    """
    named = tests.assign(name=tests["factor"].map(FACTOR_NAMES))
    clustered = tests["wald_p_holm"] < ALPHA
    uncorrected = named[(tests["wald_p"] < ALPHA) & ~clustered]
    return {
        "testable": bool(tests[["wald_p", "p_value"]].notna().any(axis=None)),
        "clustered": list(named.loc[clustered, "name"]),
        "pooled": list(named.loc[(tests["p_value"] < ALPHA) & ~clustered, "name"]),
        "uncorrected": dict(zip(uncorrected["name"], uncorrected["wald_p"], strict=True)),
    }


def regression(tests: pd.DataFrame) -> dict[str, Any]:
    """Which factors of the regressions are significant.

    Parameters
    ----------
    tests
        From `analysis.regression.factors_of`, of the regressions "logit" and "gee".
    """
    named = tests.assign(name=tests["factor"].map(FACTOR_NAMES))
    significant = named[named["p_value"] < ALPHA]
    by_regression = {
        each: list(significant.loc[significant["regression"] == each, "name"]) for each in ("logit", "gee")
    }
    return by_regression | {"untested": sorted(set(named.loc[named["p_value"].isna(), "name"]))}


def pairs(paired: pd.DataFrame, bound: float) -> dict[str, Any]:
    """How many pairs of models differ, and how many are equivalent.

    Parameters
    ----------
    paired
        From `deepvalues.stats.contrasts.paired_contrasts`.
    bound
        Of equivalence.
    """
    tests = {"different": "p_mcnemar_holm", "clustered": "p_clustered_holm", "equivalent": "p_equivalence"}
    counts = {name: int((paired[p] < ALPHA).sum()) for name, p in tests.items()}
    return {"pairs": len(paired), **counts, "bound": bound}


def agreement(developers: pd.DataFrame) -> dict[str, Any]:
    """How often two models in focus agree, and in what interval.

    Parameters
    ----------
    developers
        From `analysis.comparisons.developer_agreement`.
    """
    (row,) = developers[developers["comparison"] == "all pairs"].to_dict("records")
    ends = {kind: (row[f"{kind}_low"], row[f"{kind}_high"]) for kind in ("cells", "both")}
    return {"agreement": row["agreement"], **ends}


def most_alike(pairs: pd.DataFrame) -> dict[str, Any]:
    """The two models that agree most often; none where there are no two.

    Parameters
    ----------
    pairs
        From `analysis.comparisons.pairwise_agreement`.
    """
    known = pairs.dropna(subset="agreement")
    if known.empty:
        return {"models": [], "agreement": math.nan}
    row = known.sort_values("agreement", kind="stable").iloc[-1]
    return {"models": [row["model_a"], row["model_b"]], "agreement": row["agreement"]}


# ---- choices and probabilities ----


def soft(table: pd.DataFrame, expected: Mapping[str, float]) -> dict[str, Any]:
    """The soft DVGR of the models that have one, beside what their choices give.

    Parameters
    ----------
    table
        From `analysis.soft.soft_dvgr`.
    expected
        What the rules of models with a rule imply, by model.
    """
    return {"models": table.assign(implied=table["model"].map(dict(expected))).to_dict("records")}


# ---- language models: who was asked ----

LANGUAGE_MODEL = "language model"


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
    asked, given = _language_models(table), []
    for each in rules.VERDICTS:
        models = list(asked.loc[asked["verdict"] == each.id, "model"])
        if models:
            named = {"id": each.id, "name": each.name, "meaning": each.meaning}
            given.append({**named, "models": models, "size": len(models)})
    return {"n": rules.N, "verdicts": given}


#: Verdicts of those who learned something of a known layer.
_LEARNED = ("value", "surface", "both")
_ENCODER = "learner-encoder"
_AGENTS = {
    "agent-value": "value",
    "agent-surface": "surface",
    "agent-both": "both",
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
    *("order_consistency", "by_place", "first_option_rate", "prior", "prior_consistency", "shuffled"),
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
        "n": rules.N,
        "gain": _over_lexical(table),
        "nothing": _nothing_to_learn(table),
    }


def _fitted(table: pd.DataFrame) -> pd.DataFrame:
    """Heads that were fitted to the choices shown."""
    return table[(table["family"] == HEAD) & ~table["model"].str.endswith("-shuffled")]


def _over_lexical(table: pd.DataFrame) -> dict[str, Any]:
    """By how much heads do better than the lexical learners, and how many do so for certain."""
    heads = _fitted(table)
    names = {probe: f"{probe}_minus_lexical" for probe in ("probe_value", "probe_surface")}
    return {
        probe: spread(heads, name) | {"above": int((heads[f"{name}_low"] > 0).sum())}
        for probe, name in names.items()
    }


def _nothing_to_learn(table: pd.DataFrame) -> dict[str, Any]:
    """What heads do with shuffled examples, and how many of their intervals leave one half out."""
    heads = _fitted(table)
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
    cells = {"least": int(heads["cells"].min()), "most": int(heads["cells"].max())}
    return {"n": n, "models": sorted(heads["model"].unique()), "cells": cells, **arms}


def _by_arm(rates: pd.DataFrame) -> dict[str, Any] | None:
    arms = ("deconfounded", "probe_value", "probe_surface")
    return {arm: spread(rates[rates["arm"] == arm], "rate") for arm in arms} if len(rates) else None


def public(table: pd.DataFrame) -> dict[str, Any]:
    """What respondents make of the public prompts; None for a group that was not asked.

    Heads are told apart by the state that they read. ``state_decides`` is whether the intervals of all heads
    on the mean lie above one half, and those of none on the last token do; ``below`` are heads on the last
    token whose intervals lie below it. ``above`` is whether all intervals of these groups lie above the rate
    of the published models.

    Parameters
    ----------
    table
        From `analysis.orders.beside_published`.
    """
    published = table.loc[table["model"] == PUBLISHED, "dvgr"].iloc[0]
    ours = table[table["model"] != PUBLISHED].rename(
        columns={"wilson_low": "dvgr_low", "wilson_high": "dvgr_high"}
    )
    groups = {
        "learners": ours[ours["model"].isin(rules.LEXICAL)],
        "encoder": ours[ours["model"] == _ENCODER],
        "asked": _language_models(ours),
        **{
            state: ours[(ours["family"] == HEAD) & ours["model"].str.endswith(f"-{state}")]
            for state in POOLINGS
        },
    }
    mean, last = (groups[state] for state in POOLINGS)
    decides = len(mean) > 0 and len(last) > 0 and (mean["dvgr_low"] > 0.5).all()
    found = {name: spread(rows, "dvgr") if len(rows) else None for name, rows in groups.items()}
    above = bool((pd.concat(list(groups.values()))["dvgr_low"] > published).all())
    return {
        **found,
        "published": published,
        "above": above,
        "state_decides": bool(decides and (last["dvgr_low"] <= 0.5).all()),
        "below": last.loc[last["dvgr_high"] < 0.5, "model"].tolist(),
    }


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
    read, asked = _heads(on_probe), sorted(_language_models(table)["model"])
    models = sorted(read["model"].unique())
    heads = {
        "value": spread(read, "rate"),
        "shuffled": spread(null, "rate"),
        # Named only where some model that was asked has none.
        "models": models if models != asked else [],
    }
    encoder = spread(table[table["model"] == _ENCODER], "probe_value")
    return {"own": own(table), "verdicts": verdicts(table)["verdicts"], "heads": heads, "encoder": encoder}
