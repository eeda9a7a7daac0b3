"""Checks of transaction bodies behind one port: inline, in threads, or in processes.

Bodies are checked in slices of at most `SLICE`, with turns of the loop between them, so that votes overtake bodies.
Measured: on two cores inline wins over 60 s; threads gain in short runs and cost latency; processes pay from four cores on.
Counted here: the CPU of all checks, and of a sample of bare signature verifications, which the bench divides by.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Protocol

from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.keys import verify_spend
from tallystick.node.core.events import CheckedBody, Verdict

SLICE = 256
"""Bodies checked without a pause: about 11 ms on the machines of 2026. Larger saves nothing, smaller costs loop turns."""

SAMPLED = 8
"""Bodies of one sample."""

SAMPLE_EVERY = 8 * SLICE
"""Bodies between two samples: 0.4 % more checks."""

WORKERS_MAX = 64
"""Threads or processes of one node."""


class Checker(Protocol):
    """`node.core.admission.BodyChecker`: pure, and safe to call from any one thread at a time."""

    def check(self, raw: bytes, /) -> Verdict: ...


@dataclass(slots=True)
class CheckCounters:
    """What the checks have cost since the start."""

    checked_total: int = 0
    check_cpu_seconds: float = 0.0
    """CPU of whole checks: decode, canonical form, digest, signatures."""
    sampled_total: int = 0
    sampled_cpu_seconds: float = 0.0
    """CPU of the sampled signature verifications alone, timed in the thread that does the checks."""


class Verifiers(Protocol):
    """The port. `check` may run up to `parallel` times at once."""

    parallel: int
    counters: CheckCounters

    async def check(self, bodies: Sequence[bytes], /) -> tuple[Verdict, ...]:
        """One verdict per body, in order."""
        ...

    async def close(self) -> None: ...


class InlineVerifiers:
    """On the loop's own thread."""

    parallel = 1

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self.counters = CheckCounters()
        self._until_sample = SAMPLE_EVERY

    async def check(self, bodies: Sequence[bytes], /) -> tuple[Verdict, ...]:
        verdicts: list[Verdict] = []
        for start in range(0, len(bodies), SLICE):
            if start:
                # Two turns: in the first the sockets are read, in the second their readers hand the frames on.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            part = bodies[start : start + SLICE]
            self._until_sample -= len(part)
            checked, cost = _check_slice(self._checker, part, sample=self._until_sample <= 0)
            if self._until_sample <= 0:
                self._until_sample = SAMPLE_EVERY
            _add(self.counters, cost)
            verdicts += checked
        return tuple(verdicts)

    async def close(self) -> None:
        """Nothing to end."""


class PoolVerifiers:
    """In an executor: slices side by side, verdicts in order."""

    def __init__(
        self, executor: Executor, run: Callable[..., "_SliceResult"], parallel: int
    ) -> None:
        self._executor = executor
        self._run = run
        self.parallel = parallel
        self.counters = CheckCounters()
        self._until_sample = SAMPLE_EVERY

    async def check(self, bodies: Sequence[bytes], /) -> tuple[Verdict, ...]:
        loop = asyncio.get_running_loop()
        slices = []
        for start in range(0, len(bodies), SLICE):
            part = list(bodies[start : start + SLICE])
            self._until_sample -= len(part)
            sample = self._until_sample <= 0
            if sample:
                self._until_sample = SAMPLE_EVERY
            slices.append(loop.run_in_executor(self._executor, self._run, part, sample))
        try:
            results = await asyncio.gather(*slices)
        except BrokenProcessPool as error:
            raise OperationalError("a verifier process died") from error
        for _, cost in results:
            _add(self.counters, cost)
        return tuple(verdict for verdicts, _ in results for verdict in verdicts)

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown, True, cancel_futures=True)


def thread_verifiers(checker: Checker, threads: int) -> PoolVerifiers:
    """`threads` threads; libsecp256k1 lets go of the interpreter while it computes. The checker must be thread-safe."""

    def run(bodies: Sequence[bytes], sample: bool) -> _SliceResult:
        return _check_slice(checker, bodies, sample)

    _bounded(threads)
    return PoolVerifiers(ThreadPoolExecutor(threads, thread_name_prefix="verifier"), run, threads)


def process_verifiers(make_checker: Callable[[], Checker], processes: int) -> PoolVerifiers:
    """`processes` processes; `make_checker` must be a module's function or a partial of one, run once in each."""
    _bounded(processes)
    executor = ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_process,
        initargs=(make_checker,),
    )
    return PoolVerifiers(executor, _check_in_process, processes)


_Cost = tuple[int, int, int, int]
"""Bodies, CPU of their checks in ns, sampled signatures, CPU of the sample in ns."""
_SliceResult = tuple[list[Verdict], _Cost]

_process_checker: list[Checker] = []


def _begin_process(make_checker: Callable[[], Checker]) -> None:
    _process_checker.append(make_checker())


def _check_in_process(bodies: Sequence[bytes], sample: bool) -> _SliceResult:
    return _check_slice(_process_checker[0], bodies, sample)


def _check_slice(checker: Checker, bodies: Sequence[bytes], sample: bool) -> _SliceResult:
    began = time.thread_time_ns()
    check = checker.check
    verdicts = [check(raw) for raw in bodies]
    ended = time.thread_time_ns()
    sampled, sampled_ns = _sample(verdicts) if sample else (0, 0)
    return verdicts, (len(verdicts), ended - began, sampled, sampled_ns)


def _sample(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """Verify the signatures of some good bodies once more, on the clock: count and CPU in ns.

    `SAMPLED` of them in one reading, because reading the clock for each would add to what it measures.
    """
    good = [verdict for verdict in verdicts if isinstance(verdict, CheckedBody)][:SAMPLED]
    signed = [(each.digest, each.transaction.witnesses) for each in good]
    began = time.thread_time_ns()
    for digest, witnesses in signed:
        for witness in witnesses:
            verify_spend(witness.key, digest, witness.signature)
    spent_ns = time.thread_time_ns() - began
    return sum(len(witnesses) for _, witnesses in signed), spent_ns


def _add(counters: CheckCounters, cost: _Cost) -> None:
    checked, check_ns, sampled, sampled_ns = cost
    counters.checked_total += checked
    counters.check_cpu_seconds += check_ns / 1e9
    counters.sampled_total += sampled
    counters.sampled_cpu_seconds += sampled_ns / 1e9


def _bounded(workers: int) -> None:
    if not 1 <= workers <= WORKERS_MAX:
        raise ValueError(f"verifier workers must be 1 to {WORKERS_MAX}, not {workers}")
