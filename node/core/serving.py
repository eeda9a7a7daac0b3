"""What a node gives to whoever lags behind: final blocks with a certificate over the last one, and blocks that are not final.

Decided here: how much one peer may have, and where a run of blocks ends: with the epoch, at the latest. Not here: what an answer
is worth (`catch_up`).
"""

from dataclasses import dataclass, field

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import NO_CHANGE
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import Height, Link, NodeId
from tallystick.node.core import catch_up
from tallystick.node.core.block_data import BLOCK_DATA
from tallystick.node.core.catch_up import size_of
from tallystick.node.core.judging import Judging
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import (
    CATCH_UP_MESSAGE,
    AskBlockData,
    AskBlocks,
    AskOutlines,
    AskState,
    BelowSnapshot,
    Blocks,
    CatchUpMessage,
    FinalBlock,
    GiveBlockData,
)
from tallystick.node.core.outlines import is_whole
from tallystick.node.core.snapshots import Snapshots
from tallystick.node.core.step import Step

SERVED_BYTES_PER_MS = 16 * 1024
"""What one peer may have of us: 16 MB/s, three times what an observer that executes 10,000 transfers/s takes in."""

SERVED_BYTES_MIN = 64 * 1024
"""The smallest answer counts as so much: 250 questions/s, where a question is a few bytes and an answer may be 4 MB."""

SERVED_AHEAD_MS = 2_000
"""How far ahead of its rate a peer may be: eight of the largest answers at once."""


@dataclass(slots=True)
class Served:
    """What each peer has had of us: a question of a few bytes must not buy milliseconds of our time without end."""

    _paid_until_ms: dict[NodeId, int] = field(default_factory=dict)
    snapshots: Snapshots = field(default_factory=Snapshots)

    def may_have(self, peer: NodeId, now_ms: int) -> bool:
        """False while the peer is too far ahead of its rate; it asks another member then."""
        return self._paid_until_ms.get(peer, 0) <= now_ms + SERVED_AHEAD_MS

    def had(self, peer: NodeId, size: int, now_ms: int) -> None:
        """An answer of `size` bytes went to the peer."""
        cost_ms = max(size, SERVED_BYTES_MIN) // SERVED_BYTES_PER_MS
        self._paid_until_ms[peer] = max(now_ms, self._paid_until_ms.get(peer, 0)) + cost_ms

    def answer(
        self,
        asked: CatchUpMessage,
        peer: NodeId,
        ledger: Ledger,
        judging: Judging,
        now_ms: int,
        step: Step,
    ) -> None:
        """What a peer lacks, as long as it stays near its rate. An answer to nothing that we asked is not heard."""
        if isinstance(asked, AskOutlines | AskState):
            found = self.snapshots.answer(asked, peer, ledger, now_ms, catch_up.RUN_BYTES_MAX)
            if found is None:
                return step.note("peer-asks-too-much", peer=peer)
            return step.hearsay(Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(found), peer)
        if not self.may_have(peer, now_ms):
            return step.note("peer-asks-too-much", peer=peer)
        if isinstance(asked, AskBlocks):
            answer = CATCH_UP_MESSAGE.encode(serve(ledger, asked.height))
        elif isinstance(asked, AskBlockData):
            data = judging.uncommitted.get(Link(asked.link))
            if data is None:
                return None
            answer = CATCH_UP_MESSAGE.encode(GiveBlockData(BLOCK_DATA.encode(data)))
        else:
            return None
        self.had(peer, len(answer), now_ms)
        return step.hearsay(Channel.CATCH_UP, answer, peer)


def serve(ledger: Ledger, height: int) -> Blocks | BelowSnapshot:
    """A run of final blocks from `height` on that ends with a block's own certificate, bounded in bytes and blocks."""
    if ledger.whole_from > max(1, height):
        return BelowSnapshot(height, ledger.whole_from)
    blocks: list[FinalBlock] = []
    certificate: Certificate | None = None
    complete = size = 0
    at = max(1, height)
    while at <= ledger.height and len(blocks) < 2 * bounds.CATCH_UP_BLOCKS_MAX:
        record = ledger.block(at)
        if record is None or not is_whole(record):
            break
        block = FinalBlock(record.header, record.result, record.bodies)
        size += size_of(block)
        if size > catch_up.RUN_BYTES_MAX:
            break
        blocks.append(block)
        if record.certificate.height == at:
            complete, certificate = len(blocks), record.certificate
            closes = record.result.next_epoch != NO_CHANGE
            if closes or len(blocks) >= bounds.CATCH_UP_BLOCKS_MAX or size >= bounds.CATCH_UP_BYTES:
                break
        at += 1
    return Blocks(height, Height(ledger.height), tuple(blocks[:complete]), certificate)
