"""Scoring the slider measure one question at a time, from letter probabilities.

Each question is asked in the nine cyclic orders of its options, so each option appears once at each letter.
The score uses the mean probability of each option over these orders; the mean probability of each letter over
all questions and orders measures a position bias. A reply without letter probabilities counts as
probability 1 for its choice.

Intervals resample the nine orders, jointly for all items, to show how much the placement of options matters.
The six items are fixed, because the angle is defined on them, and letter probabilities at temperature 0 have
no other randomness. A resample of the orders is not balanced, so a position bias widens the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax

from deepvalues.stats import clusters
from deepvalues.stats.bootstrap import Array, Bootstrapped, bootstrap
from deepvalues.studies.shared import held_to_agents
from deepvalues.studies.svo.analysis import scoring
from deepvalues.studies.svo.analysis.comparisons import total_variation
from deepvalues.studies.svo.respondents import LetterAgent
from deepvalues.studies.svo.stimuli import (
    CONDITIONS,
    LETTERS,
    N_OPTIONS,
    N_PRIMARY,
    NO_VALUE,
    VALUES,
    payoffs,
)

#: Columns with the shares of letters as shown, and of options in printed order.
PLACES = [f"place_{letter}" for letter in LETTERS]
OPTIONS = [f"option_{letter}" for letter in LETTERS]
#: Smaller shares are raised to this before taking logarithms.
CLIP = 1e-6
#: Mean shares that differ by no more than this are tied.
_TIED = 1e-9
#: Tolerance for an agent's angle, in degrees: shares are recorded to six digits and clipped.
_PRECISION = 0.01


def trials(items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Map the letters of every answer back to their options.

    Parameters
    ----------
    items
        A frame that meets `stimuli.LETTER_CONTRACT`.
    answers
        From `deepvalues.ask.on_record.letter_probabilities`, with nine letters.

    Returns
    -------
    pandas.DataFrame
        One row per model and prompt: model, id, value, item, turned, status, mass, by_letters (whether the
        reply has letter probabilities), place_A … (share of each letter) and option_A … (share of each
        option in printed order); shares are NaN without a choice.
    """
    asked = answers.rename(columns={"item": "id"}).merge(items, on="id", validate="many_to_one")
    shares = asked[[f"p_{letter}" for letter in LETTERS]].to_numpy(dtype=float)
    chosen = asked["choice"].map({letter: place for place, letter in enumerate(LETTERS)})
    by_letters = ~np.isnan(shares[:, 0])
    certain = np.eye(N_OPTIONS)[chosen.fillna(0).astype(int)]
    certain[chosen.isna().to_numpy()] = np.nan
    places = np.where(by_letters[:, None], shares, certain)
    # Option o is at position o − turned, modulo nine.
    at = (np.arange(N_OPTIONS) - asked["turned"].to_numpy()[:, None]) % N_OPTIONS
    options = np.take_along_axis(places, at, axis=1)
    kept = asked[["model", "id", "value", "item", "turned", "status", "mass"]]
    return pd.concat(
        [
            kept.assign(by_letters=by_letters),
            pd.DataFrame(places, columns=PLACES, index=asked.index),
            pd.DataFrame(options, columns=OPTIONS, index=asked.index),
        ],
        axis=1,
    )


def _shares(frame: pd.DataFrame) -> Array:
    """Shares of one model and condition, shape (orders, items, options); NaN without an answer."""
    found = np.full((N_OPTIONS, N_PRIMARY, N_OPTIONS), np.nan)
    found[frame["turned"], frame["item"] - 1] = frame[OPTIONS].to_numpy(dtype=float)
    return found


def _by_condition(frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield each model with its shares by condition, for the conditions with an answer."""
    for model, group in frame.dropna(subset=OPTIONS[0]).groupby("model", sort=True):
        by_value = {str(value): _shares(part) for value, part in group.groupby("value")}
        yield str(model), {value: by_value[value] for value in CONDITIONS if value in by_value}


def _mean(shares: Array) -> Array:
    """Mean share of each option over the answered orders, shape (items, options)."""
    answered = ~np.isnan(shares)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(shares, axis=0) / answered.sum(axis=0))


def place_free(shares: Array) -> Array:
    """Shares of the options without the position bias, shape (items, options).

    Log shares are averaged over orders and renormalized. If a share is proportional to taste(option) ·
    liking(position), the liking cancels exactly, because each option has been at each position once; in a
    mean of shares it would not. NaN for an item that lacks an order.

    Parameters
    ----------
    shares
        Shape (orders, items, options), all nine cyclic orders.
    """
    return np.asarray(softmax(np.log(np.maximum(shares, CLIP)).mean(axis=0), axis=-1))


def _likeliest(mean: Array) -> Array:
    """All of each item's share on its most probable option, divided equally among several."""
    most = np.where(np.isnan(mean), np.nan, mean >= mean.max(axis=1, keepdims=True) - _TIED)
    return np.asarray(most / most.sum(axis=1, keepdims=True))


def angle(shares: Array) -> float:
    """Angle of the expected payoffs for shares of the options, in degrees; NaN if an item has none.

    Parameters
    ----------
    shares
        Shape (6, 9): items and options.
    """
    pay = payoffs()
    own, other = ((shares * side[:N_PRIMARY]).sum(axis=1).mean() for side in pay)
    return float(scoring.angles_of(own, other))


def centre() -> float:
    """The angle of choosing by position alone, in degrees: all options are equally likely."""
    return angle(np.full((N_PRIMARY, N_OPTIONS), 1 / N_OPTIONS))


def _sums(shares: Array) -> Array:
    """Terms of the sums over orders for `_angles`: own coins, the other's, and whether answered, by item."""
    pay = payoffs()
    coins = [(shares * side[:N_PRIMARY]).sum(axis=2) for side in pay]
    answered = ~np.isnan(coins[0])
    return np.hstack([*map(np.nan_to_num, coins), answered])


def _angles(sums: Array) -> Array:
    """Angles from sums over orders, shape (..., 18)."""
    own, other, answered = np.split(sums, 3, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return scoring.angles_of((own / answered).mean(axis=-1), (other / answered).mean(axis=-1))


def _over_orders(conditions: Sequence[Array], statistic: Callable[..., Array], seed: int) -> Bootstrapped:
    """Bootstrap a statistic of the angles of some conditions over the nine orders, resampled jointly."""

    def of_angles(sums: Array) -> Array:
        return statistic(*(_angles(part) for part in np.split(sums, len(conditions), axis=-1)))

    return bootstrap(np.hstack([_sums(shares) for shares in conditions]), of_angles, seed=seed)


def angles(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Angles of each model and condition, and value rationality if a value is assigned.

    Value rationality is 60 − |angle − target|, a reconstruction; see `analysis.scoring.targets`. It has two
    nulls: choosing by position alone, at the angle of `centre` (``corrected`` is 0 there and 1 at the
    target), and the model itself without a value (``blind``).

    Parameters
    ----------
    frame
        From `trials`.
    seed
        Seed of the resamples.

    Returns
    -------
    pandas.DataFrame
        model, value, prompts, answered, angle (of expected payoffs) with low and high, likeliest (angle of
        the most probable options, several in equal shares), category (of likeliest), place_free (angle
        without the position bias; see `place_free`), target, rationality, corrected, blind, and gain (degrees
        by which the value brings the angle closer to its target) with gain_low and gain_high, from paired
        resamples of orders.
    """
    by_letters = frame.groupby("model")["by_letters"].all()
    rows = []
    for model, conditions in _by_condition(frame):
        for value, shares in conditions.items():
            mean = _mean(shares)
            scored = _over_orders([shares], np.asarray, seed)
            free = angle(place_free(shares)) if by_letters[model] else math.nan
            likeliest = angle(_likeliest(mean))
            (category,) = scoring.categories([likeliest])
            part = frame[(frame["model"] == model) & (frame["value"] == value)]
            measures = (*_numbers(scored), likeliest, category, free, *_rational(value, conditions, seed))
            rows.append((model, value, len(part), int(part[OPTIONS[0]].count()), *measures))
    columns = ["prompts", "answered", "angle", "low", "high", "likeliest", "category", "place_free", "target"]
    more = ["rationality", "corrected", "blind", "gain", "gain_low", "gain_high"]
    return pd.DataFrame(rows, columns=["model", "value", *columns, *more])


def _rational(value: str, conditions: Mapping[str, Array], seed: int) -> tuple[float, ...]:
    """Target, rationality, corrected, blind, gain and its interval; NaN if no value is assigned."""
    if value == NO_VALUE:
        return (math.nan,) * 7
    target = scoring.targets()[value]
    reached = angle(_mean(conditions[value]))
    raw = scoring.value_rationality(reached, value)
    corrected = 1 - abs(reached - target) / abs(centre() - target)
    if NO_VALUE not in conditions:
        return (target, raw, corrected, *[math.nan] * 4)

    def gain(with_value: Array, without: Array) -> Array:
        return np.asarray(np.abs(without - target) - np.abs(with_value - target))

    found = _over_orders([conditions[value], conditions[NO_VALUE]], gain, seed)
    blind = scoring.value_rationality(angle(_mean(conditions[NO_VALUE])), value)
    return (target, raw, corrected, blind, *_numbers(found))


def _numbers(found: Bootstrapped) -> tuple[float, float, float]:
    return float(found.estimate), float(found.low), float(found.high)


def by_model(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """What determines a model's letters: the assigned value, the option, or the position.

    Parameters
    ----------
    frame
        From `trials`.

    Returns
    -------
    pandas.DataFrame
        model, prompts, answered, mass (mean total probability of the letters; NaN for free replies), first
        (mean share of the letter A, 1/9 without a position bias) with first_low and first_high (clustered by
        question), letter (with the largest mean share; None if all are equal), place (total variation of the
        letters' mean shares from 1/9, 0 to 8/9), content (the same for options, mean over questions),
        steering (angle under the altruistic minus that under the competitive value, in degrees) with
        steering_low and steering_high, likeliest_steering (the same of the angles of the most probable
        options), ideal. Shares by letter are independent of the options' contents only
        if all nine orders are answered.
    """
    of_places = places(frame).set_index(["model", "letter"])["share"]
    rows = []
    for model, conditions in _by_condition(frame):
        group = frame[frame["model"] == model]
        known = group.dropna(subset=PLACES[0])
        question = known["value"] + known["item"].astype(str)
        first = clusters.mean(known[PLACES[0]].to_numpy(dtype=float), question)
        items = np.vstack([_mean(shares) for shares in conditions.values()])
        content = [total_variation(item, 1 / N_OPTIONS) for item in items]
        by_place = of_places[model]
        counts = (len(group), len(known), group["mass"].mean(), first.value, *first.rate_interval)
        liking = total_variation(by_place, 1 / N_OPTIONS)
        ends = _ends(conditions)
        steering = _numbers(_over_orders(ends, np.subtract, seed)) if ends else (math.nan,) * 3
        moved = (by_place.idxmax() if liking > _TIED else None, liking, float(np.nanmean(content)))
        rows.append((model, *counts, *moved, *steering, _likeliest_steering(ends), scoring.full_range()))
    columns = ["prompts", "answered", "mass", "first", "first_low", "first_high", "letter", "place"]
    more = ["content", "steering", "steering_low", "steering_high", "likeliest_steering", "ideal"]
    return pd.DataFrame(rows, columns=["model", *columns, *more])


def _likeliest_steering(ends: Sequence[Array]) -> float:
    """Angle of the most probable options under the altruistic minus that under the competitive value."""
    if not ends:
        return math.nan
    altruistic, competitive = (angle(_likeliest(_mean(end))) for end in ends)
    return altruistic - competitive


def _ends(conditions: Mapping[str, Array]) -> list[Array]:
    """The shares under the two extreme values; empty if one was not answered."""
    ends = VALUES[0], VALUES[-1]
    return [conditions[value] for value in ends] if set(ends) <= conditions.keys() else []


def steering_difference(frame: pd.DataFrame, one: str, other: str, *, seed: int) -> Bootstrapped | None:
    """How much further one model's angle moves with the assigned value than another's, in degrees.

    Parameters
    ----------
    frame
        From `trials`, for both models; their orders are resampled in pairs.

    Returns
    -------
    Bootstrapped or None
        None unless both models answered under both extreme values.
    """
    conditions = dict(_by_condition(frame))
    first, second = (_ends(conditions.get(model, {})) for model in (one, other))
    if not first or not second:
        return None
    return _over_orders([*first, *second], lambda up, down, high, low: (up - down) - (high - low), seed)


def places(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean share of each letter over all questions and orders: model, letter, share."""
    return _long(frame.groupby("model")[PLACES].mean(), "letter")


def option_shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean share of each option over the orders: model, value, item, option (a letter), share."""
    return _long(frame.groupby(["model", "value", "item"])[OPTIONS].mean(), "option")


def _long(means: pd.DataFrame, name: str) -> pd.DataFrame:
    """Reshape nine columns of means, one per letter, into rows."""
    keys = [str(key) for key in means.index.names]
    named = means.set_axis(list(LETTERS), axis=1).reset_index()
    rows = named.melt(id_vars=keys, var_name=name, value_name="share").dropna(subset="share")
    return rows.sort_values([*keys, name], ignore_index=True)


def instrument(table: pd.DataFrame, agents: Mapping[str, LetterAgent]) -> pd.DataFrame:
    """Compare the reference agents' angles without position bias with the angles of their tastes.

    Parameters
    ----------
    table
        From `angles`; other models are left out.

    Returns
    -------
    pandas.DataFrame
        model, value, expected (degrees), place_free, off (degrees), agrees (within .01 degrees).
    """
    return held_to_agents(table, agents, "value", "place_free", _PRECISION)
