"""A quota per principal and per participant, by `limits`' moving window, and a bound on what waits at once.

The library's own memory store starts a timer thread every 10 ms and keeps one list entry per unit; the store here keeps one
entry per hit, no thread, a bounded number of keys, and takes its clock from outside so that tests need no sleep.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from limits import RateLimitItemPerSecond
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import MovingWindowRateLimiter

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import ParticipantId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import bounds


@dataclass(slots=True)
class _Window:
    hits: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def forget_before(self, moment: float) -> None:
        while self.hits and self.hits[0][0] <= moment:
            self.total -= self.hits.popleft()[1]


class WindowStore(Storage, MovingWindowSupport):
    """Moving windows in memory, at most `keys_max` of them; the longest idle key is forgotten first."""

    STORAGE_SCHEME = ["tallystick-windows"]

    def __init__(
        self, now_s: Callable[[], float], keys_max: int = bounds.QUOTA_PRINCIPALS_MAX
    ) -> None:
        super().__init__()
        self._now_s = now_s
        self._keys_max = keys_max
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` if the last `expiry` seconds then hold at most `limit`."""
        now = self._now_s()
        window = self._windows.setdefault(key, _Window())
        self._windows.move_to_end(key)
        if len(self._windows) > self._keys_max:
            self._windows.popitem(last=False)
        window.forget_before(now - expiry)
        if window.total + amount > limit:
            return False
        window.hits.append((now, amount))
        window.total += amount
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """(start of the window in seconds, units in it)."""
        window = self._windows.get(key)
        if window is None:
            return self._now_s(), 0
        window.forget_before(self._now_s() - expiry)
        return (window.hits[0][0] if window.hits else self._now_s()), window.total

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("this store serves moving windows only")

    def get(self, key: str) -> int:
        raise NotImplementedError("this store serves moving windows only")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("this store serves moving windows only")


class Quotas:
    """Requests and transactions per second of each principal and participant, and submissions that wait at once."""

    def __init__(
        self,
        requests_per_s: int,
        transactions_per_s: int,
        participant_transactions_per_s: int,
        now_s: Callable[[], float],
    ) -> None:
        self._limiter = MovingWindowRateLimiter(WindowStore(now_s))
        self._requests = RateLimitItemPerSecond(requests_per_s, namespace="requests")
        self._transactions = RateLimitItemPerSecond(transactions_per_s, namespace="transactions")
        self._participants = RateLimitItemPerSecond(
            participant_transactions_per_s, namespace="participants"
        )
        self._waiting: dict[str, int] = {}
        self._waiting_total = 0
        self._reading: dict[str, int] = {}
        self._reading_total = 0

    def take_request(self, principal: str) -> None:
        """`Refused(QUOTA_SPENT)` when the principal's requests of the last second are used up."""
        if not self._limiter.hit(self._requests, principal):
            raise Refused(
                RejectReason.QUOTA_SPENT,
                f"The quota is {self._requests.amount} requests per second. Nothing was accepted.",
            )

    def take_transactions(
        self, principal: str, participant: ParticipantId | None, count: int
    ) -> None:
        """`Refused(QUOTA_SPENT)` when `count` more exceed the principal's, or its participant's, transactions of one
        second: none is taken. All principals of a participant share its quota; `participant` None has none of its own.
        """
        if not self._limiter.hit(self._transactions, principal, cost=count):
            raise Refused(
                RejectReason.QUOTA_SPENT,
                f"The quota is {self._transactions.amount} transactions per second. Nothing was accepted.",
            )
        if participant is not None and not self._limiter.hit(
            self._participants, str(participant), cost=count
        ):
            raise Refused(
                RejectReason.QUOTA_SPENT,
                f"The participant's quota is {self._participants.amount} transactions per second. "
                "Nothing was accepted.",
            )

    def begin_waiting(self, principal: str) -> None:
        """Enter the bounded crowd of waiting submissions, or `Refused(OVERLOADED)`."""
        mine = self._waiting.get(principal, 0)
        if self._waiting_total >= bounds.WAITING_MAX or mine >= bounds.WAITING_PER_PRINCIPAL_MAX:
            raise Refused(
                RejectReason.OVERLOADED,
                "Too many submissions wait for their answer. Nothing was accepted.",
            )
        self._waiting[principal] = mine + 1
        self._waiting_total += 1

    def end_waiting(self, principal: str) -> None:
        """Leave it."""
        self._waiting_total -= 1
        left = self._waiting[principal] - 1
        if left:
            self._waiting[principal] = left
        else:
            del self._waiting[principal]

    @contextmanager
    def reading(self, principal: str, size: int) -> Iterator[None]:
        """While a body of `size` bytes is under way. `Refused(OVERLOADED)` when too much is: nothing was read."""
        mine = self._reading.get(principal, 0) + size
        if (
            mine > bounds.READING_BYTES_PER_PRINCIPAL_MAX
            or self._reading_total + size > bounds.READING_BYTES_MAX
        ):
            raise Refused(
                RejectReason.OVERLOADED,
                "Too many request bodies are under way. Nothing was accepted.",
            )
        self._reading[principal] = mine
        self._reading_total += size
        try:
            yield
        finally:
            self._reading_total -= size
            left = self._reading[principal] - size
            if left:
                self._reading[principal] = left
            else:
                del self._reading[principal]
