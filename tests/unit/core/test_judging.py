"""Every cause of REFUSE and DISAGREE, and everything that only has to wait, through a real replica that hears a hostile leader."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tallystick.consensus.api import Judge
from tallystick.consensus.pbft.messages import Disagree, Proposal, Vote
from tallystick.network.wire.blocks import link_of
from tallystick.network.wire.ids import BodyId, Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import proposal_message
from tallystick.node.core.block_data import BLOCK_DATA, BlockData, block_of
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.judging import ASK_AFTER_MS, ASK_AGAIN_MS
from tallystick.node.core.mempool import STRANGER, Waiting
from tallystick.node.core.messages import AskBodies, Forward, GiveBodies
from tallystick.node.core.step import Step
from tests.unit.core.lab import STEADY, Lab

TIMES = replace(STEADY, precision_ms=500, late_ms=5_000, block_transactions_max=3)


class Stage:
    """Member 1 hears what member 0, the leader, proposes; member 0 makes whatever a test wants."""

    def __init__(self) -> None:
        self.lab = Lab(parameters=TIMES)
        self.lab.answer(0, self.lab.issue())
        for other in (1, 2, 3):
            self.lab.cut |= {(0, other), (other, 0)}
        for other in (2, 3):
            self.lab.cut |= {(1, other), (other, 1)}
        self.lab.sent.clear()
        self.lab.box(1).trace.clear()

    @property
    def height(self) -> int:
        return self.lab.core(1).ledger.height + 1

    def block(self, *raws: bytes, at_ms: int | None = None, proposer: int = 0) -> BlockData:
        """An executed block on the last final one, valid or not."""
        ledger = self.lab.core(0).ledger
        bodies = [checked(self.lab, raw) for raw in raws]
        time_ms = self.lab.now_ms if at_ms is None else at_ms
        return ledger.execute(ledger.link, time_ms, NodeId(proposer), bodies).data()

    def propose(self, data: BlockData) -> None:
        link = link_of(data.header, data.result)
        message = proposal_message(
            self.lab.purse.chain, 0, Epoch(0), View(0), Height(data.header.height), link, Link(data.header.parent_link)
        )  # fmt: skip
        signature = self.lab.keys.sign(0, message)
        proposal = Proposal(Epoch(0), View(0), BLOCK_DATA.encode(data), signature)
        self.lab.say(0, 1, proposal)

    def hand_over(self, *raws: bytes) -> None:
        self.lab.say_bodies(0, 1, Forward(raws))

    @property
    def prepared(self) -> list[Link]:
        return [said.link for said in self.lab.said(1) if isinstance(said, Vote) and said.phase == 1]  # fmt: skip

    @property
    def disagreed(self) -> list[Disagree]:
        return [said for said in self.lab.said(1) if isinstance(said, Disagree)]

    @property
    def verdicts(self) -> list[str]:
        return [str(event.facts["verdict"]) for event in self.lab.box(1).notes("refused")]


def checked(lab: Lab, raw: bytes) -> CheckedBody:
    verdict = lab.bodies.check(raw)
    if not isinstance(verdict, CheckedBody):
        raise TypeError(verdict)
    return verdict


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_good_block_is_prepared(stage: Stage) -> None:
    raw = stage.lab.pay()
    data = stage.block(raw)
    stage.hand_over(raw)
    stage.propose(data)
    assert stage.prepared == [link_of(data.header, data.result)]
    assert stage.verdicts == []


Change = Callable[[BlockData], BlockData]


def header(**changes: object) -> Change:
    return lambda data: replace(data, header=replace(data.header, **changes))


def result(**changes: object) -> Change:
    return lambda data: replace(data, result=replace(data.result, **changes))


REFUSED: dict[str, Change] = {
    "another version": header(version=2),
    "another chain": header(chain=5),
    "another lane": header(lane=1),
    "another epoch": header(epoch=1),
    "a proposer that is no member": header(proposer=9),
    "another history": header(history_root=b"\x66" * 32),
    "a root over other transactions": header(tx_root=b"\x66" * 32),
    "one transaction cited twice": lambda data: replace(data, ids=2 * data.ids),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_block_that_is_not_valid_by_its_bytes_is_refused(stage: Stage, why: str) -> None:
    raw = stage.lab.pay()
    data = REFUSED[why](stage.block(raw))
    stage.hand_over(raw)
    stage.propose(data)
    assert stage.verdicts == ["refuse"]
    assert stage.prepared == []
    assert stage.disagreed == []


DISAGREED: dict[str, Change] = {
    "another state": result(state_root=b"\x66" * 32),
    "other outcomes": result(receipts_root=b"\x66" * 32),
    "a change of members": result(next_epoch=b"\x66" * 32),
}


@pytest.mark.parametrize("why", DISAGREED)
def test_another_result_of_a_valid_block_is_a_signed_disagreement(stage: Stage, why: str) -> None:
    raw = stage.lab.pay()
    good = stage.block(raw)
    stage.hand_over(raw)
    stage.propose(DISAGREED[why](good))
    assert stage.verdicts == ["disagree"]
    assert stage.prepared == []
    assert [said.own for said in stage.disagreed] == [link_of(good.header, good.result)]


def invalid(stage: Stage, *raws: bytes) -> str:
    stage.hand_over(*raws)
    stage.propose(stage.block(*raws))
    assert stage.verdicts == ["refuse"]
    assert stage.prepared == []
    (note,) = stage.lab.box(1).notes("invalid-block")
    return str(note.facts["reason"])


def test_a_block_above_its_bound_is_refused_and_one_at_it_is_not(stage: Stage) -> None:
    raws = tuple(stage.lab.pay() for _ in range(3))
    stage.hand_over(*raws)
    stage.propose(stage.block(*raws))
    assert len(stage.prepared) == 1
    assert invalid(Stage(), *raws, stage.lab.pay()) == "BLOCK_TOO_LARGE"


def test_a_block_with_a_payment_past_its_deadline_is_refused(stage: Stage) -> None:
    raw = stage.lab.pay(valid_until_ms=stage.lab.now_ms + 10)
    stage.hand_over(raw)
    data = stage.block(raw, at_ms=stage.lab.now_ms + 11)
    stage.propose(data)
    assert stage.verdicts == ["refuse"]
    (note,) = stage.lab.box(1).notes("invalid-block")
    assert note.facts["reason"] == "PAST_DEADLINE"


def test_a_block_at_the_deadline_is_not(stage: Stage) -> None:
    raw = stage.lab.pay(valid_until_ms=stage.lab.now_ms + 10)
    stage.hand_over(raw)
    stage.propose(stage.block(raw, at_ms=stage.lab.now_ms + 10))
    assert len(stage.prepared) == 1


def test_a_block_with_a_deadline_too_far_ahead_is_refused(stage: Stage) -> None:
    far_ms = stage.lab.now_ms + TIMES.max_validity_ms + 1
    assert invalid(stage, stage.lab.pay(valid_until_ms=far_ms)) == "TOO_FAR_DEADLINE"


def test_a_block_that_orders_something_again_is_refused(stage: Stage) -> None:
    """The digest was consumed with the first block; the leader's own ledger would not even execute it."""
    lab = Lab(parameters=TIMES)
    raw = lab.issue()
    lab.answer(0, raw)
    fresh = Stage()
    fresh.lab = lab
    for other in (1, 2, 3):
        lab.cut |= {(0, other), (other, 0)}
    lab.sent.clear()
    ledger = lab.core(0).ledger
    body = checked(lab, raw)
    empty = ledger.execute(ledger.link, lab.now_ms, NodeId(0), []).data()
    again = replace(empty, ids=body.body_id, header=replace(empty.header, tx_root=body.body_id))
    lab.core(1).pool.add(waiting(body))
    fresh.propose(again)
    reasons = [note.facts["reason"] for note in lab.box(1).notes("invalid-block")]
    assert reasons == ["ALREADY_ORDERED"]
    assert fresh.prepared == []


def waiting(body: CheckedBody) -> Waiting:
    return Waiting(body, STRANGER, NodeId(0), b"")


# -- block time --------------------------------------------------------------------------------------------------------


def test_a_time_before_the_parents_is_refused_and_the_same_time_is_not(stage: Stage) -> None:
    parent_ms = stage.lab.core(1).ledger.time_ms
    stage.propose(stage.block(at_ms=parent_ms - 1))
    assert stage.verdicts == ["refuse"]
    other = Stage()
    other.propose(other.block(at_ms=other.lab.core(1).ledger.time_ms))
    assert len(other.prepared) == 1


def test_a_time_slightly_ahead_waits_until_our_clock_is_near_enough(stage: Stage) -> None:
    stage.propose(stage.block(at_ms=stage.lab.now_ms + TIMES.precision_ms + 20))
    assert stage.prepared == []
    assert stage.verdicts == []
    stage.lab.pass_time(19)
    assert stage.prepared == []
    stage.lab.pass_time(1)
    assert len(stage.prepared) == 1


def test_a_time_at_the_precision_does_not_wait(stage: Stage) -> None:
    stage.propose(stage.block(at_ms=stage.lab.now_ms + TIMES.precision_ms))
    assert len(stage.prepared) == 1


def test_a_leader_ten_years_ahead_gets_no_vote_and_its_view_ends(stage: Stage) -> None:
    stage.propose(stage.block(at_ms=stage.lab.now_ms + 315_360_000_000))
    assert stage.prepared == []
    assert stage.verdicts == [], "it may come true"
    lab = stage.lab
    lab.cut = {pair for pair in lab.cut if 0 in pair}
    token = lab.submit(1, lab.pay())
    lab.pass_time(3_000)
    assert lab.told[token][0].state == "final"
    assert lab.core(1).status().view >= 1
    assert lab.core(1).ledger.time_ms <= lab.now_ms + TIMES.precision_ms


def test_a_time_too_far_behind_is_refused_and_one_at_the_bound_is_not(stage: Stage) -> None:
    late = Stage()
    for each in (stage, late):
        each.lab.now_ms += 20_000
    stage.propose(stage.block(at_ms=stage.lab.now_ms - TIMES.late_ms))
    assert len(stage.prepared) == 1
    late.propose(late.block(at_ms=late.lab.now_ms - TIMES.late_ms - 1))
    assert late.verdicts == ["refuse"]


def test_lateness_is_judged_when_the_header_arrives_not_when_its_bodies_do(stage: Stage) -> None:
    """Slow bodies never make an honest leader late."""
    raw = stage.lab.pay()
    stage.propose(stage.block(raw))
    stage.lab.now_ms += TIMES.late_ms + 1_000
    stage.hand_over(raw)
    assert len(stage.prepared) == 1


# -- what is missing ---------------------------------------------------------------------------------------------------


def test_a_missing_body_is_asked_for_after_a_moment_of_one_member_after_the_other(
    stage: Stage,
) -> None:
    raw = stage.lab.pay()
    stage.propose(stage.block(raw))
    assert stage.prepared == []
    stage.lab.pass_time(ASK_AFTER_MS - 1)
    asked = [said for said in stage.lab.said_bodies(1) if isinstance(said, AskBodies)]
    assert asked == [], "it is usually on its way already"
    stage.lab.pass_time(1 + 2 * ASK_AGAIN_MS)
    targets = [to for who, to, frame in stage.lab.sent if who == 1 and frame[0] == 2 and frame[1:3] == b"\x92\x03"]  # fmt: skip
    assert len(set(targets)) >= 2
    stage.lab.say_bodies(2, 1, GiveBodies((raw,)))
    assert len(stage.prepared) == 1


def test_an_answer_that_nobody_asked_for_is_not_taken(stage: Stage) -> None:
    asked, other = stage.lab.pay(), stage.lab.pay()
    stage.propose(stage.block(asked))
    stage.lab.say_bodies(2, 1, GiveBodies((other, asked)))
    pool = stage.lab.core(1).pool
    assert stage.lab.bodies.check(other).body_id not in pool
    assert len(stage.prepared) == 1


def test_a_body_that_is_wanted_comes_in_however_full_its_sender_is(stage: Stage) -> None:
    raw = stage.lab.pay()
    pool = stage.lab.core(1).pool
    pool._by_entry[NodeId(2)] = 10**6
    stage.propose(stage.block(raw))
    stage.lab.say_bodies(2, 1, GiveBodies((raw,)))
    assert len(stage.prepared) == 1


def test_a_known_header_with_another_result_does_not_take_the_layer_away(stage: Stage) -> None:
    """The leader proposes a block, its child, and in its next view the first header again with a false result."""
    raw = stage.lab.pay()
    data = stage.block(raw)
    stage.hand_over(raw)
    stage.propose(data)
    link = link_of(data.header, data.result)
    ledger = stage.lab.core(1).ledger
    judging = stage.lab.core(1).judging
    assert link in ledger.layers
    child = ledger.execute(link, stage.lab.now_ms, NodeId(0), [])
    false = replace(data, result=replace(data.result, state_root=b"\x66" * 32))
    judged = judging.judge(Judge(View(4), block_of(false), False, 0), stage.lab.now_ms, Step())
    assert judged is not None
    assert judged.verdict.value == "disagree"
    assert link in ledger.layers
    assert ledger.execute(child.link, stage.lab.now_ms, NodeId(0), []).header.height == data.header.height + 2  # fmt: skip


def test_body_ids_are_named_as_the_tree_names_them(stage: Stage) -> None:
    raw = stage.lab.pay()
    body = checked(stage.lab, raw)
    assert stage.block(raw).body_ids() == [BodyId(body.body_id)]
    assert replace(body, raw=raw) == body
