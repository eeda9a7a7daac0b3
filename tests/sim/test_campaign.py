"""A failing plan is made smaller and can be played again; a campaign counts every seed once and forgets the rest."""

import json
from dataclasses import replace

import pytest

from tests.sim.campaign import Campaign, Told, play, tell
from tests.sim.plan import FAULTS, LATER_FAULTS, Engine, Plan, plan_of
from tests.sim.run import run_seed
from tests.sim.shrink import TRIALS_MAX, changed, replay_command, shrink, smaller


def with_everything() -> Plan:
    plan = replace(plan_of(2), members=7, faults=FAULTS, observer=True, hostile={5: "silent"})
    return replace(plan, weather=replace(plan.weather, loss=0.1, reorder=0.1), chaos_ms=8_000)


def test_only_what_the_failure_needs_is_left() -> None:
    tried: list[Plan] = []

    def breaks(plan: Plan) -> str | None:
        tried.append(plan)
        return "I2" if {"pause", "crash"} <= set(plan.faults) and plan.weather.loss else None

    plan = with_everything()
    left = changed(plan, shrink(plan, "I2", breaks))
    assert set(left.faults) == {"pause", "crash"}
    assert (left.members, left.hostile, left.observer, left.bad_share) == (4, {}, False, 0.0)
    assert left.chaos_ms < 1_000
    assert left.weather.loss == 0.1
    assert not left.weather.reorder
    assert len(tried) <= TRIALS_MAX


def test_another_invariant_is_another_failure() -> None:
    assert shrink(with_everything(), "I2", lambda _plan: "I14") == ()


def test_the_command_plays_the_smaller_plan() -> None:
    plan = plan_of(4, "raft")
    changes = ("without=pause", "members=3")
    command = replay_command(plan, changes)
    assert command == "./scripts/replay 4 --engine raft --with without=pause --with members=3"
    with pytest.raises(ValueError, match="no such change"):
        smaller(plan, "faster")


@pytest.mark.parametrize("engine", ["pbft", "raft"])
def test_a_smaller_plan_can_be_played(engine: Engine) -> None:
    changes = ("no-hostile", "chaos=1000", "no-loss", "no-bad", "no-observer")
    plan = changed(plan_of(3, engine), changes)
    result = run_seed(3, plan=plan)
    assert result.violation is None
    assert result.height > 3


def test_a_campaign_plays_each_seed_once_and_in_order() -> None:
    campaign = Campaign("raft")
    for told in play("raft", range(30, 34), None, jobs=1):
        campaign.add(told)
    assert (campaign.first, campaign.last, campaign.seeds) == (30, 33, 4)
    assert campaign.failures == []
    report = json.loads(campaign.report())
    assert report["seeds"] == 4
    assert report["events"] == sum(tell("raft", seed).events for seed in range(30, 34))
    assert report["virtual_hours"] > 0
    assert set(campaign.faults) & {*FAULTS, *LATER_FAULTS, "loss", "reorder", "duplication"}
    assert "F21" in campaign.summary()


def test_a_failure_is_told_by_seed_and_invariant() -> None:
    campaign = Campaign("pbft")
    campaign.add(Told(7, 10, 1_000, 3, {"crash": 2}))
    campaign.add(Told(8, 10, 1_000, 3, {"crash": 1}, "I2", "two blocks"))
    assert campaign.failures == [(8, "I2")]
    assert "- 8: I2" in campaign.summary()
    assert campaign.rows == ["F1"]
