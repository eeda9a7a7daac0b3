"""Executed blocks that are not final yet: each hangs on its parent by its link, and is dropped when another path wins.

Here: what one executed block is, and the state that a chain of them gives over the certified one. Not here: execution itself,
and the certified state (`ledger`).
"""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from tallystick.contracts import BlockResult
from tallystick.contracts.state import Account, own
from tallystick.network.proofs.merkle import Tree
from tallystick.network.proofs.receipts import Status
from tallystick.network.proofs.state_map import Layer as MapLayer
from tallystick.network.proofs.windows import OPEN_WINDOW, window_key
from tallystick.network.wire.blocks import NO_CHANGE, Header, Result
from tallystick.network.wire.faults import present
from tallystick.network.wire.ids import Link
from tallystick.network.wire.reasons import BY_NUMBER
from tallystick.node.core.block_data import BlockData
from tallystick.node.core.closing import Windows
from tallystick.node.core.events import CheckedBody

Pairs = dict[bytes, bytes | None]
"""Database rows; None deletes."""


class CertifiedState(Protocol):
    """What lies under all layers."""

    def account(self, account: bytes) -> Account | None: ...

    def record(self, key: bytes) -> bytes | None: ...

    def taken(self, keys: AbstractSet[bytes]) -> dict[bytes, bytes]: ...

    def refused(self, body_ids: AbstractSet[bytes]) -> AbstractSet[bytes]: ...

    @property
    def windows(self) -> Windows: ...


@dataclass(slots=True)
class Layer:
    """One executed block that is not final yet."""

    parent: "Layer | None"
    """None: its parent is the certified ledger."""
    header: Header
    result: Result
    link: Link
    bodies: Sequence[CheckedBody]
    changes: BlockResult
    rows: Pairs
    state: MapLayer
    transactions: Tree
    outcomes: Tree

    @property
    def closes(self) -> bool:
        """The last block of its epoch."""
        return self.result.next_epoch != NO_CHANGE

    def tally(self) -> dict[str, object]:
        """Facts for the trace: transactions, how many settled, and how many were rejected by reason code."""
        rejected: dict[str, int] = {}
        settled = 0
        for (status, reason), count in Counter(self.changes.decisions).items():
            if status == Status.SETTLED:
                settled += count
            else:
                code = BY_NUMBER[reason].code
                rejected[code] = rejected.get(code, 0) + count
        return {"transactions": len(self.bodies), "settled": settled, "rejected": rejected}

    def data(self) -> BlockData:
        return BlockData(self.header, self.result, b"".join([body.body_id for body in self.bodies]))


class LayeredState:
    """`contracts.StateReader` over some layers, newest first, and the certified ledger."""

    __slots__ = ("_base", "_changes")

    def __init__(self, base: CertifiedState, layer: Layer | None) -> None:
        self._base = base
        self._changes: list[BlockResult] = []
        while layer is not None:
            self._changes.append(layer.changes)
            layer = layer.parent

    def account(self, account: bytes) -> Account | None:
        for changes in self._changes:
            found = changes.accounts.get(account)
            if found is not None:
                return found
        return self._base.account(account)

    def record(self, key: bytes) -> bytes | None:
        for changes in self._changes:
            found = changes.records.get(key)
            if found is not None:
                return found
        return self._base.record(key)

    def taken(self, keys: AbstractSet[bytes]) -> dict[bytes, bytes]:
        found = self._base.taken(keys)
        for changes in self._changes:
            taken = changes.taken
            found.update({key: taken[key] for key in taken.keys() & keys})
        return found

    def refused(self, body_ids: AbstractSet[bytes]) -> AbstractSet[bytes]:
        found = set(self._base.refused(body_ids))
        for changes in self._changes:
            found.update(body_ids & set(changes.refused))
        return found

    def consumed(self, start_ms: int, begin: int, end: int) -> Sequence[bytes]:
        above = [each.consumed[start_ms] for each in self._changes if start_ms in each.consumed]
        opened = present(own(OPEN_WINDOW, self.record(window_key(start_ms))), "no such window")
        return self._base.windows.consumed(start_ms, begin, end, above[::-1], opened)
