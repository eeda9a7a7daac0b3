"""For tests of apps: four real nodes in this process, on loopback, with real TLS, LevelDB and consensus.

    pytest_plugins = ["tallystick.testing"]          # in conftest.py

    async def test_rent_is_paid(tallystick_network):
        async with tallystick_network.wallet("bank-a") as bank:
            ...

Nothing is mocked, so what passes here is what a network does. Participants: central-bank (issues USD and EUR), bank-a … bank-d,
each with its root account (tier 3). One network serves the whole test session; `running_network` makes one of your own.
"""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tallystick.network.wire.genesis import EngineName
from tallystick.network.wire.ids import AccountId
from tallystick.node.cli.founding import Plan, found
from tallystick.node.compose import Composed, compose_node, compose_observer
from tallystick.node.config import NodeConfig, load_config
from tallystick.wallet.blocking import BlockingWallet
from tallystick.wallet.client import Wallet
from tallystick.wallet.core.build import Terms
from tallystick.wallet.network_file import NetworkFile
from tallystick.wallet.signers import LocalSigner

if TYPE_CHECKING:
    from tallystick.wallet.client import Connecting

T = TypeVar("T")

MEMBERS = 4
START_S_MAX = 30.0
"""Until a node stands; LevelDB and TLS take tens of milliseconds on a quiet machine."""

PORTS = range(20_000, 32_000)
"""Below the range from which operating systems pick ports for outgoing connections."""


class RunningNetwork:
    """A network folder and its nodes, which run on a thread of their own."""

    def __init__(self, folder: Path, members: int = MEMBERS, engine: EngineName = "pbft") -> None:
        """Found the network in `folder`, which must be empty or absent."""
        self.folder = folder
        base_port = free_base_port(2 * members + 2)
        self.plan = Plan(folder, members=members, base_port=base_port, engine=engine)
        found(self.plan, time.time_ns() // 1_000_000)
        self.file = NetworkFile.load(folder)
        self._nodes: dict[str, Composed] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nodes", daemon=True)

    @property
    def genesis_file(self) -> Path:
        """What receipts are verified against."""
        return self.folder / "genesis.json"

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the nodes that run."""
        return tuple(self._nodes)

    def wallet(self, participant: str, account: AccountId | str | None = None) -> "Connecting":
        """`async with network.wallet("bank-a") as wallet`, or await it and close it."""
        signer, token = self.signer(participant), self.token(participant)
        return Wallet.connect(self.file, signer, account, token)

    def blocking_wallet(
        self, participant: str, account: AccountId | str | None = None
    ) -> BlockingWallet:
        """`with network.blocking_wallet("bank-a") as wallet`, outside an event loop."""
        signer, token = self.signer(participant), self.token(participant)
        return BlockingWallet.connect(self.file, signer, account, token)

    def signer(self, participant: str) -> LocalSigner:
        """The key of a participant's root account."""
        wallets = self.folder / "wallets"
        password = (wallets / f"{participant}.password").read_text("utf-8").rstrip("\n")
        return LocalSigner.from_keystore(wallets / f"{participant}.keystore.json", password)

    def token(self, participant: str) -> str:
        """A bearer token for any node's API; "regulator" has one that reads everything."""
        return (self.folder / "tokens" / f"{participant}.jwt").read_text("utf-8").strip()

    def account(self, participant: str) -> AccountId:
        """A participant's root account."""
        entry = next(each for each in self.file.genesis.participants if each.name == participant)
        return Terms.of(self.file.genesis).root_account(entry.id)

    def node(self, name: str) -> Composed:
        """The parts of a node that runs, to look at."""
        return self._nodes[name]

    def stop_node(self, name: str) -> None:
        """Stop one member in order; its disk stays. A network of four goes on with three."""
        composed = self._nodes.pop(name)

        async def stop() -> None:
            for part in reversed(composed.parts):
                await part.stop()

        self._wait(stop())

    def start_node(self, name: str) -> None:
        """Start a member, or start it again; it catches up by itself."""
        self._start(name, compose_node, self.folder / "nodes" / name / "node.toml")

    def start_observer(self, name: str = "regulator") -> None:
        """Start the read-only node that re-executes everything."""
        self._start(name, compose_observer, self.folder / "observers" / name / "node.toml")

    def start(self) -> None:
        """Start every member."""
        self._thread.start()
        for path in sorted((self.folder / "nodes").iterdir()):
            self.start_node(path.name)

    def close(self) -> None:
        """Stop everything that runs."""
        for name in self.running:
            self.stop_node(name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S_MAX)
        self._loop.close()

    def _start(self, name: str, compose: Callable[[NodeConfig], Composed], config: Path) -> None:
        async def begin() -> Composed:
            composed = compose(load_config(config))
            for part in composed.parts:
                await part.start()
            return composed

        self._nodes[name] = self._wait(begin())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S_MAX)


@contextmanager
def running_network(
    folder: Path, members: int = MEMBERS, engine: EngineName = "pbft"
) -> Iterator[RunningNetwork]:
    """A network of one's own, stopped at the end. `folder` must be empty or absent."""
    _quiet()
    network = RunningNetwork(folder, members, engine)
    try:
        network.start()
        yield network
    finally:
        network.close()


def _quiet() -> None:
    """Nodes log warnings and worse, unless the tests have chosen otherwise."""
    import structlog

    if not structlog.is_configured():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@pytest.fixture(scope="session")
def tallystick_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    """Four real nodes, shared by the session's tests: use ids and accounts of your own."""
    with running_network(tmp_path_factory.mktemp("tallystick") / "network") as network:
        yield network


def free_base_port(count: int) -> int:
    """The first of `count` neighbouring ports that are free just now."""
    first = time.time_ns() // 1_000 % (len(PORTS) - count)  # so that two sessions seldom meet
    for step in range(0, len(PORTS), count):
        base = PORTS.start + (first + step) % (len(PORTS) - count)
        if all(_is_free(base + number) for number in range(count)):
            return base
    raise OSError(f"no {count} neighbouring ports are free in {PORTS.start} … {PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
