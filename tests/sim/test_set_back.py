"""A whole machine is set back while the network runs: its peers know better, and it halts before it signs."""

from dataclasses import replace

from tests.sim.plan import FAIR, SET_BACK, plan_of
from tests.sim.run import Play
from tests.sim.world import World


def played() -> World:
    """A calm network in which member 2's machine is set back now and then; it stays down afterwards."""
    plan = replace(
        plan_of(3), members=4, hostile={2: SET_BACK}, faults=(), weather=FAIR, chaos_ms=6_000
    )
    play = Play(plan)
    play.chaos()
    play.calm()
    play.afterwards()
    return play.world


def test_a_machine_that_is_set_back_halts_before_it_signs() -> None:
    """The checker (`checkers.set_back`) would have raised at its first new signature."""
    world = played()
    assert world.set_back.binding > 0
    assert world.noted["alarm"] >= world.set_back.binding
    assert world.host("node-2").core is None
