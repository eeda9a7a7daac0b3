"""One process of the simulated network: a core, a disk, a clock, and what it has not heard yet."""

from dataclasses import dataclass, field

from tallystick.network.wire.ids import NodeId
from tallystick.node.core.events import Event
from tallystick.node.core.follower import Follower
from tallystick.node.core.replica import Replica
from tests.sim.clock import Clock
from tests.sim.disk import Disk

OBSERVER = 1_000
"""The observer's node id."""


@dataclass(slots=True)
class Host:
    """One process: it may be down, paused or alive."""

    name: str
    node: NodeId
    honest: bool
    clock: Clock
    disk: Disk = field(default_factory=Disk)
    core: Replica | Follower | None = None
    life: int = 0
    paused_until_ms: int = 0
    backlog: list[Event] = field(default_factory=list)
    tick_ms: int | None = None
    idle_ticks: list[int] = field(default_factory=list)
    """When the last ticks came, with nothing else between them."""
    disk_factor: int = 1
    durable: tuple[int, bytes] = (0, b"")
    """Height and link of the last final block that is on the disk."""
    down_for_ms: int = 0
    lost: bool = False
    """It is gone for ever, with its disk."""

    @property
    def up(self) -> bool:
        return self.core is not None
