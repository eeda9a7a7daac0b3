"""A genuine receipt verifies, with every step named; one that is false in any single place does not."""

from collections.abc import Callable
from hashlib import sha256

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.receipts import Receipt, Status
from tallystick.network.proofs.state_map import StateMap, blind_of, leaf_hash
from tallystick.network.proofs.verdict import EXIT_NOT_VERIFIED, EXIT_VERIFIED
from tallystick.network.proofs.verify import Verifier, verify_account, verify_receipt
from tallystick.network.wire.blocks import Header, Result
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.signing import Phase
from tallystick.network.wire.transactions import Transaction, Transfer
from tests.unit.proofs import evidence
from tests.unit.proofs.evidence import (
    ALLOWED,
    FORBIDDEN,
    GENESIS,
    SETTLED,
    TIME_MS,
    Chain,
    Said,
    certificate,
    outcome_of,
    payment,
    signed,
    small_chain,
)
from tests.unit.wire.examples import opening

STEPS = [
    "form", "members", "header", "link", "certificate", "transaction", "identity", "signatures", "ordered",
    "executed", "outcome",
]  # fmt: skip


def failure(receipt: Receipt) -> tuple[str, str]:
    """(step, sentence) of the check that fails; every earlier one holds."""
    verdict = verify_receipt(receipt, GENESIS)
    assert not verdict.ok
    assert verdict.exit_code == EXIT_NOT_VERIFIED
    claimed = (verdict.assurance, verdict.status, verdict.reason, verdict.height, verdict.time_ms)
    assert claimed == (None,) * 5
    assert [check.ok for check in verdict.checks[:-1]] == [True] * (len(verdict.checks) - 1)
    assert verdict.failed is verdict.checks[-1]
    return verdict.checks[-1].name, verdict.checks[-1].sentence


def test_a_settled_receipt_verifies_and_names_every_step() -> None:
    verdict = verify_receipt(small_chain().receipt(1, 0), GENESIS)
    assert verdict.ok, verdict.failed
    assert verdict.exit_code == EXIT_VERIFIED
    assert [check.name for check in verdict.checks] == STEPS
    assert all(check.ok and check.sentence for check in verdict.checks)
    assert verdict.assurance == "BFT"
    assert (verdict.status, verdict.reason, verdict.consumed) == (Status.SETTLED, None, True)
    assert (verdict.height, verdict.time_ms) == (1, TIME_MS + 1)
    assert verdict.failed is None


def test_a_rejected_receipt_is_verified_too_and_gives_its_reason() -> None:
    verdict = verify_receipt(small_chain().receipt(1, 1), GENESIS)
    assert verdict.exit_code == EXIT_VERIFIED
    assert (verdict.status, verdict.reason) == (Status.REJECTED, RejectReason.ROLLING_TOTAL)
    assert verdict.consumed


def test_every_receipt_of_every_block_verifies_by_itself_and_through_any_later_block() -> None:
    chain = small_chain()
    for height, block in enumerate(chain.blocks, start=1):
        for index in range(len(block.raws)):
            for certified in (None, *range(height + 1, len(chain.blocks) + 1)):
                verdict = verify_receipt(chain.receipt(height, index, certified), GENESIS)
                assert verdict.ok, verdict.failed


def test_the_verifier_checks_a_shared_block_once_and_an_equal_one_afresh() -> None:
    chain = small_chain()
    verifier = Verifier(GENESIS)
    first, second = chain.receipt(1, 0), chain.receipt(1, 1)
    shared = replace(second, block=first.block)
    kept = verifier.receipt(first).checks[1:4]
    assert all(a is b for a, b in zip(kept, verifier.receipt(shared).checks[1:4], strict=True))
    assert not any(a is b for a, b in zip(kept, verifier.receipt(second).checks[1:4], strict=True))
    forged = replace(first.block, header=replace(first.block.header, time_ms=1))
    assert not verifier.receipt(replace(first, block=forged)).ok
    assert verifier.receipt(first).ok


# What is false in one place. Each pair: what is changed, and the step that finds it.

HeaderChange = Callable[[Header], Header]


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda header: replace(header, version=2), "header"),
        (lambda header: replace(header, chain=header.chain ^ 1), "header"),
        (lambda header: replace(header, lane=1), "header"),
        (lambda header: replace(header, epoch=1), "header"),
        (lambda header: replace(header, height=0), "header"),
        (lambda header: replace(header, height=2), "link"),
        (lambda header: replace(header, parent_link=bytes(32)), "link"),
        (lambda header: replace(header, history_root=bytes(32)), "link"),
        (lambda header: replace(header, time_ms=header.time_ms + 1), "link"),
        (lambda header: replace(header, proposer=1), "link"),
        (lambda header: replace(header, tx_root=bytes(32)), "link"),
        (lambda header: replace(header, tx_root=b"short"), "form"),
        (lambda header: replace(header, height=2**63), "form"),
    ],
)
def test_a_changed_header_is_found(change: HeaderChange, step: str) -> None:
    receipt = small_chain().receipt(1, 0)
    block = replace(receipt.block, header=change(receipt.block.header))
    assert failure(replace(receipt, block=block))[0] == step


@pytest.mark.parametrize("name", ["state_root", "receipts_root", "next_epoch"])
def test_a_changed_result_is_found(name: str) -> None:
    receipt = small_chain().receipt(1, 0)
    result = replace(receipt.block.result, **{name: b"\x01" * 32})
    changed = replace(receipt, block=replace(receipt.block, result=result))
    assert failure(changed)[0] == "link"


def with_certificate(signers: tuple[int, ...], phase: Phase, epoch: int) -> Receipt:
    chain = small_chain()
    receipt = chain.receipt(1, 0)
    signed_by = certificate(chain.blocks[0], signers, phase=phase, epoch=epoch)
    return replace(receipt, block=replace(receipt.block, certificate=signed_by))


@pytest.mark.parametrize(
    ("signers", "phase", "epoch", "sentence"),
    [
        ((0, 1), Phase.COMMIT, 0, "fewer votes than a quorum"),
        ((0, 1, 1), Phase.COMMIT, 0, "not distinct"),
        ((1, 0, 2), Phase.COMMIT, 0, "not distinct and sorted"),
        ((0, 1, 9), Phase.COMMIT, 0, "not a member"),
        ((0, 1, 2), Phase.PREPARE, 0, "only prepares"),
        ((0, 1, 2), Phase.COMMIT, 1, "another epoch"),
    ],
)
def test_a_certificate_that_is_not_a_quorums_commit_is_refused(
    signers: tuple[int, ...], phase: Phase, epoch: int, sentence: str
) -> None:
    step, said = failure(with_certificate(signers, phase, epoch))
    assert step == "certificate"
    assert sentence in said


def test_a_quorum_of_exactly_three_of_four_and_all_four_both_verify() -> None:
    for signers in ((1, 2, 3), (0, 1, 2, 3)):
        assert verify_receipt(with_certificate(signers, Phase.COMMIT, 0), GENESIS).ok


@pytest.mark.parametrize("name", ["view", "height", "link", "parent_link"])
def test_votes_are_good_for_their_own_place_only(name: str) -> None:
    receipt = small_chain().receipt(1, 0)
    old = receipt.block.certificate
    value = getattr(old, name)
    moved = replace(old, **{name: value + 1 if isinstance(value, int) else b"\x05" * 32})
    changed = replace(receipt, block=replace(receipt.block, certificate=moved))
    assert failure(changed)[0] in {"link", "certificate"}


def test_one_forged_signature_spoils_a_certificate() -> None:
    receipt = small_chain().receipt(1, 0)
    old = receipt.block.certificate
    forged = replace(old.votes[1], signature=old.votes[0].signature)
    votes = (old.votes[0], forged, old.votes[2])
    changed = replace(receipt.block, certificate=replace(old, votes=votes))
    assert "not genuine" in failure(replace(receipt, block=changed))[1]


def test_a_later_block_anchors_only_what_its_history_holds() -> None:
    chain = small_chain()
    receipt = chain.receipt(1, 0, certified=3)
    anchor = receipt.block.anchor
    assert anchor is not None

    elsewhere = replace(anchor, path=chain.history.path(2, 3))
    block = replace(receipt.block, anchor=elsewhere)
    assert failure(replace(receipt, block=block))[0] == "link"

    forged = replace(anchor, header=replace(anchor.header, history_root=bytes(32)))
    block = replace(receipt.block, anchor=forged)
    assert failure(replace(receipt, block=block))[0] == "link"

    # A block cannot be certified through itself, nor through an earlier one.
    for certified in (1, 2):
        later = replace(
            chain.proof(1, 2).anchor or anchor, header=chain.blocks[certified - 1].header
        )
        own = replace(
            chain.proof(2), anchor=later, certificate=certificate(chain.blocks[certified - 1])
        )
        assert failure(replace(chain.receipt(2, 0), block=own))[0] == "link"


def test_a_certificate_over_the_anchor_does_not_serve_without_it() -> None:
    receipt = small_chain().receipt(1, 0, certified=3)
    assert failure(replace(receipt, block=replace(receipt.block, anchor=None)))[0] == "link"


def test_a_receipt_is_for_its_own_network_only() -> None:
    other = replace(GENESIS, name="another")
    verdict = verify_receipt(small_chain().receipt(1, 0), other)
    assert verdict.checks[-1].sentence == "the block belongs to another network"


# The transaction and its outcome. Here the quorum signs what the test says, however odd.


def alone(transaction: Transaction, said: Said = SETTLED, **changes: object) -> Receipt:
    """The receipt of a block that holds this transaction and a second one."""
    outcome = replace(outcome_of(transaction, said, 1, 0), **changes)
    second = payment(99)
    chain = Chain()
    outcomes = [outcome, outcome_of(second, SETTLED, 1, 1)]
    chain.add([(transaction, said), (second, SETTLED)], outcomes=outcomes)
    return chain.receipt(1, 0)


def test_swapped_parts_of_two_genuine_receipts_do_not_verify() -> None:
    chain = small_chain()
    mine, other = chain.receipt(1, 0), chain.receipt(1, 4)
    assert failure(replace(mine, transaction=other.transaction))[0] == "identity"
    assert failure(replace(mine, outcome=other.outcome))[0] == "identity"
    assert failure(replace(mine, transaction_path=other.transaction_path))[0] == "ordered"
    assert failure(replace(mine, outcome_path=other.outcome_path))[0] == "executed"
    assert failure(replace(mine, block=chain.proof(2)))[0] == "ordered"


@pytest.mark.parametrize("grown", [True, False])
def test_a_path_that_is_longer_or_shorter_does_not_verify(grown: bool) -> None:
    receipt = small_chain().receipt(1, 0)
    path = receipt.outcome_path
    changed = (*path, bytes(32)) if grown else path[:-1]
    assert failure(replace(receipt, outcome_path=changed))[0] == "executed"


def test_bytes_that_are_no_transaction_are_refused() -> None:
    receipt = small_chain().receipt(1, 0)
    for raw in (b"", b"\xc1", receipt.transaction + b"\0", receipt.transaction[:-1]):
        assert failure(replace(receipt, transaction=raw))[0] == "transaction"
    assert failure(replace(receipt, transaction=bytes(8_193)))[0] == "form"


def test_a_quorum_cannot_make_a_forged_signature_genuine() -> None:
    good = payment(1)
    witness = good.witnesses[0]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (order - int.from_bytes(witness.signature[32:], "big")).to_bytes(32, "big")
    for witnesses, sentence in [
        ((), "carries no signature"),
        ((witness, witness), "not sorted by key, each key once"),
        ((replace(witness, suite=1),), "suite is not known"),
        ((replace(witness, signature=witness.signature[:32] + high),), "high-s"),
        ((replace(witness, signature=payment(2).witnesses[0].signature),), "is not genuine"),
    ]:
        step, said = failure(alone(replace(good, witnesses=witnesses)))
        assert step == "signatures"
        assert sentence in said
    two = signed(opening(), 2, 3)
    swapped = replace(two, witnesses=two.witnesses[::-1])
    assert "sorted" in failure(alone(swapped, Said(opened=b"\x01" * 20)))[1]


def at_deadline(valid_until_ms: int) -> Transfer:
    made = signed(replace(payment(1), valid_until_ms=valid_until_ms))
    assert isinstance(made, Transfer)
    return made


def test_both_ends_of_the_deadline_are_inclusive() -> None:
    time_ms, longest = TIME_MS + 1, GENESIS.parameters.max_validity_ms
    assert verify_receipt(alone(at_deadline(time_ms)), GENESIS).ok
    assert verify_receipt(alone(at_deadline(time_ms + longest)), GENESIS).ok
    assert "after its deadline" in failure(alone(at_deadline(time_ms - 1)))[1]
    assert "too far ahead" in failure(alone(at_deadline(time_ms + longest + 1)))[1]


def test_a_payment_settled_after_settle_by_is_refused_and_at_it_is_not() -> None:
    time_ms = TIME_MS + 1
    on_time = signed(replace(payment(1), settle_by_ms=time_ms))
    late = signed(replace(payment(1), settle_by_ms=time_ms - 1))
    assert verify_receipt(alone(on_time), GENESIS).ok
    assert "settle_by_ms" in failure(alone(late))[1]
    assert verify_receipt(alone(late, evidence.EXPIRED), GENESIS).ok


def test_a_transaction_for_another_chain_or_lane_or_with_a_bad_field_is_refused() -> None:
    foreign = replace(payment(1), chain=7)
    assert "another network" in failure(alone(foreign))[1]
    assert "another lane" in failure(alone(signed(replace(payment(1), lane=1))))[1]
    draft = opening()
    unsorted = signed(replace(draft, keys=draft.keys[::-1]))
    assert "sorted" in failure(alone(unsorted, Said(opened=bytes(20))))[1]


@pytest.mark.parametrize("reason", [RejectReason.WRONG_KEYS, RejectReason.UNKNOWN_ACCOUNT])
def test_a_rejection_of_bytes_that_the_account_did_not_sign_says_nothing_of_its_digest(
    reason: RejectReason,
) -> None:
    """Anybody can sign the payer's message with a key of his own and have that rejected first."""
    stranger = signed(replace(payment(1), witnesses=()), 5)
    verdict = verify_receipt(alone(stranger, Said(Status.REJECTED, reason)), GENESIS)
    assert verdict.ok
    assert verdict.consumed is False
    assert "about these bytes only" in verdict.checks[-1].sentence


REJECT = Said(Status.REJECTED, RejectReason.INSUFFICIENT_FUNDS)


@pytest.mark.parametrize(
    ("said", "changes", "sentence"),
    [
        (SETTLED, {"version": 2}, "outcome version 2"),
        (SETTLED, {"lane": 1}, "another lane or height"),
        (SETTLED, {"height": 2}, "another lane or height"),
        (SETTLED, {"cause": 1}, "not caused by a transaction"),
        (SETTLED, {"kind": 2}, "another kind"),
        (SETTLED, {"account": bytes(20)}, "another account"),
        (SETTLED, {"id": bytes(32)}, "another id"),
        (SETTLED, {"final": False}, "interim"),
        (SETTLED, {"reason": 105}, "settled outcome has a reason"),
        (SETTLED, {"findings": (ALLOWED, FORBIDDEN)}, "finding that forbids"),
        (SETTLED, {"opened": bytes(20)}, "cannot open"),
        (REJECT, {"reason": 0}, "not one for the ledger"),
        (REJECT, {"reason": 8}, "not one for the ledger"),
        (REJECT, {"reason": 65_535}, "not one for the ledger"),
        (REJECT, {"status": 4}, "status is not known"),
    ],
)
def test_an_outcome_that_contradicts_itself_or_its_transaction_is_refused(
    said: Said, changes: dict[str, object], sentence: str
) -> None:
    step, found = failure(alone(payment(1), said, **changes))
    assert step == "outcome"
    assert sentence in found


def test_an_opening_names_the_account_it_opened_and_a_rejected_one_names_none() -> None:
    draft = signed(opening(), 2)
    assert verify_receipt(alone(draft, Said(opened=b"\x01" * 20)), GENESIS).ok
    assert failure(alone(draft, Said(opened=b"")))[0] == "outcome"
    assert failure(alone(draft, Said(opened=b"\x01" * 19)))[0] == "outcome"
    rejected = Said(Status.REJECTED, RejectReason.NOT_PERMITTED, opened=b"\x01" * 20)
    assert failure(alone(draft, rejected))[0] == "outcome"


def test_the_outcomes_index_is_its_place_in_both_trees() -> None:
    receipt = alone(payment(1), index=1)
    assert failure(receipt)[0] == "ordered"


def test_an_unknown_receipt_version_is_refused() -> None:
    assert "version 2" in failure(replace(small_chain().receipt(1, 0), version=2))[1]


# Accounts.

SEED, OWNER = b"\x09" * 16, b"\x11" * 20


def ledger_of(accounts: int) -> tuple[StateMap, dict[bytes, bytes]]:
    blind = blind_of(SEED, 1)
    owners = {sha256(bytes([n % 256, n // 256])).digest()[:20]: b"record" for n in range(accounts)}
    owners[OWNER] = b"my record"
    leaves = {
        sha256(b"account/" + owner).digest(): leaf_hash(b"account/" + owner, value, blind)
        for owner, value in owners.items()
    }
    state = StateMap()
    state.load(sorted(leaves.items()))
    return state, leaves


def block_with(root: bytes) -> Chain:
    chain = Chain()
    chain.add([(payment(1), SETTLED)], state_root=root)
    return chain


@pytest.mark.parametrize("accounts", [0, 10, 1_000])
def test_an_account_is_proven_to_hold_its_record_or_not_to_exist(accounts: int) -> None:
    state, _ = ledger_of(accounts)
    block = block_with(state.root).proof(1)
    blind = blind_of(SEED, 1)
    held = state.prove(sha256(b"account/" + OWNER).digest())
    nobody = b"\x12" * 20
    absent = state.prove(sha256(b"account/" + nobody).digest())

    verdict = verify_account(OWNER, b"my record", blind, held, block, GENESIS)
    assert verdict.ok, verdict.failed
    assert (verdict.height, verdict.status, verdict.assurance) == (1, None, "BFT")
    assert verdict.consumed is None
    assert verify_account(nobody, None, bytes(32), absent, block, GENESIS).ok

    assert not verify_account(OWNER, b"my records", blind, held, block, GENESIS).ok
    assert not verify_account(OWNER, b"my record", bytes(32), held, block, GENESIS).ok
    assert not verify_account(OWNER, None, bytes(32), held, block, GENESIS).ok
    assert not verify_account(nobody, b"my record", blind, held, block, GENESIS).ok
    assert not verify_account(nobody, b"my record", blind, absent, block, GENESIS).ok
    forged = replace(block, result=Result(bytes(32), block.result.receipts_root))
    assert not verify_account(OWNER, b"my record", blind, held, forged, GENESIS).ok
