"""What a Raft member remembers, and the small questions that every rule asks of it.

Durable: term, vote and log above the last final block (`EngineRecord`), the blocks of that log, and the guard's record. All
else is rebuilt by listening. A restored log counts as acknowledged, but nothing in it is countersigned or made final before
this process has executed it itself.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from msgspec import Meta, Struct

from tallystick.consensus.accountability.guard import Guard
from tallystick.consensus.api import (
    Alarm,
    Block,
    Crypto,
    Effect,
    KeepGuard,
    KeepRecord,
    Note,
    Restored,
    Say,
    Setup,
    Verdict,
)
from tallystick.consensus.batching import Batching
from tallystick.consensus.raft.election_clock import ElectionClock
from tallystick.consensus.raft.log import Entry, Log
from tallystick.consensus.raft.membership import Configuration
from tallystick.consensus.raft.messages import (
    MESSAGE,
    Countersignature,
    HeightField,
    LinkField,
    Message,
    TermField,
)
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.ids import Height, Link, NodeId, View

HEIGHTS_AHEAD_MAX = 64
"""Entries and countersignatures further above our own log are not kept: whoever is that far behind catches up. Not above the
last *final* block: leaders who fall one after the other leave an opening block each, and the last of them must be taken."""

KEPT_BELOW_FINAL = 32
"""Final blocks that stay in the log, in memory only, so that a follower slightly behind needs no catching up."""

BALLOT_BOXES_MAX = 4 * HEIGHTS_AHEAD_MAX
"""(term, height) pairs for which countersignatures are kept."""

READS_MAX = 1_024
"""Questions for the read index that wait at a leader at once: an owner asks for many reads together."""


@dataclass(frozen=True, slots=True)
class Tuning:
    entries_per_append: int = 8
    """Blocks in one message, further bounded by its bytes. Tests draw it: some bugs show only at 1."""


PRODUCTION = Tuning()


class LogRow(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    term: TermField
    link: LinkField


class EngineRecord(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The engine's durable record."""

    term: TermField
    voted_for: Annotated[NodeId, Meta(ge=0, lt=2**16)] | None
    final_height: HeightField
    final_term: TermField
    final_link: LinkField
    rows: tuple[LogRow, ...]
    """The log from final_height + 1 on; each block is kept under its link."""


RECORD = Codec(EngineRecord, bytes_max=256 * 1024)


class Role(Enum):
    FOLLOWER = "follower"
    TRIAL = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(slots=True)
class Progress:
    """What a leader knows of one other member's log."""

    next: int
    """The first height to send. A guess."""
    match: int = 0
    """The log is durable and equal there up to here. Only an acknowledgement moves it, and only up."""
    probing: bool = True
    """One append at a time, until one is acknowledged; afterwards up to `pipeline` are out."""
    paused: bool = False
    heard_ms: int = 0
    round: int = 0
    commit_told: int = 0
    final_height: int = 0
    match_before: int = 0
    """`match` at the last heartbeat: what is out since then and unanswered may be lost."""
    offered_ms: int = -(10**9)
    """When our certificate was last sent in place of a snapshot."""

    def cut_off(self) -> None:
        """The connection broke, or what is out may be lost: begin again behind what was acknowledged."""
        self.probing = self.paused = True
        if self.match:
            self.next = self.match + 1


@dataclass(frozen=True, slots=True)
class Read:
    """A question for the read index that waits for its round."""

    asker: NodeId
    token: int
    index: Height
    round: int


@dataclass(slots=True)
class RaftState:
    setup: Setup
    crypto: Crypto
    guard: Guard
    clock: ElectionClock
    batching: Batching
    configuration: Configuration
    tuning: Tuning
    log: Log
    final_height: Height
    final_link: Link
    final_certificate: Certificate | None
    term: View
    commit: Height
    verified: Height
    """Up to here our log is known to equal this term's leader's."""
    voted_for: NodeId | None = None
    role: Role = Role.FOLLOWER
    leader: NodeId | None = None
    votes: dict[NodeId, bool] = field(default_factory=dict)
    leader_commit: int = 0
    incoming: list[Entry] = field(default_factory=list)
    """Entries of this term's leader that are not judged yet. They follow an entry of our log, and may replace its tail."""
    executed: set[Link] = field(default_factory=set)
    """Blocks above the last final one that this process has executed, with the link that they claim."""
    judging: tuple[Link, bool] | None = None
    """The block being judged, and whether its time is tested."""
    declined: dict[Link, tuple[Verdict, Link | None]] = field(default_factory=dict)
    # As a leader:
    progress: dict[NodeId, Progress] = field(default_factory=dict)
    own_match: int = 0
    """Our own log is durable up to here."""
    opened: bool = False
    """The empty block that begins our term is in the log."""
    making: Link | None = None
    owed_since_ms: int = 0
    """Since when a final block is owed."""
    last_final_ms: int = 0
    """When the last block became final here, or this process began."""
    work_since_ms: int = 0
    """Since when something waits that no proposal contains."""
    round: int = 1
    reads: list[Read] = field(default_factory=list)
    transfer_to: NodeId | None = None
    transfer_until_ms: int = 0
    transfer_told: bool = False
    decliners: dict[Link, set[NodeId]] = field(default_factory=dict)
    lost: set[Link] = field(default_factory=set)
    """Blocks that too many members declined: while one is in our log, we do not stand for election."""
    # As a countersigner:
    signed: dict[Height, Countersignature] = field(default_factory=dict)
    ballots: dict[tuple[View, Height], dict[NodeId, Countersignature]] = field(default_factory=dict)
    behind: int = 0
    """The height of the last certificate that sent us to catch up."""
    connected: set[NodeId] = field(default_factory=set)
    asked_around: int = 0
    """How often a member was asked for final blocks because nobody answered an election."""
    beat_at_ms: int = 0
    alarm: str | None = None
    halted: bool = False
    keep: bool = False
    keep_guard: bool = False
    out: list[Effect] = field(default_factory=list)

    # -- questions -----------------------------------------------------------------------------------------------------

    @property
    def me(self) -> NodeId:
        return self.setup.me

    @property
    def leads(self) -> bool:
        return self.role is Role.LEADER

    @property
    def others(self) -> tuple[NodeId, ...]:
        return tuple([node for node in self.configuration.everybody if node != self.me])

    @property
    def in_flight(self) -> int:
        """Blocks in the log that are not certified."""
        return self.log.last_height - self.final_height

    @property
    def final_term(self) -> View:
        """The term of the last final entry: its certificate's view, for only entries of their own term are signed."""
        return self.final_certificate.view if self.final_certificate is not None else View(0)

    @property
    def reaches_quorum(self) -> bool:
        """Alone, standing for election helps nobody."""
        return self.configuration.won({self.me, *self.connected})

    @property
    def tail_executed(self) -> bool:
        return all(
            entry.block.link in self.executed
            for entry in self.log.entries
            if entry.block.height > self.final_height
        )

    def barred(self, now_ms: int) -> bool:
        if now_ms < self.clock.barred_until_ms:
            return True
        return any(entry.block.link in self.lost for entry in self.log.entries)

    # -- effects -------------------------------------------------------------------------------------------------------

    def say(self, message: Message, to: NodeId | None = None) -> None:
        """What claims nothing about us."""
        self.out.append(Say(MESSAGE.encode(message), to))

    def promise(self, message: Message, to: NodeId | None = None) -> None:
        """What we are held to: it leaves, and we hear it ourselves, once this step and all before it are durable."""
        self.out.append(Say(MESSAGE.encode(message), to, promise=True))

    def note(self, name: str, **facts: object) -> None:
        self.out.append(Note(name, facts))

    def alarm_once(self, sentence: str, halt: bool = False) -> None:
        if self.alarm != sentence:
            self.alarm = sentence
            self.out.append(Alarm(sentence, halt))
        self.halted = self.halted or halt

    def flush(self) -> None:
        """One record per step, however often it changed."""
        if self.keep:
            self.out.append(KeepRecord(self._record()))
        if self.keep_guard:
            self.out.append(KeepGuard(self.guard.record()))
        self.keep = self.keep_guard = False

    def _record(self) -> bytes:
        rows = tuple(
            [
                LogRow(entry.term, entry.block.link)
                for entry in self.log.entries
                if entry.block.height > self.final_height
            ]
        )
        return RECORD.encode(
            EngineRecord(
                self.term,
                self.voted_for,
                self.final_height,
                self.final_term,
                self.final_link,
                rows,
            )
        )


def log_of(restored: Restored, record: EngineRecord | None) -> Log:
    """The log that the disk holds. `OperationalError` when a block of it is missing: what was acknowledged is lost."""
    height, link = restored.final_height, restored.final_link
    term = restored.final.view if restored.final is not None else View(0)
    log = Log(height, term, link)
    if record is None:
        return log
    blocks: dict[Link, Block] = {block.link: block for block in restored.blocks}
    for at, row in enumerate(record.rows, record.final_height + 1):
        if at <= height:
            continue
        block = blocks.get(Link(row.link))
        if block is None:
            raise OperationalError(f"the block of the log at height {at} is missing from the disk")
        if block.parent_link != log.last_link:
            return log  # the ledger was caught up past this tail, on another path
        log.append(Entry(row.term, block))
    return log
