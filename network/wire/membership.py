"""Who runs a member's node, as it is signed and hashed: an entry, a spare id, and the whole set of one epoch.

Decided here: the bytes that `Result.next_epoch` names. Epoch 0 is the genesis document's; the set of every later epoch stands
in the block that closed the epoch before it. Not here: how many are a quorum (`network.proofs.members`), who may change the
set (`contracts.membership`).
"""

from typing import Annotated

from msgspec import Meta, Struct

from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import U64, Hash
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.ids import NodeId, ParticipantId

Name = Annotated[str, Meta(min_length=1, max_length=64)]
MemberId = Annotated[NodeId, Meta(ge=0, lt=2**16)]
Participant = Annotated[ParticipantId, Meta(ge=0, lt=2**32)]

_MEMBERS = Tag(b"tallystick/members")


class MemberEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A node that votes."""

    id: MemberId
    name: Name
    participant: Participant
    vote_key: Hash
    """Ed25519 public key."""
    tls_key_hash: Hash
    """SHA-256 of the TLS key's SubjectPublicKeyInfo: identity is a key, not a certificate's dates."""


class SpareEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An id that a participant may put in the place of one of its members, once, with new keys and without a vote."""

    id: MemberId
    participant: Participant


class EpochMembers(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """All members of one epoch, by ascending id."""

    epoch: U64
    members: Annotated[tuple[MemberEntry, ...], Meta(min_length=1, max_length=bounds.MEMBERS_MAX)]


EPOCH_MEMBERS = Codec(EpochMembers, bytes_max=64 * 1024)
"""64 members with the longest names need about 23,000 bytes."""


def members_digest(members: EpochMembers) -> bytes:
    """32 bytes: what the block that closes the epoch before writes into `Result.next_epoch`."""
    return _MEMBERS.hash(EPOCH_MEMBERS.encode(members))


def count_fault(engine: str, count: int) -> str | None:
    """Why an epoch may not have so many members, None if it may.

    PBFT: one (nobody to lie to) or at least four: two or three tolerate no liar, and two not even a crash.
    """
    if count > bounds.MEMBERS_MAX:
        return f"{count} members are more than {bounds.MEMBERS_MAX}"
    if count < 1 or (engine == "pbft" and 1 < count < bounds.MEMBERS_BFT_MIN):
        return f"{count} members: one, or at least {bounds.MEMBERS_BFT_MIN}, make an epoch"
    return None
