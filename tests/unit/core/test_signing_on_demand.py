"""Members sign that they hold a payment when its client waits for that; whatever they sign, and every vote, rests on the disk."""

from tallystick.consensus.pbft.messages import Vote
from tallystick.network.wire.signing import Phase
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.events import Wait
from tallystick.node.core.messages import Forward, Held
from tests.unit.core.lab import Lab


def batches(lab: Lab, node: int) -> int:
    return len(list(lab.box(node).store.scan(schema.BATCH)))


def signed(lab: Lab, node: int) -> int:
    return sum(isinstance(said, Held) for said in lab.said_bodies(node))


def prepared(lab: Lab, node: int) -> int:
    votes = [said for said in lab.said(node) if isinstance(said, Vote)]
    return sum(vote.phase == Phase.PREPARE for vote in votes)


def test_nobody_signs_for_a_payment_whose_client_waits_for_its_receipt() -> None:
    lab = Lab()
    assert lab.answer(1, lab.pay()).state == "final"
    assert [signed(lab, node) for node in range(4)] == [0] * 4


def test_members_sign_for_a_payment_whose_client_waits_for_acceptance() -> None:
    lab = Lab()
    assert lab.answer(1, lab.pay(), Wait.ACCEPTED).state == "accepted"
    assert [signed(lab, node) for node in (0, 2, 3)] == [1] * 3


def test_a_client_that_asks_for_acceptance_later_has_its_payment_handed_on_again() -> None:
    """Two of four run: nothing is ordered, and two holders are enough for acceptance."""
    lab = Lab(running=(1, 2))
    raw = lab.pay()
    lab.submit(1, raw, wait=Wait.FINAL)
    assert signed(lab, 2) == 0
    token = lab.submit(1, raw, wait=Wait.ACCEPTED)
    lab.pass_time(10)
    assert lab.told[token][0].state == "accepted"
    asked = [said.sign for said in lab.said_bodies(1) if isinstance(said, Forward)]
    assert asked == [False, True]
    assert batches(lab, 1) == 1, "the row of the first batch has served its time"


def test_a_batch_that_nobody_asked_to_sign_for_needs_no_write_of_its_own() -> None:
    lab = Lab(running=(1,))
    raw = lab.pay()
    lab.say_bodies(2, 1, Forward((raw,), sign=False))
    assert body_id(raw) in lab.core(1).pool
    assert batches(lab, 1) == 0
    lab.crash(1)
    lab.start(1)
    lab.settle()
    assert body_id(raw) not in lab.core(1).pool, "nothing had been said about it"


def test_a_signature_for_other_payments_takes_the_row_along() -> None:
    lab = Lab(running=(1,))
    first, second = lab.pay(), lab.pay()
    lab.say_bodies(2, 1, Forward((first,), sign=False))
    lab.say_bodies(3, 1, Forward((second,)))
    assert batches(lab, 1) == 2
    lab.crash(1)
    lab.start(1)
    lab.settle()
    assert body_id(first) in lab.core(1).pool


def test_who_is_asked_to_sign_for_what_it_holds_in_memory_writes_it_first() -> None:
    lab = Lab(running=(1,))
    raw = lab.pay()
    lab.say_bodies(2, 1, Forward((raw,), sign=False))
    lab.box(1).held = []
    lab.say_bodies(2, 1, Forward((raw,)))
    assert signed(lab, 1) == 0, "its row is not on the disk yet"
    lab.disk_goes_on(1)
    assert signed(lab, 1) == 1
    assert batches(lab, 1) == 1


def test_a_vote_takes_along_the_bodies_that_it_is_for() -> None:
    """The rows that waited are in the same write as the vote: whoever PREPAREd a block has its bodies after a crash."""
    lab = Lab()
    voter = next(node for node in range(4) if not lab.core(node).leads and node != 1)
    before, lab.box(voter).held = prepared(lab, voter), []
    lab.submit(1, lab.pay(), wait=Wait.FINAL)
    assert prepared(lab, voter) == before
    batch = next(batch for batch, _ in lab.box(voter).held or [] if batch.guard is not None)
    assert any(key.startswith(schema.PENDING) for key in batch.pairs)
    assert any(key.startswith(schema.BATCH) and row for key, row in batch.pairs.items())
