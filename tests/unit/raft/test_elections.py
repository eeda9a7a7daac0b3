"""Who leads: one per term, only with a complete log, and only when nobody hears a leader any more."""

import pytest

from tallystick.consensus.raft import elections
from tallystick.consensus.raft.membership import Configuration
from tallystick.consensus.raft.messages import Append, AskVote, GiveVote, Nack
from tallystick.consensus.raft.quorums import Tally
from tallystick.consensus.raft.state import RaftState
from tallystick.network.wire.ids import Height, NodeId, View
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.owner import Broken
from tests.unit.raft.plays import led_by, pass_on, tell, wires


def ids(*nodes: int) -> frozenset[NodeId]:
    return frozenset(NodeId(node) for node in nodes)


def test_a_cluster_of_any_size_elects_one_leader_and_settles() -> None:
    for members in (1, 2, 3, 4, 5, 7):
        cluster = Cluster(members)
        cluster.settle(3_000)
        assert cluster.leader is not None
        assert len(set(cluster.heights())) == 1
        assert cluster.heights()[0] >= 1
        assert len(cluster.checks.leaders) <= 2


def test_an_idle_cluster_keeps_its_leader_and_makes_empty_blocks() -> None:
    cluster = led_by(1)
    cluster.settle(10_000)
    assert (cluster.leader, cluster.members[cluster.ids[1]].state.term) == (1, 1)
    assert min(cluster.heights()) >= 4


def test_a_killed_leader_is_replaced_within_one_least_wait_of_the_broken_connection() -> None:
    cluster = led_by(0)
    cluster.settle(1_000)
    before = min(cluster.heights())
    cluster.crash(0)
    cluster.work(1)
    cluster.work(2)
    cluster.settle(cluster.timing.view_timeout_ms // 2)
    assert cluster.leader in (1, 2)
    assert cluster.heights()[1] > before


def test_a_candidate_whose_log_is_shorter_gets_no_vote() -> None:
    cluster = led_by(0)
    cluster.cut_link(0, 2)
    cluster.work(0)
    cluster.settle(50)
    cluster.crash(0)
    assert cluster.heights()[1:] == [2, 1]
    state = cluster.members[cluster.ids[1]].state
    ask = AskVote(state.setup.epoch, View(9), False, View(1), Height(1), Height(1), True)
    cluster.lose()
    tell(cluster, 1, 2, ask)
    cluster.sync(1)
    refusals = [wire.message for wire in wires(cluster, GiveVote, 1, 2)]
    assert [isinstance(m, GiveVote) and m.granted for m in refusals] == [False]


def test_one_vote_per_term_across_a_crash_after_the_vote() -> None:
    """PySyncObj; etcd 13766: the vote is durable before it leaves, in the log's record and in the guard."""
    cluster = Cluster(3)
    for node in (1, 2):
        cluster.members[cluster.ids[node]].state.clock.deadline_ms = 0
    epoch = cluster.members[cluster.ids[0]].state.setup.epoch
    ask = AskVote(epoch, View(5), False, View(0), Height(0), Height(0), False)
    tell(cluster, 0, 1, ask)
    assert not wires(cluster, GiveVote), "a vote left before it was durable"
    cluster.crash(0, synced=1)
    cluster.restart(0)
    tell(cluster, 0, 2, ask)
    cluster.sync(0)
    assert [w.message.granted for w in wires(cluster, GiveVote, 0, 2)] == [False]  # type: ignore[union-attr]
    tell(cluster, 0, 1, ask)
    cluster.sync(0)
    assert [w.message.granted for w in wires(cluster, GiveVote, 0, 1)] == [True]  # type: ignore[union-attr]


def test_a_vote_that_was_not_durable_at_the_crash_was_never_given() -> None:
    cluster = Cluster(3)
    epoch = cluster.members[cluster.ids[0]].state.setup.epoch
    ask = AskVote(epoch, View(5), False, View(0), Height(0), Height(0), False)
    tell(cluster, 0, 1, ask)
    cluster.crash(0, synced=0)
    cluster.restart(0)
    tell(cluster, 0, 2, ask)
    cluster.sync(0)
    assert [w.message.granted for w in wires(cluster, GiveVote, 0, 2)] == [True]  # type: ignore[union-attr]


def test_the_guard_alone_forbids_a_second_vote_when_the_record_is_lost() -> None:
    """A node comes back with a lost log under its old id (etcd 10166): the guard beside the key still knows its vote."""
    cluster = Cluster(3)
    epoch = cluster.members[cluster.ids[0]].state.setup.epoch
    ask = AskVote(epoch, View(5), False, View(0), Height(0), Height(0), False)
    tell(cluster, 0, 1, ask)
    cluster.sync(0)
    cluster.crash(0)
    cluster.members[cluster.ids[0]].disk.record = None
    cluster.restart(0)
    assert cluster.members[cluster.ids[0]].state.term == 5
    tell(cluster, 0, 2, ask)
    cluster.sync(0)
    assert [w.message.granted for w in wires(cluster, GiveVote, 0, 2)] == [False]  # type: ignore[union-attr]


def test_a_member_that_hears_no_leader_disturbs_nobody_who_does() -> None:
    """Pre-vote and loyalty: an isolated member's trials raise no term."""
    cluster = led_by(0)
    cluster.cut_link(0, 2)
    for _ in range(200):
        cluster.work(0)
        cluster.settle(25)
    assert {member.state.term for member in cluster.members.values()} == {1}
    assert cluster.leader == 0
    assert cluster.heights()[0] > 50


def test_prevote_two_cohorts_long_log_of_a_low_term_and_short_log_of_a_high_term() -> None:
    """etcd 8243, 8501; openraft 1796: whoever may lead must come to, whatever terms the others have seen."""
    cluster = led_by(0)
    cluster.cut_link(0, 2)
    cluster.cut_link(1, 2)
    cluster.work(0)
    cluster.settle(100)
    assert cluster.heights() == [2, 2, 1]
    cluster.crash(0)
    lagging = cluster.members[cluster.ids[2]]
    elections.adopt(lagging.state, View(7), cluster.now_ms)  # it has seen elections that nobody won
    cluster.work(2)
    cluster.sync(2)
    cluster.partition()
    cluster.settle(3_000)
    assert cluster.leader in (1, 2)
    assert cluster.members[cluster.ids[1]].state.term > 7
    assert cluster.heights()[1] == cluster.heights()[2] > 2


def test_a_low_term_leader_learns_of_the_higher_term_and_is_not_ignored() -> None:
    cluster = led_by(0)
    state = cluster.members[cluster.ids[1]].state
    elections.adopt(state, View(4), cluster.now_ms)
    cluster.work(0)
    cluster.sync(0)
    pass_on(cluster, Append, to=1)
    answers = [wire.message for wire in wires(cluster, Nack, 1, 0)]
    assert [isinstance(m, Nack) and m.term for m in answers] == [4]
    cluster.settle(3_000)
    assert cluster.leader is not None
    assert len({member.state.term for member in cluster.members.values()}) == 1


def test_a_bridge_partition_livelocks_nobody() -> None:
    """Cloudflare 2020-11-02: two members do not hear each other, the third hears both."""
    cluster = led_by(0)
    cluster.cut_link(0, 1)
    heights = []
    for _ in range(40):
        cluster.work(0)
        cluster.work(2)
        cluster.settle(100)
        heights.append(min(cluster.heights()))
    assert heights[-1] - heights[5] >= 10, heights
    assert max(member.state.term for member in cluster.members.values()) <= 2


def test_an_asymmetric_partition_costs_one_election_at_most() -> None:
    """The leader hears nobody and is heard by all: check-quorum ends it."""
    cluster = led_by(0)
    for node in (1, 2):
        cluster.cut_link(node, 0, both=False)
    for _ in range(20):
        for node in (1, 2):
            cluster.work(node)
        cluster.settle(100)
    assert cluster.leader in (1, 2)
    assert cluster.heights()[1] == cluster.heights()[2] > 5
    assert cluster.members[cluster.ids[1]].state.term <= 4


def test_a_leader_without_a_quorum_steps_down_within_a_span() -> None:
    cluster = led_by(0)
    cluster.partition({0}, {1, 2})
    cluster.settle(2 * cluster.timing.view_timeout_ms)
    assert not cluster.members[cluster.ids[0]].state.leads
    assert cluster.leader in (1, 2)


def test_a_joint_majority_is_a_majority_of_each_half() -> None:
    """CCF 3948, 4018, 4049: never a majority of the union. Arithmetic only: no engine runs on a joint configuration."""
    joint = Configuration(ids(0, 1, 2), ids(0, 3, 4))
    assert not joint.won(ids(0, 1, 2))
    assert joint.won(ids(0, 1, 3))
    assert joint.committed_index(dict.fromkeys(ids(0, 1, 2), 7)) == 0
    assert joint.committed_index(dict.fromkeys(ids(0, 1, 3), 7)) == 7


def test_an_empty_configuration_is_no_configuration() -> None:
    with pytest.raises(Exception, match="decides everything"):
        Configuration.of(())
    assert Configuration.of(ids(0)).tally({}) is Tally.PENDING


def test_two_leaders_of_one_term_are_an_alarm_and_the_end() -> None:
    cluster = led_by(0)
    state = cluster.members[cluster.ids[2]].state
    tell(
        cluster,
        2,
        1,
        Append(state.setup.epoch, state.term, Height(1), View(1), (), Height(1), 1),
    )
    assert state.halted
    assert "both lead term 1" in cluster.members[cluster.ids[2]].alarms[0]
    assert cluster.members[cluster.ids[2]].engine.status().waiting_for.startswith("people")


def test_a_member_without_loyalty_would_let_an_isolated_one_end_the_term(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without pre-vote and loyalty the isolated member's play fails: the rules are what it tests."""
    monkeypatch.setattr(RaftState, "leads", property(lambda state: False))
    with pytest.raises((AssertionError, Broken)):
        test_a_member_that_hears_no_leader_disturbs_nobody_who_does()


def test_of_two_trials_at_once_one_gives_way_and_no_vote_is_split() -> None:
    """With four members and one dead, every survivor's vote is needed: a split vote would cost a whole wait."""
    cluster = led_by(0, members=4)
    cluster.crash(0)
    for node in (1, 2, 3):
        cluster.members[cluster.ids[node]].state.clock.deadline_ms = cluster.now_ms
    cluster.tick()
    cluster.quiesce()
    assert cluster.leader == 1
    assert set(cluster.checks.leaders) == {(0, 1), (0, 2)}


def test_a_member_that_gave_way_to_nobody_who_stands_stands_itself() -> None:
    cluster = led_by(0, members=3)
    cluster.crash(0)
    cluster.members[cluster.ids[1]].state.clock.deadline_ms = cluster.now_ms
    cluster.tick()
    pass_on(cluster, AskVote)
    cluster.crash(1)
    cluster.restart(0)
    cluster.settle(cluster.timing.view_timeout_ms)
    assert cluster.leader in (0, 2)
