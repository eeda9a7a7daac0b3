"""PBFT's normal case, engine against engine: proposals, certificates, pipeline, and what a hostile member may try in a view."""

import pytest

from tallystick.consensus import api
from tallystick.consensus.api import Judge, Verdict
from tallystick.consensus.pbft.messages import MESSAGE, Proposal, Standing, Vote
from tallystick.consensus.pbft.ordering import EMPTY_AFTER_FAILED_VIEWS
from tallystick.consensus.pbft.state import HEIGHTS_AHEAD_MAX, VIEWS_AHEAD_MAX
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, proposal_message
from tests.unit.consensus.table import (
    CHAIN,
    GENESIS,
    TIMING,
    Keys,
    Table,
    but,
    heard,
    is_commit,
    make_block,
    signed_vote,
)


def proposal(leader: int, view: int, block: api.Block) -> Proposal:
    message = proposal_message(CHAIN, 0, Epoch(0), View(view), block.height, block.link, block.parent_link)  # fmt: skip
    return Proposal(Epoch(0), View(view), block.data, Keys(NodeId(leader)).sign(message))


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5, 7])
def test_a_block_becomes_final_everywhere(members: int) -> None:
    table = Table(members)
    table.work()
    table.deliver()
    assert table.heights() == [len(table.seats[NodeId(0)].chain)] * members
    assert min(table.heights()) >= 1
    assert table.chains_agree()


def test_four_members_go_on_without_one_and_not_without_two() -> None:
    table = Table(4)
    table.work()
    table.deliver(but(3))
    assert table.heights() == [1, 1, 1, 0]
    table.work(2)
    table.deliver(but(2, 3))
    assert table.heights() == [1, 1, 1, 0]


def test_five_members_do_not_decide_with_three_votes() -> None:
    """{a,b,c} and {c,d,e} share only c: with 2f+1 votes both could decide."""
    table = Table(5)
    table.work()
    table.deliver(but(3, 4))
    assert table.heights() == [0] * 5
    table = Table(5)
    table.work()
    table.deliver(but(4))
    assert table.heights() == [1, 1, 1, 1, 0]


def test_the_pipeline_holds_as_many_full_blocks_as_it_may_and_no_more() -> None:
    table = Table(4, pipeline=3, block_max=1)
    table.hear(0, api.WorkWaiting(9, 9, 9))
    assert len({p.block for p in table.said(Proposal)}) == 3
    assert table.engine(0).status().in_flight == 3


def test_a_certificate_for_a_child_commits_its_ancestors() -> None:
    """COMMIT votes of height 1 are lost; those of height 2 decide both."""
    table = Table(4, pipeline=2, block_max=1)
    table.hear(0, api.WorkWaiting(2, 2, 2))
    table.deliver(lambda _, __, m: not (isinstance(m, Vote) and is_commit(m) and m.height == 1))
    assert table.heights() == [2, 2, 2, 2]
    assert all(seat.disk.final is not None and seat.disk.final.height == 2 for seat in table.seats.values())  # fmt: skip


def test_the_next_proposal_waits_until_its_parent_was_prepared_here() -> None:
    table = Table(4)
    first = make_block(1, GENESIS, "a")
    second = make_block(2, first.link, "b")
    table.hear(1, heard(0, proposal(0, 0, second)))
    assert table.said(Vote, 1) == []
    table.hear(1, heard(0, proposal(0, 0, first)))
    votes = table.said(Vote, 1)
    assert [(vote.height, vote.link) for vote in votes] == [(1, first.link), (2, second.link)]


def test_a_child_of_another_parent_gets_no_prepare() -> None:
    """A leader certifies b1, then proposes b2' on another b1': it would imply what nobody prepared."""
    table = Table(4)
    first, other = make_block(1, GENESIS, "a"), make_block(1, GENESIS, "other")
    table.hear(1, heard(0, proposal(0, 0, first)))
    table.hear(1, heard(0, proposal(0, 0, other)))
    table.hear(1, heard(0, proposal(0, 0, make_block(2, other.link, "b"))))
    votes = table.said(Vote, 1)
    assert [vote.link for vote in votes] == [first.link]
    assert "equivocation" in table.seats[NodeId(1)].notes


def test_a_restarted_member_prepares_no_second_block_of_an_equivocating_leader() -> None:
    """Amnesia: its memory is gone, its guard is not."""
    table = Table(4)
    first, other = make_block(1, GENESIS, "a"), make_block(1, GENESIS, "other")
    table.hear(1, heard(0, proposal(0, 0, first)))
    assert [vote.link for vote in table.said(Vote, 1)] == [first.link]
    table.crash(1)
    table.lose()
    table.restart(1)
    table.hear(1, heard(0, proposal(0, 0, other)))
    assert table.said(Vote, 1) == []


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("not the leader", lambda b: (2, proposal(2, 0, b))),
        ("the leader of another view", lambda b: (1, proposal(1, 1, b))),
        ("signed by another", lambda b: (0, proposal(2, 0, b))),
        ("another epoch", lambda b: (0, Proposal(Epoch(1), View(0), b.data, bytes(64)))),
        ("no block", lambda _: (0, Proposal(Epoch(0), View(0), b"junk", bytes(64)))),
    ],
)  # fmt: skip
def test_a_proposal_that_is_not_the_leaders_own_gets_no_vote(why: str, message: object) -> None:
    table = Table(4)
    sender, said = message(make_block(1, GENESIS, "a"))  # type: ignore[operator]
    table.hear(3, heard(sender, said))
    assert table.said(Vote, 3) == [], why


def test_proposals_too_far_above_the_last_final_block_are_not_kept() -> None:
    table = Table(4)
    at = make_block(HEIGHTS_AHEAD_MAX, GENESIS, "at the bound")
    over = make_block(HEIGHTS_AHEAD_MAX + 1, GENESIS, "over")
    for block in (at, over):
        table.hear(1, heard(0, proposal(0, 0, block)))
    state = table.engine(1)._state
    assert at.link in state.blocks
    assert over.link not in state.blocks


def test_votes_and_proposals_of_far_views_leave_no_trace() -> None:
    """Bounded memory: a hostile member can name any view."""
    table = Table(4)
    for view in range(VIEWS_AHEAD_MAX + 1, 5_000, 7):
        block = make_block(1, GENESIS, f"{view}")
        table.hear(1, heard(view % 4, proposal(view % 4, view, block)))
        table.hear(1, heard(2, signed_vote(2, Phase.PREPARE, view, 1, block.link, GENESIS)))
    state = table.engine(1)._state
    assert not state.stash
    assert not state.ballots


def test_a_stash_takes_only_from_the_leader_and_only_what_a_pipeline_holds() -> None:
    table = Table(4, pipeline=2)
    for n in range(10):
        block = make_block(1, GENESIS, f"{n}")
        table.hear(3, heard(2, proposal(2, 1, block)))
        table.hear(3, heard(1, proposal(1, 1, block)))
    assert [len(kept) for kept in table.engine(3)._state.stash.values()] == [4]


def test_a_stranger_is_not_heard() -> None:
    table = Table(4)
    effects = table.hear(1, heard(9, proposal(0, 0, make_block(1, GENESIS, "a"))))
    assert [effect.name for effect in effects if isinstance(effect, api.Note)] == ["stranger"]
    assert table.said(Vote, 1) == []


def test_garbage_is_noted_with_its_sender_and_changes_nothing() -> None:
    table = Table(4)
    good = MESSAGE.encode(Standing(Epoch(0), View(0), True, Height(0)))
    for junk in (b"", b"\x90", b"\xff" * 40, good[:-1], good + b"\x00"):
        effects = table.hear(1, api.Heard(NodeId(2), junk))
        assert [(e.name, e.facts["sender"]) for e in effects if isinstance(e, api.Note)] == [("garbage", 2)]  # fmt: skip
    table.work()
    table.deliver()
    assert min(table.heights()) >= 1


def test_a_forged_vote_is_not_counted_and_the_real_one_is() -> None:
    table = Table(4)
    table.hear(0, api.WorkWaiting(1, 1, 1))
    table.deliver(lambda _, __, message: isinstance(message, Proposal))
    link = table.engine(1)._state.accepted[Height(1)]
    forged = Vote(Phase.PREPARE, Epoch(0), View(0), Height(1), link, GENESIS, bytes(64))
    for sender in (0, 2):
        table.hear(1, heard(sender, forged))
    assert Height(1) not in table.engine(1)._state.prepared
    assert "forged-vote" in table.seats[NodeId(1)].notes
    for sender in (0, 2):
        table.hear(1, heard(sender, signed_vote(sender, Phase.PREPARE, 0, 1, link, GENESIS)))
    assert Height(1) in table.engine(1)._state.prepared


def test_the_first_vote_of_a_member_counts_and_the_second_is_evidence() -> None:
    table = Table(4)
    for link in (b"\x01" * 32, b"\x02" * 32):
        vote = signed_vote(2, Phase.PREPARE, 0, 1, Link(link), GENESIS)
        table.hear(1, heard(2, vote))
    assert "double-vote" in table.seats[NodeId(1)].notes


def test_votes_of_two_views_never_add_up() -> None:
    """Two COMMITs of view 0 and one of view 1 are no certificate, however equal their links are."""
    table = Table(4)
    block = make_block(1, GENESIS, "a")
    table.hear(3, heard(0, proposal(0, 0, block)))
    for signer, view in ((0, 0), (1, 0), (2, 1)):
        table.hear(3, heard(signer, signed_vote(signer, Phase.COMMIT, view, 1, block.link, GENESIS)))  # fmt: skip
    assert table.heights()[3] == 0
    table.hear(3, heard(2, signed_vote(2, Phase.COMMIT, 0, 1, block.link, GENESIS)))
    assert table.heights()[3] == 1


def test_prepares_do_not_count_as_commits() -> None:
    table = Table(4)
    block = make_block(1, GENESIS, "a")
    table.hear(3, heard(0, proposal(0, 0, block)))
    for signer in (0, 1, 2):
        table.hear(3, heard(signer, signed_vote(signer, Phase.PREPARE, 0, 1, block.link, GENESIS)))
    assert table.heights()[3] == 0
    assert any(is_commit(vote) for vote in table.said(Vote, 3))


def test_a_member_counts_its_own_vote_only_when_it_hears_it_itself() -> None:
    """The owner hands a promise back once it is durable; until then q-1 others are not enough."""
    table = Table(4)
    block = make_block(1, GENESIS, "a")
    table.hear(3, heard(0, proposal(0, 0, block)))
    for signer in (0, 1):
        table.hear(3, heard(signer, signed_vote(signer, Phase.PREPARE, 0, 1, block.link, GENESIS)))
    assert Height(1) not in table.engine(3)._state.prepared
    own = [m for s, to, m in table.wire if s == to == 3]
    table.hear(3, api.Heard(NodeId(3), own[0]))
    assert Height(1) in table.engine(3)._state.prepared


# -- judging -----------------------------------------------------------------------------------------------------------


def test_a_refused_block_gets_no_vote_and_the_view_is_left() -> None:
    table = Table(4)
    table.verdict = lambda node, _: Verdict.REFUSE if node != 0 else Verdict.ACCEPT
    table.work()
    table.deliver()
    assert table.heights() == [0] * 4
    assert table.said(Vote) == []
    table.verdict = lambda _, __: Verdict.ACCEPT
    table.run(400)
    assert min(table.heights()) >= 1
    assert table.engine(1).status().view >= 1


def test_f_plus_1_disagreements_are_an_alarm_and_one_is_none() -> None:
    table = Table(4)
    table.verdict = lambda node, _: Verdict.DISAGREE if node == 3 else Verdict.ACCEPT
    table.work()
    table.deliver()
    assert [seat.alarms for seat in table.seats.values()] == [[]] * 4
    assert table.heights()[:3] == [1, 1, 1]

    table = Table(4)
    table.verdict = lambda node, _: Verdict.DISAGREE if node > 1 else Verdict.ACCEPT
    table.work()
    table.deliver()
    assert all(seat.alarms for seat in table.seats.values())
    assert table.heights() == [0] * 4
    assert not table.engine(0)._state.halted, (
        "a proposal that nobody prepared vanishes with its view"
    )


def test_a_prepared_tip_that_f_plus_1_execute_differently_stops_the_network() -> None:
    """It may be committed somewhere: it is never dropped, people must look."""
    table = Table(4)
    table.work()
    table.deliver(lambda _, __, message: not is_commit(message))
    table.lose()
    table.verdict = lambda node, _: Verdict.DISAGREE if node > 1 else Verdict.ACCEPT
    table.run(600)
    stopped = [table.engine(node)._state.halted for node in range(4)]
    assert any(stopped)
    assert table.heights() == [0] * 4


def test_after_some_failed_views_leaders_propose_empty_blocks() -> None:
    """A poison block cannot stop the network."""
    table = Table(4)
    wishes: list[bool] = []
    original = table._carry_out

    def carry_out(seat: object, effect: api.Effect) -> api.Event | None:
        if isinstance(effect, api.MakeBlock):
            wishes.append(effect.empty)
        return original(seat, effect)  # type: ignore[arg-type]

    table._carry_out = carry_out  # type: ignore[method-assign]
    table.verdict = lambda _, __: Verdict.REFUSE
    table.work()
    table.run(3_000)
    assert not wishes[0]
    assert wishes[-1]
    assert wishes.index(True) >= EMPTY_AFTER_FAILED_VIEWS - 1


def test_a_block_that_is_fetched_while_it_is_judged_leaves_the_way_free() -> None:
    """Its answer never comes; the member must go on voting for the next one."""
    table = Table(4)
    held: list[Judge] = []

    def slow(node: NodeId, judge: Judge) -> Verdict | None:
        if node == 3 and not held:
            held.append(judge)
            return None
        return Verdict.ACCEPT

    table.verdict = slow
    table.fetches = False
    table.work()
    table.deliver()
    assert table.heights() == [1, 1, 1, 0]
    table.catch_up(3)
    table.work()
    table.deliver()
    assert min(table.heights()) >= 2
    assert any(vote.height == 2 for vote in table.engine(3)._state.ballots[View(0), Height(2), Phase.PREPARE].values())  # fmt: skip


def test_a_proposal_is_judged_as_fresh_and_a_tip_that_is_carried_over_is_not() -> None:
    """Age never invalidates a block that was prepared: its time is not tested again."""
    table = Table(4)
    table.work()
    table.deliver(lambda _, __, message: not is_commit(message))
    table.lose()
    table.run(400)
    judged = [judge for judge in table.seats[NodeId(2)].judged if judge.block.height == 1]
    assert [judge.fresh for judge in judged] == [True, False]
    assert judged[0].block == judged[1].block
    later = [judge for judge in table.seats[NodeId(2)].judged if judge.block.height == 2]
    assert all(judge.fresh for judge in later)


def test_the_age_of_a_view_is_counted_from_the_last_certificate() -> None:
    """Lateness is relaxed by the views that failed since, not by the absolute view."""
    table = Table(4)
    table.work()
    table.deliver()
    table.crash(0)
    table.run(800, but(0))
    judged = table.seats[NodeId(2)].judged
    assert judged[0].view_age == 0
    first_of_view_1 = next(judge for judge in judged if judge.view == 1)
    assert first_of_view_1.view_age == 1
    assert judged[-1].view_age == 0


def test_a_leader_that_is_alone_wakes_for_nothing() -> None:
    table = Table(4)
    for node in (1, 2, 3):
        table.hear(0, api.PeerDown(NodeId(node)))
    table.work()
    table.tick(10 * TIMING.view_timeout_ms_max, 0)
    table.tick(10 * TIMING.view_timeout_ms_max, 0)
    assert table.engine(0).deadline_ms > table.now_ms
    assert table.engine(0).status().view == 0
