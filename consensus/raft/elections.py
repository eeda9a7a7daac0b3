"""Elections (thesis, sections 3.4, 3.6, 4.2.3 and 9.6): pre-vote, loyalty to a leader that is heard, one vote per term.

Decided here: whose log may lead, when a vote is given, what changes with a term. Votes and terms are durable before anything
that rests on them leaves; the guard remembers both a second time, beside the key.
Not here: how long to wait (`election_clock`), what a leader does (`replication`).
"""

from tallystick.consensus.api import EpochAhead, ViewEntered
from tallystick.consensus.raft.messages import Acked, AskVote, Decided, GiveVote
from tallystick.consensus.raft.quorums import Tally
from tallystick.consensus.raft.state import Progress, RaftState, Role
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.ids import Height, NodeId, View

_VOTE = Tag(b"tallystick/raft-vote")


def vote_statement(candidate: NodeId) -> bytes:
    """What the guard remembers of a term's vote: 32 bytes that name the candidate."""
    return _VOTE.hash(candidate.to_bytes(2, "big"))


# -- terms -------------------------------------------------------------------------------------------------------------


def adopt(state: RaftState, term: View, now_ms: int) -> None:
    """A later term exists: whatever we were, we are a follower in it."""
    state.term, state.voted_for = term, None
    state.guard.join(term)
    state.keep = state.keep_guard = True
    retire(state, now_ms)


def retire(state: RaftState, now_ms: int) -> None:
    """Be a follower without a leader; what belonged to the old leader is forgotten."""
    was_leader = state.leads
    state.role, state.leader = Role.FOLLOWER, None
    state.votes.clear()
    state.incoming.clear()
    state.declined.clear()
    state.decliners.clear()
    state.progress.clear()
    state.reads.clear()
    state.judging = state.making = state.transfer_to = None
    state.opened = False
    state.verified, state.leader_commit = state.commit, 0
    state.clock.forget_leader()
    state.clock.restart(now_ms)
    if was_leader:
        state.note("stepped-down", term=state.term)


def step_down(state: RaftState, why: str, now_ms: int) -> None:
    """A leader gives up within its term, and lets the others try first."""
    state.note("gives-up", term=state.term, why=why)
    state.clock.failed += 1
    state.clock.barred_until_ms = now_ms + 2 * state.clock.span_ms
    retire(state, now_ms)


# -- standing ----------------------------------------------------------------------------------------------------------


def campaign(state: RaftState, now_ms: int) -> None:
    """Ask first whether we would win, so that a member that hears no leader disturbs nobody."""
    state.clock.restart(now_ms)
    _ask_around(state)
    if state.barred(now_ms) or not state.reaches_quorum:
        return
    state.clock.failed += 1
    state.clock.retry(now_ms)
    state.role = Role.TRIAL
    state.votes = {state.me: True}
    state.say(_ask(state, View(state.term + 1), trial=True))
    state.note("pre-vote", term=state.term + 1)
    _count(state, now_ms)


def _ask_around(state: RaftState) -> None:
    """Nobody leads us and nobody answers: our epoch may be over, and its leader speaks to members of the next one only. One
    after the other is asked for final blocks, if a trial has failed or could not be held."""
    peers = sorted(state.connected & set(state.setup.vote_keys))
    unheard = set(state.votes) <= {state.me}
    if peers and unheard and (state.clock.failed or not state.reaches_quorum):
        state.asked_around += 1
        state.out.append(EpochAhead(peers[state.asked_around % len(peers)]))


def stand(state: RaftState, now_ms: int, transfer: bool = False) -> None:
    """Stand in the next term. Our own vote counts when it is durable, like everybody else's."""
    term = View(state.term + 1)
    if not state.guard.may_change_view(term, vote_statement(state.me)):
        state.note("guard-refused", kind="vote", term=term)
        return
    adopt(state, term, now_ms)
    state.role, state.voted_for = Role.CANDIDATE, state.me
    state.promise(_ask(state, term, trial=False, transfer=transfer))
    state.note("candidate", term=term)


def _ask(state: RaftState, term: View, trial: bool, transfer: bool = False) -> AskVote:
    log = state.log
    return AskVote(
        state.setup.epoch,
        term,
        trial,
        log.last_term,
        log.last_height,
        state.final_height,
        transfer,
    )


# -- voting ------------------------------------------------------------------------------------------------------------


def on_ask_vote(state: RaftState, sender: NodeId, ask: AskVote, now_ms: int) -> None:
    if ask.epoch != state.setup.epoch:
        return
    if sender == state.me:
        if not ask.trial and ask.term == state.term and state.role is Role.CANDIDATE:
            state.votes[state.me] = True
            _count(state, now_ms)
        return
    if ask.final_height < state.final_height and state.final_certificate is not None:
        state.say(Decided(state.final_certificate), sender)
    if not ask.transfer and (state.leads or state.clock.is_loyal(now_ms)):
        # Not even our term is told: a candidate cut off from the leader must not pull it down.
        state.note("loyal", sender=sender, term=ask.term)
        return
    if ask.trial:
        granted = ask.term > state.term and _may_lead(state, ask)
        term = ask.term if granted else state.term
        if granted:
            _give_way(state, sender, ask, now_ms)
        state.say(GiveVote(state.setup.epoch, term, True, granted), sender)
        return
    if ask.term > state.term:
        adopt(state, ask.term, now_ms)
    granted = ask.term == state.term and _give(state, sender, ask, now_ms)
    reply = GiveVote(state.setup.epoch, state.term, False, granted)
    if granted:
        state.promise(reply, sender)
    else:
        state.say(reply, sender)


def _may_lead(state: RaftState, ask: AskVote) -> bool:
    """Is the candidate's log at least as complete as ours? Later last term first, then length."""
    return (ask.last_term, ask.last_height) >= (state.log.last_term, state.log.last_height)


def _give_way(state: RaftState, candidate: NodeId, ask: AskVote, now_ms: int) -> None:
    """Several might win a trial, and split the vote: the more complete log stands, then the lower id."""
    log = state.log
    theirs = (ask.last_term, ask.last_height, -candidate)
    if state.role is Role.TRIAL and theirs > (log.last_term, log.last_height, -state.me):
        state.role = Role.FOLLOWER
        state.votes.clear()
    if state.role is Role.FOLLOWER:
        state.clock.give_way(now_ms)


def _give(state: RaftState, candidate: NodeId, ask: AskVote, now_ms: int) -> bool:
    if state.voted_for == candidate:
        return True
    if state.voted_for is not None or not _may_lead(state, ask):
        return False
    if not state.guard.may_change_view(state.term, vote_statement(candidate)):
        state.note("guard-refused", kind="vote", term=state.term)
        return False
    state.role, state.voted_for = Role.FOLLOWER, candidate
    state.keep = state.keep_guard = True
    state.clock.restart(now_ms)
    state.note("vote", term=state.term, candidate=candidate)
    return True


def on_give_vote(state: RaftState, sender: NodeId, reply: GiveVote, now_ms: int) -> None:
    if reply.epoch != state.setup.epoch or sender == state.me:
        return
    if reply.trial:
        if not reply.granted and reply.term > state.term:
            adopt(state, reply.term, now_ms)  # so that the next trial asks for a term that is free
        elif state.role is Role.TRIAL:
            expected = state.term + 1 if reply.granted else state.term
            if reply.term == expected or not reply.granted:
                state.votes[sender] = reply.granted
                _count(state, now_ms)
        return
    if reply.term > state.term:
        adopt(state, reply.term, now_ms)
    elif reply.term == state.term and state.role is Role.CANDIDATE:
        state.votes[sender] = reply.granted
        _count(state, now_ms)


def _count(state: RaftState, now_ms: int) -> None:
    if state.configuration.tally(state.votes) is not Tally.WON:
        return  # lost or pending alike: the clock decides when to try again
    if state.role is Role.TRIAL:
        stand(state, now_ms)
    elif state.role is Role.CANDIDATE:
        _lead(state, now_ms)


def _lead(state: RaftState, now_ms: int) -> None:
    """Won. Everything in our log is durable by now: our own vote left after it."""
    log = state.log
    first, durable = Height(log.last_height + 1), log.last_height
    if log.closed:
        if not _close_again(state):
            return retire(state, now_ms)
        first, durable = log.last_height, Height(log.last_height - 1)
    state.role, state.leader = Role.LEADER, state.me
    state.votes.clear()
    state.opened, state.own_match, state.judging = log.closed, durable, None
    state.owed_since_ms = now_ms
    state.progress = {peer: Progress(next=first, heard_ms=now_ms) for peer in state.others}
    # The block that opens the term is the first append; while our own tail is still executed, a heartbeat is.
    state.beat_at_ms = now_ms + (state.clock.heartbeat_ms if state.tail_executed else 0)
    state.out.append(ViewEntered(state.term))
    return state.note(
        "leader", term=state.term, last_height=log.last_height, last_term=log.last_term
    )


def _close_again(state: RaftState) -> bool:
    """Our log ends with an uncommitted closing block of an older term, on which no block may open ours. It is taken again under
    our term before anything of ours leaves: an acknowledgement of the old entry would not count for it."""
    block = state.log.entries[-1].block
    permitted = state.guard.may_prepare(
        state.term, block.height, block.link, block.parent_link, state.final_link
    )
    if not permitted:
        state.note("guard-refused", kind="append", height=block.height)
        return False
    state.log.take_again(state.term)
    state.keep = state.keep_guard = True
    state.promise(
        Acked(state.setup.epoch, state.term, block.height, 0, state.final_height), state.me
    )
    state.note("take-again", term=state.term, height=block.height, link=block.link)
    return True
