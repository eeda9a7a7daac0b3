"""A stall is told as a person would tell it."""

import pytest

from tallystick.consensus.waiting import Phase, Waiting
from tallystick.network.wire.ids import NodeId
from tallystick.node.api.stall_words import wanted

NAMES = {number: f"bank-{letter}" for number, letter in enumerate("abcd")}


def said(phase: Phase, needed: int, *awaited: int) -> str:
    waiting = Waiting(phase, tuple(map(NodeId, awaited)), needed, 0, 8, "people: read the log")
    return wanted(waiting, NAMES)


@pytest.mark.parametrize(
    ("phase", "needed", "awaited", "sentence"),
    [
        (Phase.CONNECTIONS, 1, (2, 3), "a connection to one of bank-c, bank-d"),
        (Phase.CONNECTIONS, 2, (1, 2, 3), "connections to two of bank-b, bank-c, bank-d"),
        (Phase.CONNECTIONS, 2, (2, 3), "connections to bank-c and bank-d"),
        (Phase.CONNECTIONS, 1, (3,), "a connection to bank-d"),
        (Phase.COMMITS, 1, (2, 3), "a commit vote of one of bank-c, bank-d"),
        (Phase.PREPARES, 3, (1, 2, 3), "prepare votes of bank-b, bank-c and bank-d"),
        (Phase.VIEW_CHANGES, 1, (3,), "a view-change message of bank-d"),
        (Phase.PROPOSAL, 1, (0,), "a proposal of bank-a"),
        (Phase.TIP, 1, (1, 2), "the block of the view's tip from one of bank-b, bank-c"),
        (Phase.LEADER, 1, (1, 2), "one of bank-b, bank-c to become the leader"),
        (Phase.ELECTION_VOTES, 1, (1, 2), "a vote of one of bank-b, bank-c in an election"),
        (Phase.ROLLBACK_CHECK, 2, (1, 2, 3), "answers of two of bank-b, bank-c, bank-d about what this node's key has signed"),
        (Phase.CATCH_UP, 0, (), "final blocks from any member"),
        (Phase.BODIES, 1, (9,), "bodies of transactions from member 9"),
        (Phase.JUDGEMENT, 1, (1,), "bank-b to judge the proposed block"),
        (Phase.CLOCK, 1, (0,), "the proposed block's time, which is ahead of this node's clock"),
        (Phase.DISK, 1, (0,), "the disk of bank-a"),
        (Phase.PEOPLE, 0, (), "people: read the log"),
    ],
)  # fmt: skip
def test_what_is_missing_is_plain_english(
    phase: Phase, needed: int, awaited: tuple[int, ...], sentence: str
) -> None:
    assert said(phase, needed, *awaited) == sentence


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("needed", [1, 2])
def test_every_phase_names_who_is_awaited_or_says_what_people_do(phase: Phase, needed: int) -> None:
    words = said(phase, needed, 1, 2, 3)
    assert "{" not in words
    if phase not in (Phase.CLOCK, Phase.PEOPLE):
        count = "one" if needed == 1 else "two"
        assert f"{count} of bank-b, bank-c, bank-d" in words


def test_many_are_counted_in_digits() -> None:
    names = {number: f"m{number}" for number in range(20)}
    waiting = Waiting(Phase.COMMITS, tuple(map(NodeId, range(20))), 13, 0, 8, "")
    assert wanted(waiting, names).startswith("commit votes of 13 of m0, m1")
