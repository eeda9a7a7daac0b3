"""Many signed transactions at once: chunks by the binary route, spread over all nodes, until each has its end.

Decided here: size and number of chunks, and what becomes of a chunk's unfinished rest. Whatever a node could not finish, prove
or take goes on to another one as the same bytes; what is left after the bulk rounds is pursued one by one.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from tallystick.network.proofs.receipts import Bundle, BundleItem
from tallystick.network.wire.reasons import BY_NUMBER
from tallystick.wallet.answers import BulkAnswer, BulkResult, read_bulk
from tallystick.wallet.checking import Checker
from tallystick.wallet.core.outcomes import FinalOutcome, is_final
from tallystick.wallet.core.signed import Signed
from tallystick.wallet.endpoints import Endpoint, Endpoints, Silent
from tallystick.wallet.errors import Denied, NotTaken, OutcomeUnknown, Untrusted, WalletError
from tallystick.wallet.pursuit import ATTEMPT_MS_MAX, Pursuit, Tracker

CHUNK_TRANSACTIONS: Final = 500
"""In one request. A node takes 2,048; smaller chunks keep all nodes busy."""

CHUNK_BYTES: Final = 2 * 1024 * 1024
"""In one request. A node takes 4 MiB."""

WORKERS_PER_NODE: Final = 2
"""Requests under way at once: one waits for its block while the next is checked."""

FRUITLESS_ROUNDS: Final = 6
"""How often a chunk's rest is handed on in bulk without result before each transaction is pursued by itself."""

PURSUITS: Final = 16
"""Single pursuits under way at once."""

_FINAL, _REFUSED, _WAIT_FINAL = 3, 0, 3


@dataclass(slots=True)
class _Chunk:
    positions: list[int]
    round: int = 0
    fruitless: int = 0
    """Rounds in which nothing came to its end, and not merely because a node was full."""


class Bulk:
    """One call of `Wallet.submit_many`."""

    def __init__(
        self,
        endpoints: Endpoints,
        checker: Checker,
        signed: Sequence[Signed],
        sent_before: frozenset[int],
        give_up_s: float | None,
        progress: Callable[[int], None] | None,
        now_ms: Callable[[], int],
    ) -> None:
        self._endpoints = endpoints
        self._checker = checker
        self._signed = signed
        self._give_up_s = give_up_s
        self._progress = progress
        self._now_ms = now_ms
        self._began_s = time.monotonic()
        self._trackers = [Tracker(checker, endpoints, each) for each in signed]
        for position in sent_before:
            self._trackers[position].sent = True
        self._ends: list[FinalOutcome | WalletError | None] = [None] * len(signed)
        self._queue = deque(_chunks(signed))
        self._rest: list[int] = []
        self._under_way = 0

    async def run(self) -> list[FinalOutcome | WalletError]:
        """One end for each transaction, in order."""
        workers = min(len(self._queue), WORKERS_PER_NODE * len(self._endpoints.all))
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(number))
        gate = asyncio.Semaphore(PURSUITS)
        async with asyncio.TaskGroup() as group:
            for position in self._rest:
                group.create_task(self._pursue(position, gate))
        return [
            end or OutcomeUnknown("No final answer", self._signed[position].reference)
            for position, end in enumerate(self._ends)
        ]

    async def _work(self, number: int) -> None:
        while self._queue or self._under_way:
            if not self._queue:
                await asyncio.sleep(
                    self._endpoints.patience.pause_s
                )  # another worker may bring a rest back
                continue
            chunk = self._queue.popleft()
            self._under_way += 1
            try:
                full = await self._submit(chunk, self._endpoint(number + chunk.round))
            finally:
                self._under_way -= 1
            before = len(chunk.positions)
            chunk.positions = [each for each in chunk.positions if self._ends[each] is None]
            chunk.round += 1
            chunk.fruitless += not full and len(chunk.positions) == before
            if self._progress is not None:
                self._progress(sum(end is not None for end in self._ends))
            if not chunk.positions:
                continue
            if chunk.fruitless >= FRUITLESS_ROUNDS or self._over() or self._past_deadline(chunk):
                self._rest.extend(chunk.positions)
            else:
                self._queue.append(chunk)
                await asyncio.sleep(self._pause_s(chunk.round))

    def _endpoint(self, number: int) -> Endpoint:
        """Spread over the nodes that are well; if none is, the one that rested longest."""
        ordered = self._endpoints.ordered()
        well = [endpoint for endpoint in ordered if endpoint.failures == 0]
        return well[number % len(well)] if well else ordered[number % len(ordered)]

    async def _submit(self, chunk: _Chunk, endpoint: Endpoint) -> bool:
        """One request; notes the ends of all that came to one. True: the node was full and took nothing."""
        timeout_s = self._attempt_s()
        raws = [self._signed[position].raw for position in chunk.positions]
        wait_ms = min(ATTEMPT_MS_MAX, int(timeout_s * 1_000))
        body = msgspec.msgpack.encode((_WAIT_FINAL, wait_ms, raws))
        try:
            answer = await self._endpoints.call(
                endpoint,
                "POST",
                "/v1/transactions",
                body=body,
                content_type="application/msgpack",
                timeout_s=timeout_s + self._endpoints.patience.answer_s,
            )
        except Silent as silent:
            self._endpoints.failed(endpoint, str(silent))
            self._note_sent(chunk, silent.sent)
            return False
        try:
            self._hear(chunk, endpoint, read_bulk(answer))
        except NotTaken as why:
            if why.retryable:
                self._note_full(chunk, why)
                self._endpoints.failed(endpoint, why.sentence, answer.retry_after_s)
                return True
            self._note_refusal(chunk.positions, endpoint, why)
        except Denied as denied:
            self._note_refusal(chunk.positions, endpoint, denied)
            self._endpoints.failed(endpoint, denied.sentence)
        except WalletError as untrusted:
            self._note_sent(chunk, True)
            self._endpoints.failed(
                endpoint, untrusted.sentence, self._endpoints.patience.rest_s_max
            )
        else:
            self._endpoints.well(endpoint)
        return False

    def _hear(self, chunk: _Chunk, endpoint: Endpoint, answer: BulkAnswer) -> None:
        """`Untrusted` ends the hearing; what was proven before it stays proven."""
        if len(answer.results) != len(chunk.positions):
            raise Untrusted(
                f"{endpoint.name} gave {len(answer.results)} results for {len(chunk.positions)}"
            )
        if len(answer.bundles) > len(chunk.positions):
            raise Untrusted(f"{endpoint.name} gave more bundles than results")
        bundles = [self._checker.bundle(endpoint.name, raw) for raw in answer.bundles]
        places = {
            (bundle.block.header.height, item.outcome.index): (bundle, item)
            for bundle in bundles
            for item in bundle.items
        }
        by_block = sorted(
            zip(chunk.positions, answer.results, strict=True), key=lambda pair: pair[1].height
        )
        doubt: Untrusted | None = None
        for position, result in by_block:
            try:
                self._hear_one(position, endpoint, result, places)
            except Untrusted as untrusted:
                self._trackers[position].sent = True
                doubt = untrusted
        if doubt is not None:
            raise doubt

    def _hear_one(
        self,
        position: int,
        endpoint: Endpoint,
        result: BulkResult,
        places: dict[tuple[int, int], tuple[Bundle, BundleItem]],
    ) -> None:
        tracker = self._trackers[position]
        if result.state == _REFUSED:
            reason = BY_NUMBER.get(result.reason)
            why = self._checker.refusal(endpoint.name, reason.code if reason else "", "")
            if isinstance(why, NotTaken) and why.retryable:
                tracker.full = why
            else:
                self._note_refusal([position], endpoint, why)
            return
        tracker.sent = True
        if result.state != _FINAL:
            return
        found = places.get((result.height, result.index))
        if found is None:
            raise Untrusted(f"{endpoint.name} says final but gives no receipt")
        bundle, item = found
        self._ends[position] = self._checker.bundle_item(
            endpoint.name, bundle, item, self._signed[position]
        )

    async def _pursue(self, position: int, gate: asyncio.Semaphore) -> None:
        """The single way, for what the rounds left over."""
        async with gate:
            left_s = None
            if self._give_up_s is not None:
                left_s = max(0.0, self._give_up_s - (time.monotonic() - self._began_s))
            signed, sent = self._signed[position], self._trackers[position].sent
            pursuit = Pursuit(
                self._endpoints, self._checker, signed, "final", left_s, self._now_ms, sent
            )
            try:
                outcome = await pursuit.run()
            except WalletError as error:
                self._ends[position] = error
            else:
                self._ends[position] = outcome if is_final(outcome) else None
            if self._progress is not None:
                self._progress(sum(end is not None for end in self._ends))

    def _note_sent(self, chunk: _Chunk, sent: bool) -> None:
        for position in chunk.positions:
            self._trackers[position].sent |= sent

    def _note_full(self, chunk: _Chunk, why: NotTaken) -> None:
        for position in chunk.positions:
            self._trackers[position].full = why

    def _note_refusal(
        self, positions: Sequence[int], endpoint: Endpoint, why: NotTaken | Denied
    ) -> None:
        for position in positions:
            believed = self._trackers[position].refused(endpoint.name, why)
            if believed is not None:
                self._ends[position] = believed

    def _attempt_s(self) -> float:
        attempt_s = self._endpoints.patience.bulk_s
        if self._give_up_s is None:
            return attempt_s
        return max(0.0, min(attempt_s, self._give_up_s - (time.monotonic() - self._began_s)))

    def _over(self) -> bool:
        return self._give_up_s is not None and time.monotonic() - self._began_s >= self._give_up_s

    def _past_deadline(self, chunk: _Chunk) -> bool:
        now_ms = self._now_ms()
        return any(self._signed[each].valid_until_ms < now_ms for each in chunk.positions)

    def _pause_s(self, round_: int) -> float:
        patience = self._endpoints.patience
        doublings: int = 2 ** min(round_ - 1, 10)
        return min(patience.pause_s_max, patience.pause_s * doublings)


def _chunks(signed: Sequence[Signed]) -> list[_Chunk]:
    """Positions in order, closed by number or by bytes."""
    chunks: list[_Chunk] = []
    size = 0
    for position, each in enumerate(signed):
        full = not chunks or len(chunks[-1].positions) >= CHUNK_TRANSACTIONS
        if full or size + len(each.raw) > CHUNK_BYTES:
            chunks.append(_Chunk([]))
            size = 0
        chunks[-1].positions.append(position)
        size += len(each.raw)
    return chunks
