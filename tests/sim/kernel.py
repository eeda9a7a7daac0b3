"""The kernel: one heap of virtual milliseconds, and the same `Replica` that runs in production in every host.

Bytes cross the simulated network encoded. A host is a core, a disk, a clock and a network card; the driver's rules are here in
small: persist, then release, in order; a `Tick` at the core's deadline; checks of bodies answered in any order. The run's
trace digest covers every event and every frame, so two runs of one seed can be compared.
"""

from collections.abc import Callable
from hashlib import blake2b
from random import Random

from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.effects import (
    Answer,
    CheckBodies,
    Effects,
    Halt,
    Hearsay,
    Outgoing,
    Promise,
    Readable,
    Reply,
    TraceEvent,
)
from tallystick.node.core.events import (
    BodiesChecked,
    ClientGone,
    Event,
    PeerDown,
    PeerFrame,
    PeerUp,
    Persisted,
    ReadAtQuorum,
    Submit,
    Tick,
    Wait,
)
from tallystick.node.core.follower import Follower
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.ports import GuardRecord, Store, VerifyVote, VoteSigner
from tallystick.node.core.replica import Replica
from tests.sim.checkers import Violation, hold
from tests.sim.checkers.ballots import Ballots
from tests.sim.checkers.chain import Chain
from tests.sim.checkers.clients import Clients, Holders
from tests.sim.checkers.epochs import BallotsByEpoch, Epochs, VotesByEpoch
from tests.sim.checkers.history import History
from tests.sim.checkers.set_back import SetBack
from tests.sim.checkers.votes import Votes
from tests.sim.clock import Clock
from tests.sim.crypto import Bodies, Signer, VoteKeys
from tests.sim.disk import Disk, PowerLost, Write
from tests.sim.hostile import Hostile
from tests.sim.hosts import OBSERVER, Host
from tests.sim.net import Net, Pair
from tests.sim.plan import Plan
from tests.sim.timeline import Timeline
from tests.sim.workload import genesis_of

SPIN_TICKS = 30
"""So many ticks in a row, each within three milliseconds, are a busy loop."""

MakeReplica = Callable[[Genesis, Store, VoteSigner, GuardRecord, int, VerifyVote], Replica]

BODIES = bytes([Channel.BODIES])

_ACCUSATIONS = frozenset({"peer-garbage", "equivocation", "double-vote", "bad-bodies", "convicted"})


class Kernel(Timeline):
    """Hosts, a network between them, and checkers over their shoulders."""

    def __init__(self, plan: Plan, make_replica: MakeReplica = Replica) -> None:
        super().__init__()
        self.plan = plan
        self.make_replica = make_replica
        nodes = (*range(plan.members), *plan.newcomers)
        self.keys = VoteKeys(nodes[-1] + 1, plan.real_keys)
        self.genesis = genesis_of(plan, self.keys)
        self.bodies = Bodies(BodyChecker(self.genesis))
        self.events = 0
        self.draw = Random(f"world/{plan.seed}")
        self.net = Net(Random(f"net/{plan.seed}"), plan.weather)
        self.trace = blake2b(digest_size=16)
        self.story: list[str] | None = None
        """Every trace event as a line, when somebody replays the seed."""
        self.on_reply: dict[int, Callable[[tuple[Answer, ...]], None]] = {}
        self.reading: dict[int, int] = {}
        """Token of a read that waits for a quorum → the greatest height that was known to a client when it began."""
        self.hostile: dict[int, Hostile] = {}
        self.epochs = Epochs(self.genesis, self.keys)
        self.votes = self._statements()
        self.set_back = SetBack(self.epochs)
        self.chain = Chain(self.epochs)
        chain_id = Ledger(self.genesis, Disk().store).chain
        self.clients = Clients(chain_id, self.keys, self.bodies, self.chain)
        self.history = History(self.chain.model)
        self.holders = Holders(self.bodies, self.chain.model)
        self.noted: dict[str, int] = {}
        self.halts = 0
        """How often a failing disk stopped its node."""
        self._told_down: set[Pair] = set()
        self._link_news: dict[tuple[str, NodeId], int] = {}
        self._side: dict[int, int] = {}
        self.healed = False
        self.hosts: list[Host] = []
        self.numbers: tuple[int, ...] = nodes
        """Who hears what is said to everybody; an observer asks instead."""
        self.on_frame: Callable[[Host, bytes], None] | None = None
        """Hears every frame that is put on the wire, when somebody waits for a certain one."""
        for node in nodes:
            self._add_member(node)
        if plan.observer:
            clock = Clock()
            self.hosts.append(Host("observer", NodeId(OBSERVER), True, clock))
        self.by_node: dict[int, list[Host]] = {}
        for host in self.hosts:
            self.by_node.setdefault(host.node, []).append(host)

    def _statements(self) -> Votes | Ballots | VotesByEpoch | BallotsByEpoch:
        """Who watches what leaves the network cards."""
        raft, members = self.plan.engine == "raft", self.plan.members
        if self.plan.changes or self.genesis.spares:
            return BallotsByEpoch(self.epochs) if raft else VotesByEpoch(self.epochs)
        return Ballots(members, self.plan.quorum) if raft else Votes(members)

    def _add_member(self, node: int) -> None:
        plan, nature = self.plan, self.plan.hostile.get(node)
        clock = Clock(plan.clock_offset_ms[node], plan.clock_drift_ppm[node])
        if nature == "wrong-clock-ahead":
            clock.offset_ms = self.draw.choice((2_000, 60_000, 315_360_000_000))
        elif nature == "wrong-clock-behind":
            clock.offset_ms = -self.draw.choice((2_000, 60_000))
        elif nature == "frozen-clock":
            clock.frozen_at_ms = 500
        self.hosts.append(Host(f"node-{node}", NodeId(node), nature is None, clock))
        if nature == "twins":
            twin = Clock(clock.offset_ms, clock.drift_ppm)
            self.hosts.append(Host(f"node-{node}-twin", NodeId(node), False, twin))

    # -- hosts ---------------------------------------------------------------------------------------------------------

    def start_all(self) -> None:
        late = {node for change in self.plan.changes if change.newcomer == "late" for node in change.ids}  # fmt: skip
        for host in self.hosts:
            if host.node not in late:
                self.start(host)

    def start(self, host: Host) -> None:
        """A process begins with what its disk has. Its peers hear of it soon."""
        if host.lost:
            return
        host.life += 1
        now_ms = host.clock.read(self.now_ms)
        disk = host.disk
        if host.node == OBSERVER:
            host.core = Follower(host.node, self.genesis, disk.store, now_ms, self.keys.verify)
        else:
            signer = Signer(host.node, self.keys)
            try:
                host.core = self.make_replica(
                    self.genesis, disk.store, signer, disk.guard, now_ms, self.keys.verify
                )
            except OperationalError as error:
                raise Violation("I5", f"{host.name} refuses to start: {error}") from error
        if host.honest:
            self.chain.restarted(host.name, host.core.ledger, host.durable)
            self.holders.restarted(host.name, host.node, disk.store, host.core.ledger)
            if host.node != OBSERVER:
                in_database = disk.store.get(schema.GUARD)
                self.votes.restarted(host.node, in_database)
        self.tell(host, 0, Tick())
        for other in self.hosts:
            if other.node != host.node and other.up:
                self._connect(host, other)

    def _connect(self, a: Host, b: Host) -> None:
        delay_ms = 1 + self.draw.randrange(5)
        for one, two in ((a, b), (b, a)):
            if (two.node, one.node) not in self.net.cut:
                self._told_down.discard((one.node, two.node))
                self._link(one, delay_ms, PeerUp(two.node))

    def _link(self, host: Host, delay_ms: int, news: PeerUp | PeerDown) -> None:
        """News of a connection, in the order in which they happened."""
        pair = (host.name, news.peer)
        at_ms = max(self.now_ms + delay_ms, self._link_news.get(pair, 0))
        self._link_news[pair] = at_ms
        self.tell(host, at_ms - self.now_ms, news)

    def tell(self, host: Host, delay_ms: int, event: Event) -> None:
        """The host hears an event after a delay, unless it has crashed by then."""
        life = host.life
        self.at(delay_ms, lambda: self._hear(host, life, event))

    def _hear(self, host: Host, life: int, event: Event) -> None:
        if host.life != life or host.core is None:
            return
        if self.now_ms < host.paused_until_ms:
            host.backlog.append(event)
            return
        self.step(host, event)

    def step(self, host: Host, event: Event) -> None:
        """One event through one core, then every checker."""
        core = host.core
        if core is None:
            return None
        self.events += 1
        self._mark(b"%d %s %s" % (self.now_ms, host.name.encode(), type(event).__name__.encode()))
        try:
            host.disk.store.unreadable = host.disk.read_fails
            effects = core.handle(event, host.clock.read(self.now_ms))
        except Exception as error:
            if isinstance(error, OperationalError) and host.disk.read_fails:
                return self._halts(host, error)
            if not host.honest:
                return self.crash(host, None)
            raise Violation(
                "crash", f"{host.name} raised {type(error).__name__}: {error}"
            ) from error
        finally:
            host.disk.store.unreadable = False
        if host.honest:
            self.chain.after_step(host.name, core.ledger)
            self._does_not_spin(host, event)
        self._carry_out(host, effects)
        return None

    def _does_not_spin(self, host: Host, event: Event) -> None:
        """A core that asks for one tick after the other, and does nothing with them, burns a processor."""
        if not isinstance(event, Tick):
            host.idle_ticks.clear()
            return
        host.idle_ticks.append(self.now_ms)
        if len(host.idle_ticks) > SPIN_TICKS:
            began_ms = host.idle_ticks.pop(0)
            hold(self.now_ms - began_ms > 3 * SPIN_TICKS, "I15", f"{host.name} ticks without rest")

    def _carry_out(self, host: Host, effects: Effects) -> None:
        for line in effects.trace:
            self._note(host, line)
        for outgoing in effects.immediate:
            self._release(host, outgoing)
        if effects.persist is not None:
            host.disk.hand_over(effects.persist, effects.after_persist)
            self._begin_write(host)
        else:
            hold(not effects.after_persist, "I5", f"{host.name} promised without a batch")
        if effects.deadline_ms is not None and host.core is not None:
            self._arm_tick(host, effects.deadline_ms)

    def _note(self, host: Host, line: TraceEvent) -> None:
        self.noted[line.name] = self.noted.get(line.name, 0) + 1
        if self.story is not None:
            facts = " ".join(f"{key}={_short(value)}" for key, value in line.facts.items())
            self.story.append(f"{self.now_ms:6} {host.name:12} {line.name} {facts}")
        if host.honest and line.name in _ACCUSATIONS:
            accused = line.facts.get("peer", line.facts.get("sender"))
            innocent = accused not in self.plan.hostile and accused != OBSERVER
            hold(
                not innocent,
                "I12",
                f"{host.name} accuses honest member {accused} of {line.name} {dict(line.facts)}",
            )
        if host.honest and line.name == "poison-block":
            raise Violation("I6", f"{host.name} could not execute a block: {dict(line.facts)}")

    def _arm_tick(self, host: Host, deadline_ms: int) -> None:
        at_ms = self.now_ms + host.clock.true_until(deadline_ms, self.now_ms)
        if host.tick_ms is not None and self.now_ms < host.tick_ms <= at_ms:
            return
        host.tick_ms = at_ms
        life = host.life
        self.at(at_ms - self.now_ms, lambda: self._tick(host, life, at_ms))

    def _tick(self, host: Host, life: int, at_ms: int) -> None:
        if host.life == life and host.tick_ms == at_ms:
            host.tick_ms = None
            self._hear(host, life, Tick())

    # -- disk ----------------------------------------------------------------------------------------------------------

    def _begin_write(self, host: Host) -> None:
        disk, life = host.disk, host.life
        if disk.writing or not disk.waiting:
            return
        disk.writing = True
        delay_ms = self.draw.randint(*self.plan.disk_ms) * host.disk_factor
        self.at(delay_ms, lambda: self._write(host, life))

    def _write(self, host: Host, life: int) -> None:
        if host.life != life or host.core is None:
            return None
        if self.now_ms < host.paused_until_ms:
            return self.at(host.paused_until_ms - self.now_ms, lambda: self._write(host, life))
        disk = host.disk
        together = self.draw.randint(1, len(disk.waiting))
        try:
            disk.write(together, lambda write: self._written(host, write))
        except PowerLost:
            return self.crash(host, host.down_for_ms)
        except OperationalError as error:
            return self._halts(host, error)
        disk.writing = False
        self._begin_write(host)
        return None

    def _halts(self, host: Host, error: OperationalError) -> None:
        """The disk failed: as in the driver, nothing is signed or sent any more, and the operator starts the node again."""
        self.halts += 1
        if self.story is not None:
            self.story.append(f"{self.now_ms:6} {host.name:12} -- halts: {error}")
        self.crash(host, host.down_for_ms)

    def _written(self, host: Host, write: Write) -> None:
        """The driver releases what waited for this batch, then tells the core."""
        final = write.batch.pairs.get(schema.FINAL)
        if final is not None:
            host.durable = (int.from_bytes(final[:8], "big"), final[8:40])
        if write.batch.guard is not None and host.honest:
            self.votes.written(host.node, write.batch.guard)
        for outgoing in write.after:
            self._release(host, outgoing)
        self.tell(host, 0, Persisted(write.batch.token))

    # -- what leaves ---------------------------------------------------------------------------------------------------

    def _release(self, host: Host, outgoing: Outgoing) -> None:
        match outgoing:
            case Promise(to, frame) | Hearsay(to, frame):
                self._send(host, to, frame)
            case CheckBodies(token, bodies):
                verdicts = tuple([self.bodies.check(raw) for raw in bodies])
                delay_ms = self.draw.randint(*self.plan.check_ms)
                self.tell(host, delay_ms, BodiesChecked(token, verdicts))
            case Reply(token, answers):
                self.clients.told(answers, host.honest)
                if host.honest:
                    self.history.heard(host.name, answers, self.next_count())
                waiting = self.on_reply.pop(token, None)
                if waiting is not None:
                    waiting(answers)
            case Readable(token):
                began_at = self.reading.pop(token, 0)
                if host.honest and host.core is not None:
                    self.history.readable(host.name, host.core.ledger.height, began_at)
            case Halt(sentence):
                hold(not host.honest, "halt", f"{host.name} halted: {sentence}")
                self.crash(host, None)

    def _send(self, host: Host, to: NodeId | None, frame: bytes) -> None:
        self._mark(frame)
        if self.on_frame is not None:
            self.on_frame(host, frame)
        if host.honest and host.node != OBSERVER:
            durable = host.disk.guard.read()
            self.votes.leaves(host.node, to, frame, durable, self.chain.links)
        if host.name in self.set_back.restores:
            self.set_back.leaves(host, frame, {other.name: other.life for other in self.hosts})
        if frame[0] == Channel.BODIES:
            self.holders.leaves(host.node, frame, host.honest)
        peers = [to] if to is not None else self.numbers
        for peer in peers:
            if peer == host.node or not self._same_side(host, peer):
                continue
            hostile = self.hostile.get(host.node)
            frames = [frame] if hostile is None else hostile.outgoing(peer, frame)
            for sent in frames:
                if hostile is not None and sent[:1] == BODIES and sent != frame:
                    self.holders.leaves(host.node, sent, honest=False)
                self._post(host.node, peer, sent)

    def _post(self, sender: NodeId, to: int, frame: bytes) -> None:
        for at_ms in self.net.arrivals(sender, to, self.now_ms):
            for target in self.by_node[to]:
                if target.up and self._same_side(target, sender):
                    self.tell(target, at_ms - self.now_ms, PeerFrame(sender, frame))

    def _same_side(self, host: Host, peer: int) -> bool:
        """A twin hears only its own side of the world."""
        twins = self.by_node[host.node]
        if len(twins) == 1:
            return True
        return twins[self._side.setdefault(peer, self.draw.randrange(2))] is host

    def shuffle_sides(self) -> None:
        """The wall between the twins moves."""
        self._side.clear()

    # -- clients -------------------------------------------------------------------------------------------------------

    def submit(
        self,
        host: Host,
        bodies: tuple[bytes, ...],
        wait: Wait,
        told: Callable[[tuple[Answer, ...]], None],
        patience_ms: int | None = None,
    ) -> None:
        """Hand in transactions at one node; `told` hears its answer, if there ever is one."""
        token = self.next_count()
        for raw in bodies:
            self.clients.raws[body_id(raw)] = raw
        self.history.sent(tuple([body_id(raw) for raw in bodies]), token)
        self.on_reply[token] = told
        self.tell(host, 0, Submit(token, bodies, wait))
        if patience_ms is not None:
            self.tell(host, patience_ms, ClientGone(token))

    def read_at_quorum(self, host: Host) -> None:
        """A reader asks an honest host for a read that misses nothing which anybody knew of."""
        token = self.next_count()
        self.reading[token] = self.history.greatest
        self.tell(host, 0, ReadAtQuorum(token))

    # -- the end of a process ----------------------------------------------------------------------------------------------

    def crash(self, host: Host, back_after_ms: int | None) -> None:
        """The process is gone, with all that was not durable. None: it does not come back by itself."""
        if not host.up:
            return
        host.core = None
        host.life += 1
        host.backlog.clear()
        host.tick_ms = None
        host.paused_until_ms = 0
        host.disk.crash()
        self._mark(b"crash " + host.name.encode())
        if self.story is not None:
            self.story.append(f"{self.now_ms:6} {host.name:12} -- crash")
        for other in self.hosts:
            if other.node != host.node and other.up and len(self.by_node[host.node]) == 1:
                self._link(other, self.draw.randrange(60), PeerDown(host.node))
        if back_after_ms is not None:
            self.at(back_after_ms, lambda: self.start(host) if not host.up else None)

    def _mark(self, what: bytes) -> None:
        self.trace.update(len(what).to_bytes(4, "big"))
        self.trace.update(what)

    @property
    def honest(self) -> list[Host]:
        """Hosts that keep to the protocol, the observer among them."""
        return [host for host in self.hosts if host.honest]


def _short(value: object) -> str:
    return value.hex()[:8] if isinstance(value, bytes) else str(value)
