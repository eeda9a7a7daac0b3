"""How the node is: status, health, readiness, metrics, and the two documents (genesis, OpenAPI).

Ready means that work sent here will be settled: caught up, a quorum of members up with this one, not halted.
"""

from collections.abc import Sequence

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tallystick.network.wire.faults import Refused, present
from tallystick.network.wire.genesis import genesis_to_json
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import schemas
from tallystick.node.api.parts import PARTS, PRINCIPAL, ApiParts
from tallystick.node.api.stalls import lag

log = structlog.get_logger("tallystick.operations")

OPENAPI: web.AppKey[bytes] = web.AppKey("openapi", bytes)
"""The document of the routes that this app serves, made once."""


def missing_for_ready(parts: ApiParts) -> tuple[str, ...]:
    """Sentences that say why work should go elsewhere; empty when ready."""
    status = parts.node.status()
    missing: list[str] = []
    if status.halted is not None:
        missing.append(f"halted: {status.halted}")
    missing += lag(status, parts.now_ms(), parts.ready_lag_ms)
    members = parts.network.members
    if parts.audit is None and status.node not in members:
        missing.append(
            f"node {status.node} does not vote in epoch {status.epoch}: it takes no work"
        )
    up = set(status.peers_up) | {status.node}
    members_up = sum(1 for member in members.ids if member in up)
    wanted = members.quorum if parts.audit is None else 1
    if members_up < wanted:
        missing.append(f"{members_up} of {len(members)} members are up, {wanted} are needed")
    if parts.audit is not None and (divergence := parts.audit().divergence) is not None:
        missing.append(f"divergence: {divergence}")
    return tuple(missing)


async def status(request: web.Request) -> web.Response:
    """Route `status`."""
    parts = request.app[PARTS]
    now, network = parts.node.status(), parts.network
    audit = None if parts.audit is None else parts.audit()
    up: Sequence[int] = now.peers_up
    answer = schemas.StatusResponse(
        network=network.genesis.name,
        chain=network.chain,
        genesis_hash=network.hash.hex(),
        node=now.node,
        role="member" if audit is None else "observer",
        engine=now.engine,
        epoch=now.epoch,
        view=now.view,
        leader=now.leader,
        height=now.height,
        link=now.link.hex(),
        state_root=now.state_root.hex(),
        block_time_ms=now.block_time_ms,
        pool_size=now.pool_size,
        in_flight=now.in_flight,
        peers_up=sorted(up),
        members=[
            schemas.Member(id=m.id, name=m.name, up=None if m.id == now.node else m.id in up)
            for m in network.voters
        ],
        waiting_for=now.waiting_for,
        alarm=now.alarm,
        halted=now.halted,
        ready=not missing_for_ready(parts),
        audit=None
        if audit is None
        else schemas.Audit(
            lag_ms=audit.lag_ms,
            blocks_executed=audit.blocks_executed,
            divergence=audit.divergence,
        ),
    )
    return web.Response(text=answer.model_dump_json(), content_type="application/json")


async def hand_over(request: web.Request) -> web.Response:
    """Route `hand_over`. Who asked for it, and what came of it, goes to the log whatever happens."""
    parts, principal = request.app[PARTS], request[PRINCIPAL]
    text = request.query.get("to")
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise Refused(RejectReason.BAD_REQUEST, "to is a member's number.")
    to = None if text is None else NodeId(int(text))
    if to is not None and (to not in parts.network.members or to == parts.node.status().node):
        raise Refused(RejectReason.BAD_REQUEST, f"{to} is no other member's number.")
    told = log.bind(operation="hand-over", principal=principal.name, to=to)
    try:
        leading = present(parts.leading, "a member without a driver")
        done = await leading.hand_over(to)
    except Refused as refused:
        told.warning("operation", outcome=refused.reason.code)
        raise
    now = parts.node.status()
    told.warning("operation", outcome="done" if done else "nobody took over", leader=now.leader)
    answer = schemas.HandOverResponse(handed_over=done, leader=now.leader, view=now.view)
    return web.Response(text=answer.model_dump_json(), content_type="application/json")


async def genesis(request: web.Request) -> web.Response:
    """Route `genesis`: the file by field names, as `tallystick network init` wrote it."""
    body = genesis_to_json(request.app[PARTS].network.genesis)
    return web.Response(body=body, content_type="application/json")


async def healthz(request: web.Request) -> web.Response:
    """Route `healthz`."""
    halted = request.app[PARTS].node.status().halted
    if halted is not None:
        raise Refused(RejectReason.NOT_READY, f"The node has halted: {halted}")
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Route `readyz`."""
    missing = missing_for_ready(request.app[PARTS])
    answer = {"ready": not missing, "missing": list(missing)}
    return web.json_response(answer, status=503 if missing else 200)


async def metrics(request: web.Request) -> web.Response:
    """Route `metrics`."""
    text = generate_latest(request.app[PARTS].registry)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def openapi(request: web.Request) -> web.Response:
    """Route `openapi`."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


def encode_document(document: object) -> bytes:
    """The document's bytes."""
    return msgspec.json.encode(document)
