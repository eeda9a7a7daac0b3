"""Who may do what. Today: an account's keys and threshold, and what its participant's root account alone may do.

Roles, segregation of duties and rotation come with governance. Not here: whether a signature is genuine (admission).
"""

from typing import Final

from tallystick.contracts.state import Account, Asset
from tallystick.network.wire.transactions import Witness

ROOT_SERIAL: Final = 0
"""The serial of a participant's root account."""

ROOT_TIER: Final = 3
"""The participant itself has been through enhanced due diligence."""


def meets(account: Account, witnesses: tuple[Witness, ...]) -> bool:
    """True if exactly `threshold` different keys of the account signed. One more is as wrong as one less."""
    threshold = account.threshold
    if len(witnesses) != threshold:
        return False
    if threshold == 1:
        return witnesses[0].key in account.keys
    signers = {witness.key for witness in witnesses}
    return len(signers) == threshold and signers.issubset(account.keys)


def may_open_accounts(account: Account) -> bool:
    """Only the root account opens accounts, and only for its own participant."""
    return account.serial == ROOT_SERIAL


def may_issue(account: Account, asset: Asset) -> bool:
    """Only the root account of the asset's issuer issues it."""
    return account.serial == ROOT_SERIAL and account.participant == asset.issuer
