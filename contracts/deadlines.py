"""The boundaries in time, all inclusive, all in block time, stated here and nowhere else (architecture section 5).

A transaction may be *ordered* only in a block with `time <= valid_until <= time + max_validity`. A payment that carries
`settle_by_ms` may be *settled* only in a block with `time <= settle_by`. Not here: whether a block's time is believable.
"""

from tallystick.network.wire.reasons import RejectReason

NO_SETTLE_BY = 0
"""The value of `settle_by_ms` that means: no such deadline."""


def ordering_fault(valid_until_ms: int, time_ms: int, max_validity_ms: int) -> RejectReason | None:
    """Why a transaction may not be ordered in a block of `time_ms`: PAST_DEADLINE, TOO_FAR_DEADLINE or None."""
    if valid_until_ms < time_ms:
        return RejectReason.PAST_DEADLINE
    if valid_until_ms > time_ms + max_validity_ms:
        return RejectReason.TOO_FAR_DEADLINE
    return None


def settle_by_passed(settle_by_ms: int, time_ms: int) -> bool:
    """True in every block later than `settle_by_ms`; never for a payment without that deadline."""
    return NO_SETTLE_BY != settle_by_ms < time_ms
