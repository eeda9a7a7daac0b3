"""What Raft's members say to each other. Only countersignatures are signed: the rest believes the sender, whom the
transport has authenticated, as every crash-fault protocol does.

Not here: what is believed of it (`following`, `elections`, `replication`).
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire import bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.ids import Epoch, Height, Link, View
from tallystick.network.wire.transactions import SignatureBytes

EpochField = Annotated[Epoch, Meta(ge=0, le=2**63 - 1)]
TermField = Annotated[View, Meta(ge=0, le=2**63 - 1)]
"""A term stands where PBFT has a view: in countersignatures, certificates and the guard."""
HeightField = Annotated[Height, Meta(ge=0, le=2**63 - 1)]
LinkField = Annotated[Link, Meta(min_length=32, max_length=32)]
Data = Annotated[bytes, Meta(max_length=bounds.CONSENSUS_MESSAGE_BYTES_MAX)]
Round = Annotated[int, Meta(ge=0, le=2**63 - 1)]

ENTRIES_PER_APPEND_MAX = 64

TERMS_AHEAD_MAX = 2**32
"""A message of a term further ahead of ours than this is garbage: no honest member gets there, and one message of the last
term that can be written would leave nobody a term to stand in. So many elections take longer than any network lives."""


class LogEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    term: TermField
    block: Data
    carried: bool = False
    """The block that closes the epoch, taken again by a later leader: it is as old as it is, so its time is not tested."""


class AskVote(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """The sender stands for election; with `trial`, it asks whether it would win (pre-vote)."""

    epoch: EpochField
    term: TermField
    trial: bool
    last_term: TermField
    last_height: HeightField
    final_height: HeightField
    transfer: bool
    """The leader asked for this election: nobody needs to be loyal to it."""


class GiveVote(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    epoch: EpochField
    term: TermField
    """Of the election when granted, else the voter's own."""
    trial: bool
    granted: bool


class Append(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    """Entries that follow (prev_height, prev_term); without entries, a heartbeat or news of the commit index."""

    epoch: EpochField
    term: TermField
    prev_height: HeightField
    prev_term: TermField
    entries: Annotated[tuple[LogEntry, ...], Meta(max_length=ENTRIES_PER_APPEND_MAX)]
    commit: HeightField
    round: Round
    """Above 0: answer even if there is nothing to acknowledge. Grows with every read that waits for a quorum."""


class Acked(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    """The sender's log is durable and equal to the leader's up to `match`, which is never beyond the append it answers."""

    epoch: EpochField
    term: TermField
    match: HeightField
    round: Round
    final_height: HeightField


class Nack(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=5):
    """The sender has no entry (rejected, its term), or is in a later term. A hint where its log might meet the leader's:
    it says nothing about what matches."""

    epoch: EpochField
    term: TermField
    rejected: HeightField
    hint_height: HeightField
    hint_term: TermField
    round: Round


class Declined(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=6):
    """The sender will not acknowledge this block: not valid, not believable in time, or its own execution differs."""

    epoch: EpochField
    term: TermField
    height: HeightField
    link: LinkField
    own: LinkField | None
    """What its execution gave; zeros: none. None: it was not executed."""


class Countersignature(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=7):
    """The block is committed, executed and durable at the sender: a COMMIT vote, view = the term of the entry."""

    epoch: EpochField
    term: TermField
    height: HeightField
    link: LinkField
    parent_link: LinkField
    signature: SignatureBytes


class Decided(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=8):
    """The certificate of the sender's last final block: in place of a snapshot, for whoever lacks compacted entries."""

    certificate: Certificate


class StandNow(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=9):
    """The leader hands over: the receiver's log is complete, it should stand at once."""

    epoch: EpochField
    term: TermField


class AskIndex(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=10):
    """A follower asks its leader for a read index: a reader wants to be sure that the follower is not behind."""

    epoch: EpochField
    term: TermField
    token: Round


class GiveIndex(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=11):
    """A majority answered the sender, a leader, after it heard the question; `index` was its commit index by then."""

    epoch: EpochField
    token: Round
    index: HeightField


Message: TypeAlias = (
    AskVote
    | GiveVote
    | Append
    | Acked
    | Nack
    | Declined
    | Countersignature
    | Decided
    | StandNow
    | AskIndex
    | GiveIndex
)


def epoch_of(message: Message) -> Epoch:
    """The epoch that a message belongs to."""
    return message.certificate.epoch if isinstance(message, Decided) else message.epoch


MESSAGE: Codec[Message] = Codec(Message, bytes_max=bounds.CONSENSUS_MESSAGE_BYTES_MAX)
