"""A machine that was set back, guard and database together, signs nothing new while enough peers know better (P17).

Held exactly to what the rollback check promises: if at the restore so many honest peers held a statement of its key above the
restored guard that any q − 1 answers contain one of theirs, and they have run ever since, nothing new leaves its network card.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tallystick.consensus.accountability.guard import GUARD_RECORD, Guard
from tallystick.consensus.pbft import Pbft
from tallystick.consensus.pbft.messages import MESSAGE, epoch_of
from tallystick.consensus.pbft.rollback_check import guard_link, held
from tallystick.network.proofs.certificates import quorum_of
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import Height, NodeId, View
from tallystick.node.core.replica import Replica
from tests.sim.checkers import hold
from tests.sim.checkers.epochs import Epochs
from tests.sim.checkers.votes import NAMES, statement_of
from tests.sim.hosts import Host


@dataclass(frozen=True, slots=True)
class Restore:
    life: int
    guard: bytes | None
    holders: dict[str, tuple[int, int]]
    """Honest hosts that held something above the guard: the life in which they did, and the epoch it was in."""


@dataclass(slots=True)
class SetBack:
    epochs: Epochs
    restores: dict[str, Restore] = field(default_factory=dict)
    binding: int = 0
    """Restores after which enough peers knew better."""

    def enough(self, epoch: int) -> int:
        """Holders of whom any q − 1 of the others contain one."""
        members = len(self.epochs.ids(epoch))
        return members - quorum_of(members) + 1

    def restored(self, host: Host, guard: bytes | None, hosts: list[Host]) -> None:
        """`host` has just begun with an older guard; `hosts`: all of the world's."""
        holders = {
            other.name: (other.life, epoch)
            for other in hosts
            if other.honest and other.node != host.node
            for epoch in _knows_better(other, host.node, guard)
        }
        self.restores[host.name] = Restore(host.life, guard, holders)
        self.binding += len(holders) >= self.enough(self.epochs.epoch)

    def leaves(self, host: Host, frame: bytes, lives: Mapping[str, int]) -> None:
        """A frame of such a host is put on the wire. `lives`: of every host, now."""
        restore = self.restores.get(host.name)
        if restore is None or restore.life != host.life or frame[0] != Channel.CONSENSUS:
            return
        epoch = epoch_of(MESSAGE.decode(frame[1:]))
        if epoch is None or epoch > self.epochs.epoch:
            return
        said = statement_of(host.node, frame[1:], self.epochs.ids(epoch))
        if said is None:
            return
        if Guard(epoch, restore.guard).remembers(
            said.kind, View(said.view), Height(said.height), said.link
        ):
            return  # said again
        alive = [name for name, (life, of) in restore.holders.items() if lives[name] == life and of == epoch]  # fmt: skip
        what = f"{host.name} was set back and signs {NAMES[said.kind]} in view {said.view}, though {alive} know better"
        hold(len(alive) < self.enough(epoch), "I5", what)


def _knows_better(other: Host, signer: NodeId, guard: bytes | None) -> list[int]:
    """The epoch in which this host holds something of the signer that its guard does not know; or nothing."""
    engine = other.core._engine if isinstance(other.core, Replica) else None
    if not isinstance(engine, Pbft):
        return []
    state = engine._state
    if guard is not None and GUARD_RECORD.decode(guard).epoch > state.setup.epoch:
        return []  # it has not come so far, and knows nothing of that epoch
    remembered = Guard(state.setup.epoch, guard)
    above = [
        each
        for each in held(state, signer)
        if not remembered.remembers(each.kind, each.view, each.height, guard_link(state, each))
    ]
    return [state.setup.epoch] if above else []
