"""Was this machine set back, guard and database together? Its peers hold what its key has signed (architecture, section 7).

Decided here: before its first signature of an epoch or of a process, a member asks every peer for the highest statements that it
holds of this key, and waits for q − 1 answers (it is the q-th itself). A genuine statement that the guard's record does not know
was signed by a later life of this disk: the member halts. Each statement carries its signature, so a liar can withhold, never
invent. What a peer holds: one statement of each kind and signer, in memory, and what its certificates say after a restart.
Not here: a guard ahead of its database (`node.core.restoring`), where the signature itself is withheld (`PbftState.sign`).
"""

from tallystick.consensus.accountability.guard import Guard
from tallystick.consensus.api import Alarm, Block
from tallystick.consensus.pbft.messages import (
    AskSigned,
    NewView,
    Proposal,
    ShowSigned,
    Statement,
    ViewChange,
    Vote,
    changes_digest,
    shown_digest,
)
from tallystick.consensus.pbft.state import Asking, PbftState
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.evidence import (
    Kind,
    Said,
    about_block,
    about_changes,
    about_view,
    statement_bytes,
)
from tallystick.network.wire.ids import Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase

NO_HEIGHT = Height(0)


# -- who has just begun ------------------------------------------------------------------------------------------------


def begin(state: PbftState, record: bytes | None, now_ms: int) -> None:
    """`record`: the guard's, as the start found it. Alone, there is nobody to ask."""
    if state.quorum > 1:
        state.asking = Asking(Guard(state.setup.epoch, record), now_ms)


def ask(state: PbftState, peer: NodeId) -> None:
    """A connection is as early as a question can be."""
    asking = state.asking
    if asking is not None and peer not in asking.answered:
        state.say(AskSigned(state.setup.epoch, asking.round), peer)


def ask_again(state: PbftState) -> None:
    """Questions and answers get lost."""
    for peer in sorted(state.connected):
        ask(state, peer)


def on_show(state: PbftState, sender: NodeId, shown: ShowSigned) -> bool:
    """One peer's answer. True when it was the last that was needed, and nothing is above the guard."""
    asking, me = state.asking, state.setup.me
    if asking is None or shown.round != asking.round or sender in asking.answered or sender == me:
        return False
    if state.halted:
        return False
    if not all(_genuine(state, me, each) for each in shown.statements):
        state.note("forged-statement", sender=sender)
        return False
    for each in shown.statements:
        if not asking.remembered.remembers(
            each.kind, each.view, each.height, guard_link(state, each)
        ):
            _halt(state, sender, each)
            return False
    asking.answered.add(sender)
    if len(asking.answered) + 1 < state.quorum:
        return False
    state.asking = None
    state.note("peers-asked", answers=len(asking.answered))
    return True


def _halt(state: PbftState, sender: NodeId, above: Statement) -> None:
    kind = Kind(above.kind).name.replace("_", "-")
    at = f" at height {above.height}" if above.height else ""
    state.alarm = (
        f"member {sender} holds a genuine {kind} of this node's key in view {above.view}{at} that its double-sign guard"
        " does not know: this machine was set back to an older copy; it must not vote under this id again,"
        " its bank comes back under its spare id (an ActivateSpare transaction)"
    )
    state.halted = True
    state.out.append(Alarm(state.alarm, halt=True))


def guard_link(state: PbftState, each: Statement) -> bytes:
    """What the guard's slot holds of such a statement."""
    said = each.said
    if each.kind != Kind.VIEW_CHANGE:
        return said.link
    if not said.certificate_phase:
        return bytes(32)
    shown = said.certificate_view, said.certificate_height, said.link
    return shown_digest(said.certificate_phase, state.setup.epoch, *shown)


# -- who is asked ------------------------------------------------------------------------------------------------------


def on_ask(state: PbftState, sender: NodeId, asked: AskSigned, now_ms: int) -> None:
    """Answer at once, whether we wait for answers ourselves or not; and ask who can only now answer us."""
    if sender == state.setup.me or not state.may_check(sender, now_ms):
        return
    state.say(ShowSigned(state.setup.epoch, asked.round, held(state, sender)), sender)
    ask(state, sender)


def held(state: PbftState, signer: NodeId) -> tuple[Statement, ...]:
    """The highest genuine statement of each kind: what the member told us, what certificates and the new view hold of it."""
    known = list(state.heard_of.get(signer, {}).values())
    for certificate in (state.high, state.final_certificate):
        if certificate is not None:
            known += _voted_in(certificate, signer)
    if state.new_view is not None:
        known += [_change(each) for each in state.new_view.changes if each.signer == signer]
    highest: dict[int, Statement] = {}
    for each in sorted(known, key=lambda each: (each.kind, each.view, each.height), reverse=True):
        if each.kind not in highest and _genuine(state, signer, each):
            highest[each.kind] = each
    return tuple(highest.values())


def _genuine(state: PbftState, signer: NodeId, each: Statement) -> bool:
    setup = state.setup
    place = setup.chain, setup.lane, setup.epoch, each.view
    message = statement_bytes(Kind(each.kind), place, each.height, each.said)
    return state.crypto.verify(setup.vote_keys[signer], message, each.said.signature)


def _voted_in(certificate: Certificate, signer: NodeId) -> list[Statement]:
    kind = _kind_of(certificate.phase)
    view, height, link = certificate.view, certificate.height, certificate.link
    votes = [vote for vote in certificate.votes if vote.signer == signer]
    said = [about_block(link, certificate.parent_link, vote.signature) for vote in votes]
    return [Statement(kind, view, height, each) for each in said]


# -- what members say, as it comes by ----------------------------------------------------------------------------------


def voted(state: PbftState, sender: NodeId, vote: Vote) -> None:
    """From the signer itself: a forgery among these would hide its own statements only, and is never shown."""
    kind = _kind_of(vote.phase)
    if _news(state, sender, kind, vote.view, vote.height):
        said = about_block(vote.link, vote.parent_link, vote.signature)
        _keep(state, sender, kind, vote.view, vote.height, said)


def proposed(state: PbftState, sender: NodeId, proposal: Proposal, block: Block) -> None:
    if _news(state, sender, Kind.PROPOSAL, proposal.view, block.height):
        said = about_block(block.link, block.parent_link, proposal.signature)
        _keep(state, sender, Kind.PROPOSAL, proposal.view, block.height, said)


def left(state: PbftState, change: ViewChange) -> None:
    if _news(state, change.signer, Kind.VIEW_CHANGE, change.view, NO_HEIGHT):
        said = _change(change).said
        _keep(state, change.signer, Kind.VIEW_CHANGE, change.view, NO_HEIGHT, said)


def opened(state: PbftState, new_view: NewView) -> None:
    leader = state.leader_of(new_view.view)
    if _news(state, leader, Kind.NEW_VIEW, new_view.view, NO_HEIGHT):
        said = about_changes(changes_digest(new_view.changes), new_view.signature)
        _keep(state, leader, Kind.NEW_VIEW, new_view.view, NO_HEIGHT, said)


def _news(state: PbftState, signer: NodeId, kind: Kind, view: View, height: Height) -> bool:
    known = state.heard_of.get(signer, {}).get(kind)
    above = known is None or (view, height) > (known.view, known.height)
    return above and signer != state.setup.me


def _keep(
    state: PbftState, signer: NodeId, kind: Kind, view: View, height: Height, said: Said
) -> None:
    state.heard_of.setdefault(signer, {})[kind] = Statement(kind, view, height, said)


def _change(change: ViewChange) -> Statement:
    shown = change.certificate
    if shown is None:
        said = about_view(0, 0, 0, Link(bytes(32)), change.signature)
    else:
        said = about_view(shown.phase, shown.view, shown.height, shown.link, change.signature)
    return Statement(Kind.VIEW_CHANGE, change.view, NO_HEIGHT, said)


def _kind_of(phase: int) -> Kind:
    return Kind.PREPARE if phase == Phase.PREPARE else Kind.COMMIT
