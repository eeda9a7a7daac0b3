"""Reads by quorum index, and leadership handed over."""

import pytest

from tallystick.consensus.api import Tick
from tallystick.consensus.raft.messages import Acked, Append, StandNow
from tallystick.consensus.raft.state import READS_MAX
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.plays import drop, led_by, pass_on, wires


def read(cluster: Cluster, node: int, token: int) -> None:
    cluster.operate(node, cluster.members[cluster.ids[node]].engine.read(token, cluster.now_ms))


def confirmed(cluster: Cluster, node: int) -> list[tuple[int, int]]:
    return [
        (token, int(index))
        for token, index in cluster.members[cluster.ids[node]].engine.confirmed_reads()
    ]


def test_a_read_is_confirmed_by_a_majority_that_answered_after_it() -> None:
    cluster = led_by(0)
    read(cluster, 0, 7)
    assert confirmed(cluster, 0) == []
    pass_on(cluster, Append, to=1)
    pass_on(cluster, Acked, sender=1)
    assert confirmed(cluster, 0) == [(7, 1)]
    assert confirmed(cluster, 0) == [], "handed over once"


def test_an_answer_from_before_the_read_confirms_nothing() -> None:
    cluster = led_by(0)
    cluster.tick(60)
    pass_on(cluster, Append)
    read(cluster, 0, 7)
    pass_on(cluster, Acked)  # to the heartbeat from before
    assert confirmed(cluster, 0) == []
    cluster.quiesce()
    assert confirmed(cluster, 0) == [(7, 1)]


def test_a_leader_that_was_replaced_while_it_slept_serves_no_stale_read() -> None:
    """etcd 20418: a lease would have been believed; a quorum's answer is not there."""
    cluster = led_by(0)
    cluster.partition({0}, {1, 2})
    cluster.lose()
    for node in (1, 2):
        cluster.members[cluster.ids[node]].state.clock.forget_leader()
    # Member 0 is paused: it hears no tick, and believes that it leads.
    for _ in range(400):
        cluster.now_ms += 5
        for node in (1, 2):
            member = cluster.members[cluster.ids[node]]
            if member.engine.deadline_ms <= cluster.now_ms:
                cluster.feed(node, Tick())
            cluster.sync(node)
        for wire in [wire for wire in cluster.wires if wire.to != 0]:
            cluster.deliver(wire)
        cluster.work(1)
        cluster.work(2)
    assert cluster.heights()[1] > 1
    assert cluster.members[cluster.ids[0]].state.leads
    read(cluster, 0, 7)
    cluster.partition()
    cluster.quiesce()
    assert confirmed(cluster, 0) == []
    assert not cluster.members[cluster.ids[0]].state.leads


def test_only_a_leader_with_a_commit_of_its_own_term_takes_a_read() -> None:
    cluster = led_by(0)
    read(cluster, 1, 7)
    assert [n.name for n in cluster.members[cluster.ids[1]].notes][-1] == "read-refused"
    cluster.crash(0)
    for member in (cluster.members[cluster.ids[1]], cluster.members[cluster.ids[2]]):
        member.state.clock.forget_leader()
    leader = cluster.members[cluster.ids[1]]
    leader.state.clock.deadline_ms = cluster.now_ms
    cluster.tick()
    for _ in range(10):
        drop(cluster, lambda wire: isinstance(wire.message, Append))
        for node in (1, 2):
            cluster.sync(node)
        for wire in list(cluster.wires):
            if not isinstance(wire.message, Append):
                cluster.deliver(wire)
    assert leader.state.leads
    read(cluster, 1, 8)
    assert leader.notes[-1].name == "read-refused"


def test_reads_are_bounded() -> None:
    cluster = led_by(0)
    for token in range(READS_MAX):
        read(cluster, 0, token)
        cluster.lose()
    leader = cluster.members[cluster.ids[0]]
    assert len(leader.state.reads) == READS_MAX
    read(cluster, 0, READS_MAX)
    assert leader.notes[-1].name == "read-refused"


@pytest.mark.parametrize("to", [1, 2])
def test_leadership_goes_to_whom_it_is_handed_at_once(to: int) -> None:
    cluster = led_by(0)
    cluster.work(0)
    cluster.operate(
        0, cluster.members[cluster.ids[0]].engine.transfer(cluster.ids[to], cluster.now_ms)
    )
    cluster.quiesce()
    assert cluster.leader == to
    assert cluster.members[cluster.ids[to]].state.term == 2
    cluster.settle(100)
    assert min(cluster.heights()) >= 3


def test_a_member_that_lags_is_brought_up_to_date_before_it_may_stand() -> None:
    cluster = led_by(0)
    cluster.work(0)
    cluster.operate(
        0, cluster.members[cluster.ids[0]].engine.transfer(cluster.ids[1], cluster.now_ms)
    )
    assert not wires(cluster, StandNow)
    cluster.work(0)
    assert cluster.members[cluster.ids[0]].state.log.last_height == 2, (
        "nothing is proposed meanwhile"
    )
    cluster.quiesce()
    assert cluster.leader == 1


def test_a_transfer_to_nobody_who_answers_ends_after_a_span() -> None:
    cluster = led_by(0)
    cluster.crash(2)
    cluster.operate(
        0, cluster.members[cluster.ids[0]].engine.transfer(cluster.ids[2], cluster.now_ms)
    )
    cluster.work(0)
    cluster.settle(cluster.timing.view_timeout_ms // 2)
    assert cluster.heights()[0] == 1
    cluster.settle(2 * cluster.timing.view_timeout_ms)
    assert cluster.leader == 0
    assert cluster.heights()[0] >= 2


def test_a_transfer_is_refused_by_who_does_not_lead_and_to_who_does_not_vote() -> None:
    cluster = led_by(0)
    for node, to in ((1, 2), (0, 0)):
        member = cluster.members[cluster.ids[node]]
        cluster.operate(node, member.engine.transfer(cluster.ids[to], cluster.now_ms))
        assert member.notes[-1].name == "transfer-refused"
