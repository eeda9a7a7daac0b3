"""The process's one clock: integer milliseconds since 1970 that never go back and never stand still."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Milliseconds since 1970."""


class WallClock:
    """Follows the wall clock. When that is set back, this clock goes on at half speed until the wall has caught up.

    Standing still instead would stop every deadline for as long as the correction was large; jumping back would let a
    leader stamp a block before its parent.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns, self._steady_ns = wall_ns, steady_ns
        self._last_ns = 0
        self._last_steady_ns = steady_ns()

    def __call__(self) -> int:
        wall_ns, steady_ns = self._wall_ns(), self._steady_ns()
        if wall_ns >= self._last_ns:
            self._last_ns = wall_ns
        else:
            self._last_ns += (steady_ns - self._last_steady_ns) // 2
        self._last_steady_ns = steady_ns
        return self._last_ns // 1_000_000
