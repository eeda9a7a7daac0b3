"""Real TLS on loopback: who may connect to a node, what a connection survives, and what ends it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
import uvloop
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tallystick.network.budgets import GARBAGE_MAX
from tallystick.network.session import (
    PROTOCOL_VERSION,
    Hello,
    Refusal,
    hello_frame,
    role_of,
    session_message,
)
from tallystick.network.transport.links import Links, Listen, Peer
from tallystick.network.transport.tls import Identity, dialing_context, make_identity, spki_hash
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.frames import Channel, pack, pack_many, unpack_many
from tallystick.network.wire.ids import NodeId
from tallystick.node.runtime.clock import WallClock

GENESIS = bytes(range(32))
CHAIN = 77
OBSERVER = NodeId(1_000)
Message = ClientWebSocketResponse[bool]


@dataclass
class Ears:
    """A sink that remembers, and lets a test wait for what it wants to hear."""

    up: list[NodeId] = field(default_factory=list)
    down: list[NodeId] = field(default_factory=list)
    frames: list[tuple[NodeId, bytes]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_peer_up(self, peer: NodeId) -> None:
        self.up.append(peer)
        self.changed.set()

    def on_peer_down(self, peer: NodeId) -> None:
        self.down.append(peer)
        self.changed.set()

    def on_frame(self, peer: NodeId, frame: bytes) -> None:
        self.frames.append((peer, frame))
        self.changed.set()

    async def until(self, fulfilled: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not fulfilled():
                self.changed.clear()
                await self.changed.wait()


async def eventually(fulfilled: Callable[[], bool]) -> None:
    """For what no sink hears: look again at every turn of the loop."""
    async with asyncio.timeout(10):
        while not fulfilled():
            await asyncio.sleep(0.001)


class Stage:
    """Identities of a few nodes in one folder, and the nodes that run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.peers: dict[NodeId, Peer] = {}
        self.running: list[Links] = []
        self.clock = WallClock()

    def identity(self, node: int) -> Identity:
        files = Identity(self.folder / f"{node}.key", self.folder / f"{node}.crt")
        if not files.key.exists():
            make_identity(f"node-{node}", files.key, files.certificate)
            self.pin(node)
        return files

    def pin(self, node: int) -> None:
        pem = (self.folder / f"{node}.crt").read_text()
        self.peers[NodeId(node)] = Peer(NodeId(node), f"node-{node}", spki_hash(pem.encode()), pem)

    def hello(self, node: int) -> Hello:
        return Hello(PROTOCOL_VERSION, CHAIN, GENESIS, NodeId(node), role_of(NodeId(node)).value)

    async def start(
        self, node: int, peers: tuple[int, ...], hello: Hello | None = None, listens: bool = True
    ) -> tuple[Links, Ears]:
        for each in (node, *peers):
            self.identity(each)
        links = Links(
            hello or self.hello(node),
            self.identity(node),
            [self.peers[NodeId(peer)] for peer in peers],
            Listen("127.0.0.1", 0) if listens else None,
            clock=self.clock,
            jitter=Random(node),
        )
        ears = Ears()
        links.attach(ears)
        await links.start()
        self.running.append(links)
        if listens:
            self.at(node, links.port)
        return links, ears

    def at(self, node: int, port: int) -> None:
        """From now on the others know where this node listens."""
        peer = self.peers[NodeId(node)]
        self.peers[NodeId(node)] = replace(peer, host="127.0.0.1", port=port)

    async def raw(
        self, node: int, target: int, change: Callable[[ssl.SSLContext], object] = lambda _: None
    ) -> tuple[ClientSession, Awaitable[Message]]:
        """A dial by hand, with `node`'s certificate, so that a test may say what no `Links` says."""
        context = dialing_context(self.identity(node), [self.peers[NodeId(target)].certificate_pem])
        change(context)
        session = ClientSession(connector=TCPConnector(ssl=context))
        port = self.peers[NodeId(target)].port
        dial = session.ws_connect(f"wss://127.0.0.1:{port}/peer", max_msg_size=2**26)
        return session, _dialled(dial)


async def _dialled(dial: object) -> Message:
    return await dial  # type: ignore[misc,no-any-return]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for links in made.running:
        await links.stop()


async def _refused(stage: Stage, session: ClientSession, dial: Awaitable[Message]) -> None:
    """The dial itself fails, or the socket ends before a single frame of ours is heard."""
    try:
        socket = await dial
        await socket.send_bytes(pack_many([hello_frame(stage.hello(1))]))
        message = await socket.receive(timeout=5)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
    except (ClientError, OSError):
        pass
    finally:
        await session.close()


async def _said(socket: Message) -> list[bytes]:
    """The frames of the next message; empty when the connection is over."""
    message = await socket.receive(timeout=5)
    return list(unpack_many(message.data)) if message.type is WSMsgType.BINARY else []


async def _ended(socket: Message) -> None:
    while await _said(socket):
        pass
    assert socket.closed


async def test_two_nodes_find_each_other_and_talk_both_ways(stage: Stage) -> None:
    high, high_ears = await stage.start(2, (1,))
    low, low_ears = await stage.start(1, (2,))
    await low_ears.until(lambda: low_ears.up == [2])
    await high_ears.until(lambda: high_ears.up == [1])
    low.send(None, pack(Channel.CONSENSUS, b"vote"), promise=True)
    high.send(NodeId(1), pack(Channel.BODIES, b"bodies"), promise=False)
    await high_ears.until(lambda: high_ears.frames == [(1, pack(Channel.CONSENSUS, b"vote"))])
    await low_ears.until(lambda: low_ears.frames == [(2, pack(Channel.BODIES, b"bodies"))])
    assert (low.peers_up, high.peers_up) == ((2,), (1,))


def test_the_loop_of_production_talks_and_refuses_alike(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage(tmp_path)
        _, high_ears = await stage.start(2, (1,))
        low, low_ears = await stage.start(1, (2,))
        await low_ears.until(lambda: low_ears.up == [2])
        low.send(None, pack(Channel.CONSENSUS, b"vote"), promise=True)
        await high_ears.until(lambda: high_ears.frames == [(1, pack(Channel.CONSENSUS, b"vote"))])
        stage.identity(9)
        await _refused(stage, *await stage.raw(9, 2))
        for links in stage.running:
            await links.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


async def test_a_peer_that_goes_and_comes_back_is_down_and_up_again(stage: Stage) -> None:
    high, _ = await stage.start(2, (1,))
    low, low_ears = await stage.start(1, (2,))
    await low_ears.until(lambda: low_ears.up == [2])
    port = high.port
    await high.stop()
    await low_ears.until(lambda: low_ears.down == [2])
    low.send(NodeId(2), pack(Channel.CONSENSUS, b"lost"), promise=True)
    assert low.counters.dropped_while_down == 1

    again = Links(
        stage.hello(2),
        stage.identity(2),
        [stage.peers[NodeId(1)]],
        Listen("127.0.0.1", port),
        clock=stage.clock,
        jitter=Random(2),
    )
    ears = Ears()
    again.attach(ears)
    await again.start()
    stage.running.append(again)
    await low_ears.until(lambda: low_ears.up == [2, 2])
    low.send(NodeId(2), pack(Channel.CONSENSUS, b"heard"), promise=True)
    await ears.until(lambda: ears.frames == [(1, pack(Channel.CONSENSUS, b"heard"))])


async def test_a_key_that_nobody_pinned_may_not_dial(stage: Stage) -> None:
    _, ears = await stage.start(2, (1,))
    stage.identity(9)
    await _refused(stage, *await stage.raw(9, 2))
    assert ears.up == []
    await _open_to_its_peer(stage)


async def test_without_a_client_certificate_nothing_is_heard(stage: Stage) -> None:
    _, ears = await stage.start(2, (1,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=stage.peers[NodeId(2)].certificate_pem)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    session = ClientSession(connector=TCPConnector(ssl=context))
    dial = session.ws_connect(f"wss://127.0.0.1:{stage.peers[NodeId(2)].port}/peer")
    await _refused(stage, session, _dialled(dial))
    assert ears.up == []
    await _open_to_its_peer(stage)


async def test_tls_1_2_is_not_spoken(stage: Stage) -> None:
    await stage.start(2, (1,))

    def older(context: ssl.SSLContext) -> None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2

    session, dial = await stage.raw(1, 2, older)
    with pytest.raises((ClientError, OSError)):
        await dial
    await session.close()
    await _open_to_its_peer(stage)


async def test_whoever_answers_with_another_nodes_key_is_not_talked_to(stage: Stage) -> None:
    for node in (1, 2, 3):
        stage.identity(node)
    impostor, impostor_ears = await stage.start(3, (1,))
    stage.at(2, impostor.port)  # node 1 dials node 2 and reaches node 3, whose key it also trusts
    stage.peers[NodeId(3)] = replace(stage.peers[NodeId(3)], host="")
    low, ears = await stage.start(1, (2, 3))
    await eventually(lambda: low.counters.refused > 0)
    assert (ears.up, impostor_ears.up) == ([], [])


async def test_the_higher_member_does_not_dial_and_may_not(stage: Stage) -> None:
    _, low_ears = await stage.start(1, (2,))
    high, _ = await stage.start(
        2, (1,)
    )  # it knows where node 1 listens; node 1 was not told of its port
    await _refused(stage, *await stage.raw(2, 1))
    assert (high.counters.dials, low_ears.up) == (0, [])


async def test_an_expired_certificate_is_as_good_as_its_pinned_key(stage: Stage) -> None:
    files = stage.identity(1)
    old = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    key = load_pem_private_key(files.key.read_bytes(), None)
    expired = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(old.serial_number)
        .not_valid_before(datetime.now(UTC) - timedelta(days=20))
        .not_valid_after(datetime.now(UTC) - timedelta(days=10))
        .sign(key, SHA256())  # type: ignore[arg-type]
    )
    files.certificate.write_bytes(expired.public_bytes(Encoding.PEM))
    stage.pin(1)
    _, ears = await stage.start(2, (1,))
    await stage.start(1, (2,))
    await ears.until(lambda: ears.up == [1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"genesis_hash": bytes(32)}, "you are on chain 77 (genesis 0000000000000000)"),
        ({"version": PROTOCOL_VERSION + 1}, "we speak protocol version"),
        ({"node": NodeId(3)}, "your TLS key is pinned for node 1"),
    ],
)
async def test_a_node_of_another_network_or_version_is_told_why(
    stage: Stage, change: dict[str, object], words: str
) -> None:
    _, ears = await stage.start(2, (1,))
    hello = Hello(
        **{name: getattr(stage.hello(1), name) for name in Hello.__struct_fields__} | change
    )
    session, dial = await stage.raw(1, 2)
    socket = await dial
    await socket.send_bytes(pack_many([hello_frame(hello)]))
    assert session_message((await _said(socket))[0]) == stage.hello(2)
    refusal = session_message((await _said(socket))[0])
    assert isinstance(refusal, Refusal)
    assert words in refusal.sentence
    await _ended(socket)
    await session.close()
    assert ears.up == []


async def _greeted(stage: Stage, node: int, target: int) -> tuple[ClientSession, Message]:
    session, dial = await stage.raw(node, target)
    socket = await dial
    await socket.send_bytes(pack_many([hello_frame(stage.hello(node))]))
    assert session_message((await _said(socket))[0]) == stage.hello(target)
    return session, socket


async def _open_to_its_peer(stage: Stage) -> None:
    """Node 2 listens and greets node 1: whoever was turned away just now was turned away for what he is."""
    session, _ = await _greeted(stage, 1, 2)
    await session.close()


async def test_speaking_before_the_hello_ends_the_connection(stage: Stage) -> None:
    _, ears = await stage.start(2, (1,))
    session, dial = await stage.raw(1, 2)
    socket = await dial
    await socket.send_bytes(pack_many([pack(Channel.CONSENSUS, b"vote")]))
    await _said(socket)
    refusal = session_message((await _said(socket))[0])
    assert isinstance(refusal, Refusal)
    await _ended(socket)
    await session.close()
    assert (ears.up, ears.frames) == ([], [])


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00\x00\x00\x09cut off",
        pack_many([b"\x09unknown channel"]),
        pack_many([b"\x00\xc1"]),
        pack_many([bytes([Channel.CONSENSUS]) + bytes(bounds.CONSENSUS_MESSAGE_BYTES_MAX + 1)]),
    ],
    ids=["empty", "cut", "channel", "session", "oversized"],
)
async def test_garbage_is_counted_forgiven_up_to_its_bound_and_then_the_peer_is_banished(
    stage: Stage, garbage: bytes
) -> None:
    links, ears = await stage.start(2, (1,))
    session, socket = await _greeted(stage, 1, 2)
    for _ in range(GARBAGE_MAX):
        await socket.send_bytes(garbage)
    good = pack(Channel.CONSENSUS, b"still heard")
    await socket.send_bytes(pack_many([good]))
    await ears.until(lambda: ears.frames == [(1, good)])
    await socket.send_bytes(garbage)
    await _ended(socket)
    await ears.until(lambda: ears.down == [1])
    assert links.garbage_by_peer() == {"1": GARBAGE_MAX + 1}
    await session.close()

    again, dial = await stage.raw(1, 2)
    with pytest.raises(ClientError, match="429"):
        await dial
    await again.close()


async def test_what_the_core_calls_garbage_counts_as_well(stage: Stage) -> None:
    links, ears = await stage.start(2, (1,))
    session, socket = await _greeted(stage, 1, 2)
    await ears.until(lambda: ears.up == [1])
    for _ in range(GARBAGE_MAX):
        links.blame(NodeId(1))
    good = pack(Channel.CONSENSUS, b"still heard")
    await socket.send_bytes(pack_many([good]))
    await ears.until(lambda: ears.frames == [(1, good)])
    links.blame(NodeId(1))
    await _ended(socket)
    await ears.until(lambda: ears.down == [1])
    await session.close()


async def test_a_message_at_the_bound_is_heard_and_a_larger_one_ends_the_connection(
    stage: Stage,
) -> None:
    _, ears = await stage.start(2, (1,))
    session, socket = await _greeted(stage, 1, 2)
    largest = pack(Channel.CATCH_UP, bytes(bounds.FRAME_BYTES_MAX - 5))
    message = pack_many([largest])
    assert len(message) == bounds.FRAME_BYTES_MAX
    await socket.send_bytes(message)
    await ears.until(lambda: ears.frames == [(1, largest)])
    await socket.send_bytes(message + bytes(2))
    await _ended(socket)
    await ears.until(lambda: ears.down == [1])
    assert len(ears.frames) == 1
    await session.close()


async def test_an_observer_dials_out_and_talks_on_the_catch_up_channel_alone(stage: Stage) -> None:
    member, member_ears = await stage.start(1, (OBSERVER,))
    observer, ears = await stage.start(OBSERVER, (1,), listens=False)
    await ears.until(lambda: ears.up == [1])
    question = pack(Channel.CATCH_UP, b"blocks from 1?")
    observer.send(NodeId(1), question, promise=False)
    await member_ears.until(lambda: member_ears.frames == [(OBSERVER, question)])
    assert member.peers_up == (OBSERVER,)
    assert member_ears.up == []  # nobody waits for an observer
    member.send(None, pack(Channel.CONSENSUS, b"vote"), promise=True)
    member.send(OBSERVER, pack(Channel.CATCH_UP, b"here"), promise=False)
    await ears.until(lambda: ears.frames == [(1, pack(Channel.CATCH_UP, b"here"))])
    observer.send(NodeId(1), pack(Channel.BODIES, b"let me in"), promise=False)
    await eventually(lambda: member.garbage_by_peer() == {str(OBSERVER): 1})
    assert len(member_ears.frames) == 1


async def test_a_newer_connection_of_the_same_peer_replaces_the_older(stage: Stage) -> None:
    links, ears = await stage.start(2, (1,))
    first_session, first = await _greeted(stage, 1, 2)
    await ears.until(lambda: ears.up == [1])
    second_session, second = await _greeted(stage, 1, 2)
    await _ended(first)
    await ears.until(lambda: (ears.up, ears.down) == ([1, 1], [1]))
    links.send(NodeId(1), pack(Channel.CONSENSUS, b"vote"), promise=True)
    assert await _said(second) == [pack(Channel.CONSENSUS, b"vote")]
    await first_session.close()
    await second_session.close()


async def test_a_peer_that_never_reads_is_dropped_when_promises_no_longer_fit(stage: Stage) -> None:
    links, ears = await stage.start(2, (1,))
    session, _ = await _greeted(stage, 1, 2)
    await ears.until(lambda: ears.up == [1])
    vote = pack(Channel.CONSENSUS, bytes(bounds.CONSENSUS_MESSAGE_BYTES_MAX))
    for _ in range(200):
        links.send(NodeId(1), vote, promise=True)
    await ears.until(lambda: ears.down == [1])
    await session.close()


async def test_frames_of_one_turn_leave_as_one_message(stage: Stage) -> None:
    links, ears = await stage.start(2, (1,))
    session, socket = await _greeted(stage, 1, 2)
    await ears.until(lambda: ears.up == [1])
    frames = [pack(Channel.CONSENSUS, bytes([number])) for number in range(50)]
    for frame in frames:
        links.send(None, frame, promise=True)
    assert await _said(socket) == frames
    await session.close()


async def test_a_certificate_that_does_not_hold_the_pinned_key_stops_the_start(
    stage: Stage,
) -> None:
    for node in (1, 2):
        stage.identity(node)
    stage.peers[NodeId(2)] = replace(stage.peers[NodeId(2)], tls_key_hash=bytes(32))
    with pytest.raises(OperationalError, match="pinned is 0000000000000000"):
        await stage.start(1, (2,))


async def test_a_port_in_use_says_so(stage: Stage) -> None:
    links, _ = await stage.start(2, (1,))
    other = Links(
        stage.hello(2),
        stage.identity(2),
        [],
        Listen("127.0.0.1", links.port),
        clock=stage.clock,
        jitter=Random(0),
    )
    stage.running.append(other)
    with pytest.raises(OperationalError, match="cannot listen for peers"):
        await other.start()


def test_a_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    hash_ = make_identity("bank-a", key, certificate)
    assert key.stat().st_mode & 0o777 == 0o600
    assert spki_hash(certificate.read_bytes()) == hash_
    before = key.read_bytes()
    with pytest.raises(OperationalError, match="never overwritten"):
        make_identity("bank-a", key, certificate)
    assert key.read_bytes() == before
