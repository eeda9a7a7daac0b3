"""Whose payments wait at whom, for plays about fairness: the real pool and the real count of unfair blocks at each member.

A leader takes what its pool gives it, unless it is a censor, which serves one bank only. Whoever counts is not the engine
(`node.core.fairness`); what the engine makes of it is what a play shows.
"""

from dataclasses import dataclass, field

from tallystick.consensus.api import Block, Engine, Event
from tallystick.network.wire.ids import BodyId, Link, NodeId
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.fairness import Fairness
from tallystick.node.core.mempool import Mempool, Waiting
from tests.unit.core.test_fairness import bodies

ROOM, WORK = 10, 1_000
"""Of a block: what a play hands in fits."""


@dataclass
class Pools:
    members: tuple[NodeId, ...]
    censors: dict[NodeId, int] = field(default_factory=dict)
    """Leader → the only bank that it serves."""
    contents: dict[Link, list[CheckedBody]] = field(default_factory=dict)
    _pools: dict[NodeId, Mempool] = field(default_factory=dict)
    _counts: dict[NodeId, Fairness] = field(default_factory=dict)
    _banks: dict[BodyId, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pools = {node: Mempool(node) for node in self.members}
        self._counts = {node: Fairness(pool, ROOM, WORK) for node, pool in self._pools.items()}

    @property
    def used(self) -> bool:
        """Other plays count transactions, and no bank has any."""
        return bool(self._banks)

    def wait(self, nodes: list[NodeId], bank: int) -> None:
        """One more payment of this bank waits at these members."""
        (body,) = bodies(1)
        self._banks[body.body_id] = bank
        for node in nodes:
            self._pools[node].add(Waiting(body, bank, nodes[0], b""))

    def sent_on(self, node: NodeId) -> None:
        self._counts[node].sent_on(self._pools[node].arrived)

    def ready(self, node: NodeId) -> int:
        """How many a leader would take, a censor of its one bank only."""
        only, pool = self.censors.get(node), self._pools[node]
        return sum(each in pool and only in (None, bank) for each, bank in self._banks.items())

    def take(self, node: NodeId, block: Block) -> list[int]:
        """What this leader puts into its block; the banks that it serves."""
        only, pool = self.censors.get(node), self._pools[node]
        if only is not None:
            pool.claim([each for each, bank in self._banks.items() if bank != only])
        taken = self.contents[block.link] = pool.take(ROOM, WORK)
        return sorted({self._banks[body.body_id] for body in taken})

    def final(self, node: NodeId, link: Link, engine: Engine) -> Event | None:
        """What is final leaves the pool, and is counted as a replica counts it; a censor does not count."""
        taken, fair = self.contents.get(link, []), self._counts[node]
        served = fair.served_by(taken)
        self._pools[node].remove([body.body_id for body in taken])
        if served is None or node in self.censors:
            return None
        return fair.passed_over(served, engine)

    def view_entered(self, node: NodeId) -> None:
        self._counts[node].view_entered()
        self._pools[node].put_back()
