"""What a Raft member waits for now: asked by people, so nothing here is on the way of a payment.

Only a leader knows whose acknowledgement is missing; a follower knows its leader, and who has countersigned.
"""

from tallystick.consensus.raft.quorums import Tally
from tallystick.consensus.raft.state import RaftState, Role
from tallystick.consensus.waiting import Phase, Waiting, missing, names, some_of
from tallystick.network.proofs.certificates import majority_of
from tallystick.network.wire.ids import NodeId


def waiting_of(state: RaftState) -> Waiting:
    """The one thing that is missing first."""
    if state.halted:
        return _wait(state, Phase.PEOPLE, (), 0, f"people: {state.alarm}")
    if not state.reaches_quorum:
        here = {state.me, *state.connected}
        down = missing(_voters(state), here)
        needed = _needed(state, here)
        return _wait(state, Phase.CONNECTIONS, down, needed, f"a connection to {some_of(needed, down)}")  # fmt: skip
    if state.leads:
        return _leading(state)
    if state.leader is not None:
        return _following(state, state.leader)
    return _electing(state)


def _voters(state: RaftState) -> tuple[NodeId, ...]:
    return state.configuration.everybody


def _needed(state: RaftState, here: set[NodeId]) -> int:
    """How many more make a majority."""
    short = majority_of(len(state.configuration.voters)) - len(state.configuration.voters & here)
    return max(1, short)


def _wait(
    state: RaftState, phase: Phase, awaited: tuple[NodeId, ...], needed: int, unblocks: str
) -> Waiting:
    since_ms = max(state.last_final_ms, state.work_since_ms)
    if phase is Phase.PROPOSAL and not state.batching.waiting:
        since_ms = state.last_final_ms + state.setup.timing.idle_block_ms
    return Waiting(phase, awaited, needed, since_ms, state.final_height + 1, unblocks)


def _leading(state: RaftState) -> Waiting:
    height = state.final_height + 1
    if state.log.last_height < height or not state.opened:
        if state.making is not None:
            return _wait(state, Phase.OWN_BLOCK, (state.me,), 1, "the block that this node is making")  # fmt: skip
        if not state.tail_executed:
            return _judging(state)
        return _wait(state, Phase.PROPOSAL, (state.me,), 1, "a block of this node, which leads")
    if state.commit < height:
        have = {peer for peer, known in state.progress.items() if known.match >= height}
        have |= {state.me} if state.own_match >= height else set()
        awaited, needed = missing(_voters(state), have), _needed(state, have)
        what = f"acknowledgements of the append at height {height} by {some_of(needed, awaited)}"
        return _wait(state, Phase.APPEND_ACKS, awaited, needed, what)
    return _countersigning(state, height)


def _judging(state: RaftState) -> Waiting:
    what = "a vote of our own: the block of the log is still judged here"
    return _wait(state, Phase.JUDGEMENT, (state.me,), 1, what)


def _countersigning(state: RaftState, height: int) -> Waiting:
    """Whoever signed the block at `height`, or one above it, in any term."""
    signed = {
        node
        for (_, at), votes in state.ballots.items()
        if at >= height
        for node, vote in votes.items()
        if state.log.link_at(at) == vote.link
    }
    awaited, needed = missing(_voters(state), signed), _needed(state, signed)
    what = f"countersignatures for height {height} of {some_of(needed, awaited)}"
    return _wait(state, Phase.COUNTERSIGNATURES, awaited, needed, what)


def _following(state: RaftState, leader: NodeId) -> Waiting:
    if state.incoming:
        return _judging(state)
    height = state.final_height + 1
    if state.log.last_height < height:
        what = f"an append of member {leader}, which leads, or the next election, which comes by itself"
        return _wait(state, Phase.PROPOSAL, (leader,), 1, what)
    if state.commit < height:
        what = f"member {leader} to say that height {height} is committed: ask it whose acknowledgement is missing"
        return _wait(state, Phase.APPEND_ACKS, (leader,), 1, what)
    return _countersigning(state, height)


def _electing(state: RaftState) -> Waiting:
    voters = _voters(state)
    if state.role in (Role.TRIAL, Role.CANDIDATE):
        given = {node for node, yes in state.votes.items() if yes}
        awaited, needed = missing(voters, given), _needed(state, given)
        lost = state.configuration.tally(state.votes) is Tally.LOST
        again = "; this one is lost, the next comes by itself" if lost else ""
        what = f"votes for this node in term {state.term} of {some_of(needed, awaited)}{again}"
        return _wait(state, Phase.ELECTION_VOTES, awaited, needed, what)
    others = missing(voters, {state.me})
    what = f"one of {names(others)} with a complete log to stand for election; this node stands by itself soon"
    return _wait(state, Phase.LEADER, others, 1, what)
