"""An observer tells how far it lags, and what it found."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tallystick.network.wire.faults import InvariantError
from tallystick.node.audit.app import make_observer_app
from tallystick.node.audit.observer import Observer
from tests.security.stage import Stage


@dataclass(frozen=True)
class Following:
    height: int = 7
    block_time_ms: int = 10_000
    blocks_executed: int = 7
    halted: str | None = None


def test_the_lag_is_the_age_of_the_newest_block_executed_here() -> None:
    now = Following()
    found = Observer(lambda: now, lambda: 10_250, 1_000).findings()
    assert (found.lag_ms, found.blocks_executed, found.divergence) == (250, 7, None)
    assert Observer(lambda: now, lambda: 9_000, 1_000).findings().lag_ms == 0


def test_a_long_lag_is_said_once_and_its_end_once() -> None:
    clock = [10_000]
    observer = Observer(Following, lambda: clock[0], 1_000)
    with capture_logs() as lines:
        for moment in (11_000, 11_001, 12_000, 11_000, 10_500):
            clock[0] = moment
            observer.look()
    assert [line["event"] for line in lines] == ["lagging", "level again"]


async def test_a_failing_disk_ends_the_process_and_a_divergence_does_not() -> None:
    now = [Following()]
    observer = Observer(lambda: now[0], lambda: 0, 1_000)

    async def halted() -> str:
        return "the world failed us: fsync"

    assert await observer.wait_beyond_repair(halted) == "the world failed us: fsync"
    now[0] = replace(now[0], halted="our execution differs from what a quorum certified height=8")
    with capture_logs() as lines, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await observer.wait_beyond_repair(halted)
    assert lines[0]["event"] == "divergence"
    assert observer.findings().divergence == now[0].halted


def test_an_observers_app_takes_nobody_who_submits(tmp_path: Any) -> None:
    with pytest.raises(InvariantError, match="somebody who submits"):
        make_observer_app(Stage(tmp_path).parts)
