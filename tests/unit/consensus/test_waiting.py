"""Each way in which a PBFT network can stand still, and whom a member then names."""

from tallystick.consensus import api
from tallystick.consensus.api import Verdict
from tallystick.consensus.pbft.messages import NewView, Proposal, ViewChange
from tallystick.consensus.waiting import Phase, Waiting
from tallystick.network.wire.ids import Link, NodeId
from tallystick.network.wire.signing import Phase as Kind
from tests.unit.consensus.table import GENESIS, Table, but, heard, is_commit, only, signed_vote


def waiting(table: Table, node: int) -> Waiting:
    return table.engine(node).status().waiting


def test_a_silent_leader_is_awaited_by_everybody_for_its_proposal() -> None:
    table = Table()
    table.work()
    table.lose()
    told = waiting(table, 2)
    assert (told.phase, told.awaited, told.needed) == (Phase.PROPOSAL, (0,), 1)
    assert told.height == 1
    assert "member 0" in told.unblocks


def test_missing_prepare_votes_are_named_with_how_many_of_them_would_do() -> None:
    table = Table()
    table.work()
    table.deliver(lambda sender, to, _: sender in (0, 1) and to in (0, 1))
    told = waiting(table, 1)
    assert (told.phase, told.awaited, told.needed) == (Phase.PREPARES, (2, 3), 1)
    assert "one of members 2, 3" in told.unblocks


def test_missing_commit_votes_are_named() -> None:
    table = Table()
    table.work()
    table.deliver(lambda sender, to, message: not is_commit(message) or sender in (to, 0))
    told = waiting(table, 1)
    assert (told.phase, told.awaited, told.needed) == (Phase.COMMITS, (2, 3), 1)


def test_a_vote_for_another_block_is_no_vote_for_this_one() -> None:
    table = Table()
    table.work()
    table.deliver(only(Proposal))
    other = signed_vote(3, Kind.PREPARE, 0, 1, Link(b"\x01" * 32), GENESIS)
    table.hear(1, heard(3, other))
    assert waiting(table, 1).awaited == (0, 2, 3)


def test_a_block_that_is_not_judged_yet_is_our_own_matter() -> None:
    table = Table()
    table.verdict = lambda node, _: None if node == 2 else Verdict.ACCEPT
    table.work()
    table.deliver(only(Proposal))
    told = waiting(table, 2)
    assert (told.phase, told.awaited, told.needed) == (Phase.JUDGEMENT, (2,), 1)


def test_who_refused_the_block_says_so_and_waits_for_the_others_votes() -> None:
    table = Table()
    table.verdict = lambda node, _: Verdict.REFUSE if node == 2 else Verdict.ACCEPT
    table.work()
    table.deliver(only(Proposal))
    told = waiting(table, 2)
    assert told.phase is Phase.PREPARES
    assert "refused the block itself" in told.unblocks


def test_members_that_have_not_left_the_view_are_named() -> None:
    table = Table()
    table.work()
    table.lose()
    table.tick(1_000, 1)
    table.tick(1_000, 1)
    told = waiting(table, 1)
    assert told.phase is Phase.VIEW_CHANGES
    assert told.awaited == (0, 1, 2, 3)  # its own is not durable yet
    table.deliver(but(0))
    assert waiting(table, 1).awaited == (0, 2, 3)
    assert waiting(table, 1).needed == 2


def test_a_leader_that_does_not_open_its_view_is_named() -> None:
    table = Table()
    table.work()
    table.lose()
    for node in (2, 3, 0, 2, 3, 0):
        table.tick(400, node)
    table.deliver(lambda _, to, message: isinstance(message, ViewChange) and to != 1)
    told = waiting(table, 2)
    assert (told.phase, told.awaited, told.needed) == (Phase.NEW_VIEW, (1,), 1)
    assert table.said(NewView) == []


def test_without_a_quorum_the_missing_connections_are_named() -> None:
    table = Table()
    for peer in (1, 3):
        table.hear(0, api.PeerDown(NodeId(peer)))
    told = waiting(table, 0)
    assert (told.phase, told.awaited, told.needed) == (Phase.CONNECTIONS, (1, 3), 1)


def test_a_leader_without_the_bytes_of_its_tip_asks_the_others_for_them() -> None:
    table = Table()
    table.work()
    table.deliver(
        lambda _, to, said: not is_commit(said) and not (isinstance(said, Proposal) and to == 1)
    )
    table.lose()
    for node in (0, 2, 3, 0, 2, 3):
        table.tick(400, node)
    table.deliver(lambda _, __, message: isinstance(message, ViewChange | NewView))
    told = waiting(table, 1)
    assert (told.phase, told.awaited, told.needed) == (Phase.TIP, (0, 2, 3), 1)


def test_a_prepared_tip_that_members_execute_differently_halts_and_waits_for_people() -> None:
    table = Table()
    table.work()
    table.deliver(lambda _, __, message: not is_commit(message))
    table.verdict = lambda _, __: Verdict.DISAGREE
    table.lose()
    for _ in range(3):
        table.tick(400)
        table.deliver()
    assert table.seats[NodeId(2)].alarms
    told = waiting(table, 2)
    assert (told.phase, told.awaited, told.needed) == (Phase.PEOPLE, (), 0)
    assert "executed the block" in told.unblocks


def test_since_counts_from_the_first_moment_a_block_was_owed_through_every_view_change() -> None:
    table = Table()
    table.run(200)
    table.work()
    asked_ms = table.now_ms
    table.run(3_000, but(0, 1))
    assert max(table.engine(2).status().view, 1) > 0
    assert waiting(table, 2).since_ms <= asked_ms + 1


def test_an_idle_network_owes_its_next_block_later() -> None:
    table = Table()
    table.run(100)
    told = waiting(table, 1)
    assert told.phase is Phase.PROPOSAL
    assert told.since_ms >= table.now_ms - 60


def test_what_is_said_changes_nothing() -> None:
    table = Table()
    table.work()
    before = list(table.wire)
    assert waiting(table, 0) == waiting(table, 0)
    assert table.wire == before
