"""Bounds between the fields of one transaction, which its types alone cannot say.

Decided here: what bytes and nothing else decide. A transaction with a fault is refused before ordering with BAD_FIELD and
the sentence that `field_fault` gives. Not here: whether a key is a point of the curve (`keys.check_spend_key`), deadlines
(they need a block's time), anything that needs state.
"""

from itertools import pairwise

from tallystick.network.wire.transactions import OpenAccount, Transaction


def keys_fault(keys: tuple[bytes, ...], threshold: int) -> str | None:
    """What is wrong with an account's keys (33 bytes each) and threshold, None when they are good."""
    if any(left >= right for left, right in pairwise(keys)):
        return "keys must be sorted in ascending order, each key once"
    if threshold > len(keys):
        return f"threshold {threshold} exceeds the number of keys, {len(keys)}"
    return None


def field_fault(transaction: Transaction) -> str | None:
    """The first fault as a sentence for people, None when there is none."""
    if isinstance(transaction, OpenAccount):
        return keys_fault(transaction.keys, transaction.threshold)
    # For a struct made by hand: decoding has checked the whole pattern.
    return None if transaction.asset.isalnum() else "asset must be capital letters and digits"
