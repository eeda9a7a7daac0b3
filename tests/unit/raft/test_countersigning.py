"""Certificates: only after commit, execution and fsync, and one block per height for ever."""

import pytest

from tallystick.consensus.api import Verdict
from tallystick.consensus.raft import countersigning
from tallystick.consensus.raft.messages import (
    Acked,
    Append,
    Countersignature,
    Decided,
    Declined,
)
from tallystick.consensus.raft.state import HEIGHTS_AHEAD_MAX, RaftState
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.wire.ids import Height, NodeId, View
from tallystick.network.wire.signing import Phase, vote_message
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.owner import Broken, FakeCrypto, make
from tests.unit.raft.plays import drop, led_by, link_at, pass_on, tell, wires


def test_countersign_after_commit_and_not_when_an_append_arrives() -> None:
    """A receipt must never name a block that a new leader overwrites."""
    cluster = led_by(0)
    cluster.work(0)
    pass_on(cluster, Append)
    assert link_at(cluster, 1, 2) is not None
    assert not wires(cluster, Countersignature), "countersigned at append"
    cluster.sync(0)
    pass_on(cluster, Acked)
    assert {wire.sender for wire in wires(cluster, Countersignature)} == {0}
    pass_on(cluster, Append)
    assert {wire.sender for wire in wires(cluster, Countersignature)} == {0, 1, 2}
    cluster.quiesce()
    assert cluster.heights() == [2, 2, 2]


def test_a_countersignature_waits_for_the_disk() -> None:
    cluster = led_by(0)
    cluster.work(0)
    pass_on(cluster, Append)
    cluster.sync(0)
    for wire in wires(cluster, Acked):
        cluster.deliver(wire)
    assert cluster.members[cluster.ids[0]].state.commit == 2
    assert not wires(cluster, Countersignature, sender=0)
    cluster.sync(0)
    assert wires(cluster, Countersignature, sender=0)


def test_nothing_is_countersigned_before_this_process_has_executed_it() -> None:
    """After a restart the log counts as acknowledged; its blocks are executed again before anything is signed."""
    cluster = led_by(0)
    cluster.work(0)
    pass_on(cluster, Append)
    cluster.sync(0)
    cluster.crash(1)
    cluster.judgement = lambda node, judge: None if node == 1 else Verdict.ACCEPT
    cluster.restart(1)
    cluster.settle(300)
    assert not [
        note for note in cluster.members[cluster.ids[1]].notes if note.name == "countersign"
    ]
    cluster.judgement = lambda node, judge: Verdict.ACCEPT
    cluster.judge_now(1)
    cluster.settle(300)
    assert cluster.heights()[1] == cluster.heights()[0] >= 2


def test_a_certificate_has_the_term_of_its_entry_and_a_majority() -> None:
    for members, least in ((1, 1), (2, 2), (3, 2), (4, 3), (5, 3)):
        cluster = led_by(0, members=members)
        certificate = cluster.members[cluster.ids[0]].certificate
        assert certificate is not None
        assert len(certificate.votes) == least
        assert (certificate.phase, certificate.view) == (Phase.COMMIT, 1)
        assert countersigning.genuine_certificate(
            cluster.members[cluster.ids[0]].state, certificate
        )


def forged(cluster: Cluster, height: int, signers: tuple[int, ...]) -> Certificate:
    setup = cluster.members[cluster.ids[0]].state.setup
    block = make(height, setup.genesis_link, 0, 0)
    message = vote_message(
        setup.chain,
        setup.lane,
        setup.epoch,
        View(1),
        block.height,
        Phase.COMMIT,
        block.link,
        block.parent_link,
    )
    votes = tuple(CertVote(NodeId(node), FakeCrypto(node).sign(message)) for node in signers)
    return Certificate(
        Phase.COMMIT, setup.epoch, View(1), block.height, block.link, block.parent_link, votes
    )


def test_a_certificate_of_less_than_a_majority_is_none() -> None:
    cluster = led_by(0)
    state = cluster.members[cluster.ids[2]].state
    assert countersigning.genuine_certificate(state, forged(cluster, 9, (0, 1)))
    assert not countersigning.genuine_certificate(state, forged(cluster, 9, (0,)))
    tell(cluster, 2, 1, Decided(forged(cluster, 9, (0,))))
    assert cluster.members[cluster.ids[2]].behind is None
    tell(cluster, 2, 1, Decided(forged(cluster, 9, (0, 1))))
    assert cluster.members[cluster.ids[2]].behind is not None


def test_a_forged_countersignature_makes_no_certificate_and_names_its_sender() -> None:
    cluster = led_by(0)
    cluster.work(0)
    pass_on(cluster, Append)
    cluster.sync(0)
    pass_on(cluster, Acked)
    genuine = wires(cluster, Countersignature, 0, 1)[0].message
    assert isinstance(genuine, Countersignature)
    cluster.lose()
    tell(cluster, 1, 2, genuine)  # member 2 passes member 0's signature off as its own
    tell(cluster, 1, 0, genuine)
    member = cluster.members[cluster.ids[1]]
    assert member.height == 1
    assert [n.facts["sender"] for n in member.notes if n.name == "forged-vote"] == [2]


@pytest.mark.parametrize(
    ("ahead", "kept"), [(HEIGHTS_AHEAD_MAX, True), (HEIGHTS_AHEAD_MAX + 1, False)]
)
def test_countersignatures_are_kept_up_to_a_bound_ahead(ahead: int, kept: bool) -> None:
    cluster = led_by(0)
    state = cluster.members[cluster.ids[1]].state
    height = Height(state.final_height + ahead)
    vote = Countersignature(
        state.setup.epoch, View(1), height, state.final_link, state.final_link, bytes(64)
    )
    tell(cluster, 1, 2, vote)
    assert ((View(1), height) in state.ballots) is kept


def test_lost_countersignatures_are_said_again() -> None:
    cluster = led_by(0)
    cluster.work(0)
    for _ in range(6):
        for node in cluster.ids:
            cluster.sync(node)
        pass_on(cluster, (Append, Acked))
        drop(cluster, lambda wire: isinstance(wire.message, Countersignature))
    assert cluster.heights() == [1, 1, 1]
    cluster.settle(200)
    assert cluster.heights() == [2, 2, 2]


def test_a_leader_whose_result_loses_steps_down_and_does_not_come_back() -> None:
    cluster = led_by(0)
    cluster.judgement = lambda node, judge: (
        Verdict.DISAGREE
        if judge.block.height == 2 and judge.block.data[41] == 0
        else Verdict.ACCEPT
    )
    cluster.work(0)
    for _ in range(4):
        for node in cluster.ids:
            cluster.sync(node)
        pass_on(cluster, (Append, Declined))
    leader = cluster.members[cluster.ids[0]]
    assert not leader.state.leads
    assert "executed the block proposed at height 2 differently" in leader.alarms[0]
    assert leader.state.barred(cluster.now_ms + 10**9)
    cluster.settle(4_000)
    assert cluster.leader in (1, 2)
    assert cluster.heights()[0] == cluster.heights()[1] >= 2
    assert link_at(cluster, 0, 2) not in leader.state.lost


def test_one_member_that_disagrees_does_not_unseat_a_leader_whom_a_majority_follows() -> None:
    cluster = led_by(0)
    cluster.judgement = lambda node, judge: Verdict.DISAGREE if node == 2 else Verdict.ACCEPT
    cluster.work(0)
    cluster.settle(60)
    assert cluster.leader == 0
    assert cluster.heights()[:2] == [2, 2]
    assert cluster.members[cluster.ids[2]].state.halted or cluster.heights()[2] <= 2


def test_a_block_whose_time_is_refused_is_taken_once_a_majority_has_committed_it() -> None:
    """A follower's bad clock delays only itself."""
    cluster = led_by(0)
    cluster.judgement = lambda node, judge: (
        Verdict.REFUSE if node == 2 and judge.fresh else Verdict.ACCEPT
    )
    for _ in range(5):
        cluster.work(0)
        cluster.settle(200)
    assert cluster.leader == 0
    assert cluster.heights()[2] == cluster.heights()[0] >= 6
    assert not cluster.members[cluster.ids[2]].alarms


def test_a_leader_whose_clock_everybody_refuses_hands_over() -> None:
    cluster = led_by(0)
    cluster.judgement = lambda node, judge: (
        Verdict.REFUSE if judge.fresh and judge.block.data[41] == 0 else Verdict.ACCEPT
    )
    for _ in range(30):
        for node in cluster.ids:
            cluster.work(node)
        cluster.settle(100)
    assert cluster.leader in (1, 2)
    assert min(cluster.heights()) >= 5


def test_a_leader_that_brings_nothing_about_lets_others_try() -> None:
    """Nobody ever answers for its blocks: bodies that never come, a time far ahead."""
    cluster = led_by(0)
    cluster.judgement = lambda node, judge: (
        None if judge.fresh and judge.block.data[41] == 0 else Verdict.ACCEPT
    )
    cluster.work(0)
    for _ in range(60):
        for node in cluster.ids:
            cluster.work(node)
        cluster.settle(100)
    assert cluster.leader in (1, 2)
    assert min(cluster.heights()) >= 5


def test_the_countersigning_play_kills_a_member_that_signs_what_it_appends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = countersigning.sign

    def eager(state: RaftState, now_ms: int) -> None:
        commit, state.commit = state.commit, state.log.last_height
        honest(state, now_ms)
        state.commit = commit

    monkeypatch.setattr(countersigning, "sign", eager)
    with pytest.raises((AssertionError, Broken), match=r"countersigned at append|not committed"):
        test_countersign_after_commit_and_not_when_an_append_arrives()


def test_a_follower_that_cannot_execute_what_is_final_is_sent_to_fetch_it() -> None:
    """Its owner lacks the transactions of a block that the others have settled and put away: appends alone would keep it
    waiting until the log is compacted, and a network of three could not lose another member."""
    cluster = led_by(0)
    cluster.judgement = lambda node, judge: None if node == 2 else Verdict.ACCEPT
    cluster.work(0)
    cluster.settle(4 * cluster.members[cluster.ids[0]].state.clock.heartbeat_ms)
    assert cluster.heights() == [2, 2, 2]
