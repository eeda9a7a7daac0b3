"""Bugs of absences and of windows that close, planted on purpose: what would prove a payment lost that was ordered, or hide a loss."""

from typing import Any

import pytest

from tallystick.contracts import consumption
from tallystick.network.proofs import absence, verdict, windows
from tests.mutants.killers import play
from tests.mutants.planted import MUTANTS, mutant
from tests.unit.contracts import test_closing
from tests.unit.proofs import test_absence


@mutant(play(test_absence.test_a_gap_between_the_neighbours_is_seen))
def gap_between_neighbours_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    """Any two entries around the payment prove its absence, though it stands between them."""
    real = verdict.expect

    def expect(condition: bool, sentence: str) -> None:
        real(condition or sentence.startswith("something may stand"), sentence)

    patch.setattr("tallystick.network.proofs.absence.expect", expect)


@mutant(play(test_absence.test_a_strangers_copies_neither_hide_the_absence_nor_feign_the_digest))
def strangers_copies_count(patch: pytest.MonkeyPatch) -> None:
    """Whoever orders a copy of a payment under keys of his own makes its loss unprovable."""
    patch.setattr(absence, "sought", lambda account, id_, digest: account + id_ + digest + b"\0")


@mutant(play(test_closing.test_a_block_hashes_no_more_than_its_share, lab=test_closing.place))
def a_window_is_hashed_at_once(patch: pytest.MonkeyPatch) -> None:
    """The block after a full minute hashes all of it: every member stops for a third of a second."""
    begun = consumption._Closing.__init__

    def begin(self: Any, *arguments: Any) -> None:
        begun(self, *arguments)
        self._left = 2**31

    patch.setattr(consumption._Closing, "__init__", begin)


@mutant(
    play(
        test_closing.test_a_deadline_at_the_last_millisecond_of_its_window_may_still_be_ordered,
        lab=test_closing.place,
    )
)
def a_window_closes_a_millisecond_early(patch: pytest.MonkeyPatch) -> None:
    """At the last millisecond of a window a payment is ordered that the window's tree no longer takes."""
    early = "tallystick.contracts.consumption.window_start"
    patch.setattr(early, lambda at, width: windows.window_start(at + 1, width))


ABSENCES = {each.name for each in MUTANTS if each.plant.__module__ == __name__}
"""The names of what this module plants."""
