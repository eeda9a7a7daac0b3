"""A random walk of a cluster: loss, duplication, reorder, partitions, and crashes that lose unsynced effects; then calm.

Every constant is drawn per seed (members, pipeline, entries per append, how often what happens): some bugs show only where a
bound is 1. Afterwards the faults stop, and everybody must come to one height that grows.
"""

from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from tallystick.consensus.api import HandOver, Timing, Verdict
from tallystick.consensus.raft.state import Tuning
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.owner import hold

STEPS = 1_200


@dataclass(frozen=True, slots=True)
class Outcome:
    digest: str
    height: int
    terms: int
    epochs: int
    again: int
    """How often a closing block was taken again under a later term."""
    crashes: int
    truncations: int
    reads: int


def walk(seed: int, steps: int = STEPS, closes: tuple[int, ...] = ()) -> Outcome:
    """Raises `Broken` when an invariant does not hold, or when calm brings no progress. `closes`: see `Cluster`."""
    draw = Random(f"raft/{seed}")
    members = draw.choice((1, 2, 3, 3, 3, 4, 5, 5))
    timing = Timing(draw.choice((60, 200, 400)), 1_600, draw.choice((50, 2_000)))
    cluster = Cluster(
        members,
        seed=seed,
        pipeline=draw.choice((1, 2, 4)),
        tuning=Tuning(draw.choice((1, 1, 2, 8))),
        timing=timing,
        closes=closes,
    )
    slow = draw.choice((0.0, 0.1, 0.5))
    cluster.judgement = lambda node, judge: None if draw.random() < slow else Verdict.ACCEPT
    rates = {
        "deliver": 40,
        "sync": 25,
        "time": draw.choice((3, 10, 20)),
        "judge": 8,
        "work": 8,
        "lose": draw.choice((0, 0, 2, 6)),
        "twice": draw.choice((0, 2, 6)),
        "crash": draw.choice((0, 1, 3)),
        "restart": 3,
        "cut": draw.choice((0, 0, 1)),
        "heal": 1,
        "fetch": 3,
        "run": draw.choice((2, 6)),
        "expire": draw.choice((0, 1, 2)),
        "isolate": draw.choice((0, 0, 1)),
        "read": draw.choice((0, 2)),
        "transfer": draw.choice((0, 0, 1)),
    }
    actions, weights = list(rates), list(rates.values())
    for _ in range(steps):
        act(cluster, draw, draw.choices(actions, weights)[0])
    return calm(cluster)


def act(cluster: Cluster, draw: Random, action: str) -> None:
    node = draw.choice(cluster.ids)
    member, wires = cluster.members[node], cluster.wires
    match action:
        case "deliver" if wires:
            # Mostly the oldest, sometimes any: links keep order, members do not.
            cluster.deliver(wires[0] if draw.random() < 0.6 else draw.choice(wires))
        case "twice" if wires:
            cluster.deliver(draw.choice(wires), keep=True)
        case "lose" if wires:
            wires.remove(draw.choice(wires))
        case "sync" if member.up:
            cluster.sync(node, draw.choice((1, 1, 9)))
        case "judge" if member.up:
            cluster.judge_now(node)
        case "work" if member.up:
            cluster.work(node, draw.choice((1, 12)))
        case "crash" if member.up:
            cluster.crash(node, draw.randint(0, len(member.steps)))
        case "restart" if not member.up:
            cluster.restart(node)
        case "cut":
            if draw.random() < 0.5 and len(cluster.ids) > 1:
                cluster.cut_link(node, (node + 1) % len(cluster.ids), both=draw.random() < 0.5)
            else:
                cluster.partition(*_sides(cluster, draw))
        case "heal":
            cluster.partition()
        case "fetch" if member.up and len(cluster.ids) > 1:
            cluster.catch_up(node, draw.choice([peer for peer in cluster.ids if peer != node]))
        case "run":
            for _ in range(draw.randint(5, 60)):
                act(cluster, draw, draw.choice(("deliver", "deliver", "sync", "judge")))
        case "expire" if member.up:
            # Everybody lost the leader at once, and this one is the first to notice.
            for other in cluster.members.values():
                other.state.clock.forget_leader()
            member.state.clock.deadline_ms = cluster.now_ms
            cluster.tick()
        case "read" if member.up:
            cluster.read(node)
        case "transfer" if member.up:
            cluster.feed(node, HandOver())
        case "isolate":
            leader = cluster.leader
            if leader is not None:
                cluster.partition({leader}, set(cluster.ids) - {leader})
        case "time":
            # Either a little, or to the next moment at which anybody wakes up.
            wakes = [m.engine.deadline_ms for m in cluster.members.values() if m.up]
            ahead_ms = max(0, min(wakes, default=0) - cluster.now_ms)
            cluster.tick(draw.choice((1, 5, 20, ahead_ms, ahead_ms)))
        case _:
            pass


def _sides(cluster: Cluster, draw: Random) -> tuple[Collection[int], Collection[int]]:
    one = {node for node in cluster.ids if draw.random() < 0.5}
    return one, set(cluster.ids) - one


def calm(cluster: Cluster) -> Outcome:
    """All faults stop: within a bound everybody stands at one height, at least three blocks on."""
    cluster.judgement = lambda node, judge: Verdict.ACCEPT
    cluster.partition()
    crashes = sum(not member.up for member in cluster.members.values())
    for node in cluster.ids:
        if not cluster.members[node].up:
            cluster.restart(node)
        cluster.judge_now(node)
    goal = max(cluster.heights()) + 3
    until_ms = cluster.now_ms + 30_000
    while min(cluster.heights()) < goal:
        hold(cluster.now_ms < until_ms, f"no progress in calm: {report(cluster)}")
        leader = cluster.leader
        if leader is not None and not cluster.members[leader].pool:
            cluster.work(leader)
        cluster.settle(20)
        for node in cluster.ids:
            cluster.judge_now(node)
    links = {cluster.members[node].final[goal - 1].link for node in cluster.ids}
    hold(len(links) == 1, "members ended on different blocks")
    notes = [note.name for member in cluster.members.values() for note in member.notes]
    alarms = [alarm for member in cluster.members.values() for alarm in member.alarms]
    hold(not alarms, f"an alarm without a fault that deserves it: {alarms}")
    return Outcome(
        cluster.trace.hexdigest(),
        min(cluster.heights()),
        max(member.state.term for member in cluster.members.values()),
        min(member.epoch for member in cluster.members.values()),
        notes.count("take-again"),
        crashes,
        notes.count("truncate"),
        cluster.checks.answered,
    )


def report(cluster: Cluster) -> str:
    return "; ".join(
        f"{node}: {member.engine.status()} log={member.state.log.last_height}"
        f" commit={member.state.commit} behind={member.behind is not None} {member.alarms}"
        for node, member in cluster.members.items()
    )
