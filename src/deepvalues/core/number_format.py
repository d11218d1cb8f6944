"""How numbers are written, in the text, in tables and in figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any

MISSING = "–"
MINUS = "\u2212"
_SMALLEST_P = 0.001
#: Decimals beyond the printed ones, and the most of all, beside a printed figure.
_MORE_DECIMALS, _MOST_DECIMALS = 2, 4


def settled(value: float) -> float:
    """A number without the last bits, in which processors differ: rounded to 12 significant digits.

    Whatever rounds a result goes through this first. A mean such as 0.6125 comes out a bit above or below
    itself, and without this would be written as .612 on one machine and as .613 on another.
    """
    return float(f"{value:.12g}")


def number(value: float, digits: int = 3, *, bounded: bool = False) -> str:
    """A number with a fixed count of decimals.

    Parameters
    ----------
    value
        The number; NaN and infinities give a dash.
    digits
        Decimals shown.
    bounded
        Whether the quantity cannot exceed 1 in size (a share, a correlation): such numbers are
        written without a zero before the point, as is usual in psychology (".302").
    """
    if not math.isfinite(value):
        return MISSING
    # Halves go up, as readers round them: binary fractions would send some up and some down.
    size = Decimal(repr(abs(settled(value)))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    shown = f"{size:,f}"
    is_zero = not shown.strip("0.,")
    if bounded and shown.startswith("0."):
        shown = shown[1:]
    return (MINUS if value < 0 and not is_zero else "") + shown


def share(value: float) -> str:
    """A share, rate or correlation: ".302"."""
    return number(value, 3, bounded=True)


def logit(value: float) -> str:
    """A coefficient or an effect size: "0.42"."""
    return number(value, 2)


def count(value: float) -> str:
    """A count with commas between thousands: "3,600"."""
    return number(value, 0)


def interval(low: float, high: float, digits: int = 3, *, bounded: bool = True) -> str:
    """An interval, "[.287, .318]" (with a no-break space); a dash where an end is missing."""
    ends = [number(end, digits, bounded=bounded) for end in (low, high)]
    return MISSING if MISSING in ends else f"[{ends[0]},\u00a0{ends[1]}]"


def plural(noun: str, number_of: float) -> str:
    """A noun by a number of what it names: "model" for one, else "models"; "heads on hidden states"."""
    # All that the project counts takes an s; `inflect` would add four packages, and makes "ly" of "lies".
    named, on, rest = noun.partition(" on ")
    return noun if number_of == 1 else f"{named}s{on}{rest}"


def listed(names: Sequence[str]) -> str:
    """Names in a row: "a", "a and b", "a, b and c"; "none" without any."""
    *first, last = names or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def p_value(value: float) -> str:
    """A p-value as a table shows it: ".012", or "<.001" where it is smaller than that."""
    return "<.001" if settled(value) < _SMALLEST_P else share(value)


def like(example: str) -> Callable[[Any], str]:
    """What writes numbers as in an example.

    Parameters
    ----------
    example
        "0" for whole numbers, "0.00" for so many decimals, ".000" for a quantity that cannot exceed 1; or
        "p" for p-values, "g" for as many digits as it takes, "text" for what is a text already.
    """
    words: dict[str, Callable[[Any], str]] = {"p": p_value, "g": "{:g}".format, "text": str}
    _, _, decimals = example.partition(".")
    return words.get(example) or partial(number, digits=len(decimals), bounded=example.startswith("."))


def coefficient(value: float) -> str:
    """A coefficient of agreement or reliability: ".77"."""
    return number(value, 2, bounded=True)


def equal_or_less(value: float) -> str:
    """A p-value after its letter: "= .012", or "< .001"."""
    shown = p_value(value)
    return f"< {shown[1:]}" if shown.startswith("<") else f"= {shown}"


def beside(value: float, unit: float) -> str:
    """A figure as it stands beside a printed one, with two more digits than that has.

    Parameters
    ----------
    value
        The figure; NaN gives a dash.
    unit
        Of the printed figure's last digit: 0.01 where it has two decimals.
    """
    if not math.isfinite(value):
        return MISSING
    decimals = max(0, round(-math.log10(unit))) + _MORE_DECIMALS
    if 0 < abs(value) < _SMALLEST_P / 2 and decimals > _MOST_DECIMALS:
        mantissa, _, exponent = f"{settled(value):.2g}".partition("e")
        return (f"{mantissa}e{int(exponent)}" if exponent else mantissa).replace("-", MINUS)
    is_count = unit >= 1 and float(value).is_integer()
    return number(value, 0 if is_count else min(decimals, _MOST_DECIMALS))
