"""The published vectors of checkpoints: a document, the note of the same, tiles of its log, and documents that are refused."""

from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from format_examples import LANE, Network, checkpoint_key, vote_key
from tallystick.network.proofs.certificates import CertVote
from tallystick.network.proofs.checkpoints import (
    FORMAT,
    Checkpoint,
    CheckpointDocument,
    KeptCheckpoint,
    Statement,
    bitmap_of,
    document_to_bytes,
    note_of,
    origin_of,
    verify_checkpoint,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.merkle import Log, leaf_hash
from tallystick.network.proofs.notes import (
    COSIGNATURE_V1,
    Note,
    NoteKey,
    cosignature_line,
    cosignature_message,
)
from tallystick.network.proofs.tiles import tiles_of
from tallystick.network.wire import bls
from tallystick.network.wire.faults import invariant, present
from tallystick.network.wire.ids import NodeId

SIZE = 300
"""Leaves of the example's log: one full tile and one partial one."""
OLDER = 100
SIGNERS = (0, 1, 3)
WITNESS = Ed25519PrivateKey.from_private_bytes(b"\x30" * 32)
TIME_S = 1_700_000_000


def example_links() -> list[bytes]:
    """Link h is SHA-256 of h as u64: a log needs no blocks."""
    return [sha256(height.to_bytes(8, "big")).digest() for height in range(SIZE)]


def signed(network: Network, statement: Statement, signers: tuple[int, ...]) -> Checkpoint:
    """One signature of these members."""
    message = statement.message(network.chain, LANE)
    total = present(
        bls.aggregate([checkpoint_key(number).sign(message) for number in signers]), "no signature"
    )
    members = MemberSet.from_genesis(network.genesis)
    return Checkpoint(statement, bitmap_of(members, {NodeId(each) for each in signers}), total)


def checkpoint_vectors(network: Network) -> dict[str, Any]:
    """All of section 10."""
    links = example_links()
    log = Log(map(leaf_hash, links))
    statement = Statement(0, SIZE - 1, links[-1], log.root())
    good = signed(network, statement, SIGNERS)
    members = MemberSet.from_genesis(network.genesis)
    head = statement.head(network.genesis)
    text = head.text().encode()
    votes = tuple(CertVote(NodeId(each), vote_key(0x10 + each).sign(text)) for each in SIGNERS)
    note = note_of(KeptCheckpoint(good, votes), network.genesis, members)
    witness = NoteKey("witness.example/w1", WITNESS.public_key().public_bytes_raw(), COSIGNATURE_V1)
    seen = cosignature_message(head, TIME_S)
    line = cosignature_line(witness, TIME_S, WITNESS.sign(seen))
    origin = origin_of(network.genesis)
    return {
        "message": statement.message(network.chain, LANE),
        "share_of_member_0": checkpoint_key(0).sign(statement.message(network.chain, LANE)),
        "signers": good.signers,
        "signature": good.signature,
        "file": document_to_bytes(CheckpointDocument(FORMAT, 1, good)).decode(),
        "note": note.text(),
        "verifier_keys": [NoteKey(origin, key).vkey() for key in members.vote_keys.values()],
        "witness_key": witness.vkey(),
        "cosigned_message": seen,
        "cosigned_note": Note(head, (*note.lines, line)).text(),
        "consistency": {
            "sizes": [OLDER, SIZE],
            "roots": [log.root(OLDER), log.root()],
            "proof": list(log.consistency(OLDER, SIZE)),
        },
        "tiles": {tile.path: sha256(tile.content(log, links)).digest() for tile in tiles_of(SIZE)},
        "refused": _refused(network, statement, good),
    }


def _refused(network: Network, statement: Statement, good: Checkpoint) -> dict[str, Any]:
    """Documents that are well formed and false, each in one place, with our verifier's sentence."""
    wrong = {
        "two of four signed": signed(network, statement, (0, 1)),
        "two signed and three are claimed": replace(
            signed(network, statement, (0, 1)), signers=good.signers
        ),
        "others signed than are claimed": replace(
            signed(network, statement, (0, 1, 2)), signers=good.signers
        ),
        "one member counts twice": replace(
            signed(network, statement, (0, 0, 1)), signers=good.signers
        ),
        "a bit is nobody's": replace(good, signers=bytes(7) + bytes([0b11011])),
        "another height": replace(good, statement=replace(statement, height=SIZE)),
        "another root": replace(good, statement=replace(statement, history_root=bytes(32))),
        "another epoch": replace(good, statement=replace(statement, epoch=1)),
        "the identity as a signature": replace(good, signature=b"\xc0" + bytes(95)),
        "another spelling of the identity": replace(good, signature=b"\xff" * 96),
        "a point outside the subgroup": replace(good, signature=outside()),
    }
    told = {}
    for name, checkpoint in wrong.items():
        document = CheckpointDocument(FORMAT, 1, checkpoint)
        failed = verify_checkpoint(document, network.genesis).failed
        sentence = present(failed, "a false checkpoint verifies").sentence
        told[name] = {"file": document_to_bytes(document).decode(), "why": sentence}
    return told


def outside() -> bytes:
    """A point of the curve over the extension field that is not in G2: Wycheproof has such ones, this is the first by its x."""
    from py_arkworks_bls12381 import G2Point

    for x in range(1, 1_000):
        encoded = b"\x80" + x.to_bytes(95, "big")
        try:
            point = G2Point.from_compressed_bytes_unchecked(encoded)
        except ValueError:
            continue
        if not point.is_in_subgroup():
            return encoded
    invariant(False, "no such point")
    return b""
