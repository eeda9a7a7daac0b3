"""A checkpoint against genesis alone: a quorum's one signature, and every way in which it is not one."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from format_examples import checkpoint_key, example_genesis, vote_key
from tallystick.network.proofs.certificates import CertVote
from tallystick.network.proofs.checkpoints import (
    FORMAT,
    Checkpoint,
    CheckpointDocument,
    KeptCheckpoint,
    Statement,
    bitmap_of,
    check_checkpoint,
    check_note,
    checkpoint_keys,
    document_from_bytes,
    document_to_bytes,
    note_of,
    signers_of,
    verify_checkpoint,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.merkle import Log, leaf_hash
from tallystick.network.proofs.notes import parse_note
from tallystick.network.wire import bls
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import chain_of, genesis_hash
from tallystick.network.wire.ids import NodeId

GENESIS = example_genesis()
CHAIN = chain_of(genesis_hash(GENESIS))
MEMBERS = MemberSet.from_genesis(GENESIS)
KEYS = checkpoint_keys(GENESIS, MEMBERS)
LINKS = [bytes([height]) * 32 for height in range(101)]
STATEMENT = Statement(0, 100, LINKS[100], Log(map(leaf_hash, LINKS)).root())


def signed(
    *signers: int, statement: Statement = STATEMENT, claimed: tuple[int, ...] = ()
) -> Checkpoint:
    message = statement.message(CHAIN, GENESIS.lane)
    total = bls.aggregate([checkpoint_key(number).sign(message) for number in signers])
    assert total is not None
    bitmap = bitmap_of(MEMBERS, {NodeId(number) for number in claimed or signers})
    return Checkpoint(statement, bitmap, total)


GOOD = signed(0, 1, 3)
DOCUMENT = CheckpointDocument(FORMAT, 1, GOOD)
TEXT = document_to_bytes(DOCUMENT)


def fault(checkpoint: Checkpoint) -> str:
    with pytest.raises(Refused) as caught:
        check_checkpoint(checkpoint, CHAIN, GENESIS.lane, MEMBERS, KEYS)
    verdict = verify_checkpoint(CheckpointDocument(FORMAT, 1, checkpoint), GENESIS)
    assert not verdict.ok
    assert verdict.height is None
    return caught.value.detail


def test_a_quorums_one_signature_verifies_and_says_who() -> None:
    assert check_checkpoint(GOOD, CHAIN, GENESIS.lane, MEMBERS, KEYS) == [0, 1, 3]
    verdict = verify_checkpoint(DOCUMENT, GENESIS)
    assert (verdict.ok, verdict.height, verdict.assurance) == (True, 100, "BFT")
    assert document_from_bytes(TEXT) == DOCUMENT
    # As many signers as there are make it no longer.
    assert len(document_to_bytes(replace(DOCUMENT, checkpoint=signed(0, 1, 2, 3)))) == len(TEXT)


def test_fewer_than_a_quorum_are_none_whatever_the_bitmap_says() -> None:
    assert "fewer signers" in fault(signed(0, 1))
    assert "not genuine" in fault(signed(0, 1, claimed=(0, 1, 2)))
    assert "not genuine" in fault(signed(0, 1, 2, claimed=(0, 1, 3)))
    assert "not genuine" in fault(signed(0, 1, 2, 3, claimed=(0, 1, 3)))


def test_one_member_twice_is_one_member() -> None:
    assert "not genuine" in fault(signed(0, 0, 1, claimed=(0, 1, 3)))


def test_a_bit_that_is_nobodys_is_refused() -> None:
    assert "no member's" in fault(replace(GOOD, signers=bytes(7) + bytes([0b11011])))
    assert "no member's" in fault(replace(GOOD, signers=b"\x80" + bytes(6) + bytes([0b1011])))
    assert signers_of(MEMBERS, bytes(8)) == []


@pytest.mark.parametrize(
    "changed",
    [
        replace(STATEMENT, height=99),
        replace(STATEMENT, link=LINKS[99]),
        replace(STATEMENT, history_root=bytes(32)),
    ],
)
def test_a_signature_is_for_its_own_statement_only(changed: Statement) -> None:
    assert "not genuine" in fault(replace(GOOD, statement=changed))


def test_another_epoch_chain_or_lane_is_another_statement() -> None:
    assert "another epoch" in fault(replace(GOOD, statement=replace(STATEMENT, epoch=1)))
    for chain, lane in ((CHAIN + 1, GENESIS.lane), (CHAIN, GENESIS.lane + 1)):
        with pytest.raises(Refused, match="not genuine"):
            check_checkpoint(GOOD, chain, lane, MEMBERS, KEYS)
    other = replace(GENESIS, name="another")
    assert not verify_checkpoint(DOCUMENT, other).ok


def test_a_member_without_a_checkpoint_key_cannot_be_claimed() -> None:
    without = {member: key for member, key in KEYS.items() if member != 3}
    with pytest.raises(Refused, match="lists no checkpoint key of member 3"):
        check_checkpoint(GOOD, CHAIN, GENESIS.lane, MEMBERS, without)


def test_a_key_whose_possession_is_not_proven_signs_for_nobody() -> None:
    entries = GENESIS.checkpoint_keys
    stolen = replace(entries[0], possession=entries[1].possession)
    unproven = replace(GENESIS, checkpoint_keys=(stolen, *entries[1:]))
    verdict = verify_checkpoint(DOCUMENT, unproven)
    assert not verdict.ok
    assert verdict.failed is not None
    assert "does not prove possession" in verdict.failed.sentence


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_a_document_with_any_byte_changed_is_refused(position: int, change: int) -> None:
    """White space is free, everything else is signed or spelt in one way."""
    other = TEXT[:position] + bytes([TEXT[position] ^ change]) + TEXT[position + 1 :]
    try:
        document = document_from_bytes(other)
    except Refused:
        return
    if document == DOCUMENT:
        assert json.loads(other) == json.loads(TEXT)
    else:
        assert not verify_checkpoint(document, GENESIS).ok


@pytest.mark.parametrize("cut", range(0, len(TEXT) - 2, 17))
def test_a_cut_document_is_refused(cut: int) -> None:
    with pytest.raises(Refused):
        document_from_bytes(TEXT[:cut])


# -- as a note ---------------------------------------------------------------------------------------------------------


def kept(*signers: int) -> KeptCheckpoint:
    text = STATEMENT.head(GENESIS).text().encode()
    lines = tuple(
        CertVote(NodeId(number), vote_key(0x10 + number).sign(text)) for number in signers
    )
    return KeptCheckpoint(GOOD, lines)


def test_the_note_of_a_quorum_verifies_against_the_members_vote_keys() -> None:
    note = parse_note(note_of(kept(0, 1, 3), GENESIS, MEMBERS).text().encode())
    assert check_note(note, GENESIS, MEMBERS) == [0, 1, 3]
    assert (note.head.size, note.head.root) == (101, STATEMENT.history_root)
    assert {line.name for line in note.lines} == {note.head.origin}


def test_the_note_of_fewer_and_of_another_network_is_refused() -> None:
    note = note_of(kept(0, 1), GENESIS, MEMBERS)
    with pytest.raises(Refused, match="2 members signed"):
        check_note(note, GENESIS, MEMBERS)
    other = replace(GENESIS, name="another")
    with pytest.raises(Refused, match="another log"):
        check_note(note_of(kept(0, 1, 3), GENESIS, MEMBERS), other, MEMBERS)


def test_a_members_vote_never_reads_as_a_note_nor_a_note_as_a_vote() -> None:
    """Both are signed with the vote key: one has a zero byte behind its tag, the other has no zero byte at all."""
    text = STATEMENT.head(GENESIS).text()
    assert text.startswith("tallystick/")
    assert "\0" not in text
