"""The items that a card shows with their answers: the first of each study, the same for every respondent."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd

from deepvalues.ask import letters
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.record import Answer
from deepvalues.browser.options import marked
from deepvalues.card.gather import Asked, Part
from deepvalues.card.measures import CONVERSATION
from deepvalues.studies.dvb.analysis.verdicts import N
from deepvalues.studies.dvb.items.parsing import situations
from deepvalues.studies.dvb.respondents.agents import Recogniser
from deepvalues.studies.dvb.study import BENCHMARK
from deepvalues.studies.profiles.facts import MODE
from deepvalues.studies.profiles.study import PROFILES

#: How many a card shows, and the most characters of a reply.
SHOWN, LONGEST = 3, 160
#: The arms of Study 1 whose first tests take the places of studies without answers.
_PROBES = ("probe_value", "probe_surface")
#: The value under which a question of Study 2 is shown: its best division is an end of the options.
_VALUE = "altruistic"


def shown_items(asked: Asked) -> list[dict[str, Any]]:
    """The first test of Study 1, the first question of Study 2 and the first of Study 3, with their answers.

    Where a study is not answered in full, the first tests of the probes of Study 1 take its place, if there
    are any.
    """
    found = []
    values, social, priorities = (asked.complete(name) for name in ("values", "social", "priorities"))
    if values:
        found.append(_test(values, "deconfounded"))
    if social:
        found.append(_division(social))
    if priorities:
        found.append(_pair(priorities) if priorities.study == "profiles-pairs" else _form(priorities))
    if values:
        found += [_test(values, arm) for arm in _PROBES]
    return sorted(found[:SHOWN], key=lambda item: int(item["number"]))


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
    texts = {"A": posed.option_a, "B": posed.option_b}
    options = [{"letter": letter, "text": text} for letter, text in texts.items()]
    shown = {"kind": arm, "n": N, "liked": liked, "other": other, "context": posed.context}
    shown |= {"dimension": bank.dimensions[row["dimension"]].name, "options": options}
    return shown | {"right": row["right"]} | _answered(part, both["id"])


def _division(part: Part) -> dict[str, Any]:
    """The first question under the altruistic value."""
    items = part.items[part.items["value"] == _VALUE]
    for column in CONVERSATION.keys() & set(items):
        items = items[items[column] == CONVERSATION[column]]
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
    return {"kind": "pair", "themes": themes[::-1] if row["swapped"] else themes} | _answered(
        part, both["id"]
    )


def _form(part: Part) -> dict[str, Any]:
    """The first form of the mode that is reported."""
    first = part.items[part.items["mode"] == MODE].head(1)
    return {"kind": "form", "mode": MODE} | _answered(part, first["id"])


def _answered(part: Part, ids: pd.Series[str], turn: int = 0) -> dict[str, Any]:
    """What was sent first, and what came back, item by item."""
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
    """How an answer was read: status and choice, the choice's share of the letters, and the reply."""
    status, choice = part.questions.read(answer, conversation)
    by_letters = letters.is_kept(answer.logprobs)
    share = letters.shares(answer.logprobs).get(choice or "") if by_letters else None
    reply = textwrap.shorten(answer.refusal or answer.text or "", LONGEST, placeholder=" …")
    return {"status": status, "choice": choice, "share": share, "by_letters": by_letters, "reply": reply}
