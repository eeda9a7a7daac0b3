"""Metrics in a registry of this node's own, and JSON logs. Both cost nothing per transaction.

Numbers that the core already keeps are read when somebody scrapes (`watch`); only what has no other home is counted here.
The core's trace says what was decided: an event with the facts `settled` (int) and `rejected` ({code: int}) is a block.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tallystick.node.core.effects import TraceEvent
from tallystick.node.runtime.disk_writer import Written
from tallystick.node.runtime.redaction import plain
from tallystick.node.runtime.verifiers import CheckCounters

Reading = float | Mapping[str, float]
"""One number, or one for each value of a label."""

_SYNC_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)


class Telemetry:
    """What this process counts. One for each node, so that four nodes fit into one test process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._pulled = _Pulled()
        self.registry.register(self._pulled)
        ProcessCollector(registry=self.registry)
        self._settled = self._counter("settled", "Transactions settled in certified blocks.")
        self._rejected = Counter(
            "tallystick_rejected",
            "Transactions whose receipt says no.",
            ["reason"],
            registry=self.registry,
        )
        self._written = self._counter("batches", "Batches of the core made durable.")
        self._syncs = Histogram(
            "tallystick_sync_seconds",
            "One group commit: database and guard, synced.",
            buckets=_SYNC_BUCKETS,
            registry=self.registry,
        )

    def watch(
        self,
        name: str,
        documentation: str,
        read: Callable[[], Reading],
        label: str = "",
        kind: str = "gauge",
    ) -> None:
        """Read a number at every scrape. `kind` is "gauge" or "counter"; with `label`, `read` gives {value: number}."""
        self._pulled.add(f"tallystick_{name}", documentation, read, label, kind)

    def watch_checks(self, counters: CheckCounters) -> None:
        """The verifiers' counters, by which the bench divides."""
        for name, documentation, read in (
            ("checked", "Bodies checked.", lambda: counters.checked_total),
            ("check_cpu_seconds", "CPU of body checks.", lambda: counters.check_cpu_seconds),
            ("sampled_signatures", "Signature checks timed alone.", lambda: counters.sampled_total),
            (
                "sampled_signature_cpu_seconds",
                "CPU of the signature checks timed alone.",
                lambda: counters.sampled_cpu_seconds,
            ),
        ):
            self.watch(name, documentation, read, kind="counter")

    def on_trace(self, event: TraceEvent) -> None:
        """Count what a block decided."""
        settled = event.facts.get("settled")
        if isinstance(settled, int):
            self._settled.inc(settled)
        rejected = event.facts.get("rejected")
        if isinstance(rejected, Mapping):
            for code, count in rejected.items():
                self._rejected.labels(str(code)).inc(count)

    def on_written(self, written: Written) -> None:
        self._written.inc(len(written.tokens))
        self._syncs.observe(written.sync_seconds)

    def exposition(self) -> bytes:
        """The text of `/metrics`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, documentation: str) -> Counter:
        return Counter(f"tallystick_{name}", documentation, registry=self.registry)


class _Pulled(Collector):
    """Metrics that are read when scraped."""

    def __init__(self) -> None:
        self._sources: list[tuple[str, str, Callable[[], Reading], str, str]] = []

    def add(self, *source: *tuple[str, str, Callable[[], Reading], str, str]) -> None:
        self._sources.append(source)

    def collect(self) -> Iterator[Metric]:
        for name, documentation, read, label, kind in self._sources:
            family: CounterMetricFamily | GaugeMetricFamily
            labels = [label] if label else None
            if kind == "counter":
                family = CounterMetricFamily(name, documentation, labels=labels)
            else:
                family = GaugeMetricFamily(name, documentation, labels=labels)
            reading = read()
            if isinstance(reading, Mapping):
                for value, number in reading.items():
                    family.add_metric([value], number)
            else:
                family.add_metric([], reading)
            yield family


def configure_logging(node: str, level: str = "info", stream: TextIO | None = None) -> None:
    """JSON lines to `stream` (standard error), ours and the libraries', every one redacted."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    render = structlog.processors.JSONRenderer()
    target = stream or sys.stderr
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(node=node)
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))


def _redacted(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    kept = {key: event.pop(key) for key in ("_record", "_from_structlog") if key in event}
    shown = plain(event)
    return {**shown, **kept} if isinstance(shown, dict) else kept
