"""Simulation study: how often do the rules of `analysis.verdicts` give a respondent the right verdict?

Respondents of known truth answer both orders of every test. Their log odds of option A are

    b0 + place_c + s (x_v (b_v + slope_c) + x_s (b_s + slope'_c) + liking(target) − liking(other)) + ε,

with s = +1 if the target is option A and −1 if it is option B, x_v and x_s as in `analysis.simulation`
(0 without examples and with shuffled ones), and ε standard logistic, drawn anew for every answer. They choose
the likelier option, so given the rest, choices follow a logistic regression. The effects of cells (subscript
c) are normal with mean 0 and make the answers of a cell depend on each other. Likings are normal too, one per
value.

The estimates of many runs are computed at once; the rules then judge them run by run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from deepvalues.stats.clusters import Estimate, Floats, sandwich
from deepvalues.stats.rates import wilson
from deepvalues.studies.dvb.analysis.orders import CLIP, DIGITS
from deepvalues.studies.dvb.analysis.simulation import Layout, layout_of
from deepvalues.studies.dvb.analysis.verdicts import LEARNED, NAMES, SCALES, TESTS, N, findings, verdict_of

_ARMS = (*TESTS, "shuffled", "repeat")
#: The log odds of a recorded probability go no further.
_MOST = float(logit(1 - CLIP))


@dataclass(frozen=True)
class Respondent:
    """What is true of a simulated respondent: parameters in logits, and the verdicts that are right.

    ``_sd`` are standard deviations: of the effects of cells on the sensitivities to what was learned
    (``slope_sd``) and on the preference for the first option (``place_sd``), and of likings for values
    (``liking_sd``).
    """

    right: tuple[str, ...]
    b0: float = 0.0
    b_v: float = 0.0
    b_s: float = 0.0
    slope_sd: float = 0.0
    place_sd: float = 0.0
    liking_sd: float = 0.0

    @property
    def learned(self) -> bool:
        """Whether it goes by the examples at all."""
        return bool(self.b_v or self.b_s)


#: Sensitivities give an accuracy of about .7 on the probe of a learned layer; those of heads are .59 to .76.
#: A coin has no effects of cells, or it would not be one.
RESPONDENTS = {
    "value": Respondent(("value",), b_v=1.1, slope_sd=1.0),
    "surface": Respondent(("surface",), b_s=1.1, slope_sd=1.0),
    "both": Respondent(("both",), b_v=1.1, b_s=1.1, slope_sd=1.0),
    "position": Respondent(("place",), b0=3.0, place_sd=1.0),
    "coin": Respondent(("place", "no_capability")),
    "liking": Respondent(("prior",), liking_sd=1.5),
}


class _Tests(NamedTuple):
    """The tests of one arm: rows of their first orders and of their swapped ones, sorted by cell."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]


class Design:
    """The items at N = 4 that the rules use, with one test per arm and cell in both orders."""

    def __init__(self, items: pd.DataFrame) -> None:
        self.layout: Layout = layout_of(items, items["arm"].isin(_ARMS) & (items["n_examples"] == N))
        tests = self.layout.items
        self.cells = tests["cell"].nunique()
        self.arms = {}
        for arm in _ARMS:
            of_arm = tests[tests["arm"] == arm].sort_values("cell", kind="stable")
            first, second = (of_arm[of_arm["swapped"] == order] for order in (False, True))
            self.arms[arm] = _Tests(first.index.to_numpy(), second.index.to_numpy())
        columns = tests[["target_value_wording", "other_value_wording"]]
        shown = columns.apply(lambda wordings: wordings.str.partition(".")[0])
        codes, values = pd.factorize(shown.to_numpy().ravel())
        self.values, self.shown = len(values), codes.reshape(-1, 2)

    def draw(self, truth: Respondent, runs: int, rng: np.random.Generator) -> Floats:
        """Log odds of the target, with ε, shape (items, runs)."""
        sign, cell = self.layout.sign.astype(float)[:, None], self.layout.codes["cell"][0]
        odds = np.repeat(sign * truth.b0, runs, axis=1)
        odds += sign * (truth.place_sd * rng.standard_normal((self.cells, runs)))[cell]
        for evidence, slope in zip(self.layout.evidence.T, (truth.b_v, truth.b_s), strict=True):
            # Cells differ in how much was learned from them; a layer that was not learned has no effect.
            slopes = slope + truth.slope_sd * (slope != 0) * rng.standard_normal((self.cells, runs))
            odds += evidence.astype(float)[:, None] * slopes[cell]
        liking = truth.liking_sd * rng.standard_normal((self.values, runs))
        odds += liking[self.shown[:, 0]] - liking[self.shown[:, 1]]
        return np.asarray(odds + rng.logistic(size=odds.shape))


def estimates(design: Design, odds: Floats, scale: str) -> dict[str, list[Estimate]]:
    """The estimates that the rules use, one per run, by the names of `verdicts.findings`.

    Parameters
    ----------
    odds
        Log odds of the target, shape (items, runs).
    scale
        One of `verdicts.SCALES`: whether the respondent reports its log odds or only its choices.
    """
    follows = (odds > 0).astype(float)
    chose_a = np.where(design.layout.sign[:, None] > 0, follows, 1 - follows)
    found = {arm: follows[first] for arm, (first, _) in design.arms.items()}
    followed = {arm: (found[arm] + follows[second]) / 2 for arm, (_, second) in design.arms.items()}
    lean = {arm: share - 0.5 for arm, share in followed.items()}
    if scale == SCALES[0]:
        odds = np.clip(odds, -_MOST, _MOST)
        lean = {
            arm: np.round((odds[one] + odds[other]) / 2, DIGITS) for arm, (one, other) in design.arms.items()
        }
    tests = [design.arms[arm] for arm in TESTS]
    agree = np.stack([follows[first] == follows[second] for first, second in tests]).astype(float)
    places = np.stack([(chose_a[first] + chose_a[second]) / 2 for first, second in tests])
    return {
        "control_lean": _means(lean["control"]),
        "probe_value_lean": _means(lean["probe_value"]),
        "probe_surface_lean": _means(lean["probe_surface"]),
        "probes_lean": _means(lean["probe_value"] - lean["probe_surface"]),
        "repeat_copy_lean": _copied(found["repeat"], design.layout.sign[design.arms["repeat"].first] > 0),
        "consistency_excess": _excess(agree, places),
        "control_positive": _means((np.sign(lean["control"]) + 1) / 2),
        "repeat_positive": _means((np.sign(lean["repeat"]) + 1) / 2),
        "dvgr": _means(followed["deconfounded"]),
        "against_shuffled": _means(followed["deconfounded"] - followed["shuffled"]),
    }


def judged(design: Design, odds: Floats, scale: str) -> list[str]:
    """The verdict of each run: the one that `verdicts.verdicts` gives to the same answers.

    The parameters are those of `estimates`.
    """
    found = estimates(design, odds, scale)
    runs = (dict(zip(found, one, strict=True)) for one in zip(*found.values(), strict=True))
    return [verdict_of(findings(one, one["dvgr"], one["against_shuffled"])).id for one in runs]


def _estimates(values: Floats, influence: Floats) -> list[Estimate]:
    """One estimate per run, from values, shape (runs,), and the cells' influence, shape (cells, runs)."""
    variance = sandwich(influence.T)
    # As in `clusters.from_influence`, a variance this small is a rounding error of zero.
    errors = np.sqrt(np.where(variance > 1e-24, variance, np.nan))
    df = len(influence) - 1
    return [Estimate(float(one), float(error), df) for one, error in zip(values, errors, strict=True)]


def _means(outcomes: Floats) -> list[Estimate]:
    """Means over cells of outcomes, shape (cells, runs)."""
    means = outcomes.mean(axis=0)
    return _estimates(means, (outcomes - means) / len(outcomes))


def _copied(found: Floats, at_a: NDArray[np.bool_]) -> list[Estimate]:
    """As `verdicts._copied`, from whether each exact copy was found, shape (cells, runs)."""
    means = [found[side].mean(axis=0) for side in (at_a, ~at_a)]
    sizes = np.where(at_a, at_a.sum(), (~at_a).sum())[:, None]
    influence = (found - np.where(at_a[:, None], *means)) / (2 * sizes)
    return _estimates(sum(means) / 2 - 0.5, influence)


def _excess(agree: Floats, first_option: Floats) -> list[Estimate]:
    """As `clusters.excess_over_place`, from arrays of shape (arms, cells, runs)."""
    p, consistency = first_option.mean(axis=(0, 1)), agree.mean(axis=(0, 1))
    influence = (agree - consistency) - 2 * (1 - 2 * p) * (first_option - p)
    n = agree.shape[0] * agree.shape[1]
    return _estimates(consistency - 2 * p * (1 - p), influence.sum(axis=0) / n)


def verdict_errors(
    item_sets: Mapping[str, pd.DataFrame],
    respondents: Mapping[str, Respondent] = RESPONDENTS,
    *,
    runs: int,
    seed: int,
) -> pd.DataFrame:
    """Which verdicts the rules give to simulated respondents of known truth, and how often the right one.

    Parameters
    ----------
    item_sets
        By name, with the arms of ``n4``.
    respondents
        By name of their truth.

    Returns
    -------
    pandas.DataFrame
        One row per truth, item set and scale: truth, item_set, cells, scale, runs; probe_value and
        probe_surface, the mean accuracies; a column per verdict of `verdicts.NAMES`, the share of runs that
        got it; right, the share with a right one, with right_low and right_high (Wilson); learned, the share
        with one of `verdicts.LEARNED`.
    """
    designs = {name: Design(items) for name, items in item_sets.items()}
    rows = []
    for (index, (name, truth)), (item_set, design) in product(
        enumerate(respondents.items()), designs.items()
    ):
        odds = design.draw(truth, runs, np.random.default_rng([seed, design.cells, index]))
        known = {"truth": name, "item_set": item_set, "cells": design.cells}
        accuracies = {
            arm: float((odds[np.concatenate(design.arms[arm])] > 0).mean())
            for arm in ("probe_value", "probe_surface")
        }
        for scale in SCALES:
            given = Counter(judged(design, odds, scale))
            right = sum(given[verdict] for verdict in truth.right)
            interval = wilson(right, runs)
            rows.append(
                {
                    **known,
                    "scale": scale,
                    "runs": runs,
                    **accuracies,
                    **{verdict: given[verdict] / runs for verdict in NAMES},
                    "right": right / runs,
                    "right_low": interval.low,
                    "right_high": interval.high,
                    "learned": sum(given[verdict] for verdict in LEARNED) / runs,
                }
            )
    return pd.DataFrame(rows)
