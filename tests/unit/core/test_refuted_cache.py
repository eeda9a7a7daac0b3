"""Refuted: that a state which is forgotten from memory is read back as it was last written."""

import pytest

from tallystick.node.core import ledger
from tests.unit.core.lab import Lab


def test_an_account_forgotten_within_a_step_is_read_as_that_step_left_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run of blocks becomes final in one step. With more accounts than memory holds, one that an earlier block of the run
    changed may be forgotten before a later one reads it: the store still has its old balance."""
    monkeypatch.setattr(ledger, "ACCOUNTS_CACHED_MAX", 1)
    lab = Lab()
    lab.crash(3)
    lab.answer(0, lab.issue())
    for _ in range(4):
        lab.answer(0, lab.pay())
    lab.start(3)
    lab.settle()
    lab.pass_time(3_000)
    assert lab.box(3).halted is None
    assert len(set(lab.heights())) == 1
    assert lab.balance(3, 0) == lab.balance(0, 0)
