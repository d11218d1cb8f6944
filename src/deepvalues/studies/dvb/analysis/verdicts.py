"""What a model does with a test, measure by measure, and its verdict, by rules fixed before the answers came.

Everything rests on pairs of orders (`analysis.orders`), in which position bias cancels. The rules are
data, `VERDICTS`: text, tables and tests read them from there.

Where the wording of the rules leaves something open, they are read as follows:

- *Above* is judged by log odds where a respondent has any in the arms concerned, otherwise by the share of
  right choices minus .5. If all cells have the same mean, there is no standard error. The sign of the mean
  then decides, provided that Wilson's interval for that many equal signs lies above .5 (four cells or more).
- *Equal* counts a sign of zero, as when the two orders disagree, as half a positive one. If all cells have
  the same share, that share decides.
- Order consistency, the rate of first options and letter mass pool the four tests that every set by N asks
  (`TESTS`); prior, shuffled and repeat are measured on their own.
- Without letter probabilities, the share of replies that name an option replaces the letter mass.
- Order consistency is computed from choices. If choices are deterministic (the more probable letter), any
  preference for options raises it above 2p(1 − p), if only a little; see `analysis.orders.excess_over_place`.
- Rule 5 is about the DVGR, a share of choices, and so is its comparison with shuffled examples.
- "Not different" and "not above" need an estimate: an arm that was not asked meets no rule.
- *Repeat* in rule 7 is the mean of both orders, like the rest. In addition, the order that is an exact copy
  may not be above on its own: a model that finds the copy but answers with its letter has a capability.
- A layer that a respondent does not recognize when asked outright never counts as learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pa
from scipy import stats

from deepvalues.stats import clusters
from deepvalues.stats.clusters import Estimate
from deepvalues.stats.rates import NO_INTERVAL, Interval, wilson
from deepvalues.studies.dvb.analysis.orders import by_cell, excess_over_place

#: The arms with intact examples that are asked at every N.
TESTS = ("deconfounded", "control", "probe_value", "probe_surface")
LANGUAGE_MODEL = "language model"
#: The learners that know only words and characters. The best shows how far one gets without understanding.
LEXICAL = (
    *("learner-words", "learner-characters", "learner-nearest"),
    *("learner-words-tuned", "learner-characters-tuned"),
)
#: The learner on sentence embeddings: a head on the vectors of another network.
ENCODER = "learner-encoder"
#: The number of examples at which verdicts are given, and the larger one that is also tabulated.
N, MORE = 4, 20
#: A share of positive signs within this distance of one half counts as equal to it.
BOUND = 0.07
#: Below this letter mass, the letters do not count as answers.
MIN_LETTER_MASS = 0.5
#: Differences smaller than this are rounding.
ROUNDING = 1e-9
_TOST_ALPHA = 0.05
#: Rates of lexical learners are rounded to this many digits before the best is chosen, so that ties are ties.
RATE_DIGITS = 9


class Findings(NamedTuple):
    """The findings at N = 4 that the rules use."""

    answers: bool
    control_above: bool
    value_above: bool
    surface_above: bool
    value_over_surface: bool
    surface_over_value: bool
    probes_alike: bool
    tells_value: bool
    tells_surface: bool
    dvgr_differs: bool
    like_shuffled: bool
    by_place: bool
    repeat_equal: bool
    control_equal: bool


class Verdict(NamedTuple):
    """A verdict: its rule's number, its id, its name, what it means, and its rule in words and as code."""

    number: int
    id: str
    name: str
    rule: str
    meaning: str
    holds: Callable[[Findings], bool]


#: In the order of the rules. The first one that holds is given; the last one always holds.
VERDICTS = (
    Verdict(
        1, "no_answer", "does not answer", "letter mass below .5",
        "It rarely names one of the options.",
        lambda found: not found.answers,
    ),
    Verdict(
        2, "value", "value learner",
        "control and value probe above chance, value probe above surface probe",
        "It learned from the examples, and more about the value than about the surface.",
        lambda found: found.control_above and found.value_above and found.tells_value
        and found.value_over_surface,
    ),
    Verdict(
        2, "surface", "surface learner",
        "control and surface probe above chance, surface probe above value probe",
        "It learned from the examples, and more about the surface than about the value.",
        lambda found: found.control_above and found.surface_above and found.tells_surface
        and found.surface_over_value,
    ),
    Verdict(
        3, "both", "learned both", "control and both probes above chance, no difference between the probes",
        "It learned both layers, with no detectable difference.",
        lambda found: found.control_above and found.value_above and found.surface_above
        and found.tells_value and found.tells_surface and found.probes_alike,
    ),
    Verdict(
        4, "layer_open", "learned, layer unclear", "control or a probe above chance",
        "It learned, but the layer is unclear.",
        lambda found: found.control_above or found.value_above or found.surface_above,
    ),
    Verdict(
        5, "prior", "prior preference", "DVGR different from .5, but not from that with shuffled examples",
        "It prefers one of the options of a test whatever the examples show.",
        lambda found: found.dvgr_differs and found.like_shuffled,
    ),
    Verdict(
        6, "place", "chooses by position",
        "order consistency not above 2p(1 − p), where p is the rate of first options",
        "It chooses the same option in both orders not detectably more often than position alone would give.",
        lambda found: found.by_place,
    ),
    Verdict(
        7, "no_capability", "no capability", "repeat and control equal to .5",
        "It fails even on a choice just shown.",
        lambda found: found.repeat_equal and found.control_equal,
    ),
    Verdict(
        8, "undecided", "undecided", "otherwise",
        "It leaves too little evidence.",
        lambda _: True,
    ),
)  # fmt: skip
NAMES = {verdict.id: verdict.name for verdict in VERDICTS}
#: Verdicts that name a layer that was learned, and those that say that something was.
LAYER_NAMED = ("value", "surface", "both")
LEARNED = (*LAYER_NAMED, "layer_open")


def rules() -> pd.DataFrame:
    """The verdicts as a table, in order: number, verdict, rule, meaning."""
    rows = [(each.number, each.name, each.rule, each.meaning) for each in VERDICTS]
    return pd.DataFrame(rows, columns=["number", "verdict", "rule", "meaning"])


def verdict_of(findings: Findings) -> Verdict:
    """The first verdict whose rule holds."""
    return next(verdict for verdict in VERDICTS if verdict.holds(findings))


# ---- above, differs, equal ----


def above(found: Estimate, null: float = 0.0) -> bool:
    """Whether the 95% interval lies above a null; without a standard error, see the module's docstring."""
    if found.error > 0:
        return found.interval.low > null
    return found.value - null > ROUNDING and enough(found.df + 1)


def enough(cells: int) -> bool:
    """Whether a preference that is the same in all of so many cells is above chance, by Wilson's interval."""
    return wilson(cells, cells).low > 0.5


def differs(found: Estimate, null: float = 0.0) -> bool:
    """Whether the 95% interval excludes a null."""
    return above(found, null) or above(found._replace(value=-found.value), -null)


def alike(found: Estimate) -> bool:
    """Whether there is an estimate and its 95% interval contains 0."""
    return not math.isnan(found.value) and found.df > 0 and not differs(found)


def equal(share: Estimate) -> bool:
    """Whether a share lies within .5 ± `BOUND` by two one-sided tests at .05 (90% interval inside)."""
    centred = share._replace(value=share.value - 0.5)
    if centred.error > 0:
        return centred.equivalence(BOUND) < _TOST_ALPHA
    return share.df > 0 and abs(centred.value) < BOUND


def tost_interval(share: Estimate) -> Interval:
    """The 90% interval that `equal` compares with its bounds."""
    if not share.error > 0:
        return NO_INTERVAL
    half = float(stats.t.ppf(1 - _TOST_ALPHA, share.df)) * share.error
    return Interval(share.value - half, share.value + half)


# ---- one respondent ----


class _Respondent:
    """The pairs of one model, with the measures computed from them."""

    def __init__(self, pairs: pd.DataFrame, lexical: pd.DataFrame) -> None:
        self.pairs, self.lexical = pairs, lexical
        tests = self.tests(N)
        self.has_odds = bool(tests["log_odds"].notna().any())

    def tests(self, n: int) -> pd.DataFrame:
        return self.pairs[self.pairs["arm"].isin(TESTS) & (self.pairs["n_examples"] == n)]

    def arm(self, arm: str, n: int) -> pd.DataFrame:
        return self.pairs[(self.pairs["arm"] == arm) & (self.pairs["n_examples"] == n)]

    def mean(self, arm: str, n: int, column: str = "followed") -> Estimate:
        return by_cell(self.arm(arm, n), column)

    def lean(self, arm: str) -> pd.DataFrame:
        """Preference for an arm's right options, pair by pair: log odds or, without any, shares minus .5."""
        own = self.arm(arm, N)
        return own.assign(lean=own["log_odds"] if self.has_odds else own["followed"] - 0.5)

    def paired(self, one: pd.DataFrame, other: pd.DataFrame, column: str) -> Estimate:
        """Mean paired difference of a column between tests with the same cell and test number."""
        keys = ["cell", "test"]
        both = one[[*keys, column]].merge(other[[*keys, column]], on=keys, suffixes=("", "_other"))
        return by_cell(both.assign(difference=both[column] - both[f"{column}_other"]), "difference")

    def against_shuffled(self, n: int) -> Estimate:
        return self.paired(self.arm("deconfounded", n), self.arm("shuffled", N), "followed")

    def against_lexical(self, arm: str, n: int) -> Estimate:
        """The rate of an arm minus that of the lexical learner with the highest rate on the same tests.

        In a tie, the first of `LEXICAL` is taken.
        """
        keys, own = ["cell", "test"], self.arm(arm, n)
        lexical = self.lexical[(self.lexical["arm"] == arm) & (self.lexical["n_examples"] == n)]
        rates = lexical.merge(own[keys], on=keys).groupby("model")["followed"].mean().round(RATE_DIGITS)
        best = max((name for name in LEXICAL if name in rates), key=rates.__getitem__, default=None)
        return self.paired(own, lexical[lexical["model"] == best], "followed")

    def positive(self, arm: str) -> Estimate:
        """The share of positive signs; zero counts as half."""
        leans = self.lean(arm)
        return by_cell(leans.assign(positive=(np.sign(leans["lean"]) + 1) / 2), "positive")

    def answered(self) -> float:
        """The letter mass or, without it, the share of replies naming an option; NaN if not asked."""
        tests = self.tests(N)
        mass = float(tests["mass"].mean())
        if not math.isnan(mass) or tests.empty:
            return mass
        return float(tests["answered"].sum() / tests["asked"].sum())


#: Computes a measure at N.
_Measure = Callable[[_Respondent, int], Estimate]
_AT_EVERY_N: dict[str, _Measure] = {
    "letter_mass": lambda one, n: by_cell(one.tests(n), "mass"),
    "order_consistency": lambda one, n: by_cell(one.tests(n), "agree"),
    "first_option_rate": lambda one, n: by_cell(one.tests(n), "first_option"),
    "first_option_p": lambda one, n: by_cell(one.tests(n), "first_p"),
    "control": lambda one, n: one.mean("control", n),
    "probe_value": lambda one, n: one.mean("probe_value", n),
    "probe_surface": lambda one, n: one.mean("probe_surface", n),
    "dvgr": lambda one, n: one.mean("deconfounded", n),
    "soft_dvgr": lambda one, n: one.mean("deconfounded", n, "p"),
    "dvgr_minus_shuffled": lambda one, n: one.against_shuffled(n),
    "dvgr_minus_lexical": lambda one, n: one.against_lexical("deconfounded", n),
    "probe_value_minus_lexical": lambda one, n: one.against_lexical("probe_value", n),
    "probe_surface_minus_lexical": lambda one, n: one.against_lexical("probe_surface", n),
}
#: Measures without examples, or of arms that are asked only at N = 4.
_ONCE: dict[str, _Measure] = {
    "prior": lambda one, _: one.mean("prior", 0),
    "prior_consistency": lambda one, _: one.mean("prior", 0, "agree"),
    "shuffled": lambda one, n: one.mean("shuffled", n),
    "shuffled_probe_value": lambda one, n: one.mean("shuffled_probe_value", n),
    "shuffled_probe_surface": lambda one, n: one.mean("shuffled_probe_surface", n),
    "repeat_copy": lambda one, n: one.mean("repeat", n, "followed_first"),
    "repeat_swapped": lambda one, n: one.mean("repeat", n, "followed_second"),
}
#: What the rules use, at N = 4: preferences for right options, in the unit that ``scale`` names.
_LEANS = ("control_lean", "probe_value_lean", "probe_surface_lean", "probes_lean", "repeat_copy_lean")
POSITIVE = ("control_positive", "probe_value_positive", "probe_surface_positive", "repeat_positive")
MEASURES = (*_ONCE, *_AT_EVERY_N)
SCALES = ("log odds", "share − .5")


def _is_difference(name: str) -> bool:
    return "minus" in name


def _columns(name: str, low: float = -math.inf, high: float = math.inf) -> dict[str, pa.Column]:
    inside = pa.Check.in_range(low, high)
    known = {name: pa.Column(float, inside, nullable=True)}
    return known | {f"{name}_{end}": pa.Column(float, nullable=True) for end in ("low", "high")}


def _contract() -> pa.DataFrameSchema:
    columns = {
        "model": pa.Column(str, unique=True),
        "family": pa.Column(str),
        "cells": pa.Column("int64", pa.Check.ge(0)),
        "verdict": pa.Column(str, pa.Check.isin(list(NAMES))),
        "scale": pa.Column(str, pa.Check.isin(SCALES)),
        "answered": pa.Column(float, pa.Check.in_range(0, 1 + 1e-6), nullable=True),
        "by_place": pa.Column(float, pa.Check.in_range(0, 0.5), nullable=True),
        **_columns("readable", 0, 1),
    }
    for name in (*MEASURES, *(f"{name}_n{MORE}" for name in _AT_EVERY_N)):
        columns |= _columns(name, -1 if _is_difference(name) else 0, 1 + 1e-6)
    for name in (*_LEANS, "position_lean", "consistency_excess", *POSITIVE):
        columns |= _columns(name)
    return pa.DataFrameSchema(columns, strict=True, ordered=True, name="verdicts")


CONTRACT = _contract()


def verdicts(
    pairs: pd.DataFrame,
    free: pd.DataFrame | None = None,
    unrecognized: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """What each respondent does with a test, and its verdict, one row per respondent.

    Parameters
    ----------
    pairs
        From `analysis.orders.pairs`. All respondents are compared with the lexical learners (`LEXICAL`)
        among them.
    free
        Trials of the study with free replies: model, cell, status. A reply with status ``answered`` could be
        read.
    unrecognized
        By model, the layers (``value``, ``surface``) that it did not recognize in the validation.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `CONTRACT`, sorted by model: model, family, cells (with a test at N = 4), verdict
        (an id of `VERDICTS`), scale, answered, by_place (2p(1 − p)); readable and every measure with _low
        and _high (95%, clustered by cell; NaN where nothing varies or nothing was asked). Names without a
        suffix are at N = 4 (``prior`` at 0), those with ``_n20`` at 20. ``dvgr_minus_shuffled`` (only at
        N = 4, where shuffled examples are asked) and ``_minus_lexical`` are paired by cell. The latter is the
        rate minus that of the best lexical learner, the one with the highest rate in this arm on the same
        tests (for the DVGR, the one that follows the value most). Choosing it by the very tests on which it
        is compared favours the learner, so the difference errs on the low side. Lexical learners themselves
        have none. The rules use the columns with ``_lean`` (preference for right options; ``probes_lean`` is
        value minus surface), ``consistency_excess``, and those with ``_positive`` (share of positive signs,
        90% interval). They do not use ``position_lean``, the mean size of the log odds of the first option,
        nor ``first_option_p``, its mean probability.
    """
    unrecognized = unrecognized or {}
    lexical = pairs[pairs["model"].isin(LEXICAL) & pairs["arm"].isin(TESTS)]
    rows = []
    for (model, family), own in pairs.groupby(["model", "family"], sort=True):
        held_against = lexical.iloc[:0] if model in LEXICAL else lexical
        one = _Respondent(own, held_against)
        rows.append({"model": model, "family": family, **_row(one, unrecognized.get(str(model), ()))})
    # Without a row, the columns have no types of their own.
    types = {name: str(column.dtype) for name, column in CONTRACT.columns.items()}
    table = pd.DataFrame(rows, columns=list(types)).astype(types if not rows else {})
    readable = _readable(free)
    for name in readable:
        table[name] = table["model"].map(readable[name]).astype(float)
    return CONTRACT.validate(table)


#: Measures of replies in free text, which are asked of two arms only.
_IN_FREE_TEXT = ("first_option_rate", "order_consistency", "consistency_excess", "control", "dvgr")


def in_free_text(pairs: pd.DataFrame) -> pd.DataFrame:
    """How language models answer in free text: the measures of `verdicts` that both ways of asking share.

    Parameters
    ----------
    pairs
        From `analysis.orders.pairs`, of the free replies.

    Returns
    -------
    pandas.DataFrame
        One row per language model, sorted: model, family, cells, tests (of which both replies can be read;
        the others are left out), answered (share of replies that clearly name one option), by_place, and
        first_option_rate, order_consistency, consistency_excess, control and dvgr, each with _low and _high
        (95%, clustered by cell).
    """
    table = verdicts(pairs)
    ends = [f"{name}{end}" for name in _IN_FREE_TEXT for end in ("", "_low", "_high")]
    columns = ["model", "family", "cells", "tests", "answered", "by_place", *ends]
    both = pairs["agree"].notna().groupby(pairs["model"]).sum()
    found = table.assign(tests=table["model"].map(both).astype("int64"))
    return found.loc[found["family"] == LANGUAGE_MODEL, columns].reset_index(drop=True)


def _readable(free: pd.DataFrame | None) -> pd.DataFrame:
    """The share of free replies that could be read, with its interval, by model."""
    columns = ["readable", "readable_low", "readable_high"]
    if free is None:
        return pd.DataFrame(columns=columns, dtype=float)
    found = {}
    for model, own in free.groupby("model"):
        share = clusters.mean(np.asarray(own["status"] == "answered", dtype=np.float64), own["cell"])
        found[model] = (share.value, *share.rate_interval)
    return pd.DataFrame.from_dict(found, orient="index", columns=columns, dtype=float)


def _triple(name: str, value: float, ends: Interval) -> dict[str, float]:
    return {name: value, f"{name}_low": ends.low, f"{name}_high": ends.high}


def _measured(name: str, found: Estimate) -> dict[str, float]:
    return _triple(name, found.value, found.interval if _is_difference(name) else found.rate_interval)


def _row(one: _Respondent, unrecognized: Collection[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, measure in _ONCE.items():
        row |= _measured(name, measure(one, N))
    for name, measure in _AT_EVERY_N.items():
        row |= _measured(name, measure(one, N)) | _measured(f"{name}_n{MORE}", measure(one, MORE))
    leans = _leans(one)
    for name, found in leans.items():
        row |= _triple(name, found.value, tost_interval(found) if name in POSITIVE else found.interval)
    tests = one.tests(N)
    position = by_cell(tests.assign(size=tests["first_odds"].abs()), "size")
    row |= _triple("position_lean", position.value, position.interval)
    p = row["first_option_rate"]
    answered = one.answered()
    judged = findings(
        leans,
        one.mean("deconfounded", N),
        one.against_shuffled(N),
        answered=answered,
        unrecognized=unrecognized,
    )
    return row | {
        "cells": int(tests["cell"].nunique()),
        "scale": SCALES[0] if one.has_odds else SCALES[1],
        "answered": answered,
        "by_place": 2 * p * (1 - p),
        "verdict": verdict_of(judged).id,
    }


def _leans(one: _Respondent) -> dict[str, Estimate]:
    """The estimates that the rules use, by column name."""
    control, value, surface = (one.lean(arm) for arm in ("control", "probe_value", "probe_surface"))
    return {
        "control_lean": by_cell(control, "lean"),
        "probe_value_lean": by_cell(value, "lean"),
        "probe_surface_lean": by_cell(surface, "lean"),
        "probes_lean": one.paired(value, surface, "lean"),
        "repeat_copy_lean": _copied(one.arm("repeat", N)),
        "consistency_excess": excess_over_place(one.tests(N)),
        **{name: one.positive(name.removesuffix("_positive")) for name in POSITIVE},
    }


def _copied(repeat: pd.DataFrame) -> Estimate:
    """How often an exact copy is answered right, minus .5, if A and B were right equally often.

    Only this balance cancels position bias within a single order: the design leaves the letters of copies to
    chance.
    """
    known = repeat.dropna(subset="followed_first")
    found, letters = known["followed_first"].to_numpy(dtype=float), known["right"]
    sizes = letters.map(letters.value_counts()).to_numpy(dtype=float)
    means = known.groupby("right")["followed_first"].mean()
    if len(means) < 2:
        return Estimate(math.nan, math.nan, 0)
    influence = (found - letters.map(means).to_numpy(dtype=float)) / (2 * sizes)
    return clusters.from_influence(float(means.mean()) - 0.5, influence, known["cell"])


def findings(
    leans: Mapping[str, Estimate],
    dvgr: Estimate,
    against_shuffled: Estimate,
    *,
    answered: float = math.nan,
    unrecognized: Collection[str] = (),
) -> Findings:
    """What the rules use, from estimates at N = 4.

    Parameters
    ----------
    leans
        By the names of the columns of `verdicts`: those with ``_lean``, ``consistency_excess``, and those
        with ``_positive``.
    dvgr
        The share of deconfounded tests that follow the value.
    against_shuffled
        The same minus its value with shuffled examples, paired by cell.
    answered
        The letter mass, or the share of replies that name an option. NaN is not a low mass: it means that
        nothing was asked.
    unrecognized
        Layers that the respondent did not recognize in the validation.
    """
    probes, excess = leans["probes_lean"], leans["consistency_excess"]
    copied = above(leans["repeat_copy_lean"])
    return Findings(
        answers=not answered < MIN_LETTER_MASS,
        control_above=above(leans["control_lean"]),
        value_above=above(leans["probe_value_lean"]),
        surface_above=above(leans["probe_surface_lean"]),
        value_over_surface=above(probes),
        surface_over_value=above(probes._replace(value=-probes.value)),
        probes_alike=alike(probes),
        tells_value="value" not in unrecognized,
        tells_surface="surface" not in unrecognized,
        dvgr_differs=differs(dvgr, 0.5),
        like_shuffled=alike(against_shuffled),
        by_place=not math.isnan(excess.value) and not above(excess),
        repeat_equal=equal(leans["repeat_positive"]) and not copied,
        control_equal=equal(leans["control_positive"]),
    )
