"""What one step of the replica asks of the world. "Persist before send" is data, not a habit.

`persist` is one atomic batch. `after_persist` may leave only when that batch (and every earlier one) is durable: votes,
acknowledgements, answers that claim something is kept. `immediate` accepts a narrower type: what is safe before durability.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec
from msgspec import Struct

from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.network.wire.reasons import RejectReason


class Batch(Struct, frozen=True):
    """One synced write: database pairs first, then the guard's record (written beside the key), then `Persisted(token)`."""

    token: int
    pairs: Mapping[bytes, bytes | None]
    guard: bytes | None = None


class Promise(Struct, frozen=True):
    """A frame that claims something about this node's disk or key (vote, acknowledgement). Never before durability."""

    to: NodeId | None
    """None: every other member."""
    frame: bytes


class Hearsay(Struct, frozen=True):
    """A frame that claims nothing about this node: bodies signed by clients, requests, answers with certificates."""

    to: NodeId | None
    frame: bytes


class CheckBodies(Struct, frozen=True):
    """Check these raw transactions (decode, canonical, chain, digest, signatures); answer with `BodiesChecked(token)`."""

    token: int
    bodies: tuple[bytes, ...]


class Answer(Struct, frozen=True, gc=False):
    """What became of one submitted transaction so far. `height` and `index` say where its receipt is, once final."""

    state: str
    """"refused", "received", "accepted", "final"; "pending" when a client stopped waiting before it was durable."""
    body_id: BodyId
    reason: RejectReason | None = None
    detail: str = ""
    height: int = 0
    index: int = 0
    holders: tuple[tuple[NodeId, bytes], ...] = ()
    """(member, signature over `held_message`) once accepted."""
    batch: bytes = b""
    """Digest of the forwarded batch that the holders signed."""
    siblings: tuple[BodyId, ...] = ()
    """The body ids of that batch, so that the client can recompute its digest."""


class Reply(Struct, frozen=True):
    """All transactions of one submission have reached the state that was waited for, or were refused."""

    token: int
    answers: tuple[Answer, ...]


class Readable(Struct, frozen=True):
    """The certified ledger holds whatever was final anywhere when this read was asked for. It claims nothing about our disk:
    what a quorum certified is final wherever it is lost."""

    token: int


class Halt(Struct, frozen=True):
    """Our own broken invariant, or a safety alarm: sign nothing more, write the diagnosis, stop."""

    sentence: str


Immediate: TypeAlias = Hearsay | CheckBodies | Readable | Halt
Outgoing: TypeAlias = Promise | Hearsay | CheckBodies | Reply | Readable | Halt


class TraceEvent(Struct, frozen=True):
    """One line of the story, in the words of the papers."""

    name: str
    facts: Mapping[str, object] = msgspec.field(default_factory=dict)


class Effects(Struct, frozen=True):
    persist: Batch | None = None
    after_persist: tuple[Outgoing, ...] = ()
    immediate: tuple[Immediate, ...] = ()
    deadline_ms: int | None = None
    """The next moment at which `Tick` is wanted."""
    trace: tuple[TraceEvent, ...] = ()
