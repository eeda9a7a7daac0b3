"""The leader: a block when one is due, appends in a pipeline, the commit index (thesis, sections 3.5, 3.6.2 and 10.2.1).

Decided here: what each follower is sent, what its answers mean, and what is committed: never an entry of an older term by
counting; the empty block that opens a term commits what stands below it. An append is sent while our own disk still writes:
it claims nothing, and our own acknowledgement counts only when it is durable, as everybody's.
Not here: what a follower does with it (`following`), certificates (`countersigning`), reads and hand-over (`operations`).
"""

from tallystick.consensus.api import Block, BlockMade, KeepBlock, MakeBlock
from tallystick.consensus.raft.elections import adopt, step_down
from tallystick.consensus.raft.log import Entry
from tallystick.consensus.raft.messages import (
    ENTRIES_PER_APPEND_MAX,
    Acked,
    Append,
    Decided,
    Declined,
    LogEntry,
    Nack,
)
from tallystick.consensus.raft.state import Progress, RaftState
from tallystick.network.wire import bounds
from tallystick.network.wire.ids import Height, NodeId

APPEND_BYTES_MAX = bounds.CONSENSUS_MESSAGE_BYTES_MAX // 2
"""Blocks in one append; a single block may be larger."""


# -- making blocks -----------------------------------------------------------------------------------------------------


def due_ms(state: RaftState) -> int | None:
    """The moment from which the log may grow; None: not before something else happens."""
    if state.log.closed:
        return None  # the pipeline drains: the child of this block is the next epoch's
    return state.batching.due_ms(state.in_flight, state.batching.last_proposal_ms)


def propose(state: RaftState, now_ms: int) -> None:
    """Open the term with an empty block, whatever is in flight; afterwards extend the log while the pipeline has room."""
    if not state.leads or state.making is not None or not state.tail_executed:
        return
    empty = not state.opened
    if state.opened:
        if state.transfer_to is not None:
            return
        at_ms = due_ms(state)
        if at_ms is None or now_ms < at_ms:
            return
    if not state.in_flight:
        state.owed_since_ms = now_ms
    state.making = state.log.last_link
    state.out.append(MakeBlock(Height(state.log.last_height + 1), state.making, empty))


def on_block_made(state: RaftState, made: BlockMade, now_ms: int) -> None:
    """Our own block, executed already: into the log, to the disk and to the others in one step."""
    if state.making != made.parent_link:
        return None  # leadership was lost meanwhile
    state.making = None
    block = made.block
    if not state.leads or state.log.last_link != made.parent_link:
        return None
    if not promise_entry(state, block):
        return step_down(state, "the guard refuses our block", now_ms)
    state.log.append(Entry(state.term, block))
    state.executed.add(block.link)
    state.opened, state.keep = True, True
    state.batching.waiting = max(0, state.batching.waiting - made.transactions)
    state.batching.last_proposal_ms = now_ms
    state.out.append(KeepBlock(block))
    epoch = state.setup.epoch
    state.promise(Acked(epoch, state.term, block.height, 0, state.final_height), state.me)
    state.note("propose", term=state.term, height=block.height, link=block.link)
    return None


def promise_entry(state: RaftState, block: Block) -> bool:
    """May this stand in our log as an entry of our term?"""
    state.keep_guard = True
    return state.guard.may_prepare(
        state.term, block.height, block.link, block.parent_link, state.final_link
    )


# -- sending -----------------------------------------------------------------------------------------------------------


def replicate(state: RaftState, now_ms: int) -> None:
    """Send every follower what it lacks, as far as its pipeline goes, and the news that something is committed."""
    if not state.leads:
        return
    for peer, progress in state.progress.items():
        while progress.next <= state.log.last_height and not progress.paused:
            out = progress.next - 1 - progress.match
            if not progress.probing and out >= state.setup.pipeline:
                break
            _send(state, peer, progress, now_ms)
        if progress.commit_told < state.commit and not progress.probing:
            _send(state, peer, progress, now_ms, entries=False)


def beat(state: RaftState, now_ms: int) -> None:
    """A heartbeat: proof of life, and whatever seems to have been lost again."""
    if not state.leads:
        return
    for peer, progress in state.progress.items():
        unanswered = progress.match < progress.next - 1 and progress.match == progress.match_before
        if unanswered and not progress.probing:
            progress.cut_off()
        progress.paused = False
        stands_still = progress.match == progress.match_before
        progress.match_before = progress.match
        if progress.final_height < state.final_height and (
            progress.match >= state.final_height or stands_still
        ):
            # It has the block and missed the certificate; or it cannot execute what it is sent: the transactions of
            # final blocks are no longer handed out one by one, so it must fetch the blocks themselves.
            _offer(state, peer, progress, now_ms)
        _send(state, peer, progress, now_ms, state.round, entries=progress.probing)


def ask_round(state: RaftState, now_ms: int) -> None:
    """Ask everybody for an answer to the current round; what is on its way is left alone."""
    for peer, progress in state.progress.items():
        _send(state, peer, progress, now_ms, state.round, entries=False)


def probe(state: RaftState, peer: NodeId, now_ms: int) -> None:
    """A follower is connected again: find out at once where it stands."""
    progress = state.progress[peer]
    progress.cut_off()
    _send(state, peer, progress, now_ms, state.round)


def _send(
    state: RaftState,
    peer: NodeId,
    progress: Progress,
    now_ms: int,
    round_: int = 0,
    entries: bool = True,
) -> None:
    log = state.log
    lacks_compacted = progress.next <= log.base_height
    if lacks_compacted:
        _offer(state, peer, progress, now_ms)
    first = max(progress.next, log.base_height + 1)
    run: list[Entry] = []
    if entries and not lacks_compacted:
        count = min(state.tuning.entries_per_append, ENTRIES_PER_APPEND_MAX)
        run = log.run(first, count, APPEND_BYTES_MAX)
    prev_term = log.term_at(first - 1)
    if prev_term is None:
        return
    rows = tuple([LogEntry(entry.term, entry.block.data, entry.carried) for entry in run])
    epoch, prev = state.setup.epoch, Height(first - 1)
    if progress.probing or lacks_compacted:
        # One at a time, and it must be answered: an append that fits nowhere is answered by a Nack.
        progress.paused, round_ = True, state.round
    else:
        progress.next += len(run)
    progress.commit_told = state.commit
    state.say(Append(epoch, state.term, prev, prev_term, rows, state.commit, round_), peer)


def _offer(state: RaftState, peer: NodeId, progress: Progress, now_ms: int) -> None:
    """In place of a snapshot: a certificate, from which the follower fetches final blocks by itself."""
    if state.final_certificate is not None and (
        now_ms >= progress.offered_ms + state.clock.heartbeat_ms
    ):
        progress.offered_ms = now_ms
        state.say(Decided(state.final_certificate), peer)


# -- answers -----------------------------------------------------------------------------------------------------------


def on_acked(state: RaftState, sender: NodeId, acked: Acked, now_ms: int) -> None:
    """Only this moves `match`, and only up."""
    if acked.epoch != state.setup.epoch:
        return None
    if sender == state.me:
        if state.leads and acked.term == state.term:
            state.own_match = max(state.own_match, acked.match)
        return None
    progress = _progress(state, sender, acked, now_ms)
    if progress is None:
        return None
    if acked.match > state.log.last_height:
        return state.note("garbage", sender=sender, reason="acknowledges what was never sent")
    progress.round = max(progress.round, acked.round)
    progress.final_height = max(progress.final_height, acked.final_height)
    if acked.match >= progress.match:
        progress.match = acked.match
        # What is final there needs not be sent; whether it is equal, the next append asks.
        known = max(acked.match, min(acked.final_height, state.log.last_height))
        progress.next = max(progress.next, known + 1)
        progress.probing = progress.paused = False
    return None


def on_nack(state: RaftState, sender: NodeId, nack: Nack, now_ms: int) -> None:
    """Try further back. A hint, never a match; what was acknowledged stays acknowledged."""
    if nack.epoch != state.setup.epoch or sender == state.me:
        return
    progress = _progress(state, sender, nack, now_ms)
    if progress is None:
        return
    progress.round = max(progress.round, nack.round)
    stale = nack.rejected <= progress.match or (
        progress.probing and nack.rejected != max(progress.next, state.log.base_height + 1) - 1
    )
    if stale:
        return
    hint = state.log.last_at_most(nack.hint_term, min(nack.hint_height, nack.rejected - 1))
    if nack.hint_height < state.log.base_height:
        hint = nack.hint_height
    progress.next = max(progress.match + 1, min(nack.rejected, hint + 1))
    progress.probing, progress.paused = True, progress.next <= state.log.base_height
    if progress.paused:
        _offer(
            state, sender, progress, now_ms
        )  # again with every heartbeat, until it has caught up


def _progress(
    state: RaftState, sender: NodeId, answer: Acked | Nack | Declined, now_ms: int
) -> Progress | None:
    """The sender's progress, if this answers a leader of this term. A later term ends ours."""
    if answer.term > state.term:
        adopt(state, answer.term, now_ms)
        return None
    if answer.term < state.term or not state.leads:
        return None
    progress = state.progress.get(sender)
    if progress is not None:
        progress.heard_ms = now_ms
    return progress


def on_declined(state: RaftState, sender: NodeId, declined: Declined, now_ms: int) -> None:
    """A follower does not take our block. When a majority can no longer, we have lost: another leader's turn."""
    if declined.epoch != state.setup.epoch or sender == state.me:
        return
    if _progress(state, sender, declined, now_ms) is None:
        return
    if state.log.link_at(declined.height) != declined.link:
        return
    if declined.own is not None:
        state.alarm_once(
            f"member {sender} executed the block proposed at height {declined.height} differently"
        )
    against = state.decliners.setdefault(declined.link, set())
    against.add(sender)
    in_favour = [node for node in (state.me, *state.others) if node not in against]
    if not state.configuration.won(in_favour):
        if declined.own is not None:
            state.lost.add(declined.link)
        step_down(state, f"{len(against)} members decline our block", now_ms)


# -- committing --------------------------------------------------------------------------------------------------------


def commit(state: RaftState) -> None:
    """The highest index that a majority acknowledged, if its entry is of our own term."""
    if not state.leads:
        return
    matches = {peer: progress.match for peer, progress in state.progress.items()}
    matches[state.me] = state.own_match
    index = state.configuration.committed_index(matches)
    if index > state.commit and state.log.term_at(index) == state.term:
        state.commit = Height(index)


def check_quorum(state: RaftState, now_ms: int) -> None:
    """A leader that a majority has not answered for a whole span, or that brings nothing about, gives up."""
    span_ms = state.clock.span_ms
    heard = [peer for peer, known in state.progress.items() if now_ms < known.heard_ms + span_ms]
    if not state.configuration.won([state.me, *heard]):
        return step_down(state, "no quorum answers", now_ms)
    # A block that its owner cannot make stays in the making: somebody else's release may be able to.
    owes = bool(state.in_flight) or not state.opened or state.making is not None
    if owes and now_ms >= state.owed_since_ms + state.clock.stall_ms:
        return step_down(state, "nothing became final", now_ms)
    if state.transfer_to is not None and now_ms >= state.transfer_until_ms:
        state.transfer_to = None
    return None
