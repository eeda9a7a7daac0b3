"""Assets and their issue: supply grows only here, only by the issuer, never above the cap.

The cap is below 2**63, so no balance can overflow. No AML rule runs on an issue: the rules limit what a debtor sends, and
an issue has none. Not here: redeeming.
"""

from msgspec.structs import replace

from tallystick.contracts import decisions
from tallystick.contracts.authority import may_issue
from tallystick.contracts.decisions import Decision
from tallystick.contracts.state import Account, WorkingSet
from tallystick.network.wire.transactions import Issue


def issue(working: WorkingSet, transaction: Issue, issuer: Account) -> Decision:
    """Settled, UNKNOWN_ASSET, NOT_ISSUER, UNKNOWN_CREDITOR or SUPPLY_CAP, in this order."""
    code, amount_minor = transaction.asset, transaction.amount_minor
    asset = working.asset(code)
    if asset is None:
        return decisions.UNKNOWN_ASSET
    if not may_issue(issuer, asset):
        return decisions.NOT_ISSUER
    creditor = working.account(transaction.creditor)
    if creditor is None:
        return decisions.UNKNOWN_CREDITOR
    supply_minor = asset.supply_minor + amount_minor
    if supply_minor > asset.supply_cap_minor:
        return decisions.SUPPLY_CAP

    balances = working.change(transaction.creditor, creditor).balances
    balances[code] = balances.get(code, 0) + amount_minor
    working.assets[code] = replace(asset, supply_minor=supply_minor)
    working.issued[code] = working.issued.get(code, 0) + amount_minor
    return decisions.SETTLED
