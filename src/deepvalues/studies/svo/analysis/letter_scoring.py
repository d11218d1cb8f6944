"""Scoring the slider measure one question at a time, from letter probabilities.

Each question is put in the nine cyclic orders of its options, so that each option stands once at each letter.
The mean over these orders of the probability of an option is what is scored; the mean of a letter's
probability over all questions and orders is a liking for its place. A reply without letter probabilities
counts as probability 1 for what it chose.

Intervals resample the nine orders, the same for all items: what would move had the options stood elsewhere.
The six items stay, as the angle is defined on them, and a model asked by letters at temperature 0 has no
other chance. The orders are complete, and a resample is not, so that a liking for places widens the
intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.special import softmax

from deepvalues.stats import clusters
from deepvalues.stats.bootstrap import Array, Bootstrapped, bootstrap
from deepvalues.studies.shared import held_to_agents
from deepvalues.studies.svo.analysis import scoring
from deepvalues.studies.svo.analysis.people import total_variation
from deepvalues.studies.svo.items import CONDITIONS
from deepvalues.studies.svo.respondents import LetterAgent
from deepvalues.studies.svo.stimuli import LETTERS, N_OPTIONS, N_PRIMARY, NO_VALUE, VALUES, payoffs

#: The share of a letter by place, as shown; and of an option, as printed.
PLACES = [f"place_{letter}" for letter in LETTERS]
OPTIONS = [f"option_{letter}" for letter in LETTERS]
#: Shares smaller than this are moved up to it before logarithms are taken.
CLIP = 1e-6
#: Mean shares that differ by no more are alike.
_TIED = 1e-9
#: How far an agent's angle may be off, in degrees: shares are recorded with six digits, and clipped.
_PRECISION = 0.01


def trials(items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Map the letters of every answer back to the options that they stood for.

    Parameters
    ----------
    items
        A frame that meets `items.LETTER_CONTRACT`.
    answers
        From `deepvalues.ask.on_record.letter_probabilities`, with nine letters.

    Returns
    -------
    pandas.DataFrame
        One row a model and prompt: model, id, value, item, turned, status, mass, by_letters (whether the
        reply has letter probabilities), place_A … (share of each letter) and option_A … (share of each
        option in the printed order); shares are NaN without a choice.
    """
    asked = answers.rename(columns={"item": "id"}).merge(items, on="id", validate="many_to_one")
    shares = asked[[f"p_{letter}" for letter in LETTERS]].to_numpy(dtype=float)
    chosen = asked["choice"].map({letter: place for place, letter in enumerate(LETTERS)})
    by_letters = ~np.isnan(shares[:, 0])
    certain = np.eye(N_OPTIONS)[chosen.fillna(0).astype(int)]
    certain[chosen.isna().to_numpy()] = np.nan
    places = np.where(by_letters[:, None], shares, certain)
    # Option o stands at place o − turned, around the nine.
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
    """Shares of one model and condition, shape (orders, items, options); NaN where there is no answer."""
    found = np.full((N_OPTIONS, N_PRIMARY, N_OPTIONS), np.nan)
    found[frame["turned"], frame["item"] - 1] = frame[OPTIONS].to_numpy(dtype=float)
    return found


def _by_condition(frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, Array]]]:
    """Each model with its shares in the conditions that it has an answer in, in their order."""
    for model, group in frame.dropna(subset=OPTIONS[0]).groupby("model", sort=True):
        by_value = {str(value): _shares(part) for value, part in group.groupby("value")}
        yield str(model), {value: by_value[value] for value in CONDITIONS if value in by_value}


def _mean(shares: Array) -> Array:
    """Mean share of each option over the orders that were answered, shape (items, options)."""
    answered = ~np.isnan(shares)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(shares, axis=0) / answered.sum(axis=0))


def place_free(shares: Array) -> Array:
    """Shares of the options with a liking for places taken out, shape (items, options).

    The mean over orders of the logarithm of an option's share, as shares again. If a share is in proportion
    to taste(option) · liking(place), each option has met each place once and the liking cancels exactly,
    which it does not in a mean of shares. NaN for an item that lacks an order.

    Parameters
    ----------
    shares
        Shape (orders, items, options), all nine cyclic orders.
    """
    return np.asarray(softmax(np.log(np.maximum(shares, CLIP)).mean(axis=0), axis=-1))


def _likeliest(mean: Array) -> Array:
    """The likeliest option of each item for certain; in equal shares where several are."""
    most = np.where(np.isnan(mean), np.nan, mean >= mean.max(axis=1, keepdims=True) - _TIED)
    return np.asarray(most / most.sum(axis=1, keepdims=True))


def angle(shares: Array) -> float:
    """Angle of the payoffs expected under shares of the options, in degrees; NaN where an item has none.

    Parameters
    ----------
    shares
        Shape (6, 9): items and options.
    """
    pay = payoffs()
    own, other = ((shares * side[:N_PRIMARY]).sum(axis=1).mean() for side in pay)
    return float(scoring.angles_of(own, other))


def centre() -> float:
    """The angle of who chooses by place alone, in degrees: all options alike."""
    return angle(np.full((N_PRIMARY, N_OPTIONS), 1 / N_OPTIONS))


def _sums(shares: Array) -> Array:
    """Sums by order for `_angles`: own coins, the other's, and whether answered, item by item."""
    pay = payoffs()
    coins = [(shares * side[:N_PRIMARY]).sum(axis=2) for side in pay]
    answered = ~np.isnan(coins[0])
    return np.hstack([*map(np.nan_to_num, coins), answered])


def _angles(sums: Array) -> Array:
    """Angles from sums over orders, shape (..., 18)."""
    own, other, answered = np.split(sums, 3, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return scoring.angles_of((own / answered).mean(axis=-1), (other / answered).mean(axis=-1))


def angles(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Angles of each model and condition, and value rationality where a value is assigned.

    Value rationality is 60 − |angle − target|, a reconstruction; see `analysis.scoring.targets`. Two
    nulls stand beside it: choosing by place alone, which has the centre's angle (``corrected`` is 0 there and
    1 at the target), and the model itself without a value (``blind``).

    Parameters
    ----------
    frame
        From `trials`.
    seed
        Of the resamples.

    Returns
    -------
    pandas.DataFrame
        model, value, prompts, answered, angle (of expected payoffs) with low and high, likeliest (angle of
        the likeliest options; equally likely ones in equal shares), category (of the likeliest), place_free
        (angle with a liking for places taken out; see `place_free`), target, rationality, corrected, blind,
        and gain (degrees that the value brings the angle nearer its target than no value does) with gain_low
        and gain_high, orders resampled in pairs.
    """
    by_letters = frame.groupby("model")["by_letters"].all()
    rows = []
    for model, conditions in _by_condition(frame):
        for value, shares in conditions.items():
            mean = _mean(shares)
            scored = bootstrap(_sums(shares), _angles, seed=seed)
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
    """Target, rationality, corrected, blind, gain and its interval; NaN without a value."""
    if value == NO_VALUE:
        return (math.nan,) * 7
    target = scoring.targets()[value]
    reached = angle(_mean(conditions[value]))
    raw = scoring.value_rationality(reached, value)
    corrected = 1 - abs(reached - target) / abs(centre() - target)
    if NO_VALUE not in conditions:
        return (target, raw, corrected, *[math.nan] * 4)

    def gain(sums: Array) -> Array:
        with_value, without = (_angles(part) for part in np.split(sums, 2, axis=-1))
        return np.asarray(np.abs(without - target) - np.abs(with_value - target))

    sums = np.hstack([_sums(conditions[value]), _sums(conditions[NO_VALUE])])
    found = bootstrap(sums, gain, seed=seed)
    blind = scoring.value_rationality(angle(_mean(conditions[NO_VALUE])), value)
    return (target, raw, corrected, blind, *_numbers(found))


def _numbers(found: Bootstrapped) -> tuple[float, float, float]:
    return float(found.estimate), float(found.low), float(found.high)


def by_model(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """What moves a model's letters: the assigned value, the option, or the place.

    Parameters
    ----------
    frame
        From `trials`.

    Returns
    -------
    pandas.DataFrame
        model, prompts, answered, mass (mean probability of all letters together; NaN for free replies),
        first (mean share of the letter A, 1/9 for who has no liking for places) with first_low and
        first_high (clustered by question), letter (the one with the largest mean share; None where all are
        alike), place (total variation of the letters' mean shares from 1/9, 0 to 8/9), content (the same of
        options, mean over questions), steering (angle under the altruistic minus that under the competitive
        value, in degrees) with steering_low and steering_high, ideal. Shares by letter are free of what the
        options are only where all nine orders are answered.
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
        moved = (by_place.idxmax() if liking > _TIED else None, liking, float(np.nanmean(content)))
        rows.append((model, *counts, *moved, *_steering(conditions, seed), scoring.full_range()))
    columns = ["prompts", "answered", "mass", "first", "first_low", "first_high", "letter", "place"]
    more = ["content", "steering", "steering_low", "steering_high", "ideal"]
    return pd.DataFrame(rows, columns=["model", *columns, *more])


def _steering(conditions: Mapping[str, Array], seed: int) -> tuple[float, ...]:
    up, down = VALUES[0], VALUES[-1]
    if not {up, down} <= conditions.keys():
        return (math.nan, math.nan, math.nan)
    return _numbers(bootstrap(_ends(conditions), _apart, seed=seed))


def _ends(conditions: Mapping[str, Array]) -> Array:
    """Sums by order under the two values between which steering lies."""
    return np.hstack([_sums(conditions[value]) for value in (VALUES[0], VALUES[-1])])


def _apart(sums: Array) -> Array:
    first, second = (_angles(part) for part in np.split(sums, 2, axis=-1))
    return np.asarray(first - second)


def steering_difference(frame: pd.DataFrame, one: str, other: str, *, seed: int) -> Bootstrapped | None:
    """How much further one model's angle moves with the assigned value than another's, in degrees.

    Parameters
    ----------
    frame
        From `trials`, of both models. The nine orders are resampled in pairs.

    Returns
    -------
    Bootstrapped or None
        None unless both answered under both values.
    """
    conditions = dict(_by_condition(frame))
    if any(not {VALUES[0], VALUES[-1]} <= conditions.get(model, {}).keys() for model in (one, other)):
        return None
    sums = np.hstack([_ends(conditions[model]) for model in (one, other)])

    def difference(sums: Array) -> Array:
        return np.asarray(np.subtract(*(_apart(part) for part in np.split(sums, 2, axis=-1))))

    return bootstrap(sums, difference, seed=seed)


def places(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean share of each letter over all questions and orders: model, letter, share."""
    return _long(frame.groupby("model")[PLACES].mean(), "letter")


def option_shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean share of each option over the orders: model, value, item, option (a letter), share."""
    return _long(frame.groupby(["model", "value", "item"])[OPTIONS].mean(), "option")


def _long(means: pd.DataFrame, name: str) -> pd.DataFrame:
    """Nine columns of means, one a letter, as rows."""
    keys = [str(key) for key in means.index.names]
    named = means.set_axis(list(LETTERS), axis=1).reset_index()
    rows = named.melt(id_vars=keys, var_name=name, value_name="share").dropna(subset="share")
    return rows.sort_values([*keys, name], ignore_index=True)


def instrument(table: pd.DataFrame, agents: Mapping[str, LetterAgent]) -> pd.DataFrame:
    """Hold the reference agents to the angles of their tastes, once places are taken out.

    Parameters
    ----------
    table
        From `angles`; other models are left out.

    Returns
    -------
    pandas.DataFrame
        model, value, expected (degrees), place_free, off (in degrees), agrees (within .01 degrees).
    """
    return held_to_agents(table, agents, "value", "place_free", _PRECISION)
