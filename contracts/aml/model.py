"""The words of every AML rule: outcome, payment, decision (domain: the determinism contract).

Outcomes are exactly ALLOW < REPORT < HOLD < REJECT. A rule turns a payment into one `Finding`, which goes into the receipt
as it is; a decision is the strongest finding and all of them. Integers only, no clock, no text.
Not here: which rules exist (`rules`), at which height they hold (`rule_set`), how findings combine (`evaluate`).
"""

from enum import IntEnum
from typing import Final

from msgspec import Struct

from tallystick.network.proofs.receipts import Finding
from tallystick.network.wire.reasons import RejectReason


class RuleOutcome(IntEnum):
    """What one rule wants done with a payment. Stronger is larger."""

    ALLOW = 0
    REPORT = 1
    HOLD = 2
    REJECT = 3


# Plain integers for the hot path: comparing members of an IntEnum costs ten times as much.
ALLOW: Final = int(RuleOutcome.ALLOW)
HOLD: Final = int(RuleOutcome.HOLD)
REJECT: Final = int(RuleOutcome.REJECT)

MISSING_VERSION: Final = 0
"""`Finding.version` when no rule is set; real versions begin at 1."""


class Payment(Struct, frozen=True, gc=False):
    """What the rules may see of one payment. Amounts in minor units of its asset."""

    amount_minor: int
    sent_minor: int
    """What the debtor sent of this asset in the rolling 24 hours before, saturated."""


class Decision(Struct, frozen=True, gc=False):
    """All findings in rule order, and the reason of the strongest unless that one lets the payment pass."""

    findings: tuple[Finding, ...]
    reason: RejectReason | None
    """None: ALLOW or REPORT. HOLD gives a reason too, since liens do not exist yet."""
