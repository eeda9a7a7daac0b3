"""The certified ledger is Raft's snapshot: what a whole replica keeps beside it stays bounded, in memory and on disk."""

import pytest
from msgspec.structs import replace

from tallystick.consensus.raft import Raft
from tallystick.consensus.raft.state import KEPT_BELOW_FINAL, RECORD
from tallystick.node.core import schema
from tests.sim.workload import genesis_of
from tests.unit.core import lab as bench
from tests.unit.core.lab import Lab

BLOCKS = 3 * KEPT_BELOW_FINAL
SWEPT_EVERY = 64
"""Heights between two sweeps of blocks that were kept before they became final (`Replica`)."""


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(
        bench, "genesis_of", lambda plan, keys: replace(genesis_of(plan, keys), engine="raft")
    )
    lab = Lab()
    lab.pass_time(3_000)
    return lab


def settle(lab: Lab, node: int, blocks: int) -> None:
    until = lab.core(node).ledger.height + blocks
    while lab.core(node).ledger.height < until:
        lab.submit(node, lab.issue(amount_minor=1))
        lab.pass_time(20)


def test_the_log_stays_bounded_while_the_ledger_grows(lab: Lab) -> None:
    settle(lab, 0, BLOCKS)
    for node in range(4):
        box, engine = lab.box(node), lab.core(node)._engine
        assert isinstance(engine, Raft)
        log, final = engine._state.log, engine._state.final_height
        in_flight = log.last_height - final
        assert len(log.entries) <= KEPT_BELOW_FINAL + in_flight
        rows = RECORD.decode(box.store.get(schema.ENGINE) or b"").rows
        assert len(rows) == in_flight <= 2
        pending = list(box.store.scan(schema.PENDING))
        assert len(pending) <= SWEPT_EVERY + in_flight


def test_who_missed_more_than_the_log_is_brought_up_from_the_certified_ledger(lab: Lab) -> None:
    """Twice in a row: no state is believed, every block is executed again."""
    for _ in range(2):
        missed_from = lab.core(3).ledger.height
        lab.crash(3)
        settle(lab, 0, BLOCKS)
        engine = lab.core(0)._engine
        assert isinstance(engine, Raft)
        assert engine._state.log.base_height > missed_from + 1
        lab.start(3)
        lab.pass_time(3_000)
        assert lab.core(3).ledger.height == lab.core(0).ledger.height
        assert lab.core(3).ledger.state.root == lab.core(0).ledger.state.root
    lab.crash(0)
    lab.pass_time(3_000)
    settle(lab, 1, 2)
    assert lab.core(3).ledger.height == lab.core(1).ledger.height, "a majority needs it, and has it"
