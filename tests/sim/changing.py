"""Members change in the middle of chaos: signs what the plan wishes, and does what goes wrong at that very moment.

A wish is signed anew until it has settled: a refused one lost a race against another change, one past its deadline was never ordered. Two
wishes are under way together only where each leaves the number of members as it is. Never more arbitrary members than an epoch bears:
that is the network's assumption, and no change may break it.
"""

from dataclasses import dataclass
from functools import partial
from random import Random

from tallystick.consensus.pbft.messages import MESSAGE as PBFT_MESSAGE
from tallystick.consensus.pbft.messages import Proposal, Vote
from tallystick.consensus.raft.messages import MESSAGE as RAFT_MESSAGE
from tallystick.consensus.raft.messages import Append
from tallystick.network.proofs.certificates import faults_of
from tallystick.network.proofs.receipts import Status
from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.ids import Epoch, NodeId, ParticipantId
from tallystick.network.wire.membership import MemberEntry, SpareEntry, count_fault
from tallystick.network.wire.signing import Phase, vote_message
from tallystick.network.wire.transactions import ActivateSpare, ChangeMembers
from tallystick.node.core.block_data import describe
from tallystick.node.core.events import Wait
from tallystick.node.core.replica import Replica
from tests.sim.changes import MemberChange
from tests.sim.crypto import Purse
from tests.sim.hosts import OBSERVER, Host
from tests.sim.nemesis import Nemesis
from tests.sim.plan import BANKS
from tests.sim.workload import Attempt, Workload
from tests.sim.world import World

PATIENCE = 15
"""So often a wish waits for a leader of its bank, 100 ms each time, before it takes another member."""

KEEPS_COUNT = frozenset({"spare", "swap", "approve"})


@dataclass(slots=True)
class Wish:
    change: MemberChange
    raw: bytes | None = None
    """As it was signed last."""
    id: bytes = b""
    until_ms: int = 0
    """Its deadline in block time."""
    leaving: int | None = None
    tries: int = 0
    over: bool = False


class Changing:
    """The plan's changes of members, in one world."""

    def __init__(self, world: World, clients: Workload, purse: Purse, nemesis: Nemesis) -> None:
        self.world, self.clients, self.purse, self.nemesis = world, clients, purse, nemesis
        self.plan = world.plan
        self.draw = Random(f"changing/{self.plan.engine}/{self.plan.seed}")
        self.wishes = [Wish(change) for change in self.plan.changes]
        self.ghosts: dict[int, None] = {}
        """Hostile members that were put out, and vote on."""
        self._closing = -1
        """The last epoch whose closing block has been seen."""

    def begin(self) -> None:
        self.world.on_frame = self._frame
        for wish in self.wishes:
            self.world.at(wish.change.at_ms, partial(self._pursue, wish))

    # -- wishes --------------------------------------------------------------------------------------------------------

    def _pursue(self, wish: Wish) -> None:
        """Sign it, hand it in, look again, until it has settled."""
        if wish.over or self.world.healed:
            return None
        status = self.world.epochs.answered.get(wish.id)
        if wish.raw is not None and status == Status.SETTLED:
            return self._settled(wish)
        if status is not None or self._chain_ms > wish.until_ms:
            wish.raw = None
        if wish.raw is None and not self._must_wait(wish):
            self._sign(wish)
        if wish.raw is not None:
            self.clients.try_(Attempt((wish.raw,), Wait.FINAL))
        self.world.at(100 + self.draw.randrange(500), partial(self._pursue, wish))
        return None

    @property
    def _chain_ms(self) -> int:
        chain = self.world.chain
        return chain.times.get(chain.height, 0)

    def _must_wait(self, wish: Wish) -> bool:
        """For another wish that is under way."""
        return any(
            other is not wish
            and other.raw is not None
            and not other.over
            and not (
                {wish.change.kind, other.change.kind} <= KEEPS_COUNT
                and not (wish.change.lost or other.change.lost)
            )
            for other in self.wishes
        )

    def _sign(self, wish: Wish) -> None:
        change, epochs = wish.change, self.world.epochs
        draft = self._spare(wish) if change.kind == "spare" else self._governed(wish)
        if draft is None:
            return
        first = wish.id == b""
        wish.id, wish.until_ms = draft.id, draft.valid_until_ms
        payer = self.clients.account_of(draft.account)
        wish.raw = self.purse.sign(draft, payer.key)
        if not first:
            return
        self._count(change.kind)
        if wish.leaving is not None:
            self._goes(wish, wish.leaving)
        if change.cut_before:
            self._count("cut before")
            self._cut()
        self.nemesis.count(f"change: signed in epoch {min(epochs.epoch, 3)}")

    def _spare(self, wish: Wish) -> ActivateSpare | None:
        """A bank puts an approved id of its own in the place of one of its members."""
        epochs = self.world.epochs
        for spare, bank in sorted(epochs.spares.items()):
            ours = [node for node, entry in epochs.members.items() if entry.participant == bank]
            if ours and spare in self.world.by_node:
                leaving = self._leaver(wish, sorted(ours))
                if leaving is None:
                    return None
                wish.leaving = leaving
                mine = {"member": NodeId(leaving), "spare": NodeId(spare), "vote_key": self.world.keys.public[spare], "tls_key_hash": bytes([spare]) * 32}  # fmt: skip
                return ActivateSpare(**(self._fields(bank) | mine))  # type: ignore[arg-type]
        wish.over = True  # nobody of that bank votes any more
        return None

    def _governed(self, wish: Wish) -> ChangeMembers | None:
        change, members = wish.change, self.world.epochs.members
        used = any(change.ids[0] in ids for ids in self.world.epochs.sets)
        leaving: tuple[int, ...] = ()
        if change.kind in {"swap", "shrink"}:
            one = self._leaver(wish, sorted(members))
            if one is None:
                return None
            wish.leaving, leaving = one, (one,)
        joining = change.ids if change.kind in {"swap", "grow"} else ()
        if change.kind == "shrink" and not self._bears({*members} - {*leaving}):
            joining = change.ids  # too few would be left: somebody joins
        approved = [SpareEntry(NodeId(change.ids[0]), ParticipantId(change.bank))]
        if used or not self._bears(({*members} - {*leaving}) | {*joining}):
            wish.over = True
            return None
        entries = tuple(
            MemberEntry(NodeId(node), f"node-{node}", ParticipantId(node % BANKS), self.world.keys.public[node], bytes([node]) * 32)
            for node in joining
        )  # fmt: skip
        mine = {"leaving": tuple(map(NodeId, leaving)), "joining": entries, "spares": tuple(approved) if change.kind == "approve" else ()}  # fmt: skip
        governor = self.world.genesis.governor
        return ChangeMembers(**(self._fields(governor) | mine))  # type: ignore[arg-type]

    def _fields(self, bank: int) -> dict[str, object]:
        until_ms = self.clients.town.shown_ms() + self.draw.choice((700, 1_500, 3_500))
        return self.clients.fields(self.clients.payers[bank], valid_until_ms=until_ms)

    def _bears(self, ids: set[int]) -> bool:
        """Whether these may be an epoch's members, with those among them that are arbitrary."""
        arbitrary = len(ids & self.plan.hostile.keys())
        if count_fault(self.plan.engine, len(ids)) is not None:
            return False
        return self.plan.engine == "raft" or arbitrary <= faults_of(len(ids))

    def _leaver(self, wish: Wish, choice: list[int]) -> int | None:
        """Whom to put out; None: not yet."""
        wish.tries += 1
        if wish.leaving is not None and self.world.host(f"node-{wish.leaving}").lost:
            return wish.leaving if wish.leaving in choice else None
        patient = wish.tries < PATIENCE
        match wish.change.leaver:
            case "leader":
                leading = [node for node in choice if node in self._leaders()]
                if leading or patient:
                    return leading[0] if leading else None
            case "hostile":
                hostile = [node for node in choice if node in self.plan.hostile]
                if hostile:
                    return hostile[0]
        return self.draw.choice(choice)

    def _leaders(self) -> list[int]:
        hosts = self.world.hosts
        return [
            host.node
            for host in hosts
            if isinstance(host.core, Replica) and host.core.votes and host.core.leads
        ]

    def _goes(self, wish: Wish, leaving: int) -> None:
        """Somebody is named who has to go."""
        if leaving in self._leaders():
            self._count("leader put out")
        if leaving in self.plan.hostile:
            self._count("hostile put out")
        host = self.world.host(f"node-{leaving}")
        epochs = self.world.epochs
        arbitrary = len(epochs.members.keys() & self.plan.hostile.keys())
        if wish.change.lost and host.honest and arbitrary < epochs.faults(epochs.epoch):
            self._count("machine lost")
            self.world.lose(host)

    def _settled(self, wish: Wish) -> None:
        """Its epoch has begun: who joins late begins, and old transactions are handed in again at whoever is there."""
        wish.over = True
        self._count("settled")
        for host in self._joining(wish):
            if not host.up and host.life == 0:
                self._count("joins with an empty disk")
                delay_ms = self.draw.randrange(1_500)
                self.world.at(delay_ms, partial(self._start, host))
        if wish.leaving in self.plan.hostile and self.plan.engine == "pbft":
            self.ghosts[wish.leaving] = None
        if self.clients.sent:
            again = tuple([self.draw.choice(self.clients.sent) for _ in range(4)])
            self.clients.try_(Attempt(again, Wait.FINAL))

    def _start(self, host: Host) -> None:
        if not host.up:
            self.world.start(host)

    def _joining(self, wish: Wish) -> list[Host]:
        members = self.world.epochs.members
        return [host for node in wish.change.ids if node in members for host in self.world.by_node[node]]  # fmt: skip

    # -- the boundary --------------------------------------------------------------------------------------------------

    def _frame(self, host: Host, frame: bytes) -> None:
        """A frame is put on the wire: is it the block that closes an epoch?"""
        if frame[0] != Channel.CONSENSUS or self.world.healed:
            return
        if self.plan.engine == "raft":
            append = RAFT_MESSAGE.decode(frame[1:])
            if isinstance(append, Append) and append.entries:
                self._proposed(host, append.epoch, append.entries[-1].block)
            return
        message = PBFT_MESSAGE.decode(frame[1:])
        if isinstance(message, Proposal):
            self._proposed(host, message.epoch, message.block)
        elif isinstance(message, Vote) and host.honest and message.epoch:
            self._haunt(message)

    def _proposed(self, host: Host, epoch: int, encoded: bytes) -> None:
        if epoch <= self._closing:
            return
        block = describe(encoded)
        if block is not None and block.closes:
            self._closing = epoch
            # Not within the step: what it has said is on its way, and who dies does so a moment later.
            self.world.at(1, lambda: self._at_boundary(host))

    def _at_boundary(self, closer: Host) -> None:
        world, draw = self.world, self.draw
        if world.healed:
            return
        under_way = [wish for wish in self.wishes if wish.raw is not None and not wish.over]
        going = [wish.leaving for wish in under_way]
        for wish in under_way:
            if wish.change.newcomer == "wiped":
                self._wipe(wish)
            for fault in wish.change.around:
                self._count(fault)
                match fault:
                    case "member down":
                        staying = [host for host in world.honest if host.up and host != closer and host.node not in (*going, OBSERVER)]  # fmt: skip
                        if staying:
                            world.crash(draw.choice(staying), draw.choice((300, 1_000, 3_000)))
                    case "cut":
                        self._cut()
                    case "closer dies":
                        world.crash(closer, draw.choice((200, 1_500)))
                    case _:
                        for host in world.hosts:
                            world.crash(host, draw.randint(1, 300))

    def _wipe(self, wish: Wish) -> None:
        """Who joins loses its disk. It has signed nothing yet, so it may come back under its id."""
        nodes = {*wish.change.ids, *self.world.epochs.spares}
        for host in self.world.hosts:
            waits = isinstance(host.core, Replica) and not host.core.votes
            if host.node in nodes and waits and host.disk.guard.read() is None:
                self._count("newcomer wiped")
                self.world.wipe(host, self.draw.choice((1, 100, 800)))

    def _cut(self) -> None:
        self.world.cut(self.nemesis.pairs(self.draw), self.draw.random() < 0.5, self.draw.choice((200, 700, 2_500)))  # fmt: skip

    def _haunt(self, vote: Vote) -> None:
        """A hostile member that was put out votes as the others do."""
        for ghost in self.ghosts:
            signed = vote_message(
                self.clients.purse.chain, 0, Epoch(vote.epoch), vote.view, vote.height,
                Phase(vote.phase), vote.link, vote.parent_link,
            )  # fmt: skip
            signature = self.world.keys.sign(ghost, signed)
            false = Vote(vote.phase, vote.epoch, vote.view, vote.height, vote.link, vote.parent_link, signature)  # fmt: skip
            self._count("votes of who was put out")
            self.world.haunt(NodeId(ghost), pack(Channel.CONSENSUS, PBFT_MESSAGE.encode(false)))

    def _count(self, what: str) -> None:
        self.nemesis.count(f"change: {what}")
