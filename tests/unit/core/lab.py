"""Whole replicas on a bench: instant disks, instant checks, instant wires, and a clock that stands until it is moved.

A test hears what leaves (`sent`), cuts wires (`cut`), holds a node's disk back (`Box.held`), crashes and restarts, and speaks as
any member with its vote key. Faults at random are the simulator's business (`tests/sim`); here each is placed by hand.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tallystick.consensus.pbft.messages import MESSAGE, Message
from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.genesis import Genesis, Parameters, account_id
from tallystick.network.wire.ids import AccountId, NodeId, ParticipantId, PaymentId
from tallystick.network.wire.transactions import Issue, Transaction, Transfer
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.effects import (
    Answer,
    Batch,
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
    Event,
    PeerDown,
    PeerFrame,
    PeerUp,
    Persisted,
    Submit,
    Tick,
    Wait,
)
from tallystick.node.core.messages import (
    BODY_MESSAGE,
    CATCH_UP_MESSAGE,
    Blocks,
    BodyMessage,
    CatchUpMessage,
)
from tallystick.node.core.replica import Replica
from tallystick.node.storage.memory import MemoryGuard, MemoryStore
from tests.sim.crypto import Bodies, Purse, Signer, VoteKeys
from tests.sim.plan import EPOCH_MS, Plan, plan_of
from tests.sim.workload import genesis_of

STEADY = Parameters(idle_block_ms=60_000, view_timeout_ms=600, max_validity_ms=600_000)
"""No empty blocks while a test looks."""

MakeReplica = Callable[..., Replica]


@dataclass(slots=True)
class Box:
    """One node: a replica, its disk, and what it has said."""

    node: NodeId
    store: MemoryStore
    guard: MemoryGuard
    replica: Replica | None = None
    life: int = 0
    held: list[tuple[Batch, tuple[Outgoing, ...]]] | None = None
    """Batches that wait for the disk; None: the disk is instant."""
    checks_held: list[CheckBodies] | None = None
    """Bodies that wait for the verifier; None: it is instant."""
    deadline_ms: int | None = None
    halted: str | None = None
    trace: list[TraceEvent] = field(default_factory=list)

    @property
    def core(self) -> Replica:
        if self.replica is None:
            raise AssertionError(f"node {self.node} is down")
        return self.replica

    def notes(self, name: str) -> list[TraceEvent]:
        return [event for event in self.trace if event.name == name]


class Lab:
    """Members 0 … n-1 of a network with three banks; bank b's root account has key b."""

    def __init__(
        self,
        members: int = 4,
        parameters: Parameters = STEADY,
        make: MakeReplica = Replica,
        running: tuple[int, ...] | None = None,
        change: Callable[[Genesis], Genesis] = lambda genesis: genesis,
    ) -> None:
        plan = plan_for(members, parameters)
        self.keys = VoteKeys(members, real=False)
        self.genesis: Genesis = change(genesis_of(plan, self.keys))
        self.purse = Purse(self.genesis)
        self.bodies = Bodies(BodyChecker(self.genesis))
        self.make = make
        self.now_ms = EPOCH_MS
        self.queue: deque[tuple[Box, int, Event]] = deque()
        self.cut: set[tuple[int, int]] = set()
        self.sent: list[tuple[NodeId, NodeId | None, bytes]] = []
        self.readable: set[int] = set()
        self.told: dict[int, tuple[Answer, ...]] = {}
        self._count = 0
        self.boxes = {NodeId(node): Box(NodeId(node), MemoryStore(), MemoryGuard()) for node in range(members)}  # fmt: skip
        for node in range(members) if running is None else running:
            self.start(node)
        self.settle()

    # -- life ----------------------------------------------------------------------------------------------------------

    def box(self, node: int) -> Box:
        return self.boxes[NodeId(node)]

    def core(self, node: int) -> Replica:
        return self.box(node).core

    def start(self, node: int) -> None:
        box = self.box(node)
        box.life += 1
        signer = Signer(box.node, self.keys)
        box.replica = self.make(self.genesis, box.store, signer, box.guard, self.now_ms, self.keys.verify)  # fmt: skip
        self.post(box, Tick())
        for other in self.boxes.values():
            if other is not box and other.replica is not None:
                self.post(box, PeerUp(other.node))
                self.post(other, PeerUp(box.node))

    def crash(self, node: int) -> None:
        """Everything that is not durable is gone."""
        box = self.box(node)
        box.replica, box.life = None, box.life + 1
        box.held = None if box.held is None else []
        box.checks_held = None if box.checks_held is None else []
        box.store = MemoryStore(box.store.snapshot())
        for other in self.boxes.values():
            if other.replica is not None:
                self.post(other, PeerDown(box.node))

    # -- events --------------------------------------------------------------------------------------------------------

    def post(self, box: Box, event: Event) -> None:
        self.queue.append((box, box.life, event))

    def settle(self, steps: int = 20_000) -> None:
        """Until nothing is on its way any more."""
        while self.queue:
            steps -= 1
            if not steps:
                raise AssertionError("the network does not come to rest")
            box, life, event = self.queue.popleft()
            if box.replica is not None and box.life == life:
                self._carry_out(box, box.core.handle(event, self.now_ms))

    def hear(self, node: int, event: Event) -> None:
        """One event, and all that comes of it."""
        self.post(self.box(node), event)
        self.settle()

    def pass_time(self, for_ms: int) -> None:
        """Ticks where they are wanted, until the clock has moved on so far."""
        end_ms = self.now_ms + for_ms
        while True:
            wanted = [box.deadline_ms for box in self.boxes.values() if box.replica is not None and box.deadline_ms is not None]  # fmt: skip
            at_ms = max(self.now_ms + 1, min(wanted, default=end_ms))
            if at_ms > end_ms:
                self.now_ms = end_ms
                return
            self.now_ms = at_ms
            for box in self.boxes.values():
                if box.replica is not None and (box.deadline_ms or at_ms + 1) <= at_ms:
                    self.post(box, Tick())
            self.settle()

    def _carry_out(self, box: Box, effects: Effects) -> None:
        box.trace.extend(effects.trace)
        box.deadline_ms = effects.deadline_ms
        for outgoing in effects.immediate:
            self._release(box, outgoing)
        if effects.persist is None:
            for late in effects.after_persist:
                self._release(box, late)
        elif box.held is not None:
            box.held.append((effects.persist, effects.after_persist))
        else:
            self._write(box, effects.persist, effects.after_persist)

    def _write(self, box: Box, batch: Batch, after: tuple[Outgoing, ...]) -> None:
        box.store.write([batch.pairs])
        if batch.guard is not None:
            box.guard.write(batch.guard)
        if not box.held:
            box.store.release(box.store.mark)
        for outgoing in after:
            self._release(box, outgoing)
        self.post(box, Persisted(batch.token))

    def disk_goes_on(self, node: int) -> None:
        """Write what was held back, in order."""
        box = self.box(node)
        held, box.held = box.held or [], None
        for batch, after in held:
            self._write(box, batch, after)
        self.settle()

    def checks_go_on(self, node: int, newest_first: bool = False) -> None:
        """Answer the checks that were held back."""
        box = self.box(node)
        held, box.checks_held = box.checks_held or [], None
        for check in held[::-1] if newest_first else held:
            self._check(box, check)
        self.settle()

    def _check(self, box: Box, check: CheckBodies) -> None:
        verdicts = tuple([self.bodies.check(raw) for raw in check.bodies])
        self.post(box, BodiesChecked(check.token, verdicts))

    def _release(self, box: Box, outgoing: Outgoing) -> None:
        match outgoing:
            case Promise(to, frame) | Hearsay(to, frame):
                self.sent.append((box.node, to, frame))
                for other in self.boxes.values():
                    aimed = other is not box and to in (None, other.node)
                    if aimed and other.replica is not None and (box.node, other.node) not in self.cut:  # fmt: skip
                        self.post(other, PeerFrame(box.node, frame))
            case CheckBodies():
                if box.checks_held is not None:
                    box.checks_held.append(outgoing)
                else:
                    self._check(box, outgoing)
            case Reply(token, answers):
                self.told[token] = answers
            case Readable(token):
                self.readable.add(token)
            case Halt(sentence):
                box.halted = sentence

    # -- what a test says ----------------------------------------------------------------------------------------------

    def submit(self, node: int, *raws: bytes, wait: Wait = Wait.FINAL, participant: int | None = None) -> int:  # fmt: skip
        """Hand in transactions; the token of the submission."""
        self._count += 1
        bank = None if participant is None else ParticipantId(participant)
        self.hear(node, Submit(self._count, raws, wait, bank))
        return self._count

    def answer(self, node: int, raw: bytes, wait: Wait = Wait.FINAL) -> Answer:
        """Hand in one and take its answer, which must have come."""
        return self.told[self.submit(node, raw, wait=wait)][0]

    def say(self, sender: int, to: int, message: Message) -> None:
        """A consensus message as this member's connection brings it."""
        self.frame(sender, to, Channel.CONSENSUS, MESSAGE.encode(message))

    def say_bodies(self, sender: int, to: int, message: BodyMessage) -> None:
        self.frame(sender, to, Channel.BODIES, BODY_MESSAGE.encode(message))

    def say_catch_up(self, sender: int, to: int, message: CatchUpMessage, asked: bool = True) -> None:  # fmt: skip
        """`asked`: blocks come in answer to a question, else out of the blue."""
        if asked and isinstance(message, Blocks):
            self.core(to).catch_up.owing.add(NodeId(sender))
        self.frame(sender, to, Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(message))

    def frame(self, sender: int, to: int, channel: Channel, payload: bytes) -> None:
        self.hear(to, PeerFrame(NodeId(sender), pack(channel, payload)))

    def said_bodies(self, sender: int) -> list[BodyMessage]:
        return [BODY_MESSAGE.decode(frame[1:]) for who, _, frame in self.sent if who == sender and frame[0] == Channel.BODIES]  # fmt: skip

    def said_catch_up(self, sender: int) -> list[CatchUpMessage]:
        return [CATCH_UP_MESSAGE.decode(frame[1:]) for who, _, frame in self.sent if who == sender and frame[0] == Channel.CATCH_UP]  # fmt: skip

    def said(self, sender: int) -> list[Message]:
        return [MESSAGE.decode(frame[1:]) for who, _, frame in self.sent if who == sender and frame[0] == Channel.CONSENSUS]  # fmt: skip

    # -- transactions --------------------------------------------------------------------------------------------------

    def root(self, bank: int) -> AccountId:
        return account_id(self.purse.chain, ParticipantId(bank), 0)

    def _common(self, bank: int) -> dict[str, object]:
        self._count += 1
        return {
            "chain": self.purse.chain,
            "lane": 0,
            "account": self.root(bank),
            "id": PaymentId(self._count.to_bytes(32, "big")),
            "valid_until_ms": self.now_ms + 60_000,
            "payload_root": bytes(32),
        }

    def transfer(self, payer: int = 0, creditor: int = 1, amount_minor: int = 10, **changes: object) -> Transfer:  # fmt: skip
        mine = {"creditor": self.root(creditor), "asset": "USD", "amount_minor": amount_minor}
        return Transfer(**(self._common(payer) | mine | changes))  # type: ignore[arg-type]

    def pay(self, payer: int = 0, creditor: int = 1, amount_minor: int = 10, **changes: object) -> bytes:  # fmt: skip
        return self.sign(self.transfer(payer, creditor, amount_minor, **changes), payer)

    def issue(self, creditor: int = 0, amount_minor: int = 40_000) -> bytes:
        mine = {"creditor": self.root(creditor), "asset": "USD", "amount_minor": amount_minor}
        return self.sign(Issue(**(self._common(0) | mine)), 0)  # type: ignore[arg-type]

    def sign(self, draft: Transaction, *keys: int) -> bytes:
        return self.purse.sign(draft, *keys)

    # -- what a test asks ----------------------------------------------------------------------------------------------

    def heights(self) -> list[int]:
        return [box.core.ledger.height for box in self.boxes.values() if box.replica is not None]

    def balance(self, node: int, bank: int) -> int:
        account = self.core(node).ledger.account(self.root(bank))
        return 0 if account is None else account.balances.get("USD", 0)


def plan_for(members: int, parameters: Parameters) -> Plan:
    """Only the size and the parameters matter here."""
    return replace(plan_of(1), members=members, parameters=parameters)


__all__ = ["STEADY", "Box", "Lab"]
