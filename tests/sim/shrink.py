"""Smaller plans that still break the same invariant: fewer faults, fewer members, shorter chaos, nobody hostile.

A seed stays a seed: a smaller plan is the seed's plan with some changes, each a short text that `./scripts/replay` takes, so that
the smallest one can be played again by everybody. Greedy: a change is kept if the same invariant still breaks.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.sim.plan import Plan
from tests.sim.run import run_seed

CALM_WEATHER = ("loss", "duplication", "reorder")

TRIALS_MAX = 40
"""Runs that one shrinking may take: at most a few minutes."""


def smaller(plan: Plan, change: str) -> Plan:
    """The plan with one change: `members=4`, `chaos=1000` (ms), `without=FAULT`, `no-hostile`, `no-observer`, `no-loss`,
    `no-duplication`, `no-reorder`, `no-bad` (every submission right), `changes=1` (only the first change of members). `ValueError` for another text."""
    name, _, value = change.partition("=")
    match name:
        case "members":
            return _with_members(plan, int(value))
        case "chaos":
            return replace(plan, chaos_ms=int(value))
        case "changes":
            return replace(plan, changes=plan.changes[: int(value)])
        case "without":
            return replace(plan, faults=tuple(each for each in plan.faults if each != value))
        case "no-hostile":
            return replace(plan, hostile={})
        case "no-observer":
            return replace(plan, observer=False)
        case "no-bad":
            return replace(plan, bad_share=0.0)
        case "no-loss":
            return replace(plan, weather=replace(plan.weather, loss=0.0))
        case "no-duplication":
            return replace(plan, weather=replace(plan.weather, duplication=0.0))
        case "no-reorder":
            return replace(plan, weather=replace(plan.weather, reorder=0.0))
    raise ValueError(f"no such change: {change}")


def changed(plan: Plan, changes: tuple[str, ...]) -> Plan:
    for change in changes:
        plan = smaller(plan, change)
    return plan


def _with_members(plan: Plan, members: int) -> Plan:
    """Whoever was hostile and is left stays so, but no more of them than the network bears."""
    fewer = replace(plan, members=members)
    left = [node for node in sorted(plan.hostile) if node < members]
    return replace(fewer, hostile={node: plan.hostile[node] for node in left[: fewer.faults_max]})


def _offers(plan: Plan) -> Iterator[str]:
    """Changes worth a try, the greatest first."""
    if plan.hostile:
        yield "no-hostile"
    yield from (f"changes={fewer}" for fewer in range(len(plan.changes)))
    yield from (f"without={fault}" for fault in plan.faults)
    least = 4 if plan.engine == "pbft" else 3
    if plan.members > least:
        yield f"members={least}"
    for part in (4, 2):
        if plan.chaos_ms // part >= 500:
            yield f"chaos={plan.chaos_ms // part}"
    if plan.observer:
        yield "no-observer"
    if plan.bad_share:
        yield "no-bad"
    for name in CALM_WEATHER:
        if getattr(plan.weather, name):
            yield f"no-{name}"


def _breaks(plan: Plan) -> str | None:
    """The invariant that a plan breaks, if any."""
    violation = run_seed(plan.seed, plan=plan).violation
    return None if violation is None else violation.invariant


def shrink(
    plan: Plan, invariant: str, breaks: Callable[[Plan], str | None] = _breaks
) -> tuple[str, ...]:
    """Changes after which the plan still breaks `invariant`; none of those that were tried and left out may be added alone."""
    kept: list[str] = []
    trials = 0
    progress = True
    while progress:
        progress = False
        for change in _offers(plan):
            if trials == TRIALS_MAX:
                return tuple(kept)
            trials += 1
            attempt = smaller(plan, change)
            if breaks(attempt) == invariant:
                plan, progress = attempt, True
                kept.append(change)
                break
    return tuple(kept)


def replay_command(plan: Plan, changes: tuple[str, ...] = ()) -> str:
    """What plays it again."""
    engine = "" if plan.engine == "pbft" else f" --engine {plan.engine}"
    return f"./scripts/replay {plan.seed}{engine}" + "".join(f" --with {each}" for each in changes)
