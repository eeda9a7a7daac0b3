"""What PBFT's members say to each other. Each message is signed where others must be able to pass it on or be held to it.

The signed bytes are not these encodings but the fixed layouts of `network.wire.signing`.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.evidence import Kind, Said
from tallystick.network.wire import bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.transactions import SignatureBytes

_CHANGES = Tag(b"tallystick/view-changes")
_CERTIFICATE = Tag(b"tallystick/certificate")

EpochField = Annotated[Epoch, Meta(ge=0, le=2**63 - 1)]
ViewField = Annotated[View, Meta(ge=0, le=2**63 - 1)]
HeightField = Annotated[Height, Meta(ge=0, le=2**63 - 1)]
LinkField = Annotated[Link, Meta(min_length=32, max_length=32)]
RoundField = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Data = Annotated[bytes, Meta(max_length=bounds.CONSENSUS_MESSAGE_BYTES_MAX)]


class Proposal(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """The leader of a view proposes a block: PRE-PREPARE."""

    epoch: EpochField
    view: ViewField
    block: Data
    signature: SignatureBytes


class Vote(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """PREPARE or COMMIT."""

    phase: Annotated[int, Meta(ge=1, le=2)]
    epoch: EpochField
    view: ViewField
    height: HeightField
    link: LinkField
    parent_link: LinkField
    signature: SignatureBytes


class ViewChange(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    """The signer has left every view below `view` and shows its largest certificate."""

    epoch: EpochField
    view: ViewField
    signer: Annotated[NodeId, Meta(ge=0, lt=2**16)]
    certificate: Certificate | None
    signature: SignatureBytes


class NewView(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    """The leader of `view` shows q view changes; the tip follows from them."""

    epoch: EpochField
    view: ViewField
    changes: Annotated[tuple[ViewChange, ...], Meta(max_length=bounds.MEMBERS_MAX)]
    signature: SignatureBytes


class Decided(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=5):
    """A commit certificate, for whoever has not seen it."""

    certificate: Certificate


class Standing(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=6):
    """Where the sender stands; whoever is ahead answers with what helps. Not signed: it only asks."""

    epoch: EpochField
    view: ViewField
    active: bool
    height: HeightField


class AskBlock(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=7):
    """The sender holds a certificate over a block whose bytes it lacks."""

    link: LinkField


class GiveBlock(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=8):
    block: Data


class Disagree(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=9):
    """The signer's execution of the proposed block gave another link (zeros: none)."""

    epoch: EpochField
    view: ViewField
    height: HeightField
    proposed: LinkField
    own: LinkField
    signature: SignatureBytes


class AskIndex(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=10):
    """A reader at the sender wants to be sure that the sender is not behind."""

    epoch: EpochField
    round: RoundField


class ShowIndex(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=11):
    """The sender's certificate over the highest block that it knows, prepared or commit. Not signed: it proves itself."""

    epoch: EpochField
    round: RoundField
    certificate: Certificate | None


class Statement(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Something that a key has signed, with its signature (`network.proofs.evidence` has the kinds and what was said)."""

    kind: Annotated[int, Meta(ge=0, le=4)]
    view: ViewField
    height: HeightField
    """0 for view changes and new views."""
    said: Said


class AskSigned(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=12):
    """The sender has just begun (the epoch, or its process): what has its key signed in this epoch?"""

    epoch: EpochField
    round: RoundField
    """Of this start of the sender: an answer to an earlier one does not count."""


class ShowSigned(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=13):
    """The highest statement of each kind that the sender holds of the asker's key. Not signed: each proves itself."""

    epoch: EpochField
    round: RoundField
    statements: Annotated[tuple[Statement, ...], Meta(max_length=len(Kind))]


Message: TypeAlias = (
    Proposal
    | Vote
    | ViewChange
    | NewView
    | Decided
    | Standing
    | AskBlock
    | GiveBlock
    | Disagree
    | AskIndex
    | ShowIndex
    | AskSigned
    | ShowSigned
)

MESSAGE: Codec[Message] = Codec(Message, bytes_max=bounds.CONSENSUS_MESSAGE_BYTES_MAX)


def epoch_of(message: Message) -> Epoch | None:
    """The epoch that a message belongs to; None for block bytes and questions about them, which belong to any."""
    match message:
        case Decided(certificate):
            return certificate.epoch
        case AskBlock() | GiveBlock():
            return None
        case _:
            return message.epoch


def certificate_digest(certificate: Certificate | None) -> bytes:
    """32 bytes that name a certificate's statement, not its set of signers."""
    if certificate is None:
        return bytes(32)
    return shown_digest(certificate.phase, certificate.epoch, certificate.view, certificate.height, certificate.link)  # fmt: skip


def shown_digest(phase: int, epoch: int, view: int, height: int, link: bytes) -> bytes:
    """The same from a certificate's statement alone."""
    bare = (phase, epoch, view, height, link)
    return _CERTIFICATE.hash(
        b"".join(part if isinstance(part, bytes) else part.to_bytes(8, "big") for part in bare)
    )


def changes_digest(changes: tuple[ViewChange, ...]) -> bytes:
    """32 bytes over the view changes of a new view, in order."""
    return _CHANGES.hash(b"".join(MESSAGE.encode(change) for change in changes))
