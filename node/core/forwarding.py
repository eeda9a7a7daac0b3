"""Every member gets every body as soon as it is admitted, and signs that it holds a durable copy.

Decided here: batches of what clients handed in, who holds which, when f+1 holders make a transaction `accepted`, and when a
batch's durable copy may be deleted. Not here: the check of a body, the pool, who waits.
"""

from dataclasses import dataclass, field

from tallystick.network.wire.ids import BodyId, NodeId

FLUSH_BODIES = 64
"""A batch leaves when it has so many bodies …"""

SEND_ON_MS = 1_000
"""How often the oldest waiting transactions are sent to the leader once more."""

SEND_ON_COUNT = 4 * FLUSH_BODIES

FLUSH_MS = 2
"""… or when its first one has waited so long."""


@dataclass(slots=True)
class Batch:
    ids: tuple[BodyId, ...]
    asked: bool
    """The members were asked to sign that they hold it."""
    durable: bool = False
    """It is on our own disk."""
    claims: dict[NodeId, bytes] = field(default_factory=dict)
    """Other members' signatures over `held_message`, not checked: that is done when somebody waits for them."""
    holders: dict[NodeId, bytes] = field(default_factory=dict)
    """Genuine ones, and ours."""


@dataclass(slots=True)
class Forwarding:
    """Own batches that are out, and how many waiting transactions each durable batch still holds."""

    outgoing: list[tuple[BodyId, bytes]] = field(default_factory=list)
    since_ms: int = 0
    wanted: bool = False
    """Somebody waits until one of `outgoing` is accepted."""
    out: dict[bytes, Batch] = field(default_factory=dict)
    """Batch digest → our own batch whose holders we count."""
    left: dict[bytes, int] = field(default_factory=dict)
    """Batch digest → transactions that are not final."""

    def add(self, body_id: BodyId, raw: bytes, now_ms: int, wanted: bool) -> None:
        """`wanted`: until it is accepted, so the members must sign."""
        if not self.outgoing:
            self.since_ms = now_ms
        self.outgoing.append((body_id, raw))
        self.wanted |= wanted

    def next_batch(self) -> tuple[list[tuple[BodyId, bytes]], bool]:
        """What leaves together, and whether the members are asked to sign for it."""
        batch, wanted = self.outgoing[: 4 * FLUSH_BODIES], self.wanted
        self.outgoing = self.outgoing[4 * FLUSH_BODIES :]
        self.wanted = wanted and bool(self.outgoing)
        return batch, wanted

    def due(self, now_ms: int) -> bool:
        return bool(self.outgoing) and (
            len(self.outgoing) >= FLUSH_BODIES or now_ms >= self.since_ms + FLUSH_MS
        )

    @property
    def deadline_ms(self) -> int | None:
        return self.since_ms + FLUSH_MS if self.outgoing else None

    def keep(self, digest: bytes, count: int) -> None:
        """A batch is in the database for these many waiting transactions."""
        self.left[digest] = self.left.get(digest, 0) + count

    def release(self, digest: bytes, count: int = 1) -> bool:
        """So many of its transactions wait no more. True: the durable copy may go."""
        left = self.left.get(digest, 0) - count
        if left > 0:
            self.left[digest] = left
            return False
        self.left.pop(digest, None)
        self.out.pop(digest, None)
        return True
