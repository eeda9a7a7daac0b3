"""What a restart finds, and what it must refuse: promises rest on the disk, never on memory."""

import pytest

from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.consensus.pbft.messages import MESSAGE, NewView, Proposal, ViewChange, Vote
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import BodyId
from tallystick.network.wire.signing import batch_digest
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.events import Wait
from tallystick.node.core.messages import Forward, Held
from tallystick.node.storage.memory import MemoryGuard, MemoryStore
from tests.unit.core.lab import Lab


def alone() -> Lab:
    """Four members, of which only member 1 runs: nothing is ever ordered."""
    return Lab(running=(1,))


def rows(lab: Lab, node: int, prefix: bytes) -> list[tuple[bytes, bytes]]:
    return list(lab.box(node).store.scan(prefix))


# -- batches -----------------------------------------------------------------------------------------------------------


def test_nothing_is_said_to_be_received_before_it_is_durable() -> None:
    lab = alone()
    lab.box(1).held = []
    token = lab.submit(1, lab.pay(), wait=Wait.RECEIVED)
    assert token not in lab.told
    lab.disk_goes_on(1)
    assert lab.told[token][0].state == "received"


def test_what_was_received_is_waited_for_again_after_a_crash() -> None:
    lab = alone()
    raws = [lab.pay() for _ in range(3)]
    for raw in raws:
        lab.submit(1, raw, wait=Wait.RECEIVED)
    lab.crash(1)
    lab.start(1)
    lab.settle()
    assert all(body_id(raw) in lab.core(1).pool for raw in raws)
    for node in (0, 2, 3):
        lab.start(node)
    lab.settle()
    lab.pass_time(3_000)
    assert len(lab.core(1).pool) == 0
    assert all(lab.answer(2, raw).state == "final" for raw in raws)
    assert rows(lab, 1, schema.BATCH) == []


def test_what_never_reached_the_disk_is_gone_and_nobody_was_told() -> None:
    lab = alone()
    lab.box(1).held = []
    raw = lab.pay()
    token = lab.submit(1, raw, wait=Wait.RECEIVED)
    lab.crash(1)
    lab.box(1).held = None
    lab.start(1)
    lab.settle()
    assert token not in lab.told
    assert body_id(raw) not in lab.core(1).pool


def test_a_holder_signs_only_when_the_batch_is_on_its_disk() -> None:
    lab = alone()
    lab.box(1).held = []
    raw = lab.pay()
    lab.say_bodies(2, 1, Forward((raw,)))
    assert [said for said in lab.said_bodies(1) if isinstance(said, Held)] == []
    lab.disk_goes_on(1)
    assert len([said for said in lab.said_bodies(1) if isinstance(said, Held)]) == 1
    lab.crash(1)
    lab.start(1)
    lab.settle()
    assert body_id(raw) in lab.core(1).pool


def test_a_body_of_our_own_client_is_written_before_a_peer_is_told_that_we_hold_it() -> None:
    """A client retries at another node: the same body waits in our unwritten batch when a peer hands it on."""
    lab = alone()
    lab.box(1).checks_held = []
    first, second = lab.pay(), lab.pay()
    lab.submit(1, first, wait=Wait.RECEIVED)
    lab.submit(1, second, wait=Wait.RECEIVED)
    box = lab.box(1)
    assert box.checks_held is not None
    check = box.checks_held.pop(0)
    lab._check(box, check)
    lab.settle()
    lab.say_bodies(2, 1, Forward((first,)))
    assert [said for said in lab.said_bodies(1) if isinstance(said, Held)] != []
    lab.crash(1)
    lab.box(1).checks_held = None
    lab.start(1)
    lab.settle()
    assert body_id(first) in lab.core(1).pool


def test_a_batch_that_is_sent_on_while_it_is_read_back_keeps_its_row() -> None:
    lab = alone()
    raw = lab.pay()
    lab.say_bodies(2, 1, Forward((raw,)))
    lab.crash(1)
    lab.box(1).checks_held = []
    lab.start(1)
    lab.settle()
    lab.say_bodies(2, 1, Forward((raw,)))
    lab.checks_go_on(1, newest_first=True)
    assert len(rows(lab, 1, schema.BATCH)) == 1
    lab.crash(1)
    lab.start(1)
    lab.settle()
    assert body_id(raw) in lab.core(1).pool


def test_what_expired_while_the_node_was_down_leaves_the_pool_with_the_next_block() -> None:
    lab = alone()
    raw = lab.pay(valid_until_ms=lab.now_ms + 1_000)
    lab.submit(1, raw, wait=Wait.RECEIVED)
    lab.crash(1)
    lab.now_ms += 5_000
    for node in range(4):
        lab.start(node)
    lab.settle()
    token = lab.submit(0, lab.pay())
    lab.pass_time(2_000)
    assert lab.told[token][0].state == "final"
    assert body_id(raw) not in lab.core(1).pool
    assert rows(lab, 1, schema.BATCH) == []
    view = lab.core(1).status().view
    lab.pass_time(5_000)
    assert lab.core(1).status().view == view, "nothing is owed any more"


# -- the ledger --------------------------------------------------------------------------------------------------------


def test_a_restarted_node_has_the_same_ledger_and_goes_on() -> None:
    lab = Lab()
    lab.answer(0, lab.issue())
    raw = lab.pay()
    first = lab.answer(2, raw)
    lab.crash(3)
    lab.start(3)
    lab.settle()
    assert lab.heights() == [3] * 4
    assert lab.core(3).ledger.state.root == lab.core(0).ledger.state.root
    again = lab.answer(3, raw)
    assert (again.height, again.index) == (first.height, first.index), "the first receipt"
    assert lab.answer(3, lab.pay()).state == "final"


def test_a_block_that_was_not_durable_when_the_power_went_comes_back_by_catching_up() -> None:
    lab = Lab()
    lab.answer(0, lab.issue())
    lab.box(3).held = []
    lab.answer(0, lab.pay())
    lab.crash(3)
    lab.box(3).held = None
    lab.start(3)
    lab.settle()
    lab.pass_time(2_000)
    assert lab.heights() == [3] * 4


# -- the guard ---------------------------------------------------------------------------------------------------------


def test_a_guard_ahead_of_its_database_refuses_to_start() -> None:
    """The database was rolled back or replaced: what this key signed is not known here any more."""
    lab = Lab()
    before = lab.box(3).store.snapshot()
    lab.answer(0, lab.issue())
    lab.crash(3)
    lab.box(3).store = MemoryStore(before)
    with pytest.raises(OperationalError, match="ahead of the database"):
        lab.start(3)
    lab.box(3).store = MemoryStore()
    with pytest.raises(OperationalError, match="ahead of the database"):
        lab.start(3)


def test_a_machine_that_was_set_back_halts_before_it_signs() -> None:
    """P17: guard and database went back together, so nothing on this disk can tell; the peers hold what the key signed."""
    lab = Lab()
    lab.answer(0, lab.issue())
    store, guard = lab.box(3).store.snapshot(), lab.box(3).guard.read()
    lab.answer(0, lab.pay())
    lab.crash(3)
    lab.box(3).store, lab.box(3).guard = MemoryStore(store), MemoryGuard(guard)
    lab.sent.clear()
    lab.start(3)
    lab.settle()
    assert "set back to an older copy" in (lab.box(3).halted or "")
    signed = (Proposal, Vote, ViewChange, NewView)
    said = [frame for sender, _, frame in lab.sent if sender == 3 and frame[0] == Channel.CONSENSUS]
    assert not [frame for frame in said if isinstance(MESSAGE.decode(frame[1:]), signed)]
    assert lab.answer(0, lab.pay()).state == "final"


def test_a_wiped_machine_does_not_vote_under_its_old_id() -> None:
    """R12: it would be a fresh member to itself. Its bank comes back under its spare id."""
    lab = Lab()
    lab.answer(0, lab.issue())
    lab.crash(3)
    lab.box(3).store, lab.box(3).guard = MemoryStore(), MemoryGuard()
    lab.start(3)
    lab.settle()
    assert "spare id" in (lab.box(3).halted or "")
    assert lab.answer(0, lab.pay()).state == "final"


def test_a_guard_behind_its_database_catches_up_before_anything_leaves() -> None:
    """A crash fell between the two writes."""
    lab = Lab()
    stale = lab.box(3).guard.read()
    lab.answer(0, lab.issue())
    lab.crash(3)
    lab.box(3).guard = MemoryGuard(stale)
    in_database = lab.box(3).store.get(schema.GUARD)
    assert in_database != stale
    lab.sent.clear()
    lab.box(3).held = []
    lab.start(3)
    lab.settle()
    assert [frame for who, _, frame in lab.sent if who == 3 and is_statement(frame)] == []
    first = (lab.box(3).held or [])[:1]
    assert [batch.guard is not None for batch, _ in first] == [True]
    lab.disk_goes_on(3)
    now = lab.box(3).guard.read()
    assert now is not None
    assert in_database is not None
    assert GUARD_RECORD.decode(now).sequence >= GUARD_RECORD.decode(in_database).sequence


def is_statement(frame: bytes) -> bool:
    """A vote, a proposal, a view change or a new view."""
    if frame[0] != Channel.CONSENSUS:
        return False
    return isinstance(MESSAGE.decode(frame[1:]), Proposal | Vote | ViewChange | NewView)


def test_no_vote_leaves_before_its_batch_and_its_guard_are_durable() -> None:
    lab = Lab()
    lab.answer(0, lab.issue())
    lab.box(1).held = []
    lab.sent.clear()
    token = lab.submit(0, lab.pay())
    assert [said for said in lab.said(1) if isinstance(said, Vote)] == []
    assert lab.told[token][0].state == "final", "three others are a quorum"
    lab.disk_goes_on(1)
    assert [said.phase for said in lab.said(1) if isinstance(said, Vote)][:1] == [1]


def test_a_member_does_not_count_its_own_vote_before_it_is_durable() -> None:
    """Member 2 hears two others: with its own PREPARE that were a certificate, but its disk is slow."""
    lab = Lab()
    lab.answer(0, lab.issue())
    box = lab.box(2)
    box.held = []
    box.trace.clear()
    lab.cut = {(3, 2)}
    lab.submit(0, lab.pay())
    assert len(box.notes("prepare")) == 1
    assert box.notes("commit") == []
    lab.disk_goes_on(2)
    assert len(box.notes("commit")) == 1


def test_the_ids_of_rows_are_the_digests_of_their_batches() -> None:
    lab = alone()
    raw = lab.pay()
    lab.submit(1, raw, wait=Wait.RECEIVED)
    ((key, _),) = rows(lab, 1, schema.BATCH)
    assert key == schema.BATCH + batch_digest([BodyId(body_id(raw))])
