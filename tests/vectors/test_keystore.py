"""Web3 secret storage: files made by other tools (ethereum/tests), and their negatives."""

import json
from pathlib import Path
from typing import Any

import pytest

from tallystick.wallet import keystore
from tallystick.wallet.errors import BadKeystore

CASES = 3


@pytest.fixture(scope="module")
def cases(shared_vectors: Path) -> dict[str, Any]:
    path = shared_vectors / "keystore" / "basic_tests.json"
    if not path.is_file():
        pytest.skip(f"no keystore vectors at {path}")
    read: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return read


def test_every_published_file_opens_to_its_key(cases: dict[str, Any]) -> None:
    for name, case in cases.items():
        assert keystore.decrypt(case["json"], case["password"]).hex() == case["priv"], name
    assert len(cases) == CASES


def test_a_flipped_bit_or_another_password_does_not_open_it(cases: dict[str, Any]) -> None:
    case = cases["mycrypto"]  # scrypt with N = 8,192: cheap enough to try often
    tried = 0
    for field in ("ciphertext", "mac"):
        document = json.loads(json.dumps(case["json"]))
        flipped = bytearray.fromhex(document["crypto"][field])
        flipped[0] ^= 1
        document["crypto"][field] = flipped.hex()
        with pytest.raises(BadKeystore):
            keystore.decrypt(document, case["password"])
        tried += 1
    document = json.loads(json.dumps(case["json"]))
    salt = bytearray.fromhex(document["crypto"]["kdfparams"]["salt"])
    salt[-1] ^= 128
    document["crypto"]["kdfparams"]["salt"] = salt.hex()
    for bad, password in ((document, case["password"]), (case["json"], case["password"] + "x")):
        with pytest.raises(BadKeystore):
            keystore.decrypt(bad, password)
        tried += 1
    assert tried == 4
