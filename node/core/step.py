"""One step of the replica in the making: effects are collected here and leave as one frozen `Effects`.

What waits for this step's durability is remembered by token: the engine hears its own promises, and clients' transactions
count as received, only when `Persisted(token)` comes back.
"""

from dataclasses import dataclass, field

from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.node.core.effects import (
    Batch,
    CheckBodies,
    Effects,
    Halt,
    Hearsay,
    Immediate,
    Outgoing,
    Promise,
    Readable,
    TraceEvent,
)


@dataclass(slots=True)
class Durable:
    """What follows once a step is durable."""

    own: list[bytes] = field(default_factory=list)
    """The engine's own promises, which it now hears itself."""
    received: list[tuple[BodyId, ...]] = field(default_factory=list)
    """Batches of our clients' transactions, now on our disk."""


@dataclass(slots=True)
class Step:
    pairs: dict[bytes, bytes | None] = field(default_factory=dict)
    later: dict[bytes, bytes | None] = field(default_factory=dict)
    """Rows that nothing claims yet: they need no write of their own. Shared by all steps until one takes them along."""
    guard: bytes | None = None
    after: list[Outgoing] = field(default_factory=list)
    now: list[Immediate] = field(default_factory=list)
    trace: list[TraceEvent] = field(default_factory=list)
    durable: Durable = field(default_factory=Durable)

    def promise(self, channel: Channel, payload: bytes, to: NodeId | None = None) -> None:
        self.after.append(Promise(to, pack(channel, payload)))

    def hearsay(self, channel: Channel, payload: bytes, to: NodeId | None = None) -> None:
        self.now.append(Hearsay(to, pack(channel, payload)))

    def check(self, token: int, bodies: tuple[bytes, ...]) -> None:
        self.now.append(CheckBodies(token, bodies))

    def readable(self, token: int) -> None:
        self.now.append(Readable(token))

    def halt(self, sentence: str) -> None:
        self.now.append(Halt(sentence))

    def note(self, name: str, **facts: object) -> None:
        self.trace.append(TraceEvent(name, facts))

    def take_along(self) -> None:
        """Rows of earlier steps become durable with this one, unless it deletes them."""
        if self.later:
            self.pairs = self.later | self.pairs
            self.later.clear()

    @property
    def must_persist(self) -> bool:
        durable = self.durable
        return bool(self.pairs or self.guard or self.after or durable.own or durable.received)

    def effects(self, token: int, deadline_ms: int) -> Effects:
        persist = Batch(token, self.pairs, self.guard) if self.must_persist else None
        return Effects(persist, tuple(self.after), tuple(self.now), deadline_ms, tuple(self.trace))
