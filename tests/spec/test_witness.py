"""The witness accepts what the rules allow and nothing else: a statement at a time, and in a whole simulated world."""

import pytest

from tallystick.consensus.pbft.messages import MESSAGE, Message, ViewChange, Vote
from tallystick.consensus.raft import messages as raft
from tallystick.network.wire.ids import Epoch, Height, NodeId, View
from tallystick.network.wire.signing import Phase
from tests.sim.checkers.votes import Votes
from tests.sim.plan import plan_of
from tests.sim.run import Play
from tests.spec import raft_witness
from tests.spec.pbft_witness import NotAllowed, Witness
from tests.unit.consensus.table import GENESIS, describe, make_block, signed_vote

ONE, OTHER = make_block(1, GENESIS, "one"), make_block(1, GENESIS, "other")
TWO = make_block(2, ONE.link, "two")
EPOCH = Epoch(0)


def vote(signer: int, phase: Phase, view: int = 0, block: object = ONE) -> Vote:
    assert isinstance(block, type(ONE))
    return signed_vote(signer, phase, view, block.height, block.link, block.parent_link)


def say(witness: Witness, signer: int, message: Message) -> None:
    witness.said(signer, MESSAGE.encode(message))


def prepared() -> Witness:
    witness = Witness(4, GENESIS, describe)
    for signer in (0, 1, 2):
        say(witness, signer, vote(signer, Phase.PREPARE))
    return witness


def left(signer: int, view: int) -> ViewChange:
    return ViewChange(EPOCH, View(view), NodeId(signer), None, bytes(64))


def test_a_commit_needs_what_its_own_view_prepared() -> None:
    witness = prepared()
    say(witness, 0, vote(0, Phase.COMMIT))
    with pytest.raises(NotAllowed, match="did not prepare"):
        say(witness, 1, vote(1, Phase.COMMIT, block=OTHER))


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (vote(0, Phase.PREPARE, block=OTHER), "two blocks"),
        (vote(0, Phase.PREPARE, view=1, block=TWO), "out of turn"),
    ],
)
def test_a_second_prepare_follows_the_first(second: Vote, why: str) -> None:
    witness = prepared()
    say(witness, 0, vote(0, Phase.PREPARE))  # again
    with pytest.raises(NotAllowed, match=why):
        say(witness, 0, second)
    say(witness, 0, vote(0, Phase.PREPARE, block=TWO))


def test_who_left_a_view_votes_there_no_more() -> None:
    witness = prepared()
    say(witness, 0, left(0, 1))
    with pytest.raises(NotAllowed, match="after it left"):
        say(witness, 0, vote(0, Phase.COMMIT))


def test_who_committed_shows_at_least_that() -> None:
    witness = prepared()
    say(witness, 0, vote(0, Phase.COMMIT))
    with pytest.raises(NotAllowed, match="knows"):
        say(witness, 0, left(0, 1))


def test_a_raft_member_votes_once_per_term_and_acknowledges_what_was_sent() -> None:
    witness = raft_witness.Witness(3, describe)
    zero, term = Height(0), View(1)

    def said(sender: int, message: raft.Message, to: int | None = None) -> None:
        witness.said(sender, raft.MESSAGE.encode(message), to)

    for candidate in (0, 1):
        said(candidate, raft.AskVote(EPOCH, term, False, View(0), zero, zero, False))
    said(2, raft.GiveVote(EPOCH, term, False, True), to=0)
    with pytest.raises(NotAllowed, match="votes for"):
        said(2, raft.GiveVote(EPOCH, term, False, True), to=1)
    row = raft.LogEntry(term, ONE.data)
    said(0, raft.Append(EPOCH, term, zero, View(0), (row,), zero, 0))
    with pytest.raises(NotAllowed, match="lead"):
        said(1, raft.Append(EPOCH, term, zero, View(0), (row,), zero, 0))
    said(2, raft.Acked(EPOCH, term, Height(1), 0, zero))
    with pytest.raises(NotAllowed, match="nobody sent"):
        said(2, raft.Acked(EPOCH, term, Height(2), 0, zero))


def test_the_simulator_asks_the_witness_about_every_statement() -> None:
    play = Play(plan_of(23))
    play.chaos()
    votes = play.world.votes
    assert isinstance(votes, Votes)
    assert votes.witness.statements > 50
