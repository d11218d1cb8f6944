"""All that a card may say, as plain values for its template: ``paper/card/card.md``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deepvalues.ask.how_asked import how_asked
from deepvalues.ask.money import NO_USAGE, total
from deepvalues.ask.registry import Model
from deepvalues.card import measures
from deepvalues.card.gather import SECTIONS, Asked, Part
from deepvalues.card.shown_items import shown_items
from deepvalues.card.write import Card, file_name
from deepvalues.studies.dvb.analysis.several_sets import MODES

#: What makes a way of asking, by the columns of `how_asked`.
_WAY = ("mode", "parameters", "first", "last", "fingerprints")


def facts(asked: Asked) -> dict[str, Any]:
    """What a card says of a respondent.

    Returns
    -------
    dict
        model (`about`); values, social and priorities (from `measures`, None where the record does not answer
        all of the set); sections and lacking ; items
        (`shown_items`); asked (`how`) and cost (`cost`).
    """
    sections = {name: asking(asked.parts[name]) for name in SECTIONS}
    return {
        "model": about(asked.model),
        "values": measures.values(asked),
        "social": measures.social(asked),
        "priorities": measures.priorities(asked),
        "sections": sections,
        "beside": {name: asking(asked.parts[name]) for name in asked.parts.keys() - SECTIONS},
        "items": shown_items(asked),
        "asked": how(asked.begun()),
        "cost": cost(asked.model, asked.begun()),
    }


def card(asked: Asked) -> Card:
    """The card of a respondent."""
    return Card(
        file_name(asked.model.name),
        f"Report card: {asked.model.name}",
        _line(asked.model),
        "card",
        facts(asked),
    )


def _line(model: Model) -> str:
    """Who a respondent is, on a line."""
    size = "" if model.billions is None else f"{model.billions:g} billion parameters"
    developer = "" if model.developer == "unknown" else model.developer
    return ", ".join(each for each in (model.family, developer, size) if each)


def about(model: Model) -> dict[str, Any]:
    """Where a respondent answers."""
    return {
        "is_local": model.is_local,
        "endpoint": model.endpoint.kind,
        "served_as": model.served_as,
        "sha256": model.weights_sha256,
        "by_letters": model.letters is not None,
    }


def asking(part: Part) -> dict[str, Any]:
    """How much of a set the record answers, and the command that asks for the rest."""
    return {
        "study": part.study,
        "title": part.questions.study.title,
        "item_set": part.item_set,
        "begun": part.begun,
        "recorded": part.recorded,
        "items": part.questions.items,
        "command": part.command,
    }


def how(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """How a respondent was asked: each way once, with its studies; none for local models."""
    ways: dict[tuple[Any, ...], list[dict[Any, Any]]] = {}
    for row in how_asked(part.questions for part in parts).to_dict("records"):
        row |= {name: None for name, found in row.items() if _is_none(found)}
        ways.setdefault(tuple(row[name] for name in _WAY), []).append(row)
    titles = {part.study: part.questions.study.title for part in parts}
    return [
        dict(zip(_WAY, way, strict=True))
        | {"mode": MODES[way[0]], "replies": sum(row["replies"] for row in rows)}
        | {"names": [titles[row["study"]] for row in rows]}
        for way, rows in ways.items()
    ]


def _is_none(found: object) -> bool:
    return found is None or (isinstance(found, float) and math.isnan(found))


def cost(model: Model, parts: Sequence[Part]) -> dict[str, Any]:
    """Tokens of all replies on record that a card rests on, and what they cost at list price, if known."""
    used = total(part.questions.replayed() for part in parts) if parts else NO_USAGE
    replies = sum(len(part.questions.recorded_keys()) for part in parts)
    price = model.price
    return {
        "replies": replies,
        "input": used.input,
        "output": used.output,
        "dollars": used.cost(price) if price else None,
        "prices_of": price.date if price else None,
        "own_machine": model.is_local or model.weights is not None,
    }
