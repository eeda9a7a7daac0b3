"""Bugs of whoever gives or takes a snapshot, planted on purpose: something in it is believed that no certified value covers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.receipts import OUTCOME, Outcome
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.ids import Epoch, NodeId
from tallystick.network.wire.membership import EpochMembers
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import BlockOutline, CatchUpMessage
from tallystick.node.core.snapshots import STATE_TABLES, Snapshots
from tallystick.node.upkeep import snapshots
from tallystick.node.upkeep.epochs import Epochs
from tests.mutants.killers import play
from tests.mutants.planted import MUTANTS, Killer, mutant
from tests.unit.upkeep import test_joined, test_joining, test_joining_lies


def lying(lie: str) -> Killer:
    """A member tells this lie."""
    test = test_joining_lies.test_a_lying_member_is_named_and_another_one_is_asked
    killer = found(play(test, lie, lab=test_joining_lies.lab))
    killer.__name__ = lie
    return killer


def found(killer: Killer) -> Killer:
    """Whoever cannot join any more has found it, too."""

    def kill() -> None:
        try:
            killer()
        except OperationalError as error:
            pytest.fail(f"nobody is left to join from: {error}")

    kill.__name__ = killer.__name__
    return kill


@mutant(lying("an outcome is left out"), lying("what took no id is left out"))
def outlines_are_taken_as_they_come(patch: pytest.MonkeyPatch) -> None:
    """Links and certificate hold, so outcomes are not asked for their root: a taken id is left out, and could be taken again."""

    def check_outline(outline: BlockOutline) -> list[Outcome]:
        outcomes = [OUTCOME.decode(encoded) for encoded in outline.outcomes]
        return [each for each in outcomes if outline.alone or each.reason not in (100, 101, 102)]

    patch.setattr(snapshots, "check_outline", check_outline)


@mutant(lying("a row is left out"), lying("two rows are swapped"))
def state_is_not_held_against_its_root(patch: pytest.MonkeyPatch) -> None:
    """Rows that decode are believed: money appears or disappears at whoever joined."""
    patch.setattr(snapshots, "check_state", lambda *given: b"")


@mutant(found(test_joining.test_the_state_stands_still_while_payments_settle))
def state_is_read_table_by_table(patch: pytest.MonkeyPatch) -> None:
    """Each table is scanned when its turn comes: accounts of one height beside records of another."""
    honest: Callable[..., CatchUpMessage] = Snapshots._begin

    def begin(self: Snapshots, peer: NodeId, ledger: Ledger, now_ms: int) -> CatchUpMessage:
        first = honest(self, peer, ledger, now_ms)

        def late() -> Iterator[tuple[bytes, bytes]]:
            for table in STATE_TABLES:
                yield from ledger.store.scan(table)

        state: Any = self._states.get(peer)
        if state is not None:
            state.rows = late()
        return first

    patch.setattr(Snapshots, "_begin", begin)


@mutant(found(test_joined.test_a_false_set_of_members_is_refused_and_its_giver_named))
def members_of_an_epoch_are_taken_as_they_come(patch: pytest.MonkeyPatch) -> None:
    """Who votes next is believed whoever says it: a set of the giver's own certifies whatever follows."""

    def learn(self: Epochs, members: EpochMembers, next_epoch: bytes) -> None:
        self._sets[Epoch(members.epoch)] = MemberSet.of(members, self._genesis.engine)

    patch.setattr(Epochs, "learn", learn)


JOINING = {each.name for each in MUTANTS if each.plant.__module__ == __name__}
"""The names of what this module plants."""
