"""Holding what people write to the types of a dataclass; a message says which key is wrong, and how."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import fields
from datetime import date
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

Kind = TypeVar("Kind")
#: Of a dataclass that is read from a file: a key that it does not have is an error.
STRICT = ConfigDict(extra="forbid")
#: A text that YAML reads as one: 4711 and 2025-05-01 are none unless they are in quotes.
Text = Annotated[str, Strict(), Field(min_length=1)]
#: A number that is not negative; "2.0" in quotes is none.
Amount = Annotated[float, Strict(), Field(ge=0)]
#: A whole number from 1 on.
Whole = Annotated[int, Strict(), Field(ge=1)]


def checked(kind: type[Kind], given: object, context: object = None) -> Kind:
    """What was written as a dataclass.

    Parameters
    ----------
    kind
        The dataclass, with `STRICT` as its ``__pydantic_config__``.
    given
        Its keys and values.
    context
        What its validators are told.

    Raises
    ------
    ValueError
        When a key is unknown or missing, or a value is of another type; the message names the key.
    """
    try:
        return cast(Kind, _adapter(cast(Any, kind)).validate_python(given, context=context))
    except ValidationError as error:
        details = error.errors()[0]
        raise ValueError(_told(kind, details)) from None


def like(pattern: str, wanted: str) -> AfterValidator:
    """A validator of texts that have to be of some form, which a message tells in words."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {wanted}, not {text!r:.80}")
        return text

    return AfterValidator(check)


def near(name: str, known: Collection[str]) -> str:
    """The known name that a misspelt one is likely to mean; empty where there is none."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.8)), "")


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _told(kind: type, details: ErrorDetails) -> str:
    *above, last = details["loc"] or ("its entry",)
    place = ".".join(map(str, [*above, last]))
    if details["type"] == "unexpected_keyword_argument":
        meant = near(str(last), [each.name for each in fields(kind)])
        return f"the key {place} is unknown" + (f"; did you mean {meant}?" if meant else "")
    if details["type"] == "missing":
        return f"the key {place} is missing"
    if details["type"] == "value_error":
        return f"{place} {details['ctx']['error']}"
    given = details["input"]
    return f"{place} {_wanted(details)}, not {str(given) if isinstance(given, date) else repr(given):.60}"


def _wanted(details: ErrorDetails) -> str:
    given, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "string_type" if isinstance(given, (int, float, date)):
            return "must be a text: put it in quotes"
        case "float_type" | "int_type" if isinstance(given, str):
            return "must be a number, without quotes"
        case "mapping_type" | "dict_type" | "dataclass_type":
            return "must be keys with values"
        case "literal_error":
            return f"must be {context['expected']}"
    return (
        details["msg"]
        .replace("Input should", "must")
        .replace("must be greater than or equal to", "must be at least")
    )
