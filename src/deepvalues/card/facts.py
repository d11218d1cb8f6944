"""The contents of a card, and of a comparison, as values for the templates in ``paper/card/``."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from deepvalues.ask import letters
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.money import total
from deepvalues.ask.record import Answer
from deepvalues.ask.record_counts import how_asked
from deepvalues.ask.registry import Model
from deepvalues.browser.collect import marked
from deepvalues.card import measures
from deepvalues.card.gather import SECTIONS, Asked, Part
from deepvalues.stats import clusters
from deepvalues.stats.bootstrap import bootstrapped_mean
from deepvalues.studies.dvb.analysis import verdicts
from deepvalues.studies.dvb.analysis.several_sets import MODES
from deepvalues.studies.dvb.analysis.verdicts import N
from deepvalues.studies.dvb.items.prompts import situations
from deepvalues.studies.dvb.respondents.agents import Recogniser
from deepvalues.studies.dvb.study import BENCHMARK
from deepvalues.studies.profiles.analysis.comparison import fidelity_difference
from deepvalues.studies.profiles.facts import MODE
from deepvalues.studies.profiles.study import PROFILES
from deepvalues.studies.svo.analysis import letter_scoring, statistics

#: Columns of `how_asked` that together identify a way of asking.
_WAY = ("mode", "parameters", "first", "last", "fingerprints")
#: Number of items on a card, and maximum characters of a reply.
_SHOWN, _LONGEST = 3, 160
#: Arms of Study 1 whose first tests stand in for studies without answers.
_PROBES = ("probe_value", "probe_surface")
#: The value of the question shown from Study 2; its best division is the first or last option.
_VALUE = "altruistic"


def facts(asked: Asked) -> dict[str, Any]:
    """The facts on the card of a respondent.

    Returns
    -------
    dict
        model (its endpoint); values, social and priorities (from `measures`; None if a set is incomplete);
        sections (how much of each set is answered, and the command for the rest); example
        items with answers; asked (each way of asking, once); cost (see `cost`).
    """
    model = asked.model
    return {
        "model": {
            "is_local": model.is_local,
            "endpoint": model.endpoint.kind,
            "served_as": model.served_as,
            "sha256": model.weights_sha256,
            "by_letters": model.letters is not None,
        },
        "values": measures.values(asked),
        "social": measures.social(asked),
        "priorities": measures.priorities(asked),
        "sections": _sections(asked),
        "items": _example_items(asked),
        "asked": _how(asked.begun()),
        "cost": cost(model, asked.begun()),
    }


def _sections(asked: Asked) -> dict[str, dict[str, Any]]:
    """How much of each set is answered, and the command that asks for the rest."""
    return {
        name: {
            "study": part.study,
            "title": part.questions.study.title,
            "begun": part.begun,
            "recorded": part.recorded,
            "items": part.questions.items,
            "command": part.command,
        }
        for name, part in asked.parts.items()
    }


def _how(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Each way in which a respondent was asked, with its studies; none for local models."""
    table = how_asked(part.questions for part in parts)
    titles = {part.study: part.questions.study.title for part in parts}
    ways: dict[tuple[Any, ...], list[dict[Any, Any]]] = {}
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        ways.setdefault(tuple(row[name] for name in _WAY), []).append(row)
    return [
        dict(zip(_WAY, way, strict=True))
        | {"mode": MODES[way[0]], "replies": sum(row["replies"] for row in rows)}
        | {"names": [titles[row["study"]] for row in rows]}
        for way, rows in ways.items()
    ]


def cost(model: Model, parts: Sequence[Part]) -> dict[str, Any]:
    """Tokens of the recorded replies behind a card, and their cost at list price, if known."""
    used, price = total(part.questions.replayed() for part in parts), model.price
    return {
        "replies": sum(len(part.questions.recorded_keys()) for part in parts),
        "input": used.input,
        "output": used.output,
        "dollars": used.cost(price) if price else None,
        "prices_of": price.date if price else None,
        "own_machine": model.is_local or model.weights is not None,
    }


# ---- items ----


def _example_items(asked: Asked) -> list[dict[str, Any]]:
    """The first test of Study 1 and the first questions of Studies 2 and 3, with their answers.

    The first tests of the probes of Study 1, if any, replace a study that is not answered in full.
    """
    values, social, priorities = (asked.complete(name) for name in SECTIONS)
    found = [_test(values, "deconfounded")] if values else []
    if social:
        found.append(_division(social))
    if priorities:
        found.append(_pair(priorities) if priorities.study == "profiles-pairs" else _form(priorities))
    probes = [_test(values, arm) for arm in _PROBES[: _SHOWN - len(found)]] if values else []
    return sorted(found + probes, key=lambda item: int(item["number"]))


def _test(part: Part, arm: str) -> dict[str, Any]:
    """The first test of an arm, in both orders."""
    items, bank = part.items, BENCHMARK.bank
    both = items[(items["arm"] == arm) & (items["n_examples"] == N)].head(2)
    row = both.iloc[0].to_dict()
    posed = situations(row["prompt"][row["prefix_chars"] :])[-1]
    liked, other = (
        {"value": bank.values[row[v]].name, "pole": bank.poles[row[s]].name}
        for v, s in (("v1", "s1"), ("v2", "s2"))
    )
    shown = {"kind": arm, "n": N, "liked": liked, "other": other, "context": posed.context}
    shown |= {"options": {"A": posed.option_a, "B": posed.option_b}, "right": row["right"]}
    dimension = bank.dimensions[row["dimension"]].name
    return shown | {"dimension": dimension} | _answered(part, both["id"])


def _division(part: Part) -> dict[str, Any]:
    """The first question under the altruistic value."""
    items = part.items[part.items["value"] == _VALUE]
    for column in measures.CONVERSATION.keys() & set(items):
        items = items[items[column] == measures.CONVERSATION[column]]
    row = items.head(1)
    (turns,) = marked(row, Recogniser(BENCHMARK.bank))
    turn, options = next((turn, options) for turn, options in enumerate(turns) if options)
    divisions = {option.label: option.marks[0].name for option in options}
    best = next(option.label for option in options if option.is_target)
    shown = {"kind": "division", "value": _VALUE, "divisions": divisions, "best": best}
    return shown | _answered(part, row["id"], turn)


def _pair(part: Part) -> dict[str, Any]:
    """The first pair of themes, in both orders."""
    both, names = part.items.head(2), {theme.key: theme.name for theme in PROFILES.stimuli.themes}
    row = both.iloc[0]
    themes = [names[row[name]] for name in ("first", "second")]
    shown = {"kind": "pair", "themes": themes[::-1] if row["swapped"] else themes}
    return shown | _answered(part, both["id"])


def _form(part: Part) -> dict[str, Any]:
    """The first form of the mode that is reported."""
    first = part.items[part.items["mode"] == MODE].head(1)
    return {"kind": "form", "mode": MODE} | _answered(part, first["id"])


def _answered(part: Part, ids: pd.Series[str], turn: int = 0) -> dict[str, Any]:
    """The messages of the first item, and the first answer to each item."""
    wanted = list(ids)
    answers: dict[str, dict[str, Any]] = {}
    sent: dict[str, list[dict[str, str]]] = {}
    for conversation, _, found in part.questions.recorded():
        item = conversation.item
        if item in wanted and item not in answers and len(found) > turn:
            answers[item] = _answer(part, conversation, found[turn])
            sent[item] = conversation.messages([answer.text or "" for answer in found[:turn]])
    return {
        "number": part.questions.study.number,
        "ids": wanted,
        "answers": [answers[item] for item in wanted],
        "sent": sent[wanted[0]],
    }


def _answer(part: Part, conversation: Conversation, answer: Answer) -> dict[str, Any]:
    """An answer: its status and choice, the choice's share of the letter mass, and the reply."""
    status, choice = part.questions.read(answer, conversation)
    by_letters = letters.is_kept(answer.logprobs)
    share = letters.shares(answer.logprobs).get(choice or "") if by_letters else None
    reply = textwrap.shorten(answer.refusal or answer.text or "", _LONGEST, placeholder=" …")
    return {"status": status, "choice": choice, "share": share, "by_letters": by_letters, "reply": reply}


# ---- differences between two respondents, on the items that both answered ----

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
