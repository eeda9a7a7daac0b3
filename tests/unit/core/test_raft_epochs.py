"""Whole replicas of a Raft network change their members: the same drained boundary as under PBFT, and receipts that say CFT."""

from unittest.mock import patch

import pytest
from msgspec.structs import replace

from tallystick.consensus.raft import Raft
from tallystick.consensus.raft.messages import MESSAGE, Append, Countersignature, Message
from tallystick.network.proofs import verify
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.genesis import Genesis
from tallystick.node.core.bystander import Bystander
from tests.sim.crypto import VoteKeys
from tests.sim.plan import Plan
from tests.sim.workload import genesis_of
from tests.unit.core import test_epochs as pbft
from tests.unit.core.test_epochs import FRESH, SPARE, Epochs, headers, settled


@pytest.fixture
def lab() -> Epochs:
    def raft(plan: Plan, keys: VoteKeys) -> Genesis:
        return replace(genesis_of(plan, keys), engine="raft")

    with patch.object(pbft, "genesis_of", raft):
        lab = Epochs()
    lab.pass_time(3_000)
    return lab


def said(lab: Epochs, node: int) -> list[Message]:
    return [MESSAGE.decode(frame[1:]) for who, _, frame in lab.sent if who == node and frame[0] == Channel.CONSENSUS]  # fmt: skip


def signed(lab: Epochs, node: int) -> list[Countersignature]:
    return [message for message in said(lab, node) if isinstance(message, Countersignature)]


def leader(lab: Epochs) -> int:
    (found,) = {box.core._engine.status().leader for box in lab.boxes.values() if box.replica and box.core.votes}  # fmt: skip
    return found


def test_a_spare_takes_its_members_place_and_payments_go_on(lab: Epochs) -> None:
    settled(lab, 0, lab.issue())
    closing = settled(lab, 2, lab.activation())
    lab.pass_time(3_000)
    assert lab.epochs() == dict.fromkeys((0, 1, 2, 3, SPARE, FRESH), 1)
    assert [lab.core(node).votes for node in (0, 1, 2, 3, SPARE, FRESH)] == [True, False, True, True, True, False]  # fmt: skip
    assert isinstance(lab.core(SPARE)._engine, Raft)
    assert isinstance(lab.core(1)._engine, Bystander)
    lab.sent.clear()
    paid = [settled(lab, node, lab.pay()) for node in (0, 2, 3, SPARE)]
    assert min(paid) > closing
    assert {vote.epoch for vote in signed(lab, SPARE)} == {1}
    assert not said(lab, 1)
    assert not said(lab, FRESH)
    lab.pass_time(500)
    assert lab.level()
    assert lab.balance(FRESH, 1) == 40


def test_nobody_signs_on_both_sides_for_the_wrong_set(lab: Epochs) -> None:
    """P18, P27: old members never above the closing block in their epoch, new ones never at or below it."""
    settled(lab, 0, lab.issue())
    tokens = [lab.submit(node, lab.pay()) for node in (0, 1, 2, 3)]
    token = lab.submit(0, *[lab.pay() for _ in range(10)], lab.activation(), *[lab.pay() for _ in range(10)])  # fmt: skip
    lab.pass_time(4_000)
    assert all(answer.state == "final" for each in (*tokens, token) for answer in lab.told[each])
    told = headers(lab.core(2).ledger)
    (closing,) = [height for height, _, closes in told if closes]
    assert [epoch for _, epoch, _ in told] == [0] * closing + [1] * (len(told) - closing)
    for node in (0, 1, 2, 3, SPARE, FRESH):
        for message in said(lab, node):
            if isinstance(message, Countersignature):
                assert (message.epoch == 1) == (message.height > closing)
                assert node != FRESH
            if isinstance(message, Append) and message.entries:
                last = message.prev_height + len(message.entries)
                assert (message.epoch == 1) == (last > closing)
    assert {vote.epoch for vote in signed(lab, 1)} == {0}
    assert lab.level()


def test_the_leader_itself_is_put_out_and_the_next_epoch_elects_another(lab: Epochs) -> None:
    settled(lab, 0, lab.issue())
    out = leader(lab)
    wish = lab.activation() if out == 1 else lab.change((out,), (FRESH,))
    settled(lab, (out + 1) % 4, wish)
    lab.pass_time(3_000)
    assert leader(lab) != out
    assert not lab.core(out).votes
    settled(lab, leader(lab), lab.pay())
    lab.pass_time(1_000)
    assert lab.level()


def test_the_closing_block_survives_its_leader(lab: Epochs) -> None:
    """It dies once a majority has the block and nobody has a certificate; the next leader takes the same block again."""
    settled(lab, 0, lab.issue())
    first = leader(lab)
    others = [node for node in range(4) if node != first]
    lab.cut = {(a, b) for a in others for b in others}
    for node in others:
        lab.box(node).held = []
    token = lab.submit(others[0], lab.activation() if first != 1 else lab.change((1,), (FRESH,)))
    lab.submit(first, lab.pay(first % 3))
    lab.pass_time(300)
    lab.crash(first)
    lab.cut = set()
    for node in others:
        lab.disk_goes_on(node)
    lab.pass_time(8_000)
    assert [answer.state for answer in lab.told[token]] == ["final"]
    assert {lab.epochs()[node] for node in others} == {1}
    if first == 1:
        return  # put out while it was away: nobody lets it in any more, so it stays where it was
    lab.start(first)
    lab.pass_time(5_000)
    assert set(lab.epochs().values()) == {1}
    assert lab.level()


def test_a_network_shrinks_to_one_member_and_grows_again(lab: Epochs) -> None:
    """1 to 64 members, as many as a majority needs: two and three are a network, too."""
    settled(lab, 0, lab.issue())
    for leaving, joining, left in (
        ((3,), (), (0, 1, 2)),
        ((1,), (), (0, 2)),
        ((0,), (), (2,)),
        ((), (FRESH,), (2, FRESH)),
    ):
        settled(lab, 2, lab.change(leaving, joining))
        lab.pass_time(3_000)
        members = lab.core(2).ledger.members
        assert members.ids == left
        assert members.quorum == len(left) // 2 + 1
        settled(lab, 2, lab.pay())
    lab.pass_time(1_000)
    assert set(lab.epochs().values()) == {4}
    assert lab.level()


def test_who_missed_the_boundary_catches_up_from_those_who_vote_now(lab: Epochs) -> None:
    settled(lab, 0, lab.issue())
    away = next(node for node in (3, 2, 0) if node != leader(lab))
    lab.cut = {pair for node in (0, 1, 2, 3, SPARE, FRESH) for pair in ((away, node), (node, away))}
    settled(lab, leader(lab), lab.activation())
    lab.pass_time(3_000)
    settled(lab, leader(lab), lab.pay()) if lab.core(away).ledger.members.epoch else None
    assert lab.epochs()[away] == 0
    lab.cut = set()
    lab.pass_time(5_000)
    assert lab.epochs()[away] == 1
    lab.sent.clear()
    settled(lab, away, lab.pay())
    assert {vote.epoch for vote in signed(lab, away)} == {1}


def test_a_restart_in_a_later_epoch_begins_with_its_members_and_its_own_terms(lab: Epochs) -> None:
    settled(lab, 0, lab.issue())
    settled(lab, 0, lab.activation())
    lab.pass_time(3_000)
    for node in (0, 2, 3, SPARE):
        lab.crash(node)
    for node in (0, 2, 3, SPARE):
        lab.start(node)
    lab.settle()
    lab.pass_time(3_000)
    assert lab.core(SPARE).ledger.members.ids == (0, 2, 3, SPARE)
    settled(lab, SPARE, lab.pay())
    lab.pass_time(3_000)
    assert lab.level()


def test_receipts_of_every_epoch_verify_and_say_cft(
    lab: Epochs, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(lab, 0, lab.issue())
    settled(lab, 2, lab.activation())
    lab.pass_time(3_000)
    settled(lab, 2, lab.change((3,), (FRESH,)))
    lab.pass_time(3_000)
    paid = settled(lab, FRESH, lab.pay())
    monkeypatch.setattr(verify, "verify_vote", lab.keys.verify)
    epochs = set()
    for height in range(1, paid + 1):
        record = lab.core(FRESH).ledger.block(height)
        assert record is not None
        epochs.add(record.header.epoch)
        for index in range(len(record.bodies)):
            receipt = lab.core(FRESH).reader.receipt(height, index)
            verdict = verify.verify_receipt(receipt, lab.genesis)
            assert verdict.ok, verdict
            assert verdict.assurance == "CFT"
            block = receipt.block
            few = replace(block.certificate, votes=block.certificate.votes[:-1])
            short = replace(receipt, block=replace(block, certificate=few))
            assert not verify.verify_receipt(short, lab.genesis).ok
    assert epochs == {0, 1, 2}


def test_who_was_put_out_while_it_was_down_learns_of_it_though_nobody_speaks_to_it(
    lab: Epochs,
) -> None:
    settled(lab, 0, lab.issue())
    lab.crash(1)
    lab.pass_time(3_000)
    settled(lab, 0, lab.activation())
    lab.pass_time(3_000)
    settled(lab, 0, lab.pay())
    lab.start(1)
    lab.settle()
    lab.pass_time(5_000)
    assert lab.epochs()[1] == 1
    assert isinstance(lab.core(1)._engine, Bystander)
    assert lab.level()
