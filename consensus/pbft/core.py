"""Which rule hears which event: dispatch only. The rules are in `ordering`, `view_change` and `synchronizer`.

After every event the same four questions are asked in the same order: do votes make certificates, may a proposal be
judged, is a block due, has the view had its time?
"""

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
from tallystick.consensus.pbft import ordering, reading, rollback_check, view_change
from tallystick.consensus.pbft.messages import (
    MESSAGE,
    AskBlock,
    AskIndex,
    AskSigned,
    Decided,
    Disagree,
    GiveBlock,
    NewView,
    Proposal,
    ShowIndex,
    ShowSigned,
    Standing,
    ViewChange,
    Vote,
    epoch_of,
)
from tallystick.consensus.pbft.state import RECORD, PbftState
from tallystick.consensus.pbft.synchronizer import Synchronizer
from tallystick.consensus.pbft.waiting import waiting_of
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import NodeId, View


class Pbft:
    """One member's engine for one epoch of one lane. After the block that closes the epoch it only helps others to finish."""

    def __init__(self, setup: Setup, crypto: Crypto, restored: Restored, now_ms: int) -> None:
        timing, final = setup.timing, restored.final
        if final is not None and final.epoch != setup.epoch:
            final = None  # it closed the epoch before: no view of ours decided anything yet
        state = PbftState(
            setup,
            crypto,
            Guard(setup.epoch, restored.guard),
            Synchronizer(timing),
            Batching(setup.block_transactions_max, setup.pipeline, timing),
            restored.final_height,
            restored.final_link,
            final,
            View(0),
        )
        state.blocks = {block.link: block for block in restored.blocks}
        state.high = final
        if restored.record is not None:
            record = RECORD.decode(restored.record)
            state.view, state.change = record.view, record.change
            if record.high is not None:
                state.raise_high(record.high)
        fresh = restored.record is None and state.guard.unused
        # View 0 needs no message to be open; any other view is entered again by the new-view message of a peer.
        state.active = state.view == 0 and state.guard.floor == 0
        state.last = state.guard.last_prepared(state.view)
        state.may_lead = fresh
        rollback_check.begin(state, restored.guard, now_ms)
        state.synchronizer.entered(now_ms)
        change = state.change
        if not state.active and change is not None and change.view == state.view:
            # Between views, or in one that a peer will show us again: our own view change counts as it did before.
            state.changes[setup.me] = change
            state.synchronizer.left(now_ms)
        self._state = state
        self._began_in = state.view
        self._leave_first = not fresh and state.leader_of(state.view) == setup.me

    # -- the one entry -------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Hear one event; what to do about it, in order."""
        state = self._state
        state.out = []
        self._hear(event, now_ms)
        if not state.halted:
            ordering.count(state, now_ms)
            ordering.advance(state)
            if ordering.propose(state, now_ms):
                ordering.advance(state)
            if isinstance(event, Tick):
                self._time(now_ms)
        return state.out

    def _hear(self, event: Event, now_ms: int) -> None:
        state = self._state
        match event:
            case Heard(sender, message):
                self._hear_message(sender, message, now_ms)
            case Judged():
                ordering.on_judged(state, event)
            case BlockMade():
                ordering.on_block_made(state, event, now_ms)
            case WorkWaiting(ready, outstanding, arrived):
                state.batching.heard(ready, arrived, now_ms)
                state.outstanding = outstanding
                state.synchronizer.owes(outstanding > 0, now_ms)
            case CaughtUp(certificate):
                if certificate.height > state.final_height:
                    ordering.became_final(state, certificate, now_ms)
            case PeerUp(peer):
                state.connected.add(peer)
                if peer == state.leader_of(state.view):
                    state.synchronizer.leader_back()
                if len(state.connected) + 1 == state.quorum:
                    state.synchronizer.reconnected(now_ms)
                rollback_check.ask(state, peer)
                view_change.tell_standing(state, peer)
            case PeerDown(peer):
                state.connected.discard(peer)
                if state.active and peer == state.leader_of(state.view):
                    state.synchronizer.suspect(now_ms)
            case ReadIndex(round_):
                reading.read(state, round_)
            case HandOver(to):
                view_change.hand_over(state, to, now_ms)
            case Unfair(view, bank):
                if state.active and view == state.view and state.reaches_quorum:
                    state.note("unfair", view=view, bank=bank)
                    view_change.leave(state, View(view + 1), now_ms)
            case Tick():
                pass
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
        if epoch is not None and epoch != state.setup.epoch:
            if epoch > state.setup.epoch:
                state.out.append(EpochAhead(sender))
            return None
        match said:
            case Proposal():
                ordering.on_proposal(state, sender, said)
            case Vote():
                ordering.on_vote(state, sender, said)
            case ViewChange():
                view_change.on_view_change(state, sender, said, now_ms)
            case NewView():
                view_change.on_new_view(state, sender, said, now_ms)
            case Decided(certificate):
                news = certificate.commits and certificate.height > state.final_height
                if news:
                    if not view_change.genuine_certificate(state, certificate):
                        return state.note("forged-certificate", sender=sender)
                    ordering.on_commit_certificate(state, certificate, now_ms)
            case Standing():
                view_change.on_standing(state, sender, said, now_ms)
            case AskBlock(link):
                block = state.blocks.get(link)
                if block is not None:
                    state.say(GiveBlock(block.data), sender)
            case GiveBlock(data):
                self._take_block(data)
            case Disagree():
                ordering.on_disagree(state, sender, said)
            case AskIndex():
                reading.on_ask_index(state, sender, said)
            case ShowIndex():
                reading.on_show_index(state, sender, said, now_ms)
            case AskSigned():
                rollback_check.on_ask(state, sender, said, now_ms)
            case ShowSigned():
                if rollback_check.on_show(state, sender, said):
                    view_change.peers_were_asked(state, now_ms)
            case _:
                assert_never(said)
        return None

    def _take_block(self, data: bytes) -> None:
        """Only the block of the tip is ever asked for, and its bytes must give its link."""
        state, block = self._state, self._state.setup.describe(data)
        if block is not None and state.tip is not None and block.link == state.tip.link:
            state.blocks.setdefault(block.link, block)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _time(self, now_ms: int) -> None:
        state = self._state
        if state.asking is not None:
            pass  # a view is left by a signature
        elif self._leave_first:
            # A leader that restarted may not remember what it proposed in its view: it hands the view on, unless
            # others have gone on without it meanwhile.
            self._leave_first = False
            gone_on = state.high is not None and state.high.view > state.view
            if state.view == self._began_in and not gone_on:
                view_change.leave(state, View(state.view + 1), now_ms)
        elif state.reaches_quorum and state.synchronizer.expired(now_ms):
            state.synchronizer.failed += 1
            view_change.leave(state, View(state.view + 1), now_ms)
        if now_ms >= state.resend_at_ms:
            if state.resend_at_ms:
                rollback_check.ask_again(state)
            if state.resend_at_ms and self._stuck(now_ms):
                view_change.tell_standing(state)
            state.resend_at_ms = now_ms + state.synchronizer.resend_ms

    def _stuck(self, now_ms: int) -> bool:
        """Between views, or nothing final for as long as a resend takes while something is owed."""
        deadline_ms = self._state.synchronizer.deadline_ms
        return (
            deadline_ms is None or deadline_ms - now_ms < self._state.synchronizer.timeout_ms // 2
        )

    @property
    def deadline_ms(self) -> int:
        """The next moment at which a `Tick` may change something."""
        state = self._state
        at_ms = state.resend_at_ms
        if state.asking is not None:
            return at_ms
        if self._leave_first:
            return 0
        view_ends_ms = state.synchronizer.deadline_ms
        if view_ends_ms is not None and view_ends_ms < at_ms and state.reaches_quorum:
            at_ms = view_ends_ms
        due_ms = ordering.due_ms(state)
        return due_ms if due_ms is not None and due_ms < at_ms else at_ms

    def status(self) -> EngineStatus:
        state = self._state
        return EngineStatus(
            state.view,
            state.active,
            state.leader_of(state.view),
            state.final_height,
            state.in_flight,
            waiting_of(state),
            state.alarm,
        )
