"""Asks members for final blocks over the nodes' own links: mutual TLS, pinned keys, the catch-up channel and nothing else.

What members say beside it (votes, payments) is not heard. Not here: whether an answer is believed (`rebuilding`).
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from tallystick.network.session import Role, role_of
from tallystick.network.transport.wire_link import PeerSink
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.frames import Channel, pack, unpack
from tallystick.network.wire.ids import NodeId
from tallystick.node.core.messages import CATCH_UP_MESSAGE, AskBlocks, Blocks

PATIENCE_SECONDS = 5.0
"""For an answer, and for the first member to connect: members serve 16 MB/s, and dial each other every few seconds."""


class PeerLinks(Protocol):
    """`network.transport.links.Links`."""

    def attach(self, sink: PeerSink) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def send(self, to: NodeId | None, frame: bytes, *, promise: bool) -> None: ...


class PeerBlocks:
    """`rebuilding.AskPeers` over links, which are opened at the first question."""

    def __init__(self, open_links: Callable[[], PeerLinks]) -> None:
        self._open = open_links
        self._links: PeerLinks | None = None
        self._up: set[NodeId] = set()
        self._somebody = asyncio.Event()
        self._answer: asyncio.Future[Blocks] | None = None
        self._asked: NodeId | None = None
        self._turn = 0

    async def ask(self, height: int) -> Blocks | None:
        """Ask the next member; None when nobody is there or it stays silent."""
        if self._links is None:
            self._links = self._open()
            self._links.attach(self)
            await self._links.start()
        try:
            await asyncio.wait_for(self._somebody.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            return None
        members = sorted(self._up)
        self._asked = members[self._turn % len(members)]
        self._turn += 1
        self._answer = asyncio.get_running_loop().create_future()
        question = pack(Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(AskBlocks(height)))
        self._links.send(self._asked, question, promise=False)
        try:
            return await asyncio.wait_for(self._answer, PATIENCE_SECONDS)
        except TimeoutError:
            return None

    async def close(self) -> None:
        if self._links is not None:
            await self._links.stop()

    # What the links tell ------------------------------------------------------------------------

    def on_peer_up(self, peer: NodeId) -> None:
        if role_of(peer) is Role.MEMBER:
            self._up.add(peer)
            self._somebody.set()

    def on_peer_down(self, peer: NodeId) -> None:
        self._up.discard(peer)
        if not self._up:
            self._somebody.clear()

    def on_frame(self, peer: NodeId, frame: bytes) -> None:
        answer = self._answer
        if peer != self._asked or answer is None or answer.done():
            return
        try:
            channel, payload = unpack(frame)
            message = CATCH_UP_MESSAGE.decode(payload) if channel is Channel.CATCH_UP else None
        except Refused:
            return
        if isinstance(message, Blocks):
            answer.set_result(message)
