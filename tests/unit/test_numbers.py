"""Numbers as readers see them: as many digits as they deserve, and no more."""

import math

import pytest

from globals_heads.numbers import difference, factor, level, listed, number

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2831, "0.28"), (253.9, "254"), (1.44e-5, "1.4e-5"), (12.3, "12"), (0.0, "0.0"), (NAN, "")],
)
def test_numbers_have_two_digits(value, text):
    assert number(value) == text


def test_a_number_may_have_more_digits():
    assert number(0.28314, digits=3) == "0.283"
    assert number(1.4449e-5, digits=3) == "1.44e-5"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.2831, 0.2612, 0.3049), "0.283 (0.261 to 0.305)"),
        ((-0.2831, -0.4, -0.1), "−0.28 (−0.40 to −0.10)"),
        ((1.444e-5, 1.3e-5, 1.6e-5), "1.44e−5 (1.30e−5 to 1.60e−5)"),
        ((-1.9e-5, -2.6e-4, 2.2e-4), "−0.00002 (−0.00026 to 0.00022)"),
        ((0.0, 0.0, 0.0), "0.0 (0.0 to 0.0)"),
        ((0.2831, NAN, NAN), "0.28"),
    ],
)
def test_an_interval_decides_about_the_digits(numbers, text):
    assert level(*numbers) == text


def test_differences_have_a_sign_and_factors_a_cross():
    assert difference(0.5, 0.4, 0.6) == "+0.50 (0.40 to 0.60)"
    assert factor(math.log(2.0), math.log(1.5), math.log(2.5)) == "× 2.00 (1.50 to 2.50)"
    assert factor(NAN) == difference(NAN) == ""


def test_lists_read_as_sentences():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
