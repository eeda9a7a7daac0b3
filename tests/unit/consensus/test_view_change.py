"""Leaving a view: what must not get lost, what must not be believed, and that it ends."""

import pytest
from msgspec.structs import replace

from tallystick.consensus import api
from tallystick.consensus.pbft.messages import (
    MESSAGE,
    Decided,
    Message,
    NewView,
    Proposal,
    Standing,
    ViewChange,
    Vote,
    changes_digest,
)
from tallystick.consensus.pbft.state import HELP_MS_MIN
from tallystick.consensus.pbft.view_change import signed_change
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, new_view_message, vote_message
from tests.unit.consensus.table import (
    CHAIN,
    GENESIS,
    TIMING,
    Keys,
    Table,
    but,
    describe,
    heard,
    is_commit,
    signed_vote,
)

TIMEOUT = TIMING.view_timeout_ms


def certificate(
    phase: Phase, view: int, height: int, link: Link, parent: Link, signers: tuple[int, ...]
) -> Certificate:
    message = vote_message(CHAIN, 0, Epoch(0), View(view), Height(height), phase, link, parent)
    votes = tuple(CertVote(NodeId(signer), Keys(NodeId(signer)).sign(message)) for signer in signers)  # fmt: skip
    return Certificate(phase, Epoch(0), View(view), Height(height), link, parent, votes)


# -- nothing gets lost -------------------------------------------------------------------------------------------------


def test_a_leader_dies_when_it_alone_knows_that_a_block_is_final() -> None:
    """The next leader settles it, once (indy-plenum PR 1268 lost it)."""
    table = Table(4)
    table.work()
    table.deliver(lambda _, to, message: not is_commit(message) or to == 0)
    assert table.heights() == [1, 0, 0, 0]
    table.crash(0)
    table.lose()
    table.run(600, but(0))
    assert table.heights()[1] >= 1
    assert table.chains_agree()


def test_a_member_that_committed_and_then_prepared_nothing_shows_its_commit_certificate() -> None:
    """Member 1 committed 1 and crashed; it comes back and its view change must carry what it knows."""
    table = Table(4)
    table.work()
    table.deliver(lambda _, to, message: not is_commit(message) or to == 1)
    assert table.heights() == [0, 1, 0, 0]
    table.crash(1)
    table.restart(1)
    table.lose()
    table.tick(2 * TIMEOUT)
    change = table.said(ViewChange, 1)[0]
    assert change.certificate is not None
    assert change.certificate.height == 1
    assert change.certificate.commits


def test_a_short_view_does_not_hide_the_tip() -> None:
    """Height 2 is prepared in view 0; view 1 re-prepares its tip and fails; view 2 must still stand on it."""
    table = Table(4, pipeline=2, block_max=1)
    table.hear(0, api.WorkWaiting(2, 2, 2))
    table.deliver(lambda _, to, message: not is_commit(message) or to == 3)
    assert table.heights() == [0, 0, 0, 2]
    decided = list(table.seats[NodeId(3)].chain)
    table.crash(3)
    table.lose()
    # View 1: its leader's proposals reach nobody; view 2 is led by member 2.
    table.run(1_500, lambda s, to, m: 3 not in (s, to) and not (s == 1 and isinstance(m, Proposal)))
    table.run(1_500, but(3))
    assert table.seats[NodeId(2)].chain[:2] == decided


def test_of_one_view_the_tip_is_the_highest() -> None:
    """Heights 1 and 2 are committed where one member alone knows it; the old leader knows a certificate for 1 only."""
    table = Table(4, pipeline=2, block_max=1)
    table.hear(0, api.WorkWaiting(2, 2, 2))

    def rule(_: NodeId, to: NodeId, message: Message) -> bool:
        if isinstance(message, Vote) and message.phase == Phase.PREPARE:
            return to != 0 or message.height == 1
        return not is_commit(message) or to == 3

    table.deliver(rule)
    assert table.heights() == [0, 0, 0, 2]
    known = [table.engine(node)._state.high for node in range(3)]
    assert [certificate and certificate.rank for certificate in known] == [(0, 1), (0, 2), (0, 2)]
    table.crash(3)
    table.lose()
    table.run(1_000, but(3))
    assert table.heights()[0] >= 2
    assert table.chains_agree()


def test_a_later_view_outranks_a_greater_height() -> None:
    """View 0 leaves a certificate for height 2 with one member; view 1 does not see it and commits another height 1."""
    table = Table(4, pipeline=2, block_max=1)
    table.hear(0, api.WorkWaiting(2, 2, 2))

    def first(_: NodeId, to: NodeId, message: Message) -> bool:
        if isinstance(message, Vote):
            return to == 3 and message.phase == Phase.PREPARE
        return True

    table.deliver(first)
    stale = table.engine(3)._state.high
    assert stale is not None
    assert stale.rank == (0, 2)
    table.lose()
    # Member 3 is away while the others decide height 1 in view 1; only member 1 learns that it is final.
    table.work(1)

    def second(sender: NodeId, to: NodeId, message: Message) -> bool:
        return 3 not in (sender, to) and (not is_commit(message) or to == 1)

    while not table.heights()[1]:
        table.run(10, second)
    table.crash(1)
    table.lose()
    table.run(2_500, but(1))
    assert min(table.heights()[node] for node in (0, 2, 3)) >= 1
    assert table.chains_agree()


def test_the_tip_is_proposed_again_byte_for_byte_and_nothing_below_it() -> None:
    table = Table(4, pipeline=2, block_max=1)
    table.hear(0, api.WorkWaiting(2, 2, 2))
    table.deliver(lambda _, __, message: not is_commit(message))
    table.lose()
    before = {link: block.data for link, block in table.known.items()}
    proposals: list[Proposal] = []

    def watch(_: NodeId, __: NodeId, message: object) -> bool:
        if isinstance(message, Proposal) and message.view == 1:
            proposals.append(message)
        return True

    table.run(400, watch)
    first = proposals[0]
    assert first.block in before.values()
    heights = [block.height for p in proposals if (block := describe(p.block)) is not None]
    assert min(heights) == 2, "height 1 is implied"
    assert min(table.heights()) >= 2


def test_members_that_have_the_tip_already_help_those_that_have_not() -> None:
    table = Table(4)
    table.work()
    table.deliver(lambda _, to, message: not is_commit(message) or to in (1, 2))
    assert table.heights() == [0, 1, 1, 0]
    table.crash(0)
    table.lose()
    table.run(800, but(0))
    assert table.heights()[3] >= 1
    assert table.chains_agree()


# -- nothing is believed that is not shown -----------------------------------------------------------------------------


@pytest.fixture
def left() -> Table:
    """Member 3 has left view 0 and waits for view 1, which member 1 leads."""
    table = Table(4)
    table.work()
    table.tick(TIMEOUT, 3)
    assert table.engine(3).status().view == 1
    table.lose()
    return table


def change_of(table: Table, signer: int, view: int, high: Certificate | None = None) -> ViewChange:
    return signed_change(table.engine(signer)._state, View(view), high)


def opened(table: Table, view: int, changes: tuple[ViewChange, ...]) -> NewView:
    message = new_view_message(CHAIN, 0, Epoch(0), View(view), changes_digest(changes))
    return NewView(Epoch(0), View(view), changes, Keys(NodeId(view % 4)).sign(message))


def test_a_new_view_shows_q_view_changes(left: Table) -> None:
    changes = tuple(change_of(left, signer, 1) for signer in (0, 1, 2))
    left.hear(3, heard(1, opened(left, 1, changes[:2])))
    assert not left.engine(3).status().active, "two are no quorum of four"
    left.hear(3, heard(1, opened(left, 1, (changes[0], changes[1], changes[1]))))
    assert not left.engine(3).status().active, "one twice is one"
    left.hear(3, heard(1, opened(left, 1, changes)))
    assert left.engine(3).status().active


def test_a_new_view_of_somebody_elses_hand_is_refused(left: Table) -> None:
    changes = tuple(change_of(left, signer, 1) for signer in (0, 1, 2))
    good = opened(left, 1, changes)
    left.hear(3, heard(1, replace(good, signature=bytes(64))))
    forged = (changes[0], replace(changes[1], signature=bytes(64)), changes[2])
    left.hear(3, heard(1, opened(left, 1, forged)))
    other = (change_of(left, 0, 2), changes[1], changes[2])
    left.hear(3, heard(1, opened(left, 1, other)))
    assert not left.engine(3).status().active
    assert left.seats[NodeId(3)].notes.count("forged-new-view") == 3
    left.hear(3, heard(2, good))
    assert left.engine(3).status().active, "whoever passes it on"


def test_a_view_change_with_a_certificate_that_is_none_does_not_count(left: Table) -> None:
    link = Link(b"\x07" * 32)
    few = certificate(Phase.PREPARE, 0, 1, link, GENESIS, (0, 1))
    later = certificate(Phase.PREPARE, 1, 1, link, GENESIS, (0, 1, 2))
    foreign = replace(certificate(Phase.PREPARE, 0, 1, link, GENESIS, (0, 1, 2)), epoch=Epoch(1))
    mixed = replace(
        certificate(Phase.PREPARE, 0, 1, link, GENESIS, (0, 1, 2)),
        votes=(
            *certificate(Phase.PREPARE, 0, 1, link, GENESIS, (0, 1)).votes,
            *certificate(Phase.PREPARE, 1, 1, link, GENESIS, (2,)).votes,
        ),
    )
    for shown in (few, later, foreign, mixed):
        left.hear(3, heard(0, change_of(left, 0, 1, shown)))
    assert NodeId(0) not in left.engine(3)._state.changes
    assert left.seats[NodeId(3)].notes.count("forged-view-change") == 4
    fine = certificate(Phase.PREPARE, 0, 1, link, GENESIS, (0, 1, 2))
    left.hear(3, heard(0, change_of(left, 0, 1, fine)))
    assert NodeId(0) in left.engine(3)._state.changes


def test_a_view_change_counts_for_its_signer_only(left: Table) -> None:
    left.hear(3, heard(2, change_of(left, 0, 1)))
    assert not left.engine(3)._state.changes.keys() - {NodeId(3)}


def test_a_false_certificate_of_a_decision_moves_nobody(left: Table) -> None:
    left.fetches = False
    link = Link(b"\x07" * 32)
    few = certificate(Phase.COMMIT, 0, 1, link, GENESIS, (0, 1))
    prepared = certificate(Phase.PREPARE, 0, 1, link, GENESIS, (0, 1, 2))
    for shown in (few, prepared, replace(prepared, phase=2)):
        left.hear(3, heard(0, Decided(shown)))
    assert left.seats[NodeId(3)].behind == []
    left.hear(3, heard(0, Decided(certificate(Phase.COMMIT, 0, 1, link, GENESIS, (0, 1, 2)))))
    assert [found.height for found in left.seats[NodeId(3)].behind] == [1]


def test_nothing_is_signed_in_a_view_that_was_left(left: Table) -> None:
    """All sign VIEW-CHANGE(1), then a late proposal of view 0 comes: no vote."""
    left.hear(0, api.WorkWaiting(1, 1, 2))
    left.deliver(lambda _, to, message: isinstance(message, Proposal) and to == 3)
    assert [vote for vote in left.said(Vote, 3) if vote.view == 0] == []


def test_votes_in_a_view_left_behind_may_still_decide() -> None:
    """Learning a decision is always safe: q COMMITs of view 0 reach a member that has left for view 1."""
    table = Table(4)
    table.work()
    table.deliver(lambda _, __, message: not is_commit(message))
    link = table.engine(3)._state.accepted[Height(1)]
    table.lose()
    table.tick(TIMEOUT, 3)
    assert table.engine(3).status().view == 1
    for signer in (0, 1, 2):
        table.hear(3, heard(signer, signed_vote(signer, Phase.COMMIT, 0, 1, link, GENESIS)))
    assert table.heights()[3] == 1


# -- it ends -----------------------------------------------------------------------------------------------------------


def test_f_plus_1_members_in_higher_views_pull_a_member_up_and_f_do_not() -> None:
    table = Table(4)
    table.hear(3, heard(0, change_of(table, 0, 5)))
    assert table.engine(3).status().view == 0
    table.hear(3, heard(1, change_of(table, 1, 7)))
    assert table.engine(3).status().view == 5, "the highest view that f+1 have reached"


def test_a_dead_leader_is_paid_for_once() -> None:
    table = Table(4)
    table.work()
    table.deliver()
    table.crash(0)
    table.run(1_000, but(0))
    view = table.engine(1).status().view
    height = table.heights()[1]
    table.run(2_000, but(0))
    assert table.engine(1).status().view == view
    assert table.heights()[1] > height + 5


def test_two_dead_leaders_in_a_row_are_passed_over() -> None:
    table = Table(7)
    table.crash(0)
    table.crash(1)
    table.run(3_000, but(0, 1))
    assert min(table.heights()[2:]) >= 1
    assert table.chains_agree()


def test_a_restarted_leader_hands_its_view_on() -> None:
    """What it proposed before, it may not remember: it never proposes in that view again."""
    table = Table(4)
    table.work()
    table.deliver(lambda _, __, message: isinstance(message, Proposal))
    table.crash(0)
    table.lose()
    table.restart(0)
    table.lose()
    table.tick(0, 0)
    assert [m for m in table.said(Proposal, 0) if m.view == 0] == []
    assert table.engine(0).status().view == 1
    table.run(600)
    assert min(table.heights()) >= 1
    assert table.chains_agree()


def test_a_restarted_member_enters_its_view_again_when_a_peer_shows_it() -> None:
    table = Table(4)
    table.crash(0)
    table.run(600, but(0))
    assert table.engine(2).status().view >= 1
    table.crash(3)
    table.restart(3)
    assert not table.engine(3).status().active
    table.run(100, but(0))
    assert table.engine(3).status().active


@pytest.mark.parametrize("down", [None, 0, 1, 2, 3])
def test_after_a_blackout_everybody_leaves_again(down: int | None) -> None:
    """All lose power in view 1, one may stay away: no q equal view changes are on any disk, yet it goes on."""
    table = Table(4)
    table.work()
    table.run(100)
    table.crash(0)
    table.run(800, but(0))
    table.restart(0)
    table.run(200)
    before = max(table.heights())
    for node in range(4):
        table.crash(node)
    table.lose()
    for node in range(4):
        if node != down:
            table.start(node)
    for node in range(4):
        if node != down:
            table.connect(node)
    alive = [node for node in range(4) if node != down]
    table.run(6_000, but(*([] if down is None else [down])))
    assert min(table.heights()[node] for node in alive) > before
    assert table.chains_agree()


def test_one_member_gone_ahead_alone_counts_as_gone() -> None:
    """Two wait for view 1, one for view 2, one is dead: the two must follow."""
    table = Table(4)
    table.crash(0)
    table.lose()
    table.tick(TIMEOUT, 1, 2, 3)
    table.lose()
    # Member 3 has heard nobody, yet has gone on to view 2 in an earlier life.
    change = change_of(table, 3, 2)
    for node in (1, 2):
        table.hear(node, heard(3, change))
        table.hear(node, heard(3 - node, change_of(table, 3 - node, 1)))
        table.hear(node, heard(node, change_of(table, node, 1)))
    deadline = table.engine(1)._state.synchronizer.deadline_ms
    assert deadline is not None, "q members will not come back, so the timer runs"
    table.lose()
    table.now_ms = deadline
    table.tick(0, 1)
    assert table.engine(1).status().view == 2


def test_a_view_is_never_left_for_the_view_of_the_certificate_that_is_shown() -> None:
    """A member that missed view 1 learns what was decided in it; its view change must be for view 2."""
    table = Table(4)
    link = Link(b"\x07" * 32)
    table.hear(3, heard(0, Decided(certificate(Phase.COMMIT, 1, 1, link, GENESIS, (0, 1, 2)))))
    table.hear(3, api.WorkWaiting(1, 1, 1))
    table.tick(TIMEOUT, 3)
    changes = table.said(ViewChange, 3)
    assert [change.view for change in changes] == [2]
    assert changes[0].certificate is not None
    assert changes[0].certificate.view == 1


def test_what_is_said_again_is_a_promise_again() -> None:
    """A view change or a vote that is repeated may rest on a record that is still on its way to the disk."""
    table = Table(4)
    table.work()
    table.tick(TIMEOUT, 3)
    effects = table.hear(3, api.PeerUp(NodeId(1)))
    said = [effect for effect in effects if isinstance(effect, api.Say)]
    changes = [say for say in said if isinstance(MESSAGE.decode(say.message), ViewChange)]
    assert changes
    assert all(say.promise for say in changes)
    table.lose()
    table.deliver()
    standing = MESSAGE.encode(Standing(Epoch(0), View(0), True, Height(0)))
    repeated = [e for e in table.hear(0, api.Heard(NodeId(2), standing)) if isinstance(e, api.Say)]
    statements = [say for say in repeated if isinstance(MESSAGE.decode(say.message), Proposal | Vote)]  # fmt: skip
    assert statements
    assert all(say.promise for say in statements)


def test_whoever_is_behind_is_helped_by_whoever_is_ahead() -> None:
    table = Table(4)
    table.work()
    table.deliver(but(3))
    table.hear(0, heard(3, Standing(Epoch(0), View(0), True, Height(0))))
    assert [m.certificate.height for m in table.said(Decided, 0)] == [1]


def test_whoever_asks_without_rest_is_answered_now_and_then() -> None:
    """Each answer is signed and written to the disk: a hostile member must not get one for every question."""
    table = Table(4)
    table.work()
    table.deliver(lambda _, __, message: isinstance(message, Proposal))
    table.lose()
    standing = heard(3, Standing(Epoch(0), View(0), True, Height(0)))
    for _ in range(100):
        table.hear(0, standing)
    assert len([to for _, to, _ in table.wire if to == 3]) <= 3
    table.lose()
    table.now_ms += HELP_MS_MIN - 1
    table.hear(0, standing)
    assert table.wire == []
    table.now_ms += 1
    table.hear(0, standing)
    assert table.said(Proposal, 0) != []


def test_a_leader_without_the_tips_bytes_asks_for_them_and_opens_the_view_then() -> None:
    table = Table(4)
    table.work()
    # Member 1, the next leader, hears nothing of view 0; the others prepare.
    table.deliver(lambda s, to, message: 1 not in (s, to) and not is_commit(message))
    table.crash(0)
    table.lose()
    table.run(800, but(0))
    assert table.heights()[1] >= 1
    assert table.chains_agree()
