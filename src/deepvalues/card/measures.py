"""The recorded answers behind a card, for any respondent, and the measures on it."""

from __future__ import annotations

import math
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from deepvalues.ask import catalogue, on_record
from deepvalues.ask.on_record import letter_probabilities
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Record
from deepvalues.ask.registry import Model
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis import orders, several_sets, verdicts
from deepvalues.studies.profiles.analysis import comparison, pair_profiles, responses
from deepvalues.studies.profiles.analysis.recovery import null_p, null_table
from deepvalues.studies.profiles.analysis.reference import label, respondents, synthetic_reference
from deepvalues.studies.profiles.facts import MODE
from deepvalues.studies.profiles.study import PROFILES
from deepvalues.studies.svo.analysis import letter_scoring, scoring, statistics
from deepvalues.studies.svo.facts import LITTLE, MOST

#: The sets for each section. The first set answered is used. Respondents asked by letters are asked the first
#: set, others the last.
SECTIONS = {
    "values": (("dvb", "n4-50"),),
    "social": (("svo-letters", "standard"), ("svo", "standard")),
    "priorities": (("profiles-pairs", "standard"), ("profiles", "standard")),
}
#: Sets that supplement Study 1 but are not sections of their own.
BESIDE = {"validation": ("dvb-validation", "standard"), "free": ("dvb-free", "standard")}
#: The sets of each study that contain everything a card needs.
ENOUGH = {
    "dvb": ("n4-50", "n4-100", "n4-200", "n4", "standard"),
    **{study: (name,) for found in SECTIONS.values() for study, name in found if study != "dvb"},
}


class Part(NamedTuple):
    """The answers of a respondent to one set.

    ``recorded`` counts the items answered to the last turn, ``begun`` says whether there is any answer, and
    ``command`` asks for the rest.
    """

    questions: Questions
    item_set: str
    items: pd.DataFrame
    recorded: int
    begun: bool
    command: str

    @property
    def study(self) -> str:
        """The study's name."""
        return self.questions.study.name

    @property
    def is_complete(self) -> bool:
        """Whether the whole set is answered; figures use only complete sets."""
        return self.begun and self.recorded == self.questions.items


class Asked(NamedTuple):
    """A respondent, and its parts by the names in `SECTIONS` and `BESIDE`."""

    model: Model
    parts: dict[str, Part]

    def complete(self, name: str) -> Part | None:
        """The part, if it is answered in full, else None."""
        part = self.parts[name]
        return part if part.is_complete else None

    @property
    def has_section(self) -> bool:
        """Whether any section is answered in full."""
        return len(self.lacking()) < len(SECTIONS)

    def begun(self) -> list[Part]:
        """The parts with any recorded answer."""
        return [part for part in self.parts.values() if part.begun]

    def lacking(self) -> list[Part]:
        """The sections that are not answered in full."""
        return [self.parts[name] for name in SECTIONS if not self.parts[name].is_complete]


def card_command(model: Model, record_folder: Path) -> str:
    """The command that writes a respondent's card, with the options that the user gave."""
    return shlex.join(["deepvalues", "card", model.name, *on_record.given_options(model, record_folder)])


def gather(model: Model, record_folder: Path = paths.RESPONSES) -> Asked:
    """Collect the recorded answers of a respondent.

    Raises
    ------
    UserError
        When no section is answered in full; lists what is missing and the commands that ask for it.
    """
    asked = gathered(model, record_folder)
    if asked.has_section:
        return asked
    begun = [part for part in asked.lacking() if part.begun]
    where = paths.shown(record_folder)
    first = f"{model.name}: {where} holds no answers for a card; this command asks for them:"
    if begun:
        first = f"{model.name}: no study is answered in full in {where}; these commands ask for the rest:"
    raise UserError("\n".join([first, *(f"  {_missing(part)}" for part in begun or asked.lacking()[:1])]))


def _missing(part: Part) -> str:
    if not part.begun:
        return part.command
    return f"{part.study}: {part.recorded:,} of {part.questions.items:,} items are answered; {part.command}"


def gathered(model: Model, record_folder: Path = paths.RESPONSES) -> Asked:
    """Collect the recorded answers of a respondent, even if there are none."""
    parts = {}
    for name, sets in SECTIONS.items():
        # Respondents asked in words are asked the last set.
        found = [_part(model, *each, record_folder) for each in (sets if model.letters else sets[::-1])]
        parts[name] = next((part for part in found if part.is_complete), None) or next(
            (part for part in found if part.begun), found[0]
        )
    parts |= {name: _part(model, *each, record_folder) for name, each in BESIDE.items()}
    return Asked(model, parts)


def _part(model: Model, name: str, item_set: str, record_folder: Path) -> Part:
    study, record = catalogue.study(name), Record(record_path(record_folder, name, model.name))
    # Items are not needed without answers.
    items = _items(name, item_set) if record.answers else pd.DataFrame(columns=["id"])
    conversations = study.conversations(items) if record.answers else ()
    questions = Questions(study, conversations, model, record)
    return Part(
        questions,
        item_set,
        items,
        recorded=questions.items - questions.missing(),
        begun=bool(questions.recorded_keys()),
        command=on_record.command_line("query", name, model, record_folder, item_set),
    )


def _items(study: str, item_set: str) -> pd.DataFrame:
    """The items as written by notebook 1, which is faster; rebuilt if they are missing or out of date."""
    if paths.items_file(study, item_set).is_file():
        with suppress(UserError):
            return catalogue.read_items(study, item_set)
    return catalogue.study(study).items(item_set)


# ---- measures, with the functions and seeds of the notebooks ----

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
