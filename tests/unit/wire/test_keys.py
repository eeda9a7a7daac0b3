"""One verdict per signature: what is refused, and that a hostile key never gets as far as a check."""

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tallystick.network.wire.keys import (
    SECP256K1_ORDER,
    check_spend_key,
    check_vote_key,
    is_low_s,
    verify_spend,
    verify_vote,
)
from tests.unit.wire.examples import sign_spend, spend_key, vote_key

DIGEST = bytes(range(32))
WITNESS = sign_spend(spend_key(7), DIGEST)
R, S = WITNESS.signature[:32], WITNESS.signature[32:]


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def test_a_genuine_signature_is_genuine() -> None:
    assert is_low_s(WITNESS.signature)
    assert verify_spend(WITNESS.key, DIGEST, WITNESS.signature)


def test_the_high_s_twin_of_a_genuine_signature_is_refused() -> None:
    twin = R + number(SECP256K1_ORDER - int.from_bytes(S, "big"))
    assert not is_low_s(twin)
    assert not verify_spend(WITNESS.key, DIGEST, twin)


def test_s_of_half_the_order_is_low_and_the_next_is_high() -> None:
    half = SECP256K1_ORDER // 2
    assert is_low_s(R + number(half))
    assert not is_low_s(R + number(half + 1))
    assert not is_low_s(R + number(half)[:-1])


@pytest.mark.parametrize("bad", [0, SECP256K1_ORDER, SECP256K1_ORDER + 1, 2**256 - 1])
def test_r_or_s_out_of_range_is_refused(bad: int) -> None:
    assert not verify_spend(WITNESS.key, DIGEST, number(bad) + S)
    assert not verify_spend(WITNESS.key, DIGEST, R + number(bad))
    assert not verify_spend(WITNESS.key, DIGEST, number(bad) + number(bad))


def test_r_that_differs_by_the_order_is_refused_though_it_is_equal_modulo_n() -> None:
    """r + n fits in 256 bits only for tiny r; the library must not reduce it silently."""
    assert not verify_spend(WITNESS.key, DIGEST, number(SECP256K1_ORDER + 1) + S)


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 71, 128])
def test_only_64_bytes_are_a_signature(size: int) -> None:
    padded = (WITNESS.signature + bytes(64))[:size]
    assert not verify_spend(WITNESS.key, DIGEST, padded)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_only_32_bytes_are_a_digest(size: int) -> None:
    assert not verify_spend(WITNESS.key, (DIGEST + b"\x00")[:size], WITNESS.signature)


def test_other_spellings_of_the_same_key_are_refused() -> None:
    public = PrivateKey(b"\x07" * 32).public_key
    uncompressed = public.format(compressed=False)
    hybrid = bytes([6 + uncompressed[-1] % 2]) + uncompressed[1:]
    for key in (uncompressed, hybrid, public.format()[1:], public.format() + b"\x00", b""):
        assert not check_spend_key(key)
        assert not verify_spend(key, DIGEST, WITNESS.signature)


@pytest.mark.parametrize(
    "key",
    [
        b"\x02" + number(5),  # x³ + 7 is not a square
        b"\x02" + number(2**256 - 2**32 - 977),  # x = p
        b"\x02" + b"\xff" * 32,
        b"\x04" + WITNESS.key[1:],
        b"\x00" + WITNESS.key[1:],
        bytes(33),
    ],
)
def test_what_is_not_a_point_is_not_a_key(key: bytes) -> None:
    assert not check_spend_key(key)
    assert not verify_spend(key, DIGEST, WITNESS.signature)


def test_the_mirrored_point_is_another_key() -> None:
    mirrored = bytes([5 - WITNESS.key[0]]) + WITNESS.key[1:]
    assert check_spend_key(mirrored)
    assert not verify_spend(mirrored, DIGEST, WITNESS.signature)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=70))
def test_no_bytes_raise(key: bytes, digest: bytes, signature: bytes) -> None:
    assert not verify_spend(key, digest, signature)
    assert not verify_vote(key, digest, signature)


@given(st.integers(0, 64 * 8 - 1))
def test_a_flipped_bit_spoils_a_spend_and_a_vote(bit: int) -> None:
    flip = (1 << bit).to_bytes(64, "little")
    spoiled = bytes(a ^ b for a, b in zip(WITNESS.signature, flip, strict=True))
    assert not verify_spend(WITNESS.key, DIGEST, spoiled)
    key = vote_key(3)
    signature = key.sign(DIGEST)
    public = key.public_key().public_bytes_raw()
    assert verify_vote(public, DIGEST, signature)
    spoiled = bytes(a ^ b for a, b in zip(signature, flip, strict=True))
    assert not verify_vote(public, DIGEST, spoiled)


ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_vote_with_s_grown_by_the_order_is_refused() -> None:
    key = vote_key(3)
    signature = key.sign(DIGEST)
    grown = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    malleated = signature[:32] + grown.to_bytes(32, "little")
    assert not verify_vote(key.public_key().public_bytes_raw(), DIGEST, malleated)


def test_one_small_order_key_would_verify_every_message_so_it_is_no_key() -> None:
    identity = b"\x01" + bytes(31)
    for_everything = identity + bytes(32)  # R = identity, s = 0
    assert not check_vote_key(identity)
    assert not verify_vote(identity, b"any message", for_everything)


SMALL_ORDER_Y = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
"""As published in many places; the product derives them from the curve instead."""


@pytest.mark.parametrize("y", SMALL_ORDER_Y)
@pytest.mark.parametrize("sign", [0, 0x80])
def test_every_key_of_small_order_is_refused_with_either_sign(y: str, sign: int) -> None:
    key = bytes.fromhex(y)
    assert not check_vote_key(key[:31] + bytes([key[31] | sign]))


def test_honest_keys_are_keys() -> None:
    assert all(
        check_vote_key(vote_key(number).public_key().public_bytes_raw()) for number in range(1, 100)
    )


@pytest.mark.parametrize(
    "key",
    [
        (2**255 - 19).to_bytes(32, "little"),  # y = p, another spelling of 0
        (2**255 - 18).to_bytes(32, "little"),  # y = p + 1, another spelling of 1
        b"\xff" * 32,
        (2).to_bytes(32, "little"),  # not on the curve
        bytes(31),
        bytes(33),
        b"",
    ],
)
def test_what_is_no_canonical_point_is_no_vote_key(key: bytes) -> None:
    assert not check_vote_key(key)
    assert not verify_vote(key, DIGEST, bytes(64))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_only_64_bytes_are_a_vote_signature(size: int) -> None:
    key = vote_key(3)
    signature = (key.sign(DIGEST) + b"\x00")[:size]
    assert not verify_vote(key.public_key().public_bytes_raw(), DIGEST, signature)
