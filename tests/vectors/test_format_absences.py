"""The published absences: ours takes and refuses them as the page says, and so does a reader who has only the page."""

import struct
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from tallystick.network.proofs.absence import ABSENCE, verify_absence
from tallystick.network.proofs.document import absence_from_bytes
from tallystick.network.wire.genesis import genesis_from_json
from tests.vectors.test_formats import PUBLISHED, Reader, root_by_size, tagged

ABSENCES = PUBLISHED["absence"]
GENESIS = genesis_from_json(PUBLISHED["genesis"]["file"].encode())


@pytest.mark.parametrize("name", ABSENCES["verified"])
def test_our_verifier_takes_the_published_absences(name: str) -> None:
    verdict = verify_absence(ABSENCE.decode(bytes.fromhex(ABSENCES["verified"][name])), GENESIS)
    assert verdict.ok, verdict.failed


@pytest.mark.parametrize("name", ABSENCES["refused"])
def test_our_verifier_stops_at_the_published_step(name: str) -> None:
    case = ABSENCES["refused"][name]
    verdict = verify_absence(ABSENCE.decode(bytes.fromhex(case["absence"])), GENESIS)
    assert verdict.failed is not None
    assert verdict.failed.name == case["step"]


def test_the_published_file_is_the_published_absence() -> None:
    absence = absence_from_bytes(ABSENCES["file"].encode())
    assert ABSENCE.encode(absence).hex() == ABSENCES["verified"]["between"]


# -- from the page alone --


def state_root(key: bytes, value: bytes | None, proof: list[Any]) -> bytes:
    """The root that a state proof of a record without a blind leads to."""
    bucket, steps = proof
    place = sha256(key).digest()
    held = {bucket[at : at + 32]: bucket[at + 32 : at + 64] for at in range(0, len(bucket), 64)}
    assert list(held) == sorted(held)
    assert len(held) * 64 == len(bucket) <= 64 * 32
    assert all(each.hex().startswith(place.hex()[: len(steps)]) for each in held)
    if value is None:
        assert place not in held
    else:
        assert held[place] == tagged("leaf", bytes(32), struct.pack(">H", len(key)), key, value)
    hashed, below = tagged("bucket", bucket), len(held)
    for depth in reversed(range(len(steps))):
        count, siblings = steps[depth]
        assert count >= max(33, below)
        assert len(siblings) == 15 * 32
        at = 32 * int(place.hex()[depth], 16)
        hashed = tagged("inner", struct.pack(">Q", count), siblings[:at], hashed, siblings[at:])
        below = count
    return hashed


def stranger(absence: list[Any]) -> None:
    """Every check that the page lists; an assertion fails where one does not hold."""
    version, raw, digest, proof = absence
    mark, mark_proof, window, window_proof, before, after, block = proof
    reader = Reader(PUBLISHED)
    header, result, certificate, anchor, epochs = block
    assert anchor is None
    reader.walk(epochs)
    reader.certificate(certificate, header, reader.link(header, result))
    transaction = msgspec.msgpack.decode(raw)
    assert (version, transaction[1], transaction[2]) == (1, reader.chain, 0)
    assert transaction[-1] == []
    assert reader.digest(transaction) == digest
    account, id_, until_ms = transaction[3:6]
    window_ms = reader.genesis[5][1]
    start_ms = until_ms // window_ms * window_ms
    assert state_root(b"windows", msgspec.msgpack.encode(mark), mark_proof) == result[0]
    assert start_ms < mark[1]
    key = b"window/" + struct.pack(">Q", start_ms)
    record = None if window is None else msgspec.msgpack.encode(window)
    assert state_root(key, record, window_proof) == result[0]
    if window is None:
        assert before is None
        assert after is None
        return
    count, root = window
    place = account + id_ + digest + b"\x01"
    assert (0 if before is None else before[0] + 1) == (count if after is None else after[0])
    for index, entry, path in filter(None, (before, after)):
        assert 0 <= index < count
        assert len(entry) == 117
        assert root_by_size(sha256(b"\x00" + entry).digest(), index, count, path) == root
    assert before is None or before[1] < place
    assert after is None or after[1][:84] > place[:84]


@pytest.mark.parametrize("name", ABSENCES["verified"])
def test_a_stranger_takes_the_published_absences(name: str) -> None:
    stranger(msgspec.msgpack.decode(bytes.fromhex(ABSENCES["verified"][name])))


@pytest.mark.parametrize("name", ABSENCES["refused"])
def test_a_stranger_refuses_what_proves_nothing(name: str) -> None:
    absence = msgspec.msgpack.decode(bytes.fromhex(ABSENCES["refused"][name]["absence"]))
    with pytest.raises((AssertionError, ValueError, LookupError)):
        stranger(absence)


def test_a_stranger_makes_the_published_root() -> None:
    entries = [bytes.fromhex(entry) for entry in ABSENCES["entries"]]
    assert entries == sorted(entries)
    count, root = msgspec.msgpack.decode(bytes.fromhex(ABSENCES["window"]))
    leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
    while len(leaves) > 1:
        pairs = [leaves[at : at + 2] for at in range(0, len(leaves), 2)]
        leaves = [
            sha256(b"\x01" + pair[0] + pair[1]).digest() if len(pair) == 2 else pair[0]
            for pair in pairs
        ]
    assert (count, leaves[0]) == (len(entries), root)
