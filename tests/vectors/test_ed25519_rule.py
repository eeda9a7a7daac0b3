"""One Ed25519 rule on every path: keys of small order or in another spelling are refused, then OpenSSL's verdict."""

import json
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tallystick.network.wire.keys import check_vote_key, verify_vote

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def openssl(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def times_eight_is_identity(key: bytes) -> bool:
    """Small order, by doubling the y coordinate alone three times: written apart from the product's table."""
    y = int.from_bytes(key, "little") % 2**255 % P
    for _ in range(3):
        xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
        y = (y * y + xx) * pow(2 + xx - y * y, -1, P) % P
    return y == 1


def test_small_order_and_odd_spellings_follow_the_rule(shared_vectors: Path) -> None:
    found = json.loads((shared_vectors / "ed25519" / "small_order.json").read_text())["cases"]
    assert len(found) == 119
    refused_keys, accepted_by_openssl = 0, 0
    for case in found:
        key, message, signature = (
            bytes.fromhex(case[name]) for name in ("public_key", "message", "signature")
        )
        canonical = int.from_bytes(key, "little") % 2**255 < P
        bad_key = times_eight_is_identity(key) or not canonical
        assert check_vote_key(key) is not bad_key, case["index"]
        refused_keys += bad_key
        assert openssl(key, message, signature) is case["accepted_by_openssl"]
        accepted_by_openssl += case["accepted_by_openssl"]
        expected = not bad_key and case["accepted_by_openssl"]
        assert verify_vote(key, message, signature) is expected, case["index"]
    # Every case here has a small-order or non-canonical key: admission is what stops all 8 that OpenSSL takes.
    assert (refused_keys, accepted_by_openssl) == (119, 8)


def test_every_wycheproof_case_gets_the_published_verdict(shared_vectors: Path) -> None:
    document = json.loads((shared_vectors / "wycheproof" / "ed25519_test.json").read_text())
    wrong, count = [], 0
    for group in document["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for test in group["tests"]:
            count += 1
            accepted = verify_vote(key, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
            if accepted is not (test["result"] == "valid"):
                wrong.append((test["tcId"], test["comment"]))
    assert wrong == []
    assert count == 151
