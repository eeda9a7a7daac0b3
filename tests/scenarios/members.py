"""Who stands on the stage: a member's engine, and a small ledger of what it executed. Its disk is that of Raft's own plays."""

from dataclasses import dataclass, field

from tallystick.consensus.api import Block, Engine, Judge, WorkWaiting
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.ids import Link, NodeId
from tests.unit.consensus.table import GENESIS
from tests.unit.raft.owner import Disk, Step


@dataclass(slots=True)
class Member:
    node: NodeId
    engine: Engine
    disk: Disk
    final: list[Block]
    certificate: Certificate | None = None
    held: dict[Link, Block] = field(default_factory=dict)
    executed: set[Link] = field(default_factory=set)
    parked: list[Judge] = field(default_factory=list)
    behind: Certificate | None = None
    steps: list[Step] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    judged: list[Judge] = field(default_factory=list)
    pool: int = 0
    up: bool = True
    slow: bool = False

    @property
    def link(self) -> Link:
        return self.final[-1].link if self.final else GENESIS

    @property
    def waiting(self) -> WorkWaiting:
        """Every block that is not final counts as one transaction that is not."""
        height = len(self.final)
        open_blocks = sum(block.height > height for block in self.held.values())
        return WorkWaiting(self.pool, self.pool + open_blocks, self.pool)

    def stands_on(self, link: Link) -> bool:
        """Execute a held block and its ancestors, if all are here."""
        if link == self.link or link in self.executed:
            return True
        block = self.held.get(link)
        if block is None or block.height <= len(self.final):
            return False
        if not self.stands_on(block.parent_link):
            return False
        self.executed.add(link)
        return True
