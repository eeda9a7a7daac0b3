"""A node that reads only: it follows certified blocks, executes each again, and compares. It has no key and says nothing but
questions on the catch-up channel.

A certified result that differs from its own execution halts it with the evidence; it never serves an unverified byte.
"""

from tallystick.consensus.waiting import Phase, Waiting, names
from tallystick.network.wire.faults import InvariantError, Refused
from tallystick.network.wire.frames import Channel, unpack
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.keys import verify_vote
from tallystick.node.core.catch_up import CatchUp
from tallystick.node.core.effects import Effects
from tallystick.node.core.events import (
    BodiesChecked,
    Event,
    PeerDown,
    PeerFrame,
    PeerUp,
    Persisted,
    Tick,
)
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import CATCH_UP_MESSAGE, BelowSnapshot, Blocks
from tallystick.node.core.ports import Store, VerifyVote
from tallystick.node.core.reading import LedgerReader
from tallystick.node.core.stalls import Moments, around
from tallystick.node.core.status import NodeStatus
from tallystick.node.core.step import Step

POLL_MS = 200
"""How long to wait after an answer that brought nothing new."""

TICK_MS_MIN = 20
"""Without peers, or while blocks are checked, nothing is gained by looking more often."""


class Follower:
    """An observer's core, of the same shape as `Replica`."""

    def __init__(
        self,
        me: NodeId,
        genesis: Genesis,
        store: Store,
        now_ms: int,
        verify: VerifyVote = verify_vote,
    ) -> None:
        self.me = me
        self.ledger = Ledger(genesis, store)
        self.reader = LedgerReader(self.ledger)
        self.catch_up = CatchUp(self.ledger, verify)
        self.peers_up: set[NodeId] = set()
        self.halted: str | None = None
        self.blocks_executed = 0
        self._store = store
        self._token = 0
        self._checks = 0
        self._poll_ms = now_ms
        self._moved_ms = now_ms
        self._moments = Moments.of(me, self.ledger.members.ids, self.ledger.height, now_ms)

    def handle(self, event: Event, now_ms: int) -> Effects:
        """Hear one event; a certified result that is not ours is reported as `Halt`."""
        step = Step()
        if self.halted is not None:
            return Effects()
        try:
            self._dispatch(event, now_ms, step)
            self._ask(now_ms, step)
        except InvariantError as error:
            self.halted = str(error)
            halt = Step()
            halt.halt(self.halted)
            return halt.effects(self._token, now_ms)
        step.pairs.update(self.ledger.drain())
        if step.must_persist:
            self._token += 1
            self._store.stage(step.pairs)
        deadline_ms = max(self.catch_up.deadline_ms or self._poll_ms, now_ms + TICK_MS_MIN)
        return step.effects(self._token, deadline_ms)

    def _dispatch(self, event: Event, now_ms: int, step: Step) -> None:
        match event:
            case PeerFrame(peer, frame):
                self._on_frame(peer, frame, now_ms, step)
            case BodiesChecked(_, verdicts):
                for layer in self.catch_up.on_checked(verdicts):
                    self._moved_ms = now_ms
                    self.blocks_executed += 1
                    self.reader.remember(layer)
                    step.note("block-final", height=layer.header.height, **layer.tally())
                self._poll_ms = now_ms
            case PeerUp(peer):
                self.peers_up.add(peer)
                self._moments.up(peer)
            case PeerDown(peer):
                self.peers_up.discard(peer)
                self._moments.down(peer, now_ms)
            case Persisted() | Tick():
                pass
            case _:
                step.note("not-for-an-observer", event=type(event).__name__)

    def _on_frame(self, peer: NodeId, frame: bytes, now_ms: int, step: Step) -> None:
        try:
            channel, payload = unpack(frame)
            message = CATCH_UP_MESSAGE.decode(payload) if channel is Channel.CATCH_UP else None
        except Refused as refused:
            return step.note("peer-garbage", peer=peer, reason=refused.reason.code)
        if isinstance(message, Blocks | BelowSnapshot) and self.catch_up.owes(peer):
            bodies = self.catch_up.on_blocks(message)
            if bodies is None:
                self._poll_ms = now_ms + POLL_MS
            else:
                self._checks += 1
                step.check(self._checks, bodies)
        return None

    def _ask(self, now_ms: int, step: Step) -> None:
        if now_ms < self._poll_ms:
            return
        asked = self.catch_up.ask(now_ms, sorted(self.peers_up & set(self.ledger.members.ids)))
        if asked is not None:
            step.hearsay(Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(asked[1]), asked[0])

    @property
    def leads(self) -> bool:
        """An observer leads nobody."""
        return False

    @property
    def has_room(self) -> bool:
        """An observer takes no transactions."""
        return False

    def status(self) -> NodeStatus:
        ledger = self.ledger
        header, certificate = ledger.header, ledger.certificate
        return NodeStatus(
            self.me,
            ledger.genesis.engine,
            ledger.members.epoch,
            certificate.view if certificate is not None else 0,
            NodeId(header.proposer if header is not None else 0),
            ledger.height,
            ledger.link,
            ledger.state.root,
            ledger.time_ms,
            0,
            tuple(sorted(self.peers_up)),
            0,
            self._waiting(),
            None,
            self.halted,
            self.blocks_executed,
            tuple(sorted(self._moments.down_since_ms.items())),
            level=self.blocks_executed > 0,
        )

    def _waiting(self) -> Waiting:
        up = tuple(sorted(self.peers_up & set(self.ledger.members.ids)))
        down = tuple(sorted(self._moments.down_since_ms))
        phase = Phase.CATCH_UP if up else Phase.CONNECTIONS
        what = "the next certified block" if up else f"a connection to one of {names(down)}"
        since_ms = self._moved_ms + self.ledger.genesis.parameters.idle_block_ms
        waiting = Waiting(phase, up or down, 1, since_ms, self.ledger.height + 1, what)
        return around(waiting, self._moments, None, self.catch_up, list(up), self.halted)
