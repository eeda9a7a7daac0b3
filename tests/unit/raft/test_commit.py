"""What is committed, and when: plays about the bugs that cost other Rafts a committed entry."""

import pytest

from tallystick.consensus.api import HandOver, Say
from tallystick.consensus.raft import following, replication
from tallystick.consensus.raft.messages import MESSAGE, Acked, Append, Countersignature, Nack
from tallystick.consensus.raft.state import HEIGHTS_AHEAD_MAX, RaftState, Tuning
from tallystick.network.wire.ids import Height, View
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.owner import Broken
from tests.unit.raft.plays import drop, last_append, led_by, link_at, pass_on, tell, wires

ONE = Tuning(entries_per_append=1)


def test_figure_8_an_entry_of_an_older_term_is_never_committed_by_counting() -> None:
    """Thesis 3.6.2; CCF 3950, 3971, 5748."""
    cluster = Cluster(5, tuning=ONE)
    cluster.elect(0)
    cluster.work(0)
    drop(cluster, lambda wire: wire.to != 1)
    pass_on(cluster, Append, to=1)
    cluster.sync(0)
    cluster.lose()
    old = link_at(cluster, 0, 2)
    assert old is not None
    assert link_at(cluster, 1, 2) == old
    # Member 4 is elected by 2 and 3, and its block at height 2 stays on its own disk.
    cluster.crash(0)
    cluster.crash(1)
    member = cluster.members[cluster.ids[4]]
    _win_and_keep_to_itself(cluster, 4)
    newer = link_at(cluster, 4, 2)
    assert newer not in (None, old)
    assert member.state.term == 2
    cluster.crash(4)
    # Member 0 comes back, leads term 3, and brings its old block to a majority: 0, 1 and 2. Nothing of term 3 follows it.
    cluster.restart(0)
    cluster.restart(1)
    _win_and_keep_to_itself(cluster, 0)
    leader = cluster.members[cluster.ids[0]]
    assert leader.state.term >= 3
    for _ in range(20):
        if link_at(cluster, 2, 2) == old:
            break
        cluster.tick(20)
        cluster.sync(0)
        drop(cluster, lambda wire: wire.to == 3)
        pass_on(cluster, Append, to=2)
        pass_on(cluster, (Nack, Acked), sender=2)
    # Member 1 has it from term 1; a heartbeat finds that out.
    epoch, term = leader.state.setup.epoch, leader.state.term
    tell(cluster, 1, 0, Append(epoch, term, Height(2), View(1), (), Height(1), 1))
    cluster.sync(1)
    pass_on(cluster, Acked, sender=1)
    progress = leader.state.progress
    assert [progress[cluster.ids[node]].match for node in (1, 2)] == [2, 2]
    assert leader.state.commit == 1, "an entry of an older term counted"
    assert not wires(cluster, Countersignature)
    # And indeed member 4 may still overwrite it.
    cluster.lose()
    cluster.crash(0)
    cluster.crash(1)
    cluster.restart(4)
    cluster.elect(4)
    cluster.settle(300)
    assert link_at(cluster, 2, 2) == newer
    cluster.restart(0)
    cluster.restart(1)
    cluster.settle(3_000)
    assert min(cluster.heights()) >= 3


def _win_and_keep_to_itself(cluster: Cluster, node: int) -> None:
    """Elected with everybody's votes, while none of its appends arrives."""
    member = cluster.members[cluster.ids[node]]
    for _ in range(50):
        if not member.state.leads and not cluster.wires and not member.steps:
            # The first trial may only teach it the term of the others.
            member.state.clock.deadline_ms = cluster.now_ms
            cluster.tick()
        drop(cluster, lambda wire: isinstance(wire.message, Append) and wire.sender == node)
        if member.state.leads and not cluster.wires and not member.steps:
            break
        cluster.sync(node)
        for wire in list(cluster.wires):
            if not isinstance(wire.message, Append):
                cluster.deliver(wire)
                cluster.sync(wire.to)
    assert member.state.leads


def test_leaders_that_fall_in_a_row_leave_a_log_that_can_still_be_committed() -> None:
    """Each leaves an opening block everywhere and falls before it hears of that. A bound above the last final block, rather
    than above one's own log, would refuse the opening block that commits them all, for ever."""
    cluster = led_by(0)
    for turn in range(HEIGHTS_AHEAD_MAX + 3):
        node = (turn + 1) % 3
        cluster.lose()
        for member in cluster.members.values():
            member.state.clock.forget_leader()
            member.state.clock.barred_until_ms = 0
        _win_and_keep_to_itself(cluster, node)
        cluster.tick(60)
        for _ in range(3):
            pass_on(cluster, Append, sender=node)
            cluster.sync(node)
            drop(cluster, lambda wire: isinstance(wire.message, Acked))
    assert {member.state.log.last_height for member in cluster.members.values()} == {
        HEIGHTS_AHEAD_MAX + 4
    }
    assert cluster.heights() == [1, 1, 1]
    cluster.lose()
    cluster.settle(10_000)
    assert min(cluster.heights()) > HEIGHTS_AHEAD_MAX + 4


def test_nack_is_not_match_and_match_never_goes_back() -> None:
    """CCF 5324, 5326: a rejection that hints at a height is no proof of anything at it."""
    cluster = led_by(0)
    cluster.crash(1)
    cluster.crash(2)
    cluster.work(0)
    cluster.sync(0)
    leader = cluster.members[cluster.ids[0]].state
    last = leader.log.last_height
    assert last == 2
    before = {peer: progress.match for peer, progress in leader.progress.items()}
    for node in (1, 2):
        for rejected in range(last + 2):
            nack = Nack(leader.setup.epoch, leader.term, Height(rejected), last, leader.term, 1)
            tell(cluster, 0, node, nack)
    after = {peer: progress.match for peer, progress in leader.progress.items()}
    assert after == before, "a hint moved match"
    assert leader.commit == 1
    tell(cluster, 0, 1, Acked(leader.setup.epoch, leader.term, Height(0), 1, Height(0)))
    assert leader.progress[cluster.ids[1]].match == before[cluster.ids[1]]


def test_an_acknowledgement_of_what_was_never_sent_is_garbage() -> None:
    cluster = led_by(0)
    leader = cluster.members[cluster.ids[0]].state
    tell(cluster, 0, 1, Acked(leader.setup.epoch, leader.term, Height(99), 1, Height(0)))
    assert leader.progress[cluster.ids[1]].match == 1
    assert leader.commit == 1


def test_stale_nack_and_low_next_an_early_append_truncates_nothing_that_is_committed() -> None:
    """CCF 5927, 5991, 6016: the leader goes back too far, or an old append arrives late; committed entries stay."""
    cluster = led_by(0, pipeline=4)
    cluster.cut_link(0, 2)
    for _ in range(3):
        cluster.work(0)
        # Committed by 0 and 1, countersigned by nobody: what is committed is not final, so the log keeps it.
        for _ in range(4):
            cluster.sync(0)
            pass_on(cluster, (Append, Acked))
            drop(cluster, lambda wire: isinstance(wire.message, Countersignature))
        cluster.tick(20)
    follower = cluster.members[cluster.ids[1]].state
    settled = follower.log.last_height
    assert follower.commit >= 2
    assert follower.final_height == 1
    links = [follower.log.link_at(height) for height in range(1, settled + 1)]
    epoch, term = follower.setup.epoch, follower.term
    early = Append(epoch, term, Height(1), View(1), (), Height(1), 1)
    tell(cluster, 1, 0, early)
    tell(cluster, 1, 0, Append(epoch, term, Height(0), View(0), (), Height(0), 1))
    assert [follower.log.link_at(height) for height in range(1, settled + 1)] == links
    # A leader that has lost its way (next too low) sends all of it again: nothing moves.
    progress = cluster.members[cluster.ids[0]].state.progress[cluster.ids[1]]
    progress.next, progress.probing, progress.paused = 2, True, False
    cluster.tick(100)
    again = last_append(cluster, 0, 1)
    assert again.prev_height == 1
    pass_on(cluster, Append, to=1)
    assert [follower.log.link_at(height) for height in range(1, settled + 1)] == links
    assert not cluster.members[cluster.ids[1]].alarms


def test_a_conflicting_tail_stays_until_its_replacement_is_executed() -> None:
    """The old tail is durable until the moment at which the new entry is: no crash finds the log without either."""
    cluster = led_by(0)
    cluster.work(0)
    cluster.sync(0)
    cluster.lose()  # height 2 of term 1 is on member 0 alone
    cluster.crash(0)
    cluster.elect(1)
    cluster.restart(0)
    old = link_at(cluster, 0, 2)
    cluster.judgement = lambda node, judge: None
    cluster.settle(60)
    member = cluster.members[cluster.ids[0]]
    assert member.parked
    assert link_at(cluster, 0, 2) == old
    cluster.judge_now(0)
    assert link_at(cluster, 0, 2) == link_at(cluster, 1, 2) != old


def test_an_acknowledgement_never_reaches_beyond_the_entries_of_its_message() -> None:
    """CCF 6001: the follower's log is longer than the append; what stands beyond may be another leader's."""
    cluster = led_by(0, tuning=ONE, pipeline=4)
    for _ in range(2):
        cluster.work(0)
        cluster.sync(0)
        cluster.lose()
    cluster.crash(0)  # member 0 holds heights 2 and 3 of term 1, alone
    cluster.elect(1)
    cluster.cut_link(1, 0)
    cluster.restart(0)
    follower = cluster.members[cluster.ids[0]]
    term = cluster.members[cluster.ids[1]].state.term
    # The leader of term 2 asks about height 1 only.
    tell(
        cluster,
        0,
        1,
        Append(follower.state.setup.epoch, term, Height(1), View(1), (), Height(2), 1),
    )
    assert follower.state.log.last_height == 3
    assert follower.state.verified == 1
    assert follower.state.commit == 1, "the commit index went past the append"
    said = [step.promises for step in follower.steps]
    acked = [m for m in (_decoded(promises) for promises in said) if m]
    matches = [message.match for messages in acked for message in messages]
    assert matches == [1], "acknowledged beyond the entries of the message"


def _decoded(promises: list[Say]) -> list[Acked]:
    messages = [MESSAGE.decode(say.message) for say in promises]
    return [message for message in messages if isinstance(message, Acked)]


def test_the_empty_block_of_a_new_term_commits_what_stands_below_it() -> None:
    cluster = led_by(0)
    cluster.work(0)
    pass_on(cluster, Append)
    cluster.sync(0)
    cluster.lose()  # height 2 is everywhere, and nobody knows that it is committed
    cluster.crash(0)
    cluster.elect(1)
    assert [cluster.members[cluster.ids[node]].height for node in (1, 2)] == [3, 3]
    certificate = cluster.members[cluster.ids[1]].certificate
    assert certificate is not None
    assert (certificate.view, certificate.height) == (2, 3)


def test_two_leaders_tails_meet_after_partitions_in_a_row() -> None:
    """Append ABA: an old leader's append, delayed over two terms, changes nothing."""
    cluster = led_by(0)
    cluster.work(0)
    cluster.sync(0)
    late = last_append(cluster, 0, 2)
    cluster.lose()
    cluster.crash(0)
    cluster.elect(1)
    cluster.restart(0)
    cluster.settle(100)
    cluster.feed(1, HandOver(cluster.ids[0]))
    cluster.settle(100)
    assert cluster.leader == 0
    heights, link = cluster.heights(), link_at(cluster, 2, 2)
    tell(cluster, 2, 0, late)
    tell(cluster, 2, 0, late)
    assert cluster.heights() == heights
    assert link_at(cluster, 2, 2) == link


def _commits_by_counting(state: RaftState) -> None:
    if state.leads:
        matches = {peer: progress.match for peer, progress in state.progress.items()}
        matches[state.me] = state.own_match
        state.commit = max(state.commit, Height(state.configuration.committed_index(matches)))


def test_the_figure_8_play_kills_a_leader_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication, "commit", _commits_by_counting)
    with pytest.raises(AssertionError, match="an entry of an older term counted"):
        test_figure_8_an_entry_of_an_older_term_is_never_committed_by_counting()


def test_the_acknowledgement_play_kills_a_follower_that_acknowledges_its_whole_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = following._acknowledge

    def whole_log(state: RaftState, match: Height, round_: int) -> None:
        honest(state, state.log.last_height, round_)

    monkeypatch.setattr(following, "_acknowledge", whole_log)
    with pytest.raises(AssertionError, match="beyond the entries"):
        test_an_acknowledgement_never_reaches_beyond_the_entries_of_its_message()


def test_the_nack_play_kills_a_leader_that_takes_hints_for_matches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = replication.on_nack

    def believes(state: RaftState, sender: object, nack: Nack, now_ms: int) -> None:
        honest(state, sender, nack, now_ms)  # type: ignore[arg-type]
        state.progress[sender].match = nack.hint_height  # type: ignore[index]

    monkeypatch.setattr(replication, "on_nack", believes)
    with pytest.raises((AssertionError, Broken), match="match"):
        test_nack_is_not_match_and_match_never_goes_back()
