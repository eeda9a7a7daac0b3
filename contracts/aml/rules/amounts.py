"""Rules on this payment's amount alone (catalogue: R01).

R02 four eyes, R15 dormancy, R16 new beneficiary and R25 off hours belong here when they are built.
"""

from typing import Final

from msgspec import Struct

from tallystick.contracts.aml.model import ALLOW, HOLD, MISSING_VERSION, REJECT, Payment
from tallystick.network.proofs.receipts import Finding

R01: Final = 1


class PaymentCap(Struct, frozen=True, gc=False):
    """R01: one payment of this asset from an account of this tier is at most `limit_minor`."""

    version: int
    limit_minor: int


def payment_cap(rule: PaymentCap | None, payment: Payment) -> Finding:
    """REJECT above the cap, ALLOW at it, HOLD when no cap is set. Headroom is the distance from amount to cap."""
    amount = payment.amount_minor
    if rule is None:
        return Finding(R01, MISSING_VERSION, HOLD, amount, 0, 0)
    limit = rule.limit_minor
    if amount > limit:
        return Finding(R01, rule.version, REJECT, amount, limit, 0)
    return Finding(R01, rule.version, ALLOW, amount, limit, limit - amount)
