"""BLS12-381 against py-ecc as a second opinion, and what is refused although the curve library would take it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from py_ecc.bls.ciphersuites import G2ProofOfPossession
from py_ecc.optimized_bls12_381.optimized_curve import curve_order

from tallystick.network.wire import bls

Oracle: Any = G2ProofOfPossession
"""Its argument types are new names for bytes and int."""

SECRETS = st.integers(1, curve_order - 1)
SLOW = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = [bls.SecretKey(number.to_bytes(32, "big")) for number in (1, 2, 3, 5, 8, 13, 21)]
INFINITY_KEY = b"\xc0" + bytes(47)
INFINITY_SIGNATURE = b"\xc0" + bytes(95)


@SLOW
@given(st.lists(SECRETS, min_size=1, max_size=3, unique=True), st.binary(max_size=80))
def test_keys_signatures_proofs_and_aggregates_are_those_of_the_oracle(
    numbers: list[int], message: bytes
) -> None:
    keys = [bls.SecretKey(number.to_bytes(32, "big")) for number in numbers]
    assert [key.public_key for key in keys] == [Oracle.SkToPk(number) for number in numbers]
    signatures = [key.sign(message) for key in keys]
    assert signatures == [Oracle.Sign(number, message) for number in numbers]
    assert keys[0].prove_possession() == Oracle.PopProve(numbers[0])
    total = bls.aggregate(signatures)
    assert total is not None
    assert total == Oracle.Aggregate(signatures)
    publics = [key.public_key for key in keys]
    assert bls.verify_aggregate(publics, message, total)
    assert Oracle.FastAggregateVerify(publics, message, total)
    assert not bls.verify_aggregate(publics, message + b"\0", total)


@SLOW
@given(st.binary(min_size=48, max_size=48), st.binary(min_size=96, max_size=96))
def test_random_bytes_are_a_key_exactly_when_the_oracle_says_so(
    key: bytes, signature: bytes
) -> None:
    assert bls.check_key(key) is Oracle.KeyValidate(key)
    assert not bls.verify(KEYS[0].public_key, b"", signature)


@pytest.mark.parametrize("position", range(48))
def test_a_key_with_any_byte_changed_is_another_key_or_none(position: int) -> None:
    key = KEYS[4].public_key
    for change in (1, 0x80, 0xFF):
        other = key[:position] + bytes([key[position] ^ change]) + key[position + 1 :]
        assert not bls.verify_possession(other, KEYS[4].prove_possession())


def test_the_identity_is_neither_a_key_nor_a_signature_in_any_spelling() -> None:
    # arkworks decodes each of these as the identity.
    for key in (INFINITY_KEY, b"\xff" * 48, b"\xc0" + bytes(46) + b"\1", b"\xe0" + bytes(47)):
        assert not bls.check_key(key)
        assert not bls.verify(key, b"m", INFINITY_SIGNATURE)
        assert not bls.verify_possession(key, INFINITY_SIGNATURE)
        assert not bls.verify_aggregate((key,), b"m", INFINITY_SIGNATURE)
    for signature in (INFINITY_SIGNATURE, b"\xff" * 96, b"\xe0" + bytes(95)):
        assert not bls.check_signature(signature)
        assert bls.aggregate([signature]) is None
        assert bls.aggregate([KEYS[0].sign(b"m"), signature]) is None


def test_keys_and_signatures_that_cancel_out_verify_nothing() -> None:
    key = bls.SecretKey((5).to_bytes(32, "big"))
    minus = bls.SecretKey((curve_order - 5).to_bytes(32, "big"))
    assert bls.aggregate([key.sign(b"m"), minus.sign(b"m")]) is None
    pair = [key.public_key, minus.public_key]
    assert not bls.verify_aggregate(pair, b"m", INFINITY_SIGNATURE)
    assert not bls.verify_aggregate(pair, b"m", key.sign(b"m"))


def test_a_key_made_of_the_others_signs_for_all_and_cannot_prove_possession() -> None:
    """The rogue key attack: why a member's key is admitted with its proof only."""
    honest, own = KEYS[2], KEYS[5]
    from py_arkworks_bls12381 import G1Point

    rogue = (
        G1Point.from_compressed_bytes(own.public_key)
        - G1Point.from_compressed_bytes(honest.public_key)
    ).to_compressed_bytes()
    both = [honest.public_key, rogue]
    assert bls.verify_aggregate(both, b"stolen", own.sign(b"stolen"))
    assert not bls.verify_possession(rogue, own.prove_possession())
    assert not bls.verify_possession(rogue, honest.prove_possession())


def test_a_signature_is_no_proof_of_possession_and_the_other_way_round() -> None:
    key = KEYS[3]
    assert bls.verify_possession(key.public_key, key.prove_possession())
    assert not bls.verify_possession(key.public_key, key.sign(key.public_key))
    assert not bls.verify(key.public_key, key.public_key, key.prove_possession())
    assert not bls.verify_possession(KEYS[0].public_key, key.prove_possession())


def test_nothing_was_signed_by_nobody() -> None:
    signature = KEYS[0].sign(b"m")
    assert not bls.verify_aggregate((), b"m", signature)
    assert not bls.core_aggregate_verify((), (), signature, bls.SIGNATURE_DST)
    assert bls.aggregate([]) is None
    mismatched = ((KEYS[0].public_key,), (b"m", b"m"), signature, bls.SIGNATURE_DST)
    assert not bls.core_aggregate_verify(*mismatched)


@pytest.mark.parametrize(
    "secret", [bytes(32), b"\xff" * 32, curve_order.to_bytes(32, "big"), b"\1" * 31]
)
def test_a_secret_is_above_zero_and_below_the_order(secret: bytes) -> None:
    with pytest.raises(ValueError):
        bls.SecretKey(secret)


def test_a_missing_or_a_foreign_signer_fails_the_aggregate() -> None:
    total = bls.aggregate([key.sign(b"m") for key in KEYS[:4]])
    assert total is not None
    publics = [key.public_key for key in KEYS]
    assert bls.verify_aggregate(publics[:4], b"m", total)
    assert not bls.verify_aggregate(publics[:3], b"m", total)
    assert not bls.verify_aggregate(publics[:5], b"m", total)
    assert not bls.verify_aggregate([*publics[:3], publics[6]], b"m", total)
    assert not bls.verify_aggregate(publics[:4], b"n", total)
