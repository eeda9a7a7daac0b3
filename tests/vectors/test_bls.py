"""BLS12-381 against published encodings, signatures and verdicts: noble-curves' lists and Wycheproof's, negatives too."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from py_arkworks_bls12381 import G1Point, G2Point, Scalar
from py_ecc.bls.hash import expand_message_xmd

from tallystick.network.wire import bls

NUL = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def uncompressed(point: G1Point | G2Point, infinity: bool, size: int) -> bytes:
    """zkcrypto's order: an extension field's second coordinate comes first."""
    if infinity:
        return b"\x40" + bytes(size - 1)
    flat = point.to_xy_bytes_be()
    if size == 96:
        return flat
    parts = [flat[at : at + 48] for at in range(0, 192, 48)]
    return parts[1] + parts[0] + parts[3] + parts[2]


def test_every_published_multiple_of_the_generators_has_its_encodings(shared_vectors: Path) -> None:
    table = load(shared_vectors / "bls" / "generator_multiples.json")
    assert len(table["g1_compressed"]) == len(table["g2_uncompressed"]) == 600
    for k in table["g1_compressed"]:
        scalar = Scalar.from_be_bytes(int(k).to_bytes(32, "big"))
        one, two = G1Point() * scalar, G2Point() * scalar
        key, signature = one.to_compressed_bytes(), two.to_compressed_bytes()
        assert key.hex() == table["g1_compressed"][k]
        assert signature.hex() == table["g2_compressed"][k]
        zero = k == "0"
        assert uncompressed(one, zero, 96).hex() == table["g1_uncompressed"][k]
        assert uncompressed(two, zero, 192).hex() == table["g2_uncompressed"][k]
        # Every multiple is a key or a signature but the identity, and nothing but 48 or 96 bytes is either.
        assert bls.check_key(key) is bls.check_signature(signature) is not zero
        assert not bls.check_key(bytes.fromhex(table["g1_uncompressed"][k]))
        assert not bls.check_signature(bytes.fromhex(table["g2_uncompressed"][k]))


def test_a_key_with_other_flag_bits_is_no_key(shared_vectors: Path) -> None:
    table = load(shared_vectors / "bls" / "generator_multiples.json")
    for k in ("1", "3", "5"):
        key = bytes.fromhex(table["g1_compressed"][k])
        signature = bytes.fromhex(table["g2_compressed"][k])
        for flags in range(8):
            first = flags << 5
            other_key = bytes([first | key[0] & 0x1F]) + key[1:]
            other_signature = bytes([first | signature[0] & 0x1F]) + signature[1:]
            # Compressed, finite, and either sign: two of eight are points.
            assert bls.check_key(other_key) is (flags in (0b100, 0b101))
            assert bls.check_signature(other_signature) is (flags in (0b100, 0b101))


def test_every_published_signature_in_g2_is_made_and_every_secret_above_the_order_is_refused(
    shared_vectors: Path,
) -> None:
    table = load(shared_vectors / "bls" / "sign_signature_in_g2.json")
    dst = table["dst"].encode()
    made = 0
    for secret, message, signature, below in table["vectors"]:
        raw, text = bytes.fromhex(secret), bytes.fromhex(message)
        if not below:
            with pytest.raises(ValueError):
                bls.SecretKey(raw)
            reduced = Scalar.from_be_bytes_mod_order(raw).to_be_bytes()
            assert bls.SecretKey(reduced).sign(text, dst).hex() == signature
            continue
        key = bls.SecretKey(raw)
        assert key.sign(text, dst).hex() == signature
        good = bytes.fromhex(signature)
        assert bls.core_aggregate_verify((key.public_key,), (text,), good, dst)
        if made % 16 == 0:
            flipped = good[:95] + bytes([good[95] ^ 1])
            assert not bls.core_aggregate_verify((key.public_key,), (text,), flipped, dst)
            assert not bls.core_aggregate_verify((key.public_key,), (text + b"!",), good, dst)
        made += 1
    assert (len(table["vectors"]), made) == (336, 159)


def test_every_published_signature_in_g1_is_what_the_curve_library_gives(
    shared_vectors: Path,
) -> None:
    """The other way round, which we do not use: the same arithmetic, so a wrong map to G1 would show here."""
    table = load(shared_vectors / "bls" / "sign_signature_in_g1.json")
    dst = table["dst"].encode()
    for secret, message, signature, _ in table["vectors"]:
        scalar = Scalar.from_be_bytes_mod_order(bytes.fromhex(secret))
        point = G1Point.hash_to_curve(bytes.fromhex(message), dst) * scalar
        assert point.to_compressed_bytes().hex() == signature
    assert len(table["vectors"]) == 77


def test_the_maps_to_the_curve_and_to_scalars_are_the_published_ones(shared_vectors: Path) -> None:
    maps = load(shared_vectors / "bls" / "map_to_curve.json")
    for case in maps["G1"]:
        got = G1Point.map_from_fp_be(bytes.fromhex(case["input"])[16:]).to_xy_bytes_be()
        assert padded(got) == case["expected"]
    for case in maps["G2"]:
        raw = bytes.fromhex(case["input"])
        got = G2Point.map_from_fp2_be(raw[16:64] + raw[80:128]).to_xy_bytes_be()
        assert padded(got) == case["expected"]
    assert len(maps["G1"]) + len(maps["G2"]) == 6
    digest: Any = sha256
    scalars = load(shared_vectors / "bls" / "hash_to_scalar.json")
    for case in scalars["reduce_only"]:
        scalar = Scalar.from_be_bytes_mod_order(case["okm_ascii"].encode())
        assert scalar.to_be_bytes().hex() == case["scalar_hex"]
    dst = scalars["xmd_sha256"]["dst"].encode()
    for case in scalars["xmd_sha256"]["vectors"]:
        wide = expand_message_xmd(case["message_ascii"].encode(), dst, 48, digest)
        scalar = Scalar.from_be_bytes_mod_order(wide)
        assert scalar.to_be_bytes().hex() == case["scalar_hex"]
    assert len(scalars["reduce_only"]) + len(scalars["xmd_sha256"]["vectors"]) == 6


def padded(flat: bytes) -> str:
    """EIP-2537 writes each coordinate in 64 bytes."""
    return "".join("0" * 32 + flat[at : at + 48].hex() for at in range(0, len(flat), 48))


def wycheproof(shared_vectors: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    document = load(shared_vectors / "wycheproof" / name)
    cases = [(group, test) for group in document["testGroups"] for test in group["tests"]]
    assert len(cases) == document["numberOfTests"]
    return cases


def test_wycheproofs_signatures_with_proof_of_possession_get_their_verdicts(
    shared_vectors: Path,
) -> None:
    for group, test in wycheproof(shared_vectors, "bls_sig_g2_pop_verify_test.json"):
        assert group["ciphersuite"].encode() == bls.SIGNATURE_DST
        key = bytes.fromhex(group["publicKey"]["pk"])
        verdict = bls.verify(key, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
        assert verdict is (test["result"] == "valid"), test


def test_wycheproofs_aggregates_get_their_verdicts(shared_vectors: Path) -> None:
    for _, test in wycheproof(shared_vectors, "bls_sig_g2_aggregate_verify_test.json"):
        keys = [bytes.fromhex(key) for key in test["pubkeys"]]
        messages = [bytes.fromhex(message) for message in test["messages"]]
        verdict = bls.core_aggregate_verify(keys, messages, bytes.fromhex(test["sig"]), NUL)
        assert verdict is (test["result"] == "valid"), test


def test_wycheproofs_hashes_to_g2(shared_vectors: Path) -> None:
    for group, test in wycheproof(shared_vectors, "bls_hash_to_g2_test.json"):
        point = G2Point.hash_to_curve(bytes.fromhex(test["msg"]), group["dst"].encode())
        assert (point.to_compressed_bytes().hex() == test["expected"]) is (
            test["result"] == "valid"
        )
