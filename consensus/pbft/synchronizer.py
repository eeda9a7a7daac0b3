"""When to leave a view (kept apart from what a view change does; compare "Liveness and Latency of Byzantine SMR").

Decided here: the moment at which waiting for a final block has taken too long. The wait doubles with each view that failed,
up to a cap, and starts anew with every final block. An idle network owes an empty block every `idle_block_ms`, so the wait
never ends for good. A tick that itself comes late says that we were away (paused, starved), not the leader: it grants one
more half wait. A leader whose connections broke is waited for a third of the time.
Not here: f+1 members in higher views pull a replica up at once (`view_change`).
"""

from dataclasses import dataclass

from tallystick.consensus.api import Timing

RESEND_MS_MIN = 150
LATE_TICK_MS = 150


@dataclass(slots=True)
class Synchronizer:
    timing: Timing
    failed: int = 0
    """Views in a row that brought no final block."""
    _since_ms: int = 0
    _owed_ms: int = 0
    _opened: bool = True
    _forgiven: bool = False
    _suspected: bool = False

    @property
    def timeout_ms(self) -> int:
        return min(
            self.timing.view_timeout_ms << min(self.failed, 10), self.timing.view_timeout_ms_max
        )

    @property
    def resend_ms(self) -> int:
        """How long a silence lasts before we say again where we stand."""
        return max(RESEND_MS_MIN, self.timing.view_timeout_ms // 2)

    def progress(self, now_ms: int, work: bool) -> None:
        """A block became final."""
        self.failed = 0
        self._wait(now_ms, 0 if work else self.timing.idle_block_ms)

    def owes(self, work: bool, now_ms: int) -> None:
        """Is there something to order? An idle network owes a block only after the idle time."""
        if work and self._owed_ms and now_ms < self._since_ms + self._owed_ms:
            self._wait(now_ms, 0)
        elif not work and self._opened and not self._owed_ms:
            self._owed_ms = self.timing.idle_block_ms

    def entered(self, now_ms: int) -> None:
        """The view has been opened: its leader is expected to act at once."""
        self._opened = True
        self._wait(now_ms, 0)

    def reconnected(self, now_ms: int) -> None:
        """A quorum is connected again: whatever was owed is owed from now on."""
        if self._opened:
            self._wait(now_ms, 0)

    def left(self, now_ms: int) -> None:
        """We have left a view and wait until a quorum has too: until then, going further alone helps nobody."""
        self._opened = False
        self._wait(now_ms, 0)

    def quorum_left(self, now_ms: int) -> None:
        """A quorum has left with us: the new leader is expected to open the view."""
        if not self._opened:
            self._opened = True
            self._wait(now_ms, 0)

    def suspect(self) -> None:
        """Our connection to the leader broke."""
        self._suspected = True

    @property
    def deadline_ms(self) -> int | None:
        if not self._opened:
            return None
        wait = self.timeout_ms // 3 if self._suspected and not self.failed else self.timeout_ms
        return self._since_ms + self._owed_ms + wait

    def expired(self, now_ms: int) -> bool:
        """Has the view had its time? Forgives once when the tick is so late that we must have been away."""
        deadline_ms = self.deadline_ms
        if deadline_ms is None or now_ms < deadline_ms:
            return False
        if now_ms > deadline_ms + LATE_TICK_MS and not self._forgiven:
            self._since_ms, self._owed_ms = now_ms - self.timeout_ms // 2, 0
            self._suspected, self._forgiven = False, True
            return False
        return True

    def _wait(self, now_ms: int, owed_ms: int) -> None:
        self._since_ms, self._owed_ms = now_ms, owed_ms
        self._forgiven = self._suspected = False
