"""The published checkpoint, read by somebody who has only the page: hashlib, py-ecc, a public Ed25519 library, nothing of ours.

The other half: our own verifier takes the published document and refuses the false ones with their published sentences.
"""

import struct
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from py_ecc.bls.ciphersuites import G2ProofOfPossession

import formats
from tallystick.network.proofs.checkpoints import (
    check_note,
    document_from_bytes,
    document_to_bytes,
    verify_checkpoint,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.notes import parse_note, parse_vkey, verify_lines
from tallystick.network.wire.genesis import genesis_from_json

PUBLISHED: dict[str, Any] = msgspec.json.decode(formats.VECTORS.read_bytes())
MINE: dict[str, Any] = PUBLISHED["checkpoint"]
GENESIS: dict[str, Any] = msgspec.json.decode(PUBLISHED["genesis"]["file"])
POP: Any = G2ProofOfPossession


# -- a stranger's reading ----------------------------------------------------------------------------------------------


def stranger_verifies(file: str) -> bool:
    """As section 10 says it, for epoch 0 alone. Possession of the keys is checked apart: it is slow."""
    checkpoint = msgspec.json.decode(file)["checkpoint"]
    statement = checkpoint["statement"]
    ids = sorted(member["id"] for member in GENESIS["members"])
    bits = int(checkpoint["signers"], 16)
    signers = [member for place, member in enumerate(ids) if bits >> place & 1]
    if bits >> len(ids) or len(signers) < -(-2 * len(ids) // 3) or statement["epoch"] != 0:
        return False
    link, root = bytes.fromhex(statement["link"]), bytes.fromhex(statement["history_root"])
    tag = b"tallystick/checkpoint\0"
    place = struct.pack(
        ">QHQQ", PUBLISHED["genesis"]["chain"], GENESIS["lane"], 0, statement["height"]
    )
    message = tag + place + link + root
    keys = {each["member"]: bytes.fromhex(each["key"]) for each in GENESIS["checkpoint_keys"]}
    signature = bytes.fromhex(checkpoint["signature"])
    return bool(POP.FastAggregateVerify([keys[each] for each in signers], message, signature))


def test_a_stranger_with_py_ecc_verifies_the_published_document() -> None:
    assert stranger_verifies(MINE["file"])
    entry = GENESIS["checkpoint_keys"][2]
    assert POP.PopVerify(bytes.fromhex(entry["key"]), bytes.fromhex(entry["possession"]))


@pytest.mark.parametrize("name", sorted(MINE["refused"]))
def test_a_stranger_and_our_verifier_refuse_each_false_document(name: str) -> None:
    case = MINE["refused"][name]
    document = document_from_bytes(case["file"].encode())
    verdict = verify_checkpoint(document, genesis_from_json(PUBLISHED["genesis"]["file"].encode()))
    assert verdict.failed is not None
    assert verdict.failed.sentence == case["why"]
    assert not stranger_verifies(case["file"])


def test_a_stranger_reads_the_note_and_finds_a_quorum_and_a_witness() -> None:
    text, _, lines = MINE["cosigned_note"].rpartition("\n\n")
    text += "\n"
    origin, size, root, end = text.split("\n")
    assert origin == f"tallystick/{PUBLISHED['genesis']['hash']}/{GENESIS['lane']}"
    assert end == ""
    statement = msgspec.json.decode(MINE["file"])["checkpoint"]["statement"]
    assert int(size) == statement["height"] + 1
    assert b64decode(root).hex() == statement["history_root"]
    keys = {}
    for member in GENESIS["members"]:
        key = bytes.fromhex(member["vote_key"])
        keys[sha256(origin.encode() + b"\n\x01" + key).digest()[:4]] = key
    genuine = 0
    for line in lines.splitlines():
        dash, name, encoded = line.split(" ")
        raw = b64decode(encoded)
        assert dash == "\u2014"
        if name == origin:
            Ed25519PublicKey.from_public_bytes(keys[raw[:4]]).verify(raw[4:], text.encode())
            genuine += 1
        else:
            _, _, vkey = MINE["witness_key"].split("+", 2)
            time_s = int.from_bytes(raw[4:12], "big")
            message = f"cosignature/v1\ntime {time_s}\n{text}".encode()
            assert message.hex() == MINE["cosigned_message"]
            Ed25519PublicKey.from_public_bytes(b64decode(vkey)[1:]).verify(raw[12:], message)
    assert genuine == 3


def test_a_stranger_makes_the_same_tiles() -> None:
    links = [sha256(struct.pack(">Q", height)).digest() for height in range(300)]
    leaves = [sha256(b"\0" + link).digest() for link in links]
    level = leaves[:256]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [sha256(b"\1" + left + right).digest() for left, right in pairs]
    made = {
        "tile/0/000": b"".join(leaves[:256]),
        "tile/0/001.p/44": b"".join(leaves[256:]),
        "tile/1/000.p/1": level[0],
        "tile/entries/000": b"".join(b"\0\x20" + link for link in links[:256]),
        "tile/entries/001.p/44": b"".join(b"\0\x20" + link for link in links[256:]),
    }
    assert {path: sha256(data).hexdigest() for path, data in made.items()} == MINE["tiles"]


# -- our own -----------------------------------------------------------------------------------------------------------


def test_our_verifier_takes_what_is_published() -> None:
    genesis = genesis_from_json(PUBLISHED["genesis"]["file"].encode())
    document = document_from_bytes(MINE["file"].encode())
    verdict = verify_checkpoint(document, genesis)
    assert (verdict.ok, verdict.height) == (True, 299)
    assert document_to_bytes(document).decode() == MINE["file"]
    note = parse_note(MINE["cosigned_note"].encode())
    assert check_note(note, genesis, MemberSet.from_genesis(genesis)) == [0, 1, 3]
    witness = parse_vkey(MINE["witness_key"])
    assert verify_lines(note, [witness]) == [witness]
    assert b64encode(note.head.root).decode() in MINE["note"]


def test_a_members_line_over_another_size_is_not_genuine() -> None:
    other = MINE["note"].replace("\n300\n", "\n301\n")
    vkey = MINE["verifier_keys"][0]
    raw = b64decode(other.splitlines()[-1].split(" ")[2])
    text = other.rpartition("\n\n")[0] + "\n"
    key = b64decode(vkey.split("+", 2)[2])[1:]
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(key).verify(raw[4:], text.encode())
