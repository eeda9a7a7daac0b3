"""Bounds between the fields of one transaction, which its types alone cannot say.

Decided here: what bytes and nothing else decide. A transaction with a fault is refused before ordering with BAD_FIELD and
the sentence that `field_fault` gives. Not here: whether a key is a point of the curve (`keys.check_spend_key`), deadlines
(they need a block's time), anything that needs state.
"""

from itertools import pairwise

from tallystick.network.wire import bounds
from tallystick.network.wire.transactions import (
    ChangeMembers,
    Issue,
    OpenAccount,
    Transaction,
    Transfer,
)


def keys_fault(keys: tuple[bytes, ...], threshold: int) -> str | None:
    """What is wrong with an account's keys (33 bytes each) and threshold, None when they are good."""
    if any(left >= right for left, right in pairwise(keys)):
        return "keys must be sorted in ascending order, each key once"
    if threshold > len(keys):
        return f"threshold {threshold} exceeds the number of keys, {len(keys)}"
    return None


def members_fault(change: ChangeMembers) -> str | None:
    """What is wrong with a change of members as such, None when it is a change."""
    joining, spares = [entry.id for entry in change.joining], [each.id for each in change.spares]
    if not (change.leaving or joining or spares):
        return "nobody leaves or joins, and no spare is approved"
    for ids in (change.leaving, joining, spares):
        if any(left >= right for left, right in pairwise(ids)):
            return "ids must ascend, each once"
    if len({*change.leaving, *joining, *spares}) < len(change.leaving) + len(joining) + len(spares):
        return "an id stands in two lists"
    for entry in change.joining:
        if not entry.name.isprintable() or entry.name != entry.name.strip():
            return f"the name of member {entry.id} has characters that do not show"
    if max([*joining, *spares], default=0) > bounds.MEMBER_ID_MAX:
        return f"a member's id is at most {bounds.MEMBER_ID_MAX}"
    return None


def field_fault(transaction: Transaction) -> str | None:
    """The first fault as a sentence for people, None when there is none."""
    if isinstance(transaction, Transfer | Issue):
        # For a struct made by hand: decoding has checked the whole pattern.
        return None if transaction.asset.isalnum() else "asset must be capital letters and digits"
    if isinstance(transaction, OpenAccount):
        return keys_fault(transaction.keys, transaction.threshold)
    # A vote key's point is looked at by the contract, once authority is shown: here anybody could buy 5 ms with 8 kB.
    return members_fault(transaction) if isinstance(transaction, ChangeMembers) else None
