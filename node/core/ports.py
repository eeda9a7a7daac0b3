"""What the core needs of the world. `node.compose` is the only place where these meet their adapters."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from tallystick.network.wire.ids import NodeId


class Store(Protocol):
    """A sorted key-value store with one writer. Reads see every batch handed over so far, durable or not."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs whose key begins with `prefix`: ascending in the tables named by height; each once, in no order that
        anything may rest on, in the others, whose names a sealed store hides."""
        ...

    def stage(self, pairs: Mapping[bytes, bytes | None]) -> None:
        """Make the pairs of a batch readable at once (None deletes), before they are durable.

        The core stages a batch before it returns it in `Effects.persist`; the driver hands the same batch to the writer.
        """
        ...


class VoteSigner(Protocol):
    """The node's Ed25519 vote key. The guard has been asked before."""

    @property
    def node(self) -> NodeId: ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        ...


class CheckpointSigner(Protocol):
    """The node's BLS key. What it signs follows from the certified ledger, and has been kept before it leaves."""

    def sign(self, message: bytes) -> bytes:
        """96 bytes, the same for the same message."""
        ...


class GuardRecord(Protocol):
    """The double-sign guard's durable record, kept beside the key and apart from the database."""

    def read(self) -> bytes | None:
        """The last durable record, None if there never was one."""
        ...


class VerifyVote(Protocol):
    """Ed25519 in production; something faster with the same contract in the simulator."""

    def __call__(self, key: bytes, message: bytes, signature: bytes, /) -> bool: ...
