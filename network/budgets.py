"""What one peer may cost us: bytes and frames for each channel, as data, and how much garbage before we part.

A peer above its rate is not dropped and not ignored: its socket is read later (back-pressure), which costs nobody but it.
Garbage is what no honest node sends: bytes that do not decode, a channel that its role does not have. Time is an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.network.wire.frames import Channel

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `per_second` flows in, `burst` is what it holds."""

    per_second: int
    burst: int


@dataclass(frozen=True, slots=True)
class ChannelBudget:
    bytes: Rate
    frames: Rate


BUDGETS: Mapping[Channel, ChannelBudget] = {
    # After the hello nobody has anything to say here but a refusal.
    Channel.SESSION: ChannelBudget(Rate(1_024, 4_096), Rate(2, 8)),
    # 500 blocks/s of one transaction are 3 frames each; a proposal of 4,096 ids is 132 kB.
    Channel.CONSENSUS: ChannelBudget(Rate(16 * MEGABYTE, 16 * MEGABYTE), Rate(5_000, 10_000)),
    # Five times the 20,000 transfers/s of 300 bytes that a node with verifier cores can check.
    Channel.BODIES: ChannelBudget(Rate(32 * MEGABYTE, 32 * MEGABYTE), Rate(5_000, 10_000)),
    # A follower that catches up at 10,000 transfers/s asks for 5 MB/s of blocks.
    Channel.CATCH_UP: ChannelBudget(Rate(32 * MEGABYTE, 32 * MEGABYTE), Rate(1_000, 2_000)),
    # 500 blocks/s with a checkpoint at every tenth, the most that genesis may ask for, are 50 shares/s.
    Channel.CHECKPOINTS: ChannelBudget(Rate(16 * 1_024, 64 * 1_024), Rate(50, 200)),
}

GARBAGE_MAX = 8
"""Pieces of garbage that are forgiven; one is forgotten every `GARBAGE_FORGOTTEN_MS`."""

GARBAGE_FORGOTTEN_MS = 10_000

BANISHED_MS = 30_000
"""A peer that sent too much garbage is not let in again before this."""


class Bucket:
    """Tokens that flow in with time. A debt is allowed, so that one large frame passes and is paid for afterwards."""

    __slots__ = ("_at_ms", "_rate", "_tokens")

    def __init__(self, rate: Rate, now_ms: int) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at_ms = now_ms

    def spend(self, amount: int, now_ms: int) -> int:
        """Take `amount`; milliseconds to wait before the next, 0 while the bucket is not empty."""
        if now_ms > self._at_ms:
            gained = (now_ms - self._at_ms) * self._rate.per_second / 1_000
            self._tokens = min(self._rate.burst, self._tokens + gained)
            self._at_ms = now_ms
        self._tokens -= amount
        if self._tokens >= 0:
            return 0
        return int(-self._tokens * 1_000 / self._rate.per_second) + 1


class PeerBudget:
    """One peer's account with us. It outlives connections, so that reconnecting forgives nothing."""

    __slots__ = ("_banished_until_ms", "_buckets", "_forgotten_at_ms", "_garbage", "garbage_total")

    def __init__(self, now_ms: int, budgets: Mapping[Channel, ChannelBudget] = BUDGETS) -> None:
        self._buckets = {
            channel: (Bucket(budget.bytes, now_ms), Bucket(budget.frames, now_ms))
            for channel, budget in budgets.items()
        }
        self._garbage = 0
        self._forgotten_at_ms = now_ms
        self._banished_until_ms = 0
        self.garbage_total = 0

    def spend(self, channel: Channel, frames: int, size: int, now_ms: int) -> int:
        """Count frames of `size` bytes together; milliseconds to wait before reading on."""
        bytes_, counted = self._buckets[channel]
        return max(bytes_.spend(size, now_ms), counted.spend(frames, now_ms))

    def garbage(self, now_ms: int) -> bool:
        """Count one piece of garbage; True when it was one too many and the peer is banished."""
        self.garbage_total += 1
        forgiven = (now_ms - self._forgotten_at_ms) // GARBAGE_FORGOTTEN_MS
        if forgiven > 0:
            self._garbage = max(0, self._garbage - forgiven)
            self._forgotten_at_ms += forgiven * GARBAGE_FORGOTTEN_MS
        self._garbage += 1
        if self._garbage <= GARBAGE_MAX:
            return False
        self._banished_until_ms = now_ms + BANISHED_MS
        self._garbage = 0
        self._forgotten_at_ms = now_ms
        return True

    def banished(self, now_ms: int) -> bool:
        """Whether the peer must stay away for now."""
        return now_ms < self._banished_until_ms
