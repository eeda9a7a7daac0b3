"""Evidence that a member found survives its crash, is told to readers, and cannot fill its disk."""

from msgspec.structs import replace

from tallystick.consensus.pbft.messages import Vote
from tallystick.network.proofs.evidence import EVIDENCE, Evidence, verify_evidence
from tallystick.network.proofs.evidence_file import (
    convict,
    evidence_from_bytes,
    evidence_to_bytes,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, vote_message
from tallystick.node.core import schema
from tallystick.node.core.evidence_kept import PER_MEMBER_MAX, EvidenceKept
from tallystick.node.core.step import Step
from tallystick.node.storage.memory import MemoryStore
from tests.sim.crypto import Signer
from tests.unit.core.lab import Lab
from tests.unit.core.test_epochs import SPARE, Epochs, settled


def vote(lab: Lab, signer: int, height: int, link: Link) -> Vote:
    parent, epoch = Link(bytes(32)), lab.core(0).ledger.members.epoch
    message = vote_message(lab.purse.chain, 0, epoch, View(0), Height(height), Phase.COMMIT, link, parent)  # fmt: skip
    signature = Signer(NodeId(signer), lab.keys).sign(message)
    return Vote(Phase.COMMIT, epoch, View(0), Height(height), link, parent, signature)


def lie(lab: Lab, signer: int, to: int, height: int) -> None:
    for link in (b"\x01", b"\x02"):
        lab.say(signer, to, vote(lab, signer, height, Link(link * 32)))


def test_evidence_is_told_and_outlives_a_crash() -> None:
    lab = Lab()
    height = lab.core(1).ledger.height + 1
    lie(lab, 3, 1, height)
    (file,) = lab.core(1).reader.evidence()
    found = file.evidence
    assert (found.signer, found.height, file.epochs) == (3, height, ())
    verify_evidence(found, MemberSet.from_genesis(lab.genesis), lab.purse.chain, 0, lab.keys.verify)
    lab.crash(1)
    lab.start(1)
    lab.settle()
    assert lab.core(1).reader.evidence() == [file]
    lie(lab, 3, 1, height)
    assert lab.core(1).reader.evidence() == [file]
    assert lab.core(0).reader.evidence() == []


def test_a_spare_that_lies_in_its_epoch_is_told_with_the_change_that_made_it_a_member() -> None:
    """Told before a crash and after it; and a member that lied before the change is told without it."""
    lab = Epochs(real=True)
    lie(lab, 3, 2, lab.core(2).ledger.height + 1)
    closing = settled(lab, 2, lab.activation())
    lab.pass_time(500)
    assert lab.core(2).ledger.members.epoch == 1
    lie(lab, SPARE, 2, lab.core(2).ledger.height + 1)
    told = lab.core(2).reader.evidence()
    assert [(file.evidence.epoch, file.evidence.signer) for file in told] == [(0, 3), (1, SPARE)]
    assert [[step.header.height for step in file.epochs] for file in told] == [[], [closing]]
    for file in told:
        read = evidence_from_bytes(evidence_to_bytes(file))
        assert convict(read, lab.genesis).ok
        others = replace(read.evidence, signer=NodeId(2))
        assert not convict(replace(read, evidence=others), lab.genesis).ok
    lab.crash(2)
    lab.start(2)
    lab.settle()
    assert lab.core(2).reader.evidence() == told


def record(signer: int, height: int) -> bytes:
    lab_less = EVIDENCE.decode(_ANY)
    said = lab_less.first
    return EVIDENCE.encode(Evidence(1, 7, 0, Epoch(0), NodeId(signer), 2, View(0), Height(height), said, said))  # fmt: skip


def _any() -> bytes:
    lab = Lab()
    lie(lab, 3, 1, lab.core(1).ledger.height + 1)
    return EVIDENCE.encode(lab.core(1).reader.evidence()[0].evidence)


_ANY = _any()


def test_one_member_fills_its_own_bound_and_nobody_elses() -> None:
    kept, step = EvidenceKept(MemoryStore()), Step()
    for height in range(2 * PER_MEMBER_MAX):
        kept.keep(record(3, height), step)
    assert len(step.pairs) == PER_MEMBER_MAX
    kept.keep(record(2, 0), step)
    assert len(step.pairs) == PER_MEMBER_MAX + 1
    assert all(key.startswith(schema.EVIDENCE) for key in step.pairs)


def test_the_bound_is_the_same_after_a_restart() -> None:
    store, step = MemoryStore(), Step()
    first = EvidenceKept(store)
    for height in range(PER_MEMBER_MAX):
        first.keep(record(3, height), step)
    store.stage(step.pairs)
    again, late = EvidenceKept(store), Step()
    again.keep(record(3, 99), late)
    assert late.pairs == {}
