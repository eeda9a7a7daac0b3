"""Final blocks from peers, for whoever lacks them. Targets come from certificates only, never from a peer's claim.

Decided here: what to ask whom, what a run of blocks must show before it is executed (an unbroken chain of parent links up to
a certificate over its last block), and what we serve. Every transaction is checked and executed again: catching up believes
nothing. A peer that answers with less than a certificate shows is passed over. Not here: the engine, the disk.
"""

from dataclasses import dataclass, field

from tallystick.network.proofs.certificates import Certificate, check_certificate
from tallystick.network.proofs.merkle import root_of
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import link_of
from tallystick.network.wire.faults import InvariantError, Refused
from tallystick.network.wire.ids import Link, NodeId
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core.events import CheckedBody, Verdict
from tallystick.node.core.layers import Layer
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import AskBlocks, BelowSnapshot, Blocks, FinalBlock
from tallystick.node.core.ports import VerifyVote

PATIENCE_MS = 1_000
"""An answer that takes longer is asked of the next member."""

RUN_BYTES_MAX = bounds.FRAME_BYTES_MAX - 64 * 1024
"""The longest run that is taken or given: what is kept under one certificate must be served in one frame one day."""

SETTLE_MS = 100
"""A block that is certified before it is executed here is usually on its way: ask only after this."""


@dataclass(slots=True)
class Run:
    """Certified blocks whose transactions are being checked."""

    first: int
    blocks: tuple[FinalBlock, ...]
    certificate: Certificate


@dataclass(slots=True)
class CatchUp:
    ledger: Ledger
    verify: VerifyVote = verify_vote
    target: Certificate | None = None
    """The highest certificate that shows blocks we lack."""
    checking: Run | None = None
    _asked_ms: int | None = None
    _ask_from_ms: int = 0
    _turn: int = field(default=0)
    _poll_ms: int | None = None
    """From when on to ask although no certificate says that something is lacking."""
    _polled: bool = False
    """What is asked for was a poll: no certificate of ours says that the answer is needed."""
    _hinted_ms: int | None = None
    _hinted_by: NodeId | None = None
    owing: set[NodeId] = field(default_factory=set)
    """Members that we asked and that have not answered: nobody else's blocks are looked at."""

    @property
    def behind(self) -> bool:
        return self.target is not None and self.target.height > self.ledger.height

    def toward(self, certificate: Certificate, now_ms: int) -> None:
        """A checked commit certificate of a block that we do not have."""
        if not self.behind:
            self._ask_from_ms = now_ms + SETTLE_MS
            if self._polled:
                self._asked_ms = (
                    None  # whoever gave us a hint may be silent on purpose: now it is others' turn
                )
        if certificate.height > max(self.ledger.height, self.target.height if self.target else 0):
            self.target = certificate

    def poll(self, at_ms: int | None) -> None:
        """Ask once from this moment on (None: not), whether or not anything is known to be lacking."""
        self._poll_ms = at_ms

    def hint(self, peer: NodeId, now_ms: int) -> None:
        """A member claims to be ahead where no certificate of ours can tell: ask it, but not more often than one waits for
        an answer, since a claim costs nothing."""
        if self._hinted_ms is None or now_ms >= self._hinted_ms + PATIENCE_MS:
            self._hinted_ms, self._hinted_by, self._poll_ms = now_ms, peer, now_ms + SETTLE_MS

    @property
    def wants(self) -> bool:
        return self.behind or self._poll_ms is not None

    # -- asking --------------------------------------------------------------------------------------------------------

    def ask(self, now_ms: int, peers: list[NodeId]) -> tuple[NodeId, AskBlocks] | None:
        """Whom to ask for what now, if anything."""
        if self.checking is not None or not peers or now_ms < self._from_ms:
            return None
        if self._asked_ms is not None and now_ms < self._asked_ms + PATIENCE_MS:
            return None
        if self._asked_ms is not None:
            self._turn += 1  # the last one was silent
        self._asked_ms, self._polled = now_ms, not self.behind
        hinted, self._hinted_by, self._poll_ms = self._hinted_by, None, None
        peer = hinted if hinted in peers and not self.behind else peers[self._turn % len(peers)]
        self.owing.add(peer)
        return peer, AskBlocks(self.ledger.height + 1)

    def owes(self, peer: NodeId) -> bool:
        """Whether this peer was asked for the blocks that it sends now, however late. True once for each question.

        Blocks that nobody asked for would cost their sender nothing, and us another question, or the next one's pause.
        """
        if peer not in self.owing:
            return False
        self.owing.remove(peer)
        return True

    @property
    def deadline_ms(self) -> int | None:
        """When `ask` may say something; both of its reasons to wait count, an old question's and a fresh target's."""
        if self.checking is not None:
            return None
        if self._asked_ms is None:
            return self._from_ms
        return max(self._from_ms, self._asked_ms + PATIENCE_MS)

    @property
    def _from_ms(self) -> int:
        """Before that nothing is asked."""
        return self._poll_ms if self._poll_ms is not None and not self.behind else self._ask_from_ms

    def on_blocks(self, answer: Blocks | BelowSnapshot) -> tuple[bytes, ...] | None:
        """The transactions to check next, or None when the answer leads nowhere (then the next member is asked)."""
        self._asked_ms = None
        if self.checking is not None:
            return None
        run = self._run_of(answer) if isinstance(answer, Blocks) else None
        if run is None:
            self._turn += 1
            return None
        self.checking = run
        return tuple([raw for block in run.blocks for raw in block.bodies])

    def _run_of(self, answer: Blocks) -> Run | None:
        """The answer as a run above our last final block, if it shows one."""
        ledger, certificate = self.ledger, answer.certificate
        skip = ledger.height + 1 - answer.height
        if certificate is None or not 0 <= skip < len(answer.blocks):
            return None
        blocks = answer.blocks[skip:]
        if sum(map(size_of, blocks)) > RUN_BYTES_MAX:
            return None
        link, epoch = ledger.link, ledger.members.epoch
        if certificate.epoch != epoch:
            return None
        for height, block in enumerate(blocks, ledger.height + 1):
            if block.header.epoch != epoch:
                return None  # a run ends where its epoch does: other members certify what follows
            if block.header.height != height or block.header.parent_link != link:
                return None
            if block.header.tx_root != root_of([body_id(raw) for raw in block.bodies]):
                return None  # a genuine header over other transactions
            link = link_of(block.header, block.result)
        if certificate.link != link or not certificate.commits:
            return None
        try:
            check_certificate(
                certificate,
                ledger.chain,
                ledger.genesis.lane,
                ledger.members.vote_keys,
                self.verify,
                ledger.members.quorum,
            )
        except Refused:
            return None
        return Run(ledger.height + 1, blocks, certificate)

    # -- executing -----------------------------------------------------------------------------------------------------

    def on_checked(self, verdicts: tuple[Verdict, ...]) -> list[Layer]:
        """Execute the run and make it final. Another result than the certified one is our own fault, or more than f
        members': raises `InvariantError`, and the node halts."""
        run, self.checking = self.checking, None
        applied: list[Layer] = []
        if run is None:
            return applied
        at = 0
        for block in run.blocks:
            bodies: list[CheckedBody] = []
            for verdict in verdicts[at : at + len(block.bodies)]:
                if not isinstance(verdict, CheckedBody):
                    raise InvariantError(
                        "a certified block holds a transaction that is not valid",
                        height=block.header.height,
                        reason=verdict.reason.code,
                    )
                bodies.append(verdict)
            at += len(block.bodies)
            if block.header.height <= self.ledger.height:
                continue  # became final by votes meanwhile
            applied.append(self._apply(block, bodies, run.certificate))
        return applied

    def _apply(
        self, block: FinalBlock, bodies: list[CheckedBody], certificate: Certificate
    ) -> Layer:
        ledger, header = self.ledger, block.header
        certified = link_of(header, block.result)
        layer = ledger.layers.get(certified)
        if layer is None:
            parent = Link(header.parent_link)
            fault = ledger.block_fault(parent, header.time_ms, bodies)
            if fault is not None:
                raise InvariantError(
                    "a certified block is not valid here", height=header.height, reason=fault.code
                )
            layer = ledger.execute(parent, header.time_ms, NodeId(header.proposer), bodies)
        if layer.link != certified:
            raise InvariantError(
                "our execution differs from what a quorum certified",
                height=header.height,
                own_state=layer.result.state_root,
                certified_state=block.result.state_root,
            )
        return ledger.apply(certified, certificate)


def size_of(block: FinalBlock) -> int:
    """Bytes in an answer, or a little more."""
    return 300 + sum(map(len, block.bodies)) + 3 * len(block.bodies)
