"""Facts of study 1 for ``paper/sentences/``: the arguments of the macro of the same name.

First those for ``dvb_*.md``, then those for ``models.md``, on language models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from deepvalues.ask.registry import FREE, HEAD
from deepvalues.ask.weights.hidden import POOLINGS
from deepvalues.core import number_format
from deepvalues.paper.sentences import spread
from deepvalues.stats.clusters import Estimate
from deepvalues.studies.dvb.analysis import verdicts as rules
from deepvalues.studies.dvb.analysis.asked_read import (
    ARMS,
    ASKED,
    BEST_LEXICAL,
    LAST,
    MEAN,
    NULL,
    PROBES,
    READ,
    TOKENS,
    respondents,
)
from deepvalues.studies.dvb.analysis.comparisons import FACTOR_NAMES, direction_gaps
from deepvalues.studies.dvb.analysis.orders import PUBLISHED, by_cell
from deepvalues.studies.dvb.analysis.several_sets import MODES, TASK_OF_LAYER
from deepvalues.studies.dvb.analysis.statistics import ALPHA, DOUBLES
from deepvalues.studies.dvb.analysis.verdict_errors import RESPONDENTS
from deepvalues.studies.dvb.analysis.verdicts import LANGUAGE_MODEL
from deepvalues.studies.dvb.respondents.heads import SHUFFLED

# ---- the DVGR ----


def span(focused: pd.DataFrame) -> dict[str, Any]:
    """The lowest and the highest rate, for `sides`.

    Parameters
    ----------
    focused
        Their rows of `analysis.statistics.dvgr_by_model`.
    """
    return {"dvgr": spread(focused, "dvgr")}


def control(focused: pd.DataFrame, family: str) -> dict[str, Any]:
    """How many models in focus are above chance on the control; a model without an accuracy is not.

    Parameters
    ----------
    focused
        Their rows of `analysis.comparisons.control_gate`.
    """
    passed, read = int((~focused["flagged"]).sum()), bool(focused["accuracy"].notna().any())
    return {"family": family, "read": read, "passed": passed, "models": len(focused)}


def leave_one_out(table: pd.DataFrame) -> dict[str, Any]:
    """The lowest and the highest pooled DVGR with one model left out.

    Parameters
    ----------
    table
        From `analysis.statistics.leave_one_out`.
    """
    ends = {f"clustered_{end}": f"rate_{end}" for end in ("low", "high")}
    return {"models": len(table), "rates": spread(table.rename(columns=ends), "rate", "left_out")}


# ---- arms, values, dimensions ----


def values(focused: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    """The values that the models in focus follow least and most often on average.

    Parameters
    ----------
    focused
        Their rows of the rates by model and value: v1, rate.
    names
        Names of the values.
    """
    means = focused.groupby("v1", as_index=False)["rate"].mean()
    return {"rates": spread(means.assign(name=means["v1"].map(dict(names))), "rate", "name")}


def directions(
    table: pd.DataFrame, asymmetry: pd.DataFrame, names: Mapping[str, tuple[str, str, str]]
) -> dict[str, Any]:
    """How many dimensions differ between their directions, and the largest difference with its interval.

    The difference is NaN if no dimension has answers in both directions.

    Parameters
    ----------
    table
        dimension, direction, rate.
    asymmetry
        From `analysis.comparisons.asymmetry`.
    names
        Names of the dimensions and their poles.
    """
    gaps = direction_gaps(table)
    both = table.dropna(subset="rate").groupby("dimension")["direction"].nunique().max() == 2
    widest = str(gaps.idxmax())
    row = asymmetry.set_index("dimension").loc[widest]
    low, high = row["clustered_low"], row["clustered_high"]
    return {
        "gap": float(gaps.max()) if both else math.nan,
        "ends": (low, high) if row["difference"] >= 0 else (-high, -low),
        "dimension": names[widest][0],
        "dimensions": len(asymmetry),
        "different": int((asymmetry["p_holm"] < ALPHA).sum()),
    }


def sensitivities(focused: pd.DataFrame, family: str) -> dict[str, Any]:
    """For how many models in focus one layer outweighs the other.

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
    """Factors that are significant with clusters, and those that are so only without clusters or correction.

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
    """The factors that are significant in each regression.

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
    """Numbers of pairs of models that differ and that are equivalent.

    Parameters
    ----------
    paired
        From `deepvalues.stats.contrasts.paired_contrasts`.
    bound
        Differences smaller than this count as equivalent.
    """
    tests = {"different": "p_mcnemar_holm", "clustered": "p_clustered_holm", "equivalent": "p_equivalence"}
    counts = {name: int((paired[p] < ALPHA).sum()) for name, p in tests.items()}
    return {"pairs": len(paired), **counts, "bound": bound}


def agreement(table: pd.DataFrame) -> dict[str, Any]:
    """How often two models in focus agree, with intervals.

    Parameters
    ----------
    table
        From `analysis.comparisons.mean_agreement`.
    """
    (row,) = table.to_dict("records")
    ends = {kind: (row[f"{kind}_low"], row[f"{kind}_high"]) for kind in ("cells", "both")}
    return {"agreement": row["agreement"], **ends}


def most_alike(pairs: pd.DataFrame) -> dict[str, Any]:
    """The two models that agree most often; no models if there are fewer than two.

    Parameters
    ----------
    pairs
        From `analysis.comparisons.pairwise_agreement`.
    """
    known = pairs.dropna(subset="agreement")
    if known.empty:
        return {"models": [], "agreement": math.nan, "left_out": []}
    row = known.sort_values("agreement", kind="stable").iloc[-1]
    models = [row["model_a"], row["model_b"]]
    left_out = [model for model in models if DOUBLES.get(model) in models]
    return {"models": models, "agreement": row["agreement"], "left_out": left_out}


# ---- choices and probabilities ----


def other_layer(errors: pd.DataFrame) -> dict[str, Any]:
    """The highest rate at which simulated learners of one layer were judged to be learners of the other.

    Parameters
    ----------
    errors
        From `analysis.verdict_errors.verdict_errors`.
    """
    of = dict(list(errors.groupby("truth")))
    return {"rate": float(max(of["value"]["surface"].max(), of["surface"]["value"].max()))}


# ---- language models: who was asked ----


def limitation(how: pd.DataFrame, cells: int) -> dict[str, Any]:
    """The number of models asked, their largest size, and the numbers of cells.

    Parameters
    ----------
    how
        From `analysis.several_sets.how_asked`.
    cells
        Number of cells in the design.
    """
    asked = {"least": how["cells"].min(), "most": how["cells"].max(), "cells": cells}
    return {"models": len(how), "billions": _most_billions(how), **asked}


def _most_billions(how: pd.DataFrame) -> float:
    """The size of the largest model; NaN without models, or if the size of one is unknown."""
    return float(how["billions"].max(skipna=False)) if len(how) else math.nan


def asked(how: pd.DataFrame) -> dict[str, Any]:
    """Which models were asked, and how.

    Parameters
    ----------
    how
        From `analysis.several_sets.how_asked`.
    """
    by_letters = how[how["mode"] != MODES[FREE]]
    return {
        "models": how[["model", "cells", "items"]].to_dict("records"),
        "by_letters": len(by_letters),
        "letter_mass": spread(by_letters, "letter_mass"),
    }


# ---- what they do ----


#: The verdicts that a simple rule implies.
_AGENTS = {
    "agent-value": ("value",),
    "agent-surface": ("surface",),
    "agent-both": ("both",),
    "agent-first": ("place",),
    "agent-random": RESPONDENTS["coin"].right,
}


def claims(table: pd.DataFrame) -> dict[str, bool]:
    """The article's claims about all language models and all heads, from their verdicts.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.

    Returns
    -------
    dict
        by_position: every language model chooses by position; heads_learned: every head on
        hidden states learned the value or both layers, and none that was fitted to coin-flipped choices
        learned a layer; encoder_learned: the
        learner on sentence embeddings learned a layer; dvgr_hides: no DVGR of a language model, nor that of a
        head that learned both layers, can be told from one half, but the control tells them apart. False
        without any.
    """
    given = dict(zip(table["model"], table["verdict"], strict=True))
    asked, fitted, same = _language_models(table), _fitted(table), same_dvgr(table)
    null = table[(table["family"] == HEAD) & table["model"].str.endswith(SHUFFLED)]
    of_value = fitted["verdict"].isin(["value", "both"])
    return {
        "by_position": len(asked) > 0 and bool((asked["verdict"] == "place").all()),
        "heads_learned": len(fitted) > 0
        and bool(of_value.all() and not null["verdict"].isin(rules.LAYER_NAMED).any()),
        "encoder_learned": given.get(rules.ENCODER) in rules.LAYER_NAMED,
        "dvgr_hides": bool(same["both"]["known"] and same["half"] and same["apart"]),
    }


def agents(table: pd.DataFrame) -> dict[str, Any]:
    """How many reference agents with a simple rule have a verdict, and which have another than it implies.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.
    """
    given = table.set_index("model")["verdict"].reindex(list(_AGENTS)).dropna()
    missed = [(name, verdict) for name, verdict in given.items() if verdict not in _AGENTS[str(name)]]
    return {
        "agents": len(given),
        "missed": [{"model": name, "verdict": rules.NAMES[verdict]} for name, verdict in missed],
    }


#: The arms that show what was learned.
_LEARNED = ("control", "probe_value", "probe_surface")
#: Measures that the sentences use, and those that are also known for more examples.
_POSITIVE = tuple(f"{arm}_positive" for arm in (*_LEARNED, "repeat"))
_MEASURES = ("first_option_p", "repeat_copy", "repeat_swapped", *_POSITIVE)
_AT_BOTH = ("dvgr", *_LEARNED)
#: Rates of first options from which a model is said to take nearly always the first, or the second.
_NEARLY = {"first": (0.9, 1.0), "second": (0.0, 0.1)}
_NOTHING_SHOWN = {"prior": "no examples", "shuffled": "shuffled examples"}


def own(table: pd.DataFrame) -> dict[str, Any]:
    """Measures of the language models, for sentences on what they do and what they learned.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.

    Returns
    -------
    dict
        models (number), n and more (numbers of examples), certain (by arm, how many models significantly
        prefer the right option), positions (``first``, ``second``: the models that nearly always take that
        option), by_option (those that choose the same option in both orders more often than position alone
        would give), copies (those that reproduce an exact copy of an example above chance), by_letter
        (whether all were asked by letter probability), nothing_shown (number of rates without examples or
        with shuffled ones), off_half (those of them whose intervals exclude one half), positive (number of
        shares of tests whose log odds favour the right option), positive_above (those of them whose intervals
        lie above one half), turned_by_examples
        (`spread` of prior_consistency, of the models that are less consistent with examples, by intervals
        that do not overlap), learned_more (`spread` of control and probes with more examples), most (the
        largest upper end of the intervals of preferences for the right option, in log odds), and each
        measure as `deepvalues.paper.sentences.spread` returns it.
    """
    rows = _language_models(table)
    certain = {f"the {ARMS[arm]}": int(_above(rows, f"{arm}_lean").sum()) for arm in _LEARNED}
    measures = {name: spread(rows, name) for name in (*_MEASURES, *_AT_BOTH)}
    measures["position_lean"] = spread(rows, "position_lean", written=number_format.logit)
    measures |= {f"{name}_more": spread(rows, f"{name}_n{rules.MORE}") for name in _AT_BOTH}
    turned = rows[rows["prior_consistency_low"] > rows["order_consistency_high"]]
    measures["turned_by_examples"] = spread(turned, "prior_consistency")
    more = [f"{arm}_n{rules.MORE}" for arm in _LEARNED]
    measures["learned_more"] = spread(rows.melt("model", more, value_name="rate"), "rate")
    positions = {
        name: rows.loc[rows["first_option_rate"].between(*ends), "model"].tolist()
        for name, ends in _NEARLY.items()
    }
    known: dict[str, Any] = {"models": len(rows), "n": rules.N, "more": rules.MORE}
    nothing = _rates(rows, _NOTHING_SHOWN)
    off = [each for each in nothing if not each["interval"][0] <= 0.5 <= each["interval"][1]]
    shares = _at_95(rows, [f"{arm}_positive" for arm in _LEARNED])
    positive = _rates(shares, {f"{arm}_positive": f"the {ARMS[arm]}" for arm in _LEARNED})
    copies = rows.loc[_above(rows, "repeat_copy_lean"), "model"].tolist()
    by_option = rows.loc[rows["consistency_excess_low"] > 0, "model"].tolist()
    by_letter = len(rows) > 0 and bool(rows["letter_mass"].notna().all())
    by_odds = rows[rows["scale"] == rules.SCALES[0]]
    most = float(by_odds[[f"{arm}_lean_high" for arm in _LEARNED]].max().max())
    known |= {"most": most, "nothing_shown": len(nothing), "off_half": off, "by_letter": by_letter}
    known |= {"copies": copies, "by_option": by_option, "positive": len(positive)}
    known["positive_above"] = [each for each in positive if each["interval"][0] > 0.5]
    return {**known, "certain": certain, "positions": positions, **measures}


def _at_95(rows: pd.DataFrame, shares: Sequence[str]) -> pd.DataFrame:
    """With the intervals of rates for shares whose 90% intervals, for tests of equality, are known.

    There is one test per cell.
    """
    wide = rows.copy()
    for share in shares:
        for at, row in rows.dropna(subset=share).iterrows():
            df = int(row["cells"]) - 1
            error = (row[f"{share}_high"] - row[share]) / stats.t.ppf(0.95, df)
            found = Estimate(row[share], error, df).rate_interval
            wide.loc[at, [f"{share}_low", f"{share}_high"]] = [found.low, found.high]
    return wide


def _rates(rows: pd.DataFrame, arms: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each known rate of each model, with what it is a rate on and its interval."""
    return [
        {
            "model": row["model"],
            "on": on,
            "rate": row[arm],
            "interval": (row[f"{arm}_low"], row[f"{arm}_high"]),
        }
        for row in rows.to_dict("records")
        for arm, on in arms.items()
        if not math.isnan(row[arm])
    ]


def same_dvgr(table: pd.DataFrame) -> dict[str, Any]:
    """Language models and a head that learned both layers, with a DVGR that can't be told from one half.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.

    Returns
    -------
    dict
        own, as from `own`; both, the DVGR of the head nearest to one half as
        `deepvalues.paper.sentences.spread` returns it, and its control; half, whether the DVGR of no model
        can be told from one half either; apart, whether the interval of the head's control lies above those
        of all models.
    """
    heads, asked = _fitted(table), _language_models(table)
    heads = heads[(heads["verdict"] == "both") & _holds_half(heads)]
    nearest = heads.loc[(heads["dvgr"] - 0.5).abs().nsmallest(1).index]
    both = spread(nearest, "dvgr") | {"control": float(nearest["control"].mean())}
    apart = bool((nearest["control_low"].min() > asked["control_high"]).all()) and len(asked) > 0
    return {"own": own(table), "both": both, "half": bool(_holds_half(asked).all()), "apart": apart}


def _holds_half(table: pd.DataFrame) -> pd.Series[bool]:
    return (table["dvgr_low"] <= 0.5) & (table["dvgr_high"] >= 0.5)


def free(table: pd.DataFrame, in_words: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    """Language models in free text: whose replies can be read, and what those learned that can all be read.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.
    in_words
        From `analysis.verdicts.in_free_text`.
    pairs
        From `analysis.orders.pairs`, by letter; only tests that are also asked in free text are used.

    Returns
    -------
    dict
        readable (`spread`); models, whose replies can all be read, with the `spread` of their order
        ``consistency`` and of the one that letters ``sampled`` with their probabilities would have; of these,
        the ones that choose the same option in both orders more often than position alone would give
        (``by_option``), and the `spread` of the control of those above chance on it (``control``);
        ``partly``, the others that choose the same option more often than position would give.
    """
    whole = in_words[in_words["answered"] == 1]
    others = in_words[(in_words["answered"] < 1) & (in_words["consistency_excess_low"] > 0)]
    partly = [
        row | {"interval": (row["order_consistency_low"], row["order_consistency_high"])}
        for row in others.to_dict("records")
    ]
    asked = pairs["arm"].isin(("control", "deconfounded")) & (pairs["n_examples"] == rules.N)
    letters = pairs[asked & pairs["model"].isin(whole["model"])]
    sampled = letters.groupby("model")["sampled_agree"].mean().reset_index()
    return {
        "sampled": spread(sampled, "sampled_agree"),
        "consistency": spread(whole, "order_consistency"),
        "readable": spread(_language_models(table), "readable"),
        "models": whole["model"].tolist(),
        "by_option": whole.loc[whole["consistency_excess_low"] > 0, "model"].tolist(),
        "control": spread(whole[whole["control_low"] > 0.5], "control"),
        "partly": partly,
    }


def _above(own: pd.DataFrame, lean: str) -> pd.Series[bool]:
    """Which models have a preference above 0, by the columns of the verdicts; as `verdicts.above`."""
    alike = own[f"{lean}_low"].isna() & (own[lean] > rules.ROUNDING) & own["cells"].map(rules.enough)
    return (own[f"{lean}_low"] > 0) | alike


def _language_models(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["family"] == LANGUAGE_MODEL]


def outright(judged: pd.DataFrame) -> dict[str, Any]:
    """How often language models recognize which option shows a value or a pole when asked outright.

    ``by_position``: every model is right in exactly half of the replies in every cell. ``on_part``: the
    models that were asked fewer questions than others; ``fewest`` and ``most`` are numbers of questions. By
    layer, ``above`` is the number of intervals above one half.

    Parameters
    ----------
    judged
        Trials of the validation, training and test stimuli together, with family, as for
        `analysis.several_sets.unrecognized_layers`.
    """
    # Without trials, the frame has no column of tasks.
    own = _language_models(judged).reindex(columns=["model", "task", "cell", "followed"])
    own = own[own["task"].isin(TASK_OF_LAYER.values())]
    found = {layer: _right(own[own["task"] == task]) for layer, task in TASK_OF_LAYER.items()}
    halves = own.groupby(["model", "task", "cell"])["followed"].mean() == 0.5
    asked = own["model"].value_counts()
    return {
        "models": sorted(own["model"].unique()),
        "by_position": bool(halves.all()),
        "on_part": sorted(asked.index[asked < asked.max()]),
        "fewest": asked.min(),
        "most": asked.max(),
        **found,
    }


def _right(judged: pd.DataFrame) -> dict[str, Any]:
    """Shares of right answers over both orders, with intervals clustered by cell."""
    found = [(model, by_cell(rows, "followed")) for model, rows in judged.groupby("model")]
    rows = [(model, each.value, each.interval.low, each.interval.high) for model, each in found]
    table = pd.DataFrame(rows, columns=["model", "rate", "rate_low", "rate_high"])
    return spread(table, "rate") | {"above": int((table["rate_low"] > 0.5).sum())}


# ---- what can be read ----


def read(rates: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """Results of the heads on hidden states at the number of examples of the verdicts.

    Parameters
    ----------
    rates
        From `analysis.asked_read.asked_against_read`.
    table
        From `analysis.verdicts.verdicts`, for the heads' verdicts.
    """
    own = rates[rates["n_examples"] == rules.N]
    return {
        "at": _read_at(own) if len(_heads(own)) else None,
        "verdicts": _verdicts_by_state(table),
        "null": _null(rates),
    }


def _verdicts_by_state(table: pd.DataFrame) -> dict[str, str]:
    """The verdict on all heads that read a state, for states whose heads agree on one."""
    heads = _fitted(table)
    given = {state: set(heads.loc[heads["model"].str.endswith(f"-{state}"), "verdict"]) for state in POOLINGS}
    return {state: rules.NAMES[min(found)] for state, found in given.items() if len(found) == 1}


def _fitted(table: pd.DataFrame) -> pd.DataFrame:
    """Heads on hidden states, fitted to the choices that the examples show."""
    state = tuple(f"-{pooling}" for pooling in POOLINGS)
    return table[(table["family"] == HEAD) & table["model"].str.endswith(state)]


def _null(rates: pd.DataFrame) -> dict[str, Any]:
    """Heads fitted to coin-flipped choices, at the N of the verdicts: the intervals off one half."""
    null = rates[(rates["respondent"] == NULL) & (rates["n_examples"] == rules.N)]
    known = null[null["arm"].isin(rules.TESTS)].dropna(subset=["low", "high"])
    return {
        "intervals": len(known),
        "below": int((known["high"] < 0.5).sum()),
        "above": int((known["low"] > 0.5).sum()),
    }


def _heads(rates: pd.DataFrame) -> pd.DataFrame:
    return rates[rates["respondent"].isin(READ)]


def _read_at(rates: pd.DataFrame) -> dict[str, Any]:
    """Accuracies on both probes, of heads and of their null."""
    heads, shuffled = _heads(rates), rates[rates["respondent"] == NULL]
    cells = {"least": int(heads["cells"].min()), "most": int(heads["cells"].max())}
    return {"n": rules.N, "cells": cells, "heads": _on_probes(heads), "shuffled": _on_probes(shuffled)}


def _on_probes(rates: pd.DataFrame) -> dict[str, Any] | None:
    probes = ("probe_value", "probe_surface")
    return {arm: spread(rates[rates["arm"] == arm], "rate") for arm in probes} if len(rates) else None


def first_cells(table: pd.DataFrame, few: pd.DataFrame) -> dict[str, Any]:
    """How many language models and heads keep their verdict on the first cells, and the other verdicts.

    Parameters
    ----------
    table, few
        From `analysis.verdicts.verdicts`, on all cells and on the first ones.
    """
    before = few.set_index("model")
    counts, others = {}, []
    for kind, rows in (("models", _language_models(table)), ("heads", _fitted(table))):
        then = rows["model"].map(before["verdict"])
        other = rows.loc[then != rows["verdict"], "model"]
        counts[kind] = (len(rows) - len(other), len(rows))
        others += [{"model": name, "verdict": rules.NAMES[before.loc[name, "verdict"]]} for name in other]
    return {**counts, "cells": before["cells"].max(), "others": others}


def gains(table: pd.DataFrame, compared: pd.DataFrame) -> dict[str, Any]:
    """What heads gain over others: over token embeddings at the N of the verdicts, and how often at N = 20.

    Parameters
    ----------
    table
        From `analysis.asked_read.gains`.
    compared
        From `analysis.asked_read.heads_compared`.

    Returns
    -------
    dict
        over_tokens (`spread` over the models of the gain of mean states on the value probe), more (the larger
        N), and at this N the numbers of intervals above 0 of gains over token embeddings and the best lexical
        learner: ``tokens`` and ``lexical``: by probe, the number of such intervals and of all.
    """
    of = {"n_examples": rules.N, "other": TOKENS, "respondent": MEAN, "arm": "probe_value"}
    few = compared[(compared[list(of)] == pd.Series(of)).all(axis=1)]
    few = few.rename(columns={f"clustered_{side}": f"difference_{side}" for side in ("low", "high")})
    more = table[table["n_examples"] == rules.MORE]
    found = {
        name: {
            layer: tuple(int(of[column].sum()) for column in ("above", "models"))
            for layer in PROBES
            for of in [more[(more["other"] == other) & (more["measure"] == layer)]]
        }
        for name, other in {"tokens": TOKENS, "lexical": BEST_LEXICAL}.items()
    }
    return {"over_tokens": spread(few, "difference"), "more": rules.MORE, **found}


def adds_value(table: pd.DataFrame) -> bool:
    """Whether every head on a mean state is above the one on token embeddings on the value probe alone.

    Parameters
    ----------
    table
        From `analysis.asked_read.gains`.
    """
    own = table[(table["n_examples"] == rules.N) & (table["other"] == TOKENS) & (table["respondent"] == MEAN)]
    certain = own.set_index("measure")[["above", "models"]].reindex(list(PROBES), fill_value=0)
    value, surface = (certain.loc[layer] for layer in PROBES)
    return bool(value["above"] == value["models"] > 0 and surface["models"] > 0 == surface["above"])


def ladder(table: pd.DataFrame) -> dict[str, Any]:
    """What is gained from the most examples on the value more than on the surface.

    Parameters
    ----------
    table
        From `analysis.asked_read.ladder`.

    Returns
    -------
    dict
        before and most (numbers of examples), cells, and ``apart``: the `spread` of the gains on the value
        minus those on the surface of all respondents but nulls, with the numbers of their intervals ``above``
        and ``below`` 0.
    """
    ends = {end: f"difference_{end}" for end in ("low", "high")}
    most = table[table["n_examples"] == table["n_examples"].max()].rename(columns=ends)
    asked = respondents(most["model"])["respondent"].isin([*READ, TOKENS, ASKED])
    return {
        "before": rules.MORE,
        "most": most["n_examples"].max(),
        "cells": most["cells"].max(),
        "apart": _differences(most[asked & (most["measure"] == "apart")]),
    }


def _differences(table: pd.DataFrame) -> dict[str, Any]:
    """The `spread` of differences, with the numbers of their intervals ``above`` and ``below`` 0."""
    above, below = (table["difference_low"] > 0).sum(), (table["difference_high"] < 0).sum()
    return spread(table, "difference") | {"above": int(above), "below": int(below)}


_ENDS = {f"clustered_{end}": f"difference_{end}" for end in ("low", "high")}


def lexical(table: pd.DataFrame) -> dict[str, Any]:
    """How many lexical learners learned, and which of them is best on each probe, at the N of the verdicts.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.

    Returns
    -------
    dict
        ``learned``: how many (of ``learners``) have the verdict that they learned, be it clear which layer or
        not; ``best``: by layer, the one with the highest accuracy on its probe.
    """
    words = table[table["model"].isin(rules.LEXICAL)]
    learned = int(words["verdict"].isin(rules.LEARNED).sum())
    best = {layer: _best(words, probe) for layer, probe in PROBES.items()}
    return {"learners": len(words), "learned": learned, "best": best}


def _best(words: pd.DataFrame, probe: str) -> str | None:
    """The lexical learner with the highest rate; of several, the first of `analysis.verdicts.LEXICAL`."""
    rates = words.set_index("model")[probe].reindex(list(rules.LEXICAL)).dropna().round(rules.RATE_DIGITS)
    return str(rates.idxmax()) if len(rates) else None


def public(table: pd.DataFrame, compared: pd.DataFrame, models: Sequence[str]) -> dict[str, Any]:
    """Results on the public prompts by group of respondents: each a `spread`, or None if nobody was asked.

    Heads are grouped by the state that they read. ``states``: the `spread` of the differences between a
    model's heads on the mean and on the last token's state. ``above`` and ``below``: heads whose intervals
    are above or below one half.

    Parameters
    ----------
    table
        From `analysis.orders.with_published`.
    compared
        From `analysis.asked_read.heads_compared`, on these prompts.
    models
        The language models of Study 1; ``not_asked`` are those of them that were not asked the prompts.
    """
    ours = table[table["model"] != PUBLISHED].rename(columns={"low": "dvgr_low", "high": "dvgr_high"})
    groups = {
        "learners": ours[ours["model"].isin(rules.LEXICAL)],
        "encoder": ours[ours["model"] == rules.ENCODER],
        "asked": _language_models(ours),
        **{
            state: ours[(ours["family"] == HEAD) & ours["model"].str.endswith(f"-{state}")]
            for state in POOLINGS
        },
    }
    heads = pd.concat([groups[state] for state in POOLINGS])
    return {
        **{name: spread(rows, "dvgr") if len(rows) else None for name, rows in groups.items()},
        "not_asked": sorted(set(models) - set(ours["model"])),
        "states": _differences(compared[compared["other"] == LAST].rename(columns=_ENDS)),
        "above": heads.loc[heads["dvgr_low"] > 0.5, "model"].tolist(),
        "below": heads.loc[heads["dvgr_high"] < 0.5, "model"].tolist(),
    }


# ---- in short ----


def _verdicts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The verdicts on the language models, in the order of the rules."""
    asked, given = _language_models(table), []
    for each in rules.VERDICTS:
        models = list(asked.loc[asked["verdict"] == each.id, "model"])
        if models:
            given.append({"id": each.id, "models": models, "size": len(models)})
    return given


def finding(table: pd.DataFrame, rates: pd.DataFrame, how: pd.DataFrame) -> dict[str, Any]:
    """The findings about language models for the abstract, all at the same number of examples.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.
    rates
        From `analysis.asked_read.asked_against_read`.
    how
        From `analysis.several_sets.how_asked`.
    """
    on_probe = rates[(rates["arm"] == "probe_value") & (rates["n_examples"] == rules.N)]
    read, asked = _heads(on_probe), sorted(_language_models(table)["model"])
    models = sorted(read["model"].unique())
    heads = {
        "value": spread(read, "rate"),
        "tokens": spread(on_probe[on_probe["respondent"] == TOKENS], "rate"),
        "lexical": spread(table[table["model"].isin(rules.LEXICAL)], "probe_value"),
        # Named only if some model that was asked has no head.
        "models": models if models != asked else [],
    }
    encoder = spread(table[table["model"] == rules.ENCODER], "probe_value")
    return {
        "own": own(table),
        "verdicts": _verdicts(table),
        "heads": heads,
        "encoder": encoder,
        "billions": _most_billions(how),
    }
