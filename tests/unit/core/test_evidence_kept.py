"""Evidence that a member found survives its crash, is told to readers, and cannot fill its disk."""

from tallystick.consensus.pbft.messages import Vote
from tallystick.network.proofs.evidence import EVIDENCE, Evidence, verify_evidence
from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, vote_message
from tallystick.node.core import schema
from tallystick.node.core.evidence_kept import PER_MEMBER_MAX, EvidenceKept
from tallystick.node.core.step import Step
from tallystick.node.storage.memory import MemoryStore
from tests.sim.crypto import Signer
from tests.unit.core.lab import Lab


def vote(lab: Lab, signer: int, height: int, link: Link) -> Vote:
    parent, epoch = Link(bytes(32)), Epoch(0)
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
    (found,) = lab.core(1).reader.evidence()
    assert (found.signer, found.height) == (3, height)
    verify_evidence(found, MemberSet.from_genesis(lab.genesis), lab.purse.chain, 0, lab.keys.verify)
    lab.crash(1)
    lab.start(1)
    lab.settle()
    assert lab.core(1).reader.evidence() == [found]
    lie(lab, 3, 1, height)
    assert lab.core(1).reader.evidence() == [found]
    assert lab.core(0).reader.evidence() == []


def record(signer: int, height: int) -> bytes:
    lab_less = EVIDENCE.decode(_ANY)
    said = lab_less.first
    return EVIDENCE.encode(Evidence(1, 7, 0, Epoch(0), NodeId(signer), 2, View(0), Height(height), said, said))  # fmt: skip


def _any() -> bytes:
    lab = Lab()
    lie(lab, 3, 1, lab.core(1).ledger.height + 1)
    return EVIDENCE.encode(lab.core(1).reader.evidence()[0])


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
