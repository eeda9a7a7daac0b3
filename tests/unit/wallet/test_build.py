"""An intent becomes a transaction, or is refused before anything is signed."""

from decimal import Decimal
from typing import Any

import pytest

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import AccountId, PaymentId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transfer
from tallystick.network.wire.transactions.codec import decode, encode
from tallystick.wallet.core import build
from tests.unit.wallet.networks import NOW_MS, small_network

NETWORK = small_network()
PAYER, CREDITOR = NETWORK.accounts[1], NETWORK.accounts[2]
ID = PaymentId(bytes(range(32)))


def transfer(**changes: Any) -> Transfer:
    fields: dict[str, Any] = {
        "account": PAYER, "creditor": CREDITOR, "amount": "4.00", "asset": "USD", "id": ID, "now_ms": NOW_MS,
    }  # fmt: skip
    return build.transfer(NETWORK.terms, **(fields | changes))


def refused(**changes: Any) -> RejectReason:
    with pytest.raises(Refused) as caught:
        transfer(**changes)
    return caught.value.reason


def test_a_payment_of_four_dollars_is_400_minor_units_valid_for_ten_minutes() -> None:
    payment = transfer()
    assert payment.amount_minor == 400
    assert payment.valid_until_ms == NOW_MS + 600_000
    assert payment.chain == NETWORK.terms.chain
    assert payment.witnesses == ()
    assert decode(encode(payment)) == payment


@pytest.mark.parametrize(
    ("amount", "asset", "minor"),
    [("4", "USD", 400), (Decimal("4.5"), "USD", 450), (Decimal("1E+2"), "USD", 10_000), ("7", "JPY", 7),
     ("92233720368547758.07", "USD", 2**63 - 1)],
)  # fmt: skip
def test_amounts_are_read_exactly(amount: str | Decimal, asset: str, minor: int) -> None:
    assert transfer(amount=amount, asset=asset).amount_minor == minor


@pytest.mark.parametrize(
    "amount",
    ["0", "0.00", "-1", "+1", "1e3", "1,000", " 1", "0.001", "", "NaN", "Infinity", "٤", "92233720368547758.08",
     Decimal("NaN"), Decimal(-1), Decimal("0.001"), Decimal("Infinity"), 4.0, 4, True, None],
)  # fmt: skip
def test_what_is_not_plainly_an_amount_is_refused(amount: object) -> None:
    assert refused(amount=amount) is RejectReason.BAD_FIELD


def test_an_asset_that_the_network_lacks_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(Refused, match="it has JPY, USD"):
        transfer(asset="EUR")


def test_the_longest_validity_is_allowed_and_one_more_is_not() -> None:
    longest = NETWORK.genesis.parameters.max_validity_ms
    assert transfer(valid_for_ms=longest).valid_until_ms == NOW_MS + longest
    assert refused(valid_for_ms=longest + 1) is RejectReason.TOO_FAR_DEADLINE
    assert refused(valid_for_ms=0) is RejectReason.TOO_FAR_DEADLINE


def test_bad_fields_are_refused_each_with_its_reason() -> None:
    assert refused(creditor=PAYER) is RejectReason.SAME_ACCOUNT
    assert refused(creditor=AccountId(b"short")) is RejectReason.BAD_FIELD
    assert refused(account=AccountId(bytes(21))) is RejectReason.BAD_FIELD
    assert refused(id=PaymentId(bytes(31))) is RejectReason.BAD_FIELD
    assert refused(payload_root=bytes(33)) is RejectReason.BAD_FIELD
    assert refused(settle_by_ms=NOW_MS - 1) is RejectReason.BAD_FIELD
    assert transfer(settle_by_ms=NOW_MS).settle_by_ms == NOW_MS


def test_an_issue_names_the_same_amounts() -> None:
    issued = build.issue(
        NETWORK.terms,
        account=NETWORK.accounts[0],
        creditor=PAYER,
        amount="1000000.00",
        asset="USD",
        id=ID,
        now_ms=NOW_MS,
    )
    assert issued.amount_minor == 100_000_000


def opened(**changes: Any) -> Any:
    fields: dict[str, Any] = {
        "account": PAYER, "keys": [NETWORK.signers[1].key], "threshold": 1, "tier": 1, "seed": bytes(16), "id": ID, "now_ms": NOW_MS,
    }  # fmt: skip
    return build.open_account(NETWORK.terms, **(fields | changes))


def test_keys_of_a_new_account_are_sorted_and_distinct() -> None:
    keys = [signer.key for signer in NETWORK.signers]
    assert opened(keys=sorted(keys, reverse=True), threshold=2).keys == tuple(sorted(keys))
    with pytest.raises(Refused):
        opened(keys=[keys[0], keys[0]])


@pytest.mark.parametrize(
    "changes",
    [{"threshold": 0}, {"threshold": 2}, {"tier": 4}, {"tier": -1}, {"seed": bytes(15)}, {"keys": []},
     {"keys": [bytes(33)]}, {"keys": [b"\x02" + bytes([index]) * 32 for index in range(11)]}],
)  # fmt: skip
def test_an_account_that_could_never_pay_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        opened(**changes)


def test_as_many_keys_as_the_bound_allows() -> None:
    from tallystick.wallet.signers import LocalSigner

    keys = [LocalSigner(bytes([index + 1]) * 32).key for index in range(bounds.SIGNATURES_MAX)]
    assert len(opened(keys=keys, threshold=len(keys)).keys) == bounds.SIGNATURES_MAX


UETR = "eb6305c9-1f7f-49de-aed0-16487c27b42d"


def test_a_uetr_maps_into_an_id_and_back() -> None:
    id_ = build.id_from_uetr(UETR)
    assert id_ == bytes(16) + bytes.fromhex(UETR.replace("-", ""))
    assert build.uetr_of(id_) == UETR
    assert build.parse_id(UETR.upper()) == id_
    assert build.uetr_of(ID) is None


@pytest.mark.parametrize(
    "text", ["", UETR[:-1], UETR.replace("-49", "-19"), UETR.replace("-ae", "-ce"), "x" * 36]
)
def test_what_is_not_a_version_4_uuid_is_no_uetr(text: str) -> None:
    with pytest.raises(Refused):
        build.id_from_uetr(text)


def test_ids_are_hex_or_uetr_or_a_reference() -> None:
    assert build.parse_id(ID.hex()) == ID
    assert build.parse_id("0x" + ID.hex().upper()) == ID
    assert build.parse_id("INV-2025/118") == build.id_from_reference("INV-2025/118")
    assert build.parse_id("INV-2025/118") != build.parse_id("INV-2025/119")


@pytest.mark.parametrize(
    "text",
    [ID.hex()[:-1], ID.hex() + "00", UETR.replace("-49", "-19"), "with space", "x" * 65, "", "ü"],
)
def test_a_mistyped_id_does_not_become_a_reference(text: str) -> None:
    with pytest.raises(Refused):
        build.parse_id(text)
