"""The simulator's own tools are tested: what a torn file is after a crash, which disk a node must refuse, and that the checker
of Raft's promises sees each promise that must not leave.
"""

from dataclasses import replace
from typing import Any

import pytest

from tallystick.consensus.accountability.guard import GUARD_RECORD, Guard
from tallystick.consensus.raft.elections import vote_statement
from tallystick.consensus.raft.messages import (
    MESSAGE,
    Append,
    AskVote,
    Countersignature,
    GiveVote,
    Message,
)
from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.node.core import schema
from tallystick.node.core.effects import Batch
from tallystick.node.core.replica import Replica
from tallystick.node.storage.memory import MemoryGuard
from tests.sim.checkers import Violation
from tests.sim.checkers.ballots import Ballots
from tests.sim.clock import Clock
from tests.sim.disk import Disk, PowerLost, SimGuard, Write
from tests.sim.plan import LATER_FROM, plan_of
from tests.sim.run import Play, run_seed

EPOCH, TERM, HEIGHT = Epoch(0), View(3), Height(5)
LINK, PARENT = Link(b"\x05" * 32), Link(b"\x04" * 32)


# -- disks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("earlier", [0, 1, 2, 3])
def test_a_torn_guard_is_what_it_was_or_what_it_should_be(earlier: int) -> None:
    found = set()
    for part in range(0, 101, 5):
        guard = SimGuard()
        for number in range(earlier):
            guard.write(b"record %d" % number)
        before = guard.read()
        guard.tear(b"torn", part / 100)
        assert guard.read() in (before, b"torn")
        found.add(guard.read())
    assert len(found) == 2


def test_of_a_torn_write_a_prefix_of_whole_batches_is_left_and_nothing_is_released() -> None:
    disk = Disk()
    told: list[Write] = []
    for token in range(4):
        disk.hand_over(Batch(token, {b"%d" % token: b"x"}, b"guard"), ())
    disk.crash_point, disk.tear_at = "torn batch", 0.6
    with pytest.raises(PowerLost):
        disk.write(4, told.append)
    disk.crash()
    assert told == []
    assert [disk.store.get(b"%d" % token) for token in range(4)] == [b"x", b"x", None, None]
    assert disk.guard.read() is None


def test_a_node_that_overlooks_its_guard_is_found_when_its_database_is_set_back() -> None:
    """The world offers every node an older database; a replica that compares it with nothing would vote a second time."""
    plan = replace(
        plan_of(1), faults=("rolled-back-disk",), fault_every_ms=200, hostile={}, members=4
    )
    assert run_seed(1, plan=plan).violation is None
    play = Play(plan)
    play.chaos()
    assert play.world.refusals > 0

    def overlooks(genesis: Any, store: Any, signer: Any, guard: Any, *rest: Any) -> Replica:
        return Replica(genesis, store, signer, MemoryGuard(store.get(schema.GUARD)), *rest)

    found = run_seed(1, overlooks, plan=plan).violation
    assert found is not None
    assert found.invariant == "I5"


def test_a_disk_that_fails_or_is_full_halts_its_node_and_a_restart_loses_nothing() -> None:
    faults = ("read-error", "write-error", "full-disk")
    plan = replace(plan_of(LATER_FROM + 1), faults=faults, fault_every_ms=300, hostile={})
    play = Play(plan)
    play.chaos()
    assert play.world.halts > 3
    play.calm()
    play.afterwards()


# -- clocks ------------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_stands_still_for_its_node_and_wakes_it_in_time() -> None:
    clock = Clock()
    before = clock.read(1_000)
    clock.jump(-300)
    assert clock.read(1_100) == before
    wait_ms = clock.true_until(before + 10, 1_100)
    assert wait_ms == 210
    assert clock.read(1_100 + wait_ms) == before + 10


# -- Raft's promises ---------------------------------------------------------------------------------------------------


def frame(message: Message) -> bytes:
    return pack(Channel.CONSENSUS, MESSAGE.encode(message))


def gave(granted: bool = True) -> bytes:
    return frame(GiveVote(EPOCH, TERM, False, granted))


def voter(candidate: int) -> bytes:
    guard = Guard(EPOCH, None)
    assert guard.may_change_view(TERM, vote_statement(NodeId(candidate)))
    return guard.record()


def appended() -> bytes:
    guard = Guard(EPOCH, None)
    assert guard.may_prepare(TERM, HEIGHT, LINK, PARENT, PARENT)
    assert guard.may_commit(TERM, HEIGHT, LINK)
    return guard.record()


def with_leader() -> Ballots:
    """Member 0 of three has won term 3."""
    ballots = Ballots(3, 2)
    ask = AskVote(EPOCH, TERM, False, View(0), Height(0), Height(0), False)
    ballots.leaves(0, None, frame(ask), voter(0), {})
    ballots.leaves(1, 0, gave(), voter(0), {})
    return ballots


def test_a_second_vote_in_a_term_is_seen_whatever_the_guard_says() -> None:
    ballots = with_leader()
    ballots.leaves(1, 0, gave(), voter(0), {})  # said again
    with pytest.raises(Violation, match=r"I5.*second vote"):
        ballots.leaves(1, 2, gave(), voter(2), {})


def test_a_vote_that_is_not_durable_is_seen() -> None:
    with pytest.raises(Violation, match="I5"):
        Ballots(3, 2).leaves(1, 0, gave(), None, {})
    with pytest.raises(Violation, match="I5"):
        Ballots(3, 2).leaves(1, 0, gave(), GUARD_RECORD.encode(GUARD_RECORD.decode(voter(2))), {})


def test_a_leader_needs_a_majority_and_stands_alone() -> None:
    append = frame(Append(EPOCH, TERM, Height(0), View(0), (), Height(0), 0))
    with_leader().leaves(0, 1, append, None, {})
    with pytest.raises(Violation, match="I1"):
        Ballots(3, 2).leaves(0, 1, append, None, {})
    ballots = with_leader()
    ballots.leaves(0, 1, append, None, {})
    with pytest.raises(Violation, match=r"I1.*both lead"):
        ballots.leaves(2, 1, append, None, {})


def test_what_too_few_disks_have_is_neither_committed_nor_countersigned() -> None:
    append = frame(Append(EPOCH, TERM, HEIGHT, TERM, (), HEIGHT, 0))
    vote = frame(Countersignature(EPOCH, TERM, HEIGHT, LINK, PARENT, bytes(64)))
    for sent, to in ((append, 1), (vote, None)):
        ballots = with_leader()
        ballots.written(0, appended())
        with pytest.raises(Violation, match="I4"):
            ballots.leaves(0, to, sent, appended(), {})
        ballots = with_leader()
        ballots.written(0, appended())
        ballots.written(1, appended())
        ballots.leaves(0, to, sent, appended(), {})


def test_a_countersigned_block_that_another_replaces_is_lost() -> None:
    ballots = with_leader()
    ballots.written(0, appended())
    ballots.written(1, appended())
    vote = frame(Countersignature(EPOCH, TERM, HEIGHT, LINK, PARENT, bytes(64)))
    ballots.leaves(1, None, vote, appended(), {})
    ballots.nothing_lost({HEIGHT: LINK})
    with pytest.raises(Violation, match="I3"):
        ballots.nothing_lost({HEIGHT: PARENT})
