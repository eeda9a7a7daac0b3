"""What goes wrong, when, and for how long. Draws one fault after the other from those that the plan allows, then heals all.

A crash may fall at any boundary of a step's durability; everybody comes back with what was durable. Only clocks stay wrong.
"""

from dataclasses import dataclass
from random import Random
from typing import Protocol

from tests.sim.net import Net, Pair
from tests.sim.plan import Plan


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

    def arm_crash(self, name: str, point: str, back_after_ms: int) -> None: ...

    def pause(self, name: str, for_ms: int) -> None: ...

    def cut(self, pairs: set[Pair], noticed: bool, for_ms: int) -> None: ...

    def slow_disk(self, name: str, factor: int, for_ms: int) -> None: ...

    def clock_jump(self, name: str, by_ms: int) -> None: ...


@dataclass(slots=True)
class Nemesis:
    plan: Plan
    draw: Random
    victims: Victims

    def strike(self) -> None:
        """One fault."""
        if not self.plan.faults:
            return
        draw, victims = self.draw, self.victims
        name = draw.choice(victims.host_names)
        match draw.choice(self.plan.faults):
            case "crash":
                point = draw.choice(self.plan.crash_points)
                victims.arm_crash(name, point, draw.choice((1, 50, 400, 2_000)))
            case "blackout":
                for each in victims.host_names:
                    victims.arm_crash(each, "now", draw.randint(1, 300))
            case "pause":
                victims.pause(name, draw.choice((50, 300, 1_500)))
            case "partition":
                victims.cut(self._pairs(), draw.random() < 0.5, draw.choice((100, 700, 2_500)))
            case "slow-disk":
                victims.slow_disk(name, draw.choice((5, 30)), draw.choice((300, 1_500)))
            case _:
                victims.clock_jump(name, draw.randint(1, self.plan.parameters.precision_ms // 2))

    def _pairs(self) -> set[Pair]:
        net, nodes = self.victims.net, self.victims.nodes
        match self.draw.randrange(4):
            case 0:
                return net.isolate(self.draw.choice(nodes), nodes)
            case 1:
                return net.halves(nodes)
            case 2:
                return net.bridge(nodes)
            case _:
                return net.one_way(nodes)
