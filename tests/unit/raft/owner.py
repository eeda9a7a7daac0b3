"""The owner of an engine in a play: a small ledger that makes and executes blocks of 50 bytes, and a disk that keeps what was
synced. It holds the engine to the order in which it must ask.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b, sha256

from tallystick.consensus.api import Block, Judge, Note, Say, Timing, Verdict
from tallystick.consensus.raft.core import Raft
from tallystick.consensus.raft.messages import MESSAGE, Message
from tallystick.consensus.raft.state import RaftState
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.ids import Height, Link, NodeId

GENESIS = Link(sha256(b"genesis").digest())
TIMING = Timing(view_timeout_ms=400, view_timeout_ms_max=1_600, idle_block_ms=2_000)


class Broken(AssertionError):
    """An invariant does not hold."""


def hold(condition: bool, sentence: str) -> None:
    if not condition:
        raise Broken(sentence)


CLOSING = 1 << 56
"""A block whose nonce has this bit closes its epoch."""


def make(height: int, parent: bytes, proposer: int, nonce: int) -> Block:
    data = b"".join(
        [height.to_bytes(8, "big"), parent, proposer.to_bytes(2, "big"), nonce.to_bytes(8, "big")]
    )
    closes = bool(nonce & CLOSING)
    return Block(Height(height), Link(sha256(data).digest()), Link(parent), data, closes)


def describe(data: bytes) -> Block | None:
    if len(data) != 50:
        return None
    height = Height(int.from_bytes(data[:8], "big"))
    return Block(height, Link(sha256(data).digest()), Link(data[8:40]), data, data[42] == 1)


def epoch_after(final: list[Block]) -> int:
    """The epoch of the block behind these."""
    return sum(block.closes for block in final)


def run_of(blocks: list[Block]) -> list[Block]:
    """As many of these as one epoch's members certify."""
    ends = [index for index, block in enumerate(blocks, 1) if block.closes]
    return blocks[: ends[0]] if ends else blocks


def secret(node: int) -> bytes:
    return sha256(b"secret %d" % node).digest()


KEYS = {NodeId(node): sha256(secret(node)).digest() for node in range(9)}
_OWNER = {KEYS[NodeId(node)]: secret(node) for node in range(9)}


@dataclass(frozen=True, slots=True)
class FakeCrypto:
    node: int

    def sign(self, message: bytes) -> bytes:
        return blake2b(message, key=secret(self.node)).digest()

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        return blake2b(message, key=_OWNER[key]).digest() == signature


@dataclass(slots=True)
class Disk:
    record: bytes | None = None
    guard: bytes | None = None
    kept: dict[Link, Block] = field(default_factory=dict)
    final: list[Block] = field(default_factory=list)
    certificate: Certificate | None = None


@dataclass(slots=True)
class Step:
    """What one step wants durable, and the promises that wait for it."""

    record: bytes | None = None
    guard: bytes | None = None
    kept: list[Block] = field(default_factory=list)
    final: list[Block] = field(default_factory=list)
    certificate: Certificate | None = None
    promises: list[Say] = field(default_factory=list)
    turns: bool = False
    """An epoch ended in this step: the engine's record dies with it."""

    @property
    def empty(self) -> bool:
        return not (self.record or self.guard or self.kept or self.final or self.promises)


@dataclass(frozen=True, slots=True)
class Wire:
    sender: NodeId
    to: NodeId
    data: bytes

    @property
    def message(self) -> Message:
        return MESSAGE.decode(self.data)


Judgement = Callable[[NodeId, Judge], Verdict | None]


@dataclass(slots=True)
class Member:
    """One process and its ledger."""

    node: NodeId
    engine: Raft
    disk: Disk
    final: list[Block]
    certificate: Certificate | None
    executed: dict[Link, Block] = field(default_factory=dict)
    held: dict[Link, Block] = field(default_factory=dict)
    parked: dict[Link, Judge] = field(default_factory=dict)
    behind: Certificate | None = None
    steps: list[Step] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    known: dict[int, int] = field(default_factory=dict)
    """Read indexes that the engine answered, by round."""
    pool: int = 0
    up: bool = True
    epoch: int = 0
    hint: NodeId | None = None
    """Who spoke of a later epoch."""

    @property
    def state(self) -> RaftState:
        return self.engine._state

    @property
    def height(self) -> int:
        return len(self.final)

    @property
    def link(self) -> Link:
        return self.final[-1].link if self.final else GENESIS

    def stands_on(self, link: Link) -> bool:
        """Execute a held block and its ancestors, if all are here."""
        if link == self.link or link in self.executed:
            return True
        block = self.held.get(link)
        if block is None or block.height <= self.height or not self.stands_on(block.parent_link):
            return False
        self.executed[link] = block
        return True
