"""One seed from beginning to end: chaos with clients, then calm, in which everybody must come to one height and nothing that
was admitted may stay open (I14).
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from unittest.mock import patch

from msgspec.structs import replace

from tallystick.network.proofs import verify
from tallystick.network.proofs.receipts import Outcome
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import body_id, decode
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import HandOver, Wait
from tallystick.node.core.follower import Follower
from tallystick.node.core.replica import Replica
from tests.sim.changing import Changing
from tests.sim.checkers import Violation, hold
from tests.sim.checkers.absences import check_absences
from tests.sim.checkers.ballots import Ballots
from tests.sim.checkers.epochs import BallotsByEpoch
from tests.sim.crypto import Purse
from tests.sim.hostile import Hostile
from tests.sim.nemesis import Nemesis
from tests.sim.plan import EPOCH_MS, SET_BACK, Engine, Plan, plan_of
from tests.sim.workload import Attempt, Workload
from tests.sim.world import OBSERVER, Host, MakeReplica, World

CALM_MS = 2_500
"""So long nothing may change its view once the network has settled."""

RECEIPTS_SAMPLED = 6
ABSENCES_ASKED = 12
"""Of payments that were never ordered."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a seed came to. `violation` None: every invariant held."""

    seed: int
    events: int
    digest: str
    height: int
    violation: Violation | None
    answers: dict[str, int]
    noted: dict[str, int]
    struck: dict[str, int]
    """What the nemesis did."""
    virtual_ms: int
    epochs: int
    """How often the members changed."""
    story: tuple[str, ...] = ()
    cause: str = ""


class Play:
    """A world with clients and a nemesis in it."""

    def __init__(self, plan: Plan, make_replica: MakeReplica = Replica, told: bool = False) -> None:
        self.plan = plan
        self.world = World(plan, make_replica)
        if told:
            self.world.story = []
        self.purse = Purse(self.world.genesis)
        self.draw = Random(f"clients/{plan.seed}")
        self.clients = Workload(plan, self.draw, self.purse, self)
        self.nemesis = Nemesis(plan, Random(f"nemesis/{plan.seed}"), self.world)
        self.reads = Random(f"reads/{plan.seed}")
        self.asking = Random(f"asking/{plan.seed}")
        self.handed_over = 0
        self.changing = Changing(self.world, self.clients, self.purse, self.nemesis) if plan.changes else None  # fmt: skip
        self.world.chain.on_outcome = self._on_outcome
        for node, nature in plan.hostile.items():
            self.world.hostile[node] = Hostile(
                node,
                nature,
                Random(f"hostile/{plan.seed}/{node}"),
                self.world.keys,
                self.world.genesis,
                self._far_future,
            )

    # -- what clients see ----------------------------------------------------------------------------------------------

    def _on_outcome(self, height: int, transaction: Transaction, outcome: Outcome) -> None:
        self.clients.on_outcome(height, transaction, outcome)
        self.world.history.on_outcome(height, transaction, outcome, self.world.next_count())

    def _read(self) -> None:
        """A client reads a balance at some honest node, about every 100 ms; a stream of its own, so that it moves nothing else."""
        world, draw = self.world, self.reads
        hosts = [host for host in world.honest if host.up and world.now_ms >= host.paused_until_ms]
        known = world.history.known
        if hosts and known:
            host, (account, asset) = draw.choice(hosts), draw.choice(known)
            if host.core is not None:
                world.history.read(host.name, host.core.ledger, account, asset)
        world.at(1 + draw.randrange(200), self._read)

    def _ask(self) -> None:
        """A reader wants a quorum's word at some honest member."""
        members = self._members_up()
        if members:
            self.world.read_at_quorum(self.asking.choice(members))
        self.world.at(1 + self.asking.randrange(2 * self.plan.quorum_read_every_ms), self._ask)

    def _hand_over(self) -> None:
        """An operator takes the leader out of its work, in chaos only."""
        world = self.world
        leading = [host for host in self._members_up() if isinstance(host.core, Replica) and host.core.leads]  # fmt: skip
        if leading and not world.healed:
            self.handed_over += 1
            world.tell(self.asking.choice(leading), 0, HandOver(None))
        world.at(1 + self.asking.randrange(2 * self.plan.hand_over_every_ms), self._hand_over)

    def _members_up(self) -> list[Host]:
        return [host for host in self.world.honest if host.node != OBSERVER and host.up]

    def shown_ms(self) -> int:
        return EPOCH_MS + self.world.now_ms

    def submit(self, bodies: tuple[bytes, ...], wait: Wait, attempt: Attempt) -> None:
        members = [host for host in self.world.hosts if host.node != OBSERVER and host.up]
        if members:
            patience_ms = self.plan.retry_ms if self.draw.random() < 0.3 else None
            host = self.draw.choice(members)

            def told(answers: tuple[Answer, ...]) -> None:
                self.clients.told(attempt, answers)

            self.world.submit(host, bodies, wait, told, patience_ms)

    def after(self, delay_ms: int, attempt: Attempt) -> None:
        self.world.at(delay_ms, lambda: self.clients.try_(attempt))

    def _far_future(self) -> bytes:
        """A good payment but for its deadline, ten years ahead."""
        raw = self.clients.pay()
        draft: Transaction = decode(raw)
        far = replace(draft, valid_until_ms=self.shown_ms() + 315_360_000_000, witnesses=())
        payer = self.clients.account_of(draft.account)
        return self.purse.sign(far, payer.key)

    # -- the two phases ------------------------------------------------------------------------------------------------

    def chaos(self) -> None:
        """Clients and faults, until the plan's end of chaos."""
        world, plan = self.world, self.plan
        world.start_all()
        world.at(self.reads.randrange(200), self._read)
        if plan.quorum_read_every_ms:
            world.at(1 + self.asking.randrange(200), self._ask)
        if plan.hand_over_every_ms:
            world.at(1 + self.asking.randrange(1_000), self._hand_over)
        self._again(plan.submissions_every_ms, self.clients.send_some)
        self._again(plan.fault_every_ms, self.nemesis.strike)
        if "twins" in plan.hostile.values():
            self._again(400, world.shuffle_sides)
        if SET_BACK in plan.hostile.values():
            self._again(1_000, world.set_machine_back)
        if self.changing is not None:
            self.changing.begin()
        world.run(plan.chaos_ms)

    def _again(self, every_ms: int, action: Callable[[], None]) -> None:
        """At random moments, about every so many milliseconds, while there is chaos."""

        def act() -> None:
            if self.world.now_ms < self.plan.chaos_ms:
                action()
                self.world.at(1 + self.draw.randrange(2 * every_ms), act)

        self.world.at(self.draw.randrange(2 * every_ms), act)

    def calm(self) -> None:
        """All faults stop. Within a bound all honest nodes stand at one height, and nothing admitted is open."""
        world = self.world
        world.heal()
        bound_ms = world.now_ms + self.bound_ms
        goal = max(world.chain.height, 0) + 3
        self.clients.plan = self.plan
        for _ in range(3):
            self.clients.send_some()
        settled_ms: int | None = None
        view_changes = world.votes.view_changes
        while settled_ms is None or world.now_ms < settled_ms + CALM_MS:
            world.run(world.now_ms + 100)
            if world.votes.view_changes != view_changes:
                view_changes, settled_ms = world.votes.view_changes, None
            missing = self._missing(goal)
            if missing:
                settled_ms = None
                hold(world.now_ms < bound_ms, "I14", missing)
            elif settled_ms is None:
                settled_ms = world.now_ms
            hold(world.now_ms < bound_ms + 2 * CALM_MS, "I14", "view changes do not end")
        self._one_height()

    @property
    def bound_ms(self) -> int:
        parameters = self.plan.parameters
        views = 4 * self.plan.members * parameters.view_timeout_ms_max
        return 10_000 + views + 4 * parameters.idle_block_ms + self.plan.validity_ms[1]

    def _missing(self, goal: int) -> str:
        """What is still wanted, as a sentence; empty when all is well."""
        world = self.world
        for host in world.honest:
            if host.core is None:
                return f"{host.name} is down"
            if host.core.ledger.height < goal:
                return f"{host.name} stands at {host.core.ledger.height}, not {goal}: {host.core.status()}"
            open_ = len(host.core.pool) if isinstance(host.core, Replica) else 0
            if open_:
                return f"{host.name} has {open_} transactions that are not final"
        views = [core.status().view for core in self._voting()]
        together = max((views.count(view) for view in views), default=0)
        epochs = world.epochs
        arbitrary = len(self.plan.hostile.keys() & epochs.members.keys())
        if together + arbitrary < epochs.quorum(epochs.epoch):
            # One that left a view alone may wait for the others: they need it no sooner than they leave, too.
            return f"honest members are in views {sorted(views)}"
        times = [host.core.ledger.time_ms for host in world.honest if host.core is not None]
        left = world.clients.unresolved(min(times))
        return f"{len(left)} admitted transactions are open" if left else ""

    def _one_height(self) -> None:
        """An instant at which all honest nodes show the same height; their links are compared after every step."""
        world = self.world
        for _ in range(2_000):
            heights = {core.ledger.height for core in self._voting()}
            heights |= {host.core.ledger.height for host in world.honest if isinstance(host.core, Follower)}  # fmt: skip
            if len(heights) == 1:
                return
            world.run(world.now_ms + 1)
        raise Violation("I14", "honest nodes never stand at one height")

    def _voting(self) -> list[Replica]:
        """Honest members of their epoch. Who is none polls, and is level a moment later."""
        cores = [host.core for host in self.world.honest]
        return [core for core in cores if isinstance(core, Replica) and core.votes]

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def afterwards(self) -> None:
        """What the whole run must have been, once it is over."""
        self.world.history.check()
        if isinstance(self.world.votes, Ballots | BallotsByEpoch):
            self.world.votes.nothing_lost(self.world.chain.links)
        self.receipts()
        self.absences()

    def receipts(self) -> None:
        """Some receipts verify with nothing but the genesis document; a changed byte does not."""
        world, model = self.world, self.world.chain.model
        places = sorted(model.bodies.values())
        hosts = [host for host in world.honest if host.core is not None]
        with patch.object(verify, "verify_vote", world.keys.verify):
            for _ in range(min(RECEIPTS_SAMPLED, len(places))):
                host, (height, index) = self.draw.choice(hosts), self.draw.choice(places)
                self._receipt_verifies(host, height, index)
            for epoch in range(world.epochs.epoch and world.epochs.epoch + 1):
                for height, index in self._places_of(epoch, places):
                    self._receipt_verifies(self.draw.choice(hosts), height, index)

    def absences(self) -> None:
        """What was handed in and never ordered is proven so, once its window is closed; what was ordered never is."""
        world = self.world
        raws = [raw for _, raw in sorted(world.clients.raws.items())]
        lost = [raw for raw in raws if body_id(raw) not in world.chain.model.bodies]
        asked = lost[:ABSENCES_ASKED] + raws[:RECEIPTS_SAMPLED]
        with patch.object(verify, "verify_vote", world.keys.verify):
            for host in world.honest:
                if host.core is not None:
                    check_absences(
                        host.name,
                        host.core.ledger,
                        host.core.reader,
                        world.chain.model,
                        world.clients.bodies,
                        asked,
                    )

    def _places_of(self, epoch: int, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Some outcomes of one epoch: the last one, which its closing block has, and two more."""
        ends = self.world.epochs.closed_at
        first = ends[epoch - 1] + 1 if epoch else 0
        last = ends[epoch] if epoch < len(ends) else self.world.chain.height
        found = [place for place in places if first <= place[0] <= last]
        return found[-1:] + [self.draw.choice(found) for _ in range(2 if found else 0)]

    def _receipt_verifies(self, host: Host, height: int, index: int) -> None:
        if host.core is None:
            return
        try:
            receipt = host.core.reader.receipt(height, index)
        except Refused as refusal:
            raise Violation("I3", f"{host.name} has lost {height}/{index}: {refusal}") from refusal
        verdict = verify.verify_receipt(receipt, self.world.genesis)
        hold(verdict.ok, "I11", f"the receipt of {height}/{index} does not verify: {verdict}")
        outcome = replace(receipt.outcome, reason=receipt.outcome.reason ^ 1)
        forged = verify.verify_receipt(replace(receipt, outcome=outcome), self.world.genesis)
        hold(not forged.ok, "I11", "a receipt with another reason verifies")


def run_seed(
    seed: int,
    make_replica: MakeReplica = Replica,
    told: bool = False,
    plan: Plan | None = None,
    engine: Engine = "pbft",
) -> Result:
    """Play one seed, or a plan of one's own. Never raises for what the played nodes do wrong: that is the result."""
    play = Play(plan or plan_of(seed, engine), make_replica, told)
    violation: Violation | None = None
    cause = ""
    try:
        play.chaos()
        play.calm()
        play.afterwards()
    except Violation as found:
        violation = found
        if found.__cause__ is not None:
            cause = "".join(traceback.format_exception(found.__cause__))
    world = play.world
    return Result(
        seed,
        world.events,
        world.trace.hexdigest(),
        world.chain.height,
        violation,
        world.clients.answers,
        world.noted,
        play.nemesis.struck,
        world.now_ms,
        world.epochs.epoch,
        tuple(world.story or ()),
        cause,
    )
