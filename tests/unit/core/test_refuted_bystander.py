"""A node that does not vote and follows well is not called stalled for as long as it has run."""

from tests.unit.core.lab import STEADY
from tests.unit.core.test_epochs import SPARE, Epochs, settled


def test_what_a_spare_waits_for_begins_anew_with_each_block_that_it_follows() -> None:
    lab = Epochs()
    lab.pass_time(5_000)
    settled(lab, 0, lab.issue())
    lab.pass_time(500)
    assert lab.core(SPARE).ledger.height == lab.core(0).ledger.height
    waiting = lab.core(SPARE).status().waiting
    assert waiting.height == lab.core(0).ledger.height + 1
    assert waiting.since_ms > lab.now_ms - 1_000 + STEADY.idle_block_ms
