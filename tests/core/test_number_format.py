"""Number formats."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.core import number_format


@pytest.mark.parametrize(
    ("value", "digits", "bounded", "text"),
    [
        (0.30239, 3, False, "0.302"),
        (0.30239, 3, True, ".302"),
        (-0.5, 2, True, "−.50"),
        (-1.25, 1, False, "−1.3"),
        (0.0625, 3, True, ".063"),
        (0.0615, 3, True, ".062"),
        (1e22, 0, False, "10,000,000,000,000,000,000,000"),
        (1, 3, True, "1.000"),
        (0, 3, True, ".000"),
        (-0.0004, 3, True, ".000"),
        (-0.0004, 3, False, "0.000"),
        (-0.0006, 3, False, "−0.001"),
        (31668, 0, False, "31,668"),
        (-1234567.891, 2, False, "−1,234,567.89"),
        (0.2, 0, False, "0"),
        (math.nan, 3, False, "–"),
        (math.inf, 3, True, "–"),
    ],
)
def test_number(value, digits, bounded, text):
    assert number_format.number(value, digits, bounded=bounded) == text


@given(st.integers(-(10**6), 10**6), st.integers(-4, 4))
def test_last_bits_do_not_matter(thousandths, bits):
    """A number with a 5 after the last printed digit is printed the same whatever its last bits."""
    value = near = thousandths / 1000 + 0.0005
    for _ in range(abs(bits)):
        near = math.nextafter(near, bits * math.inf)
    assert number_format.settled(value) == number_format.settled(near)
    assert number_format.number(value) == number_format.number(near)
    assert abs(number_format.settled(value) - value) <= 1e-11 * abs(value)


def test_kinds_of_numbers():
    assert number_format.share(31668 / 104725) == ".302"
    assert number_format.share(1) == "1.000"
    assert number_format.logit(-0.969) == "−0.97"
    assert number_format.count(104725) == "104,725"


def test_nouns_and_lists():
    assert [number_format.plural("model", n) for n in (0, 1, 2)] == ["models", "model", "models"]
    assert [number_format.listed(list("abc")[:n]) for n in range(4)] == ["none", "a", "a and b", "a, b and c"]


def test_interval():
    assert number_format.interval(0.2996, 0.3052) == "[.300,\u00a0.305]"
    assert number_format.interval(-0.8, 1.6, 2, bounded=False) == "[−0.80,\u00a01.60]"
    assert (
        number_format.interval(math.nan, 0.3)
        == number_format.interval(0.3, math.nan)
        == number_format.MISSING
    )


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.00099, "<.001"),
        (0.001, ".001"),
        (0.0123, ".012"),
        (1, "1.000"),
        (0, "<.001"),
        (math.nan, "–"),
    ],
)
def test_p_value(p, text):
    assert number_format.p_value(p) == text


@pytest.mark.parametrize(("p", "text"), [(0.0124, "= .012"), (1.0, "= 1.000"), (1e-9, "< .001")])
def test_p_value_after_its_letter(p, text):
    assert number_format.equal_or_less(p) == text


@pytest.mark.parametrize(("value", "text"), [(0.773, ".77"), (-0.5, "−.50"), (1.0, "1.00")])
def test_coefficient(value, text):
    assert number_format.coefficient(value) == text


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_a_written_number_reads_back_to_half_a_unit_of_its_last_digit(value, digits):
    written = number_format.number(value, digits)
    read = float(written.replace(",", "").replace("−", "-"))
    # First rounded to twelve digits.
    assert abs(read - value) <= 0.5 * 10**-digits + 5e-12 * abs(value) + 1e-15
    assert not written.startswith("-")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.364966, 0.01, "0.3650"),
        (104725.0, 1, "104,725"),
        (104724.96, 1, "104,724.96"),
        (-0.0386, 0.1, "−0.039"),
        (73.7513, 1, "73.75"),
        (0.302392, 0.0001, "0.3024"),
        (5.96584e-23, 1e-23, "6e−23"),
        (2.33529e-05, 1e-06, "2.3e−5"),
        (0.000356595, 0.0001, "0.00036"),
        (0.0464776, 0.001, "0.0465"),
        (4.6e-99, 0.001, "4.6e−99"),
        (0.00001, 0.01, "0.0000"),
        (0.0, 0.0001, "0.0000"),
        (1.0, 0.01, "1.0000"),
        (math.nan, 0.01, "–"),
    ],
)
def test_a_number_beside_a_published_one(value, unit, text):
    assert number_format.beside(value, unit) == text
