"""What a liar may say in a play: statements under its own key, and certificates of votes that were really cast.

proposal view=0 block=X            prepare|commit view=0 block=X
view-change view=1 shows=nothing|prepared:0:b1|committed:0:b1
new-view view=1 from=ACD [liar-shows=…]     view changes that were said (its own, if it is among them, as above)
decided committed:0:b1
"""

from tallystick.consensus.pbft.messages import (
    MESSAGE,
    Decided,
    Message,
    NewView,
    Proposal,
    ViewChange,
    Vote,
    changes_digest,
)
from tallystick.network.proofs.certificates import Certificate, CertVote, quorum_of
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import (
    Phase,
    new_view_message,
    proposal_message,
    view_change_message,
)
from tests.scenarios.stage import Broken, Stage, hold
from tests.scenarios.words import ALL
from tests.unit.consensus.table import CHAIN, Keys, signed_vote

Archive = list[tuple[NodeId, NodeId | None, bytes]]
EPOCH = Epoch(0)


def message(stage: Stage, liar: NodeId, said: list[str], archive: Archive) -> bytes:
    hold(liar in stage.liars, f"{ALL[liar]} is no liar: a play speaks for liars only")
    facts = dict(each.split("=", 1) for each in said[1:] if "=" in each)
    view = View(int(facts.get("view", "0")))
    made: Message
    match said[0]:
        case "proposal":
            block = stage.known[_link(stage, facts["block"])]
            signed = proposal_message(
                CHAIN, 0, EPOCH, view, block.height, block.link, block.parent_link
            )
            made = Proposal(EPOCH, view, block.data, Keys(liar).sign(signed))
        case "prepare" | "commit":
            block = stage.known[_link(stage, facts["block"])]
            phase = Phase[said[0].upper()]
            made = signed_vote(liar, phase, view, block.height, block.link, block.parent_link)
        case "view-change":
            made = _change(liar, view, _certificate(stage, facts["shows"], archive))
        case "new-view":
            made = _new_view(stage, liar, view, facts, archive)
        case "decided":
            certificate = _certificate(stage, said[1], archive)
            if certificate is None:
                raise Broken("there is nothing to show")
            made = Decided(certificate)
        case _:
            raise Broken(f"a liar cannot say {said[0]!r}")
    return MESSAGE.encode(made)


def _link(stage: Stage, name: str) -> Link:
    return {known: link for link, known in stage.names.items()}[name]


def _change(signer: NodeId, view: View, certificate: Certificate | None) -> ViewChange:
    if certificate is None:
        shown = (0, View(0), Height(0), Link(bytes(32)))
    else:
        shown = (certificate.phase, certificate.view, certificate.height, certificate.link)
    signed = view_change_message(CHAIN, 0, EPOCH, view, *shown)
    return ViewChange(EPOCH, view, signer, certificate, Keys(signer).sign(signed))


def _certificate(stage: Stage, name: str, archive: Archive) -> Certificate | None:
    """From votes that honest members have sent, and the liars' own."""
    if name == "nothing":
        return None
    phase_name, view_text, block_name = name.split(":")
    phase = Phase.COMMIT if phase_name == "committed" else Phase.PREPARE
    view, block = View(int(view_text)), stage.known[_link(stage, block_name)]
    votes: dict[NodeId, Vote] = {
        liar: signed_vote(liar, phase, view, block.height, block.link, block.parent_link)
        for liar in stage.liars
    }
    for sender, _, data in archive:
        said = MESSAGE.decode(data)
        if isinstance(said, Vote) and (said.phase, said.view, said.link) == (
            phase,
            view,
            block.link,
        ):
            votes[sender] = said
    quorum = quorum_of(len(stage.ids))
    hold(len(votes) >= quorum, f"{name} does not exist: only {len(votes)} voted for it")
    chosen = tuple(CertVote(node, votes[node].signature) for node in sorted(votes)[:quorum])
    return Certificate(phase, EPOCH, view, block.height, block.link, block.parent_link, chosen)


def _new_view(
    stage: Stage, liar: NodeId, view: View, facts: dict[str, str], archive: Archive
) -> NewView:
    changes: dict[NodeId, ViewChange] = {}
    for _, _, data in archive:
        said = MESSAGE.decode(data)
        if isinstance(said, ViewChange) and said.view == view:
            changes[said.signer] = said
    if "liar-shows" in facts:
        changes[liar] = _change(liar, view, _certificate(stage, facts["liar-shows"], archive))
    chosen = tuple(changes[NodeId(ALL.index(each))] for each in sorted(facts["from"]))
    digest = changes_digest(chosen)
    signed = new_view_message(CHAIN, 0, EPOCH, view, digest)
    return NewView(EPOCH, view, chosen, Keys(liar).sign(signed))
