"""A member that signs two things which exclude each other is named, with a proof; an honest one never is, whatever happens."""

from random import Random

import pytest
from msgspec.structs import replace

from tallystick.consensus import api
from tallystick.consensus.pbft.messages import (
    MESSAGE,
    NewView,
    Proposal,
    ViewChange,
    Vote,
    certificate_digest,
    changes_digest,
)
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.proofs.evidence import EVIDENCE, Evidence, Kind, check_evidence
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import (
    Phase,
    new_view_message,
    proposal_message,
    view_change_message,
)
from tests.unit.consensus.table import (
    CHAIN,
    GENESIS,
    Keys,
    Table,
    heard,
    is_commit,
    keys_of,
    make_block,
    signed_vote,
)

OTHER = Link(b"\x01" * 32)


class Court(Table):
    """A table at which evidence is checked and kept."""

    def __init__(self) -> None:
        self.found: dict[int, list[Evidence]] = {}
        super().__init__()

    def _carry_out(self, seat: object, effect: api.Effect) -> api.Event | None:
        if isinstance(effect, api.Convict):
            evidence = EVIDENCE.decode(effect.evidence)
            self._checked_again(evidence, keys_of(self.members)[evidence.signer])
            self.found.setdefault(seat.node, []).append(evidence)  # type: ignore[attr-defined]
        return super()._carry_out(seat, effect)  # type: ignore[arg-type]

    def _checked_again(self, evidence: Evidence, key: bytes) -> None:
        """As anybody would who is shown it."""
        try:
            check_evidence(evidence, CHAIN, 0, key, Keys(NodeId(0)).verify)
        except Refused as refused:
            pytest.fail(f"what convicted proves nothing: {refused.detail}")


def two_votes(phase: Phase) -> Court:
    court = Court()
    court.work()
    court.deliver(lambda _, __, message: not is_commit(message))
    vote = next(iter(court.engine(1)._state.ballots[View(0), Height(1), Phase.PREPARE].values()))
    court.hear(1, heard(3, signed_vote(3, phase, 0, 1, vote.link, vote.parent_link)))
    court.hear(1, heard(3, signed_vote(3, phase, 0, 1, OTHER, GENESIS)))
    return court


@pytest.mark.parametrize(("phase", "kind"), [(Phase.PREPARE, Kind.PREPARE), (Phase.COMMIT, Kind.COMMIT)])  # fmt: skip
def test_two_votes_of_one_phase_convict(phase: Phase, kind: Kind) -> None:
    court = two_votes(phase)
    (evidence,) = court.found[1]
    assert (evidence.signer, evidence.kind, evidence.view, evidence.height) == (3, kind, 0, 1)
    assert f"member 3 signed two different {kind.name} statements" in evidence.sentence


def test_the_same_conflict_is_told_once() -> None:
    court = two_votes(Phase.COMMIT)
    for link in (b"\x02", b"\x03"):
        court.hear(1, heard(3, signed_vote(3, Phase.COMMIT, 0, 1, Link(link * 32), GENESIS)))
    assert len(court.found[1]) == 1


def test_votes_of_two_views_or_two_phases_convict_nobody() -> None:
    court = Court()
    for view, phase, link in ((0, Phase.PREPARE, OTHER), (0, Phase.COMMIT, GENESIS), (1, Phase.PREPARE, GENESIS)):  # fmt: skip
        court.hear(1, heard(3, signed_vote(3, phase, view, 1, link, GENESIS)))
    assert court.found == {}


def test_a_forged_second_vote_convicts_nobody_and_is_held_against_its_sender() -> None:
    court = Court()
    court.hear(1, heard(3, signed_vote(3, Phase.COMMIT, 0, 1, OTHER, GENESIS)))
    forged = replace(signed_vote(3, Phase.COMMIT, 0, 1, GENESIS, GENESIS), signature=bytes(64))
    court.hear(1, heard(3, forged))
    assert court.found == {}
    assert "forged-vote" in court.seats[NodeId(1)].notes


def proposal_of(leader: int, view: int, name: str) -> Proposal:
    block = make_block(1, GENESIS, name)
    message = proposal_message(CHAIN, 0, Epoch(0), View(view), block.height, block.link, GENESIS)
    return Proposal(Epoch(0), View(view), block.data, Keys(NodeId(leader)).sign(message))


def test_two_proposals_for_one_height_convict_the_leader() -> None:
    court = Court()
    court.hear(2, heard(0, proposal_of(0, 0, "one")))
    court.hear(2, heard(0, proposal_of(0, 0, "other")))
    (evidence,) = court.found[2]
    assert (evidence.signer, evidence.kind, evidence.height) == (0, Kind.PROPOSAL, 1)


def test_a_second_proposal_that_the_leader_did_not_sign_convicts_nobody() -> None:
    court = Court()
    court.hear(2, heard(0, proposal_of(0, 0, "one")))
    court.hear(2, heard(0, replace(proposal_of(0, 0, "other"), signature=bytes(64))))
    assert court.found == {}
    assert "forged-proposal" in court.seats[NodeId(2)].notes


def change_of(signer: int, view: int, certificate: Certificate | None) -> ViewChange:
    shown = (0, View(0), Height(0), Link(bytes(32)))
    if certificate is not None:
        shown = (certificate.phase, certificate.view, certificate.height, certificate.link)
    message = view_change_message(CHAIN, 0, Epoch(0), View(view), *shown)
    return ViewChange(Epoch(0), View(view), NodeId(signer), certificate, Keys(NodeId(signer)).sign(message))  # fmt: skip


def certificate_over(link: Link, phase: Phase = Phase.PREPARE, signers: tuple[int, ...] = (0, 1, 2)) -> Certificate:  # fmt: skip
    votes = tuple(CertVote(NodeId(each), signed_vote(each, phase, 0, 1, link, GENESIS).signature) for each in signers)  # fmt: skip
    return Certificate(phase, Epoch(0), View(0), Height(1), link, GENESIS, votes)


def test_two_view_changes_for_one_view_with_different_certificates_convict() -> None:
    court = Court()
    court.hear(2, heard(3, change_of(3, 1, None)))
    court.hear(2, heard(3, change_of(3, 1, certificate_over(OTHER))))
    (evidence,) = court.found[2]
    assert (evidence.signer, evidence.kind, evidence.view, evidence.height) == (3, Kind.VIEW_CHANGE, 1, 0)  # fmt: skip


def test_one_certificate_with_other_signers_is_the_same_statement() -> None:
    one, other = certificate_over(OTHER), certificate_over(OTHER, signers=(1, 2, 3))
    assert certificate_digest(one) == certificate_digest(other)
    court = Court()
    court.hear(2, heard(3, change_of(3, 1, one)))
    court.hear(2, heard(3, change_of(3, 1, other)))
    assert court.found == {}


def new_view_of(leader: int, changes: tuple[ViewChange, ...]) -> NewView:
    digest = changes_digest(changes)
    message = new_view_message(CHAIN, 0, Epoch(0), View(1), digest)
    return NewView(Epoch(0), View(1), changes, Keys(NodeId(leader)).sign(message))


def test_what_a_liar_told_another_member_meets_what_it_told_us_in_the_new_view() -> None:
    court = Court()
    court.hear(2, heard(3, change_of(3, 1, None)))
    to_the_leader = change_of(3, 1, certificate_over(OTHER))
    shown = (change_of(0, 1, None), change_of(1, 1, None), to_the_leader)
    court.hear(2, heard(1, new_view_of(1, shown)))
    assert [(each.signer, each.kind) for each in court.found[2]] == [(3, Kind.VIEW_CHANGE)]


def test_a_leader_that_opens_its_view_twice_in_different_ways_is_convicted() -> None:
    court = Court()
    quorums = ((0, 1, 3), (0, 1, 2))
    for signers in quorums:
        changes = tuple(change_of(each, 1, None) for each in signers)
        court.hear(2, heard(1, new_view_of(1, changes)))
    (evidence,) = court.found[2]
    assert (evidence.signer, evidence.kind, evidence.view) == (1, Kind.NEW_VIEW, 1)


def test_another_new_view_from_somebody_else_costs_him_nothing_and_convicts_nobody() -> None:
    court = Court()
    court.hear(2, heard(1, new_view_of(1, tuple(change_of(each, 1, None) for each in (0, 1, 3)))))
    court.hear(2, heard(3, new_view_of(3, tuple(change_of(each, 1, None) for each in (0, 1, 2)))))
    assert court.found == {}


def test_a_vote_inside_a_certificate_meets_the_one_that_was_given_to_us() -> None:
    court = Court()
    court.hear(2, heard(1, signed_vote(1, Phase.COMMIT, 0, 1, GENESIS, GENESIS)))
    court.hear(2, heard(3, change_of(3, 1, certificate_over(OTHER, Phase.COMMIT, (0, 1, 3)))))
    assert [(each.signer, each.kind) for each in court.found[2]] == [(1, Kind.COMMIT)]


@pytest.mark.parametrize("seed", range(60))
def test_no_history_of_honest_members_convicts_one_of_them(seed: int) -> None:
    """Losses, repeats, crashes at every moment, ticks and view changes; one member may be hostile, and only it is named."""
    draw, court = Random(seed), Court()
    hostile = draw.choice((None, 0, 1, 2, 3))
    for _ in range(250):
        match draw.randrange(8):
            case 0:
                court.work(draw.randrange(3))
            case 1:
                court.tick(draw.randrange(120), draw.randrange(4))
            case 2:
                node = draw.randrange(4)
                court.crash(node)
                court.restart(node)
            case 3 if hostile is not None:
                _lie(court, draw, hostile)
            case 4 if court.wire:
                _, to, message = draw.choice(court.wire)
                sender = next(s for s, t, m in court.wire if (t, m) == (to, message))
                court.hear(to, api.Heard(sender, message))
            case _:
                lost = draw.random() * 0.5
                court.deliver(lambda _, __, ___, lost=lost: draw.random() > lost, rounds=12)  # type: ignore[misc]
    named = {evidence.signer for found in court.found.values() for evidence in found}
    assert named <= {hostile}
    assert court.chains_agree()


def _lie(court: Court, draw: Random, hostile: int) -> None:
    """Something that only the hostile key signs, near what the network is doing, or somebody else's with a false signature."""
    to = draw.choice([node for node in range(4) if node != hostile])
    state = court.engine(to)._state
    view, height = state.view, state.final_height + draw.randrange(3)
    link = Link(bytes([draw.randrange(3)]) * 32)
    phase = draw.choice((Phase.PREPARE, Phase.COMMIT))
    vote = signed_vote(hostile, phase, view, height, link, state.final_link)
    match draw.randrange(4):
        case 0:
            court.hear(to, heard(hostile, change_of(hostile, view + 1, None)))
        case 1:
            framed = NodeId(draw.choice([node for node in range(4) if node != hostile]))
            change = replace(change_of(hostile, view + 1, None), signer=framed)
            court.hear(to, heard(hostile, change))
        case 2:
            court.hear(to, api.Heard(NodeId(hostile), MESSAGE.encode(vote)))
        case _:
            court.hear(to, heard(hostile, proposal_of(hostile, view, str(draw.randrange(3)))))
    assert isinstance(vote, Vote)


def test_the_histories_above_do_meet_liars() -> None:
    """Else the property would hold of nothing."""
    court, draw = Court(), Random(5)
    court.work()
    for _ in range(200):
        _lie(court, draw, 3)
    assert {evidence.signer for found in court.found.values() for evidence in found} == {3}
