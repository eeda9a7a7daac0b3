"""A Raft cluster in memory: real engines, encoded messages, disks that lose what was not synced, and checkers at every step.

A play moves it by hand (`deliver`, `sync`, `tick`, `crash`) or lets it run without faults (`settle`). Each engine has an
`owner` with a small ledger.
"""

from collections.abc import Collection, Iterator
from hashlib import blake2b, sha256
from itertools import count

from tallystick.consensus.api import (
    Alarm,
    Behind,
    Block,
    BlockMade,
    CaughtUp,
    Effect,
    EpochAhead,
    Event,
    Final,
    Heard,
    HoldBlock,
    IndexKnown,
    Judge,
    Judged,
    KeepBlock,
    KeepGuard,
    KeepRecord,
    MakeBlock,
    Note,
    PeerDown,
    PeerUp,
    ReadIndex,
    Restored,
    Say,
    Setup,
    Tick,
    Timing,
    Verdict,
    ViewEntered,
    WorkWaiting,
)
from tallystick.consensus.raft.core import Raft
from tallystick.consensus.raft.election_clock import jitter_of
from tallystick.consensus.raft.state import Tuning
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId
from tests.unit.raft.checks import Checks
from tests.unit.raft.owner import (
    CLOSING,
    GENESIS,
    KEYS,
    TIMING,
    Broken,
    Disk,
    FakeCrypto,
    Judgement,
    Member,
    Step,
    Wire,
    describe,
    epoch_after,
    hold,
    make,
    run_of,
)


class Cluster:
    """Members, the wires between them, and what has been true so far."""

    def __init__(
        self,
        members: int = 3,
        *,
        seed: int = 0,
        pipeline: int = 2,
        tuning: Tuning | None = None,
        timing: Timing = TIMING,
        closes: tuple[int, ...] = (),
    ) -> None:
        """Epoch e ends with its first block of transactions at height `closes[e]` or above."""
        self.closes = closes
        self.certificates: dict[Link, Certificate] = {}
        self.ids = tuple(NodeId(node) for node in range(members))
        self.seed, self.pipeline, self.timing = seed, pipeline, timing
        self.tuning = tuning or Tuning()
        self.now_ms = 0
        self.wires: list[Wire] = []
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.judgement: Judgement = lambda node, judge: Verdict.ACCEPT
        self.nonces = count(1)
        self.members: dict[NodeId, Member] = {}
        self.checks = Checks(self.members)
        self.trace = blake2b(digest_size=16)
        self.lives: Iterator[int] = count()
        for node in self.ids:
            self.members[node] = self._start(node, Disk())
        for node in self.ids:
            self._connect(node)

    # -- processes -----------------------------------------------------------------------------------------------------

    def _start(self, node: NodeId, disk: Disk) -> Member:
        final = list(disk.final)
        height, link = len(final), final[-1].link if final else GENESIS
        blocks = [block for block in disk.kept.values() if block.height > height]
        restored = Restored(disk.record, disk.guard, disk.certificate, Height(height), link, blocks)
        member = Member(node, self._engine(node, final, restored), disk, final, disk.certificate)
        member.held, member.epoch = {block.link: block for block in blocks}, epoch_after(final)
        return member

    def _engine(self, node: NodeId, final: list[Block], restored: Restored) -> Raft:
        setup = Setup(
            node,
            {member: KEYS[member] for member in self.ids},
            7,
            0,
            Epoch(epoch_after(final)),
            GENESIS,
            self.pipeline,
            10,
            self.timing,
            describe,
        )
        seed = b"%d %d %d" % (self.seed, node, next(self.lives))
        return Raft(
            setup,
            FakeCrypto(node),
            restored,
            jitter_of(seed),
            self.now_ms,
            self.tuning,
        )

    def _connect(self, node: NodeId) -> None:
        for other in self.ids:
            if other != node and self.members[other].up and (node, other) not in self.cut:
                self.feed(node, PeerUp(other))

    def crash(self, node: int, synced: int = 0) -> None:
        """Power is lost after `synced` more steps became durable, and before their promises left."""
        member = self.members[NodeId(node)]
        for step in member.steps[:synced]:
            self._write(member.disk, step)
        member.steps.clear()
        member.up = False
        self.wires = [wire for wire in self.wires if wire.to != node]
        for other in self.ids:
            if other != node and self.members[other].up:
                self.feed(other, PeerDown(NodeId(node)))

    def restart(self, node: int) -> None:
        dead = self.members[NodeId(node)]
        hold(not dead.up, "only who is down can restart")
        self.members[dead.node] = self._start(dead.node, dead.disk)
        self._connect(dead.node)
        for other in self.ids:
            if other != dead.node and self.members[other].up and (other, dead.node) not in self.cut:
                self.feed(other, PeerUp(dead.node))

    # -- one step ------------------------------------------------------------------------------------------------------

    def feed(self, node: int, event: Event) -> None:
        """One event through one engine and its ledger, then every checker."""
        member = self.members[NodeId(node)]
        self.trace.update(b"%d %d %s;" % (self.now_ms, node, type(event).__name__.encode()))
        step = Step()
        self._carry_out(member, member.engine.handle(event, self.now_ms), step)
        self._finish(member, step)

    def read(self, node: int) -> int:
        """A reader asks a member for the read index; the round, whose answer will be checked."""
        round_ = self.checks.read_asked()
        self.feed(node, ReadIndex(round_))
        return round_

    def _finish(self, member: Member, step: Step) -> None:
        self._try_locally(member, step)
        turns = member.epoch != epoch_after(member.final)
        if turns:
            self._turn_epoch(member, step)
        if not step.empty:
            member.steps.append(step)
        self.checks.step(member)
        if turns:
            self._connect(member.node)
            self.feed(member.node, Tick())

    def _turn_epoch(self, member: Member, step: Step) -> None:
        """The last block of an epoch is final: the next engine begins with nothing said but what the guard knows."""
        step.record, step.turns = None, True
        guards = [member.disk.guard, *(each.guard for each in member.steps), step.guard]
        guard = next((each for each in reversed(guards) if each is not None), None)
        told = Restored(None, guard, member.certificate, Height(member.height), member.link, ())
        member.engine = self._engine(member.node, member.final, told)
        member.epoch, member.behind, member.hint = epoch_after(member.final), None, None
        member.executed.clear()
        member.parked.clear()
        if member.pool:
            self._carry_out(member, member.engine.handle(WorkWaiting(member.pool, member.pool, member.pool), self.now_ms), step)  # fmt: skip

    def _carry_out(self, member: Member, effects: list[Effect], step: Step) -> None:
        events: list[Event] = []
        for effect in effects:
            answer = self._one(member, effect, step)
            if answer is not None:
                events.append(answer)
        for event in events:
            self._carry_out(member, member.engine.handle(event, self.now_ms), step)

    def _one(self, member: Member, effect: Effect, step: Step) -> Event | None:
        match effect:
            case Say(message, to, promise):
                if promise:
                    step.promises.append(effect)
                else:
                    self._post(member.node, to, message)
            case KeepRecord(record):
                step.record = record
            case KeepGuard(record):
                step.guard = record
            case KeepBlock(block):
                member.held[block.link] = block
                step.kept.append(block)
            case HoldBlock(block):
                member.held[block.link] = block
            case MakeBlock(height, parent_link, empty):
                hold(
                    member.stands_on(parent_link), f"{member.node} extends what it did not execute"
                )
                parent = member.executed.get(parent_link)
                hold(parent is None or not parent.closes, "a block above the end of its epoch")
                hold(not empty or not member.state.opened, "only a term's first block is empty")
                closes = not empty and height >= [*self.closes, 2**62][min(member.epoch, len(self.closes))]  # fmt: skip
                hold(epoch_after(member.final) == member.epoch, "an old engine makes a block")
                block = make(height, parent_link, member.node, next(self.nonces) | CLOSING * closes)
                member.executed[block.link] = block
                taken = 0 if empty else member.pool
                member.pool -= taken
                return BlockMade(parent_link, block, taken)
            case Judge(_, block):
                member.held[block.link] = block
                verdict = self.judgement(member.node, effect)
                if verdict is None:
                    member.parked[block.link] = effect
                    return None
                return self._judged(member, effect, verdict)
            case Final(block, certificate):
                self._final(member, block, certificate, step)
            case Behind(certificate):
                member.behind = certificate
            case EpochAhead(sender):
                member.hint = sender
            case IndexKnown(round_, index):
                member.known[round_] = index
                self.checks.read_answered(round_, index)
            case Alarm(sentence):
                member.alarms.append(sentence)
            case ViewEntered():
                member.parked.clear()
            case Note():
                member.notes.append(effect)
                self.checks.noted(member, effect)
        return None

    def _judged(self, member: Member, judge: Judge, verdict: Verdict) -> Judged:
        block = judge.block
        if verdict is Verdict.ACCEPT:
            hold(member.stands_on(block.link), f"{member.node} is asked to judge before the parent")
            return Judged(judge.view, block.link, verdict, block.link)
        own = Link(sha256(b"other" + block.link).digest())
        return Judged(judge.view, block.link, verdict, own)

    def judge_now(self, node: int, verdict: Verdict = Verdict.ACCEPT) -> None:
        """Answer what is parked."""
        member = self.members[NodeId(node)]
        for link in list(member.parked):
            judge = member.parked.pop(link)
            if verdict is not Verdict.ACCEPT or member.stands_on(judge.block.parent_link):
                self.feed(node, self._judged(member, judge, verdict))

    def _final(self, member: Member, block: Block, certificate: Certificate, step: Step) -> None:
        hold(block.link in member.executed, f"final at {member.node} before it was executed")
        hold(block.parent_link == member.link, f"final at {member.node} before its parent")
        hold(len(certificate.votes) > len(self.ids) // 2, "a certificate of less than a majority")
        self.checks.settled(block.height, block.link)
        if block.link == certificate.link:
            self.certificates[block.link] = certificate
        member.final.append(block)
        member.certificate = step.certificate = certificate
        member.executed.pop(block.link)
        step.final.append(block)

    def _try_locally(self, member: Member, step: Step) -> None:
        """A certificate over what is held: execute it and make it final outside the engine."""
        target = member.behind
        if target is None or target.height <= member.height:
            member.behind = None
        elif member.stands_on(target.link):
            path: list[Block] = []
            link = target.link
            while link != member.link:
                path.append(member.executed[link])
                link = member.executed[link].parent_link
            self._apply(member, path[::-1], target, step)

    def _apply(
        self, member: Member, blocks: list[Block], certificate: Certificate, step: Step
    ) -> None:
        for block in blocks:
            member.executed[block.link] = block
            self._final(member, block, certificate, step)
        member.behind = None
        self._carry_out(member, member.engine.handle(CaughtUp(certificate), self.now_ms), step)

    def catch_up(self, node: int, peer: int) -> bool:
        """Fetch final blocks from a peer, as the replica does when the engine says `Behind`."""
        member, other = self.members[NodeId(node)], self.members[NodeId(peer)]
        wanted = member.behind is not None or member.hint == peer
        if not wanted or not other.up or other.height <= member.height:
            return False
        run, member.hint = run_of(other.final[member.height :]), None
        certificate = self.certificates.get(run[-1].link)
        if certificate is None:
            return False
        step = Step()
        self._apply(member, run, certificate, step)
        self._finish(member, step)
        return True

    # -- disk and wires ------------------------------------------------------------------------------------------------

    @staticmethod
    def _write(disk: Disk, step: Step) -> None:
        disk.record = step.record or (None if step.turns else disk.record)
        disk.guard = step.guard or disk.guard
        disk.kept.update((block.link, block) for block in step.kept)
        disk.final.extend(step.final)
        disk.certificate = step.certificate or disk.certificate

    def sync(self, node: int, steps: int | None = None) -> None:
        """Steps become durable in order; their promises leave, and come back to their own engine."""
        member = self.members[NodeId(node)]
        for _ in range(len(member.steps) if steps is None else steps):
            if not member.steps or not member.up:
                return
            step = member.steps.pop(0)
            self._write(member.disk, step)
            for say in step.promises:
                self.checks.promised(member, say.message)
                self._post(member.node, say.to, say.message)
            for say in step.promises:
                self.feed(node, Heard(member.node, say.message))

    def _post(self, sender: NodeId, to: NodeId | None, data: bytes) -> None:
        for peer in self.ids if to is None else (to,):
            if peer != sender and self.members[peer].up and (sender, peer) not in self.cut:
                self.wires.append(Wire(sender, peer, data))

    def deliver(self, wire: Wire, keep: bool = False) -> None:
        if not keep:
            self.wires.remove(wire)
        if self.members[wire.to].up and (wire.sender, wire.to) not in self.cut:
            self.trace.update(wire.data)
            self.checks.carried(wire)
            self.feed(wire.to, Heard(wire.sender, wire.data))

    def lose(self, to: int | None = None, sender: int | None = None) -> None:
        """Whatever is on its way is lost."""
        self.wires = [
            wire
            for wire in self.wires
            if (to is not None and wire.to != to) or (sender is not None and wire.sender != sender)
        ]

    def partition(self, *sides: Collection[int]) -> None:
        """Only members of one side hear each other. No sides: everybody hears everybody."""
        before = set(self.cut)
        self.cut = {
            (a, b)
            for a in self.ids
            for b in self.ids
            if a != b and sides and not any(a in side and b in side for side in sides)
        }
        self._tell_links(before)

    def cut_link(self, a: int, b: int, both: bool = True) -> None:
        before = set(self.cut)
        self.cut = before | {(NodeId(a), NodeId(b))} | ({(NodeId(b), NodeId(a))} if both else set())
        self._tell_links(before)

    def _tell_links(self, before: set[tuple[NodeId, NodeId]]) -> None:
        self.wires = [wire for wire in self.wires if (wire.sender, wire.to) not in self.cut]
        for a in self.ids:
            for b in self.ids:
                if a == b or not self.members[a].up or not self.members[b].up:
                    continue
                was, now = (
                    (a, b) in before or (b, a) in before,
                    (a, b) in self.cut or (b, a) in self.cut,
                )
                if now and not was:
                    self.feed(a, PeerDown(b))
                elif was and not now:
                    self.feed(a, PeerUp(b))

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self, advance_ms: int = 0) -> None:
        """Time passes; whoever's deadline has come hears a tick."""
        self.now_ms += advance_ms
        for node in self.ids:
            member = self.members[node]
            if member.up and member.engine.deadline_ms <= self.now_ms:
                self.feed(node, Tick())

    def settle(self, for_ms: int, step_ms: int = 5) -> None:
        """Run without new faults: everything is delivered, synced and fetched, in order."""
        until_ms = self.now_ms + for_ms
        while self.now_ms < until_ms:
            self.tick(step_ms)
            self.quiesce()

    def quiesce(self) -> None:
        """Deliver and sync until nothing moves."""
        for _ in range(200):
            busy = False
            for node in self.ids:
                member = self.members[node]
                if member.up and member.steps:
                    busy = True
                    self.sync(node)
                if member.up and (member.behind is not None or member.hint is not None):
                    for peer in self.ids:
                        reached = peer != node and (peer, node) not in self.cut
                        if reached and self.catch_up(node, peer):
                            busy = True
                            break
            for wire in list(self.wires):
                if wire in self.wires:
                    busy = True
                    self.deliver(wire)
            if not busy:
                return
        raise Broken("messages never end")

    def work(self, node: int, transactions: int = 1) -> None:
        """Transactions wait at a member."""
        member = self.members[NodeId(node)]
        member.pool += transactions
        self.feed(node, WorkWaiting(member.pool, member.pool, member.pool))

    # -- questions and checks ------------------------------------------------------------------------------------------

    @property
    def leader(self) -> NodeId | None:
        """The leader of the highest term, if one is up."""
        leading = [m for m in self.members.values() if m.up and m.state.leads]
        return max(leading, key=lambda m: m.state.term).node if leading else None

    def elect(self, node: int) -> None:
        """Let this member's clock run out first, and win."""
        member = self.members[NodeId(node)]
        for other in self.members.values():
            other.state.clock.forget_leader()
        member.state.clock.barred_until_ms = 0
        for _ in range(3):  # the first trial may only teach it the others' term
            if not member.state.leads:
                member.state.clock.deadline_ms = self.now_ms
                self.feed(node, Tick())
                self.quiesce()
        hold(member.state.leads, f"{node} did not win: {member.notes[-3:]}")

    def heights(self) -> list[int]:
        return [self.members[node].height for node in self.ids]
