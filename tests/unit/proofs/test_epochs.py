"""The chain of member sets in a receipt: each epoch is signed for by the one before, forward only."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.merkle import Tree
from tallystick.network.proofs.receipts import BlockProof, EpochStep
from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import NO_CHANGE, Header, Result, link_of
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.membership import (
    EpochMembers,
    MemberEntry,
    count_fault,
    members_digest,
)
from tallystick.network.wire.signing import Phase, vote_message
from tests.unit.proofs.evidence import CHAIN, GENESIS, TIME_MS
from tests.unit.wire.examples import vote_key

EMPTY = Tree([]).root


def member(number: int) -> MemberEntry:
    """Member n votes with key n + 1, as in the example genesis."""
    key = vote_key(number + 1).public_key().public_bytes_raw()
    return MemberEntry(NodeId(number), f"m{number}", GENESIS.participants[0].id, key, bytes(32))


def members(epoch: int, *numbers: int) -> EpochMembers:
    return EpochMembers(epoch, tuple(map(member, numbers)))


def header(epoch: int, height: int) -> Header:
    parent = height.to_bytes(32, "big")
    return Header(1, CHAIN, 0, epoch, height, parent, bytes(32), TIME_MS + height, 0, EMPTY)


def signed(head: Header, result: Result, *signers: int, epoch: int | None = None) -> Certificate:
    link, parent = link_of(head, result), Link(head.parent_link)
    names = Epoch(head.epoch if epoch is None else epoch), View(0), Height(head.height)
    message = vote_message(CHAIN, 0, *names, Phase.COMMIT, link, parent)
    votes = tuple(CertVote(NodeId(each), vote_key(each + 1).sign(message)) for each in signers)
    return Certificate(Phase.COMMIT, *names, link, parent, votes)


def step(epoch: int, height: int, opens: EpochMembers, *signers: int) -> EpochStep:
    head, result = header(epoch, height), Result(bytes(32), EMPTY, members_digest(opens))
    return EpochStep(head, result, signed(head, result, *signers), opens)


FIRST = step(0, 5, members(1, 0, 1, 2, 9), 0, 1, 3)
"""Member 3 left, its spare 9 joined."""
SECOND = step(1, 8, members(2, 0, 1, 9, 4), 0, 2, 9)
PLAIN = Result(bytes(32), EMPTY)


def proof(epoch: int, height: int, signers: tuple[int, ...], *steps: EpochStep) -> BlockProof:
    head = header(epoch, height)
    return BlockProof(head, PLAIN, signed(head, PLAIN, *signers), None, steps)


THIRD_EPOCH = proof(2, 9, (0, 4, 9), FIRST, SECOND)


def failed(block: BlockProof) -> str:
    verdict = Verifier(GENESIS).block(block)
    assert not verdict.ok
    assert verdict.failed is not None
    return verdict.failed.sentence


def test_two_changes_lead_from_genesis_to_the_members_that_signed() -> None:
    verifier = Verifier(GENESIS)
    verdict = verifier.block(THIRD_EPOCH)
    assert verdict.ok, verdict.failed
    assert verdict.checks[1].sentence == "2 changes lead from genesis to the members of epoch 2"
    # The same verifier reads blocks of any epoch, in any order.
    for epoch, height, signers, steps in (
        (0, 3, (0, 1, 3), ()),
        (2, 11, (0, 1, 9), (FIRST, SECOND)),
        (1, 6, (0, 1, 9), (FIRST,)),
    ):
        assert verifier.block(proof(epoch, height, signers, *steps)).ok
    assert verifier.block(THIRD_EPOCH).ok


def test_the_votes_of_another_epoch_never_count() -> None:
    assert failed(proof(2, 9, (0, 2, 9), FIRST, SECOND)) == "signer 2 is not a member"
    assert failed(proof(1, 6, (0, 1, 3), FIRST)) == "signer 3 is not a member"
    spare_in_its_old_epoch = step(0, 5, members(1, 0, 1, 2, 9), 0, 1, 9)
    assert failed(proof(1, 6, (0, 1, 9), spare_in_its_old_epoch)) == "signer 9 is not a member"
    head = header(1, 6)
    old = signed(head, PLAIN, 0, 1, 2, epoch=0)
    assert failed(BlockProof(head, PLAIN, old, None, (FIRST,))).endswith("another epoch")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda a, b: (b,), "the members of epoch 1 are unknown"),
        (lambda a, b: (a,), "the members of epoch 2 are unknown"),
        (lambda a, b: (b, a), "the members of epoch 1 are unknown"),
        (lambda a, b: (a, a), "the members of epoch 0 are unknown"),
        (lambda a, b: (a, b, b), "the members of epoch 1 are unknown"),
        (lambda a, b: (a, step(1, 5, b.members, 0, 2, 9)), "epoch 1 closes before it begins"),
        (lambda a, b: (a, step(1, 8, b.members, 0, 2)), "fewer votes than a quorum"),
        (
            lambda a, b: (a, replace(b, members=members(2, 0, 1, 9, 5))),
            "the block that closes epoch 1 names other members",
        ),
        (
            lambda a, b: (a, replace(b, result=replace(b.result, next_epoch=NO_CHANGE))),
            "the block that closes epoch 1 names other members",
        ),
        (
            lambda a, b: (a, step(1, 8, members(3, 0, 1, 9, 4), 0, 2, 9)),
            "the block that closes epoch 1 names other members",
        ),
        (
            lambda a, b: (a, replace(b, certificate=a.certificate)),
            "the certificate is about another link",
        ),
    ],
)
def test_a_spoiled_chain_leads_nowhere(
    spoil: Callable[[EpochStep, EpochStep], tuple[EpochStep, ...]], why: str
) -> None:
    verifier = Verifier(GENESIS)
    spoiled = replace(THIRD_EPOCH, epochs=spoil(FIRST, SECOND))
    assert failed(spoiled) == why
    # What did not hold is not remembered as if it had.
    assert not verifier.block(spoiled).ok
    assert not verifier.block(replace(THIRD_EPOCH, epochs=())).ok
    assert verifier.block(proof(0, 3, (0, 1, 3))).ok


def test_a_block_below_its_epochs_beginning_is_not_of_it() -> None:
    assert failed(proof(1, 5, (0, 1, 9), FIRST)) == "the block is older than its epoch"


def test_a_receipt_walks_through_a_bounded_number_of_changes() -> None:
    most = (FIRST,) * bounds.EPOCHS_PROVEN_MAX
    assert "unknown" in failed(replace(THIRD_EPOCH, epochs=most))
    over = failed(replace(THIRD_EPOCH, epochs=(*most, FIRST)))
    assert "length <= 64" in over


def test_a_set_with_two_entries_of_one_id_or_key_is_refused() -> None:
    with pytest.raises(Refused, match="share an id"):
        MemberSet.of(EpochMembers(1, (member(1), member(1))), "pbft")
    with pytest.raises(Refused, match="share a vote key"):
        MemberSet.of(EpochMembers(1, (member(1), replace(member(1), id=NodeId(2)))), "pbft")


@pytest.mark.parametrize(
    ("engine", "count", "good"),
    [("pbft", n, n == 1 or 4 <= n <= 64) for n in (0, 1, 2, 3, 4, 5, 64, 65)]
    + [("raft", n, 1 <= n <= 64) for n in (0, 1, 2, 64, 65)],
)
def test_how_many_members_an_epoch_may_have(engine: str, count: int, good: bool) -> None:
    assert (count_fault(engine, count) is None) is good
