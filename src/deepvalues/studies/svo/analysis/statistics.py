"""Statistics of social value orientation, from items and answers to angles and value rationality.

Angles are averaged arithmetically: attainable angles span only 77.65°, and the published targets and norms
are defined on arithmetic means. Intervals resample whole trials, whose six choices are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepvalues.stats.bootstrap import bootstrapped_mean
from deepvalues.stats.rates import NO_INTERVAL, Interval, holm, signed_ranks, wilson
from deepvalues.studies.shared import count_statuses, stop_if_stray
from deepvalues.studies.svo.analysis import scoring
from deepvalues.studies.svo.stimuli import (
    CONTROLLED,
    LETTERS,
    N_OPTIONS,
    N_PRIMARY,
    NO_VALUE,
    Floats,
    questions_of,
)

#: Columns that identify a condition of a model.
CONDITION = ["model", "mode", "value", "goal"]
#: Columns of the primary and the secondary items of a trial.
PRIMARY = [f"item{item}" for item in range(1, N_PRIMARY + 1)]
SECONDARY = [f"item{item}" for item in range(N_PRIMARY + 1, 16)]
#: The extreme values, between which steering is measured.
_ENDS = ("altruistic", "competitive")
ALL_VALUES = "all values"
RATIONALITY = [
    *CONDITION,
    *("trials", "complete", "angle", "target", "rationality", "low", "high", "bound_low", "bound_high"),
    *("random", "corrected", "corrected_low", "corrected_high", "p_value", "p_holm"),
    *("hits", "hit_rate", "hit_low", "hit_high"),
]
#: Resampled assignments of orders to trials in the test of position bias.
PERMUTATIONS = 1999


def choices(items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Map every reply to a question back to the option chosen.

    Parameters
    ----------
    items
        A frame that meets `stimuli.CONTRACT`.
    answers
        From `deepvalues.ask.questions.Questions.answers`: model, item, turn, status, choice.

    Returns
    -------
    pandas.DataFrame
        One row per model, trial and question: model, id, mode, value, goal, trial, question (from 1, in the
        order asked), item (1 to 15), shown (the options' letters in the order shown), place (0 to 8 as
        shown), option (0 to 8 in printed order), status. Place and option are −1 without a choice.

    Raises
    ------
    UserError
        When an answer belongs to no item.
    """
    stop_if_stray(answers, items)
    asked = answers.rename(columns={"item": "id"}).merge(_questions(items), on=["id", "turn"])
    asked["place"] = asked["choice"].map({letter: place for place, letter in enumerate(LETTERS)})
    asked["place"] = asked["place"].where(asked["status"] == "answered").fillna(-1).astype(int)
    asked["option"] = [
        LETTERS.index(shown[place]) if place >= 0 else scoring.NO_CHOICE
        for shown, place in zip(asked["shown"], asked["place"], strict=True)
    ]
    columns = ["question", "item", "shown", "place", "option", "status"]
    return asked[["model", "id", "mode", "value", "goal", "trial", *columns]]


def _questions(items: pd.DataFrame) -> pd.DataFrame:
    """One row per trial and question, with the turn that asks it."""
    kept = ["id", "mode", "value", "goal", "trial"]
    columns = [*kept, "openings", "item_order", "option_orders"]
    rows = [
        (*key, openings + place, place + 1, item, shown)
        for *key, openings, order, options in items[columns].itertuples(index=False, name=None)
        for place, (item, shown) in enumerate(questions_of(order, options))
    ]
    return pd.DataFrame(rows, columns=[*kept, "turn", "question", "item", "shown"])


def trials(asked: pd.DataFrame) -> pd.DataFrame:
    """Score every trial.

    Parameters
    ----------
    asked
        From `choices`.

    Returns
    -------
    pandas.DataFrame
        One row per model and trial: model, id, mode, value, goal, trial; item1 … (option indices, −1 for no
        choice); given (number of choices in the six primary items); angle, category and transitive as from
        `scoring.score`; angle_low and angle_high (bounds for missing choices);
        mean_self, mean_other, ring_self, ring_other, length; inequality_aversion (only for prosocial trials
        with secondary items).
    """
    key = [*CONDITION, "trial", "id"]
    wide = asked.pivot(index=key, columns="item", values="option")
    table = wide.to_numpy(dtype=int)
    frame = wide.index.to_frame(index=False)
    names = pd.DataFrame(table, columns=[*PRIMARY, *SECONDARY][: table.shape[1]])
    primary = table[:, :N_PRIMARY]
    scored = scoring.score(primary)
    index = np.full(len(table), np.nan)
    if table.shape[1] > N_PRIMARY:
        aversion = scoring.inequality_aversion(table[:, N_PRIMARY:])
        index = np.where(scored["category"] == "prosocial", aversion, np.nan)
    more = pd.DataFrame(
        {
            "given": (primary >= 0).sum(axis=1),
            **scored,
            **scoring.angle_bounds(primary),
            **scoring.ring(primary),
            "inequality_aversion": index,
        }
    )
    return pd.concat([frame[["model", "id", "mode", "value", "goal", "trial"]], names, more], axis=1)


def missing_by_reason(asked: pd.DataFrame) -> pd.DataFrame:
    """Number of questions per model and status, with the share without a choice."""
    counts = count_statuses(asked, ["model"])
    return counts.assign(no_choice_share=1 - counts["answered"] / counts.sum(axis=1)).reset_index()


def _mean_interval(numbers: pd.Series[float], clusters: pd.Series[str], seed: int) -> Interval:
    known = numbers.dropna()
    # Means of equal numbers differ in their last digit, which is not variation.
    if known.nunique() < 2:
        return NO_INTERVAL
    return bootstrapped_mean(known, clusters[known.index], seed=seed)


def mean_angles(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Mean angle of each model and condition, over complete trials, with its bootstrap interval over trials.

    Parameters
    ----------
    frame
        From `trials`.
    seed
        Seed of the resamples.

    Returns
    -------
    pandas.DataFrame
        model, mode, value, goal, trials, complete, angle, sd, low, high (percentile bootstrap, NaN without
        variation), bound_low and bound_high (the mean with all missing choices at their lowest or highest),
        transitive (share of complete trials); all angles in degrees.
    """
    rows = []
    for key, group in frame.groupby(CONDITION):
        complete = group.dropna(subset="angle")
        angles = (complete["angle"].mean(), complete["angle"].std())
        interval = _mean_interval(group["angle"], group["id"], seed)
        bounds = (group["angle_low"].mean(), group["angle_high"].mean())
        transitive = complete["transitive"].astype(float).mean()
        rows.append((*key, len(group), len(complete), *angles, *interval, *bounds, transitive))
    columns = ["trials", "complete", "angle", "sd", "low", "high", "bound_low", "bound_high", "transitive"]
    return pd.DataFrame(rows, columns=[*CONDITION, *columns])


def category_shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of each category among the complete trials of a condition, with Wilson's interval.

    Returns
    -------
    pandas.DataFrame
        model, mode, value, goal, category, count, complete, share, low, high; four rows per condition.
    """
    rows = []
    for key, group in frame.groupby(CONDITION):
        counts = group["category"].value_counts()
        complete = int(group["angle"].notna().sum())
        for category in scoring.CATEGORIES:
            count = int(counts.get(category, 0))
            share = count / complete if complete else math.nan
            rows.append((*key, category, count, complete, share, *wilson(count, complete)))
    return pd.DataFrame(rows, columns=[*CONDITION, "category", "count", "complete", "share", "low", "high"])


def value_rationality(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Value rationality of each model, mode, value and goal prompting, raw and corrected for chance.

    Raw: 60 − |mean angle − target|, a reconstruction (see `analysis.scoring.targets`). Corrected: 0 for
    random answers to equally many trials, 1 for ideal ones. Intervals are transformed from the mean angle's.

    Returns
    -------
    pandas.DataFrame
        model, mode, value, goal, trials, complete, angle, target, rationality, low, high, bound_low and
        bound_high (missing choices at their worst and best), random (expected of random answers), corrected,
        corrected_low, corrected_high, p_value (that random answers do as well; one-sided, never too small:
        see `analysis.scoring.random_at_least`), p_holm, hits (trials in the value's category), hit_rate,
        hit_low, hit_high.
    """
    assigned = frame[frame["value"] != NO_VALUE]
    table = mean_angles(assigned, seed=seed)
    target = table["value"].map(scoring.targets())
    hits = (assigned["category"] == assigned["value"]).groupby([assigned[name] for name in CONDITION]).sum()
    trials = list(zip(table["value"], table["complete"], strict=True))
    table["target"], table["rationality"] = target, scoring.BEST - (table["angle"] - target).abs()
    for kind in ("", "bound_"):
        low, high = table[f"{kind}low"], table[f"{kind}high"]
        furthest = np.maximum(np.abs(low - target), np.abs(high - target))
        nearest = np.abs(np.minimum(np.maximum(target, low), high) - target)
        table[f"{kind}low"], table[f"{kind}high"] = scoring.BEST - furthest, scoring.BEST - nearest
    table["random"] = [scoring.random_value_rationality(*one) for one in trials]
    for name, raw in {"corrected": "rationality", "corrected_low": "low", "corrected_high": "high"}.items():
        found = zip(table[raw], trials, strict=True)
        table[name] = [scoring.chance_corrected(number, *one) for number, one in found]
    reached = zip(trials, table["rationality"], strict=True)
    table["p_value"] = [scoring.random_at_least(*one, number) for one, number in reached]
    table["p_holm"] = holm(list(table["p_value"]))
    table["hits"] = hits.to_numpy()
    table["hit_rate"] = table["hits"] / table["complete"].where(table["complete"] > 0)
    bounds = [wilson(*counts) for counts in zip(table["hits"], table["complete"], strict=True)]
    table[["hit_low", "hit_high"]] = np.array(bounds, dtype=float).reshape(-1, 2)
    return table[RATIONALITY]


def mean_rationality(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of value rationality over the values, without goal prompting.

    The mean leaves out values without a complete trial, so that a model is not scored on a value that it
    refuses; the bounds include them.

    Parameters
    ----------
    table
        From `value_rationality`.

    Returns
    -------
    pandas.DataFrame
        model, mode, values (number with a complete trial), left_out (names of the others, separated by
        commas), complete (trials behind the mean), rationality and corrected (means over the values with
        complete trials), bound_low and bound_high (means over all values, missing choices at their worst and
        best).
    """
    rows = []
    for key, group in table[~table["goal"].astype(bool)].groupby(["model", "mode"]):
        known = group["rationality"].notna()
        names = ", ".join(group.loc[~known, "value"])
        means = group[["rationality", "corrected", "bound_low", "bound_high"]].mean()
        rows.append((*key, int(known.sum()), names, int(group["complete"].sum()), *means))
    columns = ["values", "left_out", "complete", "rationality", "corrected", "bound_low", "bound_high"]
    return pd.DataFrame(rows, columns=["model", "mode", *columns])


def _at_ends(group: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trials of one model, mode and kind of prompting under each of `_ENDS`, indexed by trial."""
    up, down = (group[group["value"] == end].set_index("trial") for end in _ENDS)
    return up, down


def changes(group: pd.DataFrame) -> pd.Series[float]:
    """Angle under the altruistic minus that under the competitive value, in degrees, by trial.

    Parameters
    ----------
    group
        From `trials`, for one model, mode and kind of prompting. Trials that lack either angle are left out.
    """
    up, down = _at_ends(group)
    return (up["angle"] - down["angle"]).dropna()


def steering_range(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Mean angle under the altruistic minus that under the competitive value; 77.65° for ideal answers.

    The interval resamples trials in pairs, because a trial has the same orders under both values.

    Returns
    -------
    pandas.DataFrame
        model, mode, goal, pairs (trials complete under both), range, low, high, ideal, bound_low,
        bound_high, in degrees.
    """
    rows = []
    for key, group in frame[frame["value"].isin(_ENDS)].groupby(["model", "mode", "goal"]):
        up, down = _at_ends(group)
        change = changes(group)
        lowest = (up["angle_low"] - down["angle_high"]).mean()
        highest = (up["angle_high"] - down["angle_low"]).mean()
        interval = _mean_interval(change, change.index.to_series().astype(str), seed)
        rows.append((*key, len(change), change.mean(), *interval, scoring.full_range(), lowest, highest))
    columns = ["pairs", "range", "low", "high", "ideal", "bound_low", "bound_high"]
    return pd.DataFrame(rows, columns=["model", "mode", "goal", *columns])


def goal_effect(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Effect of goal prompting, paired by value and trial.

    Returns
    -------
    pandas.DataFrame
        model, mode, value (and "all values", the assigned ones together), pairs, angle_change with low and
        high, closer (degrees closer to the value's target; NaN without a value) with closer_low and
        closer_high, p_value (Wilcoxon's signed-rank test of closer or, without a value, of the change; NaN if
        nothing differs) and p_holm.
    """
    targets = frame["value"].map(scoring.targets())
    known = frame.assign(off=(frame["angle"] - targets).abs())
    known = known.set_index(["model", "mode", "value", "trial"])
    with_goal, without = known[known["goal"]], known[~known["goal"]]
    pairs = pd.DataFrame(
        {"change": with_goal["angle"] - without["angle"], "closer": without["off"] - with_goal["off"]}
    )
    pairs = pairs.dropna(subset="change").reset_index()
    pooled = pairs[pairs["value"] != NO_VALUE].assign(value=ALL_VALUES)
    rows = []
    for key, group in pd.concat([pairs, pooled]).groupby(["model", "mode", "value"]):
        # Trials with the same number have the same orders and are resampled together.
        cluster = group["trial"].astype(str)
        measures = [
            (group[name].mean(), *_mean_interval(group[name], cluster, seed)) for name in ("change", "closer")
        ]
        tested = group["closer"] if group["closer"].notna().any() else group["change"]
        rows.append((*key, len(group), *measures[0], *measures[1], signed_ranks(tested)))
    columns = ["angle_change", "low", "high", "closer", "closer_low", "closer_high", "p_value"]
    table = pd.DataFrame(rows, columns=["model", "mode", "value", "pairs", *columns])
    return table.assign(p_holm=holm(list(table["p_value"])))


def position_bias(asked: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Test whether choices in controlled mode depend on the position of an option.

    Under the null, the options chosen in a condition's trials do not depend on which trial had which order.
    So orders are reassigned to trials at random, within condition and item, and the number of choices by
    position is compared with these assignments. A preference for options does not affect the test.

    Parameters
    ----------
    asked
        From `choices`.
    seed
        Seed of the assignments.

    Returns
    -------
    pandas.DataFrame
        model, choices, first_share with first_low and first_high (Wilson), first_expected (mean over all
        assignments), excess (total variation of the shares by position from the expected ones, 0 to 8/9),
        chi2 (over positions, against the expected counts), p_value (share of assignments with an equal or
        larger chi2; 1 for a model that always takes the same option) and p_holm.
    """
    given = asked[(asked["mode"] == CONTROLLED) & (asked["place"] >= 0)]
    rows = []
    for key, group in given.groupby(["model"]):
        counts = np.bincount(group["place"], minlength=N_OPTIONS)
        expected, drawn = _places_by_chance(group, seed)
        reached, n = _chi2(counts, expected), int(counts.sum())
        p_value = (1 + (_chi2(drawn, expected) >= reached - 1e-9).sum()) / (1 + len(drawn))
        excess = np.abs(counts - expected).sum() / (2 * n)
        first = (counts[0] / n, *wilson(int(counts[0]), n), expected[0] / n)
        rows.append((*key, n, *first, excess, reached, p_value))
    columns = ["choices", "first_share", "first_low", "first_high", "first_expected", "excess", "chi2"]
    table = pd.DataFrame(rows, columns=["model", *columns, "p_value"])
    return table.assign(p_holm=holm(list(table["p_value"])))


def _chi2(counts: npt.NDArray[Any], expected: Floats) -> Any:
    return ((counts - expected) ** 2 / np.where(expected > 0, expected, np.inf)).sum(axis=-1)


def _places_by_chance(group: pd.DataFrame, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Choices by position, expected and drawn, if orders are reassigned among the trials of a condition."""
    rng = np.random.default_rng(seed)
    expected = np.zeros(N_OPTIONS)
    drawn = np.zeros((PERMUTATIONS, N_OPTIONS), dtype=np.int64)
    rows = np.arange(PERMUTATIONS)[:, None] * N_OPTIONS
    for _, cell in group.groupby([*CONDITION, "item"]):
        options = cell["option"].to_numpy()
        # Position of each trial's option (columns) in each trial's order (rows).
        places = np.array([[shown.index(LETTERS[option]) for option in options] for shown in cell["shown"]])
        expected += np.bincount(places.ravel(), minlength=N_OPTIONS) / len(cell)
        assigned = rng.permuted(np.tile(np.arange(len(cell)), (PERMUTATIONS, 1)), axis=1)
        found = rows + places[assigned, np.arange(len(cell))]
        drawn += np.bincount(found.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return expected, drawn


def option_shares(asked: pd.DataFrame, by: Sequence[str] = CONDITION) -> pd.DataFrame:
    """Share of each option in each primary item: ``by``, item, option (a letter), choices, share."""
    given = asked[(asked["option"] >= 0) & (asked["item"] <= N_PRIMARY)]
    rows = []
    for key, group in given.groupby([*by, "item"]):
        counts = np.bincount(group["option"], minlength=N_OPTIONS)
        rows += [
            (*key, letter, int(counts.sum()), count / counts.sum())
            for letter, count in zip(LETTERS, counts, strict=True)
        ]
    return pd.DataFrame(rows, columns=[*by, "item", "option", "choices", "share"])
