"""A Raft network changes a member in the middle of chaos: crashes, torn writes, partitions and rolled-back disks around one boundary.

The seeds' checks hold in each epoch by itself; nobody votes, acknowledges or signs in an epoch that does not name him.
"""

from dataclasses import dataclass, field, replace

import pytest

from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.consensus.raft.messages import (
    MESSAGE,
    Acked,
    Append,
    AskVote,
    Countersignature,
    GiveVote,
    epoch_of,
)
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import NodeId
from tallystick.node.core.block_data import describe
from tallystick.node.core.replica import Replica
from tests.sim import kernel
from tests.sim.checkers import hold
from tests.sim.checkers.ballots import Ballots
from tests.sim.hosts import Host
from tests.sim.plan import Plan, plan_of
from tests.sim.test_members import MemberPlay, SpareWorld, replaced_in

SEEDS = (30_001, 30_003, 30_005, 30_006, 30_009, 30_010, 30_013, 30_017)


@dataclass(slots=True)
class EachEpoch:
    """What `Ballots` is for one epoch, for each."""

    members: int
    majority: int
    replaced: int
    epochs: dict[int, Ballots] = field(default_factory=dict)
    again: int = 0
    """Closing blocks that a later leader took again."""

    def of(self, epoch: int) -> Ballots:
        if epoch not in self.epochs:
            self.epochs[epoch] = Ballots(self.members + 1, self.majority, epoch=epoch)
        return self.epochs[epoch]

    def leaves(self, signer: int, to: int | None, frame: bytes, durable: bytes | None, final: dict[int, bytes]) -> None:  # fmt: skip
        if frame[0] != Channel.CONSENSUS:
            return
        message = MESSAGE.decode(frame[1:])
        epoch = epoch_of(message)
        if isinstance(message, AskVote | GiveVote | Append | Acked | Countersignature):
            stranger = self.replaced if epoch else self.members
            hold(signer != stranger, "P27", f"{signer} speaks in epoch {epoch}: {message}")
        if isinstance(message, Append):
            self.again += sum(entry.carried for entry in message.entries)
        self.of(epoch).leaves(signer, to, frame, durable, final)

    def written(self, signer: int, record: bytes) -> None:
        self.of(GUARD_RECORD.decode(record).epoch).written(signer, record)

    def restarted(self, signer: int, durable: bytes | None) -> None:
        if durable is not None:
            self.written(signer, durable)

    @property
    def view_changes(self) -> int:
        return sum(each.view_changes for each in self.epochs.values())


def closes(append: Append) -> bool:
    last = describe(append.entries[-1].block)
    return last is not None and last.closes


class RaftWorld(SpareWorld):
    def __init__(self, plan: Plan, make_replica: kernel.MakeReplica = Replica) -> None:
        super().__init__(plan, make_replica)
        self.votes = EachEpoch(plan.members, plan.quorum, replaced_in(plan))  # type: ignore[assignment]
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
    def ballots(self) -> EachEpoch:
        return self.world.votes  # type: ignore[return-value]

    def afterwards(self) -> None:
        super().afterwards()
        for each in self.ballots.epochs.values():
            each.nothing_lost(self.world.chain.links)


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
