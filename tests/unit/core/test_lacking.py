"""A block that waits for bodies is looked through once, and again when the last of them has come: not once for each."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest

from tallystick.network.wire.ids import BodyId, Link, NodeId
from tallystick.node.core.block_data import BlockData
from tallystick.node.core.judging import ASK_AFTER_MS, ASK_AGAIN_MS, Judging
from tallystick.node.core.mempool import Mempool
from tests.unit.core.lab import Lab

LINK = Link(b"\x07" * 32)
IDS = [BodyId(bytes([each]) * 32) for each in range(5)]


@dataclass
class Bench:
    judging: Judging
    block: BlockData
    """Of five transactions that nobody has."""
    peers: list[NodeId]
    looks: list[BodyId] = field(default_factory=list)
    """Every question to the pool, which holds nothing."""

    def look(self, now_ms: int) -> None:
        assert self.judging._bodies(LINK, self.block, now_ms) is None


@pytest.fixture
def bench() -> Iterator[Bench]:
    lab = Lab()
    lab.answer(0, lab.issue())
    core = lab.core(1)
    record = core.ledger.block(1)
    assert record is not None
    block = BlockData(record.header, record.result, b"".join(IDS))
    made = Bench(Judging(core.ledger, core.pool), block, list(core.ledger.members.ids))

    def get(_: Mempool, body_id: BodyId) -> None:
        made.looks.append(body_id)

    with patch.object(Mempool, "get", get):
        yield made


def test_the_pool_is_asked_again_only_when_the_last_body_has_come(bench: Bench) -> None:
    bench.look(1_000)
    assert bench.looks == IDS
    for body_id in IDS[:-1]:
        bench.judging.came([body_id])
        bench.look(1_001)
    assert bench.looks == IDS
    bench.judging.came(IDS[-1:])
    bench.look(1_002)
    assert bench.looks == IDS + IDS


def test_what_is_wanted_wakes_us_when_it_is_due_and_not_before(bench: Bench) -> None:
    bench.look(1_000)
    judging, peers, due_ms = bench.judging, bench.peers, 1_000 + ASK_AFTER_MS
    assert judging.deadline_ms == due_ms
    assert judging.wants(due_ms - 1, peers, lambda body_id: False) is None
    asked = judging.wants(due_ms, peers, lambda body_id: body_id == IDS[0])
    assert asked is not None
    assert asked[1] == tuple(IDS[1:])
    assert judging.deadline_ms == due_ms + ASK_AFTER_MS  # of the one that is on its way
    judging.came(IDS[:1])
    assert judging.wants(due_ms + ASK_AFTER_MS, peers, lambda body_id: False) is None
    assert judging.deadline_ms == due_ms + ASK_AGAIN_MS
    judging.came(IDS)
    assert judging.deadline_ms is None
