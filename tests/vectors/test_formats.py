"""The published formats: code, page and file agree, and a reader who has only the page can verify a receipt.

The second half imports nothing of ours. It is written from `docs/formats.md` with hashlib, a plain msgpack reader, public
secp256k1 and Ed25519 libraries and eth-account, so that the page cannot be wrong without a failure here.
"""

import struct
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import coincurve
import msgspec
import pytest
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

import formats
from tallystick.network.proofs.document import receipt_from_bytes
from tallystick.network.proofs.receipts import RECEIPT
from tallystick.network.proofs.verify import verify_receipt
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import genesis_from_json, validate_genesis
from tallystick.network.wire.transactions import codec

PUBLISHED: dict[str, Any] = msgspec.json.decode(formats.VECTORS.read_bytes())
RECEIPTS = ("receipt_settled", "receipt_rejected", "receipt_anchored", "receipt_epoch_1")


def test_the_code_makes_exactly_what_is_published() -> None:
    """On a change that is meant: `.venv/bin/python scripts/formats.py`, and a new version of the format."""
    assert formats.as_file(formats.vectors()) == formats.VECTORS.read_bytes()


def test_the_page_shows_exactly_what_is_published() -> None:
    page = formats.PAGE.read_text("utf-8")
    assert formats.filled_page(page, formats.vectors()) == page
    assert page.count("```vectors") == 13


def test_the_example_network_is_one_that_could_start() -> None:
    genesis = genesis_from_json(PUBLISHED["genesis"]["file"].encode())
    assert validate_genesis(genesis) == []


@pytest.mark.parametrize("name", RECEIPTS)
def test_our_verifier_takes_the_published_receipts(name: str) -> None:
    genesis = genesis_from_json(PUBLISHED["genesis"]["file"].encode())
    receipt = RECEIPT.decode(bytes.fromhex(PUBLISHED["block"][name]))
    verdict = verify_receipt(receipt, genesis)
    assert verdict.ok, verdict.failed


def test_the_published_file_is_the_published_receipt() -> None:
    receipt = receipt_from_bytes(PUBLISHED["block"]["receipt_rejected_file"].encode())
    assert RECEIPT.encode(receipt).hex() == PUBLISHED["block"]["receipt_rejected"]


def test_every_spoiled_transaction_is_refused_for_the_published_reason() -> None:
    assert len(PUBLISHED["refused"]) == 8
    for name, (reason, raw) in PUBLISHED["refused"].items():
        with pytest.raises(Refused) as caught:
            codec.decode(bytes.fromhex(raw))
        assert caught.value.reason.code == reason, name


# By the page alone.


def tagged(tag: str, *data: bytes) -> bytes:
    name = f"tallystick/{tag}".encode()
    return sha256(bytes([len(name)]) + name + b"".join(data)).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_by_index(leaf: bytes, index: int, path: list[bytes]) -> bytes:
    for left in range(len(path), 0, -1):
        sibling = path[-left]
        if index % 2 == 0 and index.bit_count() < left:
            leaf = node(leaf, sibling)
        else:
            while index and index % 2 == 0:
                index //= 2
            leaf = node(sibling, leaf)
        index //= 2
    assert index == 0
    return leaf


def root_by_size(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.3.2."""
    last = size - 1
    for sibling in path:
        assert last > 0
        if index % 2 or index == last:
            leaf = node(sibling, leaf)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            leaf = node(leaf, sibling)
        index, last = index // 2, last // 2
    assert last == 0
    return leaf


class Reader:
    """A verifier of receipts, section by section."""

    def __init__(self, published: dict[str, Any]) -> None:
        encoded = bytes.fromhex(published["genesis"]["encoded"])
        self.genesis = msgspec.msgpack.decode(encoded)
        self.hash = tagged("genesis", encoded)
        number = int.from_bytes(tagged("chain-id", self.hash)[:8], "big")
        self.chain = 1 + number % (2**52 - 1)
        self.walk([])

    def walk(self, epochs: list[Any]) -> None:
        """The members of the epoch that the steps lead to."""
        self.epoch, closed = 0, 0
        self.vote_keys = {member[0]: member[3] for member in self.genesis[6]}
        for header, result, certificate, members in epochs:
            assert header[4] > closed
            closed = header[4]
            self.certificate(certificate, header, self.link(header, result))
            assert result[2] == tagged("members", msgspec.msgpack.encode(members))
            self.epoch += 1
            assert members[0] == self.epoch
            self.vote_keys = {member[0]: member[3] for member in members[1]}

    def account(self, participant: int, serial: int) -> bytes:
        return tagged("account-id", struct.pack(">QIQ", self.chain, participant, serial))[:20]

    def link(self, header: list[Any], result: list[Any]) -> bytes:
        assert header[:4] == [1, self.chain, self.genesis[2], self.epoch]
        assert header[4] >= 1
        block = tagged("block", msgspec.msgpack.encode(header))
        return tagged("link", block, tagged("result", msgspec.msgpack.encode(result)))

    def certificate(self, certificate: list[Any], header: list[Any], link: bytes) -> None:
        phase, epoch, view, height, signed, parent, votes = certificate
        place = (2, self.epoch, header[4], link, header[5])
        assert (phase, epoch, height, signed, parent) == place
        message = b"tallystick/vote\0" + struct.pack(
            ">QHQQQB32s32s", self.chain, self.genesis[2], epoch, view, height, phase, signed, parent
        )
        assert all(a[0] < b[0] for a, b in pairwise(votes))
        assert 3 * len(votes) >= 2 * len(self.vote_keys)
        for signer, signature in votes:
            Ed25519PublicKey.from_public_bytes(self.vote_keys[signer]).verify(signature, message)

    def digest(self, transaction: list[Any]) -> bytes:
        name, fields = MESSAGE[transaction[0]]
        parts = [kind[:-2] for kind, _ in fields if kind[:-2] in ON_PAGE]
        types = {each: ON_PAGE[each][1] for each in ("EIP712Domain", name, *parts)}
        signable = encode_typed_data(
            full_message={
                "types": {
                    each: [{"type": kind, "name": field} for kind, field in listed]
                    for each, listed in types.items()
                },
                "primaryType": name,
                "domain": {
                    "name": "Tallystick",
                    "version": "1",
                    "chainId": self.chain,
                    "salt": self.hash,
                },
                "message": document(fields, transaction[2:-1]),
            }
        )
        return bytes(keccak(b"\x19\x01" + signable.header + signable.body))

    def receipt(self, receipt: list[Any]) -> int:
        """The status, after every check of section 9."""
        version, raw, outcome, transaction_path, outcome_path, block = receipt
        header, result, certificate, anchor, epochs = block
        assert version == 1
        self.walk(epochs)
        link = self.link(header, result)
        if anchor is None:
            self.certificate(certificate, header, link)
        else:
            later, later_result, path = anchor
            self.certificate(certificate, later, self.link(later, later_result))
            leaf = sha256(b"\x00" + link).digest()
            assert root_by_size(leaf, header[4], later[4], path) == later[6]
        transaction = msgspec.msgpack.decode(raw)
        assert msgspec.msgpack.encode(transaction) == raw
        body_id, digest = sha256(b"\x00" + raw).digest(), self.digest(transaction)
        _, lane, height, index, cause, *rest = outcome
        assert (lane, height, cause) == (header[2], header[4], 0)
        kind, account, payment_id = transaction[0], transaction[3], transaction[4]
        assert rest[:5] == [body_id, digest, kind, account, payment_id]
        self.witnesses(transaction[-1], digest)
        assert root_by_index(body_id, index, transaction_path) == header[9]
        leaf = sha256(b"\x00" + msgspec.msgpack.encode(outcome)).digest()
        assert root_by_index(leaf, index, outcome_path) == result[1]
        status, final, reason = rest[5:8]
        assert final
        assert (status == 1) == (reason == 0)
        return int(status)

    def witnesses(self, witnesses: list[Any], digest: bytes) -> None:
        assert witnesses
        assert all(a[1] < b[1] for a, b in pairwise(witnesses))
        for suite, key, signature in witnesses:
            assert suite == 0
            der = cdata_to_der(deserialize_compact(signature))
            assert coincurve.PublicKey(key).verify(der, digest, hasher=None)


def document(fields: list[tuple[str, str]], values: list[Any]) -> dict[str, Any]:
    """Values by name; a list of structs is one of documents."""
    named: dict[str, Any] = {}
    for (kind, name), value in zip(fields, values, strict=True):
        part = ON_PAGE.get(kind[:-2])
        named[name] = value if part is None else [document(part[1], each) for each in value]
    return named


def fields_of(type_string: str) -> tuple[str, list[tuple[str, str]]]:
    name, _, inner = type_string.rstrip(")").partition("(")
    pairs = [field.split(" ") for field in inner.split(",")]
    return name, [(kind, field) for kind, field in pairs]


def type_strings() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """The type strings as they stand on the page."""
    lines = formats.PAGE.read_text("utf-8").splitlines()
    names = ("EIP712Domain", *KINDS, "Member", "Spare")
    starts = tuple(f"{name}(" for name in names)
    found = [line[: line.index(")") + 1] for line in lines if line.startswith(starts)]
    return {name: (name, fields) for name, fields in map(fields_of, found)}


KINDS = ("OpenAccount", "Issue", "Transfer", "ChangeMembers", "ActivateSpare")
ON_PAGE = type_strings()
MESSAGE = {number: ON_PAGE[name] for number, name in enumerate(KINDS, start=1)}


def test_a_stranger_finds_the_networks_name_and_accounts() -> None:
    reader = Reader(PUBLISHED)
    assert reader.hash.hex() == PUBLISHED["genesis"]["hash"]
    assert reader.chain == PUBLISHED["genesis"]["chain"]
    for participant, account in PUBLISHED["genesis"]["root_accounts"].items():
        assert reader.account(int(participant), 0).hex() == account


@pytest.mark.parametrize("name", KINDS)
def test_a_stranger_signs_the_same_digest_of_every_kind(name: str) -> None:
    vector = PUBLISHED["transactions"][name]
    transaction = msgspec.msgpack.decode(bytes.fromhex(vector["raw"]))
    assert Reader(PUBLISHED).digest(transaction).hex() == vector["digest"]


@pytest.mark.parametrize("name", RECEIPTS)
def test_a_stranger_verifies_the_published_receipts(name: str) -> None:
    receipt = msgspec.msgpack.decode(bytes.fromhex(PUBLISHED["block"][name]))
    assert Reader(PUBLISHED).receipt(receipt) == (2 if name == "receipt_rejected" else 1)


@pytest.mark.parametrize("name", RECEIPTS)
def test_a_stranger_sees_every_changed_byte_of_a_receipt(name: str) -> None:
    """Our verifier and the stranger's, on the same spoiled bytes: neither takes any."""
    reader, good = Reader(PUBLISHED), bytes.fromhex(PUBLISHED["block"][name])
    genesis = genesis_from_json(PUBLISHED["genesis"]["file"].encode())
    stumbles = (AssertionError, ValueError, TypeError, LookupError, struct.error, InvalidSignature)
    for at in range(0, len(good), 7):
        spoiled = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(stumbles):
            reader.receipt(msgspec.msgpack.decode(spoiled))
        try:
            assert not verify_receipt(RECEIPT.decode(spoiled), genesis).ok, at
        except Refused:
            continue


def test_a_stranger_folds_the_state_proofs() -> None:
    state = PUBLISHED["state"]
    for leaf in state["leaves"]:
        key, value, blind = (bytes.fromhex(leaf[name]) for name in ("key", "value", "blind"))
        made = tagged("leaf", blind, struct.pack(">H", len(key)), key, value)
        assert (sha256(key).hexdigest(), made.hex()) == (leaf["key_hash"], leaf["leaf"])
    seed = bytes.fromhex(state["blind"]["seed"])
    assert tagged("blind", seed, struct.pack(">Q", 7)).hex() == state["blind"]["blind"]
    entries = sorted(bytes.fromhex(leaf["key_hash"] + leaf["leaf"]) for leaf in state["leaves"])
    assert tagged("bucket", *entries).hex() == state["bucket_root"]
    assert tagged("bucket").hex() == state["empty_root"]
    account = bytes.fromhex(state["leaves"][1]["key_hash"])
    absent = sha256(bytes.fromhex(state["split"]["absent_key"])).digest()
    for key, name in ((account, "proof_of_account"), (absent, "proof_of_absence")):
        bucket, steps = msgspec.msgpack.decode(bytes.fromhex(state["split"][name]))
        keys = [bucket[at : at + 32] for at in range(0, len(bucket), 64)]
        assert (key in keys) is (name == "proof_of_account")
        assert all(each.hex().startswith(key.hex()[: len(steps)]) for each in keys)
        hashed = tagged("bucket", bucket)
        for depth in reversed(range(len(steps))):
            count, siblings = steps[depth]
            at = 32 * int(key.hex()[depth], 16)
            hashed = tagged("inner", struct.pack(">Q", count), siblings[:at], hashed, siblings[at:])
        assert hashed.hex() == state["split"]["root"]


def test_a_stranger_checks_every_member_signature() -> None:
    key = Ed25519PublicKey.from_public_bytes(Reader(PUBLISHED).vote_keys[0])
    signed = PUBLISHED["block"]["signed"]
    assert len(signed) == 8
    for name, each in signed.items():
        message = bytes.fromhex(each["message"])
        key.verify(bytes.fromhex(each["signature"]), message)
        chain, lane = struct.unpack_from(">QH", message, message.index(b"\0") + 1)
        assert (chain, lane) == (PUBLISHED["genesis"]["chain"], 0), name


def test_the_lists_of_the_page_hash_as_it_says() -> None:
    merkle = PUBLISHED["merkle"]
    leaves = [sha256(b"\x00" + bytes.fromhex(entry)).digest() for entry in merkle["entries"]]
    root = node(node(node(leaves[0], leaves[1]), node(leaves[2], leaves[3])), leaves[4])
    assert root.hex() == merkle["root"]
    for index, name in ((2, "path_of_2"), (4, "path_of_4")):
        path = [bytes.fromhex(each) for each in merkle[name]]
        assert root_by_index(leaves[index], index, path) == root
        assert root_by_size(leaves[index], index, 5, path) == root
    assert Path(formats.VECTORS).name == "formats.json"
