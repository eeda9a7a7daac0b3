"""Ordered start, ordered stop, and the exit code: the life of one node's process.

Parts start in the order given and stop in reverse. SIGTERM and SIGINT stop in order; a second one kills. A halt stops the
parts too, so that what is durable stays whole, and the process leaves with `EXIT_HALTED`, so that nobody restarts it blindly.
"""

import asyncio
import contextlib
import gc
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
import uvloop

EXIT_OK: Final = 0
EXIT_HALTED: Final = 70
"""EX_SOFTWARE of sysexits.h: read the diagnosis before you start the node again."""

STOP_SECONDS_MAX: Final = 10.0
"""One part's time to stop; a disk that takes longer is not coming back."""

GC_THRESHOLDS: Final = (50_000, 20, 100)
"""Measured: 0.13 of the CPU ratio. A node allocates millions of objects and makes almost no cycles."""

OPEN_FILES_WANTED: Final = 16_384
"""1,024 clients, as many handshakes of strangers in five seconds several times over, and 1,000 tables of LevelDB. At the
usual 1,024, strangers who merely connect would leave the database without a file to write its next log to: a halt."""

_log = structlog.get_logger("supervisor")


@dataclass(frozen=True, slots=True)
class Part:
    """Something that starts and stops."""

    name: str
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]


class Supervisor:
    """Runs the parts of one node until a signal or a halt."""

    def __init__(self, parts: Sequence[Part], wait_halted: Callable[[], Awaitable[str]]) -> None:
        """`wait_halted` returns why the node can go on no more (`Driver.wait_halted`)."""
        self._parts = tuple(parts)
        self._wait_halted = wait_halted
        self._stop_asked = asyncio.Event()

    def ask_to_stop(self) -> None:
        """What a SIGTERM does."""
        self._stop_asked.set()

    async def run(self, ready: Callable[[], None] = lambda: None) -> int:
        """The exit code. An error in a part's start stops the parts before it and is raised."""
        started: list[Part] = []
        try:
            for part in self._parts:
                await part.start()
                started.append(part)
                _log.info("started", part=part.name)
            tune_collector()
            with self._signals():
                ready()
                return await self._until_the_end()
        finally:
            for part in reversed(started):
                await _stop(part)

    async def _until_the_end(self) -> int:
        halted = asyncio.ensure_future(self._wait_halted())
        asked = asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait((halted, asked), return_when=asyncio.FIRST_COMPLETED)
            return EXIT_HALTED if halted.done() else EXIT_OK
        finally:
            halted.cancel()
            asked.cancel()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)

        def asked(number: signal.Signals) -> None:
            _log.info("stopping", signal=number.name)
            for each in numbers:
                loop.remove_signal_handler(each)  # the next one kills
            self.ask_to_stop()

        for number in numbers:
            loop.add_signal_handler(number, asked, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


class Runnable(Protocol):
    """What lives as long as the process: a `Supervisor`, or a composed node around one."""

    async def run(self, ready: Callable[[], None]) -> int: ...


def run_process(build: Callable[[], Awaitable[Runnable]], ready: Callable[[], None]) -> int:
    """Build and run a node on uvloop; the exit code."""

    raise_open_files()

    async def live() -> int:
        node = await build()
        return await node.run(ready)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(live())


def raise_open_files() -> None:
    """Let this process open as many files as it wants, or as many as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES_WANTED:
        return
    allowed = OPEN_FILES_WANTED
    if hard != resource.RLIM_INFINITY and hard < allowed:
        allowed = hard
        _log.warning("few open files", allowed=hard, wanted=OPEN_FILES_WANTED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def tune_collector() -> None:
    """Take what is loaded out of the collector's sight, and let it look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _stop(part: Part) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await part.stop()
        _log.info("stopped", part=part.name)
    except Exception as error:  # noqa: BLE001  # the parts below must still be stopped
        _log.error("did not stop", part=part.name, error=f"{type(error).__name__}: {error}")
