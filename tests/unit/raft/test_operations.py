"""Reads by quorum index, and leadership handed over."""

import pytest

from tallystick.consensus.api import HandOver, Tick
from tallystick.consensus.raft.messages import (
    TERMS_AHEAD_MAX,
    Acked,
    Append,
    AskVote,
    Nack,
    StandNow,
)
from tallystick.consensus.raft.state import READS_MAX
from tallystick.network.wire.ids import Height, View
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.plays import drop, led_by, link_at, pass_on, tell, wires


def confirmed(cluster: Cluster, node: int) -> dict[int, int]:
    return cluster.members[cluster.ids[node]].known


def test_a_read_is_confirmed_by_a_majority_that_answered_after_it() -> None:
    cluster = led_by(0)
    round_ = cluster.read(0)
    assert confirmed(cluster, 0) == {}
    pass_on(cluster, Append, to=1)
    pass_on(cluster, Acked, sender=1)
    assert confirmed(cluster, 0) == {round_: 1}


def test_an_answer_from_before_the_read_confirms_nothing() -> None:
    cluster = led_by(0)
    cluster.tick(60)
    pass_on(cluster, Append)
    round_ = cluster.read(0)
    pass_on(cluster, Acked)  # to the heartbeat from before
    assert confirmed(cluster, 0) == {}
    cluster.quiesce()
    assert confirmed(cluster, 0) == {round_: 1}


def test_a_follower_asks_its_leader_and_waits_for_what_it_has_not_seen() -> None:
    cluster = led_by(0)
    cluster.work(0)
    drop(cluster, lambda wire: wire.to == 2)
    for _ in range(6):  # member 2 hears nothing of the block that the others make final
        for node in (0, 1):
            cluster.sync(node)
        for wire in [wire for wire in cluster.wires if wire.to != 2]:
            cluster.deliver(wire)
        drop(cluster, lambda wire: wire.to == 2)
    assert cluster.heights() == [2, 2, 1]
    round_ = cluster.read(2)
    cluster.quiesce()
    assert confirmed(cluster, 2) == {round_: 2}


def test_a_follower_without_a_leader_answers_nothing() -> None:
    cluster = led_by(0)
    cluster.crash(0)
    cluster.members[cluster.ids[1]].state.leader = None
    cluster.read(1)
    cluster.quiesce()
    assert confirmed(cluster, 1) == {}
    assert cluster.members[cluster.ids[1]].notes[-1].name == "read-refused"


def test_a_question_leaves_what_is_on_its_way_alone() -> None:
    """Each heartbeat may send again what seems lost; a question for the read index is none, or readers would slow writers."""
    cluster = led_by(0, pipeline=4)
    cluster.work(0)
    cluster.sync(0)
    for _ in range(3):
        cluster.read(0)
    leader = cluster.members[cluster.ids[0]].state
    assert not any(progress.probing for progress in leader.progress.values())
    with_entries = [w for w in wires(cluster, Append, to=1) if getattr(w.message, "entries", ())]
    assert len(with_entries) == 1


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
    cluster.read(0)
    cluster.partition()
    cluster.quiesce()
    assert confirmed(cluster, 0) == {}
    assert not cluster.members[cluster.ids[0]].state.leads


def test_only_a_leader_with_a_commit_of_its_own_term_takes_a_read() -> None:
    cluster = led_by(0)
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
    cluster.read(1)
    assert leader.notes[-1].name == "read-refused"


def test_reads_are_bounded() -> None:
    cluster = led_by(0)
    for _ in range(READS_MAX):
        cluster.read(0)
        cluster.lose()
    leader = cluster.members[cluster.ids[0]]
    assert len(leader.state.reads) == READS_MAX
    cluster.read(0)
    assert leader.notes[-1].name == "read-refused"


@pytest.mark.parametrize("to", [1, 2])
def test_leadership_goes_to_whom_it_is_handed_at_once(to: int) -> None:
    cluster = led_by(0)
    cluster.work(0)
    cluster.feed(0, HandOver(cluster.ids[to]))
    cluster.quiesce()
    assert cluster.leader == to
    assert cluster.members[cluster.ids[to]].state.term == 2
    cluster.settle(100)
    assert min(cluster.heights()) >= 3


def test_a_member_that_lags_is_brought_up_to_date_before_it_may_stand() -> None:
    cluster = led_by(0)
    cluster.work(0)
    cluster.feed(0, HandOver(cluster.ids[1]))
    assert not wires(cluster, StandNow)
    cluster.work(0)
    assert cluster.members[cluster.ids[0]].state.log.last_height == 2, (
        "nothing is proposed meanwhile"
    )
    cluster.quiesce()
    assert cluster.leader == 1


def test_a_transfer_to_nobody_who_answers_ends_after_a_span() -> None:
    cluster = led_by(0)
    cluster.cut |= {(cluster.ids[0], cluster.ids[2]), (cluster.ids[2], cluster.ids[0])}  # unseen
    cluster.feed(0, HandOver(cluster.ids[2]))
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
        cluster.feed(node, HandOver(cluster.ids[to]))
        assert member.notes[-1].name == "transfer-refused"


def test_without_a_name_it_goes_to_the_longest_log_that_is_connected() -> None:
    cluster = led_by(0, members=5)
    cluster.crash(1)
    drop(cluster, lambda wire: wire.to == 2)
    cluster.work(0)
    drop(cluster, lambda wire: wire.to == 2)
    cluster.sync(0)
    for node in (3, 4):
        pass_on(cluster, Append, to=node)
    pass_on(cluster, Acked)
    cluster.feed(0, HandOver())
    cluster.quiesce()
    assert cluster.leader == 3


def test_nobody_is_handed_anything_by_who_is_alone() -> None:
    cluster = led_by(0)
    cluster.partition({0}, {1, 2})
    cluster.feed(0, HandOver())
    leader = cluster.members[cluster.ids[0]]
    assert leader.notes[-1].name == "transfer-refused"
    assert leader.state.transfer_to is None


@pytest.mark.parametrize("ahead", [TERMS_AHEAD_MAX, TERMS_AHEAD_MAX + 1])
def test_a_term_out_of_reach_is_garbage_and_leaves_us_terms_to_stand_in(ahead: int) -> None:
    """One message of the last term that can be written would make our own next one undecodable."""
    cluster = led_by(0)
    member = cluster.members[cluster.ids[1]]
    term = View(member.state.term + ahead)
    epoch = member.state.setup.epoch
    tell(cluster, 1, 2, AskVote(epoch, term, False, term, Height(9), Height(0), True))
    if ahead > TERMS_AHEAD_MAX:
        assert member.notes[-1].name == "garbage"
        assert member.state.term == 1
        tell(cluster, 1, 2, Nack(epoch, View(2**63 - 1), Height(0), Height(0), View(0), 0))
        assert member.state.term == 1
    else:
        assert member.state.term == term
        cluster.settle(3_000)  # a leader of a later term, whose messages all can read
        assert cluster.leader is not None
        assert len({link_at(cluster, node, 2) for node in (0, 1, 2)}) == 1
