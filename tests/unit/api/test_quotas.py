"""The moving window of one principal does not disturb another's, and everything is bounded."""

import pytest
from limits import RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import ParticipantId
from tallystick.node.api import bounds
from tallystick.node.api.quotas import Quotas, WindowStore


class Seconds:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_window_moves_with_time_and_does_not_jump() -> None:
    clock = Seconds()
    limiter, item = MovingWindowRateLimiter(WindowStore(clock)), RateLimitItemPerSecond(3)
    clock.now = 1_000.9
    assert [limiter.hit(item, "a") for _ in range(4)] == [True, True, True, False]
    clock.now = 1_001.1  # a new calendar second, the same window
    assert not limiter.hit(item, "a")
    clock.now = 1_001.9
    assert limiter.hit(item, "a")


def test_a_request_that_does_not_fit_takes_nothing() -> None:
    quotas = Quotas(10, 100, 1_000, Seconds())
    quotas.take_transactions("a", None, 60)
    with pytest.raises(Refused, match="QUOTA_SPENT"):
        quotas.take_transactions("a", None, 41)
    quotas.take_transactions("a", None, 40)
    quotas.take_transactions("b", None, 100)


def test_more_than_the_whole_quota_in_one_request_never_fits() -> None:
    quotas = Quotas(10, 100, 1_000, Seconds())
    with pytest.raises(Refused, match="100 transactions per second"):
        quotas.take_transactions("a", None, 101)


def test_the_statistics_of_the_library_agree() -> None:
    clock = Seconds()
    limiter, item = MovingWindowRateLimiter(WindowStore(clock)), RateLimitItemPerSecond(5)
    limiter.hit(item, "a", cost=2)
    clock.now += 0.5
    limiter.hit(item, "a")
    assert limiter.get_window_stats(item, "a").remaining == 2
    clock.now += 0.6
    assert limiter.get_window_stats(item, "a").remaining == 4


def test_tracked_principals_are_bounded_and_the_longest_idle_is_forgotten() -> None:
    store = WindowStore(Seconds(), keys_max=2)
    for key in ("a", "b", "a", "c"):
        store.acquire_entry(key, 10, 1)
    assert [store.get_moving_window(key, 10, 1)[1] for key in ("a", "b", "c")] == [2, 0, 1]
    assert store.reset() == 2


def test_the_crowd_that_waits_is_bounded_in_all_and_for_each() -> None:
    quotas = Quotas(10, 10, 1_000, Seconds())
    share = bounds.WAITING_PER_PRINCIPAL_MAX
    for _ in range(share):
        quotas.begin_waiting("a")
    with pytest.raises(Refused, match="OVERLOADED"):
        quotas.begin_waiting("a")
    for number in range(bounds.WAITING_MAX - share):
        quotas.begin_waiting(f"p{number}")
    with pytest.raises(Refused, match="OVERLOADED"):
        quotas.begin_waiting("z")
    quotas.end_waiting("a")
    quotas.begin_waiting("z")


def test_principals_of_one_participant_share_its_quota_and_nobody_elses() -> None:
    quotas = Quotas(10, 100, 150, Seconds())
    one, other = ParticipantId(1), ParticipantId(2)
    quotas.take_transactions("a", one, 100)
    with pytest.raises(Refused, match=r"QUOTA_SPENT.*participant"):
        quotas.take_transactions("b", one, 51)
    quotas.take_transactions("c", one, 50)
    quotas.take_transactions("d", other, 100)
    quotas.take_transactions("e", None, 100)
