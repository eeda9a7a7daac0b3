"""Nobody can take an honest leader's view by what he keeps from it."""

from msgspec.structs import replace

from tallystick.network.wire.ids import NodeId
from tallystick.node.core.events import Wait
from tallystick.node.core.forwarding import SEND_ON_COUNT
from tallystick.node.core.messages import Forward
from tests.unit.core.lab import STEADY, Lab

BUSY = replace(STEADY, view_timeout_ms=600, idle_block_ms=200, block_transactions_max=20)


def blocks(lab: Lab, count: int) -> None:
    for _ in range(count):
        lab.submit(1, lab.pay(payer=0, creditor=1), wait=Wait.RECEIVED)
        lab.pass_time(100)


def test_what_a_member_keeps_from_the_leader_alone_costs_the_leader_nothing() -> None:
    """Hostile member 3 gives two followers so much that cannot be ordered yet, that what comes after it is never sent on; then
    it gives them one payment that the leader does not hear of."""
    lab = Lab(parameters=BUSY, running=(0, 1, 2))
    lab.submit(1, lab.issue(0), lab.issue(1), lab.issue(2))
    blocks(lab, 5)
    late_ms = lab.now_ms + BUSY.max_validity_ms + BUSY.late_ms - 10
    raws = [lab.pay(payer=2, creditor=0, amount_minor=1, valid_until_ms=late_ms) for _ in range(SEND_ON_COUNT)]  # fmt: skip
    kept = lab.pay(payer=2, creditor=0)
    for follower in (1, 2):
        for at in range(0, len(raws), 64):
            lab.say_bodies(3, follower, Forward(tuple(raws[at : at + 64])))
        lab.say_bodies(3, follower, Forward((kept,)))
        assert len(lab.core(follower).pool) >= SEND_ON_COUNT
    blocks(lab, 45)
    assert not [note for node in (1, 2) for note in lab.box(node).notes("unfair")]
    assert [lab.core(node).status().view for node in (0, 1, 2)] == [0, 0, 0]
    assert lab.core(0).ledger.members.quorum == 3
    assert NodeId(3) not in lab.core(0).peers.up
