"""Is a proposal's time believable? Each boundary at it and one over it."""

import pytest

from tallystick.network.wire.genesis import Parameters
from tallystick.node.core.block_time import believable_at, stamp, too_late

PARAMETERS = Parameters(precision_ms=500, late_ms=5_000)


def test_a_leader_stamps_its_clock_but_never_before_the_parent() -> None:
    assert stamp(1_000, 900) == 1_000
    assert stamp(1_000, 1_000) == 1_000
    assert stamp(1_000, 1_001) == 1_001


def test_a_time_is_believable_from_the_precision_on() -> None:
    assert believable_at(10_500, PARAMETERS) == 10_000


@pytest.mark.parametrize(("view_age", "allowed_ms"), [(0, 5_000), (1, 10_000), (3, 20_000), (-2, 5_000)])  # fmt: skip
def test_lateness_is_relaxed_by_each_failed_view(view_age: int, allowed_ms: int) -> None:
    seen_ms = 100_000
    assert not too_late(seen_ms - allowed_ms, seen_ms, view_age, PARAMETERS)
    assert too_late(seen_ms - allowed_ms - 1, seen_ms, view_age, PARAMETERS)


def test_a_time_ahead_is_never_late() -> None:
    assert not too_late(10**9, 0, 0, PARAMETERS)
