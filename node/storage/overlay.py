"""What has been handed over but is not yet durable: layers above a sorted store, newest first.

LevelDB answers with the old value while a batch is still on its way, so every read asks these layers before the store.
Decided here: a layer is dropped only when everything up to it is durable, so a newer value is never hidden by an older one.
Not here: files, threads. Reads, `stage` and `release` belong to the loop's thread; `write` to the writer's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from tallystick.network.wire.faults import invariant

Pairs = Mapping[bytes, bytes | None]
"""None deletes."""

_ABSENT: Final = object()


class Overlay:
    """Staged layers, each numbered by a mark that grows by one."""

    __slots__ = ("_layers", "_mark", "_newest_first")

    def __init__(self) -> None:
        self._mark = 0
        self._layers: list[tuple[int, Pairs]] = []
        self._newest_first: tuple[Pairs, ...] = ()

    def stage(self, pairs: Pairs) -> None:
        """Add a layer. The mapping must not change any more."""
        self._mark += 1
        if pairs:
            self._layers.append((self._mark, pairs))
            self._newest_first = (pairs, *self._newest_first)

    @property
    def mark(self) -> int:
        """The mark of the newest layer: what a batch handed over now must reach the disk for."""
        return self._mark

    def release(self, mark: int) -> None:
        """Everything staged up to `mark` is durable: drop those layers."""
        invariant(
            mark <= self._mark, "released what was never staged", mark=mark, newest=self._mark
        )
        keep = [layer for layer in self._layers if layer[0] > mark]
        if len(keep) != len(self._layers):
            self._layers = keep
            self._newest_first = tuple(pairs for _, pairs in reversed(keep))

    @property
    def depth(self) -> int:
        """Layers that wait for the disk."""
        return len(self._layers)

    def clear(self) -> None:
        """Forget every layer, as a crash does."""
        self._layers.clear()
        self._newest_first = ()

    def find(self, key: bytes, default: object) -> object:
        """The newest staged value (None: deleted), or `default` when no layer knows the key."""
        for pairs in self._newest_first:
            value = pairs.get(key, _ABSENT)
            if value is not _ABSENT:
                return value
        return default

    def under(self, prefix: bytes) -> dict[bytes, bytes | None]:
        """A snapshot of every staged pair below `prefix`, newest values."""
        found: dict[bytes, bytes | None] = {}
        for _, pairs in self._layers:
            found.update((key, value) for key, value in pairs.items() if key.startswith(prefix))
        return found


def merged(
    below: Iterable[tuple[bytes, bytes]], above: Mapping[bytes, bytes | None]
) -> Iterator[tuple[bytes, bytes]]:
    """Two sorted sources as one, ascending; where both know a key, `above` wins and its None hides the pair."""
    staged = iter(sorted(above.items()))
    waiting = next(staged, None)
    for key, value in below:
        while waiting is not None and waiting[0] < key:
            if waiting[1] is not None:
                yield waiting[0], waiting[1]
            waiting = next(staged, None)
        if waiting is not None and waiting[0] == key:
            if waiting[1] is not None:
                yield key, waiting[1]
            waiting = next(staged, None)
        else:
            yield key, value
    while waiting is not None:
        if waiting[1] is not None:
            yield waiting[0], waiting[1]
        waiting = next(staged, None)


def flattened(batches: Sequence[Pairs]) -> Pairs:
    """Several batches as one, later values winning: a key written by three blocks is written once."""
    if len(batches) == 1:
        return batches[0]
    flat: dict[bytes, bytes | None] = {}
    for pairs in batches:
        flat.update(pairs)
    return flat
