"""Frames that wait for one peer: bounded, oldest first, and honest about what is lost.

Two kinds wait. Promises and everything on the consensus channel are *kept*: they are never dropped in silence; when even they
do not fit, the outbox is overrun and the link must break, since a peer that hears a gap without knowing it is worse than one
that reconnects and asks. The rest is *hearsay*: bodies, requests, answers. When room is needed the oldest hearsay goes, and
is counted. Nothing supersedes anything: each frame of today's protocol still means something after the next one.
Decided here: order and loss. Frames leave in the order they came while they fit one message; under backlog the kept ones go
first. Not here: sockets, peers.
"""

from collections import deque

from tallystick.network.wire.frames import Channel, fits

OUTBOX_BYTES_MAX = 64 * 1024 * 1024
"""For each peer: about a minute of bodies at full speed, or four catch-up answers."""

OUTBOX_FRAMES_MAX = 20_000
"""For each peer: 500 blocks/s of votes for ten seconds, and bodies beside them."""

MESSAGE_BYTES = 1024 * 1024
"""A message closes before the frame that would pass this size, so that a vote waits behind a megabyte at most."""


class Outbox:
    """The queue of one connection; a new connection begins with a new one."""

    __slots__ = (
        "_bytes_max",
        "_frames_max",
        "_hearsay",
        "_kept",
        "_number",
        "_size",
        "dropped",
        "overrun",
    )

    def __init__(
        self, bytes_max: int = OUTBOX_BYTES_MAX, frames_max: int = OUTBOX_FRAMES_MAX
    ) -> None:
        self._bytes_max = bytes_max
        self._frames_max = frames_max
        self._kept: deque[tuple[int, bytes]] = deque()
        self._hearsay: deque[tuple[int, bytes]] = deque()
        self._number = 0
        self._size = 0
        self.dropped = 0
        """Frames of hearsay that were given up."""
        self.overrun = False
        """A frame that must not be lost did not fit: break the link."""

    def __len__(self) -> int:
        return len(self._kept) + len(self._hearsay)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    def put(self, frame: bytes, promise: bool) -> None:
        """Queue a frame, dropping the oldest hearsay if there is no room."""
        keep = promise or frame[0] == Channel.CONSENSUS or frame[0] == Channel.SESSION
        if not self._has_room(len(frame)):
            self._make_room(len(frame))
            if not self._has_room(len(frame)):
                if keep:
                    self.overrun = True
                else:
                    self.dropped += 1
                return
        self._number += 1
        self._size += len(frame)
        (self._kept if keep else self._hearsay).append((self._number, frame))

    def take(self) -> list[bytes]:
        """The frames of the next message; empty when nothing waits."""
        frames: list[bytes] = []
        size = 0
        backlog = self._size > MESSAGE_BYTES
        while queue := self._next(backlog):
            frame = queue[0][1]
            if frames and (size + len(frame) > MESSAGE_BYTES or not fits(len(frames), size, frame)):
                break
            queue.popleft()
            frames.append(frame)
            size += 4 + len(frame)
            self._size -= len(frame)
        return frames

    def _next(self, backlog: bool) -> deque[tuple[int, bytes]]:
        """The queue whose turn it is."""
        if not self._kept:
            return self._hearsay
        if backlog or not self._hearsay:
            return self._kept
        return self._kept if self._kept[0][0] < self._hearsay[0][0] else self._hearsay

    def _has_room(self, size: int) -> bool:
        return len(self) < self._frames_max and self._size + size <= self._bytes_max

    def _make_room(self, size: int) -> None:
        while self._hearsay and not self._has_room(size):
            _, frame = self._hearsay.popleft()
            self._size -= len(frame)
            self.dropped += 1
