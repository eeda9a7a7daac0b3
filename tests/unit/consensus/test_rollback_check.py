"""P17: a machine that was set back, guard and database together, halts before it signs, for its peers know what it signed."""

from dataclasses import replace

import pytest

from tallystick.consensus import api
from tallystick.consensus.accountability.guard import COMMIT, PREPARE, VIEW_CHANGE, Guard
from tallystick.consensus.pbft.messages import (
    MESSAGE,
    AskSigned,
    NewView,
    Proposal,
    ShowSigned,
    Statement,
    ViewChange,
    Vote,
)
from tallystick.consensus.waiting import Phase
from tallystick.network.proofs.evidence import Kind, about_block
from tallystick.network.wire.faults import InvariantError, Refused
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase as VotePhase
from tallystick.network.wire.signing import proposal_message
from tests.unit.consensus.table import (
    CHAIN,
    GENESIS,
    TIMING,
    Disk,
    Keys,
    Table,
    but,
    heard,
    is_commit,
    make_block,
    signed_vote,
)

SIGNED = (Proposal, Vote, ViewChange, NewView)


def quiet(members: int = 4) -> Table:
    """From now on, what a start asks is on the wire like everything else."""
    table = Table(members)
    table.asks_at_once = False
    return table


def copy(table: Table, node: int) -> Disk:
    disk = table.seats[NodeId(node)].disk
    return replace(disk, blocks=dict(disk.blocks))


def set_back(table: Table, node: int, disk: Disk) -> None:
    table.crash(node)
    table.lose()
    table.seats[NodeId(node)].disk = disk
    table.restart(node)


def signed_by(table: Table, node: int) -> list[object]:
    return [each for kind in SIGNED for each in table.said(kind, node)]


def answer(table: Table, node: int, *statements: Statement) -> ShowSigned:
    asked = table.said(AskSigned, node)[0]
    return ShowSigned(Epoch(0), asked.round, statements)


def statement(signer: int, phase: VotePhase, view: int, height: int, link: Link) -> Statement:
    vote = signed_vote(signer, phase, view, height, link, GENESIS)
    kind = Kind.PREPARE if phase is VotePhase.PREPARE else Kind.COMMIT
    return Statement(kind, View(view), Height(height), about_block(link, GENESIS, vote.signature))


# -- what a guard remembers --------------------------------------------------------------------------------------------

X, Y = Link(b"\x01" * 32), Link(b"\x02" * 32)


def test_a_guard_remembers_what_it_signed_and_nothing_above() -> None:
    guard = Guard(0, None)
    assert not guard.remembers(PREPARE, View(0), Height(1), X)
    assert guard.may_prepare(View(3), Height(2), X, GENESIS, GENESIS)
    assert guard.remembers(PREPARE, View(3), Height(2), X)
    assert guard.remembers(PREPARE, View(2), Height(2), Y), "the slot has moved on"
    assert not guard.remembers(PREPARE, View(3), Height(2), Y), "its own key signed another block"
    assert not guard.remembers(PREPARE, View(4), Height(2), X)
    assert not guard.remembers(PREPARE, View(3), Height(3), X)
    assert not guard.remembers(COMMIT, View(3), Height(2), X)
    guard.forget_below(Height(2))
    assert guard.remembers(COMMIT, View(9), Height(1), X), "nothing can be signed there any more"
    assert not guard.remembers(COMMIT, View(9), Height(2), X)
    assert not guard.remembers(VIEW_CHANGE, View(1), Height(0), bytes(32)), "height 0 never closes"


# -- a start -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("members", "needed"), [(4, 2), (5, 3), (7, 4)])
def test_nothing_is_signed_before_one_less_than_a_quorum_have_answered(
    members: int, needed: int
) -> None:
    table = quiet(members)
    table.lose()
    table.restart(1)
    block = make_block(1, GENESIS, "b1")
    proposal = table_proposal(table, block)
    for count, peer in enumerate(range(2, 2 + needed), 1):
        table.hear(1, heard(0, proposal))
        assert signed_by(table, 1) == []
        status = table.engine(1).status()
        assert status.waiting.phase is Phase.ROLLBACK_CHECK
        assert status.waiting.needed == needed - count + 1
        assert peer in status.waiting.awaited
        assert "asking peers what this key has signed" in status.waiting.unblocks
        table.hear(1, heard(peer, answer(table, 1)))
    assert [vote.link for vote in table.said(Vote, 1)] == [block.link]
    assert table.engine(1).status().waiting.phase is not Phase.ROLLBACK_CHECK


def table_proposal(table: Table, block: api.Block) -> Proposal:
    place = (CHAIN, 0, Epoch(0), View(0), block.height, block.link, block.parent_link)
    return Proposal(Epoch(0), View(0), block.data, Keys(NodeId(0)).sign(proposal_message(*place)))


def test_the_same_peer_twice_an_earlier_start_and_oneself_do_not_count() -> None:
    table = quiet()
    table.lose()
    table.now_ms = 70
    table.restart(1)
    fresh = answer(table, 1)
    for sender, shown in ((2, fresh), (2, fresh), (3, replace_round(fresh, 0)), (1, fresh)):
        table.hear(1, heard(sender, shown))
        assert table.engine(1).status().waiting.phase is Phase.ROLLBACK_CHECK
    table.hear(1, heard(3, fresh))
    assert table.engine(1).status().waiting.phase is not Phase.ROLLBACK_CHECK


def replace_round(shown: ShowSigned, round_: int) -> ShowSigned:
    return ShowSigned(shown.epoch, round_, shown.statements)


def test_a_network_that_starts_together_does_not_wait_for_itself() -> None:
    """Everybody asks, and everybody answers at once, also who waits for answers: one question and one answer long."""
    table = Table(4)
    table.lose()
    for node in range(4):
        table.crash(node)
    table.asks_at_once = False
    for node in range(4):
        table.start(node)
    for node in range(4):
        table.connect(node)
    table.deliver()
    assert table.now_ms == 0
    phases = [table.engine(node).status().waiting.phase for node in range(4)]
    assert Phase.ROLLBACK_CHECK not in phases
    table.work()
    table.deliver()
    assert table.heights() == [1] * 4


def test_alone_there_is_nobody_to_ask() -> None:
    table = quiet(1)
    table.work()
    table.deliver()
    assert table.heights() == [1]


def test_a_lost_question_is_asked_again_and_the_clock_does_not_spin() -> None:
    table = quiet()
    table.work()
    table.crash(1)
    table.lose()
    table.restart(1)
    table.lose()
    table.hear(1, api.Tick())
    assert table.engine(1).deadline_ms > table.now_ms
    table.now_ms = table.engine(1).deadline_ms
    table.hear(1, api.Tick())
    assert len(table.said(AskSigned, 1)) == 1
    assert table.engine(1).deadline_ms > table.now_ms
    table.deliver()
    assert table.engine(1).status().waiting.phase is not Phase.ROLLBACK_CHECK


def test_a_restarted_leader_hands_its_view_on_only_after_the_answers() -> None:
    table = quiet()
    table.work()
    table.crash(0)
    table.lose()
    table.restart(0)
    table.hear(0, api.Tick())
    assert table.said(ViewChange, 0) == []
    table.deliver()
    assert table.engine(0).deadline_ms == 0
    table.hear(0, api.Tick())
    assert [change.view for change in table.said(ViewChange, 0)] == [1]


def test_who_waits_for_answers_leaves_no_view_and_shows_no_reader_where_it_stands() -> None:
    table = quiet()
    table.crash(1)
    table.lose()
    table.restart(1)
    table.lose()
    table.tick(20 * TIMING.view_timeout_ms, 1)
    for event in (api.HandOver(), api.Unfair(View(0), 1), api.ReadIndex(1)):
        table.hear(1, event)
    assert signed_by(table, 1) == []


def test_a_signature_before_the_answers_is_a_broken_invariant() -> None:
    table = quiet()
    table.lose()
    table.restart(1)
    with pytest.raises(InvariantError, match="before the peers were asked"):
        table.engine(1)._state.sign(b"anything")


# -- a machine that was set back ---------------------------------------------------------------------------------------


def committed_by_1() -> tuple[Table, Disk]:
    """Member 1 has PREPAREd block 1 when its machine is copied; then it COMMITs, and its peers hear that."""
    table = quiet()
    table.lose()
    table.work()
    table.deliver(rounds=4)  # the proposal, to everybody
    before = copy(table, 1)
    assert before.guard is not None
    table.deliver(lambda sender, to, message: not is_commit(message) or sender == 1)
    assert table.heights() == [0] * 4
    assert table.seats[NodeId(1)].disk.guard != before.guard
    return table, before


def alarms_of(table: Table, node: int) -> str:
    return "\n".join(table.seats[NodeId(node)].alarms)


def assert_halted(table: Table, node: int) -> None:
    sentence = alarms_of(table, node)
    assert "set back to an older copy" in sentence
    assert "spare id" in sentence
    assert signed_by(table, node) == []
    table.tick(10_000, node)
    assert signed_by(table, node) == []


def test_a_forgotten_commit_halts_it() -> None:
    table, before = committed_by_1()
    set_back(table, 1, before)
    table.deliver(but(2))
    assert "holds a genuine COMMIT" in alarms_of(table, 1)
    assert_halted(table, 1)


def test_a_forgotten_view_change_halts_it() -> None:
    table = quiet()
    table.work()
    table.deliver()
    before = copy(table, 1)
    table.hear(1, api.Unfair(View(0), 1))
    table.deliver(lambda sender, to, message: isinstance(message, ViewChange) and sender == 1)
    set_back(table, 1, before)
    table.deliver()
    assert "holds a genuine VIEW-CHANGE" in alarms_of(table, 1)
    assert_halted(table, 1)


def test_a_forgotten_proposal_halts_it() -> None:
    """A wiped leader of the first view would propose another block for its height."""
    table = quiet()
    before = copy(table, 0)
    table.work()
    table.deliver(lambda sender, to, message: isinstance(message, Proposal))
    set_back(table, 0, before)
    table.deliver()
    assert "holds a genuine PROPOSAL" in alarms_of(table, 0)
    assert_halted(table, 0)


def test_peers_that_were_restarted_too_still_have_their_certificates() -> None:
    table = quiet()
    before = copy(table, 1)
    table.work()
    table.deliver()
    assert table.heights() == [1] * 4
    signers = {vote.signer for vote in table.seats[NodeId(0)].disk.final.votes}  # type: ignore[union-attr]
    assert 1 in signers
    for node in (0, 2, 3):
        table.crash(node)
        table.restart(node)
    table.lose()
    set_back(table, 1, before)
    table.deliver()
    assert_halted(table, 1)


def test_a_restart_that_lost_nothing_goes_on() -> None:
    table, _ = committed_by_1()
    set_back(table, 1, copy(table, 1))
    table.deliver()
    assert table.seats[NodeId(1)].alarms == []
    table.run(2_000)
    assert min(table.heights()) >= 1
    assert table.chains_agree()


def test_it_waits_as_long_as_too_few_answer() -> None:
    table, before = committed_by_1()
    table.crash(2)
    table.crash(3)
    set_back(table, 1, before)
    table.hear(1, heard(0, answer(table, 1)))  # 0 has forgotten
    table.run(2_000, lambda sender, to, message: not isinstance(message, ShowSigned))
    assert signed_by(table, 1) == []
    assert table.seats[NodeId(1)].alarms == []


# -- liars -------------------------------------------------------------------------------------------------------------


def test_a_claim_without_the_keys_signature_halts_nobody_and_blames_the_liar() -> None:
    table = quiet()
    table.lose()
    table.restart(1)
    stolen = statement(2, VotePhase.COMMIT, 5, 7, X)
    another_place = Statement(stolen.kind, View(6), Height(7), statement(1, VotePhase.COMMIT, 5, 7, X).said)  # fmt: skip
    for lie in (stolen, another_place):
        table.hear(1, heard(2, answer(table, 1, lie)))
        assert table.seats[NodeId(1)].notes[-1] == "forged-statement"
    assert table.seats[NodeId(1)].alarms == []
    assert table.engine(1).status().waiting.needed == 2
    table.hear(1, heard(0, answer(table, 1)))
    table.hear(1, heard(3, answer(table, 1)))
    assert table.engine(1).status().waiting.phase is not Phase.ROLLBACK_CHECK


def test_what_the_guard_knows_may_be_shown() -> None:
    table, _ = committed_by_1()
    block = next(iter(table.known.values()))
    set_back(table, 1, copy(table, 1))
    shown = statement(1, VotePhase.COMMIT, 0, 1, block.link)
    for peer in (0, 2):
        table.hear(1, heard(peer, answer(table, 1, shown)))
    assert table.seats[NodeId(1)].alarms == []
    assert table.engine(1).status().waiting.phase is not Phase.ROLLBACK_CHECK


def test_a_forged_vote_is_kept_for_its_sender_alone_and_never_shown() -> None:
    table = quiet()
    block = make_block(1, GENESIS, "x")
    forged = signed_vote(3, VotePhase.COMMIT, 1, 1, block.link, GENESIS)
    table.hear(0, heard(1, forged))
    table.lose()
    table.restart(1)
    table.deliver(lambda _, to, message: not isinstance(message, ShowSigned) or to != 1)
    assert table.seats[NodeId(1)].alarms == []
    assert "forged-statement" not in table.seats[NodeId(1)].notes


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_peer_holds_one_statement_of_each_kind_however_much_is_said() -> None:
    table = quiet()
    for number in range(1, 200):
        link = Link(number.to_bytes(32, "big"))
        for phase in (VotePhase.PREPARE, VotePhase.COMMIT):
            table.hear(0, heard(1, signed_vote(1, phase, number // 50, number, link, GENESIS)))
    kept = table.engine(0)._state.heard_of[NodeId(1)]
    assert {kind: (each.view, each.height) for kind, each in kept.items()} == {
        Kind.PREPARE: (3, 199),
        Kind.COMMIT: (3, 199),
    }


def test_an_answer_has_at_most_one_statement_of_each_kind() -> None:
    one = statement(1, VotePhase.COMMIT, 0, 1, X)
    five = ShowSigned(Epoch(0), 0, (one,) * len(Kind))
    assert MESSAGE.decode(MESSAGE.encode(five)) == five
    with pytest.raises(Refused):
        MESSAGE.decode(MESSAGE.encode(ShowSigned(Epoch(0), 0, (one,) * (len(Kind) + 1))))


def test_who_asks_too_often_is_not_answered() -> None:
    """Each answer costs signature checks: twenty at once, then one in twenty milliseconds."""
    table = quiet()
    table.lose()
    table.now_ms = 10_000
    answers = 0
    for _ in range(100):
        table.hear(0, heard(1, AskSigned(Epoch(0), 1)))
        answers += len(table.said(ShowSigned, 0))
        table.lose()
    assert 20 <= answers <= 22
