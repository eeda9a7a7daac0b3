"""Refuted: that a leader which cannot make blocks lets somebody else try."""

import pytest

from tallystick.consensus.api import Effect, Event, MakeBlock
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.owner import Member, Step
from tests.unit.raft.plays import led_by


def test_a_leader_whose_owner_makes_no_block_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner's execution breaks on what waits. It once kept the others loyal with heartbeats for ever."""
    plain = Cluster._one

    def unable(self: Cluster, member: Member, effect: Effect, step: Step) -> Event | None:
        if member.node == 0 and isinstance(effect, MakeBlock):
            return None
        return plain(self, member, effect, step)

    cluster = led_by(0)
    monkeypatch.setattr(Cluster, "_one", unable)
    for node in cluster.ids:
        cluster.work(node)
    cluster.settle(10 * cluster.timing.view_timeout_ms_max)
    assert cluster.leader in (1, 2)
    assert min(cluster.heights()) > 2
