"""A Raft member that was repaired takes its place again, whichever of its blocks was lost, also when peers gave more than it had."""

import asyncio
from pathlib import Path
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from tallystick.network.wire.genesis import Genesis
from tallystick.node.core import schema
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.repairing import Node, repair
from tests.sim.crypto import VoteKeys
from tests.sim.plan import Plan
from tests.sim.workload import genesis_of
from tests.unit.core import test_epochs as bench
from tests.unit.core.test_epochs import SPARE, Epochs, settled
from tests.unit.upkeep.disk import on_disk, rows_in
from tests.unit.upkeep.stage import Peer


def raft_lab() -> Epochs:
    def raft(plan: Plan, keys: VoteKeys) -> Genesis:
        return replace(genesis_of(plan, keys), engine="raft")

    with patch.object(bench, "genesis_of", raft):
        lab = Epochs(running=(0, 1, 2, 3, SPARE))
    lab.pass_time(3_000)
    return lab


@pytest.mark.parametrize("change", [False, True])
@pytest.mark.parametrize("lost_from_top", [0, 1, 2])
@pytest.mark.parametrize("node", [0, 2, 3])
def test_a_repaired_member_takes_its_place_again(
    tmp_path: Path, node: int, lost_from_top: int, change: bool
) -> None:
    lab = raft_lab()
    settled(lab, 2, lab.issue())
    for _ in range(3):
        settled(lab, 2, lab.pay())
    others = [each for each in (0, 2, 3) if each != node]
    lab.crash(node)
    rows, guard = lab.box(node).store.snapshot(), lab.box(node).guard.read()
    lab.pass_time(3_000)
    if change:
        settled(lab, others[0], lab.activation())
        lab.pass_time(3_000)
    settled(lab, others[0], lab.pay())
    lost = int.from_bytes(rows[schema.FINAL][:8], "big") - lost_from_top
    gone = schema.at_height(schema.BLOCK, lost)
    folder = on_disk(tmp_path, {key: rows[key] for key in rows if key != gone})
    work = Node(folder, lab.genesis, True, guard)
    peer = Peer(lab, others[0])
    done = asyncio.run(repair(work, peer.ask, check_vote=lab.keys.verify))
    assert lost in done.fetched

    lab.box(node).store = MemoryStore(rows_in(folder))
    lab.start(node)
    lab.settle()
    lab.pass_time(3_000)
    lab.crash(others[0])
    lab.pass_time(3_000)
    assert settled(lab, others[1], lab.pay())
    lab.crash(1)
    lab.pass_time(3_000)
    if change:  # of 0, 2, 3 and the spare, three make a majority
        assert settled(lab, others[1], lab.pay())
        assert lab.core(node).status().epoch == 1
    assert all(box.halted is None for box in lab.boxes.values())
