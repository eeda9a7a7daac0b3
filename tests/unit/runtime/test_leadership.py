"""Readers who wait and leaders who give up, around a scripted core: times, bounds, and what is said when nothing comes."""

import asyncio
from itertools import count

import pytest

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core.events import ClientGone, Event, HandOver, ReadAtQuorum
from tallystick.node.runtime import leadership
from tallystick.node.runtime.leadership import Leadership


class Core:
    """Remembers what it heard; leads until it is told to hand over, if somebody takes over at all."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.leads = True
        self.somebody_takes_over = True
        self.why_not: str | None = None
        self.leadership = Leadership(self.step, lambda: self.leads, count(1), lambda: self.why_not)

    def step(self, event: Event) -> None:
        self.heard.append(event)
        if isinstance(event, HandOver) and self.somebody_takes_over:
            asyncio.get_running_loop().call_soon(setattr, self, "leads", False)


async def reason_of(call: object) -> RejectReason:
    with pytest.raises(Refused) as refused:
        await call  # type: ignore[misc]
    return refused.value.reason


async def test_a_reader_is_answered_when_the_core_says_so() -> None:
    core = Core()
    reader = asyncio.create_task(core.leadership.read_at_quorum())
    await asyncio.sleep(0)
    assert core.heard == [ReadAtQuorum(1)]
    core.leadership.readable(2)  # somebody else's, who has gone
    assert not reader.done()
    core.leadership.readable(1)
    await reader
    assert core.heard == [ReadAtQuorum(1)], "nobody is gone"


async def test_a_reader_whose_time_is_over_reads_nothing_and_is_forgotten() -> None:
    core = Core()
    assert await reason_of(core.leadership.read_at_quorum(0.01)) is RejectReason.NOT_CONFIRMED
    assert core.heard == [ReadAtQuorum(1), ClientGone(1)]
    core.leadership.readable(1)


async def test_a_reader_who_hangs_up_is_forgotten() -> None:
    core = Core()
    reader = asyncio.create_task(core.leadership.read_at_quorum())
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait((reader,))
    assert core.heard == [ReadAtQuorum(1), ClientGone(1)]


async def test_readers_are_bounded_and_told_when_the_node_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leadership, "READS_MAX", 2)
    core = Core()
    readers = [asyncio.create_task(core.leadership.read_at_quorum()) for _ in range(2)]
    await asyncio.sleep(0)
    assert await reason_of(core.leadership.read_at_quorum()) is RejectReason.OVERLOADED
    core.leadership.abandon("the disk is full")
    assert [await reason_of(reader) for reader in readers] == [RejectReason.NOT_READY] * 2
    core.why_not = "halted"
    assert await reason_of(core.leadership.read_at_quorum()) is RejectReason.NOT_READY


async def test_a_hand_over_is_waited_for_and_says_when_nobody_took_over() -> None:
    core = Core()
    assert await core.leadership.hand_over(NodeId(2))
    assert core.heard == [HandOver(NodeId(2))]
    assert await reason_of(core.leadership.hand_over(None)) is RejectReason.NOT_LEADER
    alone = Core()
    alone.somebody_takes_over = False
    assert not await alone.leadership.hand_over(None, 0.02)


async def test_a_stop_hands_over_where_there_is_something_to_hand_over() -> None:
    core = Core()
    await core.leadership.resign()
    assert core.heard == [HandOver(None)]
    await core.leadership.resign()
    halted = Core()
    halted.why_not = "halted"
    await halted.leadership.resign()
    assert (len(core.heard), halted.heard) == (1, [])
