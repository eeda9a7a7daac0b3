"""One open connection to one peer: hello, then a reader that hands frames straight on, and one writer.

Decided here: when a connection ends. No task and no queue per frame: the writer sleeps until frames wait and sends all of one
loop turn as one message; the reader calls the sink for each frame. Not here: who dials (`links`), the rules (`session`,
`budgets`, `outbox`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from aiohttp import ClientWebSocketResponse, WSMsgType, web

from tallystick.network.budgets import PeerBudget
from tallystick.network.outbox import Outbox
from tallystick.network.session import (
    CHANNELS,
    HELLO_SECONDS_MAX,
    Hello,
    Refusal,
    hello_frame,
    objection,
    refusal_frame,
    role_of,
    session_message,
)
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.frames import Channel, pack_many, payload_bytes_max, unpack_many
from tallystick.network.wire.ids import NodeId

READING_TURN_MS = 5
"""A reader with a full buffer lets others run after this long, so that one talkative peer does not hold the loop."""

CLOSE_SECONDS_MAX = 1.0
"""Time for a refusal to reach the peer before the socket goes."""

Socket = ClientWebSocketResponse[bool] | web.WebSocketResponse
_CHANNEL_OF = tuple(Channel)
_log = structlog.get_logger("link")


class PeerSink(Protocol):
    """Who hears the peers: the driver. Called on the loop's thread, never after `stop`."""

    def on_peer_up(self, peer: NodeId) -> None: ...

    def on_peer_down(self, peer: NodeId) -> None: ...

    def on_frame(self, peer: NodeId, frame: bytes) -> None: ...


class HelloRefused(Exception):
    """The two ends do not mean the same network; the sentence says why."""


class Link:
    """A connection whose peer is authenticated by TLS and has said hello."""

    def __init__(
        self,
        socket: Socket,
        peer: NodeId,
        sink: PeerSink,
        budget: PeerBudget,
        clock: Callable[[], int],
    ) -> None:
        self.peer = peer
        self._socket = socket
        self._sink = sink
        self._budget = budget
        self._clock = clock
        self._channels = CHANNELS[role_of(peer)]
        self.outbox = Outbox()
        self._wake = asyncio.Event()
        self._over: str | None = None

    def send(self, frame: bytes, promise: bool) -> None:
        """Queue a frame. When what must not be lost does not fit, the connection ends."""
        self.outbox.put(frame, promise)
        if self.outbox.overrun:
            self.end("it reads too slowly: promises no longer fit its outbox")
        self._wake.set()

    def end(self, why: str) -> None:
        """Close the connection from the next turn on; nothing more is heard from it."""
        if self._over is None:
            self._over = why
            self._wake.set()

    async def live(self) -> str:
        """Read and write until the connection ends; returns why."""
        writer = asyncio.create_task(self._write(), name=f"writer-{self.peer}")
        reader = asyncio.create_task(self._read(), name=f"reader-{self.peer}")
        try:
            done, _ = await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None:
                    _log.error("a link broke inside", peer=self.peer, exc_info=error)
            return self._over or "the connection was closed"
        finally:
            self._over = self._over or "we are stopping"
            for task in (writer, reader):
                task.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)
            await shut(self._socket, self._over)

    async def _write(self) -> None:
        send, wake, outbox = self._socket.send_bytes, self._wake, self.outbox
        try:
            while self._over is None:
                if frames := outbox.take():
                    await send(pack_many(frames))
                else:
                    await wake.wait()
                    wake.clear()
        except (ConnectionError, RuntimeError) as error:
            # aiohttp says RuntimeError when the socket is closing.
            self.end(f"cannot write: {error}")

    async def _read(self) -> None:
        receive = self._socket.receive
        turn_ends_ms = self._clock() + READING_TURN_MS
        while self._over is None:
            message = await receive()
            if message.type is WSMsgType.BINARY:
                wait_ms = self._hear(message.data)
            elif message.type is WSMsgType.TEXT:
                wait_ms = self._garbage("text where frames belong")
            else:
                self.end(_closing(message.type, self._socket))
                return
            now_ms = self._clock()
            if wait_ms or now_ms >= turn_ends_ms:
                await asyncio.sleep(wait_ms / 1_000)
                turn_ends_ms = self._clock() + READING_TURN_MS

    def _hear(self, message: bytes) -> int:
        """Hand the frames of one message on; milliseconds to wait before the next."""
        try:
            frames = unpack_many(message)
        except Refused as refused:
            return self._garbage(str(refused))
        now_ms = self._clock()
        wait_ms = 0
        on_frame, peer = self._sink.on_frame, self.peer
        for frame in frames:
            if self._over is not None:
                break
            fault = self._fault(frame)
            if fault is not None:
                wait_ms = max(wait_ms, self._garbage(fault))
                continue
            wait_ms = max(wait_ms, self._budget.spend(_CHANNEL_OF[frame[0]], 1, len(frame), now_ms))
            on_frame(peer, frame)
        return wait_ms

    def _fault(self, frame: bytes) -> str | None:
        """Why this frame is not for the core; a refusal ends the connection in the peer's own words."""
        number = frame[0]
        if number >= len(_CHANNEL_OF):
            return f"channel {number} does not exist"
        channel = _CHANNEL_OF[number]
        if len(frame) - 1 > payload_bytes_max(channel):
            return f"{len(frame)} bytes on channel {channel.name}"
        if channel in self._channels:
            return None
        if channel is Channel.SESSION:
            try:
                said = session_message(frame)
            except Refused as refused:
                return str(refused)
            if isinstance(said, Refusal):
                self.end(f"the peer says: {said.sentence}")
            return "a hello after the hello"
        return f"channel {channel.name} is not for a node of its role"

    def _garbage(self, what: str) -> int:
        """Count it; the connection ends when it is too much."""
        _log.warning("garbage", peer=self.peer, what=what)
        if self._budget.garbage(self._clock()):
            self.end("too much garbage")
        return 0

    def blame(self, what: str) -> None:
        """The core found that a frame of this peer was garbage."""
        self._garbage(what)


async def exchange_hellos(socket: Socket, mine: Hello, authenticated: NodeId) -> None:
    """Say hello and hear one. `HelloRefused` when the two may not talk, told to the peer as well."""
    await socket.send_bytes(pack_many((hello_frame(mine),)))
    try:
        async with asyncio.timeout(HELLO_SECONDS_MAX):
            message = await socket.receive()
    except TimeoutError:
        raise HelloRefused(f"no hello within {HELLO_SECONDS_MAX:g} s") from None
    if message.type is not WSMsgType.BINARY:
        raise HelloRefused(_closing(message.type, socket))
    why = _heard(message.data, mine, authenticated)
    if why is not None:
        await _best_effort(socket.send_bytes(pack_many((refusal_frame(why),))))
        raise HelloRefused(why)


def _heard(message: bytes, mine: Hello, authenticated: NodeId) -> str | None:
    try:
        said = session_message(unpack_many(message)[0])
    except Refused as refused:
        return f"your hello cannot be read: {refused}"
    if isinstance(said, Refusal):
        return f"the peer says: {said.sentence}"
    if said is None:
        return "you spoke before you said hello"
    return objection(mine, said, authenticated)


async def shut(socket: Socket, why: str) -> None:
    """Close with the reason, without waiting long for the peer."""
    await _best_effort(socket.close(code=1000, message=why.encode()[:120]))


async def _best_effort(sending: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await sending
    except (TimeoutError, ConnectionError, RuntimeError) as error:
        _log.debug("could not say so", error=str(error))


def _closing(kind: WSMsgType, socket: Socket) -> str:
    if kind is WSMsgType.ERROR:
        return f"the connection broke: {socket.exception()}"
    return f"the peer closed the connection (code {socket.close_code})"
