"""Crashes between any two writes around the end of an epoch: no member contradicts itself, and none is locked out by its guard."""

import pytest
from msgspec.structs import replace

from tallystick.consensus.pbft.messages import ViewChange, Vote, certificate_digest
from tallystick.network.wire.ids import NodeId
from tallystick.node.core.effects import Batch, Outgoing
from tests.unit.core.lab import STEADY
from tests.unit.core.test_epochs import SPARE, Epochs, settled

Held = list[tuple[Batch, tuple[Outgoing, ...]]]


def promises(lab: Epochs) -> dict[tuple[object, ...], bytes]:
    """What each member signed where; fails on two different statements of one key."""
    found: dict[tuple[object, ...], bytes] = {}
    for node in lab.boxes:
        for said in lab.said(node):
            if isinstance(said, Vote):
                place: tuple[object, ...] = (node, said.epoch, said.phase, said.view, said.height)
                assert found.setdefault(place, said.link) == said.link, place
            elif isinstance(said, ViewChange):
                place = (node, said.epoch, "leaves", said.view)
                shown = certificate_digest(said.certificate)
                assert found.setdefault(place, shown) == shown, place
    return found


def through(lab: Epochs, node: int) -> Held:
    """The change of members is under way; `node`'s disk is slow."""
    lab.box(node).held = []
    lab.submit(0, *[lab.pay() for _ in range(3)], lab.activation(), lab.pay())
    lab.pass_time(400)
    held = lab.box(node).held
    assert held is not None
    return held


@pytest.mark.parametrize("pipeline", [1, 4])
@pytest.mark.parametrize("node", [0, 2, SPARE])
def test_a_crash_between_any_two_writes_at_the_boundary(node: int, pipeline: int) -> None:
    parameters = replace(STEADY, pipeline=pipeline, block_transactions_max=2)
    at, more = 0, True
    while more:
        for torn in (False, True):
            lab = Epochs(parameters)
            settled(lab, 0, lab.issue())
            held = through(lab, node)
            more = at < len(held)
            for batch, after in held[:at]:
                lab.box(node).held = None
                lab._write(lab.box(node), batch, after)
            if torn and more:
                lab.box(node).store.write([held[at][0].pairs])  # the database has it, the guard not
            lab.crash(node)
            lab.box(node).held = None
            lab.pass_time(300)
            lab.start(node)
            lab.settle()
            lab.pass_time(4_000)
            settled(lab, 2, lab.pay())
            lab.pass_time(1_500)
            assert set(lab.epochs().values()) == {1}
            assert all(box.halted is None for box in lab.boxes.values())
            signers = {place[0] for place in promises(lab) if place[1] == 1}
            assert signers <= {NodeId(each) for each in (0, 2, 3, SPARE)}
            assert lab.level()
        at += 1
    assert at > 1
