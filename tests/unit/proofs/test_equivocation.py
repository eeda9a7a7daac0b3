"""What a stranger checks of evidence: every byte counts, and nothing convicts but two genuine statements that differ."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.evidence import (
    EVIDENCE,
    Evidence,
    Kind,
    verify_evidence,
)
from tallystick.network.proofs.evidence_file import (
    EvidenceFile,
    convict,
    evidence_from_bytes,
    evidence_to_bytes,
    name_of,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import chain_of, genesis_from_json, genesis_hash
from tallystick.network.wire.ids import Epoch, NodeId
from tallystick.network.wire.keys import verify_vote

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "formats.json").read_text())
GENESIS = genesis_from_json(VECTORS["genesis"]["file"].encode())
CHAIN, MEMBERS = chain_of(genesis_hash(GENESIS)), MemberSet.from_genesis(GENESIS)
COMMITS = EVIDENCE.decode(bytes.fromhex(VECTORS["block"]["evidence"]["commits"]))
CHANGES = EVIDENCE.decode(bytes.fromhex(VECTORS["block"]["evidence"]["view_changes"]))


def convicts(evidence: Evidence, members: MemberSet = MEMBERS, chain: int = CHAIN) -> bool:
    try:
        verify_evidence(evidence, members, chain, 0, verify_vote)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("evidence", [COMMITS, CHANGES], ids=["commits", "view changes"])
def test_the_published_evidence_convicts(evidence: Evidence) -> None:
    assert convicts(evidence)
    assert "member 0 signed two different" in evidence.sentence


@pytest.mark.parametrize("evidence", [COMMITS, CHANGES], ids=["commits", "view changes"])
def test_no_changed_byte_convicts(evidence: Evidence) -> None:
    encoded = EVIDENCE.encode(evidence)
    for at in range(len(encoded)):
        changed = encoded[:at] + bytes([encoded[at] ^ 1]) + encoded[at + 1 :]
        try:
            found = EVIDENCE.decode(changed)
        except Refused:
            continue
        assert not convicts(found), at


@pytest.mark.parametrize(
    "change",
    [
        {"signer": NodeId(1)},
        {"signer": NodeId(9)},
        {"epoch": Epoch(1)},
        {"kind": Kind.PREPARE},
        {"kind": Kind.NEW_VIEW},
        {"first": COMMITS.second, "second": COMMITS.first},
        {"second": COMMITS.first},
    ],
    ids=str,
)
def test_what_was_not_signed_convicts_nobody(change: dict[str, object]) -> None:
    assert not convicts(replace(COMMITS, **change))


def test_another_network_and_a_network_of_crash_faults_convict_nobody() -> None:
    assert not convicts(COMMITS, chain=CHAIN + 1)
    assert not convicts(COMMITS, MemberSet(Epoch(0), MEMBERS.vote_keys, "raft"))


def test_a_file_has_one_text() -> None:
    text = VECTORS["block"]["evidence"]["commits_file"].encode()
    assert evidence_from_bytes(text) == EvidenceFile(COMMITS)
    assert evidence_to_bytes(EvidenceFile(COMMITS)) == text


def test_the_published_file_of_a_later_epoch_names_the_spare_that_lied_there() -> None:
    text = VECTORS["block"]["evidence_epoch_1_file"].encode()
    file = evidence_from_bytes(text)
    assert evidence_to_bytes(file) == text
    assert convict(file, GENESIS).ok
    assert (file.evidence.epoch, file.evidence.signer, len(file.epochs)) == (1, 101, 1)
    assert name_of(file, GENESIS) == "node-1"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace(b"tallystick/evidence", b"tallystick/receipt"),
        lambda text: text.replace(b"COMMIT", b"SHOUT"),
        lambda text: text.replace(b'"view"', b'"vue"'),
        lambda text: b"[" * 10_000,
        lambda text: b"{",
        lambda text: text + b" " * 3_000_000,
    ],
)
def test_what_is_no_evidence_file_is_refused(spoil: object) -> None:
    with pytest.raises(Refused):
        evidence_from_bytes(spoil(VECTORS["block"]["evidence"]["commits_file"].encode()))  # type: ignore[operator]
