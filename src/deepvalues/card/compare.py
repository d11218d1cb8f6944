"""Differences between two respondents on the items that both answered, paired and clustered."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from deepvalues.card import measures
from deepvalues.card.facts import facts
from deepvalues.card.gather import SECTIONS, Asked, Part
from deepvalues.card.write import Card, file_name
from deepvalues.core.errors import UserError
from deepvalues.stats import clusters
from deepvalues.stats.bootstrap import bootstrapped_mean
from deepvalues.studies.dvb.analysis import verdicts
from deepvalues.studies.profiles.analysis.comparison import fidelity_difference
from deepvalues.studies.svo.analysis import letter_scoring, statistics

#: The rates of Study 1, each with its arm.
_ARMS = {
    "control": "control",
    "probe_value": "probe_value",
    "probe_surface": "probe_surface",
    "dvgr": "deconfounded",
}
_TEST, _FRAME = ["cell", "arm", "test"], ["wording", "pair"]


class Difference(NamedTuple):
    """A measure of two respondents, and its paired difference ``value`` with its 95% interval.

    ``pairs`` counts the items that both answered or, for fidelity, the runs of the model with fewer. The
    interval is NaN if nothing varies between clusters.
    """

    measure: str
    one: float
    other: float
    value: float
    low: float
    high: float
    pairs: int


def comparison(one: Asked, other: Asked) -> Card:
    """The card that compares two respondents.

    Raises
    ------
    UserError
        When both are the same, or have no section that both answered in full and in the same way.
    """
    names = [each.model.name for each in (one, other)]
    if names[0] == names[1]:
        raise UserError(f"{names[0]}: a model can't be compared with itself; name two models")
    found = differences(one, other)
    if not any(found.values()):
        commands = [f"  {part.command}" for each in (one, other) for part in each.lacking()]
        first = (
            f"{' and '.join(names)} share no study answered in full by both; these commands ask for the rest:"
        )
        raise UserError("\n".join([first, *commands]))
    content = {
        "names": names,
        "cards": [facts(each) for each in (one, other)],
        "differences": {name: [each._asdict() for each in rows] for name, rows in found.items()},
    }
    title = f"{names[0]} against {names[1]}"
    return Card(file_name(*names), title, "report card of two models", "compare", content)


def differences(one: Asked, other: Asked) -> dict[str, list[Difference]]:
    """Differences by section, one minus other; none where they did not answer the same study in full."""
    found: dict[str, list[Difference]] = {name: [] for name in SECTIONS}
    for name in SECTIONS:
        first, second = one.complete(name), other.complete(name)
        if first and second and first.study == second.study and first.study in _COMPARED:
            found[name] = _COMPARED[first.study](first, second)
    return found


def _paired(measure: str, both: pd.DataFrame, column: str, cluster: str) -> Difference:
    """The difference in a column of the items that both answered; the second's columns end in ``_other``."""
    known = both.dropna(subset=[column, f"{column}_other"])
    first, second = (known[name].astype(float) for name in (column, f"{column}_other"))
    difference = clusters.mean(np.asarray(first - second, dtype=np.float64), known[cluster])
    means = float(first.mean()), float(second.mean())
    return Difference(measure, *means, difference.value, *difference.interval, len(known))


def _values(one: Part, other: Part) -> list[Difference]:
    """Study 1: rates and order consistency, paired by test, clustered by cell."""
    frames = (measures.pairs(part) for part in (one, other))
    first, second = (
        frame[frame["arm"].isin(verdicts.TESTS) & (frame["n_examples"] == verdicts.N)] for frame in frames
    )
    both = first.merge(second, on=_TEST, suffixes=("", "_other"))
    rates = [_paired(name, both[both["arm"] == arm], "followed", "cell") for name, arm in _ARMS.items()]
    return [*rates, _paired("order_consistency", both, "agree", "cell")]


def _letters(one: Part, other: Part) -> list[Difference]:
    """Study 2, one question at a time: steering, by a paired bootstrap over the nine orders."""
    frame = pd.concat([measures.letter_trials(part) for part in (one, other)], ignore_index=True)
    names = [part.questions.model.name for part in (one, other)]
    found = letter_scoring.steering_difference(frame, *names, seed=measures.SVO_SEED)
    if found is None:
        return []
    steering = letter_scoring.by_model(frame, seed=measures.SVO_SEED).set_index("model")["steering"]
    ends = float(found.estimate), float(found.low), float(found.high)
    return [Difference("steering", steering[names[0]], steering[names[1]], *ends, found.clusters)]


def _conversations(one: Part, other: Part) -> list[Difference]:
    """Study 2 in conversations: steering, by a paired bootstrap over trials."""
    first, second = (
        statistics.changes(measures.of_mode(measures.conversation_trials(part))) for part in (one, other)
    )
    both = pd.DataFrame({"one": first, "other": second}).dropna()
    difference = both["one"] - both["other"]
    interval = bootstrapped_mean(difference, both.index.to_series().astype(str), seed=measures.SVO_SEED)
    one_mean, other_mean = both["one"].mean(), both["other"].mean()
    return [Difference("steering", one_mean, other_mean, difference.mean(), *interval, len(both))]


def _pairs(one: Part, other: Part) -> list[Difference]:
    """Study 3 in pairs: order consistency, paired by frame and pair, clustered by pair."""
    first, second = (measures.theme_pairs(part) for part in (one, other))
    both = first.merge(second, on=_FRAME, suffixes=("", "_other"))
    return [_paired("theme_consistency", both, "agree", "pair")]


def _forms(one: Part, other: Part) -> list[Difference]:
    """Study 3 in forms: fidelity; runs of both models and respondents of the reference are resampled."""
    first, second = (measures.form_profiles(part) for part in (one, other))
    if first.size == 0 or second.size == 0:
        return []
    drawn = measures.PROFILES_DRAWS, measures.PROFILES_SEED
    found = fidelity_difference(first, second, measures.reference_profiles(), *drawn)
    runs = min(len(first), len(second))
    return [Difference("fidelity", found.one, found.other, found.one - found.other, *found.interval, runs)]


#: The comparison for each study.
_COMPARED: dict[str, Callable[[Part, Part], list[Difference]]] = {
    "dvb": _values,
    "svo-letters": _letters,
    "svo": _conversations,
    "profiles-pairs": _pairs,
    "profiles": _forms,
}
