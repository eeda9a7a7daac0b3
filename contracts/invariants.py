"""What must be true of every block, computed from the block's own writes and never from the code that made them.

Stays on in production: an `InvariantError` halts the node before it signs. Costs less than a microsecond per changed account.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tallystick.contracts.state import Account, BlockResult
from tallystick.network.proofs.windows import ENTRY_BYTES
from tallystick.network.wire.faults import broken, invariant

_NOTHING: Final[dict[str, int]] = {}


def check_supply(
    versions: Iterable[tuple[Account | None, Account]], issued: Mapping[str, int]
) -> None:
    """No balance is negative or forgotten, and per asset the changes of balances sum up to what was issued.

    `versions`: each changed account before (None: it did not exist) and after the block.
    """
    drift = {code: -amount for code, amount in issued.items()}
    for before, after in versions:
        held = _NOTHING if before is None else before.balances
        kept = 0
        for code, amount in after.balances.items():
            if amount < 0:
                broken("a balance is negative", **_name(after), asset=code, amount=amount)
            if code in held:
                kept += 1
                amount -= held[code]
            drift[code] = drift.get(code, 0) + amount
        if kept != len(held):
            broken("a balance was forgotten", **_name(after))
    for code, amount in drift.items():
        if amount:
            broken("supply is not conserved", asset=code, drift=amount)


def _name(account: Account) -> dict[str, object]:
    """Which account, for the diagnosis: never its seed, which would unblind its leaf."""
    return {"participant": account.participant, "serial": account.serial}


def check_consumed_once(result: BlockResult, transactions: int) -> None:
    """Every transaction has one outcome, and is consumed in exactly one of the two ways."""
    invariant(
        len(result.outcomes) == len(result.decisions) == transactions,
        "a transaction has no outcome or two",
        outcomes=len(result.outcomes),
        transactions=transactions,
    )
    invariant(
        len(result.taken) + len(result.refused) == transactions,
        "a transaction was consumed twice or not at all",
        taken=len(result.taken),
        refused=len(result.refused),
        transactions=transactions,
    )
    entries = sum(map(len, result.consumed.values()))
    invariant(
        entries == ENTRY_BYTES * transactions,
        "a transaction left no entry in its window, or two",
        bytes=entries,
        transactions=transactions,
    )
