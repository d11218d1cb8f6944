"""What people do: the human norms, computed from item responses.

Many Labs 2 put the six primary items to 6,234 people (Klein et al. 2018, Advances in Methods and Practices in
Psychological Science 1). Its own column with an angle, ``variable1``, is not used: it disagrees with the
items of its row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from deepvalues.core.errors import UserError
from deepvalues.studies.svo.analysis import scoring
from deepvalues.studies.svo.stimuli.payoffs import LETTERS, N_OPTIONS, N_PRIMARY

ITEMS = [f"item{item}" for item in range(1, N_PRIMARY + 1)]
#: Names of the same columns in the public file, which ``make data`` fetches.
_PUBLIC = {f"van.p1.2_{item}": f"item{item}" for item in range(1, N_PRIMARY + 1)}
BIN = 5
QUANTILES = {"q05": 0.05, "q25": 0.25, "q75": 0.75, "q95": 0.95}
_GROUPS = ("source", "weird", "study_order")


class Norms(NamedTuple):
    """The three tables of ``data/published/svo_human_*.csv``."""

    norms: pd.DataFrame
    option_shares: pd.DataFrame
    histogram: pd.DataFrame


def from_public(frame: pd.DataFrame) -> pd.DataFrame:
    """Item responses of the public file in the names used here: people with a response to all six items.

    Raises
    ------
    UserError
        When an item is missing, or a response is none of 1 to 9.
    """
    plain = {column.lower().replace(".", "_"): column for column in frame.columns}
    names = {plain[name]: name for name in _GROUPS if name in plain}
    found = frame.rename(columns={**names, **_PUBLIC})
    lacking = [item for item in ITEMS if item not in found]
    if lacking:
        raise UserError(f"item responses: no column {lacking[0]}, nor van.p1.2_{lacking[0][-1]}")
    complete = found.dropna(subset=ITEMS)
    table = complete[ITEMS].to_numpy(dtype=float)
    if not np.isin(table, np.arange(1, N_OPTIONS + 1)).all():
        raise UserError("item responses: an item has a response that is none of 1 to 9")
    return complete.astype(dict.fromkeys(ITEMS, "int64")).reset_index(drop=True)


def recompute(frame: pd.DataFrame) -> Norms:
    """Compute norms, option shares and histogram of the angle from item responses.

    Parameters
    ----------
    frame
        One row per person: item1 … item6 coded 1 to 9 (or the names of the public file); groups need source
        (a site), weird (1 or 0) and study_order (1: shown first); without them only ``all`` and
        ``transitive_only`` come out.

    Returns
    -------
    Norms
        Norms: group, n, mean, sd, q05, q25, median, q75, q95 (quantiles by the inverse of the distribution
        function; the median is that of the middle two where n is even), share of each category and of
        transitive people in per cent. Option shares: item, option, share. Histogram:
        bin_low_degrees, bin_width_degrees, count; an angle on a bin's lower edge is in it.
    """
    people = from_public(frame)
    choices = people[ITEMS].to_numpy() - 1
    scored = scoring.score(choices)
    groups = {"all": np.ones(len(people), dtype=bool)}
    if set(_GROUPS) <= set(people.columns):
        groups |= {
            "weird_sites": (people["weird"] == 1).to_numpy(),
            "non_weird_sites": (people["weird"] == 0).to_numpy(),
            "svo_shown_first": (people["study_order"] == 1).to_numpy(),
            "mturk_sources": people["source"].str.contains("mturk").to_numpy(dtype=bool),
        }
    groups["transitive_only"] = scored["transitive"].to_numpy(dtype=bool)
    norms = pd.DataFrame([{"group": name, **_describe(scored[rows])} for name, rows in groups.items()])
    return Norms(norms, _option_shares(choices), histogram(scored["angle"]))


def _describe(scored: pd.DataFrame) -> dict[str, float]:
    angle = scored["angle"]
    levels = np.quantile(angle, list(QUANTILES.values()), method="inverted_cdf")
    shares = scored["category"].value_counts(normalize=True)
    quantiles = dict(zip(QUANTILES, map(float, levels), strict=True)) | {"median": angle.median()}
    return {
        "n": len(scored),
        "mean": angle.mean(),
        "sd": angle.std(),
        **{name: quantiles[name] for name in ("q05", "q25", "median", "q75", "q95")},
        **{f"{name}_pct": 100 * shares.get(name, 0.0) for name in reversed(scoring.CATEGORIES)},
        "transitive_pct": 100 * scored["transitive"].mean(),
    }


def _option_shares(choices: scoring.Ints) -> pd.DataFrame:
    rows = [
        (item + 1, letter, share)
        for item, column in enumerate(choices.T)
        for letter, share in zip(
            LETTERS, np.bincount(column, minlength=N_OPTIONS) / len(choices), strict=True
        )
    ]
    return pd.DataFrame(rows, columns=["item", "option", "share"])


def histogram(angle: pd.Series[float]) -> pd.DataFrame:
    """Count angles in bins of five degrees, from −20 on."""
    # 45 degrees computed may lie a last digit below 45.
    edges = np.arange(-20, 65 + BIN, BIN)
    counts, _ = np.histogram(angle.round(9), edges)
    return pd.DataFrame({"bin_low_degrees": edges[:-1], "bin_width_degrees": BIN, "count": counts})
