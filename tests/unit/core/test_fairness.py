"""A leader that serves others past what waits loses its view; one that only has much to do never does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from tallystick.contracts.machine import work_of
from tallystick.network.wire.ids import NodeId
from tallystick.node.core.events import CheckedBody, Wait
from tallystick.node.core.fairness import UNFAIR_BLOCKS_MAX, Fairness
from tallystick.node.core.mempool import Mempool, Waiting
from tests.unit.core.lab import STEADY, Lab

BUSY = changed(STEADY, view_timeout_ms=600, idle_block_ms=200, block_transactions_max=20)


@dataclass
class Censor:
    """A leader's pool out of which nothing of one bank is taken; of no bank at all when `bank` is None."""

    pool: Mempool
    bank: int | None

    def take(self, count: int, work: int) -> list[CheckedBody]:
        for bank, queue in self.pool._banks.items():
            if self.bank in (None, bank):
                self.pool.claim(
                    list(queue)
                )  # or it would make block after block, in no time at all
        return self.pool.take(count, work)


def censoring(lab: Lab, leader: int, bank: int | None) -> None:
    core = lab.core(leader)
    core.proposing = replace(core.proposing, pool=Censor(core.pool, bank))  # type: ignore[arg-type]


def rounds(lab: Lab, count: int, payers: Sequence[int], at: int = 1) -> None:
    for _ in range(count):
        for payer in payers:
            lab.submit(at, lab.pay(payer=payer, creditor=(payer + 1) % 3), wait=Wait.RECEIVED)
        lab.pass_time(100)


def test_a_leader_that_never_serves_one_bank_is_left_and_the_next_one_serves_it() -> None:
    lab = Lab(parameters=BUSY)
    lab.submit(1, lab.issue(0), lab.issue(1), lab.issue(2))
    censoring(lab, 0, bank_of(lab, 1))
    censored = lab.submit(2, lab.pay(payer=1, creditor=2))
    rounds(lab, 60, payers=(0,))
    assert any(note.facts["bank"] == bank_of(lab, 1) for note in lab.box(2).notes("unfair"))
    assert lab.core(2).status().view == 1
    assert lab.told[censored][0].state == "final"


def bank_of(lab: Lab, payer: int) -> int:
    account = lab.core(3).ledger.account(lab.root(payer))
    assert account is not None
    return account.participant


def test_empty_blocks_while_something_waits_are_no_way_out() -> None:
    lab = Lab(parameters=BUSY)
    lab.submit(1, lab.issue(0), lab.issue(1), lab.issue(2))
    censoring(lab, 0, None)
    censored = lab.submit(2, lab.pay(payer=1, creditor=2))
    lab.pass_time(12_000)
    assert lab.core(2).status().view >= 1
    assert lab.told[censored][0].state == "final"


@pytest.mark.parametrize("seed", range(4))
def test_no_honest_leader_is_left_however_uneven_the_load(seed: int) -> None:
    """Small blocks, one bank that floods, others that trickle, and members that hear things late and in another order."""
    draw = Random(seed)
    lab = Lab(parameters=changed(BUSY, block_transactions_max=draw.choice((2, 3, 8))))
    lab.submit(1, lab.issue(0), lab.issue(1), lab.issue(2))
    for _ in range(80):
        flood = [lab.pay(payer=0, creditor=1, amount_minor=1) for _ in range(draw.randrange(12))]
        if flood:
            lab.submit(draw.randrange(4), *flood, wait=Wait.RECEIVED)
        for payer in (1, 2):
            if draw.random() < 0.4:
                lab.submit(draw.randrange(4), lab.pay(payer=payer, creditor=0, amount_minor=1), wait=Wait.RECEIVED)  # fmt: skip
        lab.cut = {(draw.randrange(4), draw.randrange(1, 4))} if draw.random() < 0.3 else set()
        lab.pass_time(draw.randrange(150))
    lab.cut = set()
    lab.pass_time(4_000)
    assert [box.notes("unfair") for box in lab.boxes.values()] == [[]] * 4


def test_what_the_leader_cannot_have_heard_yet_is_not_held_against_it() -> None:
    pool = Mempool(NodeId(0))
    fair = Fairness(pool, 10, 1_000)
    (body,) = bodies(1)
    pool.add(Waiting(body, 1, NodeId(0), b""))
    fair.sent_on(1)
    assert fair.served_by(()) is None
    fair.sent_on(0)  # so much older came first that there was no room for it
    assert fair.served_by(()) is None
    fair.sent_on(1)
    assert fair.served_by(()) is None
    fair.sent_on(1)
    assert fair.served_by(()) == {}


def overdue(
    banks: int, each: int = 1, transactions_max: int = 10, work_max: int = 1_000
) -> tuple[Mempool, Fairness]:
    pool = Mempool(NodeId(0))
    fair = Fairness(pool, transactions_max, work_max)
    for number, body in enumerate(bodies(banks * each)):
        pool.add(Waiting(body, number % banks, NodeId(0), b""))
    for _ in range(2):
        fair.sent_on(pool.arrived)
    return pool, fair


def test_so_many_blocks_without_the_bank_and_no_fewer() -> None:
    _, fair = overdue(1)
    said = [fair.count({7: 99}) for _ in range(UNFAIR_BLOCKS_MAX + 1)]
    assert said == [None] * UNFAIR_BLOCKS_MAX + [0]


def test_a_bank_that_is_served_with_what_came_before_waits_on_and_with_what_came_later_is_passed_over() -> None:  # fmt: skip
    pool, fair = overdue(1)
    for _ in range(5 * UNFAIR_BLOCKS_MAX):
        assert fair.count({0: pool.arrived}) is None
    said = [fair.count({0: pool.arrived + 1}) for _ in range(UNFAIR_BLOCKS_MAX)]
    assert said[-1] == 0


def test_a_deadline_that_passes_does_not_pay_what_is_owed() -> None:
    pool, fair = overdue(1, each=2)
    for _ in range(UNFAIR_BLOCKS_MAX):
        fair.count({7: 99})
    pool.remove([next(iter(pool._all))])
    assert fair.count({7: 99}) == 0


def test_service_pays_what_is_owed_and_the_next_in_line_begins_anew() -> None:
    pool, fair = overdue(1, each=2)
    assert {fair.count({7: 99}) for _ in range(UNFAIR_BLOCKS_MAX)} == {None}
    pool.remove([next(iter(pool._all))])
    said = [fair.count({0: 1})]
    said += [fair.count({7: 99}) for _ in range(UNFAIR_BLOCKS_MAX)]
    assert said == [None] * UNFAIR_BLOCKS_MAX + [0]


def test_another_view_begins_with_a_clean_sheet() -> None:
    pool, fair = overdue(1)
    assert {fair.count({7: 99}) for _ in range(UNFAIR_BLOCKS_MAX)} == {None}
    fair.view_entered()
    assert fair.served_by(()) is None
    for _ in range(2):
        fair.sent_on(pool.arrived)
    said = [fair.count({7: 99}) for _ in range(UNFAIR_BLOCKS_MAX + 1)]
    assert said == [None] * UNFAIR_BLOCKS_MAX + [0]


def test_more_banks_than_a_block_has_room_for_are_not_counted() -> None:
    _, fair = overdue(3, transactions_max=2)
    assert {fair.count({7: 99}) for _ in range(40)} == {None}
    _, fair = overdue(3, work_max=5 * work_of(bodies(1)[0].transaction))
    assert {fair.count({7: 99}) for _ in range(40)} == {None}


_LAB: list[Lab] = []


def bodies(count: int) -> list[CheckedBody]:
    """Genuine payments, checked."""
    if not _LAB:
        _LAB.append(Lab(running=()))
    lab = _LAB[0]
    found = [lab.bodies.check(lab.pay()) for _ in range(count)]
    assert all(isinstance(body, CheckedBody) for body in found)
    return found  # type: ignore[return-value]


_MANY: list[CheckedBody] = []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(1, 60),
)
def test_an_honest_block_holds_the_oldest_something_of_every_bank_and_each_banks_oldest_first(
    banks: list[int], room: int, work_max: int
) -> None:
    if not _MANY:
        _MANY.extend(bodies(40))
    pool = Mempool(NodeId(0))
    waiting = list(zip(banks, _MANY, strict=False))
    for bank, body in waiting:
        pool.add(Waiting(body, bank, NodeId(0), b""))
    taken = pool.take(room, work_max)
    ids = {body.body_id for body in taken}
    assert waiting[0][1].body_id in ids
    cost = work_of(_MANY[0].transaction)
    present = sorted(set(banks))
    if room >= len(present) and work_max >= cost * len(present):
        assert {bank for bank, body in waiting if body.body_id in ids} == set(present)
    for bank in present:
        mine = [body.body_id for each, body in waiting if each == bank]
        count = sum(body_id in ids for body_id in mine)
        assert {body_id for body_id in mine if body_id in ids} == set(mine[:count])
