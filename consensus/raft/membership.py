"""Who votes, who only learns, and how that may change (thesis, chapter 4; scripts of etcd-io/raft, `confchange/testdata`).

Decided here: the configuration after a change, or why a change is refused. A simple change touches one voter, so that old and
new majorities overlap; larger ones pass through a joint configuration whose two halves must both agree.
Not here: the arithmetic (`quorums`). An engine runs on one plain configuration, `Configuration.of`, for its whole life, and epochs
change members (`DECISIONS.md` 22): joint halves, learners and changes stay as far as etcd's published tables ask for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from tallystick.consensus.raft.quorums import Tally, joint_committed_index, joint_tally
from tallystick.network.wire.faults import invariant
from tallystick.network.wire.ids import NodeId

_NOBODY: frozenset[NodeId] = frozenset()


class ChangeRefused(Exception):
    """The change would be unsafe or means nothing; the configuration stays."""


class Step(Enum):
    VOTER = "voter"
    LEARNER = "learner"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    step: Step
    node: NodeId


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members at one moment. Joint while `outgoing` is not None."""

    voters: frozenset[NodeId]
    outgoing: frozenset[NodeId] | None = None
    """The voters before the change, who still decide too."""
    learners: frozenset[NodeId] = _NOBODY
    """They receive everything and count for nothing."""
    learners_next: frozenset[NodeId] = _NOBODY
    """Still voters in the outgoing half; learners once it is left."""
    auto_leave: bool = False

    @classmethod
    def of(cls, voters: Iterable[NodeId]) -> "Configuration":
        """The configuration that an engine runs on: an empty one would agree to anything."""
        members = frozenset(voters)
        invariant(bool(members), "a configuration without voters decides everything by itself")
        return cls(members)

    @property
    def joint(self) -> bool:
        return self.outgoing is not None

    @property
    def everybody(self) -> tuple[NodeId, ...]:
        """Voters and learners, sorted."""
        return tuple(
            sorted(self.voters | (self.outgoing or _NOBODY) | self.learners | self.learners_next)
        )

    def tally(self, votes: Mapping[NodeId, bool]) -> Tally:
        return joint_tally(self.voters, self.outgoing or _NOBODY, votes)

    def won(self, yes: Iterable[NodeId]) -> bool:
        return self.tally(dict.fromkeys(yes, True)) is Tally.WON

    def committed_index(self, acknowledged: Mapping[NodeId, int]) -> int:
        index = joint_committed_index(self.voters, self.outgoing or _NOBODY, acknowledged)
        invariant(index is not None, "a configuration without voters commits everything")
        return index or 0


def simple(configuration: Configuration, changes: Iterable[Change]) -> Configuration:
    """At most one voter comes or goes."""
    if configuration.joint:
        raise ChangeRefused("a simple change in a joint configuration")
    changed = _apply(configuration, changes)
    if len(configuration.voters ^ changed.voters) > 1:
        raise ChangeRefused("more than one voter changes: enter a joint configuration first")
    return changed


def enter_joint(
    configuration: Configuration, changes: Iterable[Change], auto_leave: bool = False
) -> Configuration:
    """From here on, old and new voters must both agree."""
    if configuration.joint:
        raise ChangeRefused("the configuration is joint already")
    if not configuration.voters:
        raise ChangeRefused("no voters: nobody could agree to the change")
    begun = replace(configuration, outgoing=configuration.voters, auto_leave=auto_leave)
    return _apply(begun, changes)


def leave_joint(configuration: Configuration) -> Configuration:
    """The outgoing half is dismissed; voters demoted meanwhile become learners."""
    if not configuration.joint:
        raise ChangeRefused("the configuration is not joint")
    return Configuration(
        configuration.voters, None, configuration.learners | configuration.learners_next
    )


def _apply(configuration: Configuration, changes: Iterable[Change]) -> Configuration:
    voters, learners = set(configuration.voters), set(configuration.learners)
    later, outgoing = set(configuration.learners_next), configuration.outgoing or _NOBODY
    for change in changes:
        node = change.node
        voters.discard(node)
        learners.discard(node)
        later.discard(node)
        match change.step:
            case Step.VOTER:
                voters.add(node)
            case Step.LEARNER:
                # Who still votes in the outgoing half cannot be a learner yet.
                (later if node in outgoing else learners).add(node)
            case Step.REMOVE:
                pass
    if not voters:
        raise ChangeRefused("no voter would be left")
    return Configuration(
        frozenset(voters),
        configuration.outgoing,
        frozenset(learners),
        frozenset(later),
        configuration.auto_leave,
    )
