"""The measures on a card, computed with the functions and seeds of the notebooks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from deepvalues.ask.on_record import letter_probabilities
from deepvalues.card.gather import Asked, Part
from deepvalues.studies.dvb.analysis import orders, several_sets, verdicts
from deepvalues.studies.profiles.analysis import comparison, pair_profiles, responses
from deepvalues.studies.profiles.analysis.recovery import null_p, null_table
from deepvalues.studies.profiles.analysis.reference import label, respondents, synthetic_reference
from deepvalues.studies.profiles.facts import MODE
from deepvalues.studies.profiles.study import PROFILES
from deepvalues.studies.svo.analysis import letter_scoring, scoring, statistics
from deepvalues.studies.svo.facts import LITTLE, MOST

#: The seeds and numbers of draws of notebooks 6 and 7, so that a card's intervals match the paper.
SVO_SEED, PROFILES_SEED, PROFILES_DRAWS = 20230524, 12617, 2000


def triple(row: dict[Any, Any], name: str, null: float = math.nan) -> dict[str, float]:
    """A measure with its interval and its null, from columns ``name``, ``name_low`` and ``name_high``."""
    return {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"], "null": null}


# ---- study 1 ----


def pairs(part: Part) -> pd.DataFrame:
    """Both orders of each test, paired; see `orders.pairs`."""
    return orders.pairs(several_sets.trials(part.items, [part.questions]))


def values(asked: Asked) -> dict[str, Any] | None:
    """Results of Study 1: a row of `verdicts.verdicts`, and measures; None if it is not answered in full."""
    part, judged, free = asked.complete("values"), asked.complete("validation"), asked.complete("free")
    if part is None:
        return None
    own = pairs(part)
    judgements = several_sets.trials(judged.items, [judged.questions]) if judged else None
    untold = {} if judgements is None else several_sets.unrecognized_layers(judgements)
    replies = several_sets.trials(free.items, [free.questions]) if free else None
    (row,) = verdicts.verdicts(own, replies, untold).to_dict("records")
    verdict = next(each for each in verdicts.VERDICTS if each.id == row["verdict"])
    tests = own[own["arm"].isin(verdicts.TESTS) & (own["n_examples"] == verdicts.N)]
    chance = {name: triple(row, name, 0.5) for name in ("control", "probe_value", "probe_surface", "dvgr")}
    return {
        "row": row,
        "verdict": {"id": verdict.id, "name": verdict.name, "meaning": verdict.meaning},
        **chance,
        "order_consistency": triple(row, "order_consistency", row["by_place"]),
        "first_option_rate": row["first_option_rate"],
        "tests": len(tests),
        "in_both_orders": int(tests["agree"].notna().sum()),
        "cells": row["cells"],
        "n": verdicts.N,
        "judged": judged is not None,
        "untold": list(untold.get(asked.model.name, ())),
        "readable": triple(row, "readable") if free else None,
    }


# ---- study 2 ----


def social(asked: Asked) -> dict[str, Any] | None:
    """Results of Study 2: how far the assigned value moves the angle; None if it is not answered in full."""
    part = asked.complete("social")
    if part is None:
        return None
    found = _by_letters(part) if part.study == "svo-letters" else _in_conversations(part)
    return found | {"moves": moves(**found["steering"], full=found["full"])}


def letter_trials(part: Part) -> pd.DataFrame:
    """Trials of a respondent asked one question at a time; see `letter_scoring.trials`."""
    answers = letter_probabilities([part.questions], _letters(part))
    return letter_scoring.trials(part.items, answers)


def _letters(part: Part) -> tuple[str, ...]:
    choice = part.questions.study.letter_choice
    assert choice is not None
    return choice.letters


def _by_letters(part: Part) -> dict[str, Any]:
    trials = letter_trials(part)
    found = letter_scoring.by_model(trials, seed=SVO_SEED).to_dict("records")
    unknown = {"value": math.nan, "low": math.nan, "high": math.nan, "null": 0.0}
    return {
        "steering": triple(found[0], "steering", 0.0) if found else unknown,
        "full": scoring.full_range(),
        "alone": True,
        "answered": int(trials[letter_scoring.OPTIONS[0]].notna().sum()),
        "asked": len(trials),
    }


#: The mode from which a card reports steering, as for the published means.
CONVERSATION = {"mode": "controlled", "goal": False}


def conversation_trials(part: Part) -> pd.DataFrame:
    """Scored trials of a respondent asked in conversations; see `statistics.trials`."""
    return statistics.trials(statistics.choices(part.items, part.questions.answers()))


def of_mode(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in the mode `CONVERSATION`."""
    return frame[
        (frame["mode"] == CONVERSATION["mode"]) & (frame["goal"].astype(bool) == CONVERSATION["goal"])
    ]


def _in_conversations(part: Part) -> dict[str, Any]:
    trials = conversation_trials(part)
    (row,) = of_mode(statistics.steering_range(trials, seed=SVO_SEED)).to_dict("records")
    return {
        "steering": {"value": row["range"], "low": row["low"], "high": row["high"], "null": 0.0},
        "full": row["ideal"],
        "alone": False,
        "answered": int(trials["angle"].notna().sum()),
        "asked": len(trials),
    }


def moves(value: float, low: float, high: float, null: float, full: float) -> str:
    """One word for how a respondent follows the assigned value, as the templates expect it.

    Without an interval (nothing varies), the value itself is compared with the null.
    """
    if math.isnan(value):
        return "unknown"
    low, high = (value if math.isnan(end) else end for end in (low, high))
    if high < null:
        return "against"
    if not low > null:
        return "not"
    return "follows" if value > MOST * full else "hardly" if value < LITTLE * full else "partly"


# ---- study 3 ----


def priorities(asked: Asked) -> dict[str, Any] | None:
    """Results of Study 3: the profile, if there is one; None if the study is not answered in full."""
    part = asked.complete("priorities")
    if part is None:
        return None
    return _in_pairs(part) if part.study == "profiles-pairs" else _in_forms(part)


def theme_pairs(part: Part) -> pd.DataFrame:
    """Both orders of each pair of themes; see `pair_profiles.pairs`."""
    return pair_profiles.pairs(part.items, letter_probabilities([part.questions], _letters(part)))


def _in_pairs(part: Part) -> dict[str, Any]:
    stimuli = PROFILES.stimuli
    of_pairs = theme_pairs(part)
    (row,) = pair_profiles.by_model(of_pairs, stimuli.keys).to_dict("records")
    worths = pair_profiles.profiles(of_pairs, stimuli.keys).set_index("theme")["worth"]
    names = {theme.key: theme.name for theme in stimuli.themes}
    return {
        "row": row,
        "in_pairs": True,
        "answered": row["answered"],
        "asked": row["pairs"],
        "consistency": {"value": row["consistency"], "null": row["by_place"]},
        "excess": triple(row, "excess", 0.0),
        "claimed": bool(row["claimed"]),
        "order": [names[str(theme)] for theme in worths.sort_values(ascending=False).index],
    }


def _form_runs(part: Part) -> pd.DataFrame:
    return responses.runs(PROFILES.stimuli, part.items, part.questions.answers())


def form_profiles(part: Part) -> Any:
    """Priorities in the mode that a card reports, shape (runs, 6); empty if no run could be read."""
    themes = PROFILES.stimuli.keys
    found = responses.matrices(responses.responses(_form_runs(part), themes), themes)
    return found.get((MODE, part.questions.model.name), np.empty((0, len(themes))))


def reference_profiles() -> Any:
    """Priorities of the reference's respondents in that mode, shape (respondents, 6)."""
    themes = PROFILES.stimuli.keys
    return respondents(synthetic_reference(themes), MODE, themes)


def _in_forms(part: Part) -> dict[str, Any]:
    themes = PROFILES.stimuli.keys
    runs = _form_runs(part)
    given, reference = responses.responses(runs, themes), synthetic_reference(themes)
    table = comparison.fidelity_table(given, reference, themes, PROFILES_DRAWS, PROFILES_SEED)
    of_mode = runs[runs["mode"] == MODE]
    found = {
        "in_pairs": False,
        "mode": MODE,
        "reference": label(reference),
        "answered": int((of_mode["status"] == "answered").sum()),
        "asked": len(of_mode),
    }
    if MODE not in set(table["mode"]):
        return found
    table["p_null"] = null_p(table, reference, themes, PROFILES_SEED)
    (row,) = table[table["mode"] == MODE].to_dict("records")
    ceiling = comparison.human_ceiling(reference, themes, PROFILES_DRAWS, PROFILES_SEED)
    null = null_table(reference, ceiling, themes, int(row["runs"]), PROFILES_SEED)
    to_exceed = float(null.set_index("mode")["to_exceed"][MODE])
    return found | {"fidelity": triple(row, "fidelity", to_exceed), "p": row["p_null"]}
