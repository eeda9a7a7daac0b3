"""One member bank's node without I/O: event in, effects out. It owns the ledger, the pool and a consensus engine.

Decided here: who hears which event, how the engine's wishes become effects, and that a broken invariant of ours halts the
node before it signs anything more. The work is done in `intake` (transactions), `judging` (proposals), `ledger` (execution),
`catch_up` (blocks that we missed). "Persist before send": a step's batch is durable before its promises leave, and the engine
hears its own promises only then.
"""

from typing import assert_never

from tallystick.consensus import api
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.faults import InvariantError, Refused
from tallystick.network.wire.frames import Channel, unpack
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.asking import ask_for_missing
from tallystick.node.core.block_data import BLOCK_DATA
from tallystick.node.core.catch_up import CatchUp
from tallystick.node.core.checkpoints import Checkpoints
from tallystick.node.core.effects import Effects
from tallystick.node.core.engines import CULPABLE, engine_of
from tallystick.node.core.epochs import BYSTANDER_POLL_MS, forget_epoch, refuse_all
from tallystick.node.core.events import (
    BodiesChecked,
    CheckedBody,
    ClientGone,
    Event,
    HandOver,
    PeerDown,
    PeerFrame,
    PeerUp,
    Persisted,
    ReadAtQuorum,
    Submit,
    Tick,
    Verdict,
)
from tallystick.node.core.evidence_kept import EvidenceKept
from tallystick.node.core.fairness import Fairness
from tallystick.node.core.forwarding import SEND_ON_COUNT, SEND_ON_MS
from tallystick.node.core.intake import Intake
from tallystick.node.core.judging import Judging
from tallystick.node.core.layers import Layer
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.mempool import Mempool
from tallystick.node.core.messages import (
    CATCH_UP_MESSAGE,
    AskBlocks,
    BelowSnapshot,
    Blocks,
    GiveBlockData,
)
from tallystick.node.core.peers import Peers
from tallystick.node.core.ports import GuardRecord, Store, VerifyVote, VoteSigner
from tallystick.node.core.proposing import Proposing
from tallystick.node.core.quorum_reads import QuorumReads
from tallystick.node.core.reading import LedgerReader
from tallystick.node.core.restoring import (
    Crypto,
    guard_to_repeat,
    next_epoch,
    no_longer_pending,
    restored,
    setup_of,
)
from tallystick.node.core.serving import Served
from tallystick.node.core.stalls import Moments, around, status_of
from tallystick.node.core.status import NodeStatus
from tallystick.node.core.step import Durable, Step


class Replica:
    """A member. `handle` never blocks, never reads a clock, and raises `InvariantError` only."""

    def __init__(
        self,
        genesis: Genesis,
        store: Store,
        signer: VoteSigner,
        guard: GuardRecord,
        now_ms: int,
        verify: VerifyVote = verify_vote,
    ) -> None:
        self.me = signer.node
        self.ledger = Ledger(genesis, store)
        self.reader = LedgerReader(self.ledger)
        pool = Mempool(self.me)
        self.intake = Intake(self.ledger, pool, signer, verify)
        self.judging = Judging(self.ledger, pool)
        self.proposing = Proposing(self.me, self.ledger, pool)
        self.catch_up = CatchUp(self.ledger, verify)
        self.checkpoints = Checkpoints(self.ledger, signer, verify)
        self._served = Served()
        self._evidence = EvidenceKept(store)
        self.reads = QuorumReads(now_ms)
        self.pool = pool
        self.peers = Peers()
        self.halted: str | None = None
        self.moments = Moments.of(self.me, self.ledger.members.ids, self.ledger.height, now_ms)
        self._token = 0
        self._durable: dict[int, Durable] = {}
        self._later: dict[bytes, bytes | None] = {}
        self._catch_up_checks: dict[int, list[CheckedBody | None]] = {}
        self._send_on_ms = now_ms + SEND_ON_MS
        self._arrived = 0
        self._started = False
        self._work = (0, 0, 0)
        self._store = store
        self._step = Step()
        self._guard_to_repeat = guard_to_repeat(self.ledger, guard)
        self._crypto = Crypto(signer, verify)
        self._begin(restored(self.ledger, self.judging, guard), now_ms)

    # -- the one entry -------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> Effects:
        """Hear one event. A broken invariant of ours is reported as `Halt`; afterwards nothing is signed any more."""
        step = self._step = Step(later=self._later)
        if self.halted is not None:
            return Effects()
        try:
            if not self._started:
                self._start(now_ms)
            self._dispatch(event, now_ms)
            self._after(now_ms)
        except InvariantError as error:
            self.halted = str(error)
            halt = Step()
            halt.halt(self.halted)
            return halt.effects(self._token, now_ms)
        if self.ledger.unsaved:
            step.pairs.update(self.ledger.drain())
        if self.intake.outcomes.replies:
            step.after.extend(self.intake.outcomes.drain())
        if step.must_persist:
            step.take_along()
            self._token += 1
            self._store.stage(step.pairs)
            self._durable[self._token] = step.durable
            self.moments.handed_over(now_ms)
        return step.effects(self._token, self._deadline_ms())

    def _begin(self, restored: api.Restored, now_ms: int) -> None:
        """The engine of the ledger's epoch."""
        ledger = self.ledger
        self._epoch = ledger.members.epoch
        self.peers.epoch_of(ledger.members.ids)
        self.fairness = Fairness.of(self.pool, ledger.genesis.parameters)
        setup = setup_of(ledger, self.me)
        self._engine = engine_of(ledger.genesis.engine, setup, self._crypto, restored, now_ms)

    def _turn_epoch(self, now_ms: int) -> None:
        """The last block of an epoch is final: its engine is done, and the next one begins with nothing said."""
        step = self._step
        guard = step.pairs.get(schema.GUARD) or self._store.get(schema.GUARD)
        step.pairs[schema.ENGINE] = None
        self._begin(next_epoch(self.ledger, guard), now_ms)
        forget_epoch(self.ledger, self.judging, self.pool, self.intake.forwarding)
        self.moments = Moments.of(self.me, self.ledger.members.ids, self.ledger.height, now_ms)
        self._work = (0, 0, 0)
        step.note("epoch", epoch=self._epoch, votes=self.votes)
        for peer in self.peers.members:
            self.moments.up(peer)
            self._drive(api.PeerUp(peer), now_ms)
        self._drive(api.Tick(), now_ms)

    @property
    def votes(self) -> bool:
        """Whether this node is a member in the present epoch."""
        return self.me in self.ledger.members.vote_keys

    def _start(self, now_ms: int) -> None:
        self._started = True
        self._step.guard = self._guard_to_repeat
        self.intake.restart(self._step)
        self._drive(api.Tick(), now_ms)

    def _dispatch(self, event: Event, now_ms: int) -> None:
        match event:
            case PeerFrame(peer, frame):
                self._on_frame(peer, frame, now_ms)
            case BodiesChecked(token, verdicts):
                known = self._catch_up_checks.pop(token, None)
                if known is not None:
                    self._caught_up(known, verdicts, now_ms)
                else:
                    self.intake.on_checked(token, verdicts, now_ms, self._step)
            case Persisted(token):
                self._on_persisted(token, now_ms)
            case Submit() if not self.votes:
                refuse_all(event, self.intake.outcomes)
            case Submit():
                self.intake.on_submit(event, now_ms, self._step)
            case ClientGone(token):
                self.intake.on_gone(token)
                self.reads.forget(token)
            case ReadAtQuorum(token):
                self.reads.ask(token)
            case HandOver(to):
                self._drive(api.HandOver(to), now_ms)
            case PeerUp(peer):
                self._on_peer_up(peer, now_ms)
            case PeerDown(peer):
                self.peers.left(peer)
                if peer in self.ledger.members:
                    self.moments.down(peer, now_ms)
                    self._drive(api.PeerDown(peer), now_ms)
            case Tick():
                self._on_tick(now_ms)
            case _:
                assert_never(event)

    def _after(self, now_ms: int) -> None:
        """What any event may have made possible."""
        intake, judging = self.intake, self.judging
        if intake.came:
            judging.came(intake.came)
            intake.came.clear()
            if judging.waits or self.catch_up.behind:
                self._retry_judging(now_ms)
        pool = self.pool
        while (work := (pool.ready, pool.owed, pool.arrived)) != self._work:
            self._work = work
            self._drive(api.WorkWaiting(*work), now_ms)
        intake.flush(now_ms, self._step)
        if self.reads.waits:
            self._serve_readers(now_ms)
        if not self.votes and not self.catch_up.wants:
            self.catch_up.poll(now_ms + BYSTANDER_POLL_MS)
        if judging.lacks or self.catch_up.wants:
            on_its_way, step = intake.is_on_its_way, self._step
            ask_for_missing(judging, self.catch_up, on_its_way, now_ms, self.peers, step)

    def _serve_readers(self, now_ms: int) -> None:
        round_ = self.reads.round_due(now_ms, self.ledger.members.epoch)
        if round_ is not None:
            self._drive(api.ReadIndex(round_), now_ms)
        for token in self.reads.readable(self.ledger.height):
            self._step.readable(token)

    def _on_tick(self, now_ms: int) -> None:
        if self.judging.waits or self.catch_up.behind:
            self._retry_judging(now_ms)
        self._drive(api.Tick(), now_ms)
        if now_ms >= self._send_on_ms:
            self._send_on_ms = now_ms + SEND_ON_MS
            leader = self._engine.status().leader
            if leader in self.peers.up:
                up_to = self.intake.send_on(leader, self._arrived, SEND_ON_COUNT, self._step)
                self.fairness.sent_on(up_to)
            self._arrived = self.pool.arrived
            self.intake.outcomes.sweep()
            self._served.snapshots.sweep(now_ms)

    def _retry_judging(self, now_ms: int) -> None:
        for judged in self.judging.retry(now_ms, self._step):
            self._drive(judged, now_ms)
        event = self._try_locally(now_ms)
        if event is not None:
            self._drive(event, now_ms)

    def _on_peer_up(self, peer: NodeId, now_ms: int) -> None:
        self.peers.came(peer)
        self.moments.up(peer)
        if peer in self.ledger.members:
            self._drive(api.PeerUp(peer), now_ms)
            self.intake.send_on(peer, self.pool.arrived, len(self.pool), self._step)
        self.checkpoints.peer_up(peer, self._step)

    def _on_persisted(self, token: int, now_ms: int) -> None:
        durable = self._durable.pop(token)
        self.moments.durable(now_ms, bool(self._durable))
        for ids in durable.received:
            self.intake.on_received(ids, self._step)
        for message in durable.own:
            self._drive(api.Heard(self.me, message), now_ms)

    # -- peers ---------------------------------------------------------------------------------------------------------

    def _on_frame(self, peer: NodeId, frame: bytes, now_ms: int) -> None:
        step = self._step
        try:
            channel, payload = unpack(frame)
            if channel is Channel.CATCH_UP:
                self._on_catch_up(peer, payload, now_ms)
            elif peer not in self.ledger.members.vote_keys:
                step.note("observer-off-its-channel", peer=peer)
            elif not self.votes:
                pass  # nothing is signed, so nothing is heard but final blocks
            elif channel is Channel.CONSENSUS:
                self._drive(api.Heard(peer, payload), now_ms)
            elif channel is Channel.BODIES:
                self.intake.on_frame(peer, payload, self.judging.wanted_bodies, step)
            elif channel is Channel.CHECKPOINTS:
                self.checkpoints.heard(peer, payload, step)
        except Refused as refused:
            step.note("peer-garbage", peer=peer, reason=refused.reason.code)

    def _on_catch_up(self, peer: NodeId, payload: bytes, now_ms: int) -> None:
        match CATCH_UP_MESSAGE.decode(payload):
            case Blocks() | BelowSnapshot() as blocks:
                bodies = self.catch_up.on_blocks(blocks) if self.catch_up.owes(peer) else None
                if bodies is not None:
                    self._check_for_catch_up(bodies, now_ms)
            case GiveBlockData(encoded):
                if self.judging.given(encoded):
                    self._retry_judging(now_ms)
            case asked:
                ahead = isinstance(asked, AskBlocks) and asked.height > self.ledger.height + 1
                if ahead and peer in self.ledger.members:
                    self.catch_up.hint(peer, now_ms)  # it has blocks that we lack
                self._served.answer(asked, peer, self.ledger, self.judging, now_ms, self._step)

    def _check_for_catch_up(self, bodies: tuple[bytes, ...], now_ms: int) -> None:
        """What waits in the pool has been checked already; the rest of the run is checked first."""
        known = [self.pool.checked(body_id(raw)) for raw in bodies]
        unknown = [raw for raw, body in zip(bodies, known, strict=True) if body is None]
        if not unknown:
            return self._caught_up(known, (), now_ms)
        token = self.intake.foreign_check()
        self._catch_up_checks[token] = known
        self._step.check(token, tuple(unknown))
        return None

    def _caught_up(
        self, known: list[CheckedBody | None], fresh: tuple[Verdict, ...], now_ms: int
    ) -> None:
        rest = iter(fresh)
        verdicts = tuple([body if body is not None else next(rest) for body in known])
        applied = self.catch_up.on_checked(verdicts)
        self._became_final(applied)
        certificate = self.ledger.certificate
        if applied and certificate is not None:
            if not self.votes:
                self.catch_up.poll(now_ms)  # there may be more
            self._drive(api.CaughtUp(certificate), now_ms)

    # -- the engine ----------------------------------------------------------------------------------------------------

    def _drive(self, event: api.Event, now_ms: int) -> None:
        """Let the engine hear an event, and carry out what it asks for."""
        events = [event]
        while events:
            for effect in self._engine.handle(events.pop(0), now_ms):
                answer = self._carry_out(effect, now_ms)
                if answer is not None:
                    events.append(answer)
            if self._epoch != self.ledger.members.epoch:
                return self._turn_epoch(now_ms)
        return None

    def _carry_out(self, effect: api.Effect, now_ms: int) -> api.Event | None:
        step = self._step
        match effect:
            case api.Say(message, to, promise):
                if promise:
                    if to != self.me:
                        step.promise(Channel.CONSENSUS, message, to)
                    step.durable.own.append(message)
                else:
                    step.hearsay(Channel.CONSENSUS, message, to)
            case api.KeepRecord(record):
                step.pairs[schema.ENGINE] = record
            case api.KeepGuard(record):
                step.pairs[schema.GUARD] = step.guard = record
            case api.KeepBlock(block):
                # A vote says that we keep the bodies, too; a client may have handed one in a moment ago.
                self.intake.flush(now_ms, step, force=True)
                self.judging.hold(block.link, BLOCK_DATA.decode(block.data), needed=True)
                if block.height > self.ledger.height:
                    step.pairs[schema.PENDING + block.link] = block.data
            case api.HoldBlock(block):
                self.judging.hold(block.link, BLOCK_DATA.decode(block.data), needed=False)
            case api.MakeBlock():
                self.intake.flush(now_ms, step, force=True)
                return self.proposing.make(effect, now_ms, step)
            case api.Judge():
                return self.judging.judge(effect, now_ms, step)
            case api.Final(block, certificate):
                return self._served_fairly(self.ledger.apply(block.link, certificate))
            case api.Behind(certificate):
                return self._behind(certificate, now_ms)
            case api.IndexKnown(round_, index):
                self.reads.known(round_, index)
            case api.EpochAhead(sender):
                self.catch_up.hint(sender, now_ms)
            case api.ViewEntered():
                self.judging.view_entered()
                self.fairness.view_entered()
                self.pool.put_back()
                self._step.note("pool-put-back", waiting=len(self.pool))
            case api.Convict(evidence):
                self._evidence.keep(evidence, step)
            case api.Alarm(sentence, halt):
                step.note("alarm", sentence=sentence)
                if halt:
                    self.halted = sentence  # the engine signs nothing more; so must this say
                    step.halt(sentence)
            case api.Note(name, facts):
                step.note(name, **facts)
                if name in CULPABLE:
                    step.note("peer-garbage", peer=facts["sender"], reason=name)
            case _:
                assert_never(effect)
        return None

    def _behind(self, certificate: Certificate, now_ms: int) -> api.Event | None:
        if not self.catch_up.behind:
            self.moments.behind_since_ms = now_ms
        self.catch_up.toward(certificate, now_ms)
        return self._try_locally(now_ms)

    def _try_locally(self, now_ms: int) -> api.Event | None:
        """The certified block and its ancestors may be here already, just not voted for in this view."""
        target = self.catch_up.target
        if target is None or target.height <= self.ledger.height:
            return None
        if not self.judging.stand_on(target.link, now_ms, self._step):
            return None
        self._became_final(self.ledger.apply_up_to(target))
        return api.CaughtUp(target)

    def _served_fairly(self, layer: Layer) -> api.Event | None:
        """A block that votes have made final; the engine hears when its leader passes over what waits."""
        served = self.fairness.served_by(layer.bodies)
        self._became_final([layer])
        return None if served is None else self.fairness.passed_over(served, self._engine)

    def _became_final(self, layers: list[Layer]) -> None:
        for layer in layers:
            self.intake.on_final(layer, self._step)
            self.reader.remember(layer)
            self._step.note("block-final", height=layer.header.height, **layer.tally())
        self.checkpoints.became_final(layers, self._step)
        self.judging.forget_below(keep_wants=self.catch_up.behind)
        if self.ledger.height % 64 == 0:
            self._step.pairs.update(no_longer_pending(self.ledger))

    # -- questions -----------------------------------------------------------------------------------------------------

    def _deadline_ms(self) -> int:
        catch_up, judging = self.catch_up, self.judging
        waits = (
            self.intake.forwarding.deadline_ms,
            self.reads.deadline_ms if self.reads.waits else None,
            judging.deadline_ms if self.peers.members else None,  # nobody to ask, nothing to do
            catch_up.deadline_ms if self.peers.sources and catch_up.wants else None,
        )
        at_ms = min(self._engine.deadline_ms, self._send_on_ms)
        return min([at_ms, *[each for each in waits if each is not None]])

    @property
    def has_room(self) -> bool:
        """Whether clients' transactions are taken now."""
        return self.votes and self.intake.room > 0

    @property
    def leads(self) -> bool:
        """False once another member leads that we follow: between two leaders, nobody has been handed anything yet. False
        without a quorum, too: nobody is led, and nobody could take over."""
        engine = self._engine.status()
        if len(self.peers.members) + 1 < self.ledger.members.quorum:
            return False
        return engine.leader == self.me or not engine.active

    def status(self) -> NodeStatus:
        engine, pool_size, moments = self._engine.status(), len(self.pool), self.moments
        here = (self.judging, self.catch_up, self.peers.members, self.halted)
        parts = (self.me, self.ledger, pool_size, self.peers.up, moments, self.catch_up)
        return status_of(*parts, engine, around(engine.waiting, moments, *here), self.halted)
