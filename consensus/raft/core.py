"""Which rule hears which event: dispatch only. The rules are in `elections`, `replication`, `following`, `countersigning`.

After every event the same questions are asked in the same order: is something committed, what may be countersigned, does
that make a certificate, may a block be executed, is a block due, what do the others lack, has the clock run out?
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from tallystick.consensus.accountability.guard import Guard
from tallystick.consensus.api import (
    BlockMade,
    CaughtUp,
    Crypto,
    Effect,
    EngineStatus,
    EpochAhead,
    Event,
    HandOver,
    Heard,
    Judged,
    PeerDown,
    PeerUp,
    ReadIndex,
    Restored,
    Setup,
    Tick,
    Unfair,
    WorkWaiting,
)
from tallystick.consensus.batching import Batching
from tallystick.consensus.raft import (
    countersigning,
    elections,
    following,
    operations,
    replication,
)
from tallystick.consensus.raft.election_clock import ElectionClock
from tallystick.consensus.raft.membership import Configuration
from tallystick.consensus.raft.messages import (
    MESSAGE,
    TERMS_AHEAD_MAX,
    Acked,
    Append,
    AskIndex,
    AskVote,
    Countersignature,
    Decided,
    Declined,
    GiveIndex,
    GiveVote,
    Nack,
    StandNow,
    epoch_of,
)
from tallystick.consensus.raft.state import PRODUCTION, RECORD, RaftState, Tuning, log_of
from tallystick.consensus.raft.waiting import waiting_of
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import NodeId


class Raft:
    """One member's engine for one epoch of one lane."""

    def __init__(
        self,
        setup: Setup,
        crypto: Crypto,
        restored: Restored,
        jitter: Iterator[int],
        now_ms: int,
        tuning: Tuning = PRODUCTION,
    ) -> None:
        """Every key of the setup votes. `OperationalError` when the log's blocks are not all there."""
        record = RECORD.decode(restored.record) if restored.record is not None else None
        if restored.final is not None and restored.final.epoch != setup.epoch:
            restored = replace(
                restored, final=None
            )  # it closed the epoch before: of another engine's terms
        guard = Guard(setup.epoch, restored.guard)
        state = RaftState(
            setup,
            crypto,
            guard,
            ElectionClock(setup.timing, jitter),
            Batching(setup.block_transactions_max, setup.pipeline, setup.timing),
            Configuration.of(setup.vote_keys),
            tuning,
            log_of(restored, record),
            restored.final_height,
            restored.final_link,
            restored.final,
            guard.floor,
            commit=restored.final_height,
            verified=restored.final_height,
        )
        # Record and guard are written together; whatever the case, our term is never below the guard's floor.
        if record is not None and record.term >= guard.floor:
            state.term, state.voted_for = record.term, record.voted_for
        state.clock.restart(now_ms)
        state.last_final_ms = state.work_since_ms = now_ms
        self._state = state

    # -- the one entry -------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Hear one event; what to do about it, in order."""
        state = self._state
        state.out = []
        if not state.halted:
            self._hear(event, now_ms)
            self._settle(now_ms)
            if isinstance(event, Tick):
                self._time(now_ms)
        state.flush()
        return state.out

    def _settle(self, now_ms: int) -> None:
        state = self._state
        if state.halted:
            return
        replication.commit(state)
        countersigning.sign(state, now_ms)
        countersigning.count(state, now_ms)
        following.advance(state)
        operations.confirm_reads(state)
        operations.hand_over(state)
        replication.propose(state, now_ms)
        replication.replicate(state, now_ms)

    def _hear(self, event: Event, now_ms: int) -> None:
        state = self._state
        match event:
            case Heard(sender, message):
                self._hear_message(sender, message, now_ms)
            case Judged():
                following.on_judged(state, event)
            case BlockMade():
                replication.on_block_made(state, event, now_ms)
            case WorkWaiting(ready, _, arrived):
                if ready and not state.batching.waiting and not state.in_flight:
                    state.work_since_ms = now_ms
                state.batching.heard(ready, arrived, now_ms)
            case CaughtUp(certificate):
                if certificate.height > state.final_height:
                    self._caught_up(event, now_ms)
            case PeerUp(peer):
                self._peer_up(peer, now_ms)
            case PeerDown(peer):
                state.connected.discard(peer)
                if peer in state.progress:
                    state.progress[peer].cut_off()
                if peer == state.leader:
                    state.clock.lost_leader(now_ms)
            case ReadIndex(round_):
                operations.read(state, round_, now_ms)
            case HandOver(to):
                operations.transfer(state, to, now_ms)
            case Unfair() | Tick():
                pass  # members only crash: nobody censors
            case _:
                assert_never(event)

    def _hear_message(self, sender: NodeId, message: bytes, now_ms: int) -> None:
        state = self._state
        if sender not in state.setup.vote_keys:
            return state.note("stranger", sender=sender)
        try:
            said = MESSAGE.decode(message)
        except Refused as refused:
            return state.note("garbage", sender=sender, reason=refused.reason.code)
        epoch = epoch_of(said)
        if epoch != state.setup.epoch:
            if epoch > state.setup.epoch:
                state.out.append(EpochAhead(sender))
            return None
        term = 0 if isinstance(said, Decided | GiveIndex) else said.term
        if term > state.term + TERMS_AHEAD_MAX:
            return state.note("garbage", sender=sender, reason=f"term {term} is out of reach")
        match said:
            case Append():
                following.on_append(state, sender, said, now_ms)
            case Acked():
                replication.on_acked(state, sender, said, now_ms)
            case Countersignature():
                countersigning.on_countersignature(state, sender, said)
            case Nack():
                replication.on_nack(state, sender, said, now_ms)
            case Declined():
                replication.on_declined(state, sender, said, now_ms)
            case AskVote():
                elections.on_ask_vote(state, sender, said, now_ms)
            case GiveVote():
                elections.on_give_vote(state, sender, said, now_ms)
            case Decided(certificate):
                news = certificate.height > max(state.final_height, state.behind)
                if news and countersigning.genuine_certificate(state, certificate):
                    countersigning.on_certificate(state, certificate, now_ms)
            case StandNow():
                operations.on_stand_now(state, sender, said, now_ms)
            case AskIndex():
                operations.on_ask_index(state, sender, said, now_ms)
            case GiveIndex():
                operations.on_give_index(state, said)
            case _:
                assert_never(said)
        return None

    def _caught_up(self, event: CaughtUp, now_ms: int) -> None:
        """The ledger is ahead of the log: the log begins behind it, and its last entry's term is one we know of."""
        state, certificate = self._state, event.certificate
        if certificate.view > state.term:
            elections.adopt(state, certificate.view, now_ms)
        elif state.leads and state.log.link_at(certificate.height) != certificate.link:
            elections.step_down(state, "our log is not the certified one", now_ms)
        countersigning.became_final(state, certificate, now_ms)

    def _peer_up(self, peer: NodeId, now_ms: int) -> None:
        state = self._state
        reached = state.reaches_quorum
        state.connected.add(peer)
        if not reached and state.reaches_quorum and state.leader is None:
            state.clock.failed = 0
            state.clock.restart(now_ms)
        if state.leads and peer in state.progress:
            replication.probe(state, peer, now_ms)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _time(self, now_ms: int) -> None:
        state = self._state
        if state.leads:
            replication.check_quorum(state, now_ms)
        elif state.clock.expired(now_ms):
            elections.campaign(state, now_ms)
        if now_ms >= state.beat_at_ms:
            state.beat_at_ms = now_ms + state.clock.heartbeat_ms
            replication.beat(state, now_ms)
            countersigning.repeat(state)

    @property
    def deadline_ms(self) -> int:
        """The next moment at which a `Tick` may change something."""
        state = self._state
        if not state.leads:
            waits = state.clock.deadline_ms
            return min(waits, state.beat_at_ms) if state.signed else waits
        moments = [state.beat_at_ms]
        if state.opened and state.making is None and state.transfer_to is None:
            due_ms = replication.due_ms(state)
            if due_ms is not None:
                moments.append(due_ms)
        return min(moments)

    def status(self) -> EngineStatus:
        state = self._state
        return EngineStatus(
            state.term,
            state.leader is not None,
            state.leader if state.leader is not None else state.me,
            state.final_height,
            state.in_flight,
            waiting_of(state),
            state.alarm,
        )
