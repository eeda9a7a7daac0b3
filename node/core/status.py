"""What an operator asks a node first; a member and an observer answer in the same words."""

from dataclasses import dataclass

from tallystick.consensus.waiting import Waiting
from tallystick.network.wire.ids import NodeId


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What an operator asks first. Links and roots are 32 bytes."""

    node: NodeId
    engine: str
    epoch: int
    view: int
    leader: NodeId
    height: int
    link: bytes
    state_root: bytes
    block_time_ms: int
    pool_size: int
    peers_up: tuple[NodeId, ...]
    in_flight: int
    waiting: Waiting
    alarm: str | None
    halted: str | None
    blocks_executed: int = 0
    """By an observer since it started; a member does not count."""
    peers_down: tuple[tuple[NodeId, int], ...] = ()
    """Every other member that is not connected, and since when (our start, if it never was)."""
    catch_up_to: int | None = None
    """The height of a certificate over blocks that we lack; None while none is known."""
    level: bool = True
    """A block has become final since this process started; before that it may be far behind and not know it."""

    @property
    def waiting_for(self) -> str:
        return self.waiting.unblocks
