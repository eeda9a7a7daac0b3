"""Certificates: a majority of countersignatures over one link, each made only after the block is committed, executed and durable.

Decided here: what we countersign (committed entries of the current term, under that term; what stands below them is certified
through them, so a certificate's view is always its entry's term), when countersignatures make a certificate, and what is final.
A countersignature at append would certify a block that the next leader may overwrite.
Not here: when something is committed (`replication`, `following`).
"""

from tallystick.consensus.api import Behind, Final
from tallystick.consensus.raft.log import Entry
from tallystick.consensus.raft.messages import Countersignature
from tallystick.consensus.raft.state import (
    BALLOT_BOXES_MAX,
    HEIGHTS_AHEAD_MAX,
    KEPT_BELOW_FINAL,
    RaftState,
)
from tallystick.network.proofs.certificates import (
    Certificate,
    CertVote,
    check_certificate,
    majority_of,
)
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, vote_message

# -- signing -----------------------------------------------------------------------------------------------------------


def sign(state: RaftState, now_ms: int) -> None:
    """Countersign every entry of this term that is committed, once."""
    for height in range(state.final_height + 1, state.commit + 1):
        entry = state.log.entry(height)
        if entry is None or entry.block.link not in state.executed:
            return  # nothing above it may be signed before it is executed here
        if entry.term == state.term and _unsigned(state, entry):
            _countersign(state, entry)
            if not state.leads:
                state.beat_at_ms = now_ms + state.clock.heartbeat_ms  # said again after this


def _unsigned(state: RaftState, entry: Entry) -> bool:
    earlier = state.signed.get(entry.block.height)
    return earlier is None or (earlier.term, earlier.link) != (entry.term, entry.block.link)


def _countersign(state: RaftState, entry: Entry) -> None:
    block = entry.block
    if not state.guard.may_commit(entry.term, block.height, block.link):
        return state.note("guard-refused", kind="countersign", height=block.height)
    message = _signed_bytes(state, entry.term, block.height, block.link, block.parent_link)
    signature = state.crypto.sign(message)
    vote = Countersignature(
        state.setup.epoch, entry.term, block.height, block.link, block.parent_link, signature
    )
    state.signed[block.height] = vote
    state.keep_guard = True
    state.promise(vote)
    state.note("countersign", term=entry.term, height=block.height, link=block.link)
    return None


def repeat(state: RaftState) -> None:
    """Ours over blocks that are not certified yet, once more: somebody may have missed them."""
    for height in sorted(state.signed):
        state.promise(state.signed[height])


def _signed_bytes(
    state: RaftState, term: View, height: Height, link: Link, parent_link: Link
) -> bytes:
    setup = state.setup
    return vote_message(
        setup.chain, setup.lane, setup.epoch, term, height, Phase.COMMIT, link, parent_link
    )


# -- counting ----------------------------------------------------------------------------------------------------------


def on_countersignature(state: RaftState, sender: NodeId, vote: Countersignature) -> None:
    """Keep it; its signature is checked when a majority needs it."""
    if not state.final_height < vote.height <= state.log.last_height + HEIGHTS_AHEAD_MAX:
        return
    box = (vote.term, vote.height)
    if box not in state.ballots and len(state.ballots) >= BALLOT_BOXES_MAX:
        return
    earlier = state.ballots.setdefault(box, {}).setdefault(sender, vote)
    if earlier.link != vote.link:
        state.note("double-vote", sender=sender, height=vote.height)


def count(state: RaftState, now_ms: int) -> None:
    """The highest block that a majority has countersigned."""
    for box in sorted(state.ballots, key=lambda box: box[1], reverse=True):
        if box[1] <= max(state.final_height, state.behind):
            return None
        certificate = _certificate(state, *box)
        if certificate is not None:
            return on_certificate(state, certificate, now_ms)
    return None


def _certificate(state: RaftState, term: View, height: Height) -> Certificate | None:
    """From one box, if its genuine countersignatures over one link are a majority."""
    ballots = state.ballots[term, height]
    if len(ballots) < _least(state):
        return None
    for link, parent_link in {(vote.link, vote.parent_link): None for vote in ballots.values()}:
        agreeing = {
            sender: vote
            for sender, vote in sorted(ballots.items())
            if (vote.link, vote.parent_link) == (link, parent_link)
        }
        if not _enough(state, agreeing):
            continue
        message = _signed_bytes(state, term, height, link, parent_link)
        chosen: dict[NodeId, CertVote] = {}
        for sender, vote in agreeing.items():
            if not _genuine(state, sender, message, vote.signature):
                state.note("forged-vote", sender=sender)
                del ballots[sender]
                continue
            chosen[sender] = CertVote(sender, vote.signature)
            if _enough(state, chosen):
                epoch, votes = state.setup.epoch, tuple(chosen.values())
                return Certificate(Phase.COMMIT, epoch, term, height, link, parent_link, votes)
    return None


def _least(state: RaftState) -> int:
    return majority_of(len(state.setup.vote_keys))


def _enough(
    state: RaftState, signers: dict[NodeId, CertVote] | dict[NodeId, Countersignature]
) -> bool:
    return len(signers) >= _least(state) and state.configuration.won(signers)


def _genuine(state: RaftState, sender: NodeId, message: bytes, signature: bytes) -> bool:
    return sender == state.me or state.crypto.verify(
        state.setup.vote_keys[sender], message, signature
    )


def genuine_certificate(state: RaftState, certificate: Certificate) -> bool:
    """A majority's commit certificate of this epoch."""
    setup = state.setup
    if certificate.epoch != setup.epoch or not certificate.commits:
        return False
    keys, verify = setup.vote_keys, state.crypto.verify
    try:
        check_certificate(certificate, setup.chain, setup.lane, keys, verify, _least(state))
    except Refused:
        return False
    return True


# -- final -------------------------------------------------------------------------------------------------------------


def on_certificate(state: RaftState, certificate: Certificate, now_ms: int) -> None:
    """Certified, hence committed: final with its ancestors. What we lack or have not executed sends us to catch up."""
    if certificate.height <= state.final_height:
        return
    path: list[Entry] = []
    for height in range(state.final_height + 1, certificate.height + 1):
        entry = state.log.entry(height)
        if entry is not None and entry.block.link in state.executed:
            path.append(entry)
    complete = len(path) == certificate.height - state.final_height
    if not complete or path[-1].block.link != certificate.link:
        if certificate.height > state.behind:
            state.behind = certificate.height
            state.out.append(Behind(certificate))
        return
    for entry in path:
        state.out.append(Final(entry.block, certificate))
    became_final(state, certificate, now_ms)


def became_final(state: RaftState, certificate: Certificate, now_ms: int) -> None:
    """Move the low watermark, by countersignatures or by catching up; compact the log below it."""
    height = certificate.height
    state.log.begin_at(height, certificate.view, certificate.link)
    state.final_height, state.final_link = height, certificate.link
    state.final_certificate = certificate
    state.commit = max(state.commit, height)
    state.verified = max(state.verified, state.commit)
    state.log.compact_to(height - KEPT_BELOW_FINAL)
    state.keep = True
    _forget(state, height)
    state.guard.forget_below(height)
    state.clock.progress()
    state.owed_since_ms = state.last_final_ms = now_ms
    state.note("final", term=certificate.view, height=height, link=certificate.link)


def _forget(state: RaftState, height: Height) -> None:
    """Whatever was about final blocks. Of what is queued, what follows the new final block stays."""
    state.signed = {at: vote for at, vote in state.signed.items() if at > height}
    state.ballots = {box: votes for box, votes in state.ballots.items() if box[1] > height}
    ahead = [entry for entry in state.incoming if entry.block.height > height]
    if ahead and ahead[0].block.parent_link != state.log.link_at(ahead[0].block.height - 1):
        ahead = []
    state.incoming = ahead
    in_log = {entry.block.link for entry in state.log.entries if entry.block.height > height}
    state.executed &= in_log
    wanted = in_log | {entry.block.link for entry in ahead}
    if state.judging is not None and state.judging[0] not in wanted:
        state.judging = None  # decided without us: nobody will answer any more
