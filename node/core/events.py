"""The closed union that a replica hears."""

from enum import IntEnum
from typing import TypeAlias

from msgspec import Struct

from tallystick.network.wire.ids import BodyId, NodeId, ParticipantId, TxDigest
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transaction


class Wait(IntEnum):
    """What a client waits for."""

    RECEIVED = 1
    """This node's disk holds it."""
    ACCEPTED = 2
    """f+1 members signed that they hold a durable copy."""
    FINAL = 3
    """It has its receipt."""


class CheckedBody(Struct, frozen=True, gc=False):
    """A transaction whose bytes and signatures are good, whatever the ledger will say of it.

    A struct, not a dataclass: one is made for every transaction, in a fifth of the time.
    """

    raw: bytes
    transaction: Transaction
    body_id: BodyId
    digest: TxDigest
    key: bytes
    """account ‖ id (52 bytes): what it takes on the ledger. Kept, since it is looked up in a dozen places."""


class BadBody(Struct, frozen=True):
    """A transaction that no honest node passes on."""

    body_id: BodyId
    reason: RejectReason
    detail: str = ""


Verdict: TypeAlias = CheckedBody | BadBody


class PeerUp(Struct, frozen=True):
    peer: NodeId


class PeerDown(Struct, frozen=True):
    peer: NodeId


class PeerFrame(Struct, frozen=True):
    """One frame of an authenticated peer; its bytes may still be hostile."""

    peer: NodeId
    frame: bytes


class Submit(Struct, frozen=True):
    """A client hands in transactions. `participant` None: the principal may submit for anybody."""

    token: int
    bodies: tuple[bytes, ...]
    wait: Wait
    participant: ParticipantId | None = None


class ClientGone(Struct, frozen=True):
    """Nobody waits for this submission any more; the work itself goes on."""

    token: int


class ReadAtQuorum(Struct, frozen=True):
    """A reader wants the certified ledger to hold whatever was final anywhere when he asked; `ClientGone` ends it, too."""

    token: int


class HandOver(Struct, frozen=True):
    """An operator, or a node that is about to stop, wants another member to lead: `to`, or whoever suits best."""

    to: NodeId | None = None


class BodiesChecked(Struct, frozen=True):
    """The verifier pool's answer to `CheckBodies`, in its order."""

    token: int
    verdicts: tuple[Verdict, ...]


class Persisted(Struct, frozen=True):
    """The batch of this token, and every earlier one, is durable."""

    token: int


class Tick(Struct, frozen=True):
    pass


Event: TypeAlias = (
    PeerUp
    | PeerDown
    | PeerFrame
    | Submit
    | ClientGone
    | ReadAtQuorum
    | HandOver
    | BodiesChecked
    | Persisted
    | Tick
)
