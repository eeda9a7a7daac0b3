"""What an app is made of, found again by every handler. Filled by `node.compose`, or by a test with fakes behind the ports."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web
from prometheus_client import CollectorRegistry

from tallystick.contracts.aml.explain import Headroom, headroom
from tallystick.contracts.aml.rule_set import active_rules, record_of
from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire.eip712 import Digester, Domain
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.ids import TxDigest
from tallystick.network.wire.membership import MemberEntry
from tallystick.network.wire.transactions import Transaction
from tallystick.node.api.access import Gate
from tallystick.node.api.metrics import Meters
from tallystick.node.api.ports import AccountView, AuditView, Leading, Node, Submitter
from tallystick.node.api.quotas import Quotas
from tallystick.node.api.tokens import Principal

Present: TypeAlias = Callable[[], tuple[MemberSet, tuple[MemberEntry, ...]]]


class Network:
    """The genesis document with what follows from it."""

    def __init__(self, genesis: Genesis) -> None:
        first = MemberSet.from_genesis(genesis)
        self.genesis = genesis
        self.hash = genesis_hash(genesis)
        self.chain = chain_of(self.hash)
        self._present: Present = lambda: (first, genesis.members)
        self.exponents = {asset.code: asset.exponent for asset in genesis.assets}
        self._rules = record_of(genesis.rules)
        self._digester = Digester(Domain(self.chain, self.hash))

    def follow(self, present: Present) -> None:
        """Say who knows the present epoch's members; until then they are the genesis document's."""
        self._present = present

    @property
    def members(self) -> MemberSet:
        """Of the present epoch."""
        return self._present()[0]

    @property
    def voters(self) -> tuple[MemberEntry, ...]:
        """The same by name."""
        return self._present()[1]

    def digest(self, transaction: Transaction) -> TxDigest:
        """32 bytes: what the payer signed."""
        return self._digester.digest(transaction)

    def headroom(self, account: AccountView, height: int, time_ms: int) -> tuple[Headroom, ...]:
        """What the account may still send of each asset, by the rules of the genesis document."""
        rules = active_rules(self._rules, height)
        return tuple(
            headroom(rules, account.tier, account.sent, asset, time_ms) for asset in self.exponents
        )


@dataclass(frozen=True, slots=True)
class ApiParts:
    """Everything behind the handlers. `submitter` None and `audit` given: an observer."""

    network: Network
    node: Node
    submitter: Submitter | None
    gate: Gate
    quotas: Quotas
    now_ms: Callable[[], int]
    registry: CollectorRegistry
    meters: Meters
    waits: Callable[[bytes, bytes], bool] = lambda account, payment_id: False
    """(account, id) → a transaction with these waits at this node to be ordered."""
    leading: Leading | None = None
    """None: this node cannot vote, so it neither confirms reads nor leads."""
    ledger_rows: Callable[[], Iterator[list[tuple[bytes, bytes]]]] | None = None
    """The certified ledger's durable rows as of the call, for a backup; may be asked from another thread."""
    audit: Callable[[], AuditView] | None = None
    ready_lag_ms: int = 10_000
    """Age of the newest block up to which the node counts as caught up."""
    version: str = "0"


PARTS = web.AppKey("parts", ApiParts)
PROVING = web.AppKey("proving", asyncio.Lock)
"""Held while an absence is proven."""
PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)
