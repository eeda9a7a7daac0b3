"""One transaction to its end, for whoever still has it: its own receipt, or the proof that it was never ordered and never can be.

Of each digest whose window is closed there is one of the two, and never both (docs/formats.md, absences), so asking ends:
one honest node within reach is enough, since both are verified. Before the window is closed, nodes say "not found" to both.
Decided here: what is asked of whom, in which order. Not here: belief (`checking`), handing over (`pursuit`).
"""

import asyncio
import time

import msgspec

from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transaction
from tallystick.wallet.answers import Ordered, read_json
from tallystick.wallet.checking import Checker
from tallystick.wallet.core.outcomes import Expired, FinalOutcome, Reference
from tallystick.wallet.endpoints import Answer, Endpoint, Endpoints, Silent
from tallystick.wallet.errors import (
    Archived,
    NotFound,
    NotTaken,
    OutcomeUnknown,
    Untrusted,
    WalletError,
)
from tallystick.wallet.pursuit import receipt_path


class Resolving:
    """The loop. `timeout_s` None: until it is resolved."""

    def __init__(
        self,
        endpoints: Endpoints,
        checker: Checker,
        transaction: Transaction,
        reference: Reference,
        timeout_s: float | None,
    ) -> None:
        self._endpoints = endpoints
        self._checker = checker
        self._transaction = transaction
        self._reference = reference
        self._give_up_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._last = "no node answered"

    async def run(self) -> FinalOutcome:
        """The outcome with its evidence; `OutcomeUnknown` when the time is over."""
        pause_s = self._endpoints.patience.pause_s
        while True:
            for endpoint in self._endpoints.ordered():
                outcome = await self._ask(endpoint)
                if outcome is not None:
                    return outcome
            left_s = None if self._give_up_s is None else self._give_up_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise OutcomeUnknown(f"Not resolved yet: {self._last}", self._reference)
            await asyncio.sleep(pause_s if left_s is None else min(pause_s, left_s))
            pause_s = min(2 * pause_s, self._endpoints.patience.pause_s_max)

    async def _ask(self, endpoint: Endpoint) -> FinalOutcome | None:
        """One node's evidence, verified; None if it has none."""
        try:
            return await self._receipt(endpoint, f"digest={self._reference.digest.hex()}") or (
                await absence_of(
                    self._endpoints, self._checker, endpoint, self._transaction, self._reference
                )
            )
        except _Ordered as ordered:
            query = f"body_id={ordered.body_id}"
        except (Silent, WalletError) as error:
            self._passed_over(endpoint, error)
            return None
        try:
            return await self._receipt(endpoint, query)
        except (Silent, WalletError) as error:
            self._passed_over(endpoint, error)
            return None

    def _passed_over(self, endpoint: Endpoint, error: Exception) -> None:
        self._last = str(error)
        if isinstance(error, NotFound | Archived):
            self._endpoints.well(endpoint)  # an honest "not yet", as far as one node can tell
        else:
            self._endpoints.failed(endpoint, self._last)

    async def _receipt(self, endpoint: Endpoint, query: str) -> FinalOutcome | None:
        ours = self._reference
        answer = await self._endpoints.call(endpoint, "GET", f"{receipt_path(ours)}?{query}")
        try:
            document = read_json(answer, dict)
        except NotFound:
            return None
        return self._checker.receipt_of_id(
            endpoint.name, document, ours.account, ours.id, ours.digest
        )


class _Ordered(Exception):
    """A node says that the digest stands in its window, and under which body."""

    def __init__(self, body_id: str) -> None:
        super().__init__(body_id)
        self.body_id = body_id


async def absence_of(
    endpoints: Endpoints,
    checker: Checker,
    endpoint: Endpoint,
    transaction: Transaction,
    reference: Reference,
) -> Expired:
    """One node's proof that the transaction was never ordered, verified. `NotFound` while its window is open there."""
    path = f"/v1/absences/{reference.account.hex()}/{reference.id.hex()}"
    query = f"digest={reference.digest.hex()}&valid_until_ms={transaction.valid_until_ms}"
    answer = await endpoints.call(endpoint, "GET", f"{path}?{query}")
    try:
        document = read_json(answer, dict)
    except NotTaken as refused:
        if refused.reason is RejectReason.ALREADY_ORDERED:
            raise _ordered(answer) from None
        raise
    return checker.absence(endpoint.name, document, transaction, reference)


def _ordered(answer: Answer) -> Exception:
    try:
        return _Ordered(msgspec.json.decode(answer.body, type=Ordered).body_id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Untrusted(f"{answer.node} says that it was ordered, but not under which body")
