"""The driver among fakes behind its real ports: a scripted replica, a disk held by hand, a network that remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core.effects import Batch, Effects
from tallystick.node.core.events import BadBody, Event, Tick, Verdict
from tallystick.node.runtime.disk_writer import Written
from tallystick.node.runtime.driver import Driver
from tallystick.node.runtime.telemetry import Telemetry
from tallystick.node.runtime.verifiers import CheckCounters
from tests.shell.virtual_time import VirtualLoop

Script = Callable[[Event, int], Effects]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlainStatus:
    height: int = 0
    halted: str | None = None


class ScriptedReplica:
    """Answers each event as the script says and remembers what it heard and when."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.heard: list[tuple[int, Event]] = []
        self.reader = "the certified ledger"
        self.has_room = True
        self.leads = False

    def handle(self, event: Event, now_ms: int, /) -> Effects:
        self.heard.append((now_ms, event))
        return self.script(event, now_ms)

    def status(self) -> PlainStatus:
        return PlainStatus(height=7)

    def of_kind(self, kind: type[T]) -> list[T]:
        return [event for _, event in self.heard if isinstance(event, kind)]


@dataclass
class HeldDisk:
    """A disk that syncs when the test says so."""

    waiting: list[Batch] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    stopped: bool = False

    def start(
        self, on_written: Callable[[Written], None], on_error: Callable[[Exception], None]
    ) -> None:
        self._on_written, self._on_error = on_written, on_error

    def hand_over(self, batch: Batch) -> None:
        self.waiting.append(batch)

    def sync(self, count: int = 1) -> None:
        """One group commit of the oldest `count` batches."""
        done, self.waiting = self.waiting[:count], self.waiting[count:]
        self.story.append("synced " + ",".join(str(batch.token) for batch in done))
        self._on_written(Written(tuple(batch.token for batch in done), 0.001))

    def fail(self, error: Exception) -> None:
        self._on_error(error)

    async def stop(self) -> None:
        self.stopped = True


@dataclass
class LoudNetwork:
    """Remembers what left, in one story with the disk."""

    story: list[str]
    blamed: list[NodeId] = field(default_factory=list)

    def send(self, to: NodeId | None, frame: bytes, *, promise: bool) -> None:
        kind = "promise" if promise else "hearsay"
        self.story.append(f"{kind} {frame.decode()} to {'all' if to is None else to}")

    def blame(self, peer: NodeId) -> None:
        self.blamed.append(peer)


class RefusingVerifiers:
    """Calls every body bad, and remembers which were checked together."""

    parallel = 1

    def __init__(self) -> None:
        self.counters = CheckCounters()
        self.rounds: list[tuple[bytes, ...]] = []

    async def check(self, bodies: Sequence[bytes], /) -> tuple[Verdict, ...]:
        self.rounds.append(tuple(bodies))
        return tuple(BadBody(BodyId(raw), RejectReason.MALFORMED) for raw in bodies)

    async def close(self) -> None:
        """Nothing to end."""


class Seal:
    sealed = False

    def seal(self) -> None:
        self.sealed = True


class Shell:
    """A driver with all its fakes, on a loop of virtual time."""

    def __init__(self, folder: Path, script: Script) -> None:
        self.loop = VirtualLoop()
        self.replica = ScriptedReplica(script)
        self.disk = HeldDisk()
        self.story = self.disk.story
        self.network = LoudNetwork(self.story)
        self.verifiers = RefusingVerifiers()
        self.telemetry = Telemetry()
        self.signer = Seal()
        self.folder = folder
        self.driver = Driver(
            self.replica,
            clock=self.loop.now_ms,
            writer=self.disk,
            network=self.network,
            verifiers=self.verifiers,
            telemetry=self.telemetry,
            diagnosis_folder=folder,
            signer=self.signer,
        )


def silent(event: Event, now_ms: int) -> Effects:
    """Asks for nothing."""
    return Effects()


def frames(answers: dict[bytes, Effects]) -> Script:
    """A script that answers peers' frames from a table, and is silent otherwise."""

    def script(event: Event, now_ms: int) -> Effects:
        frame = getattr(event, "frame", None)
        return answers.get(frame, Effects()) if frame is not None else Effects()

    return script


def ticking(deadlines: list[int]) -> Script:
    """A script that asks for the next of these moments at every tick."""

    def script(event: Event, now_ms: int) -> Effects:
        if isinstance(event, Tick) and deadlines:
            return Effects(deadline_ms=deadlines.pop(0))
        return Effects()

    return script
