"""The member set changes while payments go on: one drained boundary, nobody signs on both sides of it for the wrong set."""

from collections import deque

import pytest
from msgspec.structs import replace

from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.consensus.pbft.messages import Proposal, Standing, ViewChange, Vote
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.wire.blocks import NO_CHANGE
from tallystick.network.wire.genesis import Parameters
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, ParticipantId, View
from tallystick.network.wire.membership import MemberEntry, SpareEntry
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import ActivateSpare, ChangeMembers
from tallystick.node.core import schema
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.block_data import describe
from tallystick.node.core.bystander import Bystander
from tallystick.node.core.catch_up import SETTLE_MS
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import AskBlocks, Held
from tallystick.node.core.replica import Replica
from tallystick.node.storage.memory import MemoryGuard, MemoryStore
from tests.sim.crypto import Bodies, Purse, VoteKeys
from tests.sim.workload import genesis_of
from tests.unit.core.lab import STEADY, Box, Lab, plan_for

SPARE = 7
"""Of bank 1, whose member is node 1."""
FRESH = 8
"""A node that genesis does not know."""


class Epochs(Lab):
    """Members 0 … 3 (bank of node n is n mod 3, bank 0 governs), a spare and a newcomer that run from the start."""

    def __init__(self, parameters: Parameters = STEADY, running: tuple[int, ...] = (0, 1, 2, 3, SPARE, FRESH), real: bool = False) -> None:  # fmt: skip
        """`real`: with Ed25519 votes, which a verifier outside takes; they cost a hundred times the time."""
        super().__init__(4, parameters, running=())
        self.keys = VoteKeys(FRESH + 1, real=real)
        spares = (SpareEntry(NodeId(SPARE), ParticipantId(1)),)
        plan = plan_for(4, parameters)
        self.genesis = replace(
            genesis_of(plan, self.keys), governor=ParticipantId(0), spares=spares
        )
        self.purse, self.bodies = Purse(self.genesis), Bodies(BodyChecker(self.genesis))
        self.queue = deque()
        for node in (SPARE, FRESH):
            self.boxes[NodeId(node)] = Box(NodeId(node), MemoryStore(), MemoryGuard())
        for node in running:
            self.start(node)
        self.settle()

    def activation(self, old: int = 1, spare: int = SPARE, bank: int = 1) -> bytes:
        key, pin = self.keys.public[spare], bytes([spare]) * 32
        mine = {"member": NodeId(old), "spare": NodeId(spare), "vote_key": key, "tls_key_hash": pin}
        return self.sign(ActivateSpare(**(self._common(bank) | mine)), bank)  # type: ignore[arg-type]

    def change(self, leaving: tuple[int, ...] = (), joining: tuple[int, ...] = ()) -> bytes:
        entries = tuple(
            MemberEntry(NodeId(each), f"new-{each}", ParticipantId(2), self.keys.public[each], bytes([each]) * 32)
            for each in joining
        )  # fmt: skip
        mine = {"leaving": tuple(map(NodeId, leaving)), "joining": entries, "spares": ()}
        return self.sign(ChangeMembers(**(self._common(0) | mine)), 0)  # type: ignore[arg-type]

    def epochs(self) -> dict[int, int]:
        return {node: box.core.ledger.members.epoch for node, box in self.boxes.items() if box.replica}  # fmt: skip

    def votes(self, node: int) -> list[Vote]:
        return [message for message in self.said(node) if isinstance(message, Vote)]

    def level(self) -> bool:
        """One tip and one state everywhere."""
        return len({(box.core.ledger.link, box.core.ledger.state.root) for box in self.boxes.values() if box.replica}) == 1  # fmt: skip


def headers(ledger: Ledger) -> list[tuple[int, int, bool]]:
    """(height, epoch, whether it closes its epoch) of every final block."""
    records = [ledger.block(height) for height in range(1, ledger.height + 1)]
    return [(r.header.height, r.header.epoch, r.result.next_epoch != NO_CHANGE) for r in records if r]  # fmt: skip


def settled(lab: Epochs, node: int, raw: bytes) -> int:
    """The height at which it settled."""
    token = lab.submit(node, raw)
    if token not in lab.told:
        lab.pass_time(3_000)
    (answer,) = lab.told[token]
    assert answer.state == "final", answer
    record = lab.core(node).ledger.block(answer.height or 0)
    assert record is not None
    return record.header.height


def test_a_spare_takes_its_members_place_and_payments_go_on() -> None:
    lab = Epochs()
    settled(lab, 0, lab.issue())
    closing = settled(lab, 2, lab.activation())
    lab.pass_time(500)
    assert lab.epochs() == dict.fromkeys((0, 1, 2, 3, SPARE, FRESH), 1)
    assert [lab.core(node).votes for node in (0, 1, 2, 3, SPARE, FRESH)] == [True, False, True, True, True, False]  # fmt: skip
    lab.sent.clear()
    paid = [settled(lab, node, lab.pay()) for node in (0, 2, 3, SPARE)]
    assert min(paid) > closing
    assert {vote.epoch for vote in lab.votes(SPARE)} == {1}
    assert not lab.said(1)
    assert not lab.said(FRESH)
    lab.pass_time(500)
    assert lab.level()
    assert lab.balance(FRESH, 1) == 40


def test_an_id_that_was_put_out_signs_nothing_ever_again() -> None:
    lab = Epochs()
    settled(lab, 2, lab.activation())
    lab.pass_time(500)
    guard = lab.box(1).guard.read()
    lab.sent.clear()
    settled(lab, 0, lab.issue())
    lab.crash(1)
    lab.start(1)
    lab.settle()
    settled(lab, 0, lab.pay())
    lab.pass_time(2_000)
    assert not lab.said(1)
    assert not [each for each in lab.said_bodies(1) if isinstance(each, Held)]
    assert lab.box(1).guard.read() == guard
    assert isinstance(lab.core(1)._engine, Bystander)
    assert lab.level()


def test_a_node_that_does_not_vote_takes_nothing_and_says_so() -> None:
    lab = Epochs()
    answer = lab.answer(SPARE, lab.issue())
    assert (answer.state, answer.reason) == ("refused", RejectReason.NOT_READY)
    assert not lab.core(SPARE).has_room
    assert "an epoch that names member 7" in lab.core(SPARE).status().waiting_for


def test_the_governor_lets_one_leave_and_one_join() -> None:
    lab = Epochs()
    settled(lab, 1, lab.change((3,), (FRESH,)))
    lab.pass_time(500)
    assert lab.core(0).ledger.members.ids == (0, 1, 2, FRESH)
    settled(lab, FRESH, lab.issue())
    assert lab.votes(FRESH)
    settled(lab, FRESH, lab.activation())
    lab.pass_time(500)
    assert lab.core(FRESH).ledger.members.ids == (0, 2, SPARE, FRESH)
    assert settled(lab, SPARE, lab.pay())
    told = headers(lab.core(0).ledger)
    assert [epoch for _, epoch, _ in told] == sorted(epoch for _, epoch, _ in told)
    assert [closes for _, _, closes in told].count(True) == 2
    assert told[-1][1] == 2


@pytest.mark.parametrize("pipeline", [1, 2, 8])
def test_a_full_pipeline_drains_before_the_next_epoch(pipeline: int) -> None:
    """P18: nothing above the closing block is ever proposed or voted for by the old epoch."""
    lab = Epochs(replace(STEADY, pipeline=pipeline, block_transactions_max=2))
    settled(lab, 0, lab.issue())
    before = [lab.pay() for _ in range(20)]
    tokens = [lab.submit(node, raw) for node, raw in zip((0, 1, 2, 3) * 5, before, strict=True)]
    raws = [lab.pay() for _ in range(10)]
    token = lab.submit(0, *raws, lab.activation(), *[lab.pay() for _ in range(10)])
    lab.pass_time(1_000)
    assert all(answer.state == "final" for each in (*tokens, token) for answer in lab.told[each])
    told = headers(lab.core(2).ledger)
    (closing,) = [height for height, _, closes in told if closes]
    assert [epoch for _, epoch, _ in told] == [0] * closing + [1] * (len(told) - closing)
    assert len(told) > closing
    for node in (0, 1, 2, 3, SPARE):
        for vote in lab.votes(node):
            assert (vote.epoch == 1) == (vote.height > closing)
        for message in lab.said(node):
            if isinstance(message, Proposal):
                block = describe(message.block)
                assert block is not None
                assert (message.epoch == 1) == (block.height > closing)
    assert lab.level()


def test_a_spare_waits_for_its_epoch() -> None:
    """P27: it signs nothing before the block that names it is final, though it hears all and holds the key."""
    lab = Epochs()
    settled(lab, 0, lab.issue())
    lab.box(2).held, lab.box(3).held = [], []
    token = lab.submit(0, lab.activation())
    lab.pass_time(150)
    assert token not in lab.told
    assert any(isinstance(message, Proposal) for message in lab.said(0))
    for message in (*lab.said(0), *lab.said(1)):
        lab.say(0, SPARE, message)
    assert not lab.said(SPARE)
    assert not lab.said_bodies(SPARE)
    assert lab.box(SPARE).guard.read() is None
    lab.disk_goes_on(2)
    lab.disk_goes_on(3)
    lab.pass_time(500)
    closing = lab.told[token][0].height or 0
    settled(lab, 0, lab.pay())
    assert lab.votes(SPARE)
    assert all((vote.epoch, vote.height > closing) == (1, True) for vote in lab.votes(SPARE))


def test_two_changes_in_one_block_give_one_epoch_and_one_refusal() -> None:
    lab = Epochs()
    token = lab.submit(0, lab.change((), (FRESH,)), lab.activation())
    lab.pass_time(500)
    assert [answer.state for answer in lab.told[token]] == ["final", "final"]
    assert set(lab.epochs().values()) == {1}
    assert lab.core(0).ledger.members.ids == (0, 1, 2, 3, FRESH)
    assert settled(lab, 0, lab.activation())
    lab.pass_time(500)
    assert set(lab.epochs().values()) == {2}


def test_a_member_that_missed_the_boundary_catches_up_and_votes_again() -> None:
    lab = Epochs()
    lab.cut = {(a, b) for a in range(4) for b in range(4) if 3 in (a, b) and a != b}
    lab.cut |= {(3, SPARE), (SPARE, 3)}
    settled(lab, 0, lab.activation())
    settled(lab, 0, lab.issue())
    lab.pass_time(300)
    assert lab.epochs()[3] == 0
    lab.cut = set()
    lab.pass_time(4_000)
    assert lab.epochs()[3] == 1
    lab.sent.clear()
    settled(lab, 3, lab.pay())
    assert {vote.epoch for vote in lab.votes(3)} == {1}
    lab.pass_time(500)
    assert lab.level()


def test_whoever_left_helps_the_others_to_finish_the_epoch() -> None:
    """Only member 1 sees the certificate of the block that puts it out; the others cannot ask it by a vote any more."""
    lab = Epochs(running=(0, 1, 2, 3))
    lab.cut = {(1, node) for node in (0, 2, 3)}
    # 0, 2 and 3 need a third COMMIT: without 1's, and with 3's lost, nobody but 1 has q of them.
    lab.cut |= {(3, 0), (3, 2), (0, 2), (2, 0)}
    lab.submit(0, lab.activation())
    lab.pass_time(200)
    lab.cut = set()
    lab.pass_time(8_000)
    assert set(lab.epochs().values()) == {1}
    assert lab.level()


def test_a_restart_in_a_later_epoch_finds_its_members_and_an_unused_guard() -> None:
    lab = Epochs()
    settled(lab, 0, lab.activation())
    lab.pass_time(300)
    for node in (0, SPARE):
        lab.crash(node)
        lab.start(node)
        lab.settle()
        assert lab.core(node).ledger.members.ids == (0, 2, 3, SPARE)
        assert lab.core(node).status().epoch == 1
    settled(lab, 2, lab.issue())
    lab.pass_time(3_000)
    assert lab.level()
    record = lab.box(SPARE).guard.read()
    assert record is not None
    assert GUARD_RECORD.decode(record).epoch == 1


def test_the_engines_record_of_an_epoch_dies_with_it() -> None:
    lab = Epochs()
    lab.submit(0, lab.activation())
    at_boundary = [height for height, _, closes in headers(lab.core(0).ledger) if closes]
    assert at_boundary
    # Nothing was ordered in epoch 1 yet, or what was is of epoch 1: no view, no certificate of the old one is left.
    for node in (0, 2, 3):
        record = lab.box(node).store.get(schema.ENGINE)
        assert record is None or record != b""
        engine = lab.core(node)._engine
        assert engine.status().view == 0


def test_messages_of_other_epochs_are_dropped_and_a_later_one_leads_to_a_question() -> None:
    lab = Epochs(running=(2,))
    later = Standing(Epoch(5), View(0), True, Height(9))
    lab.say(0, 2, later)
    assert not [each for each in lab.said_catch_up(2) if isinstance(each, AskBlocks)]
    lab.pass_time(150)
    assert not [
        each for each in lab.said_catch_up(2) if isinstance(each, AskBlocks)
    ]  # nobody is up
    lab.start(0)
    lab.settle()
    for _ in range(50):
        lab.say(0, 2, later)
    lab.pass_time(999)
    asked = [each for each in lab.said_catch_up(2) if isinstance(each, AskBlocks)]
    assert 1 <= len(asked) <= 2
    assert not lab.core(2).catch_up.behind


def test_a_hint_that_leads_nowhere_holds_up_no_catching_up() -> None:
    lab = Epochs(running=(2,))
    catch_up, peers = lab.core(2).catch_up, [NodeId(node) for node in (0, 1, 3)]
    catch_up.hint(NodeId(3), lab.now_ms)
    now_ms = lab.now_ms + SETTLE_MS
    asked = catch_up.ask(now_ms, peers)
    assert asked is not None
    assert asked[0] == 3
    vote = CertVote(NodeId(0), bytes(64))
    lacking = Certificate(2, Epoch(0), View(0), Height(5), Link(b"\x05" * 32), Link(bytes(32)), (vote,))  # fmt: skip
    catch_up.toward(lacking, now_ms)
    assert catch_up.ask(now_ms + SETTLE_MS, peers) is not None
    assert catch_up.ask(now_ms + 2 * SETTLE_MS, peers) is None


def test_old_votes_and_view_changes_move_nothing_in_the_next_epoch() -> None:
    lab = Epochs()
    settled(lab, 0, lab.activation())
    lab.pass_time(300)
    old = [vote for vote in lab.votes(1) if vote.epoch == 0]
    assert old
    before = lab.core(0).status()
    for vote in old:
        lab.say(1, 0, vote)
        lab.say(2, 0, vote)
    for sender in (2, 3):
        lab.say(sender, 0, ViewChange(Epoch(0), View(9), NodeId(sender), None, bytes(64)))
    after = lab.core(0).status()
    assert (after.view, after.height, after.in_flight) == (before.view, before.height, 0)
    assert isinstance(lab.core(0), Replica)
