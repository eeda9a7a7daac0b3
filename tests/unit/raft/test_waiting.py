"""Each way in which a Raft network can stand still, and whom a member then names."""

from tallystick.consensus.api import Verdict
from tallystick.consensus.raft.messages import Acked, Append, AskVote, Countersignature, GiveVote
from tallystick.consensus.waiting import Phase, Waiting
from tallystick.network.wire.ids import Height, View
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.plays import led_by, tell, wires


def waiting(cluster: Cluster, node: int) -> Waiting:
    return cluster.members[cluster.ids[node]].engine.status().waiting


def pump(cluster: Cluster, *kinds: type, rounds: int = 20) -> None:
    """Deliver messages of these kinds alone, and what comes of them; every disk is instant."""
    for _ in range(rounds):
        for node in cluster.ids:
            cluster.sync(node)
        for wire in list(cluster.wires):
            if wire in cluster.wires and isinstance(wire.message, kinds):
                cluster.deliver(wire)


def test_a_leader_names_whose_acknowledgement_of_the_append_is_missing() -> None:
    cluster = led_by(0)
    cluster.work(0)
    cluster.sync(0)
    told = waiting(cluster, 0)
    assert (told.phase, told.awaited, told.needed) == (Phase.APPEND_ACKS, (1, 2), 1)
    assert "one of members 1, 2" in told.unblocks


def test_a_leader_whose_own_disk_is_late_is_among_the_awaited() -> None:
    cluster = led_by(0)
    cluster.work(0)
    told = waiting(cluster, 0)
    assert (told.phase, told.awaited) == (Phase.APPEND_ACKS, (0, 1, 2))


def test_a_leader_names_whose_countersignature_is_missing() -> None:
    cluster = led_by(0)
    cluster.work(0)
    pump(cluster, Append, Acked)
    told = waiting(cluster, 0)
    assert (told.phase, told.awaited, told.needed) == (Phase.COUNTERSIGNATURES, (1, 2), 1)
    pump(cluster, Countersignature)
    assert waiting(cluster, 0).phase is not Phase.COUNTERSIGNATURES


def test_a_follower_names_its_leader_until_it_hears_what_is_committed() -> None:
    cluster = led_by(0)
    told = waiting(cluster, 1)
    assert (told.phase, told.awaited, told.needed) == (Phase.PROPOSAL, (0,), 1)
    cluster.work(0)
    pump(cluster, Append)
    told = waiting(cluster, 1)
    assert (told.phase, told.awaited) == (Phase.APPEND_ACKS, (0,))


def test_a_follower_that_has_not_judged_the_block_names_itself() -> None:
    cluster = led_by(0)
    cluster.judgement = lambda node, _: None if node == 1 else Verdict.ACCEPT
    cluster.work(0)
    pump(cluster, Append)
    told = waiting(cluster, 1)
    assert (told.phase, told.awaited, told.needed) == (Phase.JUDGEMENT, (1,), 1)


def test_a_candidate_names_whose_vote_is_missing() -> None:
    cluster = Cluster(3)
    while not wires(cluster, AskVote):
        cluster.tick(20)
    candidate = cluster.wires[0].sender
    others = tuple(node for node in cluster.ids if node != candidate)
    told = waiting(cluster, candidate)
    assert (told.phase, told.awaited, told.needed) == (Phase.ELECTION_VOTES, others, 1)


def test_a_lost_election_says_that_the_next_one_comes() -> None:
    cluster = Cluster(3)
    while not cluster.wires:
        cluster.tick(20)
    candidate = cluster.wires[0].sender
    state = cluster.members[candidate].state
    for other in cluster.ids:
        if other != candidate:
            tell(cluster, candidate, other, GiveVote(state.setup.epoch, state.term, True, False))
    assert "the next comes by itself" in waiting(cluster, candidate).unblocks


def test_without_a_leader_the_others_are_awaited() -> None:
    cluster = Cluster(3)
    told = waiting(cluster, 2)
    assert (told.phase, told.awaited, told.needed) == (Phase.LEADER, (0, 1), 1)


def test_without_a_majority_the_missing_connections_are_named() -> None:
    cluster = led_by(0, members=5)
    cluster.partition({0, 1}, {2, 3, 4})
    told = waiting(cluster, 0)
    assert (told.phase, told.awaited, told.needed) == (Phase.CONNECTIONS, (2, 3, 4), 1)


def test_two_leaders_of_one_term_wait_for_people() -> None:
    cluster = led_by(0)
    state = cluster.members[cluster.ids[2]].state
    tell(cluster, 2, 1, Append(state.setup.epoch, state.term, Height(1), View(1), (), Height(1), 1))
    told = waiting(cluster, 2)
    assert (told.phase, told.awaited, told.needed) == (Phase.PEOPLE, (), 0)
    assert "both lead term 1" in told.unblocks


def test_since_is_when_the_work_came_and_an_election_does_not_move_it() -> None:
    cluster = led_by(0)
    cluster.settle(600)
    asked_ms = cluster.now_ms
    cluster.partition({0}, {1}, {2})
    cluster.work(1)
    cluster.settle(3_000)
    assert waiting(cluster, 1).since_ms <= asked_ms
