"""Refuted: that no message costs a member a signature check and its sender nothing."""

from msgspec.structs import replace

from tallystick.consensus.pbft.messages import Decided, Disagree
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.faults import present
from tallystick.network.wire.ids import Epoch, Height, Link, View
from tests.unit.core.lab import Lab


def blamed(lab: Lab, node: int) -> list[tuple[object, object]]:
    return [(note.facts["peer"], note.facts["reason"]) for note in lab.box(node).notes("peer-garbage")]  # fmt: skip


def certificate_of(lab: Lab) -> Certificate:
    return present(lab.core(0).ledger.certificate, "a block is final")


def test_a_certificate_that_is_no_quorums_is_held_against_its_sender() -> None:
    lab = Lab()
    lab.answer(0, lab.issue())
    genuine = certificate_of(lab)
    lab.say(2, 1, Decided(replace(genuine, height=Height(genuine.height + 1))))
    assert blamed(lab, 1) == [(2, "forged-certificate")]


def test_a_genuine_certificate_and_one_of_another_epoch_are_nobodys_fault() -> None:
    lab = Lab()
    lab.cut = {(node, 3) for node in range(3)}
    lab.answer(0, lab.issue())
    lab.cut = set()
    genuine = certificate_of(lab)
    lab.say(2, 3, Decided(genuine))
    lab.say(2, 3, Decided(replace(genuine, epoch=Epoch(1), height=Height(9))))
    lab.pass_time(500)
    assert lab.core(3).ledger.height == genuine.height
    assert blamed(lab, 3) == []


def test_a_disagreement_that_its_sender_did_not_sign_is_held_against_it() -> None:
    lab = Lab()
    link = Link(bytes(32))
    lab.say(2, 1, Disagree(Epoch(0), View(0), Height(1), link, link, bytes(64)))
    assert blamed(lab, 1) == [(2, "forged-disagreement")]
