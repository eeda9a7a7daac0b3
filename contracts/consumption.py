"""Exactly once: every ordered transaction is consumed, and the window of its deadline commits to that (architecture 5).

An authorised transaction takes its (account, id) for its digest. One that is not (unknown account, wrong keys) or comes too
late (id taken) is consumed by its body id alone, so nobody can burn another's digest or id. A window's running hash covers
each of its transactions in order: H(running ‖ account ‖ id ‖ digest ‖ body id ‖ flag …), flag 1 where the id was taken.
"""

from collections.abc import Mapping, Sequence

from tallystick.contracts import decisions
from tallystick.contracts.decisions import Decision
from tallystick.contracts.state import (
    CONSUMED_WINDOW,
    BlockInput,
    ConsumedWindow,
    StateReader,
    own,
    window_key,
)
from tallystick.network.wire.digest import ZERO, Tag

_WINDOW = Tag(b"tallystick/window")

_TOOK_ID = b"\x01"
_BODY_ONLY = b"\x00"

_PIECES = 5
"""Byte strings that one transaction adds to its window: account 20, id 32, digest 32, body id 32, flag 1."""

_BODY_ONLY_REASONS = frozenset(
    (decisions.UNKNOWN_ACCOUNT.reason, decisions.WRONG_KEYS.reason, decisions.ID_TAKEN.reason)
)
"""The outcomes that come before an id can be taken."""


def consume(
    block: BlockInput, made: Sequence[Decision]
) -> tuple[dict[int, list[bytes]], list[bytes]]:
    """What each window gets (window number → pieces in the order of the block), and the bodies consumed alone."""
    window_ms = block.parameters.window_ms
    consumed: dict[int, list[bytes]] = {}
    refused: list[bytes] = []
    for checked, decision in zip(block.transactions, made, strict=True):
        transaction, flag = checked.transaction, _TOOK_ID
        if decision.reason in _BODY_ONLY_REASONS:
            flag = _BODY_ONLY
            refused.append(checked.body_id)
        window = transaction.valid_until_ms // window_ms
        pieces = consumed.get(window)
        if pieces is None:
            pieces = consumed[window] = []
        pieces += (transaction.account, transaction.id, checked.digest, checked.body_id, flag)
    return consumed, refused


def window_records(
    state: StateReader, window_ms: int, consumed: Mapping[int, Sequence[bytes]]
) -> dict[bytes, bytes]:
    """The new record of every window that this block consumed something in.

    `consumed`: number of the window (deadline // window_ms) → its pieces in the order of the block.
    """
    records = {}
    for number, pieces in consumed.items():
        key = window_key(number * window_ms)
        before = own(CONSUMED_WINDOW, state.record(key)) or ConsumedWindow(0, ZERO)
        running = _WINDOW.hash(before.running + b"".join(pieces))
        records[key] = CONSUMED_WINDOW.encode(
            ConsumedWindow(before.count + len(pieces) // _PIECES, running)
        )
    return records
