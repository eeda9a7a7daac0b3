"""PBFT's normal case, chain-linked (Castro and Liskov 1999, section 4.2; see DIVERGENCE.md).

Decided here: what a leader proposes, when a proposal is judged, prepared, committed, final. Within a view each PREPARE is
for a child of the block last PREPAREd there (or first for the view's tip), so PREPARE(h) implies all uncommitted ancestors.
Not here: whether a block is valid and what it results in (its owner judges), leaving a view (`view_change`).
"""

from tallystick.consensus.api import (
    Alarm,
    Behind,
    Block,
    BlockMade,
    Final,
    HoldBlock,
    Judge,
    Judged,
    KeepBlock,
    MakeBlock,
    Verdict,
)
from tallystick.consensus.pbft import accusing, rollback_check
from tallystick.consensus.pbft.messages import AskBlock, Decided, Disagree, Proposal, Vote
from tallystick.consensus.pbft.state import HEIGHTS_AHEAD_MAX, VIEWS_AHEAD_MAX, PbftState
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.faults import present
from tallystick.network.wire.ids import Height, Link, NodeId
from tallystick.network.wire.signing import Phase, disagree_message, proposal_message

EMPTY_AFTER_FAILED_VIEWS = 3
"""After so many views without a final block, leaders propose empty children: a poison block cannot stop the network."""


# -- the leader --------------------------------------------------------------------------------------------------------


def propose(state: PbftState, now_ms: int) -> bool:
    """Open the view with its tip, or extend the chain when a block is due and the pipeline has room. True: what is to be
    judged next may be another block now."""
    if not state.leads or state.making is not None or state.halted:
        return False
    opens = state.head is None
    if opens and not _take_tip(state, now_ms):
        return False
    height, link = present(state.head, "a leader that proposes has a head", view=state.view)
    if height < state.final_height:
        height, link = state.head = (state.final_height, state.final_link)
    at_ms = due_ms(state)
    if at_ms is not None and now_ms >= at_ms:
        state.making = link
        empty = state.synchronizer.failed >= EMPTY_AFTER_FAILED_VIEWS
        state.out.append(MakeBlock(Height(height + 1), link, empty))
    return opens


def due_ms(state: PbftState) -> int | None:
    """The moment from which we may propose a child of our last proposal; None: not before something else happens."""
    if not state.leads or state.making is not None or state.head is None:
        return None
    if state.closes(state.head[1]):
        return None  # the pipeline drains: the child of this block is the next epoch's
    tip, (height, link) = state.tip, state.head
    carried = tip is not None and tip.link == link and height > state.final_height
    if carried and state.accepted.get(height) != link:
        return None  # not executed here yet: nobody could make its child, and we would wait for that until the view ends
    return state.batching.due_ms(state.in_flight, state.batching.last_proposal_ms)


def _take_tip(state: PbftState, now_ms: int) -> bool:
    """The first proposal of a view is its tip, unless that is final already. False while the tip's block is missing."""
    tip = state.tip
    if tip is None or tip.height <= state.final_height:
        state.head = (state.final_height, state.final_link)
        if state.view > 0 and state.final_certificate is not None:
            state.say(Decided(state.final_certificate))
        return True
    block = state.blocks.get(tip.link)
    if block is None:
        return False  # asked for when the view was entered, and again with every resend
    state.head = (block.height, block.link)
    _send_proposal(state, block, now_ms)
    return True


def on_block_made(state: PbftState, made: BlockMade, now_ms: int) -> None:
    """Our own block: executed already, so it is proposed and prepared in one step."""
    if state.making != made.parent_link:
        return  # the view was left meanwhile
    state.making = None
    if not state.leads or state.head is None or state.head[1] != made.parent_link:
        return
    block = made.block
    state.head = (block.height, block.link)
    state.batching.waiting = max(0, state.batching.waiting - made.transactions)
    _send_proposal(state, block, now_ms)


def _send_proposal(state: PbftState, block: Block, now_ms: int) -> None:
    if not state.guard.may_propose(state.view, block.height, block.link):
        state.note("guard-refused", kind="proposal", height=block.height)
        state.may_lead = False
        return
    state.batching.last_proposal_ms = now_ms
    state.blocks[block.link] = block
    state.proposals[block.height] = block.link
    state.out.append(KeepBlock(block))
    state.keep_guard()
    state.promise(signed_proposal(state, block))
    state.note("propose", view=state.view, height=block.height, link=block.link)


def signed_proposal(state: PbftState, block: Block) -> Proposal:
    setup = state.setup
    message = proposal_message(
        setup.chain,
        setup.lane,
        setup.epoch,
        state.view,
        block.height,
        block.link,
        block.parent_link,
    )
    return Proposal(setup.epoch, state.view, block.data, state.sign(message))


# -- everybody ---------------------------------------------------------------------------------------------------------


def on_proposal(state: PbftState, sender: NodeId, proposal: Proposal) -> None:
    """A PRE-PREPARE: keep the first one for its height in this view, if it is the leader's."""
    view, setup = proposal.view, state.setup
    if proposal.epoch != setup.epoch or sender != state.leader_of(view):
        return None
    if view > state.view or (view == state.view and not state.active):
        return _stash(state, proposal)
    block = setup.describe(proposal.block)
    if block is None:
        return state.note("bad-proposal", sender=sender)
    if not state.final_height <= block.height <= state.final_height + HEIGHTS_AHEAD_MAX:
        return None
    if view < state.view:
        # We left that view, but others may still decide in it: keep the bytes for their certificate.
        state.out.append(HoldBlock(block))
        return None
    known = state.proposals.get(block.height)
    if known is not None:
        if known != block.link:
            state.note("equivocation", sender=sender, height=block.height)
            accusing.two_proposals(
                state, sender, proposal, block.height, block.link, block.parent_link
            )
        return None
    message = proposal_message(
        setup.chain, setup.lane, setup.epoch, view, block.height, block.link, block.parent_link
    )
    if sender != setup.me and not state.crypto.verify(
        setup.vote_keys[sender], message, proposal.signature
    ):
        return state.note("forged-proposal", sender=sender)
    state.proposals[block.height] = block.link
    state.proposal_signatures[block.height] = proposal.signature
    rollback_check.proposed(state, sender, proposal, block)
    state.blocks.setdefault(block.link, block)
    return None


def _stash(state: PbftState, proposal: Proposal) -> None:
    """A proposal of a view that we have not entered yet."""
    if proposal.view <= state.view + VIEWS_AHEAD_MAX:
        kept = state.stash.setdefault(proposal.view, [])
        if len(kept) < 2 * state.setup.pipeline:
            kept.append(proposal)


def advance(state: PbftState) -> None:
    """Judge the one block that may be PREPAREd next, if it has been proposed."""
    if not state.active or state.judging is not None or not state.may_sign:
        return
    block = _next_block(state)
    if block is None or block.link in state.refused:
        return
    if block.link == state.final_link:
        _prepare(state, block)  # final here already: vote for it again, so that others can finish
        if state.final_certificate is not None:
            state.say(Decided(state.final_certificate))
        return
    state.judging = block.link
    carried = state.tip is not None and state.tip.link == block.link
    state.out.append(Judge(state.view, block, not carried, state.view - state.final_view))


def _next_block(state: PbftState) -> Block | None:
    """The proposal that the chain rule allows: child of the last PREPARE, the view's tip, or child of the last final."""

    last, tip = state.last, state.tip
    if last is not None and last[0] >= state.final_height:
        return _child_of(state, *last)
    if last is None and tip is not None and tip.height >= state.final_height:
        block = _proposed(state, tip.height)
        if block is not None and block.link == tip.link:
            return block
        if tip.height > state.final_height:
            return None
    return _child_of(state, state.final_height, state.final_link)


def _proposed(state: PbftState, height: Height) -> Block | None:
    link = state.proposals.get(height)
    return None if link is None else state.blocks.get(link)


def _child_of(state: PbftState, height: Height, link: Link) -> Block | None:
    child = _proposed(state, Height(height + 1))
    if child is None or child.parent_link != link or state.closes(link):
        return None  # beyond a closing block, another epoch's members judge
    return child


def on_judged(state: PbftState, judged: Judged) -> None:
    """The owner has executed the block we asked about."""
    if judged.view != state.view or judged.link != state.judging or not state.active:
        return
    if not state.may_sign:
        return
    state.judging = None
    block = state.blocks.get(judged.link)
    if block is None:
        return
    if judged.verdict is Verdict.ACCEPT:
        _prepare(state, block)
        return
    state.refused.add(block.link)
    state.note("refused", height=block.height, link=block.link, verdict=judged.verdict.value)
    if judged.verdict is Verdict.DISAGREE:
        _disagree(state, block, judged.own_link or Link(bytes(32)))


def _prepare(state: PbftState, block: Block) -> None:
    if not state.guard.may_prepare(
        state.view, block.height, block.link, block.parent_link, state.final_link
    ):
        state.refused.add(block.link)
        return state.note("guard-refused", kind="prepare", height=block.height)
    state.last = (block.height, block.link)
    state.accepted[block.height] = block.link
    state.out.append(KeepBlock(block))
    _vote(state, Phase.PREPARE, block.height, block.link, block.parent_link)
    return None


def _vote(state: PbftState, phase: Phase, height: Height, link: Link, parent_link: Link) -> None:
    state.keep_guard()
    signature = state.sign(state.vote_bytes(phase, state.view, height, link, parent_link))
    epoch = state.setup.epoch
    state.promise(Vote(phase, epoch, state.view, height, link, parent_link, signature))
    state.note(phase.name.lower(), view=state.view, height=height, link=link)


def on_vote(state: PbftState, sender: NodeId, vote: Vote) -> None:
    """Count a vote that may be stale, repeated or hostile; its signature is checked when a quorum needs it."""
    rollback_check.voted(state, sender, vote)
    if vote.epoch != state.setup.epoch or vote.view > state.view + VIEWS_AHEAD_MAX:
        return
    if vote.view < state.view and (vote.phase != Phase.COMMIT or vote.view < state.final_view):
        return
    if not state.final_height <= vote.height <= state.final_height + HEIGHTS_AHEAD_MAX:
        return
    ballots = state.ballots.setdefault((vote.view, vote.height, Phase(vote.phase)), {})
    earlier = ballots.setdefault(sender, vote)
    if earlier.link != vote.link:
        state.note("double-vote", sender=sender, height=vote.height)
        accusing.two_votes(state, sender, earlier, vote)


def count(state: PbftState, now_ms: int) -> None:
    """Turn votes into certificates: prepared ones into COMMIT votes, commit ones into final blocks."""
    if state.active:
        waiting = [each for each in state.accepted.items() if each[0] not in state.prepared]
        for height, link in waiting:
            certificate = state.quorum_certificate(Phase.PREPARE, state.view, height, link)
            if certificate is not None:
                _on_prepared(state, certificate)
    decided, quorum = None, state.quorum
    # Few boxes: a hostile member may begin one for every height and view.
    full = [box for box in state.ballots.items() if len(box[1]) >= quorum]
    for (view, height, phase), ballots in full:
        if phase is not Phase.COMMIT:
            continue
        if height <= (state.final_height if decided is None else decided.height):
            continue
        for link in {vote.link: None for vote in ballots.values()}:
            certificate = state.quorum_certificate(phase, view, height, link)
            if certificate is not None:
                decided = certificate
    if decided is not None:
        on_commit_certificate(state, decided, now_ms)


def _on_prepared(state: PbftState, certificate: Certificate) -> None:
    """A prepared certificate is durable before our COMMIT, and replaced only by a larger one."""
    state.prepared.add(certificate.height)
    state.raise_high(certificate)
    if not state.guard.may_commit(state.view, certificate.height, certificate.link):
        return state.note("guard-refused", kind="commit", height=certificate.height)
    state.keep()
    _vote(state, Phase.COMMIT, certificate.height, certificate.link, certificate.parent_link)
    return None


def on_commit_certificate(state: PbftState, certificate: Certificate, now_ms: int) -> None:
    """The block and its ancestors are final. A certificate over what we never judged sends us to catch up."""
    state.raise_high(certificate)
    if certificate.height <= state.final_height:
        return
    path: list[Block] = []
    link = certificate.link
    while link != state.final_link:
        block = state.blocks.get(link)
        if block is None or state.accepted.get(block.height) != link:
            state.out.append(Behind(certificate))
            return
        path.append(block)
        link = block.parent_link
    for block in reversed(path):
        state.out.append(Final(block, certificate))
    became_final(state, certificate, now_ms)


def became_final(state: PbftState, certificate: Certificate, now_ms: int) -> None:
    """Move the low watermark, by votes or by catching up."""
    state.final_height, state.final_link = certificate.height, certificate.link
    state.final_certificate = certificate
    state.raise_high(certificate)
    state.keep()
    state.forget_below(certificate.height)
    judged = state.blocks.get(state.judging) if state.judging is not None else None
    if judged is None or judged.height <= certificate.height:
        state.judging = None  # decided without us: nobody will answer any more
    state.synchronizer.progress(now_ms, state.outstanding > 0)
    state.note("final", view=certificate.view, height=certificate.height, link=certificate.link)


# -- disagreement ------------------------------------------------------------------------------------------------------


def _disagree(state: PbftState, block: Block, own: Link) -> None:
    setup = state.setup
    message = disagree_message(
        setup.chain, setup.lane, setup.epoch, state.view, block.height, block.link, own
    )
    signature = state.sign(message)
    state.promise(Disagree(setup.epoch, state.view, block.height, block.link, own, signature))


def on_disagree(state: PbftState, sender: NodeId, said: Disagree) -> None:
    """f+1 members whose execution differs are an alarm; over a prepared tip they stop the network."""
    if said.epoch != state.setup.epoch or said.view != state.view:
        return None
    setup = state.setup
    message = disagree_message(
        setup.chain, setup.lane, setup.epoch, said.view, said.height, said.proposed, said.own
    )
    if not state.crypto.verify(setup.vote_keys[sender], message, said.signature):
        return state.note("forged-disagreement", sender=sender)
    if said.proposed not in state.disagreements and len(state.disagreements) >= HEIGHTS_AHEAD_MAX:
        return None
    voices = state.disagreements.setdefault(said.proposed, set())
    voices.add(sender)
    if len(voices) == state.faults + 1:
        tip = state.tip
        halt = tip is not None and tip.link == said.proposed and not tip.commits
        state.alarm = (
            f"{len(voices)} members executed the block proposed at height {said.height} differently"
        )
        state.halted = state.halted or halt
        state.out.append(Alarm(state.alarm, halt))
    return None


def ask_for_tip(state: PbftState) -> None:
    """A leader that lacks the tip's bytes asks: a prepared certificate means that f+1 honest members hold them."""
    tip = state.tip
    if tip is None or not state.leads or state.head is not None:
        return
    if tip.height > state.final_height and tip.link not in state.blocks:
        state.say(AskBlock(tip.link))
