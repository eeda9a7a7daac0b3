"""One signed transaction, pursued to its end: the same bytes to one node after another until the answer is final.

Decided here: what each answer means for going on. A silent, full or lying node is passed over; a refusal counts once f+1 members
gave it (one of them is honest); past its deadline a transaction is expired only on evidence. Never a second id, never new bytes.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from tallystick.network.wire.reasons import RejectReason
from tallystick.wallet.answers import RANK, AccountAnswer, SubmitAnswer, SubmitResult, read_json
from tallystick.wallet.checking import Checker
from tallystick.wallet.core.outcomes import (
    DeadlineEvidence,
    Expired,
    FinalOutcome,
    Outcome,
    Received,
    Reference,
)
from tallystick.wallet.core.signed import Signed
from tallystick.wallet.endpoints import Answer, Endpoint, Endpoints, Silent
from tallystick.wallet.errors import (
    Denied,
    NotFound,
    NotTaken,
    OutcomeUnknown,
    Unreachable,
    Untrusted,
    WalletError,
)

Wait: TypeAlias = Literal["received", "accepted", "final"]

ATTEMPT_MS_MAX = 60_000
"""What a node lets a client wait at most in one call."""

CHANGES_WITH_TIME = (RejectReason.PAST_DEADLINE, RejectReason.TOO_FAR_DEADLINE)
"""Refusals that say nothing about an earlier moment, in which another node may have taken the same bytes."""


class Tracker:
    """What is known of one transaction while nodes are asked about it."""

    def __init__(self, checker: Checker, endpoints: Endpoints, signed: Signed) -> None:
        self.signed = signed
        self.sent = False
        """Our bytes may have reached a node that did not plainly refuse them."""
        self.full: NotTaken | None = None
        self.distrust: WalletError | None = None
        self._refusals: dict[str, NotTaken | Denied] = {}
        members = [endpoint for endpoint in endpoints.all if checker.is_member(endpoint.entry.pin)]
        self._keys = {each.name: each.entry.pin for each in members or endpoints.all}
        """Whose refusals count, by the key behind the name: a member with two addresses has one voice."""
        self._needed = max(1, min(checker.members.faults + 1, len(set(self._keys.values()))))

    def refused(self, node: str, why: NotTaken | Denied) -> NotTaken | Denied | None:
        """Note a refusal that retrying would not change; returned once enough members say so."""
        self._refusals[node] = why
        if why.reason in CHANGES_WITH_TIME and self.sent:
            return None
        voices = {self._keys[each] for each in self._refusals if each in self._keys}
        return why if len(voices) >= self._needed else None

    def closing_error(self, why: str) -> WalletError:
        """What to raise when there is no more time."""
        reference = self.signed.reference
        if self.sent:
            return OutcomeUnknown(f"No final answer: {why}", reference)
        for error in (*self._refusals.values(), self.full, self.distrust):
            if error is not None:
                return error
        return Unreachable(f"No node could be reached: {why}")


class Pursuit:
    """The loop. `give_up_s`: seconds from now after which to stop without a final answer (None: by the deadline alone).

    `sent_before`: an earlier call may have handed these bytes over.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        checker: Checker,
        signed: Signed,
        wait: Wait,
        give_up_s: float | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        sent_before: bool = False,
    ) -> None:
        self._endpoints = endpoints
        self._checker = checker
        self._signed = signed
        self._wait = wait
        self._now_ms = now_ms
        self._began_s = time.monotonic()
        self._give_up_s = give_up_s
        self._tracker = Tracker(checker, endpoints, signed)
        self._tracker.sent = sent_before
        self._reached_anybody = False
        self._last_silence = ""

    async def run(self) -> Outcome:
        """The outcome in the state that was waited for, or beyond. Raises `WalletError` kinds, see `errors`."""
        patience = self._endpoints.patience
        pause_s = patience.pause_s
        while True:
            for endpoint in self._endpoints.ordered():
                outcome = await self._ask(endpoint)
                if outcome is not None:
                    return outcome
                self._stop_if_over()
            if self._now_ms() > self._signed.valid_until_ms and self._tracker.sent:
                expired = await prove_expired(self._endpoints, self._checker, self._signed)
                if expired is not None:
                    return expired
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, patience.pause_s_max)

    async def _ask(self, endpoint: Endpoint) -> Outcome | None:
        attempt_s = self._attempt_s()
        body = msgspec.json.encode(
            {
                "transactions": [self._signed.raw.hex()],
                "wait": self._wait,
                "timeout_ms": min(ATTEMPT_MS_MAX, int(attempt_s * 1_000)),
            }
        )
        timeout_s = attempt_s + self._endpoints.patience.answer_s
        try:
            answer = await self._endpoints.call(
                endpoint, "POST", "/v1/transactions", body=body, timeout_s=timeout_s
            )
        except Silent as silent:
            self._endpoints.failed(endpoint, str(silent))
            self._last_silence = str(silent)
            self._tracker.sent |= silent.sent
            return None
        self._reached_anybody = True
        try:
            return self._hear(endpoint, answer)
        except Untrusted as untrusted:
            self._tracker.sent = True  # a liar may have passed it on
            self._tracker.distrust = untrusted
            self._endpoints.failed(
                endpoint, untrusted.sentence, self._endpoints.patience.rest_s_max
            )
            return None

    def _hear(self, endpoint: Endpoint, answer: Answer) -> Outcome | None:
        """What one answer says; None to ask on. Raises the refusal that is to be believed, or `Untrusted`."""
        try:
            results = read_json(answer, SubmitAnswer).results
        except (NotTaken, Denied) as why:
            self._hear_refusal(endpoint, why, answer.retry_after_s)
            return None
        if len(results) != 1:
            raise Untrusted(f"{endpoint.name} gave {len(results)} results for one transaction")
        (result,) = results
        if result.state == "refused":
            code = result.reason or ""
            refusal = self._checker.refusal(endpoint.name, code, result.detail)
            self._hear_refusal(endpoint, refusal, None)
            return None
        self._tracker.sent = True
        outcome = self._outcome(endpoint, result)
        self._endpoints.well(endpoint)
        return outcome if RANK[result.state] >= RANK[self._wait] else None

    def _outcome(self, endpoint: Endpoint, result: SubmitResult) -> Outcome:
        """The result, once its evidence has been checked."""
        if result.state == "final":
            return self._checker.receipt_document(endpoint.name, result.receipt, self._signed)
        if result.state == "accepted":
            return self._checker.accepted(endpoint.name, result, self._signed)
        return Received(self._signed.reference, endpoint.name)

    def _hear_refusal(
        self, endpoint: Endpoint, why: NotTaken | Denied, retry_after_s: float | None
    ) -> None:
        if isinstance(why, NotTaken) and why.retryable:
            self._tracker.full = why
            self._endpoints.failed(endpoint, why.sentence, retry_after_s)
            return
        self._endpoints.well(endpoint)
        believed = self._tracker.refused(endpoint.name, why)
        if believed is not None:
            raise believed

    def _attempt_s(self) -> float:
        attempt_s = self._endpoints.patience.attempt_s
        if self._give_up_s is None:
            return attempt_s
        left_s = self._give_up_s - (time.monotonic() - self._began_s)
        return max(0.0, min(attempt_s, left_s))

    def _stop_if_over(self) -> None:
        patience = self._endpoints.patience
        passed_s = time.monotonic() - self._began_s
        if self._give_up_s is not None and passed_s >= self._give_up_s:
            raise self._tracker.closing_error(f"waited {passed_s:.1f} s")
        if self._now_ms() > self._signed.valid_until_ms + patience.after_deadline_s * 1_000:
            raise self._tracker.closing_error(
                "its deadline has passed, without proof of what became of it"
            )
        if (
            not self._reached_anybody
            and not self._tracker.sent
            and passed_s >= patience.unreachable_s
        ):
            raise self._tracker.closing_error(self._last_silence)


async def prove_expired(
    endpoints: Endpoints, checker: Checker, signed: Signed
) -> FinalOutcome | None:
    """Past the deadline: its receipt after all, `Expired` on the word of f+1 members, or None if neither can be had.

    Each member first shows a certified block later than the deadline, and only then is asked for the transaction: an honest
    one would have it by then.
    """
    without: dict[bytes, tuple[str, int, int]] = {}  # by key: two addresses are one member
    for endpoint in endpoints.ordered():
        try:
            answer = await endpoints.call(
                endpoint, "GET", f"/v1/accounts/{signed.reference.account.hex()}"
            )
            header = checker.account(
                endpoint.name, read_json(answer, AccountAnswer), signed.reference.account
            ).header
            if header.time_ms <= signed.valid_until_ms:
                continue
            found = await find_receipt(endpoints, checker, endpoint, signed)
        except (Silent, WalletError) as error:
            endpoints.failed(endpoint, str(error))
            continue
        if found is not None:
            return found
        if checker.is_member(endpoint.entry.pin):
            without[endpoint.entry.pin] = (endpoint.name, header.time_ms, header.height)
    if len(without) <= checker.members.faults:
        return None  # `Wallet.resolve` has proof from any one node once the deadline's window is closed
    time_ms, height = min((time_ms, height) for _, time_ms, height in without.values())
    evidence = DeadlineEvidence(
        time_ms, height, tuple(sorted(name for name, _, _ in without.values()))
    )
    return Expired(signed.reference, None, evidence)


async def find_receipt(
    endpoints: Endpoints, checker: Checker, endpoint: Endpoint, signed: Signed
) -> FinalOutcome | None:
    """One node's receipt of this transaction, verified; None if the node has none. `Silent` or `WalletError`."""
    reference = signed.reference
    for query in (f"body_id={reference.body_id.hex()}", f"digest={reference.digest.hex()}"):
        answer = await endpoints.call(endpoint, "GET", f"{receipt_path(reference)}?{query}")
        try:
            document = read_json(answer, dict)
        except NotFound:
            continue
        return checker.receipt_document(endpoint.name, document, signed)
    return None


def receipt_path(reference: Reference) -> str:
    return f"/v1/receipts/{reference.account.hex()}/{reference.id.hex()}"
