"""The network between nodes: delay, loss, duplication, reordering and cuts, for encoded frames only.

Between two nodes frames keep their order, as on a WebSocket, except for those that the weather lets overtake. A cut swallows
frames in one direction; whether the two ends notice is drawn by the nemesis.
"""

from dataclasses import dataclass, field
from random import Random

from tests.sim.plan import Weather

Pair = tuple[int, int]


@dataclass(slots=True)
class Net:
    draw: Random
    weather: Weather
    cut: set[Pair] = field(default_factory=set)
    """(from, to): nothing arrives."""
    _latest: dict[Pair, int] = field(default_factory=dict)
    """When the last frame in order arrives."""
    lost: int = 0

    def arrivals(self, sender: int, to: int, now_ms: int) -> list[int]:
        """When the frame arrives: never, once, or twice."""
        weather, draw = self.weather, self.draw
        if (sender, to) in self.cut or (weather.loss and draw.random() < weather.loss):
            self.lost += 1
            return []
        times = [self._arrival(sender, to, now_ms)]
        if weather.duplication and draw.random() < weather.duplication:
            times.append(now_ms + self._delay() + draw.randrange(200))
        return times

    def _arrival(self, sender: int, to: int, now_ms: int) -> int:
        at_ms = now_ms + self._delay()
        if self.weather.reorder and self.draw.random() < self.weather.reorder:
            return at_ms + self._delay()
        at_ms = max(at_ms, self._latest.get((sender, to), 0))
        self._latest[sender, to] = at_ms
        return at_ms

    def _delay(self) -> int:
        weather = self.weather
        return weather.delay_ms_min + int(self.draw.expovariate(1) * weather.delay_ms_mean)

    def isolate(self, node: int, nodes: list[int]) -> set[Pair]:
        """Cut one node off, both ways."""
        return {pair for other in nodes if other != node for pair in ((node, other), (other, node))}

    def halves(self, nodes: list[int]) -> set[Pair]:
        """Two groups of random size that do not hear each other."""
        left = {node for node in nodes if self.draw.random() < 0.5}
        return {(a, b) for a in nodes for b in nodes if a != b and (a in left) != (b in left)}

    def bridge(self, nodes: list[int]) -> set[Pair]:
        """Two halves that both hear one node in the middle."""
        middle = self.draw.choice(nodes)
        return {pair for pair in self.halves(nodes) if middle not in pair}

    def ring(self, nodes: list[int]) -> set[Pair]:
        """Each hears its two neighbours only."""
        order = list(nodes)
        self.draw.shuffle(order)
        count = len(order)
        place = {node: number for number, node in enumerate(order)}
        return {
            (a, b)
            for a in nodes
            for b in nodes
            if a != b and (place[a] - place[b]) % count not in (1, count - 1)
        }

    def one_way(self, nodes: list[int]) -> set[Pair]:
        """Some directions are dead, the way back is not."""
        return {(a, b) for a in nodes for b in nodes if a != b and self.draw.random() < 0.3}
