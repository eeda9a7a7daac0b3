"""Majorities of one or two configurations (Ongaro's thesis, sections 3.3 and 4.3; tables of etcd-io/raft, `quorum/testdata`).

Decided here: who has won a vote, and up to which index a majority has acknowledged. In a joint configuration each half must
agree by itself: never a majority of the union.
Not here: who is in which half (`membership`), what is voted about.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeVar

from tallystick.network.proofs.certificates import majority_of

Member = TypeVar("Member", bound=int)


class Tally(Enum):
    WON = "won"
    PENDING = "pending"
    """Neither won nor lost: votes are missing."""
    LOST = "lost"
    """Whatever the missing votes say, it cannot be won any more."""


def tally(voters: Collection[Member], votes: Mapping[Member, bool]) -> Tally:
    """One configuration's vote. Votes of strangers do not count. Without voters it is won: the neutral half of a joint
    configuration; the engine refuses to run on it."""
    yes = sum(votes.get(voter) is True for voter in voters)
    missing = sum(voter not in votes for voter in voters)
    if not voters or yes >= majority_of(len(voters)):
        return Tally.WON
    return Tally.PENDING if yes + missing >= majority_of(len(voters)) else Tally.LOST


def joint_tally(
    voters: Collection[Member], outgoing: Collection[Member], votes: Mapping[Member, bool]
) -> Tally:
    """Lost if either half is lost, won only if both are won."""
    halves = {tally(voters, votes), tally(outgoing, votes)}
    if Tally.LOST in halves:
        return Tally.LOST
    return Tally.WON if halves == {Tally.WON} else Tally.PENDING


def committed_index(voters: Collection[Member], acknowledged: Mapping[Member, int]) -> int | None:
    """The largest index that a majority has acknowledged; who said nothing acknowledged 0. None: no voters, no limit."""
    if not voters:
        return None
    indexes = sorted((acknowledged.get(voter, 0) for voter in voters), reverse=True)
    return indexes[majority_of(len(voters)) - 1]


def joint_committed_index(
    voters: Collection[Member], outgoing: Collection[Member], acknowledged: Mapping[Member, int]
) -> int | None:
    """The smaller of the two halves' indexes."""
    halves = [committed_index(half, acknowledged) for half in (voters, outgoing)]
    return min((index for index in halves if index is not None), default=None)
