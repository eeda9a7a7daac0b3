"""A follower: does its log meet the leader's, and does its own execution agree, before it acknowledges (thesis, section 3.5).

Decided here: what is taken from an append, when a conflicting tail goes (only when its replacement has been executed, and never
a committed entry), and which acknowledgement leaves: at most up to the entries of the message, once they are durable.
Not here: whether a block is valid (its owner judges), the leader's side (`replication`).
"""

from tallystick.consensus.api import HoldBlock, Judge, Judged, KeepBlock, Verdict, ViewEntered
from tallystick.consensus.raft.elections import adopt
from tallystick.consensus.raft.log import Entry
from tallystick.consensus.raft.messages import Acked, Append, Declined, Nack
from tallystick.consensus.raft.state import HEIGHTS_AHEAD_MAX, RaftState, Role
from tallystick.network.wire.ids import Height, Link, NodeId, View

_NONE = Link(bytes(32))


# -- appends -----------------------------------------------------------------------------------------------------------


def on_append(state: RaftState, sender: NodeId, append: Append, now_ms: int) -> None:
    if append.epoch != state.setup.epoch or sender == state.me:
        return None
    if append.term < state.term:
        # Its sender must learn of our term, or we could never follow it (etcd 8243).
        return _nack(state, sender, append)
    if append.term > state.term:
        adopt(state, append.term, now_ms)
    if not _follow(state, sender, now_ms):
        return None
    entries = _entries(state, append)
    if entries is None:
        return state.note("garbage", sender=sender, reason="entries that do not chain")
    last = append.prev_height + len(entries)
    if append.prev_height < state.final_height:
        # What is final here is committed, so the leader's log has the same.
        entries = [entry for entry in entries if entry.block.height > state.final_height]
    elif _term_at(state, append.prev_height) != append.prev_term:
        return _nack(state, sender, append)
    state.leader_commit = max(state.leader_commit, append.commit)
    equal = _take(state, min(last, max(append.prev_height, state.final_height)), entries)
    if equal is None:
        return None
    state.verified = max(state.verified, equal)
    advance_commit(state)
    if append.round or (append.entries and equal == last):
        _acknowledge(state, min(Height(last), state.verified), append.round)
    return None


def _follow(state: RaftState, sender: NodeId, now_ms: int) -> bool:
    """The sender leads this term. Two leaders of one term are no crash fault."""
    if state.leads or (state.leader is not None and state.leader != sender):
        state.alarm_once(f"members {state.leader} and {sender} both lead term {state.term}", True)
        return False
    state.clock.heard_leader(now_ms)
    if state.role is not Role.FOLLOWER:
        state.role = Role.FOLLOWER
        state.votes.clear()
    if state.leader is None:
        state.leader, state.judging = sender, None
        state.out.append(ViewEntered(state.term))
        state.note("follows", term=state.term, leader=sender)
    return True


def _entries(state: RaftState, append: Append) -> list[Entry] | None:
    """The blocks of an append, or None when they are not a chain of rising heights and terms of the past."""
    entries: list[Entry] = []
    height, term, link = append.prev_height, append.prev_term, None
    for row in append.entries:
        block = state.setup.describe(row.block)
        if block is None or block.height != height + 1 or not term <= row.term <= append.term:
            return None
        if link is not None and block.parent_link != link:
            return None
        if row.carried and not (block.closes and row.term == append.term):
            return None
        entries.append(Entry(row.term, block, row.carried))
        height, term, link = block.height, row.term, block.link
    return entries


def _term_at(state: RaftState, height: int) -> View | None:
    """Of what we hold of the leader's log: our own, and over it what is not judged yet."""
    if height == state.final_height:
        return state.final_term
    incoming = state.incoming
    if incoming and height >= incoming[0].block.height:
        index = height - incoming[0].block.height
        return incoming[index].term if index < len(incoming) else None
    return state.log.term_at(height)


def _take(state: RaftState, met: int, entries: list[Entry]) -> Height | None:
    """Queue what is new after height `met`, where the logs meet. The height up to which our log, without what is queued,
    equals the leader's; None when the append contradicts what cannot be contradicted."""
    equal = min(met, state.incoming[0].block.height - 1) if state.incoming else met
    for entry in entries:
        block = entry.block
        if block.height > state.log.last_height + HEIGHTS_AHEAD_MAX:
            break
        known = _held(state, block.height)
        fault = _contradiction(state, entry, known)
        if fault is not None:
            state.alarm_once(fault, halt=True)
            return None
        if known is not None and known.term == entry.term:
            if not state.incoming or block.height < state.incoming[0].block.height:
                equal = block.height
            continue
        if known is not None and block.closes:
            state.verified = min(state.verified, Height(block.height - 1))  # until it is ours, too
        if block.link in state.declined and not _decline_again(state, entry):
            break
        state.incoming.append(entry)
        state.out.append(HoldBlock(block))
    return Height(equal)


def _contradiction(state: RaftState, entry: Entry, known: Entry | None) -> str | None:
    """What no crash can bring about: a settled entry that differs, two blocks in one place of one term, or one above the last
    block of the epoch. That last block taken again by a later leader is the same block, and settled it stays."""
    block, height = entry.block, entry.block.height
    below = _held(state, height - 1)
    if below is not None and below.block.closes:
        return f"the leader of term {state.term} goes on above height {height - 1}, which closes the epoch"
    if known is None or known.term != entry.term:
        same = entry.carried and known is not None and known.block.link == block.link
        settled = height <= max(state.commit, state.verified) or bool(state.incoming)
        if known is not None and settled and not same:
            return f"the leader of term {state.term} contradicts height {height}, which is settled"
        if not _follows(state, block.parent_link, height):
            return f"the block at height {height} has another parent here"
    elif known.block.link != block.link:
        return f"two blocks of term {entry.term} stand at height {height}"
    return None


def _held(state: RaftState, height: int) -> Entry | None:
    incoming = state.incoming
    if incoming and height >= incoming[0].block.height:
        index = height - incoming[0].block.height
        return incoming[index] if index < len(incoming) else None
    return state.log.entry(height)


def _follows(state: RaftState, parent_link: Link, height: int) -> bool:
    below = _held(state, height - 1)
    if below is not None:
        return below.block.link == parent_link
    if height - 1 == state.final_height:
        return state.final_link == parent_link
    return state.log.link_at(height - 1) == parent_link


# -- answers -----------------------------------------------------------------------------------------------------------


def _nack(state: RaftState, sender: NodeId, append: Append) -> None:
    """Where the logs may meet: our last entry below the rejected one of no later term."""
    log = state.log
    hint = max(log.last_at_most(append.prev_term, append.prev_height - 1), state.final_height)
    hint_term = state.final_term if hint == state.final_height else log.term_at(hint)
    round_ = append.round if append.term == state.term else 0
    epoch, rejected = state.setup.epoch, append.prev_height
    nack = Nack(epoch, state.term, rejected, hint, hint_term or View(0), round_)
    state.promise(nack, sender)


def _acknowledge(state: RaftState, match: Height, round_: int) -> None:
    if state.leader is not None:
        acked = Acked(state.setup.epoch, state.term, match, round_, state.final_height)
        state.promise(acked, state.leader)


def advance_commit(state: RaftState) -> None:
    """As far as the leader says, but no further than our log is known to be its log."""
    state.commit = Height(max(state.commit, min(state.leader_commit, state.verified)))


# -- judging -----------------------------------------------------------------------------------------------------------


def advance(state: RaftState) -> None:
    """Execute the next block: first what a restart found in the log, then what the leader sent."""
    entry = _next(state)
    if entry is None:
        return
    block = entry.block
    fresh = (
        entry.term == state.term
        and not entry.carried
        and block.height > max(state.leader_commit, state.commit)
    )
    restored = state.log.link_at(block.height) == block.link
    wish = (block.link, fresh and not restored)
    if wish == state.judging:
        return
    if state.judging is not None and state.judging[0] != block.link:
        return
    state.judging = wish
    state.out.append(Judge(state.term, block, wish[1], state.term - state.final_term))


def _next(state: RaftState) -> Entry | None:
    for height in range(state.final_height + 1, state.log.last_height + 1):
        entry = state.log.entry(height)
        if entry is not None and entry.block.link not in state.executed:
            incoming = state.incoming
            if incoming and incoming[0].block.height <= height:
                break  # it is about to be replaced
            return None if entry.block.link in state.declined else entry
    return state.incoming[0] if state.incoming else None


def on_judged(state: RaftState, judged: Judged) -> None:
    """The owner has executed the block we asked about."""
    if judged.view != state.term or state.judging is None or judged.link != state.judging[0]:
        return
    state.judging = None
    entry = _next(state)
    if entry is None or entry.block.link != judged.link:
        return
    queued = bool(state.incoming) and entry is state.incoming[0]
    if judged.verdict is not Verdict.ACCEPT:
        in_log = state.log.link_at(entry.block.height) == judged.link
        _decline(state, entry, judged, in_log)
    elif queued:
        _accept(state, entry)
    else:
        state.executed.add(judged.link)


def _accept(state: RaftState, entry: Entry) -> None:
    """Into the log, in the place of whatever an older term left there; durable before the acknowledgement leaves."""
    block = entry.block
    permitted = state.guard.may_prepare(
        state.term, block.height, block.link, block.parent_link, state.final_link
    )
    if not permitted:
        state.note("guard-refused", kind="append", height=block.height)
        state.incoming.clear()
        return
    del state.incoming[0]
    if block.height <= state.log.last_height:
        dropped = state.log.truncate_from(block.height)
        state.executed.difference_update(old.block.link for old in dropped)
        again = [old.block.link for old in dropped] == [block.link]
        state.note(
            "take-again" if again else "truncate",
            term=state.term,
            height=block.height,
            entries=len(dropped),
        )
    state.log.append(entry)
    state.executed.add(block.link)
    state.verified = block.height
    state.keep = state.keep_guard = True
    state.out.append(KeepBlock(block))
    _acknowledge(state, block.height, 0)
    advance_commit(state)
    state.note("append", term=state.term, height=block.height, link=block.link)


def _decline(state: RaftState, entry: Entry, judged: Judged, in_log: bool) -> None:
    block = entry.block
    own = (judged.own_link or _NONE) if judged.verdict is Verdict.DISAGREE else None
    state.declined[block.link] = (judged.verdict, own)
    state.note("declined", height=block.height, link=block.link, verdict=judged.verdict.value)
    if in_log:
        # Acknowledged in an earlier life and executed otherwise now: this release must not lead.
        state.lost.add(block.link)
        state.alarm_once(
            f"the block of our own log at height {block.height} executes otherwise now"
        )
        return
    state.incoming.clear()
    _say_declined(state, entry, own)


def _decline_again(state: RaftState, entry: Entry) -> bool:
    """True: it is committed meanwhile, so its time is not ours to judge any more."""
    verdict, own = state.declined[entry.block.link]
    if entry.block.height <= state.leader_commit:
        if verdict is Verdict.DISAGREE:
            state.alarm_once(
                f"a majority committed height {entry.block.height}, which executes otherwise here",
                True,
            )
            return False
        del state.declined[entry.block.link]
        return True
    _say_declined(state, entry, own)
    return False


def _say_declined(state: RaftState, entry: Entry, own: Link | None) -> None:
    if state.leader is not None:
        epoch, block = state.setup.epoch, entry.block
        state.say(Declined(epoch, state.term, block.height, block.link, own), state.leader)
