"""Counters of the HTTP interface and gauges of the node, for Prometheus. Labels are routes and codes, never clients' data."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tallystick.node.api.ports import StatusView

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """What is counted as requests pass."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "tallystick_http_requests",
            "Requests answered.",
            ("route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "tallystick_http_seconds",
            "Seconds from request head to answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.transactions = Counter(
            "tallystick_submitted_transactions",
            "Transactions submitted here, by the state reached or the reason given.",
            ("state", "reason"),
            registry=registry,
        )


class NodeGauges(Collector):
    """Reads the node's status when metrics are scraped: nothing is counted twice."""

    def __init__(self, status: Callable[[], StatusView], now_ms: Callable[[], int]) -> None:
        self._status = status
        self._now_ms = now_ms

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing at registration: the node may not have started."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        status = self._status()
        for name, meaning, value in (
            ("height", "Certified height.", status.height),
            ("view", "View of the consensus.", status.view),
            ("pool_transactions", "Transactions that wait to be ordered.", status.pool_size),
            ("blocks_in_flight", "Proposals that are not yet certified.", status.in_flight),
            ("peers_up", "Peers with an authenticated session.", len(status.peers_up)),
            ("block_age_seconds", "Age of the newest block.", self._block_age_s(status)),
            (
                "halted",
                "1 after a broken invariant or a safety alarm.",
                int(status.halted is not None),
            ),
        ):
            yield GaugeMetricFamily(f"tallystick_{name}", meaning, value=value)

    def _block_age_s(self, status: StatusView) -> float:
        return max(0, self._now_ms() - status.block_time_ms) / 1000
