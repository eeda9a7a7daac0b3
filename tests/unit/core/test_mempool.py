"""The pool: bounded, fair between banks, one digest at a time in a block, and rid of everything in its time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.contracts.machine import work_of
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.mempool import (
    BANK_WAITING_MAX,
    OWN_WAITING_MAX,
    PEER_WAITING_MAX,
    STRANGER,
    Mempool,
    Waiting,
)
from tests.unit.core.lab import Lab

ME, PEER = NodeId(0), NodeId(1)
LAB = Lab(members=1)
WORK = work_of(LAB.transfer()) + 10
"""Of a payment with its one signature."""


def body(raw: bytes = b"", **changes: object) -> CheckedBody:
    verdict = LAB.bodies.check(raw or LAB.sign(LAB.transfer(**changes), 0))  # type: ignore[arg-type]
    if not isinstance(verdict, CheckedBody):
        raise TypeError(verdict)
    return verdict


def waiting(bank: int = 0, entry: NodeId = ME, **changes: object) -> Waiting:
    return Waiting(body(b"", **changes), bank, entry, b"")


def filled(*banks: int) -> Mempool:
    pool = Mempool(ME)
    for bank in banks:
        assert pool.add(waiting(bank))
    return pool


def banks_of(pool: Mempool, taken: list[CheckedBody]) -> list[int]:
    return [present(pool, each).bank for each in taken]


def present(pool: Mempool, each: CheckedBody) -> Waiting:
    found = pool.get(each.body_id)
    if found is None:
        raise KeyError(each.body_id)
    return found


def test_what_waits_is_counted_once() -> None:
    pool = Mempool(ME)
    one = waiting()
    assert pool.add(one)
    assert not pool.add(one)
    assert (len(pool), pool.ready, pool.owed, pool.arrived) == (1, 1, 1, 1)


def test_a_block_takes_in_order_of_arrival_and_what_it_took_is_not_ready_any_more() -> None:
    pool = filled(0, 0, 0)
    first = pool.take(2, 10_000)
    assert len(first) == 2
    assert (len(pool), pool.ready) == (3, 1)
    assert len(pool.take(2, 10_000)) == 1
    assert pool.take(2, 10_000) == []


def test_a_banks_flood_does_not_starve_another_bank() -> None:
    pool = filled(*([0] * 50), 1, 2, 1)
    taken = banks_of(pool, pool.take(8, 10_000))
    assert taken.count(1) == 2
    assert taken.count(2) == 1
    assert taken.count(0) == 5


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 30))
def test_every_bank_gets_its_share_of_every_block(banks: list[int], size: int) -> None:
    """No bank gets less than an equal share while it has more waiting, up to one for the remainder."""
    pool = Mempool(ME)
    for number, bank in enumerate(banks):
        pool.add(Waiting(PREPARED[number], bank, ME, b""))
    taken = banks_of(pool, pool.take(size, 10_000))
    assert len(taken) == min(size, len(banks))
    share = size // len(set(banks))
    for bank in set(banks):
        assert taken.count(bank) >= min(share, banks.count(bank))


PREPARED = [body() for _ in range(60)]


def test_a_block_stays_within_its_work_and_takes_one_however_large() -> None:
    pool = filled(0, 0, 0)
    assert len(pool.take(10, 2 * WORK)) == 2
    assert len(filled(0, 0).take(10, 2 * WORK - 1)) == 1
    assert len(filled(0, 0).take(10, 1)) == 1


def test_one_digest_in_two_bodies_stands_once_in_a_block() -> None:
    draft = LAB.transfer()
    pool = Mempool(ME)
    own, stolen = body(LAB.sign(draft, 0)), body(LAB.sign(draft, 99))
    pool.add(Waiting(own, 0, ME, b""))
    pool.add(Waiting(stolen, STRANGER, PEER, b""))
    assert len(pool.take(10, 10_000)) == 1
    assert set(pool.rivals(own)) == {own.body_id, stolen.body_id}
    pool.remove([own.body_id])
    assert pool.rivals(own) == (stolen.body_id,)
    assert len(pool.take(10, 10_000)) == 1
    pool.remove([stolen.body_id])
    assert pool.rivals(own) == ()


def test_a_dropped_proposal_puts_everything_back_in_order_of_arrival() -> None:
    pool = filled(0, 1, 0)
    before = pool.oldest(10, 10)
    pool.take(2, 10_000)
    pool.put_back()
    assert pool.ready == 3
    assert pool.oldest(10, 10) == before
    assert len(pool.take(3, 10_000)) == 3


def test_what_another_leader_proposed_is_not_proposed_again() -> None:
    pool = filled(0, 0)
    first = pool.take(1, 10_000)
    pool.put_back()
    pool.claim([each.body_id for each in first])
    pool.claim([body_id(b"unknown")])
    assert pool.ready == 1
    assert first[0] not in pool.take(5, 10_000)


@pytest.mark.parametrize(("entry", "bound"), [(ME, OWN_WAITING_MAX), (PEER, PEER_WAITING_MAX)])
def test_each_entry_has_a_bound_and_removing_makes_room(entry: NodeId, bound: int) -> None:
    pool = Mempool(ME)
    assert pool.room_of(entry) == bound
    one = waiting(entry=entry)
    pool.add(one)
    assert pool.room_of(entry) == bound - 1
    pool._by_entry[entry] = bound
    assert pool.room_of(entry) == 0
    pool._by_entry[entry] = bound + 5
    assert pool.room_of(entry) == 0, "a restart may find more than a client may hand in"
    pool._by_entry[entry] = bound
    pool.remove([one.body.body_id])
    assert pool.room_of(entry) == 1
    assert pool.room_of(NodeId(2)) == PEER_WAITING_MAX


def test_a_bank_has_a_bound_of_its_own_below_the_nodes() -> None:
    pool = Mempool(ME)
    one = waiting(7)
    pool.add(one)
    pool.add(waiting(7, PEER))
    assert pool.room_of_bank(7) == BANK_WAITING_MAX - 1, "a peer's clients do not count"
    assert BANK_WAITING_MAX < OWN_WAITING_MAX
    pool.remove([one.body.body_id])
    assert pool.room_of_bank(7) == BANK_WAITING_MAX


def test_a_node_above_its_bound_says_overloaded_and_one_at_it_takes_one_more() -> None:
    lab = Lab(members=4, running=(0,))
    pool = lab.core(0).pool
    pool._by_entry[NodeId(0)] = OWN_WAITING_MAX - 1
    token = lab.submit(0, lab.pay(), lab.pay(1, 2))
    box = lab.box(0)
    assert box.core.intake.outcomes._open[token].answers[1] is not None
    assert lab.told == {}
    both = box.core.intake.outcomes._open[token].answers
    assert [None if each is None or each.reason is None else each.reason.code for each in both] == [None, "OVERLOADED"]  # fmt: skip


# -- time --------------------------------------------------------------------------------------------------------------


def test_at_its_deadline_a_transaction_waits_and_a_millisecond_later_it_is_gone() -> None:
    pool = Mempool(ME)
    one = waiting(valid_until_ms=10_500)
    pool.add(one)
    assert pool.expired(10_500) == []
    assert pool.expired(10_501) == [one.body.body_id]
    assert pool.expired(10_502) == []


def test_deadlines_in_one_second_end_one_by_one() -> None:
    pool = Mempool(ME)
    for until_ms in (10_100, 10_200, 10_900, 11_000):
        pool.add(waiting(valid_until_ms=until_ms))
    assert [len(pool.expired(at_ms)) for at_ms in (10_150, 10_950, 11_000, 99_000)] == [1, 2, 0, 1]


def test_the_first_look_finds_all_that_is_overdue() -> None:
    """After a restart the pool has never been swept, and its transactions may be long past their deadline."""
    pool = Mempool(ME)
    for until_ms in (1_000, 5_000_000, 9_999_999):
        pool.add(waiting(valid_until_ms=until_ms))
    assert len(pool.expired(9_999_999)) == 2
    assert len(pool.expired(10_000_000)) == 1


def test_a_long_silence_is_swept_at_once() -> None:
    pool = Mempool(ME)
    pool.expired(1_000)
    pool.add(waiting(valid_until_ms=2_000))
    pool.add(waiting(valid_until_ms=10**12))
    assert len(pool.expired(10**11)) == 1


def test_what_is_too_early_is_neither_ready_nor_owed_until_it_is_ripe() -> None:
    pool = Mempool(ME)
    one = waiting(valid_until_ms=50_000)
    pool.add(one, early=True)
    assert (len(pool), pool.ready, pool.owed) == (1, 0, 0)
    pool.put_back()
    assert pool.take(5, 10_000) == []
    pool.ripen(49_999)
    assert pool.owed == 0
    pool.ripen(50_000)
    assert (pool.ready, pool.owed) == (1, 1)
    assert pool.take(5, 10_000) == [one.body]


def test_what_is_early_may_leave_in_every_way() -> None:
    pool = Mempool(ME)
    one, two = waiting(valid_until_ms=50_000), waiting(valid_until_ms=60_000)
    for each in (one, two):
        pool.add(each, early=True)
    pool.claim([one.body.body_id])
    assert pool.owed == 1, "another leader's clock is ahead: it is in a proposal now"
    pool.remove([one.body.body_id])
    assert pool.expired(60_001) == [two.body.body_id]
    pool.remove([two.body.body_id])
    assert (len(pool), pool.owed, pool.ready) == (0, 0, 0)


def test_what_has_just_left_is_still_known() -> None:
    pool = filled(0)
    (one,) = pool.take(1, 10_000)
    pool.remove([one.body_id])
    assert one.body_id not in pool
    assert pool.knows(one.body_id)
    assert not pool.knows(body_id(b"other"))


def test_what_may_not_be_ordered_yet_is_sent_on_last_and_counts_from_when_it_may() -> None:
    pool = Mempool(ME)
    early, due = body(LAB.pay(payer=0)), [body(LAB.pay(payer=0)) for _ in range(3)]
    pool.add(Waiting(early, 0, ME, b""), early=True)
    for each in due:
        pool.add(Waiting(each, 0, ME, b""))
    assert pool.oldest(9, 2) == ([each.raw for each in due[:2]], 3)
    assert pool.oldest(3, 9) == ([*(each.raw for each in due[:2]), early.raw], 3)
    assert pool.oldest(9, 4) == ([*(each.raw for each in due), early.raw], 9)
    pool.ripen(early.transaction.valid_until_ms)
    assert pool.oldest(9, 4) == ([*(each.raw for each in due), early.raw], 5)
