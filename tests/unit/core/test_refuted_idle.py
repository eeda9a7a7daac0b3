"""Refuted: that a node which has nothing to do does nothing, and keeps nothing."""

from collections.abc import Callable

import pytest

from tallystick.network.wire.ids import Link, NodeId
from tallystick.node.core.effects import Effects
from tallystick.node.core.events import Event, PeerUp, Tick
from tests.unit.core.lab import Lab

OBSERVER = NodeId(77)


def counted(lab: Lab, node: int, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Every event that this node hears from now on."""
    heard: list[Event] = []
    handle: Callable[[Event, int], Effects] = lab.core(node).handle

    def listen(event: Event, now_ms: int) -> Effects:
        heard.append(event)
        return handle(event, now_ms)

    monkeypatch.setattr(lab.core(node), "handle", listen)
    return heard


def test_with_only_an_observer_connected_nobody_is_asked_without_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An observer cannot be asked for a block, so a wish for one is no reason to wake up."""
    lab = Lab()
    lab.answer(0, lab.issue())
    for node in (0, 2, 3):
        lab.crash(node)
    lab.settle()
    lab.core(1).judging.wanted_blocks[Link(b"\x01" * 32)] = lab.now_ms
    heard = counted(lab, 1, monkeypatch)
    lab.hear(1, PeerUp(OBSERVER))
    lab.pass_time(1_000)
    assert sum(isinstance(event, Tick) for event in heard) < 50


def test_a_settled_payment_leaves_no_trace_of_its_deadline() -> None:
    """Deadlines lie up to a day ahead: a list of all payments of a day would be gigabytes."""
    lab = Lab()
    lab.answer(0, lab.issue())
    for _ in range(5):
        lab.answer(0, lab.pay(valid_until_ms=lab.now_ms + 500_000))
    assert [len(lab.core(node).pool._expiry) for node in range(4)] == [0, 0, 0, 0]
