"""Refuted: that whoever asks how far a payment has come is answered as soon as this node can tell."""

from tallystick.network.wire.ids import NodeId
from tallystick.node.core import schema
from tallystick.node.core.events import ClientGone, Wait
from tests.unit.core.lab import Lab


def rows(lab: Lab, node: int) -> int:
    return len(list(lab.box(node).store.scan(schema.BATCH)))


def test_what_another_member_handed_us_is_received_here_too() -> None:
    """A client that is unsure of its node asks another, which has held the payment for long."""
    lab = Lab(running=(1, 2))
    raw = lab.pay()
    lab.submit(1, raw, wait=Wait.RECEIVED)
    assert lab.answer(2, raw, wait=Wait.RECEIVED).state == "received"


def test_what_a_restart_found_on_the_disk_is_received() -> None:
    lab = Lab(running=(1,))
    raw = lab.pay()
    lab.submit(1, raw, wait=Wait.RECEIVED)
    lab.crash(1)
    lab.start(1)
    lab.settle()
    assert lab.answer(1, raw, wait=Wait.RECEIVED).state == "received"


def test_a_client_that_leaves_is_told_that_the_disk_holds_its_payment() -> None:
    lab = Lab(running=(1, 2))
    raw = lab.pay()
    lab.submit(1, raw, wait=Wait.RECEIVED)
    token = lab.submit(2, raw, wait=Wait.FINAL)
    lab.hear(2, ClientGone(token))
    assert lab.told[token][0].state == "received"


def test_a_node_that_was_handed_a_payment_has_it_accepted_for_its_own_client() -> None:
    """The entry node is dead. Without a quorum nothing becomes final, but f+1 members can still say that they hold it."""
    lab = Lab(running=(1, 2, 3))
    lab.cut = {(1, 3)}
    raws = [lab.pay() for _ in range(3)]
    for raw in raws:
        lab.submit(1, raw, wait=Wait.RECEIVED)
    lab.crash(1)
    lab.cut = set()
    tokens = [lab.submit(2, raw, wait=Wait.ACCEPTED) for raw in (*raws, raws[0])]
    lab.pass_time(20)
    answers = [lab.told[token][0] for token in tokens]
    assert {answer.state for answer in answers} == {"accepted"}
    assert all({NodeId(2), NodeId(3)} == {node for node, _ in answer.holders} for answer in answers)
    lab.start(0)
    lab.start(1)
    lab.settle()
    lab.pass_time(3_000)
    assert [lab.answer(2, raw).state for raw in raws] == ["final"] * 3
    assert [rows(lab, node) for node in range(4)] == [0, 0, 0, 0]


def test_a_payment_moves_to_its_own_batch_of_the_same_name_without_leaving_its_row_behind() -> None:
    """A batch of one has the same digest whoever makes it."""
    lab = Lab(running=(1, 2))
    raw = lab.pay()
    lab.submit(1, raw, wait=Wait.RECEIVED)
    token = lab.submit(2, raw, wait=Wait.ACCEPTED)
    lab.pass_time(20)
    assert lab.told[token][0].state == "accepted"
    assert rows(lab, 2) == 1
    lab.crash(2)
    lab.start(2)
    for node in (0, 3):
        lab.start(node)
    lab.settle()
    lab.pass_time(3_000)
    assert lab.answer(2, raw).state == "final"
    assert [rows(lab, node) for node in range(4)] == [0, 0, 0, 0]


def test_a_strangers_bytes_do_not_hide_a_payment_that_waits() -> None:
    """The same account and id under a wrong key is refused; the genuine payment still waits."""
    lab = Lab(running=(1,))
    draft = lab.transfer()
    key = draft.account + draft.id
    lab.submit(1, lab.sign(draft, 0), wait=Wait.RECEIVED)
    assert lab.core(1).pool.waits(key)
    assert lab.answer(1, lab.sign(draft, 2)).state == "refused"
    assert lab.core(1).pool.waits(key)


def test_a_payment_that_is_final_waits_no_more() -> None:
    lab = Lab()
    draft = lab.transfer()
    lab.submit(1, lab.sign(draft, 0))
    assert not any(lab.core(node).pool.waits(draft.account + draft.id) for node in range(4))
