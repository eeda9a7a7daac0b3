"""When a view has had its time."""

from tallystick.consensus.pbft.synchronizer import LATE_TICK_MS, Synchronizer
from tests.unit.consensus.table import TIMING

TIMEOUT = TIMING.view_timeout_ms
IDLE = TIMING.idle_block_ms


def entered(now_ms: int = 0) -> Synchronizer:
    synchronizer = Synchronizer(TIMING)
    synchronizer.entered(now_ms)
    return synchronizer


def test_a_view_without_a_final_block_ends_at_its_timeout_and_not_before() -> None:
    synchronizer = entered(1_000)
    assert not synchronizer.expired(1_000 + TIMEOUT - 1)
    assert synchronizer.expired(1_000 + TIMEOUT)


def test_the_wait_doubles_with_each_failed_view_up_to_its_cap() -> None:
    synchronizer = entered()
    waits = []
    for failed in range(40):
        synchronizer.failed = failed
        waits.append(synchronizer.timeout_ms)
    assert waits[:4] == [TIMEOUT, 2 * TIMEOUT, 4 * TIMEOUT, 8 * TIMEOUT]
    assert set(waits[3:]) == {TIMING.view_timeout_ms_max}


def test_a_final_block_starts_the_wait_anew() -> None:
    synchronizer = entered()
    synchronizer.failed = 3
    synchronizer.progress(90, work=True)
    assert synchronizer.failed == 0
    assert synchronizer.deadline_ms == 90 + synchronizer.timeout_ms


def test_an_idle_network_is_owed_a_block_only_after_the_idle_time() -> None:
    synchronizer = entered()
    synchronizer.progress(10, work=False)
    assert synchronizer.deadline_ms == 10 + IDLE + synchronizer.timeout_ms
    synchronizer.owes(work=True, now_ms=20)
    assert synchronizer.deadline_ms == 20 + synchronizer.timeout_ms
    synchronizer.owes(work=True, now_ms=30)
    assert synchronizer.deadline_ms == 20 + synchronizer.timeout_ms, "more work does not put it off"


def test_alone_between_views_nobody_hurries_until_a_quorum_has_left() -> None:
    synchronizer = entered()
    synchronizer.left(50)
    assert synchronizer.deadline_ms is None
    assert not synchronizer.expired(10**9)
    deadlines: list[int | None] = []
    for now_ms in (60, 90):
        synchronizer.quorum_left(now_ms)
        deadlines.append(synchronizer.deadline_ms)
    assert deadlines == [60 + TIMEOUT, 60 + TIMEOUT], "said once"


def test_a_late_tick_forgives_once() -> None:
    """We were away, not the leader: one more half wait, and no more."""
    synchronizer = entered()
    late_ms = TIMEOUT + LATE_TICK_MS + 1
    assert not synchronizer.expired(late_ms)
    assert synchronizer.deadline_ms == late_ms + TIMEOUT - TIMEOUT // 2
    assert synchronizer.expired(late_ms + TIMEOUT)
    assert synchronizer.expired(late_ms + 10 * TIMEOUT), "forgiven already"


def test_a_tick_that_is_just_not_late_does_not_forgive() -> None:
    assert entered().expired(TIMEOUT + LATE_TICK_MS)


def test_a_leader_whose_connection_broke_is_waited_for_a_third() -> None:
    synchronizer = entered()
    synchronizer.suspect(10)
    assert synchronizer.deadline_ms == 10 + TIMEOUT // 3


def test_a_block_that_was_on_its_way_does_not_clear_a_leader_who_is_gone() -> None:
    """What it had proposed becomes final by the others' votes; the full wait after that was the longest gap of a killed leader."""
    synchronizer = entered()
    synchronizer.suspect(10)
    synchronizer.progress(20, work=True)
    assert synchronizer.deadline_ms == 20 + TIMEOUT // 3
    synchronizer.progress(30, work=False)
    assert synchronizer.deadline_ms == 30 + TIMING.idle_block_ms + TIMEOUT // 3, (
        "nothing is owed yet"
    )
    synchronizer.leader_back()
    synchronizer.progress(40, work=True)
    assert synchronizer.deadline_ms == 40 + synchronizer.timeout_ms


def test_the_next_leader_is_not_suspected_for_the_last_one() -> None:
    synchronizer = entered()
    synchronizer.suspect(10)
    synchronizer.entered(400)
    assert synchronizer.deadline_ms == 400 + TIMEOUT


def test_after_a_failed_view_a_broken_connection_shortens_nothing() -> None:
    synchronizer = entered()
    synchronizer.failed = 1
    synchronizer.suspect(10)
    assert synchronizer.deadline_ms == 2 * TIMEOUT


def test_a_slow_machine_gets_a_longer_wait_and_a_fast_one_the_least() -> None:
    synchronizer = entered()
    for now_ms in range(80, 80 * 60, 80):
        synchronizer.progress(now_ms, work=True)
    assert synchronizer.timeout_ms > 2 * TIMEOUT
    assert synchronizer.timeout_ms <= TIMING.view_timeout_ms_max
    fast = entered()
    for now_ms in range(5, 500, 5):
        fast.progress(now_ms, work=True)
    assert fast.timeout_ms == TIMEOUT
