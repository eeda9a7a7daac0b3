"""Amounts between the text that people write and the integer minor units that everything else uses. No float, ever.

Decided here: the one accepted spelling of an amount, and that sums saturate. Not here: whether an amount may be paid.
"""

from typing import Final

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason

_DIGITS: Final = frozenset("0123456789")


def parse_amount(text: str, exponent: int, minimum_minor: int = 1) -> int:
    """Minor units of a decimal text such as "1250.75", or `Refused(BAD_FIELD)` with a sentence that says what is wrong.

    `exponent` is the asset's number of decimals (0 … 6). Accepted: digits, then optionally a point and 1 … `exponent`
    digits. Refused: signs, exponents, spaces, separators, leading zeros, digits of other scripts, more decimals than the
    asset has (never rounded), less than `minimum_minor`, more than AMOUNT_MINOR_MAX.
    """
    if len(text) > bounds.AMOUNT_TEXT_LENGTH_MAX:
        raise Refused(RejectReason.BAD_FIELD, "the amount is too long", length=len(text))
    whole, point, fraction = text.partition(".")
    if not whole or not _DIGITS.issuperset(whole + fraction) or (point and not fraction):
        raise Refused(RejectReason.BAD_FIELD, f"{text!r} is not an amount such as 1250.75")
    if len(whole) > 1 and whole[0] == "0":
        raise Refused(RejectReason.BAD_FIELD, f"{text!r} has leading zeros")
    if len(fraction) > exponent:
        raise Refused(RejectReason.BAD_FIELD, f"{text!r} has more than {exponent} decimals")
    minor = int(whole + fraction.ljust(exponent, "0"))
    if minor < minimum_minor:
        raise Refused(
            RejectReason.BAD_FIELD, f"{text!r} is below {format_amount(minimum_minor, exponent)}"
        )
    if minor > bounds.AMOUNT_MINOR_MAX:
        raise Refused(RejectReason.BAD_FIELD, f"{text!r} is above the largest amount")
    return minor


def format_amount(minor: int, exponent: int) -> str:
    """The text of an amount, always with all of the asset's decimals: `parse_amount` gives the same integer back."""
    digits = str(abs(minor)).rjust(exponent + 1, "0")
    sign = "-" if minor < 0 else ""
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}" if exponent else sign + digits


def saturating_sum(left_minor: int, right_minor: int) -> int:
    """The sum of two amounts, at most AMOUNT_MINOR_MAX."""
    return min(left_minor + right_minor, bounds.AMOUNT_MINOR_MAX)
