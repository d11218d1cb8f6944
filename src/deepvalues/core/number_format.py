"""Formatting of numbers in the text, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any

MISSING = "–"
MINUS = "\u2212"
_SMALLEST_P = 0.001
#: Next to a published figure: additional decimals, and the maximum.
_MORE_DECIMALS, _MAX_DECIMALS = 2, 4


def settled(value: float) -> float:
    """Round to 12 significant digits, to drop the last bits, in which processors differ.

    All rounding of results starts with this. A mean such as 0.6125 may be computed as slightly more or less,
    and would otherwise be printed as .612 on one machine and .613 on another.
    """
    return float(f"{value:.12g}")


def number(value: float, digits: int = 3, *, bounded: bool = False) -> str:
    """Format a number with a fixed number of decimals.

    Parameters
    ----------
    value
        The number; NaN and infinities give a dash.
    digits
        Number of decimals.
    bounded
        Whether the quantity cannot exceed 1 in size (a share, a correlation): such numbers are written
        without a leading zero, as is usual in psychology (".302").
    """
    if not math.isfinite(value):
        return MISSING
    # Round half up in decimal, as readers do; in binary some halves would go down.
    size = Decimal(repr(abs(settled(value)))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    shown = f"{size:,f}"
    is_zero = not shown.strip("0.,")
    if bounded and shown.startswith("0."):
        shown = shown[1:]
    return (MINUS if value < 0 and not is_zero else "") + shown


def share(value: float) -> str:
    """Format a share, rate or correlation: ".302"."""
    return number(value, 3, bounded=True)


def logit(value: float) -> str:
    """Format a coefficient or effect size: "0.42"."""
    return number(value, 2)


def count(value: float) -> str:
    """Format a count with thousands separators: "3,600"."""
    return number(value, 0)


def interval(low: float, high: float, digits: int = 3, *, bounded: bool = True) -> str:
    """Format an interval: "[.287, .318]" (with a no-break space); a dash if a bound is missing."""
    ends = [number(end, digits, bounded=bounded) for end in (low, high)]
    return MISSING if MISSING in ends else f"[{ends[0]},\u00a0{ends[1]}]"


def plural(noun: str, number_of: float) -> str:
    """A noun's singular or plural for a number: "model", "models", "heads on hidden states"."""
    # All counted nouns take an s; `inflect` would add four packages, and makes "ly" of "lies".
    head, on, rest = noun.partition(" on ")
    return noun if number_of == 1 else f"{head}s{on}{rest}"


def listed(names: Sequence[str]) -> str:
    """Names as a list: "a", "a and b", "a, b and c"; "none" if empty."""
    *first, last = names or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def p_value(value: float) -> str:
    """Format a p-value for a table: ".012", or "<.001" if smaller."""
    return "<.001" if settled(value) < _SMALLEST_P else share(value)


def like(example: str) -> Callable[[Any], str]:
    """A function that formats numbers like an example.

    Parameters
    ----------
    example
        "0" for integers, "0.00" for two decimals, ".000" for a quantity that cannot exceed 1; or "p" for
        p-values, "g" for as many digits as needed, "text" for text.
    """
    words: dict[str, Callable[[Any], str]] = {"p": p_value, "g": "{:g}".format, "text": str}
    _, _, decimals = example.partition(".")
    return words.get(example) or partial(number, digits=len(decimals), bounded=example.startswith("."))


def coefficient(value: float) -> str:
    """Format a coefficient of agreement or reliability: ".77"."""
    return number(value, 2, bounded=True)


def equal_or_less(value: float) -> str:
    """Format a p-value to follow "p": "= .012", or "< .001"."""
    shown = p_value(value)
    return f"< {shown[1:]}" if shown.startswith("<") else f"= {shown}"


def beside(value: float, unit: float) -> str:
    """Format a number next to a published one, with two more decimals.

    Parameters
    ----------
    value
        The number; NaN gives a dash.
    unit
        The unit of the published number's last digit, such as 0.01 for two decimals.
    """
    if not math.isfinite(value):
        return MISSING
    decimals = max(0, round(-math.log10(unit))) + _MORE_DECIMALS
    if 0 < abs(value) < _SMALLEST_P / 2 and decimals > _MAX_DECIMALS:
        mantissa, _, exponent = f"{settled(value):.2g}".partition("e")
        return (f"{mantissa}e{int(exponent)}" if exponent else mantissa).replace("-", MINUS)
    is_count = unit >= 1 and float(value).is_integer()
    return number(value, 0 if is_count else min(decimals, _MAX_DECIMALS))
