"""Profiles from pairs: worths of the themes by the model of Bradley and Terry, with what they rest on.

The log odds that theme i is chosen over theme j are modelled as w_i − w_j, with worths that sum to 0. Log
odds are means over both orders, which cancels a liking for a place. Intervals are clustered by frame: the
fifteen pairs are all there are, and frames are a sample of ways to ask.

Pairs claim no fidelity to people: nobody was asked them. And of a model that chooses by place
(`deepvalues.stats.clusters.excess_over_place`) no profile is claimed either.

References
----------
Bradley and Terry (1952), Biometrika 39.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import logit
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from deepvalues.stats import clusters
from deepvalues.stats.clusters import Estimate, excess_over_place
from deepvalues.studies.profiles.respondents import PairAgent
from deepvalues.studies.shared import held_to_agents

Array = NDArray[np.float64]

#: Probabilities nearer to 0 or 1 than this are moved to this distance before log odds are taken.
CLIP = 1e-6
#: What is added to the wins of either side of a pair, so that no worth is infinite: as much as Firth's
#: correction (1993, Biometrika 80) adds on average where fifteen pairs give five worths.
_PRIOR = 1 / 6
#: How far an agent's worth may be off, in logits: probabilities are recorded with six digits.
_PRECISION = 1e-3


def pairs(items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Join the two orders of each pair and frame.

    Parameters
    ----------
    items
        A frame that meets `items.PAIR_CONTRACT`.
    answers
        From `deepvalues.ask.on_record.letter_probabilities`, with letters A and B.

    Returns
    -------
    pandas.DataFrame
        One row a model, frame and pair: model, wording, first, second (the themes in their fixed order),
        pair, log_odds (of the first over the second, mean of both orders; NaN unless both have letter
        probabilities), wins (orders in which the first was chosen), agree (1 where both choices are of one
        theme), first_option (share of choices of option A), mass (mean of both orders). What joins both
        orders is NaN unless both were answered.
    """
    asked = answers.rename(columns={"item": "id"}).merge(items, on="id", validate="many_to_one")
    chose_a = (asked["choice"] == "A").astype(float).where(asked["choice"].notna())
    odds = pd.Series(logit(asked["p_A"].clip(CLIP, 1 - CLIP)), asked.index)
    asked = asked.assign(
        first_option=chose_a,
        wins=chose_a.where(~asked["swapped"], 1 - chose_a),
        log_odds=odds.where(~asked["swapped"], -odds),
    )
    both = asked.groupby(["model", "wording", "first", "second"], sort=False)
    known = both[["log_odds", "wins", "first_option", "mass"]]
    # One order alone cancels nothing.
    found = known.mean().where(known.count() == 2).reset_index()
    found["wins"] = 2 * found["wins"]
    found["agree"] = (found["wins"] != 1).astype(float).where(found["wins"].notna())
    found.insert(4, "pair", found["first"] + " - " + found["second"])
    return found


def _design(frame: pd.DataFrame, themes: Sequence[str]) -> Array:
    """Which theme is first (+1) and which second (−1), shape (rows, themes)."""
    signs = [(frame["first"] == theme).astype(float) - (frame["second"] == theme) for theme in themes]
    return np.column_stack(signs)


def worths_of_odds(frame: pd.DataFrame, themes: Sequence[str]) -> Array:
    """Worths in logits by least squares on mean log odds, shape (themes,); they sum to 0.

    Parameters
    ----------
    frame
        Rows of `pairs`; those without log odds are left out. NaN where some theme is in none.
    """
    known = frame.dropna(subset="log_odds")
    design = _design(known, themes)
    if np.linalg.matrix_rank(design) < len(themes) - 1:
        return np.full(len(themes), np.nan)
    # The least norm among all solutions is the one that sums to 0.
    return np.asarray(np.linalg.lstsq(design, known["log_odds"].to_numpy(), rcond=None)[0])


def worths_of_choices(frame: pd.DataFrame, themes: Sequence[str]) -> Array:
    """Worths in logits by maximum likelihood of the choices alone, shape (themes,); they sum to 0.

    Each pair counts with both orders, in which a liking for a place cancels to first order. A sixth
    of a win a side is added to each pair, so that a theme that always wins has no infinite worth.

    Parameters
    ----------
    frame
        Rows of `pairs`; those without both choices are left out. NaN where some theme is in none.
    """
    known = frame.dropna(subset="wins").groupby(["first", "second"], sort=False)["wins"]
    counts = known.agg(["sum", "size"]).reset_index()
    design = _design(counts, themes)
    if np.linalg.matrix_rank(design) < len(themes) - 1:
        return np.full(len(themes), np.nan)
    won = counts["sum"].to_numpy() + _PRIOR
    lost = 2 * counts["size"].to_numpy() - counts["sum"].to_numpy() + _PRIOR
    # One theme less, or the worths have no one solution.
    model = sm.GLM(np.column_stack([won, lost]), design[:, 1:], sm.families.Binomial())
    with warnings.catch_warnings():
        # Shares that the worths meet exactly are no separation: what is added keeps them finite.
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        found = np.concatenate([[0.0], model.fit().params])
    return np.asarray(found - found.mean())


def profiles(frame: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """The profile of each model: log odds where it has them throughout, else choices.

    Parameters
    ----------
    frame
        From `pairs`.

    Returns
    -------
    pandas.DataFrame
        model, theme, by (log odds or choices), worth (logits, 0 on average) with low and high (jackknife over
        frames, Student's t; NaN with one frame).
    """
    rows = []
    for model, group in frame.groupby("model", sort=True):
        by_odds = bool(group["log_odds"].notna().all())
        fit = worths_of_odds if by_odds else worths_of_choices
        kind = "log odds" if by_odds else "choices"
        for theme, found in zip(themes, _jackknifed(group, themes, fit), strict=True):
            rows.append((model, theme, kind, found.value, *found.interval))
    return pd.DataFrame(rows, columns=["model", "theme", "by", "worth", "low", "high"])


def _jackknifed(
    group: pd.DataFrame, themes: Sequence[str], fit: Callable[[pd.DataFrame, Sequence[str]], Array]
) -> list[Estimate]:
    """Worths with standard errors from leaving out each frame: √((G − 1)/G Σ (w_g − w̄)²), df = G − 1."""
    whole, frames = fit(group, themes), list(group["wording"].unique())
    n = len(frames)
    if n < 2:
        return [Estimate(float(worth), math.nan, 0) for worth in whole]
    left_out = np.array([fit(group[group["wording"] != frame], themes) for frame in frames])
    squares = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0) * (n - 1) / n
    # What rounding leaves of equal numbers is no variation.
    errors = np.where(squares > 1e-20, np.sqrt(squares), np.nan)
    return [Estimate(float(w), float(error), n - 1) for w, error in zip(whole, errors, strict=True)]


def by_model(frame: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """What a model's choices in pairs go by.

    Returns
    -------
    pandas.DataFrame
        model, pairs (pairs of orders asked), answered (in both orders), mass, consistency (share of these in
        which both choices are of one theme), by_place (2p(1 − p), what place alone gives), excess with
        excess_low and excess_high (clustered by pair of themes), first_option (p) with first_option_low and
        first_option_high, explained (share of the log odds' sum of squares over pairs that the worths
        explain; NaN without log odds), claimed (whether consistency is above what place gives, so that the
        profile is the model's).
    """
    rows = []
    for model, group in frame.groupby("model", sort=True):
        known = group.dropna(subset="agree")
        agree, first = (known[name].to_numpy(dtype=float) for name in ("agree", "first_option"))
        excess = excess_over_place(agree, first, known["pair"])
        of_first = clusters.mean(first, known["pair"])
        p = of_first.value
        shares = (float(agree.mean()) if len(agree) else math.nan, 2 * p * (1 - p))
        rows.append(
            (
                *(model, len(group), len(known), group["mass"].mean(), *shares),
                *(excess.value, *excess.interval, p, *of_first.rate_interval),
                *(_explained(group, themes), _above(excess)),
            )
        )
    columns = ["pairs", "answered", "mass", "consistency", "by_place", "excess", "excess_low", "excess_high"]
    ends = ["first_option", "first_option_low", "first_option_high", "explained", "claimed"]
    return pd.DataFrame(rows, columns=["model", *columns, *ends])


def _above(excess: Estimate) -> bool:
    """Whether an excess lies above 0; one that does not vary has no interval, and is what it is."""
    low = excess.interval.low
    return bool((excess.value if math.isnan(low) else low) > 0)


def _explained(group: pd.DataFrame, themes: Sequence[str]) -> float:
    odds = group.dropna(subset="log_odds").groupby(["first", "second"], sort=False)["log_odds"].mean()
    means = odds.reset_index()
    total = float((means["log_odds"] ** 2).sum())
    if not total > 0:
        return math.nan
    left = means["log_odds"] - _design(means, themes) @ worths_of_odds(means, themes)
    return 1 - float((left**2).sum()) / total


def instrument(table: pd.DataFrame, agents: Mapping[str, PairAgent]) -> pd.DataFrame:
    """Hold the reference agents to the worths that they choose by.

    Parameters
    ----------
    table
        From `profiles`; other models are left out.

    Returns
    -------
    pandas.DataFrame
        model, theme, expected and worth (logits), off, agrees (within .001).
    """
    return held_to_agents(table, agents, "theme", "worth", _PRECISION)
