"""The only place where ports meet adapters: from a configuration to the parts of one process, in the order of their start.

Not here: what is checked before anything starts (`node.preflight`), how parts run (`node.runtime.supervisor`).
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from aiohttp import web

from tallystick.network.session import PROTOCOL_VERSION, Hello, role_of
from tallystick.network.transport.links import Links, Listen, Peer
from tallystick.network.transport.tls import Identity
from tallystick.network.wire.faults import OperationalError, Refused, present
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId
from tallystick.node.api.access import CertifiedPrincipal, Gate, load_principals
from tallystick.node.api.app import ApiServer, make_app
from tallystick.node.api.metrics import Meters, NodeGauges
from tallystick.node.api.parts import ApiParts, Network
from tallystick.node.api.quotas import Quotas
from tallystick.node.api.routes import ROUTES
from tallystick.node.api.tls import server_context
from tallystick.node.api.tokens import Tokens, load_jwks
from tallystick.node.audit.app import make_observer_app
from tallystick.node.audit.observer import Observer
from tallystick.node.config import ConfigError, NodeConfig, PeerConfig, load_config
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.follower import Follower
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.pins import may_connect
from tallystick.node.core.replica import Replica
from tallystick.node.preflight import check_id, check_members, checkpoint_signer, genesis_of
from tallystick.node.runtime.checkpoint_key import Keys
from tallystick.node.runtime.clock import Clock, WallClock
from tallystick.node.runtime.disk_writer import DiskWriter
from tallystick.node.runtime.driver import Driver
from tallystick.node.runtime.signers import FileVoteSigner
from tallystick.node.runtime.supervisor import EXIT_HALTED, Part, Supervisor
from tallystick.node.runtime.telemetry import Telemetry
from tallystick.node.runtime.verifiers import (
    InlineVerifiers,
    Verifiers,
    process_verifiers,
    thread_verifiers,
)
from tallystick.node.storage.guard_file import GuardFile
from tallystick.node.storage.key_encryption import KeyEncryption, open_keys
from tallystick.node.storage.opening import NodeStore, open_store
from tallystick.node.storage.rekeying import Rekeying, not_yet
from tallystick.node.storage.sealed import SealedStore
from tallystick.node.upkeep.aside import unfinished
from tallystick.node.upkeep.segments import BACKED_UP, WIRE_CHUNK_BYTES

CoreT = TypeVar("CoreT")


@dataclass(frozen=True, slots=True)
class Composed:
    """One node, put together and not started. Start `parts` in order, stop them in reverse."""

    config: NodeConfig
    driver: Driver[Any, Any]
    links: Links
    api: "_Listener"
    parts: tuple[Part, ...]
    wait_halted: Callable[[], Awaitable[str]]
    """Why the process must end."""

    async def run(self, ready: Callable[[], None] = lambda: None) -> int:
        """Run until a signal or a halt; the exit code (0, or 70 after a halt)."""
        code = await Supervisor(self.parts, self.wait_halted).run(ready)
        return EXIT_HALTED if self.driver.halted is not None else code


@dataclass(slots=True)
class _Listener:
    """The HTTPS server at its configured address. `port` is known once it has started."""

    server: ApiServer
    host: str
    wanted_port: int
    port: int = 0

    async def start(self) -> None:
        self.port = await self.server.start(self.host, self.wanted_port)


def compose_node(config: NodeConfig, clock: Clock | None = None) -> Composed:
    """A member. Call it on the loop's thread. `OperationalError` says what is wrong and what to do."""
    if config.role != "member":
        raise OperationalError(f"{config.source} is an observer's: use `tallystick observer run`")
    clock = clock or WallClock()
    genesis = genesis_of(config)
    check_id(config, genesis)
    me = NodeId(config.id)
    signer = FileVoteSigner(me, present(config.vote_key, "a member without a vote key"))
    checkpoints = checkpoint_signer(config, genesis)
    world = _World(config, genesis, clock)
    with ExitStack() as opened:
        guard = GuardFile(present(config.guard, "a member without a guard"))
        opened.callback(guard.close)
        store = _store(config)
        opened.callback(store.close)
        replica = _begun(lambda: Replica(genesis, store, signer, guard, clock()))
        check_members(config, replica.ledger, signer.public_key)
        world.follow(replica.ledger)
        replica.checkpoints.signer = checkpoints
        driver = world.driver(replica, DiskWriter(store, guard), Keys(signer, checkpoints))
        parts = ApiParts(
            network=world.network,
            node=driver,
            submitter=driver,
            leading=driver.leadership,
            ledger_rows=partial(store.export, BACKED_UP, WIRE_CHUNK_BYTES),
            waits=lambda account, payment_id: replica.pool.waits(account + payment_id),
            **world.access,
        )
        listener = world.listener(parts, make_app(parts, ROUTES))
        more = _rekeying(config, store)
        return world.composed(driver, listener, opened.pop_all(), more, driver.wait_halted)


def compose_observer(config: NodeConfig, clock: Clock | None = None) -> Composed:
    """An observer: it dials, follows, executes and serves readers; it has no key that votes."""
    if config.role != "observer":
        raise OperationalError(f"{config.source} is a member's: use `tallystick node run`")
    clock = clock or WallClock()
    genesis = genesis_of(config)
    world = _World(config, genesis, clock)
    with ExitStack() as opened:
        store = _store(config)
        opened.callback(store.close)
        follower = _begun(lambda: Follower(NodeId(config.id), genesis, store, clock()))
        world.follow(follower.ledger)
        driver = world.driver(follower, DiskWriter(store, None), None)
        observer = Observer(follower.status, clock, config.observer_lag_alarm_ms)
        parts = ApiParts(
            network=world.network,
            node=driver,
            submitter=None,
            audit=observer.findings,
            **world.access,
        )
        listener = world.listener(parts, make_observer_app(parts))
        looking = Part("observer", observer.start, observer.stop)
        more = (*_rekeying(config, store), looking)
        wait_halted = partial(observer.wait_beyond_repair, driver.wait_halted)
        return world.composed(driver, listener, opened.pop_all(), more, wait_halted)


class _World:
    """What a member and an observer have in common. Every file is read and checked here, before a lock is taken."""

    def __init__(self, config: NodeConfig, genesis: Genesis, clock: Clock) -> None:
        self.config = config
        self.network = Network(genesis)
        self.clock = clock
        self.telemetry = Telemetry()
        self.verifiers = _verifiers(config, genesis)
        self.telemetry.watch_checks(self.verifiers.counters)
        self.links = _links(config, self.network, clock)
        self._watch_links()
        self._principals = _principals_of(config)
        self.access = self._access()
        listed = [entry.certificate_pem for entry in self._principals]
        self._context = server_context(config.tls_certificate, config.tls_key, listed)

    def follow(self, ledger: Ledger) -> None:
        """Connections and answers go by the ledger's present members."""
        self.links.admit_by(partial(may_connect, ledger))
        self.network.follow(lambda: (ledger.members, ledger.voters))

    def driver(self, replica: Any, writer: DiskWriter, signer: Keys | None) -> Driver[Any, Any]:
        """The loop around a core. `signer` None: a node that signs nothing."""
        return Driver(
            replica,
            clock=self.clock,
            writer=writer,
            network=self.links,
            verifiers=self.verifiers,
            telemetry=self.telemetry,
            diagnosis_folder=self.config.data / "diagnosis",
            signer=signer,
        )

    def _access(self) -> dict[str, Any]:
        """The parts of the interface that depend on the configuration alone."""
        config, registry = self.config, self.telemetry.registry
        certified = {entry.key_hash: entry.principal for entry in self._principals}
        quotas = Quotas(
            config.requests_per_s,
            config.transactions_per_s,
            config.participant_transactions_per_s,
            lambda: self.clock() / 1000,
        )
        return {
            "gate": Gate(self._tokens(), certified, config.metrics_open_on_loopback),
            "quotas": quotas,
            "now_ms": self.clock,
            "registry": registry,
            "meters": Meters(registry),
            "ready_lag_ms": config.ready_lag_ms,
            "version": _version(),
        }

    def _tokens(self) -> Tokens | None:
        path = self.config.jwks
        if path is None:
            return None
        try:
            return Tokens(load_jwks(path.read_bytes()), str(self.network.chain), self.clock)
        except (OSError, ValueError) as error:
            raise OperationalError(f"{path}: {error}") from None

    def _watch_links(self) -> None:
        watch, links = self.telemetry.watch, self.links
        garbage, outbox = links.garbage_by_peer, links.outbox_bytes_by_peer
        watch("peer_garbage", "Garbage heard from a peer.", garbage, "peer", "counter")
        watch("peer_outbox_bytes", "Bytes that wait for a peer.", outbox, "peer")
        watch("peer_dials", "Dials of peers.", lambda: links.counters.dials, kind="counter")
        watch("peer_refused", "Peers refused.", lambda: links.counters.refused, kind="counter")

    def listener(self, parts: ApiParts, app: web.Application) -> _Listener:
        """The HTTPS server for this app, with the node's gauges among its metrics."""
        config = self.config
        parts.registry.register(NodeGauges(parts.node.status, parts.now_ms))
        return _Listener(ApiServer(app, self._context), config.api_host, config.api_port)

    def composed(
        self,
        driver: Driver[Any, Any],
        listener: _Listener,
        opened: ExitStack,
        more: tuple[Part, ...],
        wait_halted: Callable[[], Awaitable[str]],
    ) -> Composed:
        """Disk first and last, then the core, then those who talk to it. `opened` closes the files. A node that leads hands
        over once its clients are gone, while its peers still hear it."""

        async def close() -> None:
            with opened:
                await self.verifiers.close()

        self.links.attach(driver)
        parts = (
            Part("storage", _nothing, close),
            Part("driver", driver.start, driver.stop),
            Part("peers", self.links.start, self.links.stop),
            *more,
            Part("leadership", _nothing, driver.leadership.resign),
            Part("api", listener.start, listener.server.stop),
        )
        return Composed(self.config, driver, self.links, listener, parts, wait_halted)


async def _nothing() -> None:
    """A part that is open already."""


def links_of(config: NodeConfig, clock: Clock) -> Links:
    """The node's links to the others, for whoever asks for blocks while the node itself stands still."""
    return _links(config, Network(genesis_of(config)), clock)


def _links(config: NodeConfig, network: Network, clock: Clock) -> Links:
    me = NodeId(config.id)
    hello = Hello(PROTOCOL_VERSION, network.chain, network.hash, me, role_of(me).value)
    listen = Listen(config.peer_host, config.peer_port) if config.role == "member" else None
    return Links(
        hello,
        Identity(config.tls_key, config.tls_certificate),
        [_peer(peer) for peer in config.peers],
        listen,
        clock=clock,
        jitter=Random(),
    )


def _peer(peer: PeerConfig) -> Peer:
    return Peer(
        NodeId(peer.id),
        peer.name,
        bytes.fromhex(peer.tls_key_hash.removeprefix("0x")),
        peer.certificate.read_text(),
        peer.host,
        peer.port,
    )


def _verifiers(config: NodeConfig, genesis: Genesis) -> Verifiers:
    match config.verifiers:
        case "inline":
            return InlineVerifiers(BodyChecker(genesis))
        case "threads":
            return thread_verifiers(BodyChecker(genesis), config.verifier_count)
        case "processes":
            return process_verifiers(partial(BodyChecker, genesis), config.verifier_count)


def _principals_of(config: NodeConfig) -> tuple[CertifiedPrincipal, ...]:
    if config.principals is None:
        return ()
    try:
        return load_principals(config.principals)
    except (OSError, ValueError) as error:
        raise OperationalError(str(error)) from None


def _begun(make: Callable[[], CoreT]) -> CoreT:
    """The core as the database lets it begin. A record that cannot be read is a sentence, like a disk that cannot."""
    try:
        return make()
    except Refused as refused:
        raise OperationalError(
            f"a stored record cannot be read ({refused}): `tallystick ledger verify` names it"
        ) from None


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (sentence := unfinished(folder)) is not None:
        raise OperationalError(sentence)
    return folder


def _store(config: NodeConfig) -> NodeStore:
    """The node's database, opened by the keys that [storage] names."""
    keys = open_keys(config.storage.sources, config.source.parent)
    not_yet()
    return open_store(_made(config.data), keys, f"`tallystick node seal --config {config.source}`")


def _rekeying(config: NodeConfig, store: NodeStore) -> tuple[Part, ...]:
    """A sealed store goes over to a new key while it runs; the configuration is read again, for it names that key."""
    if not isinstance(store, SealedStore):
        return ()

    def keys() -> Sequence[KeyEncryption]:
        try:
            now = load_config(config.source)
        except ConfigError as error:
            raise OperationalError(str(error)) from None
        return open_keys(now.storage.sources, now.source.parent)

    rekeying = Rekeying(store, keys)
    return (Part("rekeying", rekeying.start, rekeying.stop),)


def _version() -> str:
    try:
        return version("tallystick")
    except PackageNotFoundError:
        return "0"
