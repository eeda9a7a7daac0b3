"""Where transactions that are being checked came from, and so what becomes of them once they are."""

from dataclasses import dataclass
from typing import TypeAlias

from tallystick.network.wire.ids import BodyId, NodeId, ParticipantId


@dataclass(frozen=True, slots=True)
class FromClient:
    token: int
    indexes: tuple[int, ...]
    participant: ParticipantId | None


@dataclass(frozen=True, slots=True)
class FromMember:
    sender: NodeId
    forwarded: tuple[BodyId, ...]
    """The whole batch that the sender wants us to hold; empty: an answer to our own question."""
    checked: tuple[BodyId, ...]
    """What of it is being checked."""
    sign: bool
    """The sender wants our signature that we hold it."""


@dataclass(frozen=True, slots=True)
class FromDisk:
    batch: bytes


Origin: TypeAlias = FromClient | FromMember | FromDisk
