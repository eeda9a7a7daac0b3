"""Where a PBFT replica meets two statements of one key that exclude each other (arXiv 2010.06785 for what can be named at all).

Decided here: what is compared with what, and only when a conflict shows: a vote with the same member's earlier one, a proposal
with the leader's earlier one, a view change with the one that another member was given, votes inside a certificate with those
that came here, a new view with the one that we entered. What a liar tells to different members meets in these messages, so
nothing is gossiped. Not here: whether it convicts (`accountability.evidence` checks both signatures first).
"""

from tallystick.consensus.api import Convict
from tallystick.consensus.pbft.messages import (
    NewView,
    Proposal,
    ViewChange,
    Vote,
    certificate_digest,
    changes_digest,
)
from tallystick.consensus.pbft.state import PbftState
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.evidence import (
    Kind,
    Said,
    about_block,
    about_changes,
    about_view,
)
from tallystick.network.wire.ids import Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase

_NO_BLOCK = bytes(32)


def _accuse(
    state: PbftState,
    signer: NodeId,
    kind: Kind,
    view: View,
    height: Height,
    pair: tuple[Said, Said],
) -> bool:
    """True when it convicts, now or before. Nobody accuses himself: his guard has halted him long before."""
    key = state.setup.vote_keys.get(signer)
    if key is None or signer == state.setup.me:
        return False
    found = state.convictions.weigh(signer, key, kind, view, height, pair)
    if found is not None:
        state.out.append(Convict(found))
        state.note("convicted", sender=signer, kind=kind.name, view=view, height=height)
    return state.convictions.convicted(signer, kind, view, height)


def two_votes(state: PbftState, sender: NodeId, earlier: Vote, later: Vote) -> None:
    """Both came from `sender` itself: a signature that is not genuine is its fault, too."""
    kind = Kind.PREPARE if later.phase == Phase.PREPARE else Kind.COMMIT
    pair = (
        about_block(earlier.link, earlier.parent_link, earlier.signature),
        about_block(later.link, later.parent_link, later.signature),
    )
    if not _accuse(state, sender, kind, later.view, later.height, pair) and sender != state.setup.me:  # fmt: skip
        state.note("forged-vote", sender=sender)


def two_proposals(state: PbftState, sender: NodeId, later: Proposal, height: Height, link: Link, parent_link: Link) -> None:  # fmt: skip
    """The earlier one's signature was checked when it was taken in."""
    known = state.blocks.get(state.proposals[height])
    signature = state.proposal_signatures.get(height)
    if known is None or signature is None:
        return
    pair = (
        about_block(known.link, known.parent_link, signature),
        about_block(link, parent_link, later.signature),
    )
    if not _accuse(state, sender, Kind.PROPOSAL, later.view, height, pair):
        state.note("forged-proposal", sender=sender)


def view_changes(state: PbftState, change: ViewChange) -> None:
    """A genuine view change against the one that its signer gave us for the same view."""
    known = state.changes.get(change.signer)
    if known is None or known.view != change.view:
        return
    if certificate_digest(known.certificate) == certificate_digest(change.certificate):
        return
    _accuse(state, change.signer, Kind.VIEW_CHANGE, change.view, Height(0), (_shown(known), _shown(change)))  # fmt: skip


def _shown(change: ViewChange) -> Said:
    held = change.certificate
    if held is None:
        return about_view(0, 0, 0, _NO_BLOCK, change.signature)
    return about_view(held.phase, held.view, held.height, held.link, change.signature)


def two_new_views(state: PbftState, sender: NodeId, later: NewView) -> None:
    """The leader of our view shows another set of view changes than the one on which we entered."""
    known = state.new_view
    leader = state.leader_of(later.view)
    if known is None or known.view != later.view or sender != leader:
        return
    digests = changes_digest(known.changes), changes_digest(later.changes)
    if digests[0] != digests[1]:
        pair = about_changes(digests[0], known.signature), about_changes(digests[1], later.signature)  # fmt: skip
        if not _accuse(state, leader, Kind.NEW_VIEW, later.view, Height(0), pair):
            state.note("forged-new-view", sender=sender, view=later.view)


def signers_of(state: PbftState, certificate: Certificate) -> None:
    """A genuine certificate's votes against those that the same members gave us for another block."""
    phase = Phase(certificate.phase)
    ballots = state.ballots.get((certificate.view, certificate.height, phase))
    if ballots is None:
        return
    kind = Kind.PREPARE if phase is Phase.PREPARE else Kind.COMMIT
    for vote in certificate.votes:
        known = ballots.get(vote.signer)
        if known is not None and known.link != certificate.link:
            pair = (
                about_block(known.link, known.parent_link, known.signature),
                about_block(certificate.link, certificate.parent_link, vote.signature),
            )
            _accuse(state, vote.signer, kind, certificate.view, certificate.height, pair)
