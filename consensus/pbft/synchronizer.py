"""When to leave a view (kept apart from what a view change does; compare "Liveness and Latency of Byzantine SMR").

Decided here: the moment at which waiting for a final block has taken too long. The wait doubles with each view that failed,
up to a cap, and starts anew with every final block. On a slow or busy machine it is never shorter than a few of the usual
intervals between final blocks: load alone must not cost a view. An idle network owes an empty block every `idle_block_ms`, so the wait
never ends for good. A tick that itself comes late says that we were away (paused, starved), not the leader: it grants one
more half wait. A leader whose connections broke is waited for a third of the least wait.
Not here: f+1 members in higher views pull a replica up at once (`view_change`).
"""

from dataclasses import dataclass

from tallystick.consensus.api import Timing

RESEND_MS_MIN = 150
LATE_TICK_MS = 150
INTERVALS_PER_TIMEOUT = 4
INTERVAL_MS_MAX = 2_000


@dataclass(slots=True)
class Synchronizer:
    timing: Timing
    failed: int = 0
    """Views in a row that brought no final block."""
    _interval_ms: int = 0
    """The usual time from one final block to the next while there is work."""
    _since_ms: int = 0
    _due_from_ms: int | None = None
    _owed_ms: int = 0
    _opened: bool = True
    _forgiven: bool = False
    _suspect_until_ms: int | None = None
    _leader_gone: bool = False
    """Blocks of a leader that is gone may still become final, but no new ones will come: it stays suspect."""

    @property
    def timeout_ms(self) -> int:
        usual_ms = INTERVALS_PER_TIMEOUT * self._interval_ms
        wait_ms = max(self.timing.view_timeout_ms, usual_ms)
        if self.failed:
            wait_ms <<= min(self.failed, 10)
        return min(wait_ms, self.timing.view_timeout_ms_max)

    @property
    def due_from_ms(self) -> int:
        """Since when (or from when) a final block is owed, whatever views began and ended meanwhile."""
        return self._due_from_ms if self._due_from_ms is not None else self._since_ms

    @property
    def resend_ms(self) -> int:
        """How long a silence lasts before we say again where we stand."""
        return max(RESEND_MS_MIN, self.timing.view_timeout_ms // 2)

    def progress(self, now_ms: int, work: bool) -> None:
        """A block became final."""
        self.failed = 0
        if not self._owed_ms:
            # Smoothed over about eight blocks, and only while there was work: idle intervals say nothing.
            self._interval_ms += (
                min(now_ms - self._since_ms, INTERVAL_MS_MAX) - self._interval_ms
            ) // 8
        owed_ms = 0 if work else self.timing.idle_block_ms
        self._due_from_ms = now_ms + owed_ms
        self._wait(now_ms, owed_ms)

    def owes(self, work: bool, now_ms: int) -> None:
        """Is there something to order? An idle network owes a block only after the idle time."""
        if work and self._owed_ms and now_ms < self._since_ms + self._owed_ms:
            self._due_from_ms = now_ms
            self._wait(now_ms, 0)
        elif not work and self._opened and not self._owed_ms:
            self._owed_ms = self.timing.idle_block_ms

    def entered(self, now_ms: int) -> None:
        """The view has been opened: its leader is expected to act at once."""
        self._opened, self._leader_gone = True, False
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

    def suspect(self, now_ms: int) -> None:
        """Our connection to the leader broke."""
        self._leader_gone = True
        if not self.failed:
            self._suspect_until_ms = now_ms + self.timing.view_timeout_ms // 3

    def leader_back(self) -> None:
        """It is connected again: whoever waits for the next block waits for it as usual."""
        self._leader_gone = False

    @property
    def deadline_ms(self) -> int | None:
        if not self._opened:
            return None
        wait_until_ms = self._since_ms + self._owed_ms + self.timeout_ms
        if self._suspect_until_ms is not None:
            return min(wait_until_ms, self._suspect_until_ms)
        return wait_until_ms

    def expired(self, now_ms: int) -> bool:
        """Has the view had its time? Forgives once when the tick is so late that we must have been away."""
        deadline_ms = self.deadline_ms
        if deadline_ms is None or now_ms < deadline_ms:
            return False
        if now_ms > deadline_ms + LATE_TICK_MS and not self._forgiven:
            self._since_ms, self._owed_ms = now_ms - self.timeout_ms // 2, 0
            self._suspect_until_ms, self._forgiven = None, True
            return False
        return True

    def _wait(self, now_ms: int, owed_ms: int) -> None:
        if self._due_from_ms is None:
            self._due_from_ms = now_ms
        self._since_ms, self._owed_ms = now_ms, owed_ms
        self._forgiven, self._suspect_until_ms = False, None
        if self._leader_gone:
            self.suspect(now_ms + owed_ms)
