"""A node's clock: wrong by an offset and a drift, never going back, like `node.runtime.clock`."""

from dataclasses import dataclass

from tests.sim.plan import EPOCH_MS


@dataclass(slots=True)
class Clock:
    """Reads integer milliseconds from true milliseconds since the run began."""

    offset_ms: int = 0
    drift_ppm: int = 0
    frozen_at_ms: int | None = None
    """A clock that stands still: an arbitrary member's only."""
    _last_ms: int = 0

    def read(self, true_ms: int) -> int:
        if self.frozen_at_ms is not None:
            true_ms = min(true_ms, self.frozen_at_ms)
        self._last_ms = max(self._last_ms, self._raw(true_ms))
        return self._last_ms

    def _raw(self, true_ms: int) -> int:
        """What the machine's clock says: it may go back."""
        return EPOCH_MS + self.offset_ms + true_ms + true_ms * self.drift_ppm // 1_000_000

    def true_until(self, shown_ms: int, true_ms: int) -> int:
        """How many true milliseconds until the clock shows at least `shown_ms`: at least 1, and rather one too many."""
        self.read(true_ms)
        stands_at_ms = true_ms if self.frozen_at_ms is None else min(true_ms, self.frozen_at_ms)
        missing = shown_ms - self._raw(stands_at_ms)
        return max(1, missing + abs(missing * self.drift_ppm) // 1_000_000)

    def jump(self, by_ms: int) -> None:
        """Set by a correction, forward or back. Set back, what a node reads stands still until the true time has caught up."""
        self.offset_ms += by_ms
