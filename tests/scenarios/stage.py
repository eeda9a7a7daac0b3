"""Engine cores on a stage: `consensus.api` alone, for both engines, with disks, wires, a small ledger each, and a witness.

Every step of an engine is durable at once, unless its member's disk is slow: then steps wait for `sync`, and a crash loses what
did not come to it. A message waits on its wire until a play delivers or drops it. Members on the stage are held to the
specification (`tests/spec`) with every statement, and to agreement with every final block.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

from tallystick.consensus.api import (
    Alarm,
    Behind,
    Block,
    BlockMade,
    CaughtUp,
    Effect,
    Engine,
    Event,
    Final,
    Heard,
    HoldBlock,
    Judge,
    Judged,
    KeepBlock,
    KeepGuard,
    KeepRecord,
    MakeBlock,
    Note,
    PeerDown,
    PeerUp,
    Restored,
    Say,
    Setup,
    Tick,
    Timing,
    Verdict,
    ViewEntered,
)
from tallystick.consensus.pbft import Pbft
from tallystick.consensus.pbft.messages import MESSAGE, AskSigned, ShowSigned
from tallystick.consensus.raft import Raft, jitter_of
from tallystick.consensus.raft.state import Tuning
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId
from tests.scenarios.members import Member
from tests.scenarios.pools import Pools
from tests.spec import pbft_witness, raft_witness
from tests.unit.consensus.table import CHAIN, GENESIS, Keys, describe, keys_of, make_block
from tests.unit.raft.owner import Broken, Disk, Step, Wire, hold

TIMING = Timing(view_timeout_ms=100, view_timeout_ms_max=800, idle_block_ms=5_000)
ROUNDS_MAX = 300
"""Messages that beget messages for longer than this never end."""

Answer = Verdict | None


class Stage:
    """`engine`: pbft or raft. `liars`: members that a play speaks for; no engine runs for them.

    Who starts hears at once what its key has signed, and no play says so, unless it `asks_openly`.
    """

    def __init__(
        self,
        engine: str,
        members: int = 4,
        *,
        pipeline: int = 2,
        liars: frozenset[int] = frozenset(),
        entries_per_append: int = 8,
        seed: int = 0,
        timing: Timing = TIMING,
        asks_openly: bool = False,
    ) -> None:
        self.kind, self.pipeline, self.timing, self.seed = engine, pipeline, timing, seed
        self.tuning = Tuning(entries_per_append)
        self.ids = tuple(NodeId(node) for node in range(members))
        self.now_ms, self.lives, self.made = 0, 0, 0
        self.wires: list[Wire] = []
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.names: dict[Link, str] = {GENESIS: "genesis"}
        self.known: dict[Link, Block] = {}
        self.settled: dict[int, Link] = {}
        self.fetches = True
        self.verdict: Callable[[NodeId, Judge], Answer] = lambda _, __: Verdict.ACCEPT
        self.on_sent: Callable[[NodeId, NodeId | None, bytes], None] = lambda *_: None
        self.asks_openly = asks_openly
        self.asked: list[Wire] = []
        self.copies: dict[NodeId, Disk] = {}
        self.on_told: Callable[[NodeId, str], None] = lambda *_: None
        self.liars = frozenset(NodeId(node) for node in liars)
        self.pools = Pools(self.honest)
        self.witness: pbft_witness.Witness | raft_witness.Witness
        if engine == "pbft":
            self.witness = pbft_witness.Witness(members, GENESIS, describe, self.liars)
        else:
            self.witness = raft_witness.Witness(members, describe)
        self.members = {node: self._start(node, Disk()) for node in self.honest}
        for node in self.honest:
            self._connect(node)

    @property
    def honest(self) -> tuple[NodeId, ...]:
        return tuple([node for node in self.ids if node not in self.liars])

    # -- processes -----------------------------------------------------------------------------------------------------

    def _start(self, node: NodeId, disk: Disk) -> Member:
        final = list(disk.final)
        blocks = [block for block in disk.kept.values() if block.height >= len(final)]
        restored = Restored(
            disk.record,
            disk.guard,
            disk.certificate,
            Height(len(final)),
            final[-1].link if final else GENESIS,
            blocks,
        )
        setup = Setup(
            node,
            keys_of(len(self.ids)),
            CHAIN,
            0,
            Epoch(0),
            GENESIS,
            self.pipeline,
            10,
            self.timing,
            describe,
        )
        self.lives += 1
        engine: Engine
        if self.kind == "pbft":
            engine = Pbft(setup, Keys(node), restored, self.now_ms)
        else:
            jitter = jitter_of(b"%d %d %d" % (self.seed, node, self.lives))
            engine = Raft(setup, Keys(node), restored, jitter, self.now_ms, self.tuning)
        held = {block.link: block for block in blocks}
        return Member(node, engine, disk, final, disk.certificate, held)

    def _connect(self, node: NodeId) -> None:
        for other in self.ids:
            if other != node and self._alive(other) and (node, other) not in self.cut:
                self.feed(node, PeerUp(other))

    def _alive(self, node: NodeId) -> bool:
        return node in self.liars or self.members[node].up

    def crash(self, node: int, synced: int = 0) -> None:
        """Power is lost after `synced` waiting steps became durable, and before their promises left."""
        member = self.members[NodeId(node)]
        for step in member.steps[:synced]:
            self._write(member, step)
        member.steps.clear()
        member.up = False
        self.wires = [wire for wire in self.wires if wire.to != node]
        for other in self.honest:
            if self.members[other].up:
                self.feed(other, PeerDown(member.node))

    def restart(self, node: int) -> None:
        dead = self.members[NodeId(node)]
        hold(not dead.up, "only who is down can restart")
        self.members[dead.node] = self._start(dead.node, dead.disk)
        self._connect(dead.node)
        for other in self.honest:
            if other != node and self.members[other].up and (other, dead.node) not in self.cut:
                self.feed(other, PeerUp(dead.node))

    def snapshot(self, node: int) -> None:
        """A copy of the whole machine: database and guard."""
        disk = self.members[NodeId(node)].disk
        self.copies[NodeId(node)] = replace(disk, kept=dict(disk.kept), final=list(disk.final))

    def roll_back(self, node: int) -> None:
        member = self.members[NodeId(node)]
        hold(not member.up, "a machine is set back while it is down")
        member.disk = self.copies[member.node]

    # -- one step ------------------------------------------------------------------------------------------------------

    def feed(self, node: int, event: Event) -> None:
        """One event through one engine and its ledger."""
        self._feed(node, event)
        while self.asked:
            wire = self.asked.pop(0)
            if wire.to in self.members and (wire.sender, wire.to) not in self.cut:
                self._feed(wire.to, Heard(wire.sender, wire.data))

    def _feed(self, node: int, event: Event) -> None:
        member, step = self.members[NodeId(node)], Step()
        if not member.up:
            return
        self._handle(member, event, step)
        if self.fetches and member.behind is not None:
            self._fetch(member, step)
        if not step.empty:
            member.steps.append(step)
        if not member.slow:
            self.sync(node)

    def _handle(self, member: Member, event: Event, step: Step) -> None:
        events = [event]
        while events:
            for effect in member.engine.handle(events.pop(0), self.now_ms):
                answer = self._one(member, effect, step)
                if answer is not None:
                    events.append(answer)

    def _one(self, member: Member, effect: Effect, step: Step) -> Event | None:
        match effect:
            case Say():
                if effect.promise:
                    step.promises.append(effect)
                else:
                    self._post(member.node, effect.to, effect.message)
            case KeepRecord(record):
                step.record = record
            case KeepGuard(record):
                step.guard = record
            case KeepBlock(block):
                member.held[block.link] = self.known[block.link] = block
                step.kept.append(block)
            case HoldBlock(block):
                member.held[block.link] = block
            case MakeBlock():
                return self._make(member, effect)
            case Judge():
                return self._judge(member, effect)
            case Final(block, certificate):
                return self._final(member, block, certificate, step)
            case Behind(certificate):
                if member.behind is None or certificate.height > member.behind.height:
                    member.behind = certificate
            case Alarm(sentence, halt):
                member.alarms.append(sentence)
                self.on_told(member.node, f"{'halts' if halt else 'alarm'}: {sentence}")
            case ViewEntered():
                member.parked.clear()
                self.pools.view_entered(member.node)
                return member.waiting
            case Note(name, facts):
                self._noted(member.node, name, dict(facts))
            case _:
                pass
        return None

    def _make(self, member: Member, wish: MakeBlock) -> BlockMade:
        hold(member.stands_on(wish.parent_link), f"{member.node} extends what it did not execute")
        self.made += 1
        block = self.name(wish.height, wish.parent_link, f"b{self.made}")
        member.held[block.link] = block
        member.executed.add(block.link)
        taken = 0 if wish.empty else member.pool
        member.pool -= taken
        if taken and self.pools.used:
            for bank in self.pools.take(member.node, block):
                self.on_told(member.node, f"serves bank {bank}")
        return BlockMade(wish.parent_link, block, taken)

    def name(self, height: int, parent: Link, name: str) -> Block:
        block = make_block(height, parent, name)
        self.names[block.link], self.known[block.link] = name, block
        return block

    def _judge(self, member: Member, judge: Judge) -> Judged | None:
        member.held[judge.block.link] = judge.block
        member.judged.append(judge)
        verdict = self.verdict(member.node, judge)
        if self.kind == "pbft" and not self._stands_on(member, judge.block.parent_link):
            verdict = None  # as a replica does: the ancestors are asked for, and the answer waits
        if verdict is None:
            member.parked.append(judge)
            return None
        return self._answer(member, judge, verdict)

    def _stands_on(self, member: Member, link: Link) -> bool:
        at = self.known.get(link)
        while self.fetches and at is not None and at.height > len(member.final):
            member.held.setdefault(at.link, at)
            at = self.known.get(at.parent_link)
        return member.stands_on(link)

    def _answer(self, member: Member, judge: Judge, verdict: Verdict) -> Judged:
        link = judge.block.link
        if verdict is Verdict.ACCEPT:
            hold(member.stands_on(link), f"{member.node} is asked to judge before the parent")
            return Judged(judge.view, link, verdict, link)
        return Judged(judge.view, link, verdict, Link(bytes(32)))

    def answer(self, node: int, verdict: Verdict = Verdict.ACCEPT) -> None:
        """Answer what is parked."""
        member = self.members[NodeId(node)]
        parked, member.parked = member.parked, []
        for judge in parked:
            if judge.block.height > len(member.final) and member.stands_on(judge.block.parent_link):
                self.feed(node, self._answer(member, judge, verdict))

    def _noted(self, node: NodeId, name: str, facts: dict[str, object]) -> None:
        if name in {"guard-refused", "equivocation", "double-vote", "leader", "truncate"} or (
            name.startswith(("forged", "bad"))
            or name in {"gives-up", "stepped-down", "declined", "unfair"}
        ):
            shown = [f"{key}={value}" for key, value in facts.items() if key != "link"]
            self.on_told(node, " ".join([name, *shown]))

    # -- the ledger ----------------------------------------------------------------------------------------------------

    def _final(
        self, member: Member, block: Block, certificate: Certificate, step: Step
    ) -> Event | None:
        """What the engine hears of it: that its leader passes over what waits, where a play has payments of banks."""
        hold(block.parent_link == member.link, f"final at {member.node} before its parent")
        hold(block.link in member.executed, f"final at {member.node} before it was executed")
        known = self.settled.setdefault(block.height, block.link)
        hold(known == block.link, f"two blocks are final at height {block.height}")
        member.final.append(block)
        member.certificate = step.certificate = certificate
        step.final.append(block)
        self.on_told(member.node, f"final height={block.height} {self.names[block.link]}")
        if not self.pools.used:
            return None
        heard = self.pools.final(member.node, block.link, member.engine)
        member.pool = self.pools.ready(member.node)
        return heard

    def fetch(self, node: int) -> None:
        """Blocks up to the certificate that showed a member that it is behind, from whoever has them."""
        member, step = self.members[NodeId(node)], Step()
        self._fetch(member, step)
        if not step.empty:
            member.steps.append(step)
        if not member.slow:
            self.sync(node)

    def _fetch(self, member: Member, step: Step) -> None:
        target, member.behind = member.behind, None
        if target is None or target.height <= len(member.final):
            return
        path: list[Block] = []
        link = target.link
        while link != member.link:
            block = self.known.get(link)
            if block is None or block.height <= len(member.final):
                return
            path.append(block)
            link = block.parent_link
        for block in reversed(path):
            member.held[block.link] = block
            member.executed.add(block.link)
            self._final(member, block, target, step)
        self._handle(member, CaughtUp(target), step)

    # -- disk and wires ------------------------------------------------------------------------------------------------

    def _write(self, member: Member, step: Step) -> None:
        disk = member.disk
        disk.record, disk.guard = step.record or disk.record, step.guard or disk.guard
        disk.kept.update((block.link, block) for block in step.kept)
        disk.final.extend(step.final)
        disk.certificate = step.certificate or disk.certificate
        for say in step.promises:
            self._witnessed(member.node, say.to, say.message)

    def _witnessed(self, sender: NodeId, to: NodeId | None, data: bytes) -> None:
        if isinstance(self.witness, raft_witness.Witness):
            self.witness.said(sender, data, to)
        else:
            self.witness.said(sender, data)

    def sync(self, node: int, steps: int | None = None) -> None:
        """Steps become durable in order; their promises leave, and come back to their own engine."""
        member = self.members[NodeId(node)]
        for _ in range(len(member.steps) if steps is None else steps):
            if not member.steps or not member.up:
                return
            step = member.steps.pop(0)
            self._write(member, step)
            for say in step.promises:
                if say.to != member.node:
                    self._send(member.node, say.to, say.message)
            for say in step.promises:
                self.feed(node, Heard(member.node, say.message))

    def _post(self, sender: NodeId, to: NodeId | None, data: bytes) -> None:
        asks = self.kind == "pbft" and isinstance(MESSAGE.decode(data), AskSigned | ShowSigned)
        if asks and to is not None and not self.asks_openly:
            self.asked.append(Wire(sender, to, data))
            return
        self._witnessed(sender, to, data)
        self._send(sender, to, data)

    def _send(self, sender: NodeId, to: NodeId | None, data: bytes) -> None:
        self.on_sent(sender, to, data)
        for other in self.ids if to is None else (to,):
            if other != sender and self._alive(other) and (sender, other) not in self.cut:
                self.wires.append(Wire(sender, other, data))

    def lie(self, sender: int, to: int, data: bytes) -> None:
        """A message that a play puts into a liar's mouth."""
        self._witnessed(NodeId(sender), None, data)
        self._send(NodeId(sender), NodeId(to), data)

    def deliver(self, wire: Wire, keep: bool = False) -> None:
        if not keep:
            self.wires.remove(wire)
        if wire.to in self.members and (wire.sender, wire.to) not in self.cut:
            self.feed(wire.to, Heard(wire.sender, wire.data))

    def separate(self, pairs: Collection[tuple[int, int]]) -> None:
        """Exactly these directed links are cut. Whoever loses a connection hears of it."""
        before = self.cut
        self.cut = {(NodeId(a), NodeId(b)) for a, b in pairs}
        self.wires = [wire for wire in self.wires if (wire.sender, wire.to) not in self.cut]
        for a in self.honest:
            for b in self.ids:
                if a == b or not self.members[a].up or not self._alive(b):
                    continue
                was = (a, b) in before or (b, a) in before
                now = (a, b) in self.cut or (b, a) in self.cut
                if now != was:
                    self.feed(a, PeerDown(b) if now else PeerUp(b))

    # -- time and work -------------------------------------------------------------------------------------------------

    def tick(self, advance_ms: int = 0) -> None:
        """Time passes; whoever's deadline has come hears a tick."""
        self.now_ms += advance_ms
        for node in self.honest:
            member = self.members[node]
            if member.up and member.engine.deadline_ms <= self.now_ms:
                self.feed(node, Tick())

    def wake(self, node: int) -> None:
        """Time passes until this member's next deadline; nobody else notices."""
        member = self.members[NodeId(node)]
        self.now_ms = max(self.now_ms, member.engine.deadline_ms)
        self.feed(node, Tick())

    def work(self, node: int, transactions: int = 1) -> None:
        member = self.members[NodeId(node)]
        member.pool += transactions
        self.feed(node, member.waiting)

    def pay(self, nodes: list[NodeId], bank: int) -> None:
        """A payment of this bank waits at these members."""
        self.pools.wait(nodes, bank)
        for node in nodes:
            self.members[node].pool = self.pools.ready(node)
            self.feed(node, self.members[node].waiting)

    def heights(self) -> list[int]:
        return [len(self.members[node].final) for node in self.honest]


__all__ = ["ROUNDS_MAX", "TIMING", "Answer", "Broken", "Member", "Stage", "Wire", "hold"]
