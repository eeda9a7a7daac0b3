"""Readers that ask for a quorum's word, and operators that hand leadership over, in the middle of chaos (I9)."""

import pytest

from tests.sim.checkers import Violation
from tests.sim.checkers.chain import Model
from tests.sim.checkers.history import History
from tests.sim.plan import ASKING_FROM, Engine, plan_of
from tests.sim.run import Play


@pytest.mark.parametrize(("engine", "seed"), [("pbft", ASKING_FROM + 9), ("raft", ASKING_FROM + 2)])
def test_confirmed_reads_and_hand_overs_happen_and_miss_nothing(engine: Engine, seed: int) -> None:
    play = Play(plan_of(seed, engine))
    play.chaos()
    play.calm()
    play.afterwards()
    assert play.world.history.confirmed > 50
    assert play.handed_over > 3


def test_a_confirmed_read_behind_what_a_client_knew_is_found() -> None:
    history = History(Model())
    history.readable("node-0", 7, 7)
    with pytest.raises(Violation, match="after clients knew of 8"):
        history.readable("node-0", 7, 8)


@pytest.mark.parametrize("engine", ["pbft", "raft"])
def test_seeds_from_before_ask_for_nothing(engine: Engine) -> None:
    """So that a seed that failed once plays again what failed."""
    before = [plan_of(seed, engine) for seed in (1, 2_001, 10_000, 20_003, ASKING_FROM - 1)]
    assert not any(plan.quorum_read_every_ms or plan.hand_over_every_ms for plan in before)
    after = [plan_of(seed, engine) for seed in range(ASKING_FROM, ASKING_FROM + 10)]
    assert all(plan.quorum_read_every_ms for plan in after)
    assert {plan.hand_over_every_ms for plan in after} == {0, 300, 1_000}
