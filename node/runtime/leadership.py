"""Readers who wait for a quorum, and leadership that is handed on: the two questions that only a member can answer.

Decided here: how long either is waited for, and how many readers wait at once. Not here: what makes a read current
(`core.quorum_reads`), to whom leadership goes (`consensus`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import structlog

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core.events import ClientGone, Event, HandOver, ReadAtQuorum

READS_MAX = 8_192
"""Readers that wait for a quorum at once; the core asks for all of them together."""

READ_SECONDS = 5.0
"""So long a reader waits for a quorum: an election, and a block that he must not miss."""

HAND_OVER_SECONDS = 2.0
"""So long a hand-over is waited for: two elections on a busy machine. A stop goes on without it."""

HAND_OVER_LOOK_S = 0.005
"""How often we look whether somebody else leads: an operator's wish, once in the life of a process."""

_log = structlog.get_logger("leadership")


class Leadership:
    """Belongs to a driver, which lends it its loop around the core."""

    def __init__(
        self,
        step: Callable[[Event], None],
        leads: Callable[[], bool],
        tokens: Iterator[int],
        why_not: Callable[[], str | None],
    ) -> None:
        """`why_not`: why the node takes no events, None while it does."""
        self._step = step
        self._leads = leads
        self._tokens = tokens
        self._why_not = why_not
        self._reads: dict[int, asyncio.Future[None]] = {}

    async def read_at_quorum(self, timeout_s: float = READ_SECONDS) -> None:
        """Return once the certified ledger here holds whatever was final anywhere when this was called.

        `Refused` with NOT_CONFIRMED: no quorum said so in time; nothing may be read as current.
        """
        self._check_running()
        if len(self._reads) >= READS_MAX:
            raise Refused(RejectReason.OVERLOADED, reads_max=READS_MAX)
        token = next(self._tokens)
        future = asyncio.get_running_loop().create_future()
        self._reads[token] = future
        try:
            self._step(ReadAtQuorum(token))
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            raise Refused(RejectReason.NOT_CONFIRMED) from None
        finally:
            del self._reads[token]
            if future.cancelled():
                self._step(ClientGone(token))

    def readable(self, token: int) -> None:
        """The core says so; the reader may have gone."""
        reading = self._reads.get(token)
        if reading is not None and not reading.done():
            reading.set_result(None)

    def abandon(self, sentence: str) -> None:
        """The node stops: nobody will answer any more."""
        for reading in self._reads.values():
            if not reading.done():
                reading.set_exception(Refused(RejectReason.NOT_READY, sentence))

    async def hand_over(self, to: NodeId | None, timeout_s: float = HAND_OVER_SECONDS) -> bool:
        """Let another member lead; True once one does, False if none took over in time. `Refused` with NOT_LEADER."""
        self._check_running()
        if not self._leads():
            raise Refused(RejectReason.NOT_LEADER)
        self._step(HandOver(to))
        looks = int(timeout_s / HAND_OVER_LOOK_S)
        while self._leads() and looks:
            looks -= 1
            await asyncio.sleep(HAND_OVER_LOOK_S)
        return not self._leads()

    async def resign(self) -> None:
        """Before a stop in order: who leads hands over first, so that nobody has to miss it. Never an error."""
        with contextlib.suppress(Refused):
            took_over = await self.hand_over(None)
            _log.info("handed over before the stop", took_over=took_over)

    def _check_running(self) -> None:
        sentence = self._why_not()
        if sentence is not None:
            raise Refused(RejectReason.NOT_READY, sentence)
