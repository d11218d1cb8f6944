"""The null of value rationality: whoever answers at one angle, whatever value was assigned.

Value rationality is 60 − |angle − target|. The extreme targets lie at the ends of what can be answered, so
that a score there gives the angle back. The published scores thus say how far each model moved between the
assignments, which a lean to neutral values does not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepvalues.studies.svo.analysis.published import EXTREME, NEUTRAL, READING_ERROR, TRIALS
from deepvalues.studies.svo.analysis.scoring import (
    BEST,
    random_value_rationality,
    targets,
    value_rationality,
)
from deepvalues.studies.svo.stimuli.payoffs import VALUES


def lean(rationality: pd.DataFrame) -> pd.Series[float]:
    """Mean of the neutral values minus mean of the extreme ones, row by row.

    Parameters
    ----------
    rationality
        A column for each value, in degrees.
    """
    return rationality[list(NEUTRAL)].mean(axis=1) - rationality[list(EXTREME)].mean(axis=1)


def blind(angles: np.ndarray) -> pd.DataFrame:
    """What answering at one angle gets, whatever value was assigned.

    Parameters
    ----------
    angles
        In degrees.

    Returns
    -------
    pandas.DataFrame
        angle, a column for each value with its raw value rationality, and lean, all in degrees; and
        corrected_lean, the lean of scores on the scale from 0 (random answers) to 1 (ideal ones). From 0 to
        45 degrees the lean is (77.65 − 45) / 2 = 16.3, whatever the angle.
    """
    raw = pd.DataFrame({value: [value_rationality(angle, value) for angle in angles] for value in VALUES})
    random = pd.Series({value: random_value_rationality(value, TRIALS) for value in VALUES})
    corrected = (raw - random) / (BEST - random)
    return raw.assign(angle=angles, lean=lean(raw), corrected_lean=lean(corrected))


def full_range() -> float:
    """Degrees between the two extreme targets: 77.65."""
    return targets()["altruistic"] - targets()["competitive"]


def implied(reread: pd.DataFrame) -> pd.DataFrame:
    """The angles behind published scores, and the lean that was published.

    Parameters
    ----------
    reread
        From `analysis.published.reread`.

    Returns
    -------
    pandas.DataFrame
        One row per model and kind of prompting: model, goal, altruistic and competitive (implied angles under
        these assignments), range (their difference), range_share (of `full_range`), lean (neutral minus
        extreme), blind_lean (the lean of whoever ignores the assignment), and range_low … lean_high: bounds
        if all four scores were misread by half a degree in the least favourable way. In degrees, the share
        apart.
    """
    wide = reread.pivot(index=["model", "goal"], columns="value", values="raw").reset_index()
    wide.columns.name = None
    found = pd.DataFrame({"model": wide["model"], "goal": wide["goal"]})
    found["altruistic"] = targets()["altruistic"] - (BEST - wide["altruistic"])
    found["competitive"] = targets()["competitive"] + (BEST - wide["competitive"])
    found["range"] = found["altruistic"] - found["competitive"]
    found["lean"] = lean(wide)
    # Two scores enter the range, each with the weight 1, and four the lean, each with the weight one half.
    for name in ("range", "lean"):
        found[f"{name}_low"] = found[name] - 2 * READING_ERROR
        found[f"{name}_high"] = found[name] + 2 * READING_ERROR
    found["range_share"] = found["range"] / full_range()
    found["blind_lean"] = float(blind(np.array([0.0]))["lean"].iloc[0])
    return found
