"""What an operator asks a node first; a member and an observer answer in the same words."""

from dataclasses import dataclass

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
    waiting_for: str
    alarm: str | None
    halted: str | None
    blocks_executed: int = 0
    """By an observer since it started; a member does not count."""
