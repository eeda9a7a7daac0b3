"""The member set changes in the middle of chaos: a spare takes a member's place, hostile or honest, under every fault there is.

Everything that the other seeds hold, these hold too: one history, receipts that verify (through the change of members), guards
that remember. Besides: nobody signs in an epoch that does not name him, and statements are compared within their epoch.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from unittest.mock import patch

import pytest
from msgspec.structs import replace as struct_replace

from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId, ParticipantId
from tallystick.network.wire.membership import SpareEntry
from tallystick.network.wire.transactions import ActivateSpare
from tallystick.node.core.events import Wait
from tallystick.node.core.replica import Replica
from tests.sim import kernel, run
from tests.sim.checkers.epochs import VotesByEpoch
from tests.sim.clock import Clock
from tests.sim.crypto import VoteKeys
from tests.sim.hosts import OBSERVER, Host
from tests.sim.plan import BANKS, Plan, plan_of
from tests.sim.workload import Attempt
from tests.sim.workload import genesis_of as usual_genesis
from tests.sim.world import World

SEEDS = (20_003, 20_005, 20_008, 20_014, 20_022, 20_024)
"""Nobody hostile; a liar, twins, a selective member that is itself put out, a stuffer, a machine that is set back."""


def plan_for(seed: int) -> Plan:
    """A seed's plan with at least four members, and time enough for a change and what follows."""
    plan = plan_of(seed)
    if plan.members < 4:
        clocks = dict.fromkeys(range(4), 0)
        plan = replace(plan, members=4, clock_offset_ms=clocks, clock_drift_ppm=clocks)
    return replace(plan, chaos_ms=max(plan.chaos_ms, 4_000))


def replaced_in(plan: Plan) -> int:
    return Random(f"members/{plan.seed}").randrange(plan.members)


class SpareWorld(World):
    """A world with one node more, the spare of `replaced_in(plan)`."""

    def __init__(self, plan: Plan, make_replica: kernel.MakeReplica = Replica) -> None:
        spare = SpareEntry(NodeId(plan.members), ParticipantId(replaced_in(plan) % BANKS))

        def genesis_of(plan: Plan, keys: VoteKeys) -> Genesis:
            return struct_replace(usual_genesis(plan, keys), spares=(spare,))

        def keys_of(members: int, real: bool) -> VoteKeys:
            return VoteKeys(members + 1, real)

        with patch.multiple(kernel, genesis_of=genesis_of, VoteKeys=keys_of):
            super().__init__(plan, make_replica)
        self.numbers = tuple(range(plan.members + 1))

    def _add_member(self, node: int) -> None:
        super()._add_member(node)
        if node == self.plan.members - 1:
            self.hosts.append(Host("spare", NodeId(self.plan.members), True, Clock()))


class MemberPlay(run.Play):
    """The bank of one member activates its spare id, again and again until it has settled."""

    world_of: Callable[..., World] = SpareWorld

    def __init__(self, plan: Plan) -> None:
        with patch.object(run, "World", self.world_of):
            super().__init__(plan)
        self.replaced = replaced_in(plan)
        self.moments = Random(f"activation/{plan.seed}")

    def submit(self, bodies: tuple[bytes, ...], wait: Wait, attempt: Attempt) -> None:
        """At whoever keeps his vote: what only a node that is put out has received, its clients must hand in again."""
        out = (OBSERVER, self.replaced, self.plan.members)
        hosts = [host for host in self.world.hosts if host.node not in out and host.up]
        if hosts:
            self.world.submit(
                self.draw.choice(hosts),
                bodies,
                wait,
                lambda answers: self.clients.told(attempt, answers),
            )

    def chaos(self) -> None:
        self.world.at(self.moments.randrange(400, self.plan.chaos_ms // 2), self._activate)
        super().chaos()

    def _activate(self) -> None:
        if self.world.healed or self._epoch() > 0:
            return
        spare, payer = self.plan.members, self.clients.payers[self.replaced % BANKS]
        mine = {"member": NodeId(self.replaced), "spare": NodeId(spare), "vote_key": self.world.keys.public[spare], "tls_key_hash": bytes([spare]) * 32}  # fmt: skip
        wish = ActivateSpare(**(self.clients.fields(payer) | mine))  # type: ignore[arg-type]
        self.clients.try_(Attempt((self.purse.sign(wish, payer.key),), Wait.FINAL))
        self.world.at(300 + self.moments.randrange(700), self._activate)

    def _epoch(self) -> int:
        cores = [host.core for host in self.world.honest if host.core is not None]
        return max((core.ledger.members.epoch for core in cores), default=0)


def played(seed: int) -> MemberPlay:
    play = MemberPlay(plan_for(seed))
    play.chaos()
    play.calm()
    play.afterwards()
    return play


@pytest.mark.parametrize("seed", SEEDS)
def test_a_spare_takes_its_members_place_in_the_middle_of_chaos(seed: int) -> None:
    play = played(seed)
    votes, voting = play.world.votes, play._voting()
    assert isinstance(votes, VotesByEpoch)
    assert {core.ledger.members.epoch for core in voting} == {1}, "this seed changes its members"
    assert {core.me for core in voting} <= set(play.world.epochs.ids(1))
    assert play.plan.members in {signer for signer, *_ in votes.of(1).said}, "the spare has voted"
