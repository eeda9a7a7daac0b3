"""What a contract decides of one transaction: status, reason, findings, the account that was opened.

Every decision that carries no data is one prepared object. Not here: its encoding as a leaf (`machine`).
"""

from typing import Final

from msgspec import Struct

from tallystick.network.proofs.receipts import Finding, Status
from tallystick.network.wire.reasons import RejectReason

_SETTLED: Final = int(Status.SETTLED)
_REJECTED: Final = int(Status.REJECTED)


class Decision(Struct, frozen=True, gc=False):
    """One final outcome. Numbers are plain integers, ready to be encoded."""

    status: int
    reason: int
    """Number of the `RejectReason`; 0 when settled."""
    findings: tuple[Finding, ...] = ()
    opened: bytes = b""


def settled(findings: tuple[Finding, ...] = (), opened: bytes = b"") -> Decision:
    return Decision(_SETTLED, 0, findings, opened)


def rejected(reason: RejectReason, findings: tuple[Finding, ...] = ()) -> Decision:
    return Decision(_REJECTED, reason.number, findings)


SETTLED: Final = settled()
EXPIRED: Final = Decision(int(Status.EXPIRED), RejectReason.SETTLE_BY_PASSED.number)
UNKNOWN_ACCOUNT: Final = rejected(RejectReason.UNKNOWN_ACCOUNT)
WRONG_KEYS: Final = rejected(RejectReason.WRONG_KEYS)
ID_TAKEN: Final = rejected(RejectReason.ID_TAKEN)
UNKNOWN_CREDITOR: Final = rejected(RejectReason.UNKNOWN_CREDITOR)
UNKNOWN_ASSET: Final = rejected(RejectReason.UNKNOWN_ASSET)
NOT_ISSUER: Final = rejected(RejectReason.NOT_ISSUER)
SUPPLY_CAP: Final = rejected(RejectReason.SUPPLY_CAP)
NOT_PERMITTED: Final = rejected(RejectReason.NOT_PERMITTED)
SAME_ACCOUNT: Final = rejected(RejectReason.SAME_ACCOUNT)
UNKNOWN_MEMBER: Final = rejected(RejectReason.UNKNOWN_MEMBER)
UNKNOWN_SPARE: Final = rejected(RejectReason.UNKNOWN_SPARE)
MEMBER_ID_USED: Final = rejected(RejectReason.MEMBER_ID_USED)
MEMBER_KEY_USED: Final = rejected(RejectReason.MEMBER_KEY_USED)
MEMBER_COUNT: Final = rejected(RejectReason.MEMBER_COUNT)
EPOCH_CLOSING: Final = rejected(RejectReason.EPOCH_CLOSING)
UNKNOWN_PARTICIPANT: Final = rejected(RejectReason.UNKNOWN_PARTICIPANT)
TOO_MANY_SPARES: Final = rejected(RejectReason.TOO_MANY_SPARES)
BAD_VOTE_KEY: Final = rejected(RejectReason.BAD_VOTE_KEY)
TOO_MANY_EPOCHS: Final = rejected(RejectReason.TOO_MANY_EPOCHS)
