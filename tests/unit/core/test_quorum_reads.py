"""Readers who want to be sure that this node is not behind: rounds, and whole replicas of both engines."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tallystick.network.wire.ids import Height
from tallystick.node.core.events import ClientGone, HandOver, ReadAtQuorum
from tallystick.node.core.quorum_reads import ASK_AGAIN_MS, QuorumReads
from tests.sim.workload import genesis_of
from tests.unit.core import lab as bench
from tests.unit.core.lab import Lab

# -- rounds ------------------------------------------------------------------------------------------------------------


def test_a_reader_that_comes_during_a_round_waits_for_the_next() -> None:
    reads = QuorumReads(1_000)
    reads.ask(1)
    first = reads.round_due(1_000, 0)
    assert first is not None
    reads.ask(2)
    assert reads.round_due(1_001, 0) is None
    reads.known(first, Height(5))
    assert reads.readable(4) == []
    assert reads.readable(5) == [1]
    second = reads.round_due(1_002, 0)
    assert second == first + 1
    reads.known(second, Height(6))
    assert reads.readable(6) == [2]
    assert reads.deadline_ms is None


def test_a_round_without_an_answer_is_asked_again_and_its_late_answer_still_counts() -> None:
    reads = QuorumReads(1_000)
    reads.ask(1)
    first = reads.round_due(1_000, 0)
    assert first is not None
    assert reads.deadline_ms == 1_000 + ASK_AGAIN_MS
    assert reads.round_due(1_000 + ASK_AGAIN_MS, 0) == first + 1
    reads.known(first, Height(3))
    assert reads.readable(3) == [1]
    assert reads.deadline_ms is None, "nobody waits: no tick is wanted"


def test_an_answer_of_the_last_epoch_serves_nobody_in_this_one() -> None:
    """The blocks of the new members may already stand above an index that the old ones gave."""
    reads = QuorumReads(1_000)
    reads.ask(1)
    first = reads.round_due(1_000, 0)
    assert first is not None
    reads.known(first, Height(9))
    again = reads.round_due(1_010, 1)
    assert again == first + 1
    assert reads.readable(9) == []
    reads.known(again, Height(12))
    assert reads.readable(12) == [1]


def test_rounds_of_an_earlier_life_are_below_those_of_this_one() -> None:
    before, after = QuorumReads(1_000), QuorumReads(1_001)
    last = 0
    for token in range(1_000):
        before.ask(token)
        last = before.round_due(1_000 + token * ASK_AGAIN_MS, 0) or 0
    after.ask(1)
    assert (after.round_due(1_001, 0) or 0) > last > 0


# -- replicas ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["pbft", "raft"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Lab]:
    monkeypatch.setattr(
        bench,
        "genesis_of",
        lambda plan, keys: replace(genesis_of(plan, keys), engine=request.param),
    )

    def make() -> Lab:
        lab = Lab()
        lab.pass_time(3_000)  # Raft elects
        lab.hear(leader_of(lab), ClientGone(0))
        return lab

    return make


def leader_of(lab: Lab) -> int:
    return max(lab.core(node).status().view * 10 + lab.core(node).status().leader for node in range(4)) % 10  # fmt: skip


def settle(lab: Lab, node: int) -> int:
    """One issue handed in at a node, final there; the height."""
    before = lab.core(node).ledger.height
    lab.submit(node, lab.issue())
    lab.pass_time(200)
    height = lab.core(node).ledger.height
    assert height > before
    return height


def isolate(lab: Lab, node: int) -> None:
    """Nobody's connection breaks, but nothing arrives: the node cannot know it."""
    for other in range(4):
        if other != node:
            lab.cut |= {(node, other), (other, node)}


@pytest.mark.parametrize("reader", range(4))
def test_every_member_confirms_a_read_and_serves_it_from_what_was_final(
    network: Callable[[], Lab], reader: int
) -> None:
    lab = network()
    height = settle(lab, leader_of(lab))
    lab.hear(reader, ReadAtQuorum(900))
    assert 900 in lab.readable
    assert lab.core(reader).ledger.height >= height


def test_a_leader_that_was_replaced_behind_a_partition_answers_no_reader(
    network: Callable[[], Lab],
) -> None:
    lab = network()
    old = leader_of(lab)
    isolate(lab, old)
    other = (old + 1) % 4
    lab.submit(other, lab.issue())
    lab.pass_time(5_000)
    assert lab.core(other).ledger.height > lab.core(old).ledger.height
    lab.hear(old, ReadAtQuorum(900))
    lab.pass_time(2_000)
    assert 900 not in lab.readable
    lab.cut.clear()
    lab.pass_time(3_000)
    assert 900 in lab.readable, "it asks again, and is served once it has caught up"
    assert lab.core(old).ledger.height >= lab.core(other).ledger.height


def test_a_member_that_lags_serves_its_reader_once_it_has_caught_up(
    network: Callable[[], Lab],
) -> None:
    lab = network()
    leader = leader_of(lab)
    behind = (leader + 2) % 4
    lab.cut |= {(other, behind) for other in range(4) if other != behind}
    height = settle(lab, leader)
    assert lab.core(behind).ledger.height < height
    lab.hear(behind, ReadAtQuorum(900))
    assert 900 not in lab.readable
    lab.cut.clear()
    lab.pass_time(3_000)
    assert 900 in lab.readable
    assert lab.core(behind).ledger.height >= height


def test_a_reader_who_went_is_not_asked_for(network: Callable[[], Lab]) -> None:
    lab = network()
    reader = (leader_of(lab) + 1) % 4
    isolate(lab, reader)
    lab.hear(reader, ReadAtQuorum(900))
    lab.hear(reader, ClientGone(900))
    assert lab.core(reader).reads.deadline_ms is None
    lab.cut.clear()
    lab.pass_time(1_000)
    assert 900 not in lab.readable


def test_a_leader_that_hands_over_is_followed_within_one_round_trip(
    network: Callable[[], Lab],
) -> None:
    """No clock moves: leadership goes by messages alone, so a restart of the leader costs no time-out."""
    lab = network()
    old = leader_of(lab)
    settle(lab, old)
    at_ms = lab.now_ms
    assert lab.core(old).leads
    lab.hear(old, HandOver())
    assert lab.now_ms == at_ms
    assert not lab.core(old).leads
    new = leader_of(lab)
    assert new != old
    lab.crash(old)
    settle(lab, new)
    assert lab.core(new).status().leader == new


def test_a_member_that_does_not_lead_hands_nothing_over(network: Callable[[], Lab]) -> None:
    lab = network()
    old = leader_of(lab)
    lab.hear((old + 1) % 4, HandOver())
    assert leader_of(lab) == old
    assert lab.box((old + 1) % 4).notes("transfer-refused")
    lab.hear(old, HandOver(lab.core(old).me))
    assert lab.core(old).leads
