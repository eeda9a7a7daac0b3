"""Refuted: that a hostile member cannot buy much of our time with messages that are all its own and all genuine."""

from collections.abc import Callable

import pytest

from tallystick.consensus.api import Tick
from tallystick.consensus.pbft.messages import ViewChange
from tallystick.consensus.pbft.view_change import signed_change
from tallystick.network.wire.ids import Link, View
from tallystick.network.wire.signing import Phase
from tests.unit.consensus.table import Keys, Table, heard, signed_vote

HOSTILE = 3


def settled() -> Table:
    table = Table()
    table.work()
    table.run(100)
    assert min(table.heights()) > 0
    return table


def changes_of_the_hostile_member(table: Table, views: range) -> list[ViewChange]:
    state = table.engine(HOSTILE)._state
    return [signed_change(state, View(view), state.high) for view in views]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    checked: list[bytes] = []
    verify: Callable[[Keys, bytes, bytes, bytes], bool] = Keys.verify

    def count(self: Keys, key: bytes, message: bytes, signature: bytes) -> bool:
        checked.append(key)
        return verify(self, key, message, signature)

    monkeypatch.setattr(Keys, "verify", count)
    return checked


def test_view_changes_without_end_are_looked_at_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = settled()
    changes = changes_of_the_hostile_member(table, range(2, 1_002))
    checked = counted(monkeypatch)
    for change in changes:
        table.hear(0, heard(HOSTILE, change))
    assert 0 < len(checked) < 150
    table.now_ms += 1_000
    late = changes_of_the_hostile_member(table, range(2_000, 2_001))[0]
    table.hear(0, heard(HOSTILE, late))
    assert table.engine(0)._state.changes[late.signer] == late


def test_boxes_that_one_member_began_are_not_counted_after_every_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = settled()
    state = table.engine(0)._state
    final = state.final_height
    for view in (0, 1, 2):
        for height in range(final + 1, final + 60):
            link = Link(bytes(32))
            vote = signed_vote(HOSTILE, Phase.COMMIT, view, height, link, link)
            table.hear(0, heard(HOSTILE, vote))
    assert len(state.ballots) > 100
    asked: list[object] = []
    monkeypatch.setattr(type(state), "quorum_certificate", lambda *facts: asked.append(facts))
    table.hear(0, Tick())
    assert len(asked) < 10
