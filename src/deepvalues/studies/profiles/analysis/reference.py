"""The human reference: a file supplied by the user, its contract, and a synthetic one for testing.

We know the original study from its abstracts only and have no data of its people. The synthetic reference is
drawn by a stated rule; the column ``synthetic`` marks it in every frame, and `label` on every figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown
from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.profiles.analysis.responses import priority
from deepvalues.studies.profiles.reading import off_scale
from deepvalues.studies.profiles.stimuli import MODES, OPEN, letters

Array = NDArray[np.float64]

#: Number of synthetic respondents, and the seed of all their draws.
RESPONDENTS = 200
SEED = 12617
#: Mean latent priority of each theme, in the order of the themes: our choice, except that Agency comes last,
#: because the abstract reports its "deprioritisation" by people.
LATENT = (0.36, -0.36, 0.72, 1.08, -0.72, -1.08)
#: Standard deviations of a respondent's deviation per theme, and of their level on the rating scale.
OWN, LEVEL = 1.5, 0.4
#: Mean rating, and points of an allocation per unit of latent priority.
MIDDLE, POINTS = 4.5, 4.5
#: Number of sentences in a synthetic respondent's open answer.
OPEN_SENTENCES = 8


def label(reference: pd.DataFrame) -> str:
    """The name of a reference in all figures and tables."""
    kinds = set(reference["synthetic"])
    if kinds == {True}:
        return "synthetic reference"
    return "human reference" if kinds == {False} else "partly synthetic reference"


def _complete(frame: pd.DataFrame, themes: Sequence[str], source: str) -> None:
    """Check that every respondent has a response on the scale for all themes of a mode."""
    wide = frame.pivot(index=["mode", "respondent"], columns="theme", values="response")
    for (mode, respondent), *numbers in wide.reindex(columns=list(themes)).itertuples(name=None):
        lacking = [theme for theme, number in zip(themes, numbers, strict=True) if np.isnan(number)]
        if lacking:
            raise UserError(f"{source}: {respondent}, {mode}: no response to {', '.join(lacking)}")
        wrong = off_scale(numbers, mode)
        if wrong:
            raise UserError(f"{source}: {respondent}, {mode}: {wrong}")


def check_reference(frame: pd.DataFrame, themes: Sequence[str], source: str = "reference") -> pd.DataFrame:
    """Check a reference against its contract, and add priorities.

    Parameters
    ----------
    frame
        respondent, mode (ranking, rating, allocation or open), theme (key or name) and response: ranks from
        1 to 6, each once; integers from 1 to 7; points of at least 0 that sum to 100; shares of coded
        sentences in per cent. Optionally ``synthetic``.
    themes
        Keys of the themes in their fixed order.
    source
        Name of the reference in messages.

    Returns
    -------
    pandas.DataFrame
        respondent, mode, theme (key), response, priority (7 − rank in a ranking, else the response),
        synthetic.

    Raises
    ------
    UserError
        Names the first respondent and mode that breaks the contract, and how.
    """
    absent = {"respondent", "mode", "theme", "response"} - set(frame.columns)
    if absent:
        raise UserError(f"{source}: the column {sorted(absent)[0]!r} is missing")
    if frame.empty:
        raise UserError(f"{source}: contains no responses")
    known = {letters(theme): theme for theme in themes}
    checked = pd.DataFrame(
        {
            "respondent": frame["respondent"].astype("str").str.strip(),
            "mode": frame["mode"].astype("str").str.strip().str.lower(),
            "theme": frame["theme"].astype("str").map(lambda theme: known.get(letters(theme), "")),
            "response": pd.to_numeric(frame["response"], errors="coerce").astype(float),
        }
    )
    problems = {
        "names no respondent": checked["respondent"].isin(["", "nan", "<NA>"]),
        f"has a mode other than {', '.join(MODES)}": ~checked["mode"].isin(MODES),
        f"has a theme other than {', '.join(themes)}": checked["theme"] == "",
        "has a response that is not a number": ~np.isfinite(checked["response"]),
        "repeats a theme": checked.duplicated(["respondent", "mode", "theme"]),
    }
    for problem, wrong in problems.items():
        if wrong.any():
            place = int(np.argmax(wrong.to_numpy()))
            shown = ", ".join(
                str(frame.iloc[place][name]) for name in ("respondent", "mode", "theme", "response")
            )
            raise UserError(f"{source}: line {place + 2} {problem}: {shown}")
    _complete(checked, themes, source)
    pairs = checked[["mode", "response"]].itertuples(index=False, name=None)
    checked["priority"] = [priority(mode, response) for mode, response in pairs]
    # A reference that does not say it is synthetic counts as human.
    said = frame["synthetic"].astype("str").str.lower() if "synthetic" in frame else "false"
    checked["synthetic"] = pd.Series(said, index=frame.index).isin(["true", "1"])
    checked["theme"] = pd.Categorical(checked["theme"], list(themes), ordered=True)
    ordered = checked.sort_values(["mode", "respondent", "theme"], ignore_index=True)
    return ordered.astype({"theme": "str"})


def read_reference(path: Path, themes: Sequence[str]) -> pd.DataFrame:
    """Read a reference from CSV; see `check_reference`.

    Raises
    ------
    UserError
        When the file can't be read or breaks the contract.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{shown(path)}: cannot be read as CSV: {error}") from None
    return check_reference(frame, themes, str(path))


def parts_at(shares: Array, total: int, draws: Array) -> Array:
    """Round shares to integers with the same total, each unbiased.

    With cumulative sums c and one draw u, part i is ⌊c_i + u⌋ − ⌊c_{i−1} + u⌋. Its mean is exactly its share
    (systematic sampling; Madow 1949, Annals of Mathematical Statistics 20).

    Parameters
    ----------
    shares
        Shape (..., parts).
    draws
        Uniform from 0 to 1, shape (...).
    """
    # Rounded because an error in the last bits could push a sum just below an integer.
    sums = np.round(np.cumsum(shares, axis=-1), 9)
    sums[..., -1] = total
    return np.diff(np.floor(sums + np.asarray(draws)[..., None]), axis=-1, prepend=0)


def whole_parts(shares: Sequence[float], total: int, key: Iterable[object]) -> list[int]:
    """Round shares by `parts_at`, with a draw determined by a key."""
    drawn = np.array(stable_random.uniform(*key))
    return [int(part) for part in parts_at(np.asarray(shares, dtype=float), total, drawn)]


def _normal(*key: object) -> float:
    # Bounded away from 0, where the inverse is undefined.
    return NormalDist().inv_cdf(max(stable_random.uniform(*key), 1e-12))


def _respondent(name: str, seed: int) -> dict[str, list[float]]:
    """A synthetic respondent's responses by mode."""
    own = [mean + OWN * _normal(seed, name, place) for place, mean in enumerate(LATENT)]
    level = MIDDLE + LEVEL * _normal(seed, name, "level")
    ranks = (-np.array(own)).argsort().argsort() + 1
    ratings = [float(np.clip(round(level + each), 1, 7)) for each in own]
    points = np.maximum(100 / THEMES + POINTS * (np.array(own) - np.mean(own)), 0)
    points = 100 * points / points.sum()
    allocated = whole_parts(list(points), 100, (seed, name, "allocation"))
    counts = whole_parts(list(OPEN_SENTENCES * points / 100), OPEN_SENTENCES, (seed, name, OPEN))
    return {
        "ranking": [float(rank) for rank in ranks],
        "rating": ratings,
        "allocation": [float(part) for part in allocated],
        OPEN: [100 * count / OPEN_SENTENCES for count in counts],
    }


def synthetic_reference(
    themes: Sequence[str], respondents: int = RESPONDENTS, seed: int = SEED
) -> pd.DataFrame:
    """A synthetic reference for testing, drawn by a stated rule.

    Respondent i has the latent priority t_ij = `LATENT`_j + `OWN` · z_ij for theme j, with z standard normal.
    The ranking is the order of t; a rating is `MIDDLE` + t_ij + `LEVEL` · z_i, rounded and clipped to 1 to 7;
    points are 100/6 + `POINTS` · (t_ij − t̄_i), at least 0, scaled to sum to 100 and rounded without bias; an
    open answer has `OPEN_SENTENCES` sentences in the proportions of the points. All draws are hashes of the
    seed.

    Returns
    -------
    pandas.DataFrame
        As from `check_reference`, with all rows marked ``synthetic``.
    """
    rows = [
        (f"synthetic-{number:03d}", mode, theme, response)
        for number in range(respondents)
        for mode, given in _respondent(f"synthetic-{number:03d}", seed).items()
        for theme, response in zip(themes, given, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["respondent", "mode", "theme", "response"])
    return check_reference(frame.assign(synthetic=True), themes, "synthetic reference")


def respondents(reference: pd.DataFrame, mode: str, themes: Sequence[str]) -> Array:
    """Priorities of the respondents in a mode, shape (respondents, 6).

    Raises
    ------
    UserError
        When there are no responses in the mode.
    """
    chosen = reference[reference["mode"] == mode]
    if chosen.empty:
        raise UserError(f"the {label(reference)} has no responses in the mode {mode}")
    wide = chosen.pivot(index="respondent", columns="theme", values="priority")
    return np.asarray(wide.reindex(columns=list(themes)).to_numpy(dtype=float))


def mean_profiles(reference: pd.DataFrame, themes: Sequence[str]) -> dict[str, Array]:
    """The mean profile of a reference, for each of its modes."""
    modes = [mode for mode in MODES if mode in set(reference["mode"])]
    return {mode: respondents(reference, mode, themes).mean(axis=0) for mode in modes}
