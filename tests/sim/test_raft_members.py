"""A Raft network changes a member in the middle of chaos: crashes, torn writes, partitions and rolled-back disks around one boundary.

The seeds' checks hold in each epoch by itself; nobody votes, acknowledges or signs in an epoch that does not name him.
"""

from dataclasses import replace

import pytest

from tallystick.consensus.raft.messages import (
    MESSAGE,
    Append,
)
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import NodeId
from tallystick.node.core.block_data import describe
from tallystick.node.core.replica import Replica
from tests.sim import kernel
from tests.sim.checkers.epochs import BallotsByEpoch
from tests.sim.hosts import Host
from tests.sim.plan import Plan, plan_of
from tests.sim.test_members import MemberPlay, SpareWorld

SEEDS = (30_001, 30_003, 30_005, 30_006, 30_009, 30_010, 30_013, 30_017)


def closes(append: Append) -> bool:
    last = describe(append.entries[-1].block)
    return last is not None and last.closes


class RaftWorld(SpareWorld):
    def __init__(self, plan: Plan, make_replica: kernel.MakeReplica = Replica) -> None:
        super().__init__(plan, make_replica)
        self.kills_closer = False
        """Whoever first sends a closing block dies a moment later; what it has sent arrives."""

    def _send(self, host: Host, to: NodeId | None, frame: bytes) -> None:
        super()._send(host, to, frame)
        if self.kills_closer and frame[0] == Channel.CONSENSUS:
            said = MESSAGE.decode(frame[1:])
            if isinstance(said, Append) and said.entries and closes(said):
                self.kills_closer = False
                self.at(1, lambda: self.crash(host, 1_500))


class RaftPlay(MemberPlay):
    world_of = RaftWorld

    @property
    def ballots(self) -> BallotsByEpoch:
        return self.world.votes  # type: ignore[return-value]


def plan_for(seed: int) -> Plan:
    """A seed's plan with at least three members, and time enough for a change and what follows."""
    plan = plan_of(seed, "raft")
    if plan.members < 3:
        clocks = dict.fromkeys(range(3), 0)
        plan = replace(plan, members=3, clock_offset_ms=clocks, clock_drift_ppm=clocks)
    return replace(plan, chaos_ms=max(plan.chaos_ms, 4_000))


def played(seed: int) -> RaftPlay:
    play = RaftPlay(plan_for(seed))
    play.chaos()
    play.calm()
    play.afterwards()
    return play


@pytest.mark.parametrize("seed", SEEDS)
def test_a_raft_network_changes_a_member_in_the_middle_of_chaos(seed: int) -> None:
    play = played(seed)
    voting = play._voting()
    assert {core.ledger.members.epoch for core in voting} == {1}, "this seed changes its members"
    assert play.replaced not in {core.me for core in voting}
    assert play.plan.members in play.ballots.of(1).promised, "the spare has promised something"


@pytest.mark.parametrize("seed", [30_003, 30_004, 30_010])
def test_the_leader_dies_as_soon_as_it_has_sent_the_closing_block_and_the_next_takes_it_again(
    seed: int,
) -> None:
    play = RaftPlay(plan_for(seed))
    play.world.kills_closer = True  # type: ignore[attr-defined]
    play.chaos()
    play.calm()
    play.afterwards()
    assert {core.ledger.members.epoch for core in play._voting()} == {1}
    assert play.ballots.again
