"""Every pair of members holds one connection: the lower id dials, the higher listens; observers dial and are never dialled.

Decided here: which connection counts (the newest of an authenticated peer), and when to dial again. `PeerUp` and `PeerDown`
come in turn for each peer, `PeerUp` after both hellos. Frames for a peer that is not connected are dropped and counted: the
core asks again when it is up. Not here: what is said.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWSTimeout, TCPConnector, web

from tallystick.network.budgets import PeerBudget
from tallystick.network.session import HEARTBEAT_SECONDS, Hello, Role, back_off_ms, dials, role_of
from tallystick.network.transport.tls import (
    Identity,
    dialing_context,
    listening_context,
    presented_key,
    spki_hash,
)
from tallystick.network.transport.wire_link import (
    CLOSE_SECONDS_MAX,
    HelloRefused,
    Link,
    PeerSink,
    Socket,
    exchange_hellos,
    shut,
)
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import OperationalError, present
from tallystick.network.wire.ids import NodeId

PATH = "/peer"
DIAL_SECONDS_MAX = 3.0
"""TCP, TLS and the WebSocket's upgrade together; 7 ms between healthy nodes."""

ADMISSION_SECONDS = 1.0
"""How long a peer that was put out may still be connected."""

HANDSHAKE_SECONDS_MAX = DIAL_SECONDS_MAX
"""Whoever dials gives up by then; a stranger who says nothing may not hold a file of ours for asyncio's minute."""

_log = structlog.get_logger("links")


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node: who it is, and where, if we dial it."""

    node: NodeId
    name: str
    tls_key_hash: bytes
    """32 bytes; from genesis for members, from the configuration for observers."""
    certificate_pem: str
    host: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the other members reach us."""

    host: str
    port: int
    """0: the operating system chooses; `Links.port` says which."""


@dataclass(slots=True)
class LinkCounters:
    """What went wrong since the start."""

    dials: int = 0
    refused: int = 0
    dropped_while_down: int = 0
    dropped_for_room: int = 0


class Links:
    """`node.runtime.driver.Network` over aiohttp WebSockets and mutual TLS 1.3."""

    def __init__(
        self,
        hello: Hello,
        identity: Identity,
        peers: Sequence[Peer],
        listen: Listen | None,
        *,
        clock: Callable[[], int],
        jitter: Random,
    ) -> None:
        """`listen` None: an observer. `OperationalError` when a peer's certificate does not hold its pinned key."""
        self._hello = hello
        self._listen = listen
        self._clock = clock
        self._jitter = jitter
        self._peers = {peer.node: peer for peer in peers}
        self._by_key = {peer.tls_key_hash: peer.node for peer in peers}
        for peer in peers:
            _check_pin(peer)
        trusted = [peer.certificate_pem for peer in peers]
        self._dialing = dialing_context(identity, trusted)
        self._listening = listening_context(identity, trusted) if listen is not None else None
        self._budgets = {peer.node: PeerBudget(clock()) for peer in peers}
        self._links: dict[NodeId, Link] = {}
        self._others = tuple(peer.node for peer in peers if role_of(peer.node) is Role.MEMBER)
        self._lives: set[asyncio.Task[None]] = set()
        self._sink: PeerSink | None = None
        self._session: ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self.port = 0
        self.counters = LinkCounters()
        self._admits: Callable[[NodeId, bytes], bool] = lambda node, tls_key_hash: True

    # Life ---------------------------------------------------------------------------------------

    def attach(self, sink: PeerSink) -> None:
        """Say who hears the peers, once, before `start`."""
        self._sink = sink

    def admit_by(self, rule: Callable[[NodeId, bytes], bool]) -> None:
        """(node, TLS key hash) → may it be connected now? Asked at every connection and every second; without a rule every
        configured peer may."""
        self._admits = rule

    async def start(self) -> None:
        """Listen, and dial whom we dial. Returns at once; `PeerUp` tells who is there."""
        if self._listen is not None and self._listening is not None:
            self.port = await self._begin_to_listen(self._listen, self._listening)
        self._session = ClientSession(
            connector=TCPConnector(ssl=self._dialing, limit=0, enable_cleanup_closed=False),
            timeout=ClientTimeout(total=None, sock_connect=DIAL_SECONDS_MAX),
            auto_decompress=False,
        )
        for peer in self._peers.values():
            if dials(self._hello.node, peer.node) and peer.host:
                life = asyncio.create_task(self._dial_for_ever(peer), name=f"dial-{peer.node}")
                self._lives.add(life)
        self._lives.add(asyncio.create_task(self._put_out(), name="put-out"))

    async def _put_out(self) -> None:
        """End the connections of those who may not be connected any more."""
        while True:
            await asyncio.sleep(ADMISSION_SECONDS)
            for node, link in list(self._links.items()):
                if not self._admits(node, self._peers[node].tls_key_hash):
                    link.end("no longer a member")

    async def stop(self) -> None:
        """Close everything; the sink hears nothing after this begins."""
        self._sink = None
        for link in self._links.values():
            link.end("the node is stopping")
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    # The driver's side --------------------------------------------------------------------------

    def send(self, to: NodeId | None, frame: bytes, *, promise: bool) -> None:
        """Queue a frame for a peer, or for every other member."""
        for peer in (to,) if to is not None else self._others:
            link = self._links.get(peer)
            if link is None:
                self.counters.dropped_while_down += 1
            else:
                link.send(frame, promise)

    def blame(self, peer: NodeId) -> None:
        """The core could not make sense of what this peer sent."""
        link = self._links.get(peer)
        if link is not None:
            link.blame("the core refused its frame")

    @property
    def peers_up(self) -> tuple[NodeId, ...]:
        """Connected peers, observers among them."""
        return tuple(sorted(self._links))

    def garbage_by_peer(self) -> dict[str, float]:
        """Pieces of garbage since the start, by node id."""
        return {str(node): budget.garbage_total for node, budget in self._budgets.items()}

    def outbox_bytes_by_peer(self) -> dict[str, float]:
        """Bytes that wait for each connected peer."""
        return {str(node): link.outbox.size for node, link in self._links.items()}

    # Dialling -----------------------------------------------------------------------------------

    async def _dial_for_ever(self, peer: Peer) -> None:
        attempt = 0
        while True:
            try:
                if not self._budgets[peer.node].banished(self._clock()) and await self._dial(peer):
                    attempt = 0
            except Exception as error:  # noqa: BLE001  # one broken dial must not be the last
                _log.error("a dial broke inside", peer=peer.node, exc_info=error)
            await asyncio.sleep(back_off_ms(attempt, self._jitter.random()) / 1_000)
            attempt += 1

    async def _dial(self, peer: Peer) -> bool:
        """One connection from dial to end; whether it ever was up."""
        session = self._session
        if session is None:
            return False
        if not self._admits(peer.node, peer.tls_key_hash):
            return False
        self.counters.dials += 1
        try:
            async with asyncio.timeout(DIAL_SECONDS_MAX):
                socket = await session.ws_connect(
                    f"wss://{_bracketed(peer.host)}:{peer.port}{PATH}",
                    max_msg_size=bounds.FRAME_BYTES_MAX + 1,
                    heartbeat=HEARTBEAT_SECONDS,
                    compress=0,
                    timeout=ClientWSTimeout(ws_close=CLOSE_SECONDS_MAX),
                )
        except (ClientError, OSError, TimeoutError) as error:
            _log.debug("dial failed", peer=peer.node, error=f"{type(error).__name__}: {error}")
            return False
        shown = presented_key(socket.get_extra_info("ssl_object"))
        if shown != peer.tls_key_hash:
            self.counters.refused += 1
            _log.warning("another node answers", peer=peer.node, host=peer.host, port=peer.port)
            await shut(socket, "you are not whom we dialled")
            return False
        return await self._run(socket, peer.node)

    # Listening ----------------------------------------------------------------------------------

    async def _begin_to_listen(self, listen: Listen, context: ssl.SSLContext) -> int:
        app = web.Application()
        app.router.add_get(PATH, self._accept)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_SECONDS_MAX)
        await self._runner.setup()
        requests = present(self._runner.server, "a runner that is set up has its server")
        try:
            self._server = await asyncio.get_running_loop().create_server(
                requests,
                listen.host,
                listen.port,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS_MAX,
            )
        except OSError as error:
            raise OperationalError(
                f"cannot listen for peers on {listen.host}:{listen.port}: {error.strerror}"
            ) from error
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        shown = presented_key(transport.get_extra_info("ssl_object")) if transport else None
        node = self._by_key.get(shown) if shown is not None else None
        if node is None or dials(self._hello.node, node):
            self.counters.refused += 1
            raise web.HTTPForbidden(text="this key may not dial us")
        if not self._admits(node, self._peers[node].tls_key_hash):
            self.counters.refused += 1
            raise web.HTTPForbidden(text="this key is not a member's any more")
        if self._budgets[node].banished(self._clock()):
            raise web.HTTPTooManyRequests(text="too much garbage; come back later")
        socket = web.WebSocketResponse(
            timeout=CLOSE_SECONDS_MAX,
            heartbeat=HEARTBEAT_SECONDS,
            max_msg_size=bounds.FRAME_BYTES_MAX + 1,
            compress=False,
        )
        await socket.prepare(request)
        await self._run(socket, node)
        return socket

    # One connection -----------------------------------------------------------------------------

    async def _run(self, socket: Socket, node: NodeId) -> bool:
        """Hello, then live; whether it ever was up."""
        try:
            await exchange_hellos(socket, self._hello, node)
        except (HelloRefused, ConnectionError, RuntimeError) as error:
            self.counters.refused += 1
            _log.warning("no agreement", peer=node, why=str(error))
            await shut(socket, str(error))
            return False
        if self._sink is None:
            await shut(socket, "the node is stopping")
            return False
        link = Link(socket, node, self._sink, self._budgets[node], self._clock)
        self._replace(node, link)
        _log.info("link up", peer=node)
        why = "cancelled"
        try:
            why = await link.live()
        finally:
            self.counters.dropped_for_room += link.outbox.dropped
            _log.info("link down", peer=node, why=why)
            if self._links.get(node) is link:
                del self._links[node]
                self._tell_down(node)
        return True

    def _replace(self, node: NodeId, link: Link) -> None:
        """The newest connection of an authenticated peer counts: an older one is a half-open leftover."""
        older = self._links.pop(node, None)
        if older is not None:
            older.end("the peer has connected again")
            self._tell_down(node)
        self._links[node] = link
        if self._sink is not None and self._is_awaited(node):
            self._sink.on_peer_up(node)

    def _tell_down(self, node: NodeId) -> None:
        if self._sink is not None and self._is_awaited(node):
            self._sink.on_peer_down(node)

    @staticmethod
    def _is_awaited(node: NodeId) -> bool:
        """Observers come and go; nobody waits for them, they ask."""
        return role_of(node) is Role.MEMBER


def _check_pin(peer: Peer) -> None:
    try:
        shown = spki_hash(peer.certificate_pem.encode())
    except ValueError as error:
        raise OperationalError(
            f"the certificate of peer {peer.node} ({peer.name}) cannot be read: {error}"
        ) from None
    if shown != peer.tls_key_hash:
        raise OperationalError(
            f"the certificate of peer {peer.node} ({peer.name}) holds key {shown.hex()[:16]}, "
            f"pinned is {peer.tls_key_hash.hex()[:16]}"
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
