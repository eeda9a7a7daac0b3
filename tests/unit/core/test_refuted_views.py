"""Refuted: that a new leader always makes use of its view."""

from tallystick.consensus.pbft.messages import MESSAGE, Vote
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.signing import Phase
from tallystick.node.core.effects import Outgoing
from tests.unit.core.lab import Box, Lab


class Lossy(Lab):
    """While `losing`, no COMMIT reaches anybody."""

    losing = False

    def _release(self, box: Box, outgoing: Outgoing) -> None:
        frame = getattr(outgoing, "frame", b"")
        if self.losing and frame[:1] == bytes([Channel.CONSENSUS]):
            said = MESSAGE.decode(frame[1:])
            if isinstance(said, Vote) and said.phase == Phase.COMMIT:
                return
        super()._release(box, outgoing)


def test_a_leader_that_lacks_its_tips_bodies_waits_for_them_and_then_leads() -> None:
    """It once made a child of a tip that it had not executed. That cannot be done, and was never tried again: the payments
    waited until the view had had its time."""
    lab = Lossy()
    lab.answer(0, lab.issue())
    lab.losing, lab.cut = True, {(0, 1), (2, 1), (3, 1)}
    first = lab.submit(2, lab.pay())
    lab.losing, lab.cut = False, set()
    lab.crash(0)
    lab.settle()
    second = lab.submit(1, lab.pay())
    lab.box(1).checks_held = []
    lab.pass_time(300)
    assert [lab.core(node).status().view for node in (1, 2, 3)] == [1, 1, 1]
    assert not {first, second} & set(lab.told)
    lab.checks_go_on(1)
    lab.pass_time(100)
    assert {first, second} <= set(lab.told)
    assert lab.core(1).status().view == 1
    assert lab.core(1).status().leader == NodeId(1)
