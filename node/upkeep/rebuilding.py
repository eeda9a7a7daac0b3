"""A whole ledger made again from certified blocks: those of the damaged one first, peers' where it has none.

The damaged disk is treated as one more peer: what it says counts if it hangs on genesis by links, carries a quorum's
certificate and executes to the certified result, which is the catch-up of a node (`node.core.catch_up`), asked by nobody.
Decided here: whom to ask for which height. Written in synced batches into a ledger of its own, so it goes on after a crash.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tallystick.network.proofs.certificates import Verify
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import Height
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.catch_up import RUN_BYTES_MAX, CatchUp
from tallystick.node.core.ledger import Ledger, whole_from
from tallystick.node.core.messages import Blocks, FinalBlock
from tallystick.node.core.outlines import is_whole
from tallystick.node.core.ports import Store
from tallystick.node.upkeep.findings import Progress, silent
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.rows import Damaged, read_block

ANSWERS_MAX = 12
"""Answers of peers that lead nowhere before a height is given up: each of four members asked three times."""

AskPeers = Callable[[int], Awaitable[Blocks | None]]
"""Height → an answer of the next peer, None when nobody answered in time."""


@dataclass(slots=True)
class Rebuilding:
    """`target` keeps what was made; `source` is the damaged ledger, None if it cannot even be opened."""

    genesis: Genesis
    source: Store | None
    target: WritableStore
    ask_peers: AskPeers | None = None
    verify: Verify = verify_vote
    fetched: list[int] = field(default_factory=list)
    """Heights that peers had to give."""

    async def run(self, floor: int, progress: Progress = silent) -> Ledger:
        """Up to height `floor` at least. `OperationalError` names the block that nobody has; `InvariantError`: a certified
        block does not execute to its result here."""
        ledger = Ledger(self.genesis, self.target)
        self._keep(ledger)
        catch_up = CatchUp(ledger, self.verify)
        check = BodyChecker(self.genesis).check
        while ledger.height < floor:
            first = ledger.height + 1
            bodies = self._from_disk(catch_up, first)
            if bodies is None:
                bodies = await self._from_peers(catch_up, first)
                catch_up.on_checked(tuple([check(raw) for raw in bodies]))
                self.fetched.extend(range(first, ledger.height + 1))
            else:
                catch_up.on_checked(tuple([check(raw) for raw in bodies]))
            self._keep(ledger)
            progress("rebuild", ledger.height, floor)
        return ledger

    def _keep(self, ledger: Ledger) -> None:
        pairs = ledger.drain()
        if pairs:
            self.target.write([pairs])

    def _from_disk(self, catch_up: CatchUp, first: int) -> tuple[bytes, ...] | None:
        if self.source is None:
            return None
        return catch_up.on_blocks(run_on_disk(self.source, first))

    async def _from_peers(self, catch_up: CatchUp, first: int) -> tuple[bytes, ...]:
        if self.ask_peers is not None:
            for _ in range(ANSWERS_MAX):
                answer = await self.ask_peers(first)
                bodies = catch_up.on_blocks(answer) if answer is not None else None
                if bodies is not None:
                    return bodies
        raise OperationalError(
            f"block {first}, or one up to its certificate, is damaged or missing here, and no peer gave it."
            f" What was rebuilt so far is kept; run the command again when a member can be reached{self._below(first)}"
        )

    def _below(self, height: int) -> str:
        """What else helps where this ledger never had the block whole."""
        try:
            first = 1 if self.source is None else whole_from(self.source)
        except OperationalError:
            first = 1
        if height >= first:
            return ""
        return (
            f" that has whole blocks from {height} on ({RejectReason.BELOW_SNAPSHOT.code}: this ledger was joined from a"
            f" snapshot below {first}). A node that never voted under its id may instead move data/ away and join again"
        )


def run_on_disk(store: Store, first: int) -> Blocks:
    """Final blocks from `first` to the next that has a certificate of its own, as far as rows are whole by themselves.

    No longer, so that each block keeps the certificate that it had.
    """
    blocks: list[FinalBlock] = []
    size = 0
    while len(blocks) < 2 * bounds.CATCH_UP_BLOCKS_MAX:
        height = first + len(blocks)
        try:
            record = read_block(store, height)
        except Damaged:
            break
        if not is_whole(record):
            break  # below a snapshot: a peer has its transactions
        size += 300 + sum(map(len, record.bodies)) + 3 * len(record.bodies)
        if size > RUN_BYTES_MAX:
            break
        blocks.append(FinalBlock(record.header, record.result, record.bodies))
        if record.certificate.height == height:
            return Blocks(first, Height(height), tuple(blocks), record.certificate)
    return Blocks(first, Height(0), (), None)
