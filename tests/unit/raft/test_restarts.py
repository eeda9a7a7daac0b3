"""Crashes: what was promised is on the disk, what is on the disk is enough, and a lost disk is not hidden."""

import pytest

from tallystick.consensus.api import Heard, Verdict
from tallystick.consensus.raft.messages import MESSAGE, Acked, Append, Decided
from tallystick.consensus.raft.state import KEPT_BELOW_FINAL, RECORD
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.ids import NodeId
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.plays import drop, led_by, link_at, pass_on, wires


def test_nothing_is_acknowledged_before_it_is_durable() -> None:
    """etcd 14370: an acknowledgement of what a crash then loses."""
    cluster = led_by(0)
    cluster.work(0)
    for wire in wires(cluster, Append):
        cluster.deliver(wire)
    assert not wires(cluster, Acked)
    cluster.crash(1, synced=0)
    cluster.restart(1)
    assert link_at(cluster, 1, 2) is None
    cluster.sync(2)
    assert wires(cluster, Acked, sender=2)
    cluster.crash(2)
    cluster.restart(2)
    assert link_at(cluster, 2, 2) == link_at(cluster, 0, 2)


def test_a_leader_counts_itself_only_when_its_own_disk_has_the_block() -> None:
    cluster = led_by(0, members=3)
    cluster.work(0)
    pass_on(cluster, Append, to=1)
    for wire in wires(cluster, Acked, sender=1):
        cluster.deliver(wire)
    state = cluster.members[cluster.ids[0]].state
    assert (state.own_match, state.commit) == (1, 1)
    cluster.sync(0)
    assert (state.own_match, state.commit) == (2, 2)


@pytest.mark.parametrize("synced", range(4))
@pytest.mark.parametrize("victim", [0, 1])
def test_a_crash_after_any_number_of_durable_steps_loses_nothing_that_was_committed(
    victim: int, synced: int
) -> None:
    cluster = led_by(0)
    for _ in range(3):
        cluster.work(0)
        for wire in list(cluster.wires):
            cluster.deliver(wire)
    for node in cluster.ids:
        if node != victim:
            cluster.sync(node)
    cluster.crash(victim, synced)
    cluster.settle(1_500)
    cluster.restart(victim)
    cluster.settle(3_000)
    assert len(set(cluster.heights())) == 1
    assert cluster.heights()[0] >= 2


def test_all_members_lose_power_together_and_go_on() -> None:
    cluster = led_by(0)
    for round_ in range(4):
        for node in cluster.ids:
            cluster.work(node)
        for wire in list(cluster.wires):
            cluster.deliver(wire)
        for node in cluster.ids:
            cluster.sync(node, round_)
        before = max(len(member.disk.final) for member in cluster.members.values())
        for node in cluster.ids:
            cluster.crash(node)
        for node in cluster.ids:
            cluster.restart(node)
        cluster.settle(3_000)
        assert min(cluster.heights()) > before


def test_a_log_whose_block_is_missing_refuses_to_start() -> None:
    """What was acknowledged is gone: to vote now would be amnesia (etcd 10166, fabric 3639)."""
    cluster = led_by(0)
    cluster.work(0)
    pass_on(cluster, Append)
    disk = cluster.members[cluster.ids[1]].disk
    lost = link_at(cluster, 1, 2)
    cluster.crash(1)
    disk.kept = {link: block for link, block in disk.kept.items() if link != lost}
    with pytest.raises(OperationalError, match="missing"):
        cluster.restart(1)


def far_behind() -> Cluster:
    """Member 2 lacks more than any log still has."""
    cluster = led_by(0, pipeline=4)
    cluster.crash(2)
    while cluster.heights()[0] < KEPT_BELOW_FINAL + 10:
        cluster.work(0)
        cluster.settle(10)
    return cluster


def test_the_log_is_compacted_below_the_final_height() -> None:
    cluster = far_behind()
    state = cluster.members[cluster.ids[0]].state
    assert len(state.log.entries) <= KEPT_BELOW_FINAL + state.in_flight
    assert state.log.base_height == state.final_height - KEPT_BELOW_FINAL
    record = RECORD.decode(cluster.members[cluster.ids[0]].disk.record or b"")
    assert len(record.rows) <= cluster.pipeline + 1


def test_a_follower_far_behind_is_offered_a_certificate_and_catches_up() -> None:
    cluster = far_behind()
    cluster.restart(2)
    cluster.quiesce()
    cluster.tick(60)
    cluster.quiesce()
    for _ in range(2):
        cluster.work(0)
        cluster.settle(200)
    assert cluster.heights()[2] == cluster.heights()[0]
    assert "append" in {note.name for note in cluster.members[cluster.ids[2]].notes}


def test_a_follower_slightly_behind_needs_no_catching_up() -> None:
    cluster = led_by(0, pipeline=4)
    cluster.crash(2)
    for _ in range(KEPT_BELOW_FINAL - 5):
        cluster.work(0)
        cluster.settle(10)
    cluster.restart(2)
    for _ in range(40):
        cluster.members[cluster.ids[2]].behind = None  # nobody serves it blocks
        cluster.tick(50)
        for node in cluster.ids:
            cluster.sync(node)
        for wire in list(cluster.wires):
            cluster.deliver(wire)
    assert cluster.members[cluster.ids[2]].state.log.last_height >= KEPT_BELOW_FINAL - 4


def test_snapshot_then_crash_the_ledger_and_the_log_go_back_together() -> None:
    """etcd 10219; fabric PR 3584: blocks fetched from elsewhere and the log's new beginning are one batch."""
    for synced in (0, 1):
        cluster = far_behind()
        cluster.restart(2)
        member = cluster.members[cluster.ids[2]]
        for _ in range(50):
            if member.behind is not None:
                break
            cluster.tick(10)
            for node in (0, 1):
                cluster.sync(node)
            for wire in list(cluster.wires):
                cluster.deliver(wire)
        cluster.sync(2)
        assert member.behind is not None
        assert cluster.catch_up(2, 0)
        cluster.crash(2, synced)
        cluster.restart(2)
        again = cluster.members[cluster.ids[2]]
        assert again.height == again.state.final_height == again.state.log.last_height
        assert again.height == (1 if synced == 0 else cluster.heights()[0])
        cluster.work(0)
        cluster.settle(500)
        assert cluster.heights()[2] == cluster.heights()[0]


def test_two_snapshots_in_a_row_leave_the_later_one() -> None:
    """etcd 18055: the second certificate arrives while the first one's blocks are being fetched."""
    cluster = far_behind()
    first = cluster.members[cluster.ids[0]].certificate
    for _ in range(KEPT_BELOW_FINAL + 5):
        cluster.work(0)
        cluster.settle(10)
    second = cluster.members[cluster.ids[0]].certificate
    assert first is not None
    assert second is not None
    cluster.cut_link(0, 2)
    cluster.cut_link(1, 2)
    cluster.restart(2)
    member = cluster.members[cluster.ids[2]]
    for certificate in (first, second, first):
        cluster.feed(2, _heard(0, Decided(certificate)))
    assert member.behind == second
    assert cluster.catch_up(2, 0)
    cluster.feed(2, _heard(0, Decided(first)))
    assert member.state.final_height == second.height
    assert member.state.log.last_height == second.height


def _heard(sender: int, message: Decided) -> Heard:
    return Heard(NodeId(sender), MESSAGE.encode(message))


def test_catching_up_past_a_tail_of_our_own_drops_the_tail() -> None:
    cluster = led_by(0)
    cluster.work(0)
    cluster.sync(0)
    cluster.lose()  # height 2 of term 1, on member 0 alone
    cluster.crash(0)
    cluster.elect(1)
    while cluster.heights()[1] < KEPT_BELOW_FINAL + 10:
        cluster.work(1)
        cluster.settle(10)
    cluster.restart(0)
    cluster.settle(500)
    assert cluster.heights()[0] == cluster.heights()[1]
    assert cluster.members[cluster.ids[0]].state.term == cluster.members[cluster.ids[1]].state.term


@pytest.mark.parametrize("synced", [0, 1])
def test_a_certificate_that_overtakes_a_truncation_leaves_neither_tail_nor_replacement(
    synced: int,
) -> None:
    """Install against truncation: the new leader's entry waits to be executed in the place of an old tail when the ledger is
    caught up past both; before and after a crash the log begins behind the ledger, with nothing of either."""
    cluster = led_by(0)
    cluster.work(0)
    cluster.sync(0)
    cluster.lose()  # height 2 of term 1 is on member 0 alone
    cluster.crash(0)
    cluster.elect(1)
    cluster.restart(0)
    cluster.judgement = lambda node, judge: None if node == 0 else Verdict.ACCEPT
    member = cluster.members[cluster.ids[0]]
    while not member.state.incoming:
        cluster.tick(5)
        cluster.sync(1)
        for wire in list(cluster.wires):
            cluster.deliver(wire)
    assert member.state.log.last_height == 2
    cluster.partition({0}, {1, 2})
    for _ in range(2):
        cluster.work(1)
        cluster.settle(20)
    certificate = cluster.members[cluster.ids[1]].certificate
    assert certificate is not None
    cluster.feed(0, _heard(1, Decided(certificate)))
    assert cluster.catch_up(0, 1)
    assert not member.state.incoming
    assert member.state.log.last_link == certificate.link
    cluster.crash(0, synced and len(member.steps))
    cluster.judgement = lambda node, judge: Verdict.ACCEPT
    cluster.restart(0)
    again = cluster.members[cluster.ids[0]].state
    if synced:
        assert (again.log.last_height, again.log.last_link) == (
            certificate.height,
            certificate.link,
        )
    cluster.partition()
    cluster.settle(1_000)
    assert len(set(cluster.heights())) == 1


def test_a_restarted_leader_of_an_old_tail_executes_it_before_it_opens_its_term() -> None:
    cluster = led_by(0)
    cluster.work(0)
    pass_on(cluster, Append)
    cluster.sync(0)
    drop(cluster, lambda wire: True)
    for node in cluster.ids:
        cluster.crash(node)
    cluster.judgement = lambda node, judge: None
    for node in cluster.ids:
        cluster.restart(node)
    cluster.settle(2_000)
    leader = cluster.leader
    assert leader is not None
    assert not cluster.members[leader].state.opened
    assert cluster.heights() == [1, 1, 1]
    for node in cluster.ids:
        cluster.judge_now(node)
    cluster.judgement = lambda node, judge: Verdict.ACCEPT
    cluster.settle(3_000)
    assert min(cluster.heights()) >= 3
