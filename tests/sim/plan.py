"""What one seed plays: every number drawn from the seed, so that a seed is a whole network with its own weather.

Swarm testing (TigerBeetle's VOPR, FoundationDB's Buggify): a run has few faults at high intensity rather than all of them a
little, and the tuning constants are drawn too: small blocks, short views and a pipeline of one make rare paths common.
"""

from dataclasses import dataclass
from random import Random

from tallystick.network.proofs.certificates import faults_of
from tallystick.network.wire.genesis import Parameters

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

CRASH_POINTS = (
    "now",
    "before the batch",
    "after the database",
    "after the guard",
)
"""Where a crash falls: between two steps, or at one of the boundaries of a step's durability."""


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
    fault_every_ms: int
    submissions_every_ms: int
    bodies_per_submission: int
    chaos_ms: int
    bad_share: float
    """The part of submissions that is wrong on purpose."""
    retry_ms: int
    validity_ms: tuple[int, int]


def plan_of(seed: int) -> Plan:
    """Everything that the seed decides before the run begins."""
    draw = Random(f"plan/{seed}")
    members = draw.choice((4, 4, 4, 4, 4, 4, 5, 5, 7, 1))
    hostile = _hostile(draw, seed, members)
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
        for fault in ("crash", "pause", "partition", "blackout", "slow-disk", "clock-jump")
        if draw.random() < (0.3 if fault in {"blackout", "clock-jump"} else 0.5)
    )
    return Plan(
        seed=seed,
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
        fault_every_ms=draw.choice((300, 800, 2_000)),
        submissions_every_ms=draw.choice((10, 40, 150)),
        bodies_per_submission=draw.choice((1, 2, 6)),
        chaos_ms=draw.choice((3_000, 5_000, 8_000)),
        bad_share=draw.choice((0.1, 0.3, 0.6)),
        retry_ms=draw.choice((100, 500, 2_000)),
        validity_ms=draw.choice(((200, 2_000), (1_000, 4_000), (3_000, 4_000))),
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
