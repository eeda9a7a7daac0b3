"""A receipt's file: people can read it, it has one text only, and no changed byte of it ever verifies."""

import json
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.document import (
    OPENINGS_MAX,
    block_from_document,
    receipt_from_bytes,
    receipt_from_document,
    receipt_to_bytes,
    receipt_to_document,
    state_from_document,
    to_document,
    transaction_from_document,
    transaction_to_document,
)
from tallystick.network.proofs.receipts import RECEIPT, Receipt
from tallystick.network.proofs.state_map import StateMap
from tallystick.network.proofs.verify import Verifier, verify_receipt
from tallystick.network.wire.bounds import RECEIPT_BYTES_MAX
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import encode
from tests.unit.proofs.evidence import GENESIS, payment, signed, small_chain
from tests.unit.wire.examples import EVERY_KIND, opening

CHAIN = small_chain()
PLAIN = CHAIN.receipt(1, 1)
ANCHORED = CHAIN.receipt(2, 0, certified=3)


def every_receipt() -> list[Receipt]:
    own = [CHAIN.receipt(1, index) for index in range(5)]
    return [*own, CHAIN.receipt(2, 0), ANCHORED, CHAIN.receipt(1, 2, certified=3)]


def test_every_receipt_comes_back_from_its_file_and_its_document() -> None:
    for receipt in every_receipt():
        data = receipt_to_bytes(receipt)
        assert len(data) < RECEIPT_BYTES_MAX
        assert receipt_from_bytes(data) == receipt
        assert receipt_from_document(receipt_to_document(receipt)) == receipt
        assert receipt_from_document(json.loads(data)) == receipt
        assert verify_receipt(receipt_from_bytes(data), GENESIS).ok


def test_people_read_names_not_numbers() -> None:
    document = receipt_to_document(PLAIN)
    assert list(document)[:3] == ["format", "version", "transaction"]
    assert document["format"] == "tallystick/receipt"
    assert document["transaction"]["kind"] == "TRANSFER"
    assert document["transaction"]["amount_minor"] == "12550"
    assert document["transaction"]["account"] == "11" * 20
    outcome = document["outcome"]
    assert outcome["kind"] == "TRANSFER"
    assert outcome["status"] == "REJECTED"
    assert outcome["reason"] == "ROLLING_TOTAL"
    assert outcome["cause"] == "TRANSACTION"
    assert outcome["findings"][1] == {
        "rule": "R04",
        "version": 1,
        "outcome": "REJECT",
        "observed_minor": "600000000",
        "threshold_minor": "500000000",
        "headroom_minor": "0",
    }
    assert receipt_to_document(CHAIN.receipt(1, 0))["outcome"]["reason"] is None
    assert document["block"]["certificate"]["phase"] == "COMMIT"
    assert document["block"]["anchor"] is None
    assert receipt_to_document(ANCHORED)["block"]["anchor"]["header"]["height"] == 3


def test_numbers_beyond_what_a_double_holds_are_written_as_text() -> None:
    large = signed(replace(payment(1), amount_minor=2**63 - 1))
    document = transaction_to_document(large)
    assert document["amount_minor"] == "9223372036854775807"
    assert transaction_from_document(document) == large


@pytest.mark.parametrize("draft", EVERY_KIND)
def test_every_kind_of_transaction_comes_back_from_its_document(draft: Any) -> None:
    transaction = signed(draft, 2, 3)
    document = json.loads(json.dumps(transaction_to_document(transaction)))
    assert transaction_from_document(document) == transaction


def test_block_and_state_proofs_have_documents_of_their_own() -> None:
    for block in (CHAIN.proof(1), CHAIN.proof(1, 3)):
        assert block_from_document(json.loads(json.dumps(to_document(block)))) == block
    state = StateMap()
    state.load((number.to_bytes(32, "big"), bytes(32)) for number in range(50))
    proof = state.prove((7).to_bytes(32, "big"))
    assert state_from_document(json.loads(json.dumps(to_document(proof)))) == proof
    for false in ({**to_document(proof), "bucket": "AA" * 64}, {"bucket": ""}, None):
        with pytest.raises(Refused):
            state_from_document(false)


# One text only.


def refused(data: bytes) -> RejectReason:
    with pytest.raises(Refused) as refusal:
        receipt_from_bytes(data)
    return refusal.value.reason


def test_another_text_of_the_same_value_is_refused() -> None:
    data = receipt_to_bytes(PLAIN)
    document = json.loads(data)
    assert data == json.dumps(document, indent=2).encode() + b"\n"
    for other in (
        json.dumps(document).encode(),
        json.dumps(document, indent=4).encode() + b"\n",
        json.dumps(document, indent=2, sort_keys=True).encode() + b"\n",
        data[:-1],
        data + b"\n",
        b"\xef\xbb\xbf" + data,
        data.replace(b'"version": 1,', b'"version": 1, "version": 1,', 1),
        data.replace(b'"account"', b'"\\u0061ccount"', 1),
    ):
        assert other != data
        assert refused(other) in {RejectReason.NON_CANONICAL, RejectReason.MALFORMED}


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("format"),
        lambda document: document.update(format="tallystick/bundle"),
        lambda document: document.update(comment="unknown"),
        lambda document: document.pop("outcome_path"),
        lambda document: document.update(version=1.0),
        lambda document: document.update(version=True),
        lambda document: document.update(version="1"),
        lambda document: document.update(version=2**70),
        lambda document: document.update(transaction=None),
        lambda document: document.update(transaction="00"),
        lambda document: document["transaction"].update(kind="PAYMENT"),
        lambda document: document["transaction"].update(kind=3),
        lambda document: document["transaction"].update(kind="ISSUE"),
        lambda document: document["transaction"].update(amount_minor=12550),
        lambda document: document["transaction"].update(amount_minor="012550"),
        lambda document: document["transaction"].update(amount_minor="+12550"),
        lambda document: document["transaction"].update(amount_minor="12_550"),
        lambda document: document["transaction"].update(amount_minor="١٢"),
        lambda document: document["transaction"].update(amount_minor="9" * 20),
        lambda document: document["transaction"].update(amount_minor="9223372036854775808"),
        lambda document: document["transaction"].update(amount_minor="0"),
        lambda document: document["transaction"].update(asset="usd"),
        lambda document: document["transaction"].update(asset="\ud800"),
        lambda document: document["transaction"].update(account="0x" + "11" * 20),
        lambda document: document["transaction"].update(account="11 " * 20),
        lambda document: document["transaction"].update(account="1" * 39),
        lambda document: document["transaction"].update(account="zz" * 20),
        lambda document: document["transaction"].update(account="11" * 19),
        lambda document: document["outcome"].update(status="DONE"),
        lambda document: document["outcome"].update(status=2),
        lambda document: document["outcome"].update(status="rejected"),
        lambda document: document["outcome"].update(reason=121),
        lambda document: document["outcome"].update(reason=""),
        lambda document: document["outcome"].update(reason=["ROLLING_TOTAL"]),
        lambda document: document["outcome"].update(final=1),
        lambda document: document["outcome"].update(final=None),
        lambda document: document["outcome"].update(digest=document["outcome"]["digest"].upper()),
        lambda document: document["outcome"]["findings"][0].update(rule="R1"),
        lambda document: document["outcome"]["findings"][0].update(rule="R31"),
        lambda document: document["outcome"].update(findings={}),
        lambda document: document["outcome"].update(findings=document["outcome"]["findings"] * 33),
        lambda document: document.update(outcome_path=["00" * 32] * 65),
        lambda document: document.update(outcome_path="00" * 32),
        lambda document: document["block"].update(anchor={}),
        lambda document: document["block"].update(transactions=5),
        lambda document: document["block"]["certificate"].update(votes=[]),
        lambda document: document["block"]["certificate"].update(phase=2),
    ],
)
def test_unknown_missing_or_odd_fields_are_refused(change: Change) -> None:
    document = json.loads(receipt_to_bytes(PLAIN))
    change(document)
    with pytest.raises(Refused):
        receipt_from_document(document)


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{}", b"1", b'"', b"\xff", b"[" * 100_000, b'{"a":' * 5_000, b"NaN"],
)
def test_what_is_no_document_is_refused_and_does_not_crash(data: bytes) -> None:
    assert refused(data) is RejectReason.MALFORMED


def test_nesting_is_refused_whatever_the_recursion_limit() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        for bracket in (b"[", b'{"a":'):
            many = RECEIPT_BYTES_MAX // len(bracket)
            for depth in (OPENINGS_MAX, OPENINGS_MAX + 1, many):
                assert refused(bracket * depth) is RejectReason.MALFORMED
    finally:
        sys.setrecursionlimit(before)


def test_the_fullest_receipt_opens_fewer_brackets_than_the_bound_and_fits_its_file() -> None:
    """64 findings, 64 votes, ten signatures by ten keys, three paths of 64 hashes."""
    opened = signed(opening(), *range(1, 11))
    keys = tuple(witness.key for witness in opened.witnesses)
    raw = encode(replace(opened, keys=keys))
    block, vote = ANCHORED.block, ANCHORED.block.certificate.votes[0]
    path = (b"\xff" * 32,) * 64
    assert block.anchor is not None
    fullest = Receipt(
        1,
        raw,
        replace(PLAIN.outcome, findings=PLAIN.outcome.findings[:1] * 64, opened=bytes(20)),
        path,
        path,
        replace(
            block,
            certificate=replace(block.certificate, votes=(vote,) * 64),
            anchor=replace(block.anchor, path=path),
        ),
    )
    data = receipt_to_bytes(fullest)
    assert receipt_from_bytes(data) == fullest
    assert data.count(b"[") + data.count(b"{") < OPENINGS_MAX * 2 // 3
    assert len(data) < RECEIPT_BYTES_MAX // 2


def test_a_file_at_its_bound_is_read_and_one_byte_over_it_is_not() -> None:
    data = receipt_to_bytes(PLAIN)
    padded = data + b" " * (RECEIPT_BYTES_MAX - len(data))
    assert refused(padded) is RejectReason.NON_CANONICAL
    assert refused(padded + b" ") is RejectReason.OVERSIZED


def test_numbers_without_a_name_and_bytes_without_a_meaning_have_no_document() -> None:
    for receipt in (
        replace(PLAIN, outcome=replace(PLAIN.outcome, status=9)),
        replace(PLAIN, outcome=replace(PLAIN.outcome, reason=9_999)),
        replace(PLAIN, transaction=b"\xc0"),
    ):
        with pytest.raises(Refused):
            receipt_to_bytes(receipt)


# No changed byte verifies.


@pytest.mark.parametrize("receipt", [PLAIN, ANCHORED], ids=["own certificate", "anchored"])
def test_a_change_of_any_one_byte_of_the_file_never_verifies(receipt: Receipt) -> None:
    data = receipt_to_bytes(receipt)
    verifier, random, parsed = Verifier(GENESIS), Random(1), 0
    for at in range(len(data)):
        for changed in {data[at] ^ 1, data[at] ^ 0x20, random.randrange(256)} - {data[at]}:
            false = data[:at] + bytes([changed]) + data[at + 1 :]
            try:
                read = receipt_from_bytes(false)
            except Refused:
                continue
            parsed += 1
            assert read != receipt
            verdict = verifier.receipt(read)
            assert not verdict.ok, (at, data[at - 20 : at + 20], changed)
    assert (
        parsed > len(data) // 4
    )  # most digits of hex change into others: the verifier finds those


def test_a_file_cut_or_grown_by_one_byte_anywhere_never_verifies() -> None:
    data = receipt_to_bytes(PLAIN)
    verifier = Verifier(GENESIS)
    for at in range(len(data)):
        for false in (data[:at] + data[at + 1 :], data[:at] + b"0" + data[at:]):
            try:
                read = receipt_from_bytes(false)
            except Refused:
                continue
            assert not verifier.receipt(read).ok, at
        refused(data[:at] + b" " + data[at:])
        refused(data[:at])


def test_a_change_of_any_one_bit_of_the_encoding_never_verifies() -> None:
    verifier = Verifier(GENESIS)
    for receipt in (PLAIN, ANCHORED):
        data = RECEIPT.encode(receipt)
        for at in range(8 * len(data)):
            false = bytearray(data)
            false[at // 8] ^= 1 << (at % 8)
            try:
                read = RECEIPT.decode(bytes(false))
            except Refused:
                continue
            assert not verifier.receipt(read).ok, at
