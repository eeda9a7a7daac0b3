"""What a wallet reads: outcomes by id, proven balances, what nodes say of themselves. The first credible node suffices.

Decided here: whom to believe when nodes disagree: evidence beats "not found", since a node may lag but cannot forge.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from tallystick.network.wire.ids import AccountId, BodyId, PaymentId, TxDigest
from tallystick.wallet.answers import AccountAnswer, StatusAnswer, TransactionAnswer, read_json
from tallystick.wallet.checking import Checker
from tallystick.wallet.core.build import Terms
from tallystick.wallet.core.outcomes import Outcome, Pending, Reference
from tallystick.wallet.endpoints import Answer, Endpoint, Endpoints, Silent
from tallystick.wallet.errors import (
    Archived,
    Denied,
    NotFound,
    Unreachable,
    WalletError,
    WrongNetwork,
)

T = TypeVar("T")

CONFIRM_S = 7.0
"""What a node may take to answer once it has asked a quorum: it gives up after 5 s by itself, and says so."""


@dataclass(frozen=True, slots=True)
class Balance:
    """An account as of one certified block; proven, but only as new as `time_ms`."""

    account: AccountId
    height: int
    time_ms: int
    amounts: Mapping[str, Decimal]
    minor: Mapping[str, int]
    participant: int
    serial: int
    tier: int
    threshold: int
    keys: tuple[bytes, ...]
    headroom_minor: Mapping[str, int] = field(default_factory=dict)
    """By asset, what may still leave under the rolling limit: the node's word, not proven."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node's word about itself, or why there is none."""

    name: str
    url: str
    status: StatusAnswer | None
    error: WalletError | None
    lag_ms: int | None
    """This machine's time minus that of the node's last block."""


class Reader:
    """Asks node after node; shared by every call of a wallet that reads."""

    def __init__(
        self,
        endpoints: Endpoints,
        checker: Checker,
        terms: Terms,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._endpoints = endpoints
        self._checker = checker
        self._terms = terms
        self._now_ms = now_ms

    async def resolve(self, account: AccountId, id_: PaymentId, digest: bytes | None) -> Outcome:
        """A verified final outcome under (account, id), or `Pending`. `NotFound` if no node knows of it, `Archived` if one does that
        has its bytes no more and no other has them."""
        path = f"{account.hex()}/{id_.hex()}"
        query = "" if digest is None else f"?digest={digest.hex()}"

        def receipt(endpoint: Endpoint, answer: Answer) -> Outcome:
            document = read_json(answer, dict[str, Any])
            return self._checker.receipt_of_id(endpoint.name, document, account, id_, digest)

        def pending(endpoint: Endpoint, answer: Answer) -> Outcome:
            state = read_json(answer, TransactionAnswer)
            known = TxDigest(bytes.fromhex(state.digest or "") or (digest or b""))
            body = BodyId(bytes.fromhex(state.body_id or ""))
            return Pending(Reference(account, id_, known, body), state.state)

        try:
            return await self.first(f"/v1/receipts/{path}{query}", receipt)
        except NotFound:
            return await self.first(f"/v1/transactions/{path}", pending)

    async def balance(self, account: AccountId, confirmed: bool = False) -> Balance:
        """The proven record of an account. `confirmed`: by a node that has asked a quorum whether it is current."""

        def read(endpoint: Endpoint, answer: Answer) -> Balance:
            said = read_json(answer, AccountAnswer)
            checked = self._checker.account(endpoint.name, said, account)
            record, header = checked.record, checked.header
            minor = dict(record.balances)
            texts = {code: self._terms.text(value, code) for code, value in minor.items()}
            return Balance(
                account=account,
                height=header.height,
                time_ms=header.time_ms,
                amounts={code: Decimal(text) for code, text in texts.items()},
                minor=minor,
                participant=record.participant,
                serial=record.serial,
                tier=record.tier,
                threshold=record.threshold,
                keys=record.keys,
                headroom_minor={each.asset: each.headroom_minor for each in said.headroom},
            )

        if not confirmed:
            return await self.first(f"/v1/accounts/{account.hex()}", read)
        return await self.first(f"/v1/accounts/{account.hex()}?read=quorum", read, CONFIRM_S)

    async def greet(self) -> None:
        """Ask nodes until one answers for this network. `Unreachable`, `Denied` or `WrongNetwork`."""
        ours = self._terms.genesis_hash.hex()

        def read(endpoint: Endpoint, answer: Answer) -> None:
            theirs = read_json(answer, StatusAnswer).genesis_hash
            if theirs != ours:
                raise WrongNetwork(
                    f"{endpoint.name} belongs to the network of genesis {theirs[:16]}…, not {ours[:16]}…"
                )

        await self.first("/v1/status", read)

    async def status(self) -> list[NodeStatus]:
        """Every node's word about itself, asked all at once, in the order of the network file; observers last."""
        nodes = (*self._endpoints.all, *self._endpoints.watched)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._status(each)) for each in nodes]
        return [task.result() for task in asked]

    async def _status(self, endpoint: Endpoint) -> NodeStatus:
        name, url = endpoint.name, endpoint.entry.url
        try:
            answer = await self._endpoints.call(endpoint, "GET", "/v1/status")
            status = read_json(answer, StatusAnswer)
        except Silent as silent:
            return NodeStatus(name, url, None, Unreachable(str(silent)), None)
        except WalletError as error:
            return NodeStatus(name, url, None, error, None)
        return NodeStatus(name, url, status, None, self._now_ms() - status.block_time_ms)

    async def first(
        self, path: str, read: Callable[[Endpoint, Answer], T], timeout_s: float | None = None
    ) -> T:
        """The first credible answer to a GET, node after node. If none: what nodes said against it, else `Unreachable`."""
        problem: WalletError | None = None
        silence = ""
        for endpoint in self._endpoints.ordered():
            try:
                answer = await self._endpoints.call(endpoint, "GET", path, timeout_s=timeout_s)
                found = read(endpoint, answer)
            except Silent as silent:
                self._endpoints.failed(endpoint, str(silent))
                silence = str(silent)
            except (NotFound, Denied, Archived) as error:
                self._endpoints.well(endpoint)  # an honest "no", as far as one node can tell
                # Whoever has it no more knows that it was ordered; one that lags behind does not.
                problem = problem if isinstance(problem, Archived) else error
            except WalletError as error:
                self._endpoints.failed(endpoint, error.sentence)
                problem = problem or error
            else:
                self._endpoints.well(endpoint)
                return found
        raise problem or Unreachable(f"No node answered: {silence}")
