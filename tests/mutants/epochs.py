"""Bugs of the turn of an epoch, planted on purpose, that the simulator's plays find while members change."""

from dataclasses import replace

import pytest

from tallystick.consensus.api import Setup
from tallystick.network.wire.ids import NodeId
from tallystick.node.core import replica
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.restoring import setup_of
from tests.mutants.planted import mutant
from tests.sim import test_changing


def a_raft_leader_is_put_out() -> None:
    """As `test_changing`'s own fixture plays it."""
    plan = test_changing.plan_with("raft", "swap", leaver="leader", newcomer="wiped")
    test_changing.played(plan)


@mutant(a_raft_leader_is_put_out)
def who_was_put_out_counts_on(patch: pytest.MonkeyPatch) -> None:
    """The next epoch's engine counts the founders beside its own members: who was put out leads and votes on, and two majorities
    need not meet."""

    def wider(ledger: Ledger, me: NodeId) -> Setup:
        setup = setup_of(ledger, me)
        founders = {entry.id: entry.vote_key for entry in ledger.genesis.members}
        return replace(setup, vote_keys=founders | dict(setup.vote_keys))

    patch.setattr(replica, "setup_of", wider)


EPOCHS = {"who_was_put_out_counts_on"}
