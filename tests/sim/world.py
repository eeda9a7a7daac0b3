"""The kernel's world and everything that may go wrong in it: what the nemesis does to processes, disks, clocks and cuts."""

from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.ids import NodeId
from tallystick.node.core import schema
from tallystick.node.core.events import PeerDown, PeerUp
from tallystick.node.core.replica import Replica
from tests.sim.checkers import Violation
from tests.sim.crypto import Signer
from tests.sim.disk import Copy, SimStore
from tests.sim.hosts import OBSERVER, Host
from tests.sim.kernel import Kernel, MakeReplica
from tests.sim.net import Pair
from tests.sim.plan import FAIR, SET_BACK, Plan

__all__ = ["OBSERVER", "Host", "MakeReplica", "World"]


class World(Kernel):
    """A world that breaks."""

    def __init__(self, plan: Plan, make_replica: MakeReplica = Replica) -> None:
        super().__init__(plan, make_replica)
        self.refusals = 0
        """How often a node was started with an older database."""
        self._backups: dict[str, Copy] = {}

    @property
    def host_names(self) -> list[str]:
        return [host.name for host in self.hosts]

    @property
    def nodes(self) -> list[int]:
        return sorted(self.by_node)

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def arm_crash(self, name: str, point: str, back_after_ms: int, tear_at: float = 0.5) -> None:
        host = self.host(name)
        if point == "now" or host.node == OBSERVER:
            return self.crash(host, back_after_ms)
        host.down_for_ms = back_after_ms
        host.disk.crash_point, host.disk.tear_at = point, tear_at
        return None

    def pause(self, name: str, for_ms: int) -> None:
        """SIGSTOP: events queue up and are all heard at the end."""
        host = self.host(name)
        if host.up and self.now_ms >= host.paused_until_ms:
            host.paused_until_ms = self.now_ms + for_ms
            life = host.life
            self.at(for_ms, lambda: self._resume(host, life))

    def _resume(self, host: Host, life: int) -> None:
        if host.life != life:
            return
        host.paused_until_ms = 0
        backlog, host.backlog = host.backlog, []
        for event in backlog:
            self.tell(host, 0, event)

    def cut(self, pairs: set[Pair], noticed: bool, for_ms: int) -> None:
        fresh = pairs - self.net.cut
        self.net.cut |= fresh
        if self.story is not None:
            self.story.append(f"{self.now_ms:6} {'':12} -- cut {sorted(fresh)} for {for_ms}")
        for sender, to in sorted(fresh) if noticed else ():
            for host in self.by_node[to]:
                self._link(host, 100, PeerDown(NodeId(sender)))
            self._told_down.add((to, sender))
        self.at(for_ms, lambda: self._join(fresh))

    def _join(self, pairs: set[Pair]) -> None:
        self.net.cut -= pairs
        for sender, to in sorted(pairs):
            if (to, sender) in self._told_down:
                self._told_down.discard((to, sender))
                for host in self.by_node[to]:
                    if any(peer.up for peer in self.by_node[sender]):
                        self._link(host, 1 + self.draw.randrange(50), PeerUp(NodeId(sender)))

    def slow_disk(self, name: str, factor: int, for_ms: int) -> None:
        host = self.host(name)
        host.disk_factor = factor

        def fast() -> None:
            host.disk_factor = 1

        self.at(for_ms, fast)

    def clock_jump(self, name: str, by_ms: int) -> None:
        host = self.host(name)
        if host.honest:
            limit_ms = self.plan.parameters.precision_ms // 2
            offset_ms = host.clock.offset_ms
            least_ms = -limit_ms - offset_ms if by_ms < 0 else 0
            host.clock.jump(max(least_ms, min(by_ms, limit_ms - offset_ms)))

    def swizzle(self, order: list[int], noticed: bool, step_ms: int, hold_ms: int) -> None:
        """Cut nodes off one after the other, hold, then let them back in the opposite order."""
        whole_ms = (len(order) - 1) * step_ms + hold_ms
        for number, node in enumerate(order):
            for_ms = whole_ms + (len(order) - 1 - 2 * number) * step_ms

            def isolate(node: int = node, for_ms: int = for_ms) -> None:
                if not self.healed:
                    self.cut(self.net.isolate(node, self.nodes), noticed, max(1, for_ms))

            self.at(number * step_ms, isolate)

    # -- disks ---------------------------------------------------------------------------------------------------------

    def fail_read(self, name: str, back_after_ms: int) -> None:
        """The next read raises, and the node halts. A restart finds a disk that can be read."""
        host = self.host(name)
        host.down_for_ms, host.disk.read_fails = back_after_ms, True

    def fail_write(self, name: str, kept: bool, back_after_ms: int) -> None:
        """The next write raises, and the node halts. It may have written all the same."""
        host = self.host(name)
        host.down_for_ms, host.disk.write_fails = back_after_ms, "kept" if kept else "lost"

    def fill_disk(self, name: str, for_ms: int, back_after_ms: int) -> None:
        """No space for a while: the node halts, and whenever it is started before there is space, it halts again."""
        host = self.host(name)
        host.down_for_ms, host.disk.full = max(20, back_after_ms), True

        def empty() -> None:
            host.disk.full = False

        self.at(for_ms, empty)

    def roll_back_disk(self, name: str, after_ms: int) -> None:
        """Somebody starts the node with a copy of its database from before. If it has signed since, the guard tells, and it
        must refuse (I5); then it gets its own disk back. Not the observer, which signs nothing and has no guard."""
        host = self.host(name)
        copy = host.disk.copy()

        def swap() -> None:
            if self.healed or not host.up or not host.honest or host.node == OBSERVER:
                return
            self.crash(host, 50)
            if _sequence(host.disk.guard.read()) > _sequence(copy.database.get(schema.GUARD)):
                self.refusals += 1
                self._must_refuse(host, copy)

        self.at(after_ms, swap)

    def _must_refuse(self, host: Host, copy: Copy) -> None:
        store, now_ms = SimStore(copy.database), host.clock.read(self.now_ms)
        signer, guard = Signer(host.node, self.keys), host.disk.guard
        try:
            self.make_replica(self.genesis, store, signer, guard, now_ms, self.keys.verify)
        except OperationalError:
            return
        raise Violation("I5", f"{host.name} starts from a database older than its guard")

    def set_machine_back(self) -> None:
        """The members that the plan names come back from a backup of the whole machine: database and guard together. They
        ask their peers before they sign, and halt; the operator, who learns nothing, sets them back again."""
        for host in self.hosts:
            if self.plan.hostile.get(host.node) == SET_BACK and not self.healed:
                copy = self._backups.get(host.name)
                self._backups[host.name] = host.disk.copy()
                if copy is not None:
                    self.crash(host, None)
                    host.disk.restore(copy)
                    self.start(host)
                    self.set_back.restored(host, copy.guard, self.hosts)

    def wipe(self, host: Host, back_after_ms: int) -> None:
        """It comes back with an empty disk. Only for who has never signed anything, which is not checked here."""
        self.crash(host, back_after_ms)
        host.disk.restore(Copy({}, None))
        host.durable = (0, b"")

    def haunt(self, sender: NodeId, frame: bytes) -> None:
        """A frame of somebody who takes no part any more reaches everybody else."""
        for peer in self.numbers:
            if peer != sender:
                self._post(sender, peer, frame)

    def lose(self, host: Host) -> None:
        """The machine is gone for ever."""
        self.crash(host, None)
        host.lost, host.honest = True, False

    # -- the end of all faults -----------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Faults stop: everybody is up and hears everybody."""
        self.healed = True
        self.net.weather = FAIR
        self._join(set(self.net.cut))
        for host in self.hosts:
            host.disk_factor = 1
            host.disk.heal()
            if not host.up and host.honest:
                self.start(host)
            elif self.now_ms < host.paused_until_ms:
                self._resume(host, host.life)
        for a in self.hosts:
            for b in self.hosts:
                if a.node < b.node and a.up and b.up:
                    self._connect(a, b)


def _sequence(record: bytes | None) -> int:
    return GUARD_RECORD.decode(record).sequence if record is not None else 0
