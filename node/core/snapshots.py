"""A snapshot as a node gives it away: the state of one certified block in small chunks, beside outlines of all blocks.

The rows come off the store's own iterators, which stand still while the ledger goes on; nothing is copied or computed beforehand.
Decided here: that settling comes first. All who join share one budget, and who asks for more is told when to ask again; one
state is held for each peer, a few in all, and forgotten when nobody asks on. Not here: what a snapshot must prove (`outlines`,
`node.upkeep.snapshots`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.ids import Height, NodeId
from tallystick.node.core import schema
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import (
    AskOutlines,
    AskState,
    CatchUpMessage,
    NotNow,
    StateChunk,
    StateGone,
)
from tallystick.node.core.outlines import outlines_from

READ_BYTES_PER_MS = 1024
"""What all who join may make us read: 1 MB/s of sealed rows, which are read at 34 MB/s: 3 % of the core's time."""

BLOCKS_CHEAPER = 4
"""A block is one row: 220 MB/s of blocks are read, so they may count for a sixth; a frame of them costs its sending, too."""

STATE_TABLES: Final = (schema.ACCOUNT, schema.RECORD, schema.CONSUMED)
"""What the state is given as; `node.upkeep.snapshots` holds every row of them against the certified state root. Windows come
whole, closed ones too: whoever joins proves absences like any other node."""

ACTIVE_MS = 1_000
"""Who has asked within this time shares the budget."""

EARLY_MAX = 64
"""Questions before its turn that a peer is answered; an honest one asks once or twice, and a flood must not buy our time."""

STATES_MAX = 4
"""States held at once. Each keeps the database from dropping what was overwritten since."""

IDLE_MS = 30_000
"""A state that nobody asks on for so long is let go: three times a joiner's patience."""


@dataclass(slots=True)
class _State:
    """The rows of one height, as far as one peer has taken them."""

    height: Height
    rows: Iterator[tuple[bytes, bytes]]
    next_number: int
    newest: StateChunk
    """Given again if it is asked for again."""
    used_ms: int


@dataclass(slots=True)
class Snapshots:
    """One per member."""

    _free_ms: int = 0
    """From when on the budget has room again."""
    _asked_ms: dict[NodeId, int] = field(default_factory=dict)
    """When each peer asked last."""
    _turn_ms: dict[NodeId, int] = field(default_factory=dict)
    """From when on each peer may have something again: those who ask at once have equal shares, however often they ask."""
    _early: dict[NodeId, int] = field(default_factory=dict)
    """Questions of each peer since it had something."""
    _states: dict[NodeId, _State] = field(default_factory=dict)

    def answer(
        self,
        asked: AskOutlines | AskState,
        peer: NodeId,
        ledger: Ledger,
        now_ms: int,
        run_bytes_max: int,
    ) -> CatchUpMessage | None:
        """The chunk or run that was asked for, or how long to wait for it; None: the peer does not wait."""
        self._asked_ms[peer] = now_ms
        wait_ms = max(self._free_ms, self._turn_ms.get(peer, 0)) - now_ms
        if wait_ms > 0:
            early = self._early[peer] = self._early.get(peer, 0) + 1
            return NotNow(min(wait_ms, 60_000)) if early <= EARLY_MAX else None
        self._early[peer] = 0
        if isinstance(asked, AskOutlines):
            run, read = outlines_from(ledger, asked, run_bytes_max)
            self._spend(read // BLOCKS_CHEAPER, peer, now_ms)
            return run
        try:
            return self._state(asked, peer, ledger, now_ms)
        except OperationalError:
            # Rows under a key that was changed meanwhile cannot be opened any more; others would show in our own reads.
            self._states.pop(peer, None)
            return StateGone(asked.height)

    def sweep(self, now_ms: int) -> None:
        """Let go of what nobody takes any more."""
        for peer in [
            each for each, state in self._states.items() if now_ms > state.used_ms + IDLE_MS
        ]:
            del self._states[peer]

    def _spend(self, read: int, peer: NodeId, now_ms: int) -> None:
        cost_ms = max(1, read // READ_BYTES_PER_MS)
        active = sum(1 for at_ms in self._asked_ms.values() if at_ms > now_ms - ACTIVE_MS)
        self._free_ms = now_ms + cost_ms
        self._turn_ms[peer] = now_ms + cost_ms * active

    def _state(self, asked: AskState, peer: NodeId, ledger: Ledger, now_ms: int) -> CatchUpMessage:
        if (asked.height, asked.number) == (0, 0):
            return self._begin(peer, ledger, now_ms)
        state = self._states.get(peer)
        if state is None or state.height != asked.height:
            return StateGone(asked.height)
        state.used_ms = now_ms
        if asked.number == state.newest.number:
            self._spend(bounds.STATE_CHUNK_BYTES, peer, now_ms)
            return state.newest
        if asked.number != state.next_number:
            return StateGone(asked.height)
        return self._next(state, peer, now_ms)

    def _begin(self, peer: NodeId, ledger: Ledger, now_ms: int) -> CatchUpMessage:
        """Pin the state of the last final block. Only a whole step's state may be pinned, so nothing may wait to be staged."""
        certificate = ledger.certificate
        if certificate is None or certificate.height != ledger.height or ledger.unsaved:
            return NotNow(100)
        self._states.pop(peer, None)
        self.sweep(now_ms)
        if len(self._states) >= STATES_MAX:
            return NotNow(1_000)
        # A list, for all of them are to stand at one height.
        rows = chain.from_iterable([ledger.store.scan(table) for table in STATE_TABLES])
        self._spend(bounds.STATE_CHUNK_BYTES, peer, now_ms)
        first = StateChunk(ledger.height, 0, certificate, (), last=False)
        self._states[peer] = _State(ledger.height, rows, 1, first, now_ms)
        return first

    def _next(self, state: _State, peer: NodeId, now_ms: int) -> StateChunk:
        rows: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in state.rows:
            rows.append((key, value))
            size += len(key) + len(value)
            if size >= bounds.STATE_CHUNK_BYTES or len(rows) == bounds.STATE_ROWS_MAX:
                break
        last = size < bounds.STATE_CHUNK_BYTES and len(rows) < bounds.STATE_ROWS_MAX
        number, state.next_number = state.next_number, state.next_number + 1
        state.newest = StateChunk(state.height, number, None, tuple(rows), last)
        self._spend(size, peer, now_ms)
        return state.newest
