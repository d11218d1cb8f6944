"""Profiles from pairs: worths of the themes in a Bradley-Terry model, and checks of their validity.

The log odds of choosing theme i over theme j are modelled as w_i − w_j, with worths that sum to 0. Log odds
are averaged over both orders, which cancels a position bias. Intervals are clustered by frame: the frames are
a sample of possible wordings, while the fifteen pairs are complete.

No fidelity to people is claimed from pairs, because no people were asked, and no profile is claimed for a
model that chooses by position (`deepvalues.stats.clusters.excess_over_place`).

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

#: Probabilities are clipped to this distance from 0 and 1 before taking log odds.
CLIP = 1e-6
#: Added to the wins of each side of a pair to keep worths finite. Firth's correction (1993, Biometrika 80)
#: adds as much on average when fifteen pairs give five worths.
_PRIOR = 1 / 6
#: Tolerance for an agent's worth, in logits: probabilities are recorded to six digits.
_PRECISION = 1e-3


def pairs(items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Join the two orders of each pair and frame.

    Parameters
    ----------
    items
        A frame that meets `stimuli.PAIR_CONTRACT`.
    answers
        From `deepvalues.ask.on_record.letter_probabilities`, with letters A and B.

    Returns
    -------
    pandas.DataFrame
        One row per model, frame and pair: model, wording, first, second (the themes in their fixed order),
        pair, log_odds (of the first over the second, mean of both orders; NaN unless both have letter
        probabilities), wins (number of orders in which the first was chosen), agree (1 if both orders lead to
        the same theme), first_option (share of choices of option A), mass (mean of both orders). The last
        four are NaN unless both orders were answered.
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
    # A single order would not cancel the position bias.
    found = known.mean().where(known.count() == 2).reset_index()
    found["wins"] = 2 * found["wins"]
    found["agree"] = (found["wins"] != 1).astype(float).where(found["wins"].notna())
    found.insert(4, "pair", found["first"] + " - " + found["second"])
    return found


def _design(frame: pd.DataFrame, themes: Sequence[str]) -> Array:
    """Design matrix with +1 for the first theme and −1 for the second, shape (rows, themes)."""
    signs = [(frame["first"] == theme).astype(float) - (frame["second"] == theme) for theme in themes]
    return np.column_stack(signs)


def worths_of_odds(frame: pd.DataFrame, themes: Sequence[str]) -> Array:
    """Worths in logits by least squares on mean log odds, shape (themes,); they sum to 0.

    Parameters
    ----------
    frame
        Rows of `pairs`; those without log odds are left out. NaN if the others do not connect all themes.
    """
    known = frame.dropna(subset="log_odds")
    design = _design(known, themes)
    if np.linalg.matrix_rank(design) < len(themes) - 1:
        return np.full(len(themes), np.nan)
    # The minimum-norm solution is the one that sums to 0.
    return np.asarray(np.linalg.lstsq(design, known["log_odds"].to_numpy(), rcond=None)[0])


def worths_of_choices(frame: pd.DataFrame, themes: Sequence[str]) -> Array:
    """Worths in logits by maximum likelihood from choices alone, shape (themes,); they sum to 0.

    Both orders of each pair count, which cancels a position bias to first order. A sixth of a win is added to
    each side of a pair, so that a theme that always wins has a finite worth.

    Parameters
    ----------
    frame
        Rows of `pairs`; those without both choices are left out. NaN if the others do not connect all themes.
    """
    known = frame.dropna(subset="wins").groupby(["first", "second"], sort=False)["wins"]
    counts = known.agg(["sum", "size"]).reset_index()
    design = _design(counts, themes)
    if np.linalg.matrix_rank(design) < len(themes) - 1:
        return np.full(len(themes), np.nan)
    won = counts["sum"].to_numpy() + _PRIOR
    lost = 2 * counts["size"].to_numpy() - counts["sum"].to_numpy() + _PRIOR
    # Without the first theme, as only differences of worths are identified.
    model = sm.GLM(np.column_stack([won, lost]), design[:, 1:], sm.families.Binomial())
    with warnings.catch_warnings():
        # The added wins rule out separation; the warning comes from shares that the worths fit exactly.
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        found = np.concatenate([[0.0], model.fit().params])
    return np.asarray(found - found.mean())


def profiles(frame: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """The profile of each model, from log odds if all pairs have them, else from choices.

    Parameters
    ----------
    frame
        From `pairs`.

    Returns
    -------
    pandas.DataFrame
        model, theme, by (log odds or choices), worth (logits, 0 on average) with low and high (jackknife over
        frames, Student's t; NaN for one frame).
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
    # Differences due to rounding do not count as variation.
    errors = np.where(squares > 1e-20, np.sqrt(squares), np.nan)
    return [Estimate(float(w), float(error), n - 1) for w, error in zip(whole, errors, strict=True)]


def by_model(frame: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """What determines a model's choices in pairs: the themes or their position.

    Returns
    -------
    pandas.DataFrame
        model, pairs (pairs of orders asked), answered (in both orders), mass, consistency (share of these in
        which both orders lead to the same theme), by_place (2p(1 − p), expected from position alone), excess
        with excess_low and excess_high (clustered by pair of themes), first_option (p) with first_option_low
        and first_option_high, explained (share of the log odds' sum of squares over pairs explained by the
        worths; NaN without log odds), claimed (whether consistency exceeds by_place, so that the profile can
        be attributed to the model).
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
    """Whether an excess is above 0: by its interval or, if it does not vary and has none, by its value."""
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
    """Compare the reference agents' estimated worths with their true ones.

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
