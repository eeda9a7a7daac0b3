"""What readers are told of one block, whichever way they ask, and after its trees are forgotten, too."""

import pytest

from tallystick.network.proofs.receipts import BUNDLE, receipt_of
from tallystick.network.wire.faults import InvariantError
from tests.unit.core.lab import Lab

PAYMENTS = 21


@pytest.fixture
def lab() -> Lab:
    """A block of many payments, then one more block."""
    lab = Lab()
    lab.answer(0, lab.issue(amount_minor=20_000))
    lab.submit(0, *[lab.pay(amount_minor=1) for _ in range(PAYMENTS)])
    lab.settle()
    lab.answer(0, lab.pay(amount_minor=1))
    return lab


def test_a_bundle_holds_what_single_receipts_say(lab: Lab) -> None:
    reader, height = lab.core(0).reader, lab.core(0).ledger.height - 1
    bodies = lab.core(0).ledger.block(height).bodies  # type: ignore[union-attr]
    assert len(bodies) == PAYMENTS
    for _ in ("with the trees of its making", "rebuilt from the stored block"):
        for asked in (range(PAYMENTS), (0, 7, 8, PAYMENTS - 1), (3,)):
            bundle = BUNDLE.decode(reader.bundle(height, asked))
            told = [
                receipt_of(bodies[index], bundle.block, item)
                for index, item in zip(asked, bundle.items, strict=True)
            ]
            assert told == [reader.receipt(height, index) for index in asked]
        reader._layers.clear()
        reader._proven.clear()


def test_a_bundle_of_a_transaction_that_the_block_has_not_is_our_own_fault(lab: Lab) -> None:
    with pytest.raises(InvariantError):
        lab.core(0).reader.bundle(lab.core(0).ledger.height - 1, (PAYMENTS,))
