"""What goes wrong, when, and for how long. Draws one fault after the other from those that the plan allows, then heals all.

A crash may fall at any boundary of a step's durability; everybody comes back with what was durable. Only clocks stay wrong; one that is
set back stands still for its node, whose clock is monotone.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from tests.sim.net import Net, Pair
from tests.sim.plan import LATER_CRASH_POINTS, Plan


class Victims(Protocol):
    """What the nemesis may do to the world."""

    @property
    def net(self) -> Net: ...

    @property
    def host_names(self) -> list[str]:
        """All hosts, whether they run or not."""
        ...

    @property
    def nodes(self) -> list[int]: ...

    def arm_crash(
        self, name: str, point: str, back_after_ms: int, tear_at: float = 0.5
    ) -> None: ...

    def pause(self, name: str, for_ms: int) -> None: ...

    def cut(self, pairs: set[Pair], noticed: bool, for_ms: int) -> None: ...

    def slow_disk(self, name: str, factor: int, for_ms: int) -> None: ...

    def clock_jump(self, name: str, by_ms: int) -> None:
        """Forward, or back with a negative number: a monotone clock stands still then."""
        ...

    def fail_read(self, name: str, back_after_ms: int) -> None: ...

    def fail_write(self, name: str, kept: bool, back_after_ms: int) -> None: ...

    def fill_disk(self, name: str, for_ms: int, back_after_ms: int) -> None: ...

    def roll_back_disk(self, name: str, after_ms: int) -> None: ...

    def swizzle(self, order: list[int], noticed: bool, step_ms: int, hold_ms: int) -> None: ...


@dataclass(slots=True)
class Nemesis:
    plan: Plan
    draw: Random
    victims: Victims
    struck: dict[str, int] = field(default_factory=dict)
    """How often it did what."""

    def strike(self) -> None:
        """One fault."""
        if not self.plan.faults:
            return
        draw, victims = self.draw, self.victims
        name = draw.choice(victims.host_names)
        fault = draw.choice(self.plan.faults)
        self.count(fault)
        match fault:
            case "crash":
                point = draw.choice(self.plan.crash_points)
                self.count(f"crash: {point}")
                back_after_ms = draw.choice((1, 50, 400, 2_000))
                tear_at = draw.random() if point in LATER_CRASH_POINTS else 0.5
                victims.arm_crash(name, point, back_after_ms, tear_at)
            case "blackout":
                for each in victims.host_names:
                    victims.arm_crash(each, "now", draw.randint(1, 300))
            case "pause":
                victims.pause(name, draw.choice((50, 300, 1_500)))
            case "partition":
                victims.cut(self.pairs(draw), draw.random() < 0.5, draw.choice((100, 700, 2_500)))
            case "slow-disk":
                victims.slow_disk(name, draw.choice((5, 30)), draw.choice((300, 1_500)))
            case "clock-jump":
                victims.clock_jump(name, draw.randint(1, self.plan.parameters.precision_ms // 2))
            case _:
                self._strike_later(fault, name)

    def _strike_later(self, fault: str, name: str) -> None:
        """What the second stream adds."""
        draw, victims = self.draw, self.victims
        back_after_ms = draw.choice((1, 50, 400, 2_000))
        match fault:
            case "read-error":
                victims.fail_read(name, back_after_ms)
            case "write-error":
                victims.fail_write(name, draw.random() < 0.5, back_after_ms)
            case "full-disk":
                victims.fill_disk(name, draw.choice((300, 1_500)), back_after_ms)
            case "rolled-back-disk":
                victims.roll_back_disk(name, draw.choice((100, 500, 2_000)))
            case "clock-back":
                victims.clock_jump(name, -draw.randint(1, self.plan.parameters.precision_ms))
            case "swizzle":
                order = list(victims.nodes)
                draw.shuffle(order)
                chosen = order[: draw.randint(1, len(order))]
                step_ms, hold_ms = draw.choice((20, 100, 400)), draw.choice((100, 700))
                victims.swizzle(chosen, draw.random() < 0.5, step_ms, hold_ms)
            case _:
                raise ValueError(fault)

    def pairs(self, draw: Random) -> set[Pair]:
        """A cut of some shape. Where the shape has a choice of its own, the net draws it."""
        net, nodes = self.victims.net, self.victims.nodes
        shape = draw.choice(self.plan.shapes)
        self.count(f"partition: {shape}")
        match shape:
            case "isolate":
                return net.isolate(draw.choice(nodes), nodes)
            case "halves":
                return net.halves(nodes)
            case "bridge":
                return net.bridge(nodes)
            case "ring":
                return net.ring(nodes)
            case _:
                return net.one_way(nodes)

    def count(self, what: str) -> None:
        self.struck[what] = self.struck.get(what, 0) + 1
