"""One engine, one epoch: the block that closes it is the last of its log, survives every leader, and is countersigned by its own
epoch's members only; what begins behind it begins with nothing said but the guard.
"""

import pytest

from tallystick.consensus import api
from tallystick.consensus.api import EpochAhead, Heard, Judge, Verdict
from tallystick.consensus.raft import Raft, jitter_of
from tallystick.consensus.raft.log import Entry, Log
from tallystick.consensus.raft.messages import (
    MESSAGE,
    Acked,
    Append,
    AskVote,
    Countersignature,
    Decided,
    GiveVote,
    LogEntry,
)
from tallystick.consensus.raft.state import RECORD
from tallystick.network.proofs.certificates import majority_of
from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.ids import Epoch, Height, NodeId, View
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.owner import CLOSING, GENESIS, KEYS, FakeCrypto, describe, make
from tests.unit.raft.plays import led_by, pass_on, tell, wires
from tests.unit.raft.walk import walk


def closing(node: int = 0, members: int = 3, last: int = 2, **options: object) -> Cluster:
    """`node` leads and has proposed the block that closes epoch 0, at height `last`; nobody has heard of it."""
    cluster = led_by(node, members, closes=(last,), **options)
    cluster.work(node, 1)
    while cluster.members[NodeId(node)].state.log.last_height < last:
        cluster.settle(5)
        cluster.work(node, 1)
    return cluster


def state(cluster: Cluster, node: int):  # type: ignore[no-untyped-def]
    return cluster.members[NodeId(node)].state


def last_entry(cluster: Cluster, node: int) -> tuple[int, int, bool]:
    """(term, height, closes) of the last entry of a member's log."""
    entry = state(cluster, node).log.entries[-1]
    return entry.term, entry.block.height, entry.block.closes


def epochs(cluster: Cluster) -> list[int]:
    return [cluster.members[node].epoch for node in cluster.ids]


def goes_on(cluster: Cluster, height: int) -> None:
    """Everybody who is up is in epoch 1 and comes further, on one chain."""
    for _ in range(200):
        up = [member for member in cluster.members.values() if member.up]
        if min(member.height for member in up) > height:
            break
        cluster.settle(50)
        if cluster.leader is not None:
            cluster.work(cluster.leader, 1)
    assert all(member.epoch == 1 for member in up)
    assert len({member.final[height].link for member in up}) == 1
    assert not [alarm for member in up for alarm in member.alarms]


# -- nothing above it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", [1, 2, 3, 8])
def test_a_full_pipeline_drains_and_nothing_stands_on_the_last_block(pipeline: int) -> None:
    """P18: however much waits, the leader appends nothing above it, and wakes for nothing until it is final."""
    cluster = closing(pipeline=pipeline, last=4)
    leader = cluster.members[NodeId(0)]
    for _ in range(20):
        cluster.work(0, 50)
        cluster.tick(1)
    assert last_entry(cluster, 0)[1:] == (4, True)
    assert leader.engine.deadline_ms > cluster.now_ms
    cluster.quiesce()
    assert cluster.heights() == [4, 4, 4]
    assert epochs(cluster) == [1, 1, 1]
    goes_on(cluster, 5)


def test_an_entry_above_the_last_one_is_an_alarm_and_is_never_acknowledged() -> None:
    cluster = closing()
    pass_on(cluster, Append, 0, 1)
    block = state(cluster, 1).log.entries[-1].block
    child = make(3, block.link, 0, 77)
    cluster.lose()
    tell(cluster, 1, 0, Append(Epoch(0), View(1), Height(2), View(1), (LogEntry(View(1), child.data),), Height(1), 9))  # fmt: skip
    cluster.sync(1)
    assert "closes the epoch" in cluster.members[NodeId(1)].alarms[-1]
    assert state(cluster, 1).halted
    assert not wires(cluster, Acked, 1)
    assert state(cluster, 1).log.last_height == 2


def test_a_log_takes_nothing_above_the_last_block_of_its_epoch() -> None:
    log = Log(Height(0), View(0), GENESIS)
    last = make(1, GENESIS, 0, CLOSING)
    log.append(Entry(View(1), last))
    with pytest.raises(InvariantError, match="above the block that closes"):
        log.append(Entry(View(1), make(2, last.link, 0, 1)))
    with pytest.raises(InvariantError, match="taken again"):
        log.take_again(View(1))
    assert log.take_again(View(3)) == Entry(View(3), last, carried=True)
    assert (log.last_term, log.last_link, log.last_height) == (3, last.link, 1)


# -- the leader dies at each step --------------------------------------------------------------------------------------


def dies_before_anybody_has_it(cluster: Cluster) -> None:
    cluster.crash(0, 9)


def dies_when_one_has_it(cluster: Cluster) -> None:
    cluster.sync(0)
    pass_on(cluster, Append, 0, 1)
    cluster.crash(0)


def dies_when_all_have_it(cluster: Cluster) -> None:
    cluster.sync(0)
    pass_on(cluster, Append, 0)
    cluster.crash(0)


def dies_when_it_alone_knows_that_it_is_committed(cluster: Cluster) -> None:
    cluster.sync(0)
    pass_on(cluster, Append, 0)
    pass_on(cluster, Acked, to=0)
    assert state(cluster, 0).commit == 2
    cluster.crash(0)


def dies_when_one_follower_knows_it_too(cluster: Cluster) -> None:
    leader_has_committed_it(cluster)
    pass_on(cluster, Append, 0, 1)
    assert state(cluster, 1).commit == 2
    cluster.crash(0, 9)


def leader_has_committed_it(cluster: Cluster) -> None:
    cluster.sync(0)
    pass_on(cluster, Append, 0)
    pass_on(cluster, Acked, to=0)


STEPS = (
    dies_before_anybody_has_it,
    dies_when_one_has_it,
    dies_when_all_have_it,
    dies_when_it_alone_knows_that_it_is_committed,
    dies_when_one_follower_knows_it_too,
)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("back", [False, True])
def test_wherever_the_leader_dies_the_epoch_closes_once_or_not_yet(step, back: bool) -> None:  # type: ignore[no-untyped-def]
    cluster = closing()
    last = state(cluster, 0).log.entries[-1].block.link
    committed = 2 in cluster.checks.committed
    step(cluster)
    committed = committed or cluster.checks.committed.get(2) == last
    cluster.lose()
    if back:
        cluster.restart(0)
    goes_on(cluster, 4)
    if committed or step is dies_when_all_have_it:
        assert cluster.members[NodeId(1)].final[1].link == last


def test_a_later_leader_takes_the_last_block_again_under_its_own_term() -> None:
    """It opens its term with it: no empty block above it, and an old acknowledgement does not count for it."""
    cluster = closing()
    dies_when_one_has_it(cluster)
    cluster.lose()
    assert last_entry(cluster, 1) == (1, 2, True)
    cluster.elect(1)
    assert "take-again" in [note.name for note in cluster.members[NodeId(1)].notes]
    assert min(cluster.heights()[1:]) >= 2
    certificate = cluster.certificates[cluster.members[NodeId(2)].final[1].link]
    assert (certificate.epoch, certificate.view > 1, len(certificate.votes)) == (0, True, 2)


def test_an_old_terms_last_block_is_never_committed_by_counting() -> None:
    """Figure 8 at the boundary: every disk has it, and a heartbeat's answer is no acknowledgement of the new entry."""
    cluster = closing()
    dies_when_all_have_it(cluster)
    cluster.lose()
    cluster.members[NodeId(1)].state.clock.forget_leader()
    cluster.members[NodeId(2)].state.clock.forget_leader()
    state(cluster, 1).clock.deadline_ms = cluster.now_ms
    cluster.tick()
    for kind in (AskVote, GiveVote, AskVote):
        cluster.sync(1)
        pass_on(cluster, kind)
    pass_on(cluster, GiveVote)
    assert state(cluster, 1).leads
    assert state(cluster, 1).progress[NodeId(2)].next == 2
    appends = [wire.message for wire in wires(cluster, Append, 1, 2)]
    assert appends
    assert all(isinstance(each, Append) and each.prev_height == 1 for each in appends)
    cluster.sync(1)
    assert state(cluster, 1).commit == 1
    # An old copy of an empty append at the place of the old entry moves nothing: terms must meet.
    pass_on(cluster, Append, 1, 2)
    assert last_entry(cluster, 2) == (state(cluster, 1).term, 2, True)
    pass_on(cluster, Acked, 2, 1)
    assert state(cluster, 1).commit == 2


def test_a_last_block_known_to_be_committed_is_replaced_by_itself_only() -> None:
    cluster = closing()
    dies_when_one_follower_knows_it_too(cluster)
    last = state(cluster, 1).log.last_link
    cluster.lose()
    cluster.elect(2)
    assert min(cluster.heights()[1:]) >= 2
    assert [cluster.members[node].final[1].link for node in cluster.ids[1:]] == [last, last]
    assert not cluster.members[NodeId(1)].alarms


def test_another_last_block_at_a_committed_height_is_an_alarm() -> None:
    """Only the very same block may be taken again: a carried one that differs contradicts what is settled."""
    cluster = closing()
    dies_when_one_follower_knows_it_too(cluster)
    cluster.lose()
    other = make(2, state(cluster, 1).log.entries[0].block.link, 2, CLOSING | 99)
    row = LogEntry(View(7), other.data, True)
    tell(cluster, 1, 2, Append(Epoch(0), View(7), Height(1), View(1), (row,), Height(1), 0))
    assert "contradicts height 2" in cluster.members[NodeId(1)].alarms[-1]


@pytest.mark.parametrize(
    ("row_term", "nonce", "good"),
    [(7, CLOSING | 99, True), (1, CLOSING | 99, False), (7, 99, False)],
)
def test_nothing_but_a_last_block_of_the_leaders_own_term_is_carried(
    row_term: int, nonce: int, good: bool
) -> None:
    cluster = led_by(0, closes=(9,))
    below = state(cluster, 1).log.entries[-1].block
    row = LogEntry(View(row_term), make(2, below.link, 2, nonce).data, True)
    tell(cluster, 1, 2, Append(Epoch(0), View(7), Height(1), View(1), (row,), Height(1), 0))
    notes = [note.name for note in cluster.members[NodeId(1)].notes]
    assert ("garbage" in notes) != good
    assert (state(cluster, 1).log.last_height == 2) == good


def test_the_time_of_a_last_block_that_is_taken_again_is_not_tested() -> None:
    """One member has it, one does not, the third is dead for good: if age made it invalid, neither could lead ever again."""
    cluster = closing()
    dies_when_one_has_it(cluster)
    cluster.lose()
    asked: list[Judge] = []

    def too_late(node: NodeId, judge: Judge) -> Verdict:
        asked.append(judge)
        return Verdict.REFUSE if judge.fresh and judge.block.closes else Verdict.ACCEPT

    cluster.judgement = too_late
    cluster.settle(5_000)
    assert min(cluster.heights()[1:]) >= 2
    assert [judge.fresh for judge in asked if judge.block.closes] == [False]


def test_a_restarted_follower_executes_the_last_block_before_it_signs_it() -> None:
    cluster = closing(members=5)
    cluster.sync(0)
    pass_on(cluster, Append, 0)
    for node in range(5):
        cluster.crash(node)
    cluster.lose()
    for node in (1, 2, 3):
        cluster.restart(node)
    goes_on(cluster, 3)


def test_a_last_block_that_only_a_dead_leader_had_vanishes_with_its_term() -> None:
    cluster = closing()
    dies_before_anybody_has_it(cluster)
    cluster.lose()
    cluster.closes = (99,)
    cluster.elect(1)
    for _ in range(5):
        cluster.work(1, 1)
        cluster.settle(50)
    assert epochs(cluster)[1:] == [0, 0]
    cluster.restart(0)
    cluster.settle(2_000)
    assert not any(block.closes for block in cluster.members[NodeId(0)].final)
    assert epochs(cluster) == [0, 0, 0]


def test_a_partition_across_the_boundary_loses_nobody() -> None:
    """The minority's leader closes the epoch in its own log; the majority goes on without that block."""
    cluster = led_by(0, 5, closes=(2,))
    cluster.partition({0, 1}, {2, 3, 4})
    cluster.work(0, 1)
    cluster.settle(20)
    assert last_entry(cluster, 1) == (1, 2, True)
    cluster.closes = (4,)
    cluster.elect(2)
    cluster.settle(100)
    cluster.partition()
    goes_on(cluster, 5)
    assert [block.height for block in cluster.members[NodeId(1)].final if block.closes] == [4]


# -- the next engine ---------------------------------------------------------------------------------------------------


def engine_of(node: int, members: int, epoch: int = 1, restored: api.Restored | None = None) -> Raft:  # fmt: skip
    cluster = closing()
    cluster.quiesce()
    member = cluster.members[NodeId(0)]
    keys = {NodeId(each): (bytes([each]) * 32 if each > 8 else KEYS[NodeId(each)]) for each in range(members)}  # fmt: skip
    told = restored or api.Restored(None, None, member.certificate, Height(2), member.link, ())
    setup = api.Setup(NodeId(node), keys, 7, 0, Epoch(epoch), GENESIS, 2, 10, cluster.timing, describe)  # fmt: skip
    return Raft(setup, FakeCrypto(0), told, jitter_of(b"x"), 0)


def test_the_next_engine_begins_in_term_zero_without_a_certificate_whatever_ended_the_last() -> (
    None
):
    told = engine_of(0, 3)
    assert (told.status().view, told.status().final_height) == (0, 2)
    log = told._state.log
    assert (log.base_term, log.base_height, log.entries) == (0, 2, [])
    assert told._state.final_certificate is None


@pytest.mark.parametrize("members", [*range(1, 12), 32, 33, 63, 64])
def test_a_majority_of_its_own_set_decides_whatever_its_size(members: int) -> None:
    engine = engine_of(0, members)
    configuration = engine._state.configuration
    need = majority_of(members)
    assert not configuration.won(map(NodeId, range(need - 1)))
    assert configuration.won(map(NodeId, range(need)))
    assert configuration.committed_index({NodeId(node): 9 for node in range(need)}) == 9
    assert configuration.committed_index({NodeId(node): 9 for node in range(need - 1)}) == 0


def test_a_later_epoch_is_a_hint_and_an_earlier_one_is_silence() -> None:
    cluster = closing()
    cluster.quiesce()
    certificate = cluster.members[NodeId(0)].certificate
    assert certificate is not None
    engine = cluster.members[NodeId(1)].engine

    def told(message) -> list[api.Effect]:  # type: ignore[no-untyped-def]
        return engine.handle(Heard(NodeId(2), MESSAGE.encode(message)), cluster.now_ms)

    for message in (
        AskVote(Epoch(0), View(9), False, View(9), Height(9), Height(9), True),
        Append(Epoch(0), View(9), Height(2), View(9), (), Height(2), 1),
        Countersignature(Epoch(0), View(1), Height(3), GENESIS, GENESIS, bytes(64)),
        Acked(Epoch(0), View(9), Height(2), 0, Height(2)),
    ):
        assert told(message) == []
        assert told(replace_epoch(message, 2)) == [EpochAhead(NodeId(2))]
    assert told(Decided(certificate)) == []
    assert engine.status().view == 0


def replace_epoch(message, epoch: int):  # type: ignore[no-untyped-def]
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return type(message)(**(fields | {"epoch": Epoch(epoch)}))


def test_the_record_of_an_epoch_dies_with_it_and_the_guard_does_not() -> None:
    cluster = closing()
    cluster.quiesce()
    for node in cluster.ids:
        cluster.sync(node)
        disk = cluster.members[node].disk
        assert disk.record is None or RECORD.decode(disk.record).final_height >= 2
        assert disk.guard is not None
    for node in cluster.ids:
        cluster.crash(node)
    for node in cluster.ids:
        cluster.restart(node)
    goes_on(cluster, 4)


# -- at random ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_whatever_happens_members_agree_across_epochs(first: int) -> None:
    outcomes = [walk(seed, closes=(2, 4, 7, 12, 20)) for seed in range(first, first + 40)]
    assert sum(outcome.epochs for outcome in outcomes) > 80
    assert sum(outcome.again for outcome in outcomes) > 8
