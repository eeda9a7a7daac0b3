"""A member that leads and never orders one bank's payments (P28): the others leave it, and whatever was admitted settles. And
over whole histories with faults, nobody leaves a leader that is honest.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from tallystick.node.core.events import CheckedBody
from tallystick.node.core.mempool import Mempool
from tallystick.node.core.replica import Replica
from tests.sim.plan import Plan, plan_of
from tests.sim.run import run_seed

CENSORED = 1
"""The bank whose payments member 0 does not see."""


@dataclass
class CensoringPool:
    """Hides one bank's transactions from whoever makes blocks."""

    pool: Mempool

    def take(self, count: int, work: int) -> list[CheckedBody]:
        hidden = self.pool._banks.get(CENSORED)
        if hidden:
            self.pool.claim(list(hidden))
        return self.pool.take(count, work)


def censor_0(*parts: Any) -> Replica:
    core = Replica(*parts)
    if core.me == 0:
        core.proposing = replace(core.proposing, pool=CensoringPool(core.pool))  # type: ignore[arg-type]
    return core


def censored_plan(seed: int) -> Plan:
    """No other faults; views and payments live long enough for a leader to be found unfair."""
    plan = plan_of(seed)
    members = max(plan.members, 4)
    whole = plan if plan.members == members else plan_of(1)
    parameters = changed(
        whole.parameters,
        view_timeout_ms=3_000,
        view_timeout_ms_max=6_000,
        max_validity_ms=60_000,
        idle_block_ms=100,
        precision_ms=2_000,
        late_ms=10_000,
    )
    return replace(
        whole,
        seed=seed,
        hostile={0: "censor"},
        faults=(),
        parameters=parameters,
        validity_ms=(15_000, 20_000),
        chaos_ms=10_000,
    )


@pytest.mark.parametrize("seed", [9_001, 9_002, 9_004, 9_006])
def test_a_censored_bank_is_served_by_the_next_leader(seed: int) -> None:
    plan = censored_plan(seed)
    result = run_seed(seed, make_replica=censor_0, plan=plan, told=True)
    assert result.violation is None, result.violation
    unfair = [line for line in result.story if " unfair view=" in line]
    views = {int(line.partition("view=")[2].split()[0]) for line in unfair}
    assert {view % plan.members for view in views} == {0}, "an honest leader was called unfair"


@pytest.mark.parametrize("seed", range(9_101, 9_109))
def test_honest_leaders_are_never_called_unfair(seed: int) -> None:
    result = run_seed(seed, plan=replace(plan_of(seed), hostile={}))
    assert result.violation is None, result.violation
    assert result.noted.get("unfair", 0) == 0
