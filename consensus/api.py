"""What a consensus engine hears and asks for: the same for every engine, with no socket, disk or clock in sight.

An engine is `handle(event, now_ms) -> effects`. It orders opaque block bytes; whoever owns it makes blocks, judges them
(validity and execution), keeps records durable and carries messages. A `Say` with `promise` may leave only after the
records of the same step are durable, and comes back to the engine as `Heard` from itself at that moment, so that a node
counts its own vote no earlier than anybody else's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct

from tallystick.consensus.waiting import Waiting
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View

# -- what an engine hears ----------------------------------------------------------------------------------------------


class Heard(Struct, frozen=True):
    """A message of an authenticated member; its content may still be hostile."""

    sender: NodeId
    message: bytes


class WorkWaiting(Struct, frozen=True):
    """How much waits to be ordered."""

    ready: int
    """Transactions that no proposal on the chosen path contains."""
    outstanding: int
    """Transactions that are not final."""
    arrived: int
    """All that ever came in."""


class BlockMade(Struct, frozen=True):
    """The answer to `MakeBlock`: a block executed on top of `parent_link`."""

    parent_link: Link
    block: "Block"
    transactions: int


class Verdict(Enum):
    ACCEPT = "accept"
    """Valid by bytes, executed, and the link is the proposed one; block and bodies go into the same batch as the vote."""
    REFUSE = "refuse"
    """Not valid, or its time is not believable: no vote."""
    DISAGREE = "disagree"
    """Valid, but our execution gave another link, or failed."""


class Judged(Struct, frozen=True):
    """The answer to `Judge`, at once or later."""

    view: View
    link: Link
    verdict: Verdict
    own_link: Link | None = None


class CaughtUp(Struct, frozen=True):
    """Blocks up to this certificate's have been fetched, executed and made final outside the engine."""

    certificate: Certificate


class PeerUp(Struct, frozen=True):
    peer: NodeId


class PeerDown(Struct, frozen=True):
    peer: NodeId


class ReadIndex(Struct, frozen=True):
    """Up to which height may a block have been final anywhere by now? Answered by `IndexKnown`, or never: ask again."""

    round: int
    """Of the asker's own counting: an answer to a later round is good for an earlier question, never the reverse."""


class HandOver(Struct, frozen=True):
    """Give up leading, to `to` or to whoever suits best; heard by who does not lead, it changes nothing."""

    to: NodeId | None = None


class Unfair(Struct, frozen=True):
    """The leader of `view` passes over what waits, as `node.core.fairness` counts it."""

    view: View
    bank: int


class Tick(Struct, frozen=True):
    pass


Event: TypeAlias = (
    Heard
    | WorkWaiting
    | BlockMade
    | Judged
    | CaughtUp
    | PeerUp
    | PeerDown
    | ReadIndex
    | HandOver
    | Unfair
    | Tick
)


# -- what an engine asks for -------------------------------------------------------------------------------------------


class Block(Struct, frozen=True):
    """Opaque bytes and what they say of themselves."""

    height: Height
    link: Link
    parent_link: Link
    data: bytes
    closes: bool = False
    """The last block of its epoch: nothing is proposed or voted for on it; its child is another engine's."""


class Say(Struct, frozen=True):
    """Send to one member, or to all others. A promise waits for durability and is also heard by ourselves."""

    message: bytes
    to: NodeId | None = None
    promise: bool = False


class KeepRecord(Struct, frozen=True):
    """The engine's whole durable state, replaced atomically."""

    record: bytes


class KeepGuard(Struct, frozen=True):
    """The guard's durable record: into the database, then beside the key, before any promise of this step leaves."""

    record: bytes


class KeepBlock(Struct, frozen=True):
    """Make this block (and its bodies) durable in this step."""

    block: Block


class HoldBlock(Struct, frozen=True):
    """Remember this block's bytes for a while: a certificate over it may come. Nothing is signed about it."""

    block: Block


class MakeBlock(Struct, frozen=True):
    """Make and execute a block on `parent_link`; answer with `BlockMade`. `view_age`: views since the last certificate."""

    height: Height
    parent_link: Link
    empty: bool


class Judge(Struct, frozen=True):
    """Is this block valid, and does our execution give its link? `fresh`: its time is tested against our clock,
    relaxed by `view_age` views. Answer with `Judged`."""

    view: View
    block: Block
    fresh: bool
    view_age: int


class Final(Struct, frozen=True):
    """`block` and its ancestors are final for ever. The certificate is over this block or a descendant."""

    block: Block
    certificate: Certificate


class Behind(Struct, frozen=True):
    """A certificate shows final blocks that we do not have: fetch them, then say `CaughtUp`."""

    certificate: Certificate


class IndexKnown(Struct, frozen=True):
    """Whatever was final at any member when round `round` was asked for stands at or below `index`."""

    round: int
    index: Height


class EpochAhead(Struct, frozen=True):
    """A member speaks of a later epoch, or of nothing any more: the block that closed ours may be final elsewhere. A hint, never a proof."""

    sender: NodeId


class ViewEntered(Struct, frozen=True):
    """Proposals off the chosen path may be forgotten; their transactions wait again."""

    view: View


class Convict(Struct, frozen=True):
    """Keep this: evidence that a member signed two statements that exclude each other (`network.proofs.evidence`)."""

    evidence: bytes


class Alarm(Struct, frozen=True):
    """Something that no correct network shows; people must look. `halt`: nothing may be signed any more."""

    sentence: str
    halt: bool = False


class Note(Struct, frozen=True):
    """One line of the story, in the words of the papers."""

    name: str
    facts: Mapping[str, object] = msgspec.field(default_factory=dict)


Effect: TypeAlias = (
    Say
    | KeepRecord
    | KeepGuard
    | KeepBlock
    | HoldBlock
    | MakeBlock
    | Judge
    | Final
    | Behind
    | IndexKnown
    | EpochAhead
    | ViewEntered
    | Convict
    | Alarm
    | Note
)


# -- what an engine is given -------------------------------------------------------------------------------------------


class Crypto(Protocol):
    """The members' vote keys. Pure: the same bytes give the same answer."""

    def sign(self, message: bytes) -> bytes:
        """Our 64-byte signature."""
        ...

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds."""

    view_timeout_ms: int
    view_timeout_ms_max: int
    idle_block_ms: int


@dataclass(frozen=True, slots=True)
class Setup:
    """Who votes about what."""

    me: NodeId
    vote_keys: Mapping[NodeId, bytes]
    chain: int
    lane: int
    epoch: Epoch
    genesis_link: Link
    pipeline: int
    block_transactions_max: int
    timing: Timing
    describe: Callable[[bytes], Block | None]
    """Reads block bytes; None when they are not a block. Recomputes the link."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restart finds on disk."""

    record: bytes | None
    guard: bytes | None
    final: Certificate | None
    """The certificate that made the last final block final; it may be of a descendant."""
    final_height: Height
    final_link: Link
    blocks: Sequence[Block]
    """Blocks kept before a vote and not final yet, and the last final one."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What an operator wants to know first."""

    view: View
    active: bool
    leader: NodeId
    final_height: Height
    in_flight: int
    waiting: Waiting
    alarm: str | None

    @property
    def waiting_for(self) -> str:
        """What would let it go on, in plain words."""
        return self.waiting.unblocks


class Engine(Protocol):
    def handle(self, event: Event, now_ms: int) -> list[Effect]: ...

    @property
    def deadline_ms(self) -> int: ...

    def status(self) -> EngineStatus: ...
