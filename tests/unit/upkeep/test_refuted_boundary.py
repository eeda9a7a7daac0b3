"""A repair that fetches past the end of an epoch: what was promised in the old one must not be taken for a promise in the next."""

import asyncio
from pathlib import Path

from tallystick.consensus.pbft.messages import ViewChange
from tallystick.node.core import schema
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.repairing import Node, repair
from tests.unit.core.test_epochs import Epochs, settled
from tests.unit.upkeep.disk import on_disk, rows_in
from tests.unit.upkeep.stage import Peer


def test_a_member_repaired_across_the_boundary_begins_the_new_epoch_with_nothing_said(
    tmp_path: Path,
) -> None:
    lab = Epochs(running=(0, 1, 2, 3, 7))
    settled(lab, 0, lab.issue())
    lab.crash(0)  # the leader: the others leave view 0
    settled(lab, 2, lab.pay())
    lab.start(0)
    lab.settle()
    settled(lab, 2, lab.pay())
    lab.crash(3)
    rows, guard = lab.box(3).store.snapshot(), lab.box(3).guard.read()
    assert lab.core(2).status().view > 0
    closing = settled(lab, 0, lab.activation())
    settled(lab, 0, lab.pay())
    lab.pass_time(500)

    last = int.from_bytes(rows[schema.FINAL][:8], "big")
    lost = schema.at_height(schema.BLOCK, last)
    folder = on_disk(tmp_path, {key: rows[key] for key in rows if key != lost})
    node = Node(folder, lab.genesis, True, guard)
    done = asyncio.run(repair(node, Peer(lab).ask, check_vote=lab.keys.verify))
    assert done.height == closing

    lab.box(3).store = MemoryStore(rows_in(folder))
    lab.sent.clear()
    lab.start(3)
    lab.settle()
    assert lab.core(3).status().epoch == 1
    lab.crash(2)  # three of four are needed: nothing settles without the repaired one
    assert settled(lab, 0, lab.pay())
    shown = [each.certificate for each in lab.said(3) if isinstance(each, ViewChange)]
    assert all(each is None or each.epoch == 1 for each in shown), shown
