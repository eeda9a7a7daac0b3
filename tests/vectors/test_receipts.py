"""The published receipts and their verdicts: what the generator makes, and what the Python verifier says of the file itself."""

from collections import Counter
from typing import Any

import msgspec

import receipt_vectors
from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire.genesis import genesis_from_json

PUBLISHED: dict[str, Any] = msgspec.json.decode(receipt_vectors.VECTORS.read_bytes())


def test_the_code_makes_exactly_the_receipts_that_are_published() -> None:
    """On a change that is meant: `.venv/bin/python scripts/receipt_vectors.py`."""
    made = receipt_vectors.vectors() | {"flips": receipt_vectors.flipped()}
    assert receipt_vectors.as_file(made) == receipt_vectors.VECTORS.read_bytes()


def test_every_published_case_read_as_a_stranger_would_gets_its_verdict() -> None:
    """From the file alone: an edit is applied as the page says, and the genesis document is read from its text."""
    verifiers = {
        name: Verifier(genesis_from_json(text.encode()))
        for name, text in PUBLISHED["genesis"].items()
    }
    first = PUBLISHED["receipts"][0]["file"].encode()
    counted = Counter[str]()
    for case in PUBLISHED["receipts"]:
        file = case["file"].encode() if "file" in case else edited(first, case["edit"])
        verdict = receipt_vectors.verdict_on(file, verifiers[case["genesis"]])
        assert receipt_vectors.expected(verdict) == case["expect"], case["name"]
        counted[receipt_vectors.short(verdict)] += 1
    assert len({case["name"] for case in PUBLISHED["receipts"]}) == counted.total()
    # Every step that a verifier takes has a receipt that this step alone finds; "form" is the reading of the file.
    steps = ["members", "header", "link", "certificate", "transaction", "identity", "signatures"]
    steps += ["ordered", "executed", "outcome"]
    assert all(counted[step] >= 2 for step in [*steps, "VERIFIED", "MALFORMED", "NON_CANONICAL"])


def edited(file: bytes, edit: dict[str, Any]) -> bytes:
    at = edit["at"]
    return file[:at] + bytes.fromhex(edit["insert"]) + file[at + edit["remove"] :]


def test_no_published_flip_verifies_and_the_runs_cover_each_byte() -> None:
    files = {case["name"]: case.get("file") for case in PUBLISHED["receipts"]}
    assert len(PUBLISHED["flips"]["runs"]) == 3
    for name, runs in PUBLISHED["flips"]["runs"].items():
        assert sum(count for count, _ in runs) == len(files[name].encode())
        assert "VERIFIED" not in {answer for _, answer in runs}
