"""Rules on a sum over time, this payment included (catalogue: R04 with a window of 24 hours).

R03 business day, R05 pair, R06 lifetime, R07 and R08 velocity, R10 aggregation, R29 and R30 belong here when they are built.
"""

from typing import Final

from msgspec import Struct

from tallystick.contracts.aml.model import ALLOW, HOLD, MISSING_VERSION, Payment
from tallystick.network.proofs.receipts import Finding
from tallystick.network.wire.bounds import AMOUNT_MINOR_MAX

R04: Final = 4


class RollingTotal(Struct, frozen=True, gc=False):
    """R04: within 24 hours, an account of this tier sends at most `limit_minor` of this asset."""

    version: int
    limit_minor: int


def rolling_total(rule: RollingTotal | None, payment: Payment) -> Finding:
    """HOLD above the limit, ALLOW at it, HOLD when none is set.

    Headroom is what may still leave: after this payment when it is allowed, instead of it when it is not. The comparison
    is exact; only the observed sum that is written down saturates. A sum that has saturated exceeds every limit.
    """
    before = payment.sent_minor
    observed = before + payment.amount_minor
    written = min(AMOUNT_MINOR_MAX, observed)
    if rule is None:
        return Finding(R04, MISSING_VERSION, HOLD, written, 0, 0)
    limit = rule.limit_minor
    if observed > limit:
        return Finding(
            R04, rule.version, HOLD, written, limit, limit - before if before < limit else 0
        )
    return Finding(R04, rule.version, ALLOW, observed, limit, limit - observed)
