"""One value, one encoding: whatever else a peer sends is refused, and nothing it sends raises anything but `Refused`."""

import sys
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.network.wire import bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import GENESIS, genesis_from_json
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transaction, Witness
from tallystick.network.wire.transactions.codec import body_id, decode, encode, kind_of
from tests.unit.wire.examples import EVERY_KIND, issue, opening, transfer
from tests.unit.wire.strategies import TRANSACTIONS


def refusal(raw: bytes) -> RejectReason:
    with pytest.raises(Refused) as caught:
        decode(raw)
    return caught.value.reason


@given(TRANSACTIONS)
def test_what_is_encoded_comes_back(transaction: Transaction) -> None:
    raw = encode(transaction)
    assert len(raw) <= bounds.TRANSACTION_BYTES_MAX
    assert decode(raw) == transaction
    assert raw[1] == kind_of(transaction)


@given(st.binary(max_size=400))
def test_garbage_is_refused_and_never_crashes(raw: bytes) -> None:
    with pytest.raises(Refused):
        decode(raw)


@given(st.sampled_from(EVERY_KIND), st.data())
def test_a_flipped_bit_is_refused_or_is_another_transaction(
    transaction: Transaction, data: st.DataObject
) -> None:
    """There are no two encodings of one value, so a changed byte can never mean the same."""
    raw = encode(transaction)
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    spoiled = bytearray(raw)
    spoiled[bit // 8] ^= 1 << bit % 8
    try:
        decoded = decode(bytes(spoiled))
    except Refused:
        return
    assert decoded != transaction
    assert encode(decoded) == bytes(spoiled)


@pytest.mark.parametrize("transaction", EVERY_KIND, ids=lambda each: type(each).__name__)
def test_every_truncation_and_every_extension_is_refused(transaction: Transaction) -> None:
    raw = encode(transaction)
    for size in range(len(raw)):
        assert refusal(raw[:size]) is RejectReason.MALFORMED
    for extra in (b"\x00", b"\xc0", raw):
        assert refusal(raw + extra) is RejectReason.MALFORMED


def test_integers_texts_bytes_and_arrays_in_wider_forms_are_refused() -> None:
    raw = encode(transfer(amount_minor=5))
    at = raw.index(b"\xa3USD") + 4
    wider = (
        b"\xcc\x05",
        b"\xcd\x00\x05",
        b"\xce" + bytes(3) + b"\x05",
        b"\xcf" + bytes(7) + b"\x05",
    )
    assert raw[at : at + 1] == b"\x05"
    for form in (*wider, b"\xd0\x05", b"\xd3" + bytes(7) + b"\x05"):
        assert refusal(raw[:at] + form + raw[at + 1 :]) is RejectReason.NON_CANONICAL
    assert refusal(raw.replace(b"\xa3USD", b"\xd9\x03USD")) is RejectReason.NON_CANONICAL
    assert refusal(raw.replace(b"\xa3USD", b"\xda\x00\x03USD")) is RejectReason.NON_CANONICAL
    account = b"\xc4\x14" + b"\x11" * 20
    assert refusal(raw.replace(account, b"\xc5\x00" + account[1:])) is RejectReason.NON_CANONICAL
    assert raw[0] == 0x9C
    assert refusal(b"\xdc\x00\x0c" + raw[1:]) is RejectReason.NON_CANONICAL


def test_trailing_fields_that_have_defaults_are_not_left_out() -> None:
    fields = msgspec.msgpack.decode(encode(transfer()))
    assert refusal(msgspec.msgpack.encode(fields[:-1])) is RejectReason.NON_CANONICAL
    assert refusal(msgspec.msgpack.encode(fields[:-2])) is RejectReason.NON_CANONICAL
    assert refusal(msgspec.msgpack.encode(fields[:-3])) is RejectReason.MALFORMED
    assert refusal(msgspec.msgpack.encode([*fields, 0])) is RejectReason.MALFORMED


@pytest.mark.parametrize("wrong", [None, True, 5.0, "5", b"5", [5], {"a": 5}, -1])
def test_a_value_of_another_type_is_refused(wrong: object) -> None:
    fields = msgspec.msgpack.decode(encode(transfer()))
    fields[9] = wrong
    reason = refusal(msgspec.msgpack.encode(fields))
    assert reason in {RejectReason.MALFORMED, RejectReason.NON_CANONICAL}


OVER = {
    "chain": (replace(transfer(), chain=2**52 - 1), replace(transfer(), chain=2**52)),
    "chain zero": (replace(transfer(), chain=1), replace(transfer(), chain=0)),
    "lane": (replace(transfer(), lane=2**16 - 1), replace(transfer(), lane=2**16)),
    "account": (transfer(), replace(transfer(), account=b"\x11" * 21)),
    "account short": (transfer(), replace(transfer(), account=b"\x11" * 19)),
    "id": (transfer(), replace(transfer(), id=b"\x22" * 33)),
    "id short": (transfer(), replace(transfer(), id=b"\x22" * 31)),
    "payload root": (transfer(), replace(transfer(), payload_root=b"\x33" * 33)),
    "creditor": (transfer(), replace(transfer(), creditor=b"")),
    "valid until": (
        replace(transfer(), valid_until_ms=bounds.TIME_MS_MAX),
        replace(transfer(), valid_until_ms=bounds.TIME_MS_MAX + 1),
    ),
    "settle by": (
        replace(transfer(), settle_by_ms=bounds.TIME_MS_MAX),
        replace(transfer(), settle_by_ms=bounds.TIME_MS_MAX + 1),
    ),
    "negative time": (
        replace(transfer(), valid_until_ms=0),
        replace(transfer(), valid_until_ms=-1),
    ),
    "amount": (
        transfer(amount_minor=bounds.AMOUNT_MINOR_MAX),
        transfer(amount_minor=bounds.AMOUNT_MINOR_MAX + 1),
    ),
    "amount zero": (transfer(amount_minor=1), transfer(amount_minor=0)),
    "issue zero": (replace(issue(), amount_minor=1), replace(issue(), amount_minor=0)),
    "asset long": (
        replace(transfer(), asset="A" * bounds.ASSET_CODE_LENGTH_MAX),
        replace(transfer(), asset="A" * (bounds.ASSET_CODE_LENGTH_MAX + 1)),
    ),
    "asset short": (replace(transfer(), asset="ABC"), replace(transfer(), asset="AB")),
    "witnesses": (
        replace(
            transfer(), witnesses=(Witness(0, bytes(33), bytes(64)),) * bounds.WITNESSES_PARSED_MAX
        ),
        replace(
            transfer(),
            witnesses=(Witness(0, bytes(33), bytes(64)),) * (bounds.WITNESSES_PARSED_MAX + 1),
        ),
    ),
    "suite": (
        replace(transfer(), witnesses=(Witness(255, bytes(33), bytes(64)),)),
        replace(transfer(), witnesses=(Witness(256, bytes(33), bytes(64)),)),
    ),
    "witness key": (transfer(), replace(transfer(), witnesses=(Witness(0, bytes(32), bytes(64)),))),
    "signature": (transfer(), replace(transfer(), witnesses=(Witness(0, bytes(33), bytes(65)),))),
    "keys": (
        replace(opening(), keys=(bytes(33),) * bounds.SIGNATURES_MAX),
        replace(opening(), keys=(bytes(33),) * (bounds.SIGNATURES_MAX + 1)),
    ),
    "no keys": (replace(opening(), keys=(bytes(33),)), replace(opening(), keys=())),
    "threshold": (
        replace(opening(), threshold=bounds.SIGNATURES_MAX),
        replace(opening(), threshold=bounds.SIGNATURES_MAX + 1),
    ),
    "no threshold": (replace(opening(), threshold=1), replace(opening(), threshold=0)),
    "tier": (replace(opening(), tier=3), replace(opening(), tier=4)),
    "seed": (opening(), replace(opening(), seed=bytes(17))),
}


@pytest.mark.parametrize("name", OVER)
def test_every_bound_holds_at_it_and_over_it(name: str) -> None:
    at, over = OVER[name]
    assert decode(encode(at)) == at
    assert refusal(encode(over)) is RejectReason.MALFORMED


@pytest.mark.parametrize(
    "code", ["usd", "USd", "1US", "U-D", "USD\n", "USD ", "ÜSD", "US\u0660", "U\x00D"]
)
def test_an_asset_code_is_capitals_and_digits_to_its_very_end(code: str) -> None:
    assert refusal(encode(replace(transfer(), asset=code))) is RejectReason.MALFORMED


def test_text_that_is_not_utf8_is_refused() -> None:
    raw = encode(transfer())
    assert refusal(raw.replace(b"\xa3USD", b"\xa3U\xff\xfe")) is RejectReason.MALFORMED


def test_an_unknown_kind_is_refused() -> None:
    raw = encode(transfer())
    for kind in (0, 4, 127):
        assert refusal(raw[:1] + bytes([kind]) + raw[2:]) is RejectReason.MALFORMED


def test_bytes_over_the_bound_are_not_even_parsed() -> None:
    assert refusal(bytes(bounds.TRANSACTION_BYTES_MAX)) is RejectReason.MALFORMED
    assert refusal(bytes(bounds.TRANSACTION_BYTES_MAX + 1)) is RejectReason.OVERSIZED


def test_an_array_that_claims_four_billion_elements_is_refused_at_once() -> None:
    raw = encode(transfer())
    assert raw.endswith(b"\x90")
    assert refusal(raw[:-1] + b"\xdd\xff\xff\xff\xff") is RejectReason.MALFORMED


def test_deep_nesting_is_refused_by_type_whatever_the_recursion_limit() -> None:
    """msgspec recurses up to Python's limit, which py_ecc raises to 100,000: enough to overrun the stack."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        assert refusal(b"\x91" * bounds.TRANSACTION_BYTES_MAX) is RejectReason.MALFORMED
        with pytest.raises(Refused):
            GENESIS.decode(b"\x91" * bounds.GENESIS_BYTES_MAX)
        with pytest.raises(Refused):
            genesis_from_json(b"[" * bounds.GENESIS_FILE_BYTES_MAX)
    finally:
        sys.setrecursionlimit(before)


class Turtle(msgspec.Struct, array_like=True):
    """Stands on another."""

    below: "Turtle | None" = None


@pytest.mark.parametrize(
    "open_type", [object, msgspec.Raw, tuple[object, ...], dict[str, object], Turtle]
)
def test_a_codec_of_a_type_without_a_depth_is_not_made(open_type: type[object]) -> None:
    with pytest.raises(TypeError):
        Codec(open_type, bytes_max=100)


def test_the_largest_transaction_stays_far_below_its_bound() -> None:
    """The bound has room for new kinds; if a kind comes near it, the bound is wrong."""
    witnesses = (Witness(255, b"\xff" * 33, b"\xff" * 64),) * bounds.WITNESSES_PARSED_MAX
    largest = replace(opening(), keys=(b"\xff" * 33,) * bounds.SIGNATURES_MAX, witnesses=witnesses)
    assert len(encode(largest)) < bounds.TRANSACTION_BYTES_MAX // 3


def test_a_body_id_covers_the_signatures_and_is_a_leaf_hash() -> None:
    raw = encode(transfer())
    signed = encode(replace(transfer(), witnesses=(Witness(0, bytes(33), bytes(64)),)))
    assert body_id(raw) == sha256(b"\x00" + raw).digest()
    assert body_id(raw) != body_id(signed)


def test_kinds_have_their_numbers_for_ever() -> None:
    assert [kind_of(each) for each in EVERY_KIND] == [1, 2, 3, 4, 5]
