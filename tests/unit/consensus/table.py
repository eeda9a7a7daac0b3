"""Engines around a table: no clock, no disk, no network but what a test says. Blocks are three values and a hash.

Every message is a line in `wire` until the test delivers or drops it. A crash loses what is in memory; what an engine asked
to keep is kept at once, so a test that wants a crash in between takes the effects itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import TypeVar

from msgspec import msgpack

from tallystick.consensus import api
from tallystick.consensus.api import (
    Block,
    Judge,
    Judged,
    Restored,
    Say,
    Setup,
    Timing,
    Verdict,
)
from tallystick.consensus.pbft import Pbft
from tallystick.consensus.pbft.messages import (
    MESSAGE,
    AskSigned,
    Message,
    NewView,
    Proposal,
    ShowSigned,
    ViewChange,
    Vote,
)
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.faults import invariant
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, vote_message

CHAIN = 7
GENESIS = Link(b"\x99" * 32)
FIRST = Height(0)
TIMING = Timing(view_timeout_ms=100, view_timeout_ms_max=800, idle_block_ms=50)

M = TypeVar("M")

Rule = Callable[[NodeId, NodeId, Message], bool]
"""(sender, receiver, message) → delivered."""


def make_block(height: int, parent: Link, name: str) -> Block:
    data = msgpack.encode((height, parent, name))
    return Block(Height(height), Link(sha256(data).digest()), parent, data)


def describe(data: bytes) -> Block | None:
    try:
        height, parent, name = msgpack.decode(data, type=tuple[int, bytes, str])
    except msgpack_errors:
        return None
    return make_block(height, Link(parent), name)


msgpack_errors = (ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class Keys:
    """A signature is a keyed hash; the key is the member's number."""

    me: NodeId

    def sign(self, message: bytes) -> bytes:
        return blake2b(message, key=bytes([self.me]) * 32).digest()

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        return blake2b(message, key=key).digest() == signature


def keys_of(members: int) -> dict[NodeId, bytes]:
    return {NodeId(node): bytes([node]) * 32 for node in range(members)}


@dataclass(slots=True)
class Disk:
    record: bytes | None = None
    guard: bytes | None = None
    final: Certificate | None = None
    height: Height = FIRST
    link: Link = GENESIS
    blocks: dict[Link, Block] = field(default_factory=dict)


@dataclass(slots=True)
class Seat:
    """One member."""

    node: NodeId
    engine: Pbft | None
    disk: Disk = field(default_factory=Disk)
    chain: list[Link] = field(default_factory=list)
    """Final links from height 1 on."""
    behind: list[Certificate] = field(default_factory=list)
    judged: list[Judge] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Table:
    """`members` engines; member v mod n leads view v."""

    def __init__(self, members: int = 4, pipeline: int = 2, block_max: int = 10) -> None:
        self.members = members
        self.pipeline = pipeline
        self.block_max = block_max
        self.now_ms = 0
        self.wire: list[tuple[NodeId, NodeId, bytes]] = []
        self.asks_at_once = True
        """Who starts hears at once what its key has signed; a test of that very question puts it onto the wire."""
        self.asked: list[tuple[NodeId, NodeId, bytes]] = []
        self.verdict: Callable[[NodeId, Judge], Verdict | None] = lambda _, __: Verdict.ACCEPT
        """What an owner answers; None: nothing yet."""
        self.fetches = True
        """Whoever is behind gets the blocks at once; a test may hold them back and call `catch_up`."""
        self.known: dict[Link, Block] = {}
        self.made = 0
        self.seats = {NodeId(node): Seat(NodeId(node), None) for node in range(members)}
        for node in self.seats:
            self.start(node)
        for node in self.seats:
            self.connect(node)

    # -- life and death ------------------------------------------------------------------------------------------------

    def setup(self, node: NodeId) -> Setup:
        return Setup(node, keys_of(self.members), CHAIN, 0, Epoch(0), GENESIS, self.pipeline, self.block_max, TIMING, describe)  # fmt: skip

    def start(self, node: int) -> None:
        seat = self.seats[NodeId(node)]
        disk = seat.disk
        restored = Restored(disk.record, disk.guard, disk.final, disk.height, disk.link, tuple(disk.blocks.values()))  # fmt: skip
        seat.engine = Pbft(self.setup(seat.node), Keys(seat.node), restored, self.now_ms)

    def connect(self, node: int) -> None:
        for other in self.seats:
            if other != node and self.seats[other].engine is not None:
                self.hear(node, api.PeerUp(other))

    def crash(self, node: int) -> None:
        self.seats[NodeId(node)].engine = None

    def restart(self, node: int) -> None:
        self.start(node)
        self.connect(node)
        for other in self.seats:
            if other != node and self.seats[other].engine is not None:
                self.hear(other, api.PeerUp(NodeId(node)))

    # -- hearing -------------------------------------------------------------------------------------------------------

    def hear(self, node: int, event: api.Event) -> list[api.Effect]:
        """One event at one engine; its wishes are carried out at once, what it says goes onto the wire."""
        seen = self._hear(node, event)
        while self.asked:
            sender, to, message = self.asked.pop(0)
            self._hear(to, api.Heard(sender, message))
        return seen

    def _hear(self, node: int, event: api.Event) -> list[api.Effect]:
        seat = self.seats[NodeId(node)]
        seen: list[api.Effect] = []
        events = [event]
        while events and seat.engine is not None:
            for effect in seat.engine.handle(events.pop(0), self.now_ms):
                seen.append(effect)
                answer = self._carry_out(seat, effect)
                if answer is not None:
                    events.append(answer)
        return seen

    def _carry_out(self, seat: Seat, effect: api.Effect) -> api.Event | None:
        disk = seat.disk
        match effect:
            case Say():
                self._say(seat.node, effect)
            case api.KeepRecord(record):
                disk.record = record
            case api.KeepGuard(record):
                disk.guard = record
            case api.KeepBlock(block):
                disk.blocks[block.link] = self.known[block.link] = block
            case api.MakeBlock(height, parent, _):
                self.made += 1
                block = make_block(height, parent, f"b{self.made}")
                return api.BlockMade(parent, block, 1)
            case Judge():
                seat.judged.append(effect)
                verdict = self.verdict(seat.node, effect)
                if verdict is not None:
                    return Judged(effect.view, effect.block.link, verdict, effect.block.link)
            case api.Final(block, certificate):
                self._final(seat, block, certificate)
            case api.Behind(certificate):
                return self._behind(seat, certificate)
            case api.Alarm(sentence, _):
                seat.alarms.append(sentence)
            case api.Note(name, _):
                seat.notes.append(name)
            case _:
                pass
        return None

    def _say(self, sender: NodeId, said: Say) -> None:
        if said.to is not None:
            targets = [said.to]
        else:
            targets = [node for node in self.seats if node != sender]
        if self.asks_at_once and isinstance(MESSAGE.decode(said.message), AskSigned | ShowSigned):
            self.asked.extend((sender, to, said.message) for to in targets)
            return
        self.wire.extend((sender, to, said.message) for to in targets)
        if said.promise:
            self.wire.append((sender, sender, said.message))

    def _final(self, seat: Seat, block: Block, certificate: Certificate) -> None:
        disk = seat.disk
        invariant(block.parent_link == disk.link, "final block on another parent")
        disk.height, disk.link, disk.final = block.height, block.link, certificate
        seat.chain.append(block.link)

    def _behind(self, seat: Seat, certificate: Certificate) -> api.Event | None:
        """Fetch what is certified, if the test lets it and somebody has kept it."""
        if not self.fetches:
            seat.behind.append(certificate)
            return None
        path: list[Block] = []
        link = certificate.link
        while link != seat.disk.link:
            block = self.known.get(link)
            if block is None:
                seat.behind.append(certificate)
                return None
            path.append(block)
            link = block.parent_link
        for block in reversed(path):
            self._final(seat, block, certificate)
        return api.CaughtUp(certificate)

    def catch_up(self, node: int) -> None:
        """Hand a member that is behind all blocks up to the certificate that showed it."""
        seat = self.seats[NodeId(node)]
        self.fetches = True
        event = self._behind(seat, seat.behind.pop())
        if event is not None:
            self.hear(node, event)

    # -- the wire ------------------------------------------------------------------------------------------------------

    def deliver(self, rule: Rule = lambda _, __, ___: True, rounds: int = 1_000) -> None:
        """Deliver what is on the wire, and what comes of it, until it is empty; what the rule refuses is lost."""
        while self.wire and rounds:
            rounds -= 1
            sender, to, message = self.wire.pop(0)
            if sender == to or rule(sender, to, MESSAGE.decode(message)):
                self.hear(to, api.Heard(sender, message))

    def said(self, kind: type[M], sender: int | None = None) -> list[M]:
        """Messages of one kind that are on the wire, each once."""
        found: dict[bytes, M] = {}
        for who, _, message in self.wire:
            decoded = MESSAGE.decode(message)
            if isinstance(decoded, kind) and sender in (None, who):
                found[message] = decoded
        return list(found.values())

    def lose(self) -> None:
        """Whatever is on the wire is lost."""
        self.wire.clear()

    def tick(self, after_ms: int, *nodes: int) -> None:
        """Time passes for everybody, or only for some."""
        self.now_ms += after_ms
        for node in nodes or tuple(self.seats):
            self.hear(node, api.Tick())

    def run(self, for_ms: int, rule: Rule = lambda _, __, ___: True) -> None:
        """Ticks and deliveries, ten milliseconds at a time."""
        for _ in range(for_ms // 10):
            self.deliver(rule)
            self.tick(10)

    def work(self, ready: int = 1) -> None:
        """Every pool has something to order."""
        for node in self.seats:
            self.hear(node, api.WorkWaiting(ready, ready, ready))

    # -- what a test asks ----------------------------------------------------------------------------------------------

    def engine(self, node: int) -> Pbft:
        engine = self.seats[NodeId(node)].engine
        if engine is None:
            raise AssertionError(f"member {node} is down")
        return engine

    def heights(self) -> list[int]:
        return [len(seat.chain) for seat in self.seats.values()]

    def chains_agree(self) -> bool:
        """No two members have different blocks at one height."""
        longest = max((seat.chain for seat in self.seats.values()), key=len)
        return all(longest[: len(seat.chain)] == seat.chain for seat in self.seats.values())


def signed_vote(
    signer: int, phase: Phase, view: int, height: int, link: Link, parent: Link
) -> Vote:
    """A genuine vote of a member, such as a hostile one may make."""
    message = vote_message(CHAIN, 0, Epoch(0), View(view), Height(height), phase, link, parent)
    signature = Keys(NodeId(signer)).sign(message)
    return Vote(phase, Epoch(0), View(view), Height(height), link, parent, signature)


def heard(sender: int, message: Message) -> api.Heard:
    return api.Heard(NodeId(sender), MESSAGE.encode(message))


def only(*kinds: type) -> Rule:
    """Delivers messages of these kinds."""
    return lambda _, __, message: isinstance(message, kinds)


def but(*nodes: int) -> Rule:
    """Delivers nothing from or to these members."""
    return lambda sender, to, _: sender not in nodes and to not in nodes


def is_commit(message: Message) -> bool:
    return isinstance(message, Vote) and message.phase == Phase.COMMIT


__all__ = [
    "CHAIN",
    "GENESIS",
    "TIMING",
    "Keys",
    "NewView",
    "Proposal",
    "Seat",
    "Table",
    "ViewChange",
    "Vote",
    "but",
    "describe",
    "heard",
    "is_commit",
    "keys_of",
    "make_block",
    "only",
    "signed_vote",
]
