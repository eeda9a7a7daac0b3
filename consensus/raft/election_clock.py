"""When to stand for election (thesis, sections 3.4, 4.2.3 and 9.6).

Decided here: a span drawn anew for each attempt, doubled with each one after the first that brought nothing, capped; loyalty to
a leader heard within the least span. A trial disturbs nobody, so it is tried again after a third of a wait, and whoever grants one
lets its asker go first for as long. A tick that itself comes late says that we were away, not the leader.
Randomness is given: any stream of non-negative integers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tallystick.consensus.api import Timing
from tallystick.network.wire.digest import Tag

LATE_TICK_MS = 150

_JITTER = Tag(b"tallystick/raft-jitter")


def jitter_of(seed: bytes) -> Iterator[int]:
    """An endless stream that depends on the seed alone."""
    count = 0
    while True:
        yield int.from_bytes(_JITTER.hash(seed + count.to_bytes(8, "big"))[:4], "big")
        count += 1


@dataclass(slots=True)
class ElectionClock:
    timing: Timing
    jitter: Iterator[int]
    failed: int = 0
    """Elections and terms in a row that brought no final block."""
    deadline_ms: int = 0
    barred_until_ms: int = 0
    """We gave leadership up, or lost it for a reason: others first."""
    _wait_ms: int = 0
    _heard_ms: int | None = None
    _forgiven: bool = False

    @property
    def span_ms(self) -> int:
        """The longest wait for a leader; the least is half of it."""
        wait_ms = self.timing.view_timeout_ms << max(0, min(self.failed, 11) - 1)
        return max(2, min(wait_ms, self.timing.view_timeout_ms_max))

    @property
    def heartbeat_ms(self) -> int:
        return max(1, self.timing.view_timeout_ms // 8)

    @property
    def stall_ms(self) -> int:
        """So long a leader may owe a final block before it lets others try."""
        return min(4 * self.span_ms, 2 * self.timing.view_timeout_ms_max)

    def restart(self, now_ms: int) -> None:
        """A new attempt, or a vote for somebody else: wait a freshly drawn time."""
        half_ms = self.span_ms // 2
        self._wait_ms = half_ms + next(self.jitter) % (half_ms + 1)
        self.deadline_ms, self._forgiven = now_ms + self._wait_ms, False

    def retry(self, now_ms: int) -> None:
        """A trial is out: ask again soon, at another distance."""
        self.restart(now_ms)
        self.deadline_ms = now_ms + max(1, self._wait_ms // 3)

    def give_way(self, now_ms: int) -> None:
        """Somebody else's trial was granted: it goes first."""
        self.deadline_ms = max(self.deadline_ms, now_ms + self._wait_ms // 3)

    def heard_leader(self, now_ms: int) -> None:
        self._heard_ms = now_ms
        self.deadline_ms, self._forgiven = now_ms + self._wait_ms, False

    def forget_leader(self) -> None:
        """Its term is over: nobody is owed loyalty."""
        self._heard_ms = None

    def lost_leader(self, now_ms: int) -> None:
        """Our connection to it broke: no loyalty, and a shorter wait."""
        self._heard_ms = None
        self.deadline_ms = min(self.deadline_ms, now_ms + self._wait_ms // 3)

    def is_loyal(self, now_ms: int) -> bool:
        """A leader was heard within the least span: nobody else is helped into its place."""
        return self._heard_ms is not None and now_ms < self._heard_ms + self.span_ms // 2

    def expired(self, now_ms: int) -> bool:
        if now_ms < self.deadline_ms:
            return False
        if now_ms > self.deadline_ms + LATE_TICK_MS and not self._forgiven:
            self.deadline_ms, self._forgiven = now_ms + self._wait_ms // 4, True
            return False
        return True

    def progress(self) -> None:
        """A block became final."""
        self.failed = 0
