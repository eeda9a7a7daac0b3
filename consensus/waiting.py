"""What an engine waits for, as facts: who is awaited, how many of them would do, since when, and what lets it go on.

Decided here: the words. Each engine fills them from what it knows (`pbft.waiting`, `raft.waiting`); a vote that is counted
here may still prove a forgery, for signatures are checked when a quorum needs them. Not here: whether that wait is too long,
and what the node around the engine waits for (`node.core.stalls`).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from tallystick.network.wire.ids import NodeId


class Phase(Enum):
    """What is missing. The first group is the engines', the second the node's around them."""

    PROPOSAL = "proposal"
    OWN_BLOCK = "own block"
    """We lead, and the block that we ask of our own node has not come."""
    JUDGEMENT = "judgement"
    """The leader's block is here and not judged yet."""
    PREPARES = "prepare votes"
    COMMITS = "commit votes"
    VIEW_CHANGES = "view-change messages"
    NEW_VIEW = "new view"
    TIP = "block of the view's tip"
    APPEND_ACKS = "append acknowledgements"
    COUNTERSIGNATURES = "countersignatures"
    ELECTION_VOTES = "votes of an election"
    LEADER = "leader"
    CONNECTIONS = "quorum of connections"
    ROLLBACK_CHECK = "what this key has signed"
    """Just started: nothing is signed before enough peers have said what they hold of this node's key."""
    PEOPLE = "people"
    """Halted."""

    CATCH_UP = "final blocks from peers"
    BODIES = "bodies of transactions from peers"
    BLOCKS = "bytes of blocks from peers"
    CLOCK = "time of a block"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Waiting:
    phase: Phase
    awaited: tuple[NodeId, ...]
    """Whose word is missing, ascending; our own id stands for our own disk or machine."""
    needed: int
    """How many of `awaited` would be enough; 0: nobody's word is missing."""
    since_ms: int
    """Since when. Later than now: nothing is owed yet."""
    height: int
    """Of the block that is to become final next."""
    unblocks: str
    """What would let it go on, in plain words."""


def missing(everybody: Iterable[NodeId], here: Collection[NodeId]) -> tuple[NodeId, ...]:
    """Those of `everybody` who are not in `here`, ascending."""
    return tuple(sorted(node for node in everybody if node not in here))


def names(nodes: Iterable[NodeId]) -> str:
    """ "member 2" or "members 1, 2"."""
    listed = [str(node) for node in nodes]
    return f"{'member' if len(listed) == 1 else 'members'} {', '.join(listed)}"


def some_of(needed: int, awaited: Collection[NodeId]) -> str:
    """ "one of members 2, 3", or all of them by name."""
    return names(awaited) if needed >= len(awaited) else f"{how_many(needed)} of {names(awaited)}"


def how_many(count: int) -> str:
    """In words where people would write one."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
