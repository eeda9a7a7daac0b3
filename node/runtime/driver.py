"""The one loop around `Replica.handle`: inbox, handle, persist, release.

Decided here: nothing that is a promise leaves before everything it rests on is durable. A step's `after_persist` waits for
its own batch, or, if it has none, for every batch handed over before it. Whatever breaks in a step (our invariant, the disk,
any surprise) halts the node: the signer is sealed first, then the diagnosis is written, then the process ends.
Not here: what to say and to whom (`node.core`), sockets (`network.transport`), threads (`disk_writer`, `verifiers`).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, assert_never

import structlog

from tallystick.network.wire.faults import InvariantError, OperationalError, Refused, invariant
from tallystick.network.wire.ids import NodeId, ParticipantId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core.effects import (
    Answer,
    Batch,
    CheckBodies,
    Effects,
    Halt,
    Hearsay,
    Outgoing,
    Promise,
    Readable,
    Reply,
    TraceEvent,
)
from tallystick.node.core.events import (
    BodiesChecked,
    ClientGone,
    Event,
    PeerDown,
    PeerFrame,
    PeerUp,
    Persisted,
    Submit,
    Tick,
    Wait,
)
from tallystick.node.runtime.clock import Clock
from tallystick.node.runtime.diagnosis import TRACE_EVENTS_MAX, write_diagnosis
from tallystick.node.runtime.disk_writer import BatchWriter, Written
from tallystick.node.runtime.leadership import Leadership
from tallystick.node.runtime.telemetry import Telemetry
from tallystick.node.runtime.verifiers import SLICE, Verifiers

SUBMISSIONS_MAX = 8_192
"""Submissions that wait for an answer at once; each holds a future and a client's connection."""

LAST_WORD_SECONDS = 2.0
"""How long a timed-out submission waits for the core to say how far it came: a few synced batches."""

_log = structlog.get_logger("driver")


class Status(Protocol):
    """What the driver itself reads of a `NodeStatus`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def halted(self) -> str | None: ...


ReaderT_co = TypeVar("ReaderT_co", covariant=True)
StatusT_co = TypeVar("StatusT_co", bound=Status, covariant=True)


class ReplicaPort(Protocol[ReaderT_co, StatusT_co]):
    """The whole node without I/O."""

    @property
    def reader(self) -> ReaderT_co: ...

    @property
    def has_room(self) -> bool:
        """Whether it takes transactions at all now."""
        ...

    @property
    def leads(self) -> bool:
        """False once another member leads that this one follows."""
        ...

    def handle(self, event: Event, now_ms: int, /) -> Effects: ...

    def status(self) -> StatusT_co: ...


class Network(Protocol):
    """The links to the other nodes."""

    def send(self, to: NodeId | None, frame: bytes, *, promise: bool) -> None:
        """Queue a frame for a peer, None for every other member. A promise is never dropped in silence."""
        ...

    def blame(self, peer: NodeId) -> None:
        """The peer sent something that no honest node sends."""
        ...


class Sealable(Protocol):
    """A signer that can be made to sign nothing more."""

    def seal(self) -> None: ...


@dataclass(slots=True)
class _Pending:
    """A batch on its way to the disk, and what waits for it."""

    token: int
    held: list[Outgoing] = field(default_factory=list)


class Driver(Generic[ReaderT_co, StatusT_co]):
    """Owns the replica. Every method is called on the loop's thread."""

    def __init__(
        self,
        replica: ReplicaPort[ReaderT_co, StatusT_co],
        *,
        clock: Clock,
        writer: BatchWriter,
        network: Network,
        verifiers: Verifiers,
        telemetry: Telemetry,
        diagnosis_folder: Path,
        signer: Sealable | None = None,
    ) -> None:
        """`signer` None: a node that signs nothing."""
        self._replica = replica
        self._clock = clock
        self._writer = writer
        self._network = network
        self._verifiers = verifiers
        self._telemetry = telemetry
        self._diagnosis_folder = diagnosis_folder
        self._signer = signer
        self._pending: deque[_Pending] = deque()
        self._submissions: dict[int, asyncio.Future[tuple[Answer, ...]]] = {}
        self._tokens = count(1)
        self.leadership = Leadership(
            self._step, lambda: replica.leads, self._tokens, self._why_not_running
        )
        self._checks: asyncio.Queue[CheckBodies] = asyncio.Queue()
        self._checkers: list[asyncio.Task[None]] = []
        self._trace: deque[tuple[int, TraceEvent]] = deque(maxlen=TRACE_EVENTS_MAX)
        self._deadline_ms: int | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at_ms = 0
        self._running = False
        self._halted: str | None = None
        self._halt_signal = asyncio.Event()

    # The world's side ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin: the first `Tick` lets the replica say when it wants the next."""
        self._running = True
        self._writer.start(self._on_written, self._fail)
        for number in range(self._verifiers.parallel):
            self._checkers.append(asyncio.create_task(self._check(), name=f"checks-{number}"))
        self._step(Tick())

    async def stop(self) -> None:
        """Take no more events, finish what the disk has, tell every waiting client that the outcome is open."""
        self._running = False
        self._disarm()
        for task in self._checkers:
            task.cancel()
        await asyncio.gather(*self._checkers, return_exceptions=True)
        self._abandon("the node is stopping")
        await self._writer.stop()

    def on_peer_up(self, peer: NodeId) -> None:
        self._step(PeerUp(peer))

    def on_peer_down(self, peer: NodeId) -> None:
        self._step(PeerDown(peer))

    def on_frame(self, peer: NodeId, frame: bytes) -> None:
        """Straight from the socket to the core: no task, no queue."""
        self._step(PeerFrame(peer, frame))

    async def submit(
        self,
        bodies: Sequence[bytes],
        wait: Wait,
        participant: ParticipantId | None = None,
        timeout_s: float = 10.0,
    ) -> tuple[Answer, ...]:
        """Hand in transactions and wait; after `timeout_s`, the state that each has reached so far.

        `Refused` with NOT_READY or OVERLOADED: nothing was accepted. `OperationalError`: the outcome is open, ask again
        by (account, id). A cancelled call leaves the work going on.
        """
        if not self._running:
            raise Refused(RejectReason.NOT_READY, self._halted or "")
        if len(self._submissions) >= SUBMISSIONS_MAX:
            raise Refused(RejectReason.OVERLOADED, submissions_max=SUBMISSIONS_MAX)
        token = next(self._tokens)
        future = asyncio.get_running_loop().create_future()
        self._submissions[token] = future
        try:
            self._step(Submit(token, tuple(bodies), wait, participant))
            return await self._answered(token, future, timeout_s)
        except asyncio.CancelledError:
            self._step(ClientGone(token))
            raise
        finally:
            del self._submissions[token]

    @property
    def has_room(self) -> bool:
        """False while the core takes nothing new."""
        return self._replica.has_room

    @property
    def reader(self) -> ReaderT_co:
        """The certified ledger."""
        return self._replica.reader

    @property
    def halted(self) -> str | None:
        """Why the node has halted, None while it lives."""
        return self._halted

    def status(self) -> StatusT_co:
        """The replica's status; `halted` also says what broke around it."""
        status = self._replica.status()
        if self._halted is not None and status.halted is None:
            return replace(status, halted=self._halted)
        return status

    def _why_not_running(self) -> str | None:
        return None if self._running else self._halted or "the node does not run"

    async def wait_halted(self) -> str:
        """Return the sentence once the node has halted."""
        await self._halt_signal.wait()
        return self._halted or ""

    @property
    def checks_waiting(self) -> int:
        """Requests for checks in the queue. The core bounds the bodies it admits, so this is bounded too."""
        return self._checks.qsize()

    @property
    def batches_pending(self) -> int:
        """Batches on their way to the disk."""
        return len(self._pending)

    # One step -----------------------------------------------------------------------------------

    def _step(self, event: Event) -> None:
        if not self._running:
            return
        now_ms = self._clock()
        try:
            self._apply(self._replica.handle(event, now_ms), now_ms)
        except Exception as error:  # noqa: BLE001  # a half-done step must not be followed by another
            self._fail(error)

    def _apply(self, effects: Effects, now_ms: int) -> None:
        for event in effects.trace:
            self._note(now_ms, event)
        for urgent in effects.immediate:
            self._release(urgent)
        if not self._running:
            return
        if effects.persist is not None:
            self._hand_over(effects.persist, effects.after_persist)
        elif self._pending:
            self._pending[-1].held.extend(effects.after_persist)
        else:
            for outgoing in effects.after_persist:
                self._release(outgoing)
        if effects.deadline_ms is not None:
            self._arm(effects.deadline_ms, now_ms)

    def _hand_over(self, batch: Batch, held: Sequence[Outgoing]) -> None:
        self._pending.append(_Pending(batch.token, list(held)))
        self._writer.hand_over(batch)

    def _on_written(self, written: Written) -> None:
        """Batches are durable: release what waited for each, in order, and tell the core."""
        self._telemetry.on_written(written)
        for token in written.tokens:
            if not self._running:
                return
            try:
                pending = self._pending.popleft()
                invariant(
                    pending.token == token, "batches became durable out of order", token=token
                )
                for outgoing in pending.held:
                    self._release(outgoing)
            except Exception as error:  # noqa: BLE001  # as in `_step`
                self._fail(error)
                return
            self._step(Persisted(token))

    def _release(self, outgoing: Outgoing) -> None:
        if not self._running:
            return  # halted in the middle of this step
        match outgoing:
            case Promise(to, frame):
                self._network.send(to, frame, promise=True)
            case Hearsay(to, frame):
                self._network.send(to, frame, promise=False)
            case CheckBodies():
                self._checks.put_nowait(outgoing)
            case Reply(token, answers):
                future = self._submissions.get(token)
                if future is not None and not future.done():
                    future.set_result(answers)
            case Readable(token):
                self.leadership.readable(token)
            case Halt(sentence):
                self._halt(sentence, None)
            case _:
                assert_never(outgoing)

    def _note(self, now_ms: int, event: TraceEvent) -> None:
        self._trace.append((now_ms, event))
        self._telemetry.on_trace(event)
        if event.name == "peer-garbage":
            peer = event.facts["peer"]
            invariant(isinstance(peer, int), "garbage without its sender", facts=dict(event.facts))
            self._network.blame(NodeId(int(str(peer))))
        _log.debug("trace", name=event.name, facts=event.facts)

    async def _answered(
        self, token: int, future: asyncio.Future[tuple[Answer, ...]], timeout_s: float
    ) -> tuple[Answer, ...]:
        done, _ = await asyncio.wait((future,), timeout=timeout_s)
        if not done:
            self._step(ClientGone(token))  # the core answers with what is durable so far
            done, _ = await asyncio.wait((future,), timeout=LAST_WORD_SECONDS)
        if not done:
            raise OperationalError("the node did not say how far the submission came")
        return future.result()

    # Checks -------------------------------------------------------------------------------------

    async def _check(self) -> None:
        """Small requests that wait together are checked together; a slice is cheaper than its parts."""
        try:
            while True:
                jobs = [await self._checks.get()]
                bodies = list(jobs[0].bodies)
                while len(bodies) < SLICE and not self._checks.empty():
                    jobs.append(self._checks.get_nowait())
                    bodies += jobs[-1].bodies
                verdicts = await self._verifiers.check(bodies)
                start = 0
                for job in jobs:
                    end = start + len(job.bodies)
                    self._step(BodiesChecked(job.token, verdicts[start:end]))
                    start = end
                # A queue that is never empty never yields by itself.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001  # a lost check is a lost transaction
            self._fail(error)

    # Time ---------------------------------------------------------------------------------------

    def _arm(self, deadline_ms: int, now_ms: int) -> None:
        """Want a `Tick` at `deadline_ms`. An alarm that is set for earlier is kept: it re-arms when it rings."""
        self._deadline_ms = deadline_ms
        if self._alarm is not None:
            if self._alarm_at_ms <= deadline_ms:
                return
            self._alarm.cancel()
        self._alarm_at_ms = deadline_ms
        delay_s = max(0, deadline_ms - now_ms) / 1_000
        self._alarm = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        deadline_ms = self._deadline_ms
        if deadline_ms is None or not self._running:
            return
        now_ms = self._clock()
        if now_ms < deadline_ms:
            # uvloop's timers may ring early, and a later deadline may have been asked for meanwhile.
            self._arm(deadline_ms, now_ms)
            return
        self._deadline_ms = None
        self._step(Tick())

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # The end ------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        kind = {InvariantError: "our own rule was broken", OperationalError: "the world failed us"}
        self._halt(f"{kind.get(type(error), 'a step failed')}: {error}", error)

    def _halt(self, sentence: str, error: Exception | None) -> None:
        """Seal the signer before anything else can happen, then leave word of what broke."""
        if self._halted is not None:
            return
        self._running = False
        self._halted = sentence
        if self._signer is not None:
            self._signer.seal()
        self._disarm()
        self._abandon(sentence)
        try:
            path = write_diagnosis(
                self._diagnosis_folder,
                self._clock(),
                sentence,
                error,
                self._last_status(),
                self._trace,
            )
            _log.critical("halted", sentence=sentence, diagnosis=str(path))
        except OSError as trouble:
            _log.critical("halted", sentence=sentence, no_diagnosis=str(trouble))
        self._halt_signal.set()

    def _last_status(self) -> object:
        try:
            return self._replica.status()
        except Exception as error:  # noqa: BLE001  # a broken replica may not even know itself
            return {"unknown": str(error)}

    def _abandon(self, sentence: str) -> None:
        for future in self._submissions.values():
            if not future.done():
                future.set_exception(OperationalError(f"{sentence}; the outcome is open"))
        self.leadership.abandon(sentence)
