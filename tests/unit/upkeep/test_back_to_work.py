"""A repaired member takes its place again: it remembers what it signed, catches up, and payments settle with its vote."""

import asyncio
from pathlib import Path

import pytest

from tallystick.node.core import schema
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.repairing import Node, repair
from tests.unit.core.lab import Lab
from tests.unit.upkeep.disk import on_disk, rows_in
from tests.unit.upkeep.stage import Peer, grown


@pytest.mark.parametrize("height", [1, 4, 7])
def test_a_repaired_member_votes_on(tmp_path: Path, height: int) -> None:
    """Whichever of its blocks was lost, the last one too, while the others went on."""
    lab: Lab = grown()
    lab.crash(3)
    rows = lab.box(3).store.snapshot()
    guard = lab.box(3).guard.read()
    for _ in range(3):
        lab.answer(0, lab.pay())
    lost = schema.at_height(schema.BLOCK, height)
    folder = on_disk(tmp_path, {key: rows[key] for key in rows if key != lost})
    node = Node(folder, lab.genesis, True, guard)
    done = asyncio.run(repair(node, Peer(lab).ask, check_vote=lab.keys.verify))
    assert done.height >= 7
    assert height in done.fetched
    again = rows_in(folder)
    assert again[schema.GUARD] == rows[schema.GUARD]
    assert again.get(schema.ENGINE) == rows.get(schema.ENGINE)

    lab.box(3).store = MemoryStore(again)
    lab.start(3)
    lab.settle()
    lab.crash(1)  # three of four are needed now: nothing settles without the repaired one
    lab.sent.clear()
    for _ in range(2):
        token = lab.submit(0, lab.pay())
        for _ in range(20):
            if token in lab.told:
                break
            lab.pass_time(500)
        assert lab.told[token][0].state == "final"
    assert lab.said(3)
    assert all(box.halted is None for box in lab.boxes.values())
    lab.pass_time(1_000)
    assert len({lab.core(each).ledger.state.root for each in (0, 2, 3)}) == 1
