"""PBFT's read index against liars, and leaders that give up their own view: which word is believed, and how far."""

import pytest
from msgspec.structs import replace

from tallystick.consensus import api
from tallystick.consensus.pbft.messages import AskIndex, Message, ShowIndex, ViewChange
from tallystick.consensus.pbft.reading import ROUNDS_MAX
from tallystick.consensus.pbft.view_change import signed_change
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.ids import Epoch, Height, NodeId, View
from tallystick.network.wire.signing import Phase
from tests.unit.consensus.table import Table, heard, is_commit


def index_of(table: Table, node: int, round_: int, *answers: tuple[int, Message]) -> int | None:
    """Ask at a member, let these answers arrive; the index, if it is known by then."""
    known = table.hear(node, api.ReadIndex(round_))
    for sender, answer in answers:
        known += table.hear(node, heard(sender, answer))
    found = [each.index for each in known if isinstance(each, api.IndexKnown)]
    return found[0] if found else None


def shows(round_: int, shown: Certificate | None) -> ShowIndex:
    return ShowIndex(Epoch(0), round_, shown)


def final_at_one() -> Table:
    """Height 1 is final at member 0 alone; the others have signed COMMIT and know no more."""
    table = Table(4)
    table.work()
    table.deliver(lambda _, to, message: not is_commit(message) or to == 0)
    assert table.heights() == [1, 0, 0, 0]
    table.lose()
    return table


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_a_block_that_is_final_at_one_member_is_in_every_quorums_answers(silent: int) -> None:
    """Member 3 asks; whoever stays silent, one of the other signers shows the prepared certificate."""
    table = final_at_one()
    known = table.hear(3, api.ReadIndex(7))
    for sender, to, message in list(table.wire):
        if silent not in (sender, to):
            table.hear(to, api.Heard(sender, message))
    answers = [(sender, to, message) for sender, to, message in table.wire if to == 3]
    for sender, _, message in answers:
        if sender != silent:
            known += table.hear(3, api.Heard(sender, message))
    assert [each.index for each in known if isinstance(each, api.IndexKnown)] == [1]


def test_a_liar_can_neither_hide_what_is_final_nor_pretend_a_height() -> None:
    table = Table(4)
    table.work()
    table.deliver()
    table.lose()
    final = table.seats[NodeId(1)].disk.final
    assert final is not None
    forged = replace(final, height=Height(10**9))
    assert index_of(table, 0, 1, (3, shows(1, forged)), (1, shows(1, final))) is None
    assert "forged-certificate" in table.seats[NodeId(0)].notes
    assert index_of(table, 0, 2, (3, shows(2, None)), (1, shows(2, final))) == final.height


def test_one_member_has_one_answer_and_one_to_another_round_has_none() -> None:
    table = Table(4)
    twice = (1, shows(5, None))
    assert index_of(table, 0, 5, twice, twice, (2, shows(4, None))) is None
    assert index_of(table, 0, 6, (1, shows(6, None)), (2, shows(6, None))) == 0


def test_rounds_that_nobody_answers_are_bounded() -> None:
    table = Table(4)
    for round_ in range(3 * ROUNDS_MAX):
        table.hear(0, api.ReadIndex(round_))
    assert len(table.engine(0)._state.reads) == ROUNDS_MAX


def test_a_question_of_another_epoch_is_not_answered() -> None:
    table = Table(4)
    table.lose()
    table.hear(0, heard(1, AskIndex(Epoch(1), 3)))
    assert not table.said(ShowIndex)


def test_what_a_reader_learns_of_a_final_block_is_news_to_the_node_itself() -> None:
    """In an idle network nobody else would tell a member that came back what it missed."""
    table = final_at_one()
    final = table.seats[NodeId(0)].disk.final
    assert final is not None
    table.hear(3, api.ReadIndex(1))
    table.hear(3, heard(0, shows(1, final)))
    assert table.heights() == [1, 0, 0, 1]


def test_a_prepared_certificate_is_waited_for_and_makes_nothing_final() -> None:
    table = Table(4)
    table.work()
    table.deliver(lambda _, __, message: not is_commit(message))
    table.lose()
    high = table.engine(1)._state.high
    assert high is not None
    assert high.phase == Phase.PREPARE
    reader = Table(4)
    assert index_of(reader, 3, 1, (1, shows(1, high)), (2, shows(1, None))) == 1
    assert reader.heights() == [0, 0, 0, 0]


# -- a leader's own view -----------------------------------------------------------------------------------------------


def change_of(table: Table, signer: int, view: int) -> ViewChange:
    return signed_change(table.engine(signer)._state, View(view), None)


def test_whoever_hears_a_leader_leave_its_own_view_follows_at_once() -> None:
    table = Table(4)
    table.hear(0, api.HandOver())
    table.deliver()
    views = {table.engine(node).status().view for node in range(4)}
    assert views == {1}
    assert all(table.engine(node).status().active for node in range(4))


@pytest.mark.parametrize(
    ("signer", "view"),
    [(0, 2), (0, 10**9), (1, 1), (2, 1)],
    ids=["further than the next", "far away", "not the leader", "not the leader either"],
)
def test_no_other_single_word_ends_a_view(signer: int, view: int) -> None:
    table = Table(4)
    table.lose()
    table.hear(3, heard(signer, change_of(table, signer, view)))
    assert table.engine(3).status().view == 0
    assert table.engine(3).status().active


def test_a_hand_over_to_anybody_but_the_next_leader_is_refused() -> None:
    table = Table(4)
    table.hear(0, api.HandOver(NodeId(2)))
    table.hear(1, api.HandOver())
    assert [table.engine(node).status().view for node in (0, 1)] == [0, 0]
    assert table.seats[NodeId(0)].notes.count("transfer-refused") == 1
    table.hear(0, api.HandOver(NodeId(1)))
    assert table.engine(0).status().view == 1
