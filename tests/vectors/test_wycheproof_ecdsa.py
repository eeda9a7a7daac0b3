"""Wycheproof's ECDSA cases over secp256k1, through the verdict that every transaction gets.

Ours takes r‖s, not DER, and low s only. So a case is first read as strict DER into two integers below 2**256; a signature
that this reader refuses never reaches a node in any form, and its case must not be a low-s valid one.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tallystick.network.wire.keys import SECP256K1_ORDER, check_spend_key, is_low_s, verify_spend


def strict_der(data: bytes) -> bytes | None:
    """r‖s of a strictly DER-encoded pair of integers in 0 … 2**256-1; None for anything else."""
    if len(data) < 8 or data[0] != 0x30 or data[1] != len(data) - 2 or data[1] > 0x7F:
        return None
    numbers, rest = [], data[2:]
    for _ in range(2):
        if len(rest) < 3 or rest[0] != 0x02 or rest[1] == 0 or rest[1] > len(rest) - 2:
            return None
        body, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        minimal = body[0] != 0 or len(body) == 1 or body[1] >= 0x80
        if body[0] >= 0x80 or not minimal or len(body.lstrip(b"\x00")) > 32:
            return None
        numbers.append(int.from_bytes(body, "big").to_bytes(32, "big"))
    return None if rest else b"".join(numbers)


def compressed(uncompressed: str) -> bytes:
    point = bytes.fromhex(uncompressed)
    return bytes([2 + point[64] % 2]) + point[1:33]


def cases(folder: Path, name: str) -> list[tuple[bytes, dict[str, Any]]]:
    document = json.loads((folder / "wycheproof" / name).read_text())
    return [
        (compressed(group["publicKey"]["uncompressed"]), test)
        for group in document["testGroups"]
        for test in group["tests"]
    ]


@pytest.mark.parametrize(
    ("name", "count", "valid", "high_s"),
    [
        ("ecdsa_secp256k1_sha256_bitcoin_test.json", 463, 162, 0),
        ("ecdsa_secp256k1_sha256_test.json", 476, 168, 72),
    ],
)
def test_every_case_gets_the_published_verdict_but_high_s(
    shared_vectors: Path, name: str, count: int, valid: int, high_s: int
) -> None:
    wrong, refused_high, reached = [], 0, 0
    for key, test in (found := cases(shared_vectors, name)):
        signature = strict_der(bytes.fromhex(test["sig"]))
        digest = sha256(bytes.fromhex(test["msg"])).digest()
        reached += signature is not None
        accepted = signature is not None and verify_spend(key, digest, signature)
        expected = test["result"] == "valid"
        if expected and signature is not None and not is_low_s(signature):
            # The one deviation: high s is refused, and its low twin is the genuine signature.
            twin = SECP256K1_ORDER - int.from_bytes(signature[32:], "big")
            assert verify_spend(key, digest, signature[:32] + twin.to_bytes(32, "big"))
            refused_high += 1
            expected = False
        if accepted is not expected:
            wrong.append((test["tcId"], test["comment"], test["result"]))
    assert wrong == []
    assert len(found) == count
    assert sum(test["result"] == "valid" for _, test in found) == valid
    assert refused_high == high_s
    assert reached > valid, "no invalid case got as far as the verdict itself"


def test_every_public_key_of_the_cases_is_a_key(shared_vectors: Path) -> None:
    keys = {
        key
        for name in ("ecdsa_secp256k1_sha256_bitcoin_test.json", "ecdsa_secp256k1_sha256_test.json")
        for key, _ in cases(shared_vectors, name)
    }
    assert len(keys) > 100
    assert all(map(check_spend_key, keys))
