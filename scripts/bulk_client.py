"""The light way to a node for load generators: sign ahead, send batches by the binary route, read only what is counted.

A real app uses the wallet SDK, which verifies every receipt. Here nothing is verified: the load must not be what is measured.
"""

import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from tallystick.network.proofs.receipts import BUNDLE, Outcome
from tallystick.network.wire.digest import ZERO
from tallystick.network.wire.eip712 import Digester, Domain
from tallystick.network.wire.genesis import (
    Genesis,
    account_id,
    chain_of,
    genesis_from_json,
    genesis_hash,
)
from tallystick.network.wire.ids import AccountId, PaymentId
from tallystick.network.wire.transactions import Issue, OpenAccount, Transaction, Transfer
from tallystick.network.wire.transactions.codec import encode
from tallystick.wallet.core.approvals import signed_by
from tallystick.wallet.signers import LocalSigner
from tallystick.wallet.tls import Credentials, pinned_context

from local_network import LocalNetwork, Trouble

FINAL, REFUSED = 3, 0
VALID_FOR_MS = 3_600_000
BATCH = 200


@dataclass(frozen=True, slots=True)
class Row:
    """What a node says of one transaction: state 0 refused, 1 received, 2 accepted, 3 final; reason's number."""

    state: int
    body_id: bytes
    reason: int
    height: int
    index: int


@dataclass(frozen=True, slots=True)
class Reply:
    rows: tuple[Row, ...]
    bundles: tuple[bytes, ...]
    status: int = 200


class NodeClient:
    """One node's binary bulk route."""

    def __init__(
        self, url: str, context: ssl.SSLContext, token: str, connections: int = 16
    ) -> None:
        self._base = url.rstrip("/")
        self._url = self._base + "/v1/transactions"
        self._context = context
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/msgpack"},
            timeout=aiohttp.ClientTimeout(total=70),
            trust_env=False,
        )

    @classmethod
    def to(
        cls, network: LocalNetwork, name: str, principal: str, connections: int = 16
    ) -> "NodeClient":
        entry = network.entry(name)
        pin = bytes.fromhex(str(entry["tls_key_hash"]).removeprefix("0x"))
        context = pinned_context(pin, Credentials())
        return cls(str(entry["url"]), context, network.token(principal), connections)

    async def submit(
        self, raws: Sequence[bytes], wait: int = FINAL, timeout_ms: int = 10_000
    ) -> Reply:
        """One request. A 429 answers with `status` 429 and no rows: nothing was accepted."""
        body = msgspec.msgpack.encode((wait, timeout_ms, raws))
        async with self._session.post(self._url, data=body, ssl=self._context) as response:
            content = await response.read()
        if response.status in (429, 503):
            return Reply((), (), response.status)
        if response.status != 200:
            raise Trouble(
                f"{self._url} answered {response.status}: {content[:300].decode(errors='replace')}"
            )
        rows, bundles = msgspec.msgpack.decode(content)
        return Reply(tuple(Row(*row) for row in rows), tuple(bundles))

    async def get(self, path: str) -> dict[str, Any]:
        """One GET that must answer 200 with a JSON object."""
        async with self._session.get(self._base + path, ssl=self._context) as response:
            content = await response.read()
        if response.status != 200:
            raise Trouble(
                f"{path} answered {response.status}: {content[:300].decode(errors='replace')}"
            )
        return dict(json.loads(content))

    async def close(self) -> None:
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class Press:
    """Makes signed transactions of one network."""

    def __init__(self, genesis: Genesis) -> None:
        hash_ = genesis_hash(genesis)
        self.chain = chain_of(hash_)
        self.lane = genesis.lane
        self.participants = {entry.name: entry.id for entry in genesis.participants}
        self._digester = Digester(Domain(self.chain, hash_))
        self._count = 0

    @classmethod
    def of(cls, network: LocalNetwork) -> "Press":
        return cls(genesis_from_json((network.folder / "genesis.json").read_bytes()))

    def root(self, participant: str) -> AccountId:
        return account_id(self.chain, self.participants[participant], 0)

    def sign(self, transaction: Transaction, signer: LocalSigner) -> bytes:
        return encode(signed_by(transaction, self._digester.digest(transaction), signer))

    def open_account(
        self, participant: str, signer: LocalSigner, key: bytes, tier: int, id_: bytes
    ) -> bytes:
        return self.sign(
            OpenAccount(
                self.chain,
                self.lane,
                self.root(participant),
                PaymentId(id_),
                deadline(),
                ZERO,
                (key,),
                1,
                tier,
                id_[:16],
            ),
            signer,
        )

    def issue(
        self,
        participant: str,
        signer: LocalSigner,
        creditor: AccountId,
        asset: str,
        amount_minor: int,
        id_: bytes,
    ) -> bytes:
        return self.sign(
            Issue(
                self.chain,
                self.lane,
                self.root(participant),
                PaymentId(id_),
                deadline(),
                ZERO,
                creditor,
                asset,
                amount_minor,
            ),
            signer,
        )

    def transfer(
        self,
        signer: LocalSigner,
        account: AccountId,
        creditor: AccountId,
        asset: str,
        amount_minor: int,
        id_: bytes,
        remark_root: bytes = ZERO,
        valid_until_ms: int = 0,
    ) -> bytes:
        return self.sign(
            Transfer(
                self.chain,
                self.lane,
                account,
                PaymentId(id_),
                valid_until_ms or deadline(),
                remark_root,
                creditor,
                asset,
                amount_minor,
            ),
            signer,
        )


def deadline() -> int:
    return time.time_ns() // 1_000_000 + VALID_FOR_MS


def limits(network: LocalNetwork, asset: str) -> tuple[int, int, int]:
    """(tier, cap of one payment, limit of 24 hours) of the tier whose rules allow most, in minor units of `asset`."""
    rules = json.loads((network.folder / "genesis.json").read_text())["rules"]
    found: dict[int, dict[int, int]] = {}
    for rule in rules:
        if rule["asset"] == asset:
            found.setdefault(int(rule["tier"]), {})[int(rule["rule"])] = int(rule["limit_minor"])
    whole = {tier: by_rule for tier, by_rule in found.items() if {1, 4} <= set(by_rule)}
    if not whole:
        raise Trouble(f"no tier of this network has both limits for {asset}")
    tier = max(whole, key=lambda number: (whole[number][4], whole[number][1]))
    return tier, whole[tier][1], whole[tier][4]


def keystore_signer(network: LocalNetwork, participant: str) -> LocalSigner:
    """The key of a participant's root account."""
    folder = network.folder / "wallets"
    password = (folder / f"{participant}.password").read_text().strip()
    return LocalSigner.from_keystore(Path(folder / f"{participant}.keystore.json"), password)


def outcomes(reply: Reply) -> dict[bytes, Outcome]:
    """Body id → outcome, of all bundles of an answer."""
    found = {}
    for bundle in reply.bundles:
        for item in BUNDLE.decode(bundle).items:
            found[item.outcome.body_id] = item.outcome
    return found


async def settle(
    client: NodeClient, raws: Sequence[bytes], timeout_ms: int = 30_000
) -> list[Outcome]:
    """Submit in batches, wait for all; the outcomes in order. `Trouble` if one is refused or stays open."""
    results: list[Outcome] = []
    for start in range(0, len(raws), BATCH):
        reply = await client.submit(raws[start : start + BATCH], FINAL, timeout_ms)
        found = outcomes(reply)
        if reply.status != 200 or len(found) != len(reply.rows):
            open_rows = [row for row in reply.rows if row.state != FINAL]
            raise Trouble(
                f"{len(open_rows)} of {len(reply.rows)} have no outcome (HTTP {reply.status}): {open_rows[:2]}"
            )
        results += [found[row.body_id] for row in reply.rows]
    return results
