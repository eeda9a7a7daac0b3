"""What is read of the certified ledger: receipts, transactions, accounts, blocks; never an overlay of blocks in flight.

Decided here: what "own" means. `read:own` sees accounts of the principal's participant, and receipts where that participant
pays or is paid. Account ids are derived from public numbers, so "not yours" (403) may differ from "does not exist" (404).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, TypeAlias

import msgspec
from aiohttp import web
from pydantic import BaseModel

from tallystick.network.proofs.document import receipt_to_bytes, to_document
from tallystick.network.proofs.receipts import Receipt, Status
from tallystick.network.wire.blocks import link_of
from tallystick.network.wire.faults import Refused, present
from tallystick.network.wire.ids import AccountId
from tallystick.network.wire.reasons import BY_NUMBER, RejectReason
from tallystick.network.wire.transactions.codec import TRANSACTION
from tallystick.node.api import schemas
from tallystick.node.api.parts import PARTS, PRINCIPAL, PROVING, ApiParts
from tallystick.node.api.ports import AccountView
from tallystick.node.api.schemas import plain
from tallystick.node.api.tokens import Principal, Scope

_HEX = re.compile(r"[0-9a-fA-F]*")
_UNTIL_MS = re.compile(r"[0-9]{1,16}")
_HEIGHT_MAX: Final = 2**63 - 1


Handler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]


def confirmable(handler: Handler) -> Handler:
    """With `?read=quorum` the handler runs once a quorum has confirmed that nothing final is missing here."""

    @wraps(handler)
    async def confirmed(request: web.Request) -> web.Response:
        match request.query.get("read", "local"):
            case "local":
                pass
            case "quorum":
                leading = request.app[PARTS].leading
                if leading is None:
                    raise Refused(RejectReason.BAD_REQUEST, "An observer confirms no reads.")
                await leading.read_at_quorum()
            case _:
                raise Refused(RejectReason.BAD_REQUEST, "read is local or quorum.")
        return await handler(request)

    return confirmed


@confirmable
async def receipt(request: web.Request) -> web.Response:
    """Route `receipt`: the document that `tallystick receipt verify` takes."""
    parts, principal = request.app[PARTS], request[PRINCIPAL]
    account, id_ = AccountId(path_bytes(request, "account", 20)), path_bytes(request, "id", 32)
    wanted, digest = query_bytes(request, "body_id", 32), query_bytes(request, "digest", 32)
    reader = parts.node.reader
    place = (None if wanted is None else reader.locate_body(wanted)) or reader.locate(account, id_)
    if place is None:
        raise Refused(
            RejectReason.NOT_FOUND, "No receipt yet: not ordered, or not known to this node."
        )
    found = reader.receipt(place.height, place.index)
    _may_see_receipt(parts, principal, found)  # before a word about what stands there
    if digest is not None and place.digest != digest:
        raise Refused(
            RejectReason.NOT_FOUND,
            "The id was taken by another digest; ask with body_id for a rejected repeat.",
            taken_by=place.digest,
        )
    if (found.outcome.account, found.outcome.id) != (account, id_) or (
        wanted not in (None, found.outcome.body_id)
    ):
        raise Refused(RejectReason.NOT_FOUND, "No receipt of that body for this account and id.")
    # The receipt's one text, so that what `curl` saves is a file that verifies.
    return web.Response(body=receipt_to_bytes(found), content_type="application/json")


@confirmable
async def absence(request: web.Request) -> web.Response:
    """Route `absence`: the node's part of the proof; whoever has the transaction makes the file of it."""
    parts, principal = request.app[PARTS], request[PRINCIPAL]
    account, id_ = AccountId(path_bytes(request, "account", 20)), path_bytes(request, "id", 32)
    digest = query_bytes(request, "digest", 32)
    until_ms = request.query.get("valid_until_ms", "")
    if digest is None or not _UNTIL_MS.fullmatch(until_ms):
        raise Refused(RejectReason.BAD_REQUEST, "digest and valid_until_ms are needed.")
    reader = parts.node.reader
    if Scope.READ_ALL not in principal.scopes:
        _may_see_account(principal, reader.account(account))
    if reader.height == 0:
        raise Refused(RejectReason.NOT_FOUND, "No block is certified yet.")
    async with request.app[PROVING]:
        finish = reader.absence(account, id_, digest, int(until_ms))
        # Sorting and hashing a full window takes half a second: beside the loop, and one at a time.
        proof = await asyncio.to_thread(finish)
    return web.json_response(body=msgspec.json.encode(to_document(proof)))


@confirmable
async def transaction(request: web.Request) -> web.Response:
    """Route `transaction`: final with its place, else the state in which this node holds it."""
    parts, principal = request.app[PARTS], request[PRINCIPAL]
    account, id_ = AccountId(path_bytes(request, "account", 20)), path_bytes(request, "id", 32)
    place = parts.node.reader.locate(account, id_)
    if place is not None:
        found = parts.node.reader.receipt(place.height, place.index)
        _may_see_receipt(parts, principal, found)
        return _model(_final(found))
    if not parts.waits(account, id_):
        raise Refused(
            RejectReason.NOT_FOUND, "Neither on the certified ledger nor waiting at this node."
        )
    _may_see_account(principal, parts.node.reader.account(account))
    waiting = schemas.TransactionResponse(account=account.hex(), id=id_.hex(), state="received")
    return _model(waiting)


def _final(found: Receipt) -> schemas.TransactionResponse:
    outcome = found.outcome
    status: Final = {
        Status.SETTLED: "settled",
        Status.REJECTED: "rejected",
        Status.EXPIRED: "expired",
    }
    return schemas.TransactionResponse.model_validate(
        {
            "account": outcome.account.hex(),
            "id": outcome.id.hex(),
            "digest": outcome.digest.hex(),
            "body_id": outcome.body_id.hex(),
            "state": "final",
            "status": status[Status(outcome.status)],
            "reason": BY_NUMBER[outcome.reason].code if outcome.reason else None,
            "height": outcome.height,
            "index": outcome.index,
            "opened": outcome.opened.hex() or None,
        }
    )


@confirmable
async def account(request: web.Request) -> web.Response:
    """Route `account`: balances and headroom, with the proof that leads to a certificate."""
    parts, principal = request.app[PARTS], request[PRINCIPAL]
    id_ = AccountId(path_bytes(request, "account", 20))
    reader = parts.node.reader
    if reader.height == 0:
        raise Refused(
            RejectReason.NOT_READY, "No block is certified yet; there is nothing to prove."
        )
    record = reader.account(id_)
    if record is None:
        raise Refused(RejectReason.NOT_FOUND, "There is no such account on the certified ledger.")
    _may_see_account(principal, record)
    key, value, blind, state, block_proof = reader.account_proof(id_)
    certified = block_proof.header
    return _model(
        schemas.AccountResponse(
            account=id_.hex(),
            participant=record.participant,
            serial=record.serial,
            tier=record.tier,
            threshold=record.threshold,
            keys=[spend_key.hex() for spend_key in record.keys],
            balances=_balances(parts, record),
            headroom=[
                schemas.Headroom.model_validate({"rule": "R04"} | plain(left))
                for left in parts.network.headroom(record, certified.height, certified.time_ms)
                if left.cap_minor is not None and left.limit_minor is not None
            ],
            height=certified.height,
            time_ms=certified.time_ms,
            state_root=block_proof.result.state_root.hex(),
            proof=schemas.AccountProof(
                key=key.hex(),
                value=None if value is None else value.hex(),
                blind=blind.hex(),
                state=to_document(state),
                block=to_document(block_proof),
            ),
        )
    )


def _balances(parts: ApiParts, record: AccountView) -> list[schemas.Balance]:
    exponents = parts.network.exponents
    return [
        schemas.Balance(asset=asset, exponent=exponents[asset], amount_minor=amount)
        for asset, amount in sorted(record.balances.items())
    ]


@confirmable
async def block(request: web.Request) -> web.Response:
    """Route `block`."""
    parts = request.app[PARTS]
    text = request.match_info["height"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _HEIGHT_MAX):
        raise Refused(RejectReason.BAD_REQUEST, "height is a decimal number below 2**63.")
    found = parts.node.reader.block(int(text))
    if found is None:
        raise Refused(RejectReason.NOT_FOUND, "There is no certified block of this height here.")
    return _model(
        schemas.BlockResponse(
            height=found.header.height,
            link=link_of(found.header, found.result).hex(),
            header=to_document(found.header),
            result=to_document(found.result),
            certificate=None if found.certificate is None else to_document(found.certificate),
            body_ids=[body_id.hex() for body_id in found.body_ids],
        )
    )


def _may_see_receipt(parts: ApiParts, principal: Principal, found: Receipt) -> None:
    """`Refused(FOREIGN_ACCOUNT)` unless the principal reads all, or his participant pays or is paid."""
    if Scope.READ_ALL in principal.scopes:
        return
    transaction = TRANSACTION.decode(found.transaction)
    parties = (transaction.account, getattr(transaction, "creditor", transaction.account))
    records = [parts.node.reader.account(AccountId(party)) for party in parties]
    if not any(_is_own(principal, record) for record in records if record is not None):
        raise Refused(RejectReason.FOREIGN_ACCOUNT)


def _may_see_account(principal: Principal, record: AccountView | None) -> None:
    """`Refused(FOREIGN_ACCOUNT)` unless the principal reads all, or the account is his participant's."""
    if Scope.READ_ALL not in principal.scopes and (
        record is None or not _is_own(principal, record)
    ):
        raise Refused(RejectReason.FOREIGN_ACCOUNT)


def _is_own(principal: Principal, record: AccountView) -> bool:
    return principal.participant is not None and record.participant == principal.participant


def path_bytes(request: web.Request, name: str, length: int) -> bytes:
    """The path's hex parameter, of exactly `length` bytes, or `Refused(BAD_REQUEST)`."""
    return _bytes_of(
        name, present(request.match_info.get(name), "a route without its parameter"), length
    )


def query_bytes(request: web.Request, name: str, length: int) -> bytes | None:
    """The query's hex parameter, None if absent."""
    text = request.query.get(name)
    return None if text is None else _bytes_of(name, text, length)


def _bytes_of(name: str, text: str, length: int) -> bytes:
    digits = text.removeprefix("0x")
    if len(digits) != 2 * length or not _HEX.fullmatch(digits):
        raise Refused(RejectReason.BAD_REQUEST, f"{name} is {length} bytes of hex.")
    return bytes.fromhex(digits)


def _model(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")
