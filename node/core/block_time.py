"""Is a fresh proposal's time believable to my clock? (architecture: block time)

A time slightly ahead waits; one too far behind is refused, judged by the clock when the proposal was first seen, so that slow
bodies never make an honest leader late. The rule is relaxed by the views since the last certificate, so a slow clock cannot
stop the network for good. Carried-over blocks are exempt: the caller does not ask.
"""

from tallystick.network.wire.genesis import Parameters


def stamp(now_ms: int, parent_time_ms: int) -> int:
    """What a leader writes: its clock, but never before the parent."""
    return max(now_ms, parent_time_ms)


def believable_at(time_ms: int, parameters: Parameters) -> int:
    """The clock reading from which `time_ms` is not too far ahead (inclusive)."""
    return time_ms - parameters.precision_ms


def too_late(time_ms: int, first_seen_ms: int, view_age: int, parameters: Parameters) -> bool:
    """Was the block made too long before it was seen? Inclusive: exactly `late_ms` is still good."""
    return time_ms < first_seen_ms - parameters.late_ms * (1 + max(0, view_age))
