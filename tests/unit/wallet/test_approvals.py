"""Four eyes: a file goes round, each approver adds a signature, and no file is believed."""

import msgspec
import pytest

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import PaymentId
from tallystick.network.wire.keys import verify_spend
from tallystick.network.wire.reasons import RejectReason
from tallystick.wallet.core import approvals, build
from tallystick.wallet.core.approvals import Approval
from tallystick.wallet.signers import LocalSigner
from tests.unit.wallet.networks import NOW_MS, small_network

NETWORK = small_network()
ANNA, BEN, CLEO = (LocalSigner(bytes([number]) * 32) for number in (11, 12, 13))
STRANGER = LocalSigner(bytes([14]) * 32)
KEYS = (ANNA.key, BEN.key, CLEO.key)


def begun(amount: str = "4.00") -> Approval:
    payment = build.transfer(
        NETWORK.terms, account=NETWORK.accounts[1], creditor=NETWORK.accounts[2], amount=amount, asset="USD",
        id=PaymentId(bytes(32)), now_ms=NOW_MS,
    )  # fmt: skip
    return approvals.request(payment, NETWORK.digester, KEYS, 2)


def test_two_of_three_complete_it_sorted_by_key() -> None:
    approval = approvals.sign(begun(), CLEO)
    assert approval.missing == 1
    with pytest.raises(Refused) as caught:
        approvals.finished(approval)
    assert caught.value.reason is RejectReason.NO_SIGNATURE
    transaction = approvals.finished(approvals.sign(approval, ANNA))
    keys = [witness.key for witness in transaction.witnesses]
    assert keys == sorted([ANNA.key, CLEO.key])
    assert all(
        verify_spend(each.key, approval.digest, each.signature) for each in transaction.witnesses
    )


def test_the_same_approver_twice_counts_once() -> None:
    assert approvals.sign(approvals.sign(begun(), BEN), BEN).missing == 1


def test_a_third_signature_is_left_out() -> None:
    approval = begun()
    for signer in (ANNA, BEN, CLEO):
        approval = approvals.sign(approval, signer)
    assert len(approvals.finished(approval).witnesses) == 2


def test_a_stranger_may_not_approve() -> None:
    with pytest.raises(Refused) as caught:
        approvals.sign(begun(), STRANGER)
    assert caught.value.reason is RejectReason.WRONG_KEYS


def test_files_that_went_two_ways_are_merged() -> None:
    one, other = approvals.sign(begun(), ANNA), approvals.sign(begun(), BEN)
    assert approvals.merge(one, other).complete
    with pytest.raises(Refused):
        approvals.merge(one, approvals.sign(begun("5.00"), BEN))


def test_the_file_comes_back_as_it_left() -> None:
    approval = approvals.sign(begun(), BEN)
    assert approvals.from_bytes(approvals.to_bytes(approval), NETWORK.digester) == approval


def test_a_file_with_a_changed_amount_is_refused() -> None:
    dearer = begun("5.00")
    forged = msgspec.structs.replace(
        approvals.finished(approvals.sign(approvals.sign(begun(), ANNA), BEN)), amount_minor=500
    )
    file = msgspec.json.decode(approvals.to_bytes(dearer))
    from tallystick.network.wire.transactions.codec import encode

    file["transaction"] = encode(forged).hex()
    with pytest.raises(Refused) as caught:
        approvals.from_bytes(msgspec.json.encode(file), NETWORK.digester)
    assert caught.value.reason is RejectReason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"format":"tallystick/approval"}', b"[" * 100_000]
)
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        approvals.from_bytes(content, NETWORK.digester)


@pytest.mark.parametrize(
    ("keys", "threshold"), [((), 1), (KEYS, 0), (KEYS, 4), ((ANNA.key,) * 2, 1), ((bytes(33),), 1)]
)
def test_a_round_that_could_never_end_is_not_begun(keys: tuple[bytes, ...], threshold: int) -> None:
    with pytest.raises(Refused):
        approvals.request(begun().transaction, NETWORK.digester, keys, threshold)
