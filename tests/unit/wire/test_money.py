"""Amounts as text: one spelling, exact, never rounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.money import format_amount, parse_amount, saturating_sum
from tallystick.network.wire.reasons import RejectReason


@given(st.integers(1, bounds.AMOUNT_MINOR_MAX), st.integers(0, bounds.ASSET_EXPONENT_MAX))
def test_what_is_formatted_is_parsed_back(minor: int, exponent: int) -> None:
    assert parse_amount(format_amount(minor, exponent), exponent) == minor


@pytest.mark.parametrize(
    ("text", "exponent", "minor"),
    [
        ("1250.75", 2, 125_075),
        ("1250.7", 2, 125_070),
        ("1250", 2, 125_000),
        ("0.01", 2, 1),
        ("7", 0, 7),
        ("0.000001", 6, 1),
        ("92233720368547758.07", 2, bounds.AMOUNT_MINOR_MAX),
        ("9223372036854775807", 0, bounds.AMOUNT_MINOR_MAX),
        ("9223372036854.775807", 6, bounds.AMOUNT_MINOR_MAX),
    ],
)
def test_amounts_that_are_taken(text: str, exponent: int, minor: int) -> None:
    assert parse_amount(text, exponent) == minor


@pytest.mark.parametrize(
    ("text", "exponent"),
    [
        ("", 2),
        (".", 2),
        (".5", 2),
        ("5.", 2),
        ("1.2.3", 2),
        ("1.005", 2),
        ("1.000", 2),
        ("1.0", 0),
        ("-1", 2),
        ("+1", 2),
        ("1e3", 2),
        ("1E3", 2),
        ("1,000", 2),
        ("1_000", 2),
        (" 1", 2),
        ("1 ", 2),
        ("1\n", 2),
        ("0x10", 2),
        ("007", 2),
        ("00.5", 2),
        ("١٢", 2),
        ("²", 2),
        ("NaN", 2),
        ("Infinity", 2),
        ("0", 2),
        ("0.00", 2),
        ("92233720368547758.08", 2),
        ("9223372036854775808", 0),
        ("1" * (bounds.AMOUNT_TEXT_LENGTH_MAX + 1), 0),
        ("9" * bounds.AMOUNT_TEXT_LENGTH_MAX, 0),
    ],
)
def test_amounts_that_are_refused(text: str, exponent: int) -> None:
    with pytest.raises(Refused) as caught:
        parse_amount(text, exponent)
    assert caught.value.reason is RejectReason.BAD_FIELD


@given(st.text(max_size=40), st.integers(0, bounds.ASSET_EXPONENT_MAX))
def test_any_text_is_an_amount_or_is_refused(text: str, exponent: int) -> None:
    try:
        minor = parse_amount(text, exponent)
    except Refused:
        return
    assert 1 <= minor <= bounds.AMOUNT_MINOR_MAX


def test_zero_is_taken_only_where_it_is_asked_for() -> None:
    assert parse_amount("0", 2, minimum_minor=0) == 0
    with pytest.raises(Refused, match=r"below 0\.05"):
        parse_amount("0.04", 2, minimum_minor=5)


def test_amounts_are_shown_with_all_their_decimals() -> None:
    assert format_amount(0, 2) == "0.00"
    assert format_amount(5, 2) == "0.05"
    assert format_amount(-5, 2) == "-0.05"
    assert format_amount(-1_234, 0) == "-1234"
    assert format_amount(1_000_000, 6) == "1.000000"


def test_sums_saturate() -> None:
    assert saturating_sum(1, 2) == 3
    assert saturating_sum(bounds.AMOUNT_MINOR_MAX, 0) == bounds.AMOUNT_MINOR_MAX
    assert saturating_sum(bounds.AMOUNT_MINOR_MAX, 1) == bounds.AMOUNT_MINOR_MAX
    assert (
        saturating_sum(bounds.AMOUNT_MINOR_MAX, bounds.AMOUNT_MINOR_MAX) == bounds.AMOUNT_MINOR_MAX
    )
