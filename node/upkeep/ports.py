"""What upkeep needs of a database beside reading it; `node.storage` has it, in memory and on disk."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tallystick.node.core.ports import Store


class WritableStore(Store, Protocol):
    """A store of our own."""

    def write(self, batches: Sequence[Mapping[bytes, bytes | None]]) -> None:
        """One atomic, synced write."""
        ...

    def close(self) -> None: ...
