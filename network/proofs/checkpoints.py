"""Checkpoints: a link that a quorum signed with BLS12-381 in one signature of constant size, with the history root that holds it.

Architecture section 7. Decided here: what a checkpoint says, which members of an epoch make it good, its file form, and its verdict
against the genesis document alone. A checkpoint at height h is over a tree of h + 1 links, so it contains its own link.
Not here: when members sign (`node.core.checkpoints`), the signatures themselves (`wire.bls`), the text for witnesses (`notes`).
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from tallystick.network.proofs.certificates import CertVote
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.notes import LogHead, Note, NoteKey, ed25519_line, verify_lines
from tallystick.network.proofs.receipts import EpochStep
from tallystick.network.proofs.verdict import Verdict
from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire import bls, bounds, readable
from tallystick.network.wire.blocks import U64, Hash
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis, Parameters, genesis_hash
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.signing import checkpoint_message

BlsSignature = Annotated[
    bytes, Meta(min_length=bls.SIGNATURE_BYTES, max_length=bls.SIGNATURE_BYTES)
]
Bitmap = Annotated[bytes, Meta(min_length=8, max_length=8)]
FORMAT: Final = "tallystick/checkpoint"


class Statement(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is signed of one network and lane."""

    epoch: U64
    height: U64
    link: Hash
    history_root: Hash
    """RFC 6962 root over the links 0 … height."""

    def message(self, chain: int, lane: int) -> bytes:
        """The exact bytes."""
        return checkpoint_message(
            chain, lane, Epoch(self.epoch), Height(self.height), Link(self.link), self.history_root
        )

    def head(self, genesis: Genesis) -> LogHead:
        """The same as a transparency log says it."""
        return LogHead(origin_of(genesis), self.height + 1, self.history_root)


class Checkpoint(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A statement and the one signature of at least a quorum: 190 bytes, whatever the number of members."""

    statement: Statement
    signers: Bitmap
    """Bit i, counted from the last byte's lowest, is the i-th member of the epoch by ascending id."""
    signature: BlsSignature


class KeptCheckpoint(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A checkpoint, and its signers' Ed25519 signatures over the log's text: what a node keeps and gives."""

    checkpoint: Checkpoint
    lines: Annotated[tuple[CertVote, ...], Meta(max_length=bounds.MEMBERS_MAX)]
    """Sorted by signer."""


KEPT: Final = Codec(KeptCheckpoint, bytes_max=16 * 1024)


class CheckpointDocument(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A checkpoint's file: verified against genesis alone."""

    format: Literal["tallystick/checkpoint"]
    version: Literal[1]
    checkpoint: Checkpoint
    epochs: Annotated[tuple[EpochStep, ...], Meta(max_length=bounds.EPOCHS_PROVEN_MAX)] = ()
    """From genesis to the statement's epoch, one step for each change of members."""


def is_due(parameters: Parameters, height: int, time_ms: int, parent_time_ms: int) -> bool:
    """Whether there is a checkpoint at this height, by block time: the same answer for everybody."""
    if height % parameters.checkpoint_blocks == 0:
        return True
    stretch = parameters.checkpoint_ms
    return time_ms // stretch != parent_time_ms // stretch


def origin_of(genesis: Genesis) -> str:
    """The log's name, and the name under which its members sign notes: one for each network and lane, in all the world."""
    return f"tallystick/{genesis_hash(genesis).hex()}/{genesis.lane}"


def bitmap_of(members: MemberSet, signers: set[NodeId]) -> bytes:
    """The bitmap of those who signed; all must be members."""
    bits = sum(1 << place for place, member in enumerate(members.ids) if member in signers)
    return bits.to_bytes(8, "big")


def signers_of(members: MemberSet, bitmap: bytes) -> list[NodeId]:
    """Who signed, ascending, or `Refused(BAD_CERTIFICATE)` if a bit is nobody's."""
    bits = int.from_bytes(bitmap, "big")
    if bits >> len(members.ids):
        raise Refused(RejectReason.BAD_CERTIFICATE, "a signer's bit is no member's")
    return [member for place, member in enumerate(members.ids) if bits >> place & 1]


def checkpoint_keys(genesis: Genesis, members: MemberSet) -> dict[NodeId, bytes]:
    """The BLS keys of those members that genesis lists: who came later votes, and signs no checkpoints."""
    return {each.member: each.key for each in genesis.checkpoint_keys if each.member in members}


def check_checkpoint(
    checkpoint: Checkpoint,
    chain: int,
    lane: int,
    members: MemberSet,
    keys: Mapping[NodeId, bytes],
) -> list[NodeId]:
    """Who signed, or `Refused(BAD_CERTIFICATE)` unless it is a quorum of the statement's epoch with one genuine signature."""
    statement = checkpoint.statement
    if statement.epoch != members.epoch:
        raise Refused(RejectReason.BAD_CERTIFICATE, "the checkpoint is of another epoch")
    signers = signers_of(members, checkpoint.signers)
    if len(signers) < members.quorum:
        raise Refused(RejectReason.BAD_CERTIFICATE, "fewer signers than a quorum")
    missing = [member for member in signers if member not in keys]
    if missing:
        raise Refused(
            RejectReason.BAD_CERTIFICATE, f"genesis lists no checkpoint key of member {missing[0]}"
        )
    signed = [keys[member] for member in signers]
    if not bls.verify_aggregate(signed, statement.message(chain, lane), checkpoint.signature):
        raise Refused(RejectReason.BAD_CERTIFICATE, "the aggregated signature is not genuine")
    return signers


def note_of(kept: KeptCheckpoint, genesis: Genesis, members: MemberSet) -> Note:
    """The checkpoint as a signed note, one line for each member that signed."""
    origin = origin_of(genesis)
    lines = [
        ed25519_line(NoteKey(origin, members.vote_keys[line.signer]), line.signature)
        for line in kept.lines
        if line.signer in members
    ]
    return Note(kept.checkpoint.statement.head(genesis), tuple(lines))


def check_note(note: Note, genesis: Genesis, members: MemberSet) -> list[NodeId]:
    """Which members signed the note, or `Refused(BAD_CERTIFICATE)` unless a quorum did. The text names no epoch: the reader says
    whose members he trusts."""
    origin = origin_of(genesis)
    if note.head.origin != origin:
        raise Refused(RejectReason.BAD_CERTIFICATE, "the note is about another log")
    named = {NoteKey(origin, key): member for member, key in members.vote_keys.items()}
    signed = sorted(named[key] for key in verify_lines(note, named))
    if len(signed) < members.quorum:
        raise Refused(RejectReason.BAD_CERTIFICATE, f"{len(signed)} members signed, no quorum")
    return signed


def document_to_bytes(document: CheckpointDocument) -> bytes:
    """The file: JSON with names, bytes as lower-case hex."""
    return readable.to_json(document)


def document_from_bytes(data: bytes) -> CheckpointDocument:
    """The document of a file, or `Refused` with OVERSIZED, MALFORMED or NON_CANONICAL."""
    return readable.from_json(data, CheckpointDocument, bounds.RECEIPT_BYTES_MAX)


def verify_checkpoint(document: CheckpointDocument, genesis: Genesis) -> Verdict:
    """Check a checkpoint against the genesis document and nothing else. The possession of its keys is proven there, too."""
    verifier = Verifier(genesis)

    def signed(members: MemberSet) -> str:
        keys = _possessed(genesis, members)
        signers = check_checkpoint(document.checkpoint, verifier.chain, genesis.lane, members, keys)
        names = ", ".join(map(str, signers))
        return f"members {names} signed with one signature; {members.quorum} of {len(members)} are needed"

    statement = document.checkpoint.statement
    return verifier.signed_by_members(document.epochs, statement.height, signed)


def _possessed(genesis: Genesis, members: MemberSet) -> dict[NodeId, bytes]:
    """The members' keys; `Refused(BAD_CERTIFICATE)` if the possession of one is not proven, or two are the same."""
    keys = checkpoint_keys(genesis, members)
    for each in genesis.checkpoint_keys:
        if each.member in keys and not bls.verify_possession(each.key, each.possession):
            raise Refused(
                RejectReason.BAD_CERTIFICATE,
                f"member {each.member} does not prove possession of its checkpoint key",
            )
    if len(set(keys.values())) < len(keys):
        raise Refused(RejectReason.BAD_CERTIFICATE, "two members share a checkpoint key")
    return keys
