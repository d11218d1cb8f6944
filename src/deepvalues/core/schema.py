"""Validation of user-written data against dataclasses, with messages that name the wrong key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from datetime import date
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

Kind = TypeVar("Kind")
#: For dataclasses that are read from files: unknown keys are errors.
STRICT = ConfigDict(extra="forbid")
#: Text; YAML reads 4711 and 2025-05-01 as text only if they are quoted.
Text = Annotated[str, Strict(), Field(min_length=1)]
#: A non-negative number, not quoted.
Amount = Annotated[float, Strict(), Field(ge=0)]
#: A positive integer.
Whole = Annotated[int, Strict(), Field(ge=1)]


def checked(kind: type[Kind], given: object, name: str = "", context: object = None) -> Kind:
    """Build a dataclass, or a mapping of them, from user-written data.

    Parameters
    ----------
    kind
        The dataclass, with `STRICT` as its ``__pydantic_config__``.
    given
        Its keys and values.
    name
        The beginning of the error message.
    context
        Passed to its validators.

    Raises
    ------
    ValueError
        When a key is unknown or missing, or a value is invalid; the message names the key.
    """
    try:
        return cast(Kind, _adapter(cast(Any, kind)).validate_python(given, context=context))
    except ValidationError as error:
        message = _message(kind, error.errors()[0])
        raise ValueError(f"{name}: {message}" if name else message) from None


def like(pattern: str, description: str) -> AfterValidator:
    """A validator of text by a pattern, whose error message uses the description."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {description}, not {text!r:.80}")
        return text

    return AfterValidator(check)


def near(name: str, known: Collection[str]) -> str:
    """The known name most similar to a misspelt one; "" if none is similar."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.8)), "")


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _message(kind: type, details: ErrorDetails) -> str:
    place, given = ".".join(map(str, details["loc"])), details["input"]
    match details["type"]:
        case "missing":
            return f"the key {place} is missing"
        case "unexpected_keyword_argument":
            known = [each.name for each in fields(kind)] if is_dataclass(kind) else []
            meant = near(place, known)
            return f"the key {place} is unknown" + (f"; did you mean {meant}?" if meant else "")
        case "value_error":
            return f"{place} {details['ctx']['error']}"
        case "dataclass_type" | "dict_type" | "mapping_type":
            rule = "must be a mapping"
        case "string_type" if isinstance(given, (int, float, date)):
            rule = "must be text: put it in quotes"
        case _:
            rule = details["msg"].replace("Input should", "must")
    return f"{place or 'it'} {rule}, not {given!r:.60}"
