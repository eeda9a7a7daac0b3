"""What an observer finds by following blocks and executing each again: how far it lags, and whether it ever differed.

The work is the core's (`node.core.follower`); here is its voice. A divergence is not an accident of this process: it stops
following, keeps its diagnosis, and goes on answering readers with the last ledger on which it agreed, until somebody has
looked and stops it. A failing disk ends the process as it ends a member's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

LOOK_SECONDS = 1.0
"""How often the lag is looked at: an idle network makes a block a second."""

_log = structlog.get_logger("observer")


class FollowingStatus(Protocol):
    """What is read of the follower's status."""

    @property
    def height(self) -> int: ...
    @property
    def block_time_ms(self) -> int: ...
    @property
    def blocks_executed(self) -> int: ...
    @property
    def halted(self) -> str | None:
        """Why its own execution and the certified blocks do not go together."""
        ...


@dataclass(frozen=True, slots=True)
class Findings:
    """`node.api.ports.AuditView`."""

    lag_ms: int
    blocks_executed: int
    divergence: str | None


class Observer:
    """Reads the follower; tells readers and the log."""

    def __init__(
        self, status: Callable[[], FollowingStatus], clock: Callable[[], int], lag_alarm_ms: int
    ) -> None:
        """`status`: the follower's own, so that `halted` is a divergence and nothing else."""
        self._status = status
        self._clock = clock
        self._lag_alarm_ms = lag_alarm_ms
        self._lagging = False
        self._looking: asyncio.Task[None] | None = None

    def findings(self) -> Findings:
        """As of now."""
        status = self._status()
        lag_ms = max(0, self._clock() - status.block_time_ms)
        return Findings(lag_ms, status.blocks_executed, status.halted)

    async def start(self) -> None:
        """Look at the lag from now on."""
        self._looking = asyncio.create_task(self._look_for_ever(), name="observer-lag")

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Say once when the lag becomes too long, and once when it is over."""
        found = self.findings()
        lagging = found.lag_ms > self._lag_alarm_ms
        if lagging != self._lagging:
            self._lagging = lagging
            say = _log.warning if lagging else _log.info
            say(
                "lagging" if lagging else "level again",
                lag_ms=found.lag_ms,
                height=self._status().height,
            )

    async def wait_beyond_repair(self, wait_halted: Callable[[], Awaitable[str]]) -> str:
        """Why the process must end: a halt that is no divergence. A divergence is told and waited out."""
        sentence = await wait_halted()
        divergence = self.findings().divergence
        if divergence is None:
            return sentence
        _log.critical("divergence", sentence=divergence)
        await asyncio.Event().wait()
        return sentence
