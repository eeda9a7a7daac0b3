"""The envelope between nodes: a frame is one byte of channel and a payload; a message is many frames.

A WebSocket message is frames one after the other, each behind its length (4 bytes, big-endian), so that one turn of the loop
sends one message per peer. Decided here: the bounds of both. Not here: what a payload says; each speaker decodes his own.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused, invariant
from tallystick.network.wire.reasons import RejectReason


class Channel(IntEnum):
    """Who listens."""

    SESSION = 0
    CONSENSUS = 1
    BODIES = 2
    CATCH_UP = 3
    CHECKPOINTS = 4


_FRAME_BYTES_MAX: Final = bounds.FRAME_BYTES_MAX - 4
_PAYLOAD_BYTES_MAX: Final = (
    bounds.SESSION_MESSAGE_BYTES_MAX,
    bounds.CONSENSUS_MESSAGE_BYTES_MAX,
    bounds.BODIES_FRAME_BYTES_MAX,
    _FRAME_BYTES_MAX - 1,
    bounds.CHECKPOINT_MESSAGE_BYTES_MAX,
)
_CHANNELS: Final = tuple(Channel)
_PREFIXES: Final = tuple(bytes([channel]) for channel in Channel)


def payload_bytes_max(channel: Channel) -> int:
    """The bound of one payload on this channel."""
    return _PAYLOAD_BYTES_MAX[channel]


def pack(channel: Channel, payload: bytes) -> bytes:
    """One frame. A payload above its channel's bound is our own mistake."""
    invariant(
        len(payload) <= _PAYLOAD_BYTES_MAX[channel],
        "payload above its channel's bound",
        channel=channel.name,
        bytes=len(payload),
    )
    return _PREFIXES[channel] + payload


def unpack(frame: bytes) -> tuple[Channel, bytes]:
    """Channel and payload, or `Refused` with MALFORMED or OVERSIZED."""
    if not frame or frame[0] >= len(_CHANNELS):
        raise Refused(RejectReason.MALFORMED, "a frame without a known channel")
    channel = _CHANNELS[frame[0]]
    if len(frame) - 1 > _PAYLOAD_BYTES_MAX[channel]:
        raise Refused(
            RejectReason.OVERSIZED,
            bytes=len(frame) - 1,
            bytes_max=_PAYLOAD_BYTES_MAX[channel],
            channel=channel.name,
        )
    return channel, frame[1:]


def pack_many(frames: Iterable[bytes]) -> bytes:
    """One WebSocket message of at least one frame. The sender keeps within the bounds: `fits` says what still fits."""
    parts: list[bytes] = []
    size = 0
    for frame in frames:
        parts.append(len(frame).to_bytes(4, "big"))
        parts.append(frame)
        size += 4 + len(frame)
    count = len(parts) // 2
    invariant(
        1 <= count <= bounds.FRAMES_PER_MESSAGE_MAX,
        "frames of one message out of bounds",
        frames=count,
    )
    invariant(size <= bounds.FRAME_BYTES_MAX, "message above its bound", bytes=size)
    return b"".join(parts)


def fits(frames: int, bytes_so_far: int, frame: bytes) -> bool:
    """Whether `frame` may join a message that has `frames` frames and `bytes_so_far` bytes, lengths included."""
    return (
        frames < bounds.FRAMES_PER_MESSAGE_MAX
        and bytes_so_far + 4 + len(frame) <= bounds.FRAME_BYTES_MAX
    )


def unpack_many(data: bytes) -> tuple[bytes, ...]:
    """The frames of one message, or `Refused` with MALFORMED or OVERSIZED; never a part of them."""
    if len(data) > bounds.FRAME_BYTES_MAX:
        raise Refused(RejectReason.OVERSIZED, bytes=len(data), bytes_max=bounds.FRAME_BYTES_MAX)
    frames: list[bytes] = []
    offset, end = 0, len(data)
    while offset < end:
        start = offset + 4
        offset = start + int.from_bytes(data[offset:start], "big")
        if start >= offset or offset > end:
            raise Refused(RejectReason.MALFORMED, "a frame is empty or cut off", offset=start)
        if len(frames) == bounds.FRAMES_PER_MESSAGE_MAX:
            raise Refused(RejectReason.OVERSIZED, "too many frames in one message")
        frames.append(data[start:offset])
    if not frames:
        raise Refused(RejectReason.MALFORMED, "a message without frames")
    return tuple(frames)
