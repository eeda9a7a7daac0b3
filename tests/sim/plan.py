"""What one seed plays: every number drawn from the seed, so that a seed is a whole network with its own weather.

Swarm testing (TigerBeetle's VOPR, FoundationDB's Buggify): a run has few faults at high intensity rather than all of them a
little, and the tuning constants are drawn too: small blocks, short views and a pipeline of one make rare paths common.

Seeds of PBFT below `LATER_FROM` play what they always played. From there on, and in every seed of Raft, a second stream adds
the later faults: torn and failing writes, a full disk, disks set back, clocks set back, rings and swizzles.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from tallystick.network.proofs.certificates import crashes_of, faults_of, majority_of, quorum_of
from tallystick.network.wire.genesis import Parameters
from tests.sim.changes import MemberChange, drawn

Engine = Literal["pbft", "raft"]

EPOCH_MS = 1_764_000_000_000
"""What an exact clock shows when a run begins."""

HOSTILE = (
    "wrong-clock-ahead",
    "wrong-clock-behind",
    "frozen-clock",
    "wrong-link",
    "twins",
    "amnesia",
    "liar-in-catch-up",
    "garbage",
    "stuffer",
    "withholder",
    "selective",
    "silent",
)
"""What an arbitrary member does; see `hostile`."""

SET_BACK = "set-back"
"""A correct member whose whole machine, guard and database, is restored from an older copy while it runs: it forgets what it
signed, and cannot know unless its peers tell it. They may have been restarted too, so it counts among the arbitrary ones (and only in PBFT: Raft does not survive it)."""

FAULTS = ("crash", "pause", "partition", "blackout", "slow-disk", "clock-jump")

LATER_FAULTS = (
    "read-error",
    "write-error",
    "full-disk",
    "rolled-back-disk",
    "clock-back",
    "swizzle",
)
"""Only where the second stream draws them."""

LATER_FROM = 10_000
"""The first seed of PBFT that draws from the second stream."""

ASKING_FROM = 40_000
"""The first seed of either engine in which readers ask for quorum reads and operators for hand-overs: a third stream."""

CHANGING_FROM = 2_000_000
"""The first seed of either engine in which members change in the middle of chaos, in three of four runs: a fourth stream."""

BANKS = 3
"""Participants of every simulated network; bank of member n: n mod 3."""

SHAPES = ("isolate", "halves", "bridge", "one-way")
"""Of a partition."""

CRASH_POINTS = (
    "now",
    "before the batch",
    "after the database",
    "after the guard",
)
"""Where a crash falls: between two steps, or at one of the boundaries of a step's durability."""

LATER_CRASH_POINTS = ("torn batch", "torn guard")
"""In the middle of a write: of several batches some are whole and one is torn, which drops it; a torn record of the guard."""


@dataclass(frozen=True, slots=True)
class Weather:
    """The network between nodes. Probabilities per frame, times in milliseconds."""

    loss: float
    duplication: float
    reorder: float
    delay_ms_min: int
    delay_ms_mean: int


FAIR = Weather(0.0, 0.0, 0.0, 1, 2)


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    engine: Engine
    members: int
    real_keys: bool
    observer: bool
    parameters: Parameters
    weather: Weather
    disk_ms: tuple[int, int]
    """A write takes this long, from and to."""
    check_ms: tuple[int, int]
    """So does the check of some bodies."""
    clock_offset_ms: dict[int, int]
    clock_drift_ppm: dict[int, int]
    hostile: dict[int, str]
    """Arbitrary members, at most f."""
    faults: tuple[str, ...]
    """What the nemesis may do in this run."""
    crash_points: tuple[str, ...]
    shapes: tuple[str, ...]
    """What a partition may look like."""
    fault_every_ms: int
    submissions_every_ms: int
    bodies_per_submission: int
    chaos_ms: int
    bad_share: float
    """The part of submissions that is wrong on purpose."""
    retry_ms: int
    validity_ms: tuple[int, int]
    quorum_read_every_ms: int = 0
    """About so often a reader asks a member to be sure that it is not behind; 0: never."""
    hand_over_every_ms: int = 0
    """About so often an operator asks the leader to hand over; 0: never."""
    changes: tuple[MemberChange, ...] = ()
    """Of the members, in the middle of chaos."""

    @property
    def quorum(self) -> int:
        return majority_of(self.members) if self.engine == "raft" else quorum_of(self.members)

    @property
    def newcomers(self) -> tuple[int, ...]:
        """Nodes that no epoch names yet."""
        return tuple(node for change in self.changes for node in change.ids)

    @property
    def faults_max(self) -> int:
        """So many members may fail: arbitrarily (PBFT), or by crashes only (Raft)."""
        return crashes_of(self.members) if self.engine == "raft" else faults_of(self.members)


def plan_of(seed: int, engine: Engine = "pbft") -> Plan:
    """Everything that the seed decides before the run begins."""
    plan = _plan_of(seed, engine)
    if seed >= ASKING_FROM:
        plan = _asking(plan)
    return plan if seed < CHANGING_FROM else _changing(plan)


def _asking(plan: Plan) -> Plan:
    draw = Random(f"plan/asking/{plan.engine}/{plan.seed}")
    every_ms, hand_over_ms = draw.choice((30, 100, 400)), draw.choice((0, 300, 1_000))
    return replace(plan, quorum_read_every_ms=every_ms, hand_over_every_ms=hand_over_ms)


def _changing(plan: Plan) -> Plan:
    """Three of four runs change their members. One that could not let a member go begins with four (PBFT) or three."""
    draw = Random(f"plan/changes/{plan.engine}/{plan.seed}")
    if draw.random() < 0.25:
        return plan
    members = max(plan.members, 4 if plan.engine == "pbft" else 3)
    chaos_ms = max(plan.chaos_ms, 4_000)
    changes = drawn(draw, members, BANKS, chaos_ms)
    plan = replace(plan, members=members, chaos_ms=chaos_ms, changes=changes)
    nodes, half = (*range(members), *plan.newcomers), plan.parameters.precision_ms // 2
    offsets = {node: draw.randint(-half, half) for node in nodes} | plan.clock_offset_ms
    drifts = {node: draw.randint(-200, 200) for node in nodes} | plan.clock_drift_ppm
    return replace(plan, clock_offset_ms=offsets, clock_drift_ppm=drifts)


def _plan_of(seed: int, engine: Engine) -> Plan:
    if engine == "raft":
        draw = Random(f"plan/raft/{seed}")
        members = draw.choice((3, 3, 3, 3, 5, 5, 5, 1, 4, 7))
        return _later(_drawn(draw, seed, engine, members, {}))
    draw = Random(f"plan/{seed}")
    members = draw.choice((4, 4, 4, 4, 4, 4, 5, 5, 7, 1))
    plan = _drawn(draw, seed, engine, members, _hostile(draw, seed, members))
    return plan if seed < LATER_FROM else _later(plan)


def _drawn(draw: Random, seed: int, engine: Engine, members: int, hostile: dict[int, str]) -> Plan:
    """The first stream: weather, constants, clients, and the faults that were there from the beginning."""
    parameters = Parameters(
        max_validity_ms=draw.choice((4_000, 20_000, 600_000)),
        window_ms=draw.choice((1_000, 2_000, 4_000)),
        precision_ms=draw.choice((50, 500)),
        late_ms=draw.choice((500, 5_000)),
        idle_block_ms=draw.choice((150, 300, 600)),
        view_timeout_ms=draw.choice((150, 300, 600)),
        view_timeout_ms_max=draw.choice((600, 1_200, 2_000)),
        pipeline=draw.choice((1, 1, 2, 2, 4)),
        block_transactions_max=draw.choice((1, 3, 8, 50, 2_000)),
        block_work_max=draw.choice((30, 200, 40_000)),
    )
    calm = draw.random() < 0.1
    weather = Weather(
        loss=0.0 if calm else draw.choice((0.0, 0.0, 0.01, 0.05, 0.2)),
        duplication=draw.choice((0.0, 0.0, 0.05, 0.3)),
        reorder=draw.choice((0.0, 0.0, 0.1, 0.5)),
        delay_ms_min=draw.choice((0, 1, 5)),
        delay_ms_mean=draw.choice((1, 3, 10, 40)),
    )
    half = parameters.precision_ms // 2
    offsets = {node: draw.randint(-half, half) for node in range(members)}
    faults = tuple(
        fault
        for fault in FAULTS
        if draw.random() < (0.3 if fault in {"blackout", "clock-jump"} else 0.5)
    )
    return Plan(
        seed=seed,
        engine=engine,
        members=members,
        real_keys=seed % 20 == 0,
        observer=draw.random() < 0.3,
        parameters=parameters,
        weather=weather,
        disk_ms=draw.choice(((0, 1), (1, 3), (2, 30))),
        check_ms=draw.choice(((0, 1), (0, 5), (0, 40))),
        clock_offset_ms=offsets,
        clock_drift_ppm={node: draw.randint(-200, 200) for node in range(members)},
        hostile=hostile,
        faults=() if calm else faults,
        crash_points=tuple(point for point in CRASH_POINTS if draw.random() < 0.6) or ("now",),
        shapes=SHAPES,
        fault_every_ms=draw.choice((300, 800, 2_000)),
        submissions_every_ms=draw.choice((10, 40, 150)),
        bodies_per_submission=draw.choice((1, 2, 6)),
        chaos_ms=draw.choice((3_000, 5_000, 8_000)),
        bad_share=draw.choice((0.1, 0.3, 0.6)),
        retry_ms=draw.choice((100, 500, 2_000)),
        validity_ms=draw.choice(((200, 2_000), (1_000, 4_000), (3_000, 4_000))),
    )


def _later(plan: Plan) -> Plan:
    """The second stream: each later fault in a third of the runs; now and then a member whose whole machine is set back."""
    draw = Random(f"plan/later/{plan.engine}/{plan.seed}")
    faults = tuple(fault for fault in LATER_FAULTS if draw.random() < 0.3)
    points = tuple(point for point in LATER_CRASH_POINTS if draw.random() < 0.4)
    ring = draw.random() < 0.5
    hostile = dict(plan.hostile)
    if plan.engine == "pbft" and len(hostile) < plan.faults_max and draw.random() < 0.3:
        hostile[draw.choice([node for node in range(plan.members) if node not in hostile])] = (
            SET_BACK
        )
    return replace(
        plan,
        faults=plan.faults + faults if plan.faults else (),
        crash_points=plan.crash_points + points,
        shapes=(*plan.shapes, "ring") if ring else plan.shapes,
        hostile=hostile,
    )


def _hostile(draw: Random, seed: int, members: int) -> dict[int, str]:
    """In two of five runs, up to f members are arbitrary; member 0 leads first, so it is often one of them."""
    faults = faults_of(members)
    if not faults or draw.random() < 0.6:
        return {}
    chosen = [0] if draw.random() < 0.5 else [draw.randrange(members)]
    if faults > 1 and draw.random() < 0.5:
        chosen.append((chosen[0] + draw.randrange(1, members)) % members)
    natures = {node: draw.choice(HOSTILE[:10]) for node in sorted(chosen)}
    # What was added later leaves the other seeds as they were.
    later = Random(f"natures/{seed}")
    return {
        node: later.choice((*HOSTILE[10:], "wrong-link")) if later.random() < 0.25 else nature
        for node, nature in natures.items()
    }
