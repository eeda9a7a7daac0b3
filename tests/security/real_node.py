"""One real member (and, if wanted, its observer) in this process: LevelDB, TLS, PBFT of one, everything but other machines.

Founded as `tallystick network init` does it, on ports that the operating system chooses.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from coincurve import PrivateKey

from tallystick.network.wire.genesis import Parameters, account_id
from tallystick.network.wire.ids import AccountId, ParticipantId
from tallystick.network.wire.transactions import Issue
from tallystick.network.wire.transactions.codec import encode
from tallystick.node.api.parts import Network
from tallystick.node.cli.founding import USUAL_PARAMETERS, Plan, found
from tallystick.node.compose import Composed, compose_node, compose_observer
from tallystick.node.config import NodeConfig, load_config
from tallystick.wallet import keystore
from tests.security.bad_inputs import Target, witness_of
from tests.security.edge import Edge

T = TypeVar("T")


class RealNetwork:
    """A context manager: a founded folder with one running member; participants central-bank, bank-a, bank-b."""

    def __init__(self, folder: Path, parameters: Parameters = USUAL_PARAMETERS) -> None:
        self.folder = folder
        plan = Plan(folder, members=1, banks=2, parameters=parameters)
        founded = found(plan, time.time_ns() // 1_000_000)
        self.network = Network(founded.genesis)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._running: list[Composed] = []

    def __enter__(self) -> Self:
        self._thread.start()
        config = load_config(self.folder / "nodes" / "bank-a" / "node.toml")
        self.member = self.start(compose_node, replace(config, api_port=0, peer_port=0))
        self.edge = self.edge_of(self.member)
        return self

    def __exit__(self, *_: object) -> None:
        for composed in reversed(self._running):
            self.stop(composed)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self, compose: Callable[[NodeConfig], Composed], config: NodeConfig) -> Composed:
        async def begin() -> Composed:
            composed = compose(config)
            for part in composed.parts:
                await part.start()
            return composed

        composed = self.wait(begin())
        self._running.append(composed)
        return composed

    def stop(self, composed: Composed) -> None:
        async def end() -> None:
            for part in reversed(composed.parts):
                await part.stop()

        self._running.remove(composed)
        self.wait(end())

    def start_observer(self) -> Edge:
        """The regulator's observer, which dials the member."""
        config = load_config(self.folder / "observers" / "regulator" / "node.toml")
        peer = replace(config.peers[0], port=self.member.links.port)
        return self.edge_of(
            self.start(compose_observer, replace(config, api_port=0, peers=(peer,)))
        )

    def edge_of(self, composed: Composed) -> Edge:
        pem = composed.config.tls_certificate.read_text()
        return Edge("127.0.0.1", composed.api.port, pem)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def token(self, name: str) -> str:
        return (self.folder / "tokens" / f"{name}.jwt").read_text()

    def root(self, participant: int) -> AccountId:
        return account_id(self.network.chain, ParticipantId(participant), 0)

    def key(self, name: str) -> PrivateKey:
        wallets = self.folder / "wallets"
        document = json.loads((wallets / f"{name}.keystore.json").read_text())
        return PrivateKey(keystore.decrypt(document, (wallets / f"{name}.password").read_text()))

    def target(self) -> Target:
        """Bank A pays bank B."""
        return Target(
            edge=self.edge,
            token=self.token("bank-a"),
            chain=self.network.chain,
            digest=self.network.digest,
            payer=self.root(2),
            payer_key=self.key("bank-a"),
            creditor=self.root(3),
            foreign=self.root(3),
            foreign_key=self.key("bank-b"),
            now_ms=time.time_ns() // 1_000_000,
            max_validity_ms=self.network.genesis.parameters.max_validity_ms,
        )

    def issue(self, amount_minor: int, number: int = 1) -> bytes:
        """The central bank's signed issue to bank A's root account."""
        until_ms = time.time_ns() // 1_000_000 + 60_000
        draft = Issue(
            self.network.chain,
            0,
            self.root(1),
            number.to_bytes(32, "big"),  # type: ignore[arg-type]
            until_ms,
            bytes(32),
            self.root(2),
            "USD",
            amount_minor,
        )
        signed = witness_of(self.network.digest(draft), self.key("central-bank"))
        return encode(replace_witnesses(draft, signed))


def replace_witnesses(draft: Issue, *witnesses: Any) -> Issue:
    from msgspec.structs import replace as replaced

    return replaced(draft, witnesses=witnesses)
