"""POST /v1/transactions: JSON for people and SDKs, a msgpack twin for bulk, which never meets pydantic.

Decided here: the shape of both, quotas, what one refusal or a flood answers. Not here: whether a transaction is good
(`node.core.admission`), or for whom this principal may submit: the core refuses FOREIGN_ACCOUNT, told the participant.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct
from pydantic import ValidationError

from tallystick.network.proofs.document import receipt_to_document
from tallystick.network.wire import bounds as wire_bounds
from tallystick.network.wire.faults import Refused, invariant, present
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import TRANSACTION
from tallystick.node.api import bounds, schemas
from tallystick.node.api.parts import PARTS, PRINCIPAL, ApiParts, Network
from tallystick.node.api.ports import Ledger
from tallystick.node.api.problems import OVERLOAD, problem
from tallystick.node.api.schemas import TransactionsRequest
from tallystick.node.api.tokens import Principal
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import Wait

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
STATES: Final = {"refused": 0, "received": 1, "accepted": 2, "final": 3, "pending": 4}
_WAITS: Final = {"received": Wait.RECEIVED, "accepted": Wait.ACCEPTED, "final": Wait.FINAL}


class BulkRequest(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The binary twin's request: [wait, timeout_ms, [transaction, ...]]."""

    wait: Annotated[int, Meta(ge=1, le=3)]
    timeout_ms: Annotated[int, Meta(ge=0, le=bounds.TIMEOUT_MS_MAX)]
    transactions: Annotated[
        list[bytes], Meta(min_length=1, max_length=bounds.REQUEST_TRANSACTIONS_MAX)
    ]


_decode_bulk = msgspec.msgpack.Decoder(BulkRequest).decode
_encode = msgspec.msgpack.Encoder().encode


async def submit(request: web.Request) -> web.Response:
    """Route `submit`."""
    parts, principal = request.app[PARTS], request[PRINCIPAL]
    kind = request.content_type
    if kind not in (JSON, MSGPACK) or "Content-Encoding" in request.headers:
        return problem(
            RejectReason.BAD_REQUEST,
            f"Send {JSON} or {MSGPACK}, without Content-Encoding.",
            status=415,
        )
    bulky = kind == MSGPACK
    if bulky:
        _refuse_when_full(parts)  # unread: what a flood gets must cost next to nothing
    length = request.content_length
    # Without a length it may become the largest; above it, aiohttp stops reading.
    size = bounds.BODY_BYTES_MAX if length is None else min(length, bounds.BODY_BYTES_MAX)
    with parts.quotas.reading(principal.name, max(1, size)):
        body = await read_body(request)
    if bulky:
        _refuse_when_full(parts)  # others came while the body did
        bulk = _bulk(body)
        answers = await _answers(
            parts, principal, bulk.transactions, Wait(bulk.wait), bulk.timeout_ms
        )
        return overload_problem(answers) or _binary(parts.node.reader, answers)
    asked = _json(body)
    raws = [bytes.fromhex(text.removeprefix("0x")) for text in asked.transactions]
    answers = await _answers(parts, principal, raws, _WAITS[asked.wait], asked.timeout_ms)
    if refusal := overload_problem(answers):
        return refusal
    results = [result_of(parts, raw, answer) for raw, answer in zip(raws, answers, strict=True)]
    if len(answers) == 1 and answers[0].state == "refused":
        return _single_refusal(answers[0], results[0])
    text = schemas.TransactionsResponse(results=results).model_dump_json()
    return web.Response(text=text, content_type=JSON)


def _refuse_when_full(parts: ApiParts) -> None:
    """`Refused(OVERLOADED)` while the node takes nothing; aiohttp throws away what still comes of the body."""
    if not present(parts.submitter, "a submit route without a submitter").has_room:
        raise Refused(RejectReason.OVERLOADED)


async def read_body(request: web.Request) -> bytes:
    """The whole body within `BODY_READ_S`, or 408; aiohttp answers 413 above `BODY_BYTES_MAX`."""
    try:
        async with asyncio.timeout(bounds.BODY_READ_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def _json(body: bytes) -> TransactionsRequest:
    try:
        return TransactionsRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "body"
        raise Refused(RejectReason.BAD_REQUEST, f"{where}: {first['msg']}") from None


def _bulk(body: bytes) -> BulkRequest:
    try:
        return _decode_bulk(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(RejectReason.BAD_REQUEST, str(error)) from None


async def _answers(
    parts: ApiParts, principal: Principal, raws: Sequence[bytes], wait: Wait, timeout_ms: int
) -> tuple[Answer, ...]:
    """Hand in, wait, count. `Refused` when a quota or the crowd of waiting requests is full: nothing was accepted."""
    submitter = present(parts.submitter, "a submit route without a submitter")
    parts.quotas.take_transactions(principal.name, principal.participant, len(raws))
    parts.quotas.begin_waiting(principal.name)
    try:
        answers = await submitter.submit(raws, wait, principal.participant, timeout_ms / 1000)
    finally:
        parts.quotas.end_waiting(principal.name)
    invariant(
        len(answers) == len(raws), "one answer for each body", sent=len(raws), got=len(answers)
    )
    counted = Counter((a.state, a.reason.code if a.reason else "") for a in answers)
    for (state, reason), count in counted.items():
        parts.meters.transactions.labels(state, reason).inc(count)
    return answers


def overload_problem(answers: Sequence[Answer]) -> web.Response | None:
    """429 if every transaction was refused for want of room: nothing was accepted."""
    for answer in answers:
        if answer.state != "refused" or answer.reason not in OVERLOAD:
            return None
    reason = present(answers[0].reason, "a refusal without a reason")
    return problem(reason, f"{reason.sentence} ({len(answers)} of {len(answers)} transactions.)")


def _single_refusal(answer: Answer, result: schemas.TransactionResult) -> web.Response:
    reason = present(answer.reason, "a refusal without a reason")
    facts = {
        "body_id": result.body_id,
        "account": result.account,
        "id": result.id,
        "digest": result.digest,
    }
    return problem(
        reason, answer.detail, facts={name: v for name, v in facts.items() if v is not None}
    )


def result_of(parts: ApiParts, raw: bytes, answer: Answer) -> schemas.TransactionResult:
    """One transaction's JSON result, with its receipt once it is final."""
    account, id_, digest = identify(parts.network, raw)
    receipt = None
    if answer.state == "final":
        receipt = receipt_to_document(parts.node.reader.receipt(answer.height, answer.index))
    return schemas.TransactionResult.model_construct(
        body_id=answer.body_id.hex(),
        account=account,
        id=id_,
        digest=digest,
        state=answer.state,
        reason=answer.reason.code if answer.reason else None,
        detail=answer.detail,
        retryable=answer.reason.retryable if answer.reason else False,
        receipt=receipt,
        holders=[
            schemas.Holder(node=node, signature=signed.hex()) for node, signed in answer.holders
        ],
        batch=answer.batch.hex() or None,
        siblings=[body_id.hex() for body_id in answer.siblings],
    )


def identify(network: Network, raw: bytes) -> tuple[str | None, str | None, str | None]:
    """(account, id, digest) as hex; all None for bytes that are no transaction, digest None for another chain's."""
    if len(raw) > wire_bounds.TRANSACTION_BYTES_MAX:
        return None, None, None
    try:
        transaction = TRANSACTION.decode(raw)
    except Refused:
        return None, None, None
    ours = transaction.chain == network.chain
    digest = network.digest(transaction).hex() if ours else None
    return transaction.account.hex(), transaction.id.hex(), digest


def _binary(reader: Ledger, answers: Sequence[Answer]) -> web.Response:
    """[[state, body id, reason number, height, index], ...] and one bundle for each block among the final ones."""
    rows = []
    places: defaultdict[int, list[int]] = defaultdict(list)
    for answer in answers:
        reason = answer.reason.number if answer.reason else 0
        rows.append((STATES[answer.state], answer.body_id, reason, answer.height, answer.index))
        if answer.state == "final":
            places[answer.height].append(answer.index)
    bundles = [
        reader.bundle(height, tuple(sorted(set(indexes))))
        for height, indexes in sorted(places.items())
    ]
    return web.Response(body=_encode((rows, bundles)), content_type=MSGPACK)
