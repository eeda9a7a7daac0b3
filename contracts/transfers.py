"""The payment of one account to another. The hot path: about 2,000 of these in a block.

Order of the checks: time, names, AML, funds. Time first, since an expired payment is expired whatever else is wrong.
AML before funds, since what the rules found belongs into the receipt of every payment they can be asked about, and since
an unfunded payment will one day wait in a queue, which no payment may enter without an AML decision.
"""

from tallystick.contracts import decisions
from tallystick.contracts.aml.evaluate import evaluate
from tallystick.contracts.aml.model import Payment
from tallystick.contracts.aml.rule_set import NO_LIMITS
from tallystick.contracts.aml.windows import Window
from tallystick.contracts.deadlines import settle_by_passed
from tallystick.contracts.decisions import Decision, rejected, settled
from tallystick.contracts.state import Account, WorkingSet
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transfer


def transfer(working: WorkingSet, transaction: Transfer, debtor: Account) -> Decision:
    """Settled, EXPIRED, or rejected with the first reason in the order above. Findings are present whenever AML ran."""
    if settle_by_passed(transaction.settle_by_ms, working.time_ms):
        return decisions.EXPIRED
    code, amount_minor = transaction.asset, transaction.amount_minor
    if working.asset(code) is None:
        return decisions.UNKNOWN_ASSET
    if transaction.creditor == transaction.account:
        return decisions.SAME_ACCOUNT
    creditor = working.account(transaction.creditor)
    if creditor is None:
        return decisions.UNKNOWN_CREDITOR

    hour = working.hour
    window = debtor.sent.get(code)
    sent_minor = 0 if window is None else window.sent_minor(hour)
    aml = evaluate(
        working.rules.get((code, debtor.tier), NO_LIMITS), Payment(amount_minor, sent_minor)
    )
    if aml.reason is not None:
        return rejected(aml.reason, aml.findings)
    if debtor.balances.get(code, 0) < amount_minor:
        return rejected(RejectReason.INSUFFICIENT_FUNDS, aml.findings)

    payer = working.change(transaction.account, debtor)
    payer.balances[code] -= amount_minor
    payer.sent[code] = (
        Window(hour, amount_minor, 0) if window is None else window.with_payment(hour, amount_minor)
    )
    received = working.change(transaction.creditor, creditor).balances
    received[code] = received.get(code, 0) + amount_minor
    return settled(aml.findings)
