"""All rules run, the strongest outcome wins, every finding is kept (domain: the determinism contract).

Between equals the first in rule order names the reason. Where liens are not built yet, HOLD gives a rejection.
"""

from tallystick.contracts.aml.model import HOLD, MISSING_VERSION, Decision, Payment
from tallystick.contracts.aml.rule_set import Limits
from tallystick.contracts.aml.rules.amounts import R01, payment_cap
from tallystick.contracts.aml.rules.totals import R04, rolling_total
from tallystick.network.proofs.receipts import Finding
from tallystick.network.wire.reasons import RejectReason

_REASONS = {R01: RejectReason.CAP_PER_PAYMENT, R04: RejectReason.ROLLING_TOTAL}


def evaluate(limits: Limits, payment: Payment) -> Decision:
    """What the rules in force for this asset and tier say of one payment."""
    cap, total = payment_cap(limits.cap, payment), rolling_total(limits.rolling, payment)
    strongest = total if total.outcome > cap.outcome else cap
    return Decision((cap, total), None if strongest.outcome < HOLD else _reason(strongest))


def _reason(finding: Finding) -> RejectReason:
    if finding.version == MISSING_VERSION:
        return RejectReason.MISSING_RULE
    return _REASONS[finding.rule]
