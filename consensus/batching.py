"""When a block is closed: at once when little comes, in larger blocks when much comes.

A block of one transaction costs every node more than a millisecond, so blocks of one would eat the machine above a few
hundred transactions a second. The gap between proposals therefore follows the arrival rate (never the block size: that
stays stuck at blocks of one). Full blocks go out at once while the pipeline has room, and so does whatever comes under
light load: waiting for the block in flight would double what a payment takes.
"""

from dataclasses import dataclass

from tallystick.consensus.api import Timing

LIGHT_PER_S = 50
"""Up to this arrival rate a proposal waits for nothing but room in the pipeline. Four nodes on two cores make a block of one in
ten to twenty milliseconds: at a hundred a second, blocks that do not wait for each other would take the whole machine."""

HEAVY_PER_S = 1_500
"""From this arrival rate on, proposals that are not full wait `GAP_MS_MAX`."""

GAP_MS_MAX = 20
RATE_SPAN_MS = 250
"""The arrival rate is measured over spans of this length."""


@dataclass(slots=True)
class Batching:
    """The leader's sense of load."""

    block_transactions_max: int
    pipeline: int
    timing: Timing
    waiting: int = 0
    arrived: int = 0
    last_proposal_ms: int = 0
    _rate_per_s: int = 0
    _span_from_ms: int = 0
    _span_arrived: int = 0

    def heard(self, waiting: int, arrived: int, now_ms: int) -> None:
        """The pool's count, and all arrivals so far."""
        self.waiting, self.arrived = waiting, arrived
        span_ms = now_ms - self._span_from_ms
        if span_ms >= RATE_SPAN_MS:
            self._rate_per_s = (arrived - self._span_arrived) * 1000 // span_ms
            self._span_from_ms, self._span_arrived = now_ms, arrived

    @property
    def gap_ms(self) -> int:
        """The least age of the last proposal before one that is not full."""
        over = self._rate_per_s - LIGHT_PER_S
        return max(0, min(GAP_MS_MAX, over * GAP_MS_MAX // (HEAVY_PER_S - LIGHT_PER_S)))

    def due_ms(self, in_flight: int, idle_since_ms: int) -> int | None:
        """The moment from which a block may be proposed; None while the pipeline has no room for it."""
        if in_flight >= self.pipeline:
            return None
        if self.waiting >= self.block_transactions_max:
            return 0
        if in_flight and not (self.waiting and self._rate_per_s <= LIGHT_PER_S):
            return None
        if self.waiting:
            return self.last_proposal_ms + self.gap_ms
        return idle_since_ms + self.timing.idle_block_ms
