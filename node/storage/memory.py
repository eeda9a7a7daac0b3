"""The store's port in memory, for simulators and tests: it tells what is durable from what is merely handed over.

`write` makes batches durable, all or nothing; `lose_unsynced` is a crash: only what was written survives.
"""

from collections.abc import Iterator, Mapping, Sequence

from tallystick.node.storage.overlay import Overlay, Pairs, flattened, merged

_UNKNOWN = object()


class MemoryStore:
    """`node.core.ports.Store` and the driver's `DurableStore`, without a disk."""

    def __init__(self, durable: Mapping[bytes, bytes] | None = None) -> None:
        """Begin with what survived of an earlier life (`snapshot`)."""
        self._durable: dict[bytes, bytes] = dict(durable or {})
        self._overlay = Overlay()

    def get(self, key: bytes) -> bytes | None:
        value = self._overlay.find(key, _UNKNOWN)
        if value is _UNKNOWN:
            return self._durable.get(key)
        return value  # type: ignore[return-value]  # the overlay holds bytes or None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        below = sorted(pair for pair in self._durable.items() if pair[0].startswith(prefix))
        return merged(below, self._overlay.under(prefix))

    def stage(self, pairs: Pairs) -> None:
        self._overlay.stage(pairs)

    @property
    def mark(self) -> int:
        return self._overlay.mark

    def write(self, batches: Sequence[Pairs]) -> None:
        """Make these batches durable, as one atomic write."""
        for key, value in flattened(batches).items():
            if value is None:
                self._durable.pop(key, None)
            else:
                self._durable[key] = value

    def release(self, mark: int) -> None:
        self._overlay.release(mark)

    def lose_unsynced(self) -> None:
        """Crash: whatever was staged but not written is gone."""
        self._overlay.clear()

    def snapshot(self) -> dict[bytes, bytes]:
        """A copy of what is durable now."""
        return dict(self._durable)

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryGuard:
    """`node.core.ports.GuardRecord` in memory."""

    def __init__(self, record: bytes | None = None) -> None:
        self._record = record

    def read(self) -> bytes | None:
        return self._record

    def write(self, record: bytes) -> None:
        """Durable when this returns."""
        self._record = record
