"""A member cannot fill another bank's turn with transactions that only bear its name."""

from msgspec.structs import replace

from tallystick.node.core.messages import Forward
from tests.unit.core.lab import STEADY, Lab


def test_forged_payments_of_a_bank_wait_in_the_strangers_turn_not_in_the_banks() -> None:
    """Hostile member 3 forwards payments of bank 0 that a stranger signed: they may be ordered, to be rejected, but bank 0's own
    payment comes with the next block."""
    lab = Lab(parameters=replace(STEADY, block_transactions_max=10), running=(0, 1, 2))
    lab.answer(1, lab.issue(0))
    forged = [lab.sign(lab.transfer(0, 1), 99) for _ in range(200)]
    for node in (0, 1, 2):
        lab.cut = {(a, b) for a in range(3) for b in range(3)}
        for at in range(0, len(forged), 50):
            lab.say_bodies(3, node, Forward(tuple(forged[at : at + 50])))
    before = lab.core(0).ledger.height
    token = lab.submit(1, lab.pay(0, 1))
    lab.cut = set()
    lab.pass_time(6_000)
    (answer,) = lab.told[token]
    assert answer.height is not None
    waited = answer.height - before
    assert waited <= 3, waited
    lab.pass_time(3_000)
    record = lab.core(0).ledger.place_of_refused(lab.bodies.check(forged[-1]).body_id)
    assert record is not None


def test_forged_copies_of_one_payment_do_not_hold_it_up() -> None:
    """A client handed its payment to hostile member 3, which gives everybody copies under other keys; the client tries another."""
    lab = Lab(parameters=replace(STEADY, block_transactions_max=10), running=(0, 1, 2))
    lab.answer(1, lab.issue(0))
    draft = lab.transfer(0, 1)
    forged = [lab.sign(draft, key) for key in range(50, 200)]
    lab.cut = {(a, b) for a in range(3) for b in range(3)}
    for node in (0, 1, 2):
        for at in range(0, len(forged), 50):
            lab.say_bodies(3, node, Forward(tuple(forged[at : at + 50])))
    before = lab.core(0).ledger.height
    token = lab.submit(1, lab.sign(draft, 0))
    lab.cut = set()
    lab.pass_time(6_000)
    (answer,) = lab.told[token]
    assert answer.height is not None
    assert answer.height - before <= 3, answer.height - before
