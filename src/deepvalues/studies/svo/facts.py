"""Facts behind the sentences of study 2 in ``paper/sentences/svo.md``, and numbers in the text.

A fact function returns the arguments of the macro of its name; a `keep_…` function stores numbers by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from deepvalues.core import number_format
from deepvalues.paper.sentences import spread
from deepvalues.studies.svo.analysis import published, scoring
from deepvalues.studies.svo.stimuli import N_PRIMARY

if TYPE_CHECKING:
    from deepvalues.paper.results import Results

#: A Holm-corrected p-value below this counts as a difference.
SIGNIFICANCE = 0.05
#: Shares of the distance between the extreme targets: a model that moves by more than the first follows the
#: value, one that moves by less than the second hardly moves.
MOST, LITTLE = 0.75, 0.25
#: A model hardly moves if its interval lies within this many degrees of 0.
HARDLY = 1.0

# ---- facts ----


def instrument(check: pd.DataFrame) -> dict[str, Any]:
    """Number of conditions in which the reference agents do what their rules imply.

    Parameters
    ----------
    check
        From `analysis.instrument.instrument`.
    """
    agrees, refused = check["agrees"].astype(bool), check["expected"].isna()
    return {
        "implied": int((~refused).sum()),
        "agreeing": int((agrees & ~refused).sum()),
        "others": list(check.loc[~agrees, "model"].unique()),
    }


def rationality_left_out(means: pd.DataFrame) -> dict[str, Any]:
    """Values that the means of value rationality leave out, and the worst-case means with them.

    Parameters
    ----------
    means
        From `analysis.statistics.mean_rationality`.
    """
    gaps = means[means["left_out"] != ""]
    written = (
        gaps[name].map(lambda mean: number_format.number(mean, 1)) for name in ("rationality", "bound_low")
    )
    models = [
        {
            "model": part["model"].iloc[0],
            "modes": list(part["mode"]),
            "left_out": part["left_out"].iloc[0].split(", "),
            "mean": part["rationality"].iloc[0],
            "worst": part["bound_low"].iloc[0],
        }
        for _, part in gaps.groupby(["model", "left_out", *written], sort=False)
    ]
    return {"models": models}


def anova_left_out(anova: pd.DataFrame, left_out: pd.DataFrame) -> dict[str, Any]:
    """Models that the analysis of variance leaves out, and why.

    Parameters
    ----------
    anova
        From `analysis.comparisons.anova`.
    left_out
        From `analysis.comparisons.left_out`.
    """
    models = {model: rows.to_dict("records") for model, rows in left_out.groupby("model", sort=False)}
    return {"analysed": bool(anova["f"].notna().any()), "models": models}


def position(position: pd.DataFrame) -> dict[str, Any]:
    """Models with a position bias.

    Parameters
    ----------
    position
        From `analysis.statistics.position_bias`.
    """
    biased = list(position.loc[position["p_holm"] < SIGNIFICANCE, "model"])
    return {"testable": position.empty or bool(position["p_holm"].notna().any()), "biased": biased}


# ---- numbers ----


def keep_goal(results: Results, effects: pd.DataFrame) -> None:
    """Count the testable comparisons with goal prompting, and those with a significant difference.

    Parameters
    ----------
    effects
        From `analysis.statistics.goal_effect`.
    """
    results.count("goal.compared", effects["p_holm"].notna().sum())
    results.count("goal.changed", (effects["p_holm"] < SIGNIFICANCE).sum())


def keep_first_place(results: Results) -> None:
    """Score of always taking the first option in printed order: ``first_place.angle``, ``.category``."""
    angle = scoring.angles(np.zeros((1, N_PRIMARY), dtype=int))
    results.decimals("first_place.angle", float(angle[0]), 1)
    results.text("first_place.category", scoring.categories(angle).iloc[0])


def keep_people(results: Results, norms: pd.DataFrame) -> None:
    """Describe the human sample: ``people.n``, ``people.mean`` (degrees) and ``people.prosocial`` (a share).

    Parameters
    ----------
    norms
        ``data/published/svo_human_norms.csv``; the group "all" is used.
    """
    (everyone,) = norms[norms["group"] == "all"].to_dict("records")
    results.count("people.n", everyone["n"])
    results.decimals("people.mean", everyone["mean"], 1)
    results.share("people.prosocial", everyone["prosocial_pct"] / 100)


def keep_published(results: Results, by_value: pd.DataFrame, blind: pd.DataFrame) -> None:
    """Keep each value's published mean, and how far giving values lie above taking ones, beside the null.

    Parameters
    ----------
    by_value
        From `analysis.published.by_value`.
    blind
        From `analysis.published.blind`, at the mean angle of people.
    """
    corrected = by_value.set_index("value")["corrected"]
    for value, mean in corrected.items():
        results.decimals(f"published.{value}.corrected", mean)
    giving = published.lean(corrected.to_frame().T, published.GIVING, published.TAKING).iloc[0]
    null = blind["corrected_giving"].iloc[0]
    results.decimals("published.giving", giving)
    results.decimals("blind.giving", null)
    results.claim("giving_within_blind", giving <= null)


def keep_lean(results: Results, contrasts: pd.DataFrame) -> None:
    """Keep whether the published models lean to neutral values, and whether that survives the correction.

    Parameters
    ----------
    contrasts
        From `analysis.published.neutral_lean`.
    """
    neutral = contrasts[contrasts["contrast"] == "neutral minus extreme"]
    rows = {row["scale"]: row for row in neutral.to_dict("records")}
    for scale, digits in (("raw", 1), ("above_chance", 1), ("corrected", 2)):
        row = rows[scale]
        results.decimals(f"lean.{scale}", row["lean"], digits)
        results.interval(f"lean.{scale}_interval", row["low"], row["high"], digits, bounded=False)
        reading = {"reading": (row["read_low"], row["read_high"]), "digits": digits}
        results.sentence(f"text.lean_{scale}", reading, "lean")
    verdicts = {scale: rows[scale]["verdict"] for scale in ("raw", "corrected")}
    results.sentence("text.survives", verdicts)


def keep_blind(
    results: Results, blind: pd.DataFrame, implied: pd.DataFrame, lean: Mapping[str, float]
) -> None:
    """Keep the scores of the null, and how far the published models move with the assigned value.

    Parameters
    ----------
    blind
        From `analysis.published.blind`, at the mean angle of people.
    implied
        From `analysis.published.implied`.
    lean
        The row of `analysis.published.neutral_lean` on the raw lean to neutral values.
    """
    (null,) = blind.to_dict("records")
    results.decimals("blind.lean", null["lean"], 1)
    results.decimals("blind.corrected", null["corrected_lean"])
    results.claim("lean_below_blind", lean["high"] < null["lean"])
    results.claim("reading_reaches_blind", lean["read_high"] >= null["lean"])
    for value, angle in scoring.targets().items():
        results.decimals(f"target.{value}", angle, 1)
    with_goal = implied[implied["goal"]].sort_values("range", ascending=False)
    *following, third = with_goal.head(3).to_dict("records")
    without_goal = implied[~implied["goal"]].set_index("model")["range"]
    for row in following:
        key = f"steering.{row['model'].lower().replace('-', '_')}"
        results.decimals(key, row["range"], 0)
        results.decimals(f"{key}_without", without_goal[row["model"]], 0)
    errors = with_goal["range_high"] - with_goal["range"], with_goal["range"] - with_goal["range_low"]
    results.decimals("steering.reading", float(pd.concat(errors).max()), 0)
    others = with_goal.iloc[len(following) :]
    results.decimals("lean.following", with_goal.head(len(following))["lean"].mean(), 1)
    results.decimals("lean.others", others["lean"].mean(), 1)
    results.decimals("steering.others_least", others["range"].min(), 0)
    results.decimals("steering.others_most", third["range"], 0)
    results.decimals("steering.full", scoring.full_range(), 2)
    results.decimals("blind.error", others["blind_error"].mean(), 1)
    six = implied["model"].isin(others["model"])
    results.decimals("blind.error_without", implied.loc[six & ~implied["goal"], "blind_error"].mean(), 1)
    # Both scores may be misread.
    most = published.most_at_one_angle() + 2 * published.READING_ERROR
    exceeding = int((others["neutral"] > most).sum())
    results.count("blind.exceeding", exceeding)
    results.claim("beyond_one_angle", exceeding > 0)
    followers = [row["blind_error"] for row in following]
    results.decimals("blind.error_least", min(followers), 0)
    results.decimals("blind.error_most", max(followers), 0)
    angles = others[["altruistic", "competitive"]].to_numpy()
    results.decimals("steering.others_low", angles.min(), 0)
    results.decimals("steering.others_high", angles.max(), 0)
    unleaning = [row["range_share"] > MOST and row["lean_low"] <= 0 <= row["lean_high"] for row in following]
    least = implied.groupby("model")["lean_low"].min()
    results.text("lean.beyond", number_format.listed(sorted(least.index[least > null["lean"]])))
    results.claim("two_follow", all(unleaning))
    results.claim("others_hardly_move", third["range_share"] < LITTLE)


def letters(by_model: pd.DataFrame, families: Mapping[str, str]) -> dict[str, Any]:
    """How far language models move with the assigned value when they choose by letter probability.

    Only models that answered under both extreme values count. ``placed``: how many of them the place of an
    option moves more than its content.

    Parameters
    ----------
    by_model
        From `analysis.letter_scoring.by_model`.
    families
        Family of each model.
    """
    own = by_model[by_model["model"].map(families) == "language model"].dropna(subset="steering")
    # Without an interval, as where all orders agree, the estimate itself decides.
    ends = own.reindex(columns=["steering", "steering_low", "steering_high"]).abs().max(axis="columns")
    return {
        "models": len(own),
        "steering": spread(own, "steering", written=lambda angle: number_format.number(angle, 1)),
        "likeliest": spread(own, "likeliest_steering", written=lambda angle: number_format.number(angle, 1)),
        "hardly": bool((ends < HARDLY).all()),
        "placed": int((own["place"] > own["content"]).sum()),
        "full": scoring.full_range(),
    }
