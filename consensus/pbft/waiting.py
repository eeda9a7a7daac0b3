"""What a PBFT replica waits for now: asked by people, so nothing here is on the way of a payment.

Read in the order in which things must happen: a quorum connected, the view open, its next block proposed, judged, prepared,
committed. The first that is missing is what is waited for.
"""

from tallystick.consensus.pbft.state import PbftState
from tallystick.consensus.waiting import Phase, Waiting, missing, names, some_of
from tallystick.network.wire.ids import Height, Link, NodeId
from tallystick.network.wire.signing import Phase as VotePhase


def waiting_of(state: PbftState) -> Waiting:
    """The one thing that is missing first."""
    everybody, quorum = state.members, state.quorum
    if state.halted:
        return _wait(state, Phase.PEOPLE, (), 0, f"people: {state.alarm}")
    if not state.reaches_quorum:
        down = missing(everybody, {state.setup.me, *state.connected})
        needed = quorum - 1 - len(state.connected)
        return _wait(state, Phase.CONNECTIONS, down, needed, f"a connection to {some_of(needed, down)}")  # fmt: skip
    if state.asking is not None:
        awaited = missing(everybody, {state.setup.me, *state.asking.answered})
        needed = quorum - 1 - len(state.asking.answered)
        what = f"asking peers what this key has signed: {some_of(needed, awaited)}"
        return _wait(state, Phase.ROLLBACK_CHECK, awaited, needed, what)
    return _open_view(state) if state.active else _between_views(state)


def _wait(
    state: PbftState, phase: Phase, awaited: tuple[NodeId, ...], needed: int, unblocks: str
) -> Waiting:
    since_ms = state.synchronizer.due_from_ms
    return Waiting(phase, awaited, needed, since_ms, state.final_height + 1, unblocks)


def _between_views(state: PbftState) -> Waiting:
    left = {node for node, change in state.changes.items() if change.view >= state.view}
    if len(left) < state.quorum:
        awaited, needed = missing(state.members, left), state.quorum - len(left)
        return _wait(
            state,
            Phase.VIEW_CHANGES,
            awaited,
            needed,
            f"VIEW-CHANGE messages for view {state.view} of {some_of(needed, awaited)}",
        )
    leader = state.leader_of(state.view)
    return _wait(
        state,
        Phase.NEW_VIEW,
        (leader,),
        1,
        f"the NEW-VIEW message of member {leader} for view {state.view}, or the next view, which comes by itself",
    )


def _open_view(state: PbftState) -> Waiting:
    """The lowest block of this view that is not final, and how far it has come."""
    heights = [height for height in state.proposals if height > state.final_height]
    if not heights:
        return _no_proposal(state)
    height = min(heights)
    link = state.proposals[height]
    if state.accepted.get(height) != link and link not in state.refused:
        what = "a vote of our own: the block proposed is still judged here"
        return _wait(state, Phase.JUDGEMENT, (state.setup.me,), 1, what)
    if height not in state.prepared:
        return _votes(state, Phase.PREPARES, VotePhase.PREPARE, height, link)
    return _votes(state, Phase.COMMITS, VotePhase.COMMIT, height, link)


def _votes(state: PbftState, phase: Phase, kind: VotePhase, height: Height, link: Link) -> Waiting:
    ballots = state.ballots.get((state.view, height, kind), {})
    voted = {node for node, vote in ballots.items() if vote.link == link}
    awaited, needed = missing(state.members, voted), max(0, state.quorum - len(voted))
    what = (
        f"{kind.name} votes for height {height} in view {state.view} of {some_of(needed, awaited)}"
    )
    if link in state.refused:
        what += "; this node refused the block itself"
    return _wait(state, phase, awaited, needed, what)


def _no_proposal(state: PbftState) -> Waiting:
    leader, tip = state.leader_of(state.view), state.tip
    lacks_tip = tip is not None and tip.height > state.final_height and tip.link not in state.blocks
    if state.leads and lacks_tip:
        others = missing(state.members, {state.setup.me})
        return _wait(state, Phase.TIP, others, 1, f"the bytes of the certified block, from one of {names(others)}")  # fmt: skip
    if state.leads and state.making is not None:
        return _wait(state, Phase.OWN_BLOCK, (leader,), 1, "the block that this node is making")
    what = f"a proposal of member {leader}, or the next view, which comes by itself"
    return _wait(state, Phase.PROPOSAL, (leader,), 1, what)
