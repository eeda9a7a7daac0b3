"""What people ask when something is wrong: why nothing becomes final, and who has signed what excludes each other.

Decided here: from when on a wait is called a stall, and what keeps a node from being ready. Not here: what is waited for
(`consensus.waiting`, `node.core.stalls`).
"""

from typing import Final

from aiohttp import web

from tallystick.consensus.waiting import Phase
from tallystick.network.proofs.evidence_file import evidence_to_bytes, evidence_to_document
from tallystick.node.api import bounds, schemas
from tallystick.node.api.checkpoints import height_of
from tallystick.node.api.parts import PARTS, ApiParts
from tallystick.node.api.ports import StatusView
from tallystick.node.api.stall_words import wanted

STALLED_AFTER_MS: Final = 1_000
"""A final block that has been owed for longer: a view change of a lost leader takes about this long."""

READY_BEHIND_BLOCKS_MAX: Final = 8
"""So many certified blocks a node may lack and still be ready: about what one view has in flight, fetched in milliseconds."""


async def why_stalled(request: web.Request) -> web.Response:
    """Route `why_stalled`."""
    answer = explained(request.app[PARTS])
    return web.Response(text=answer.model_dump_json(), content_type="application/json")


async def evidence(request: web.Request) -> web.Response:
    """Route `evidence`: as many from a place on as one answer holds, and at least one."""
    first = height_of("from", request.query.get("from", "0"))
    found = request.app[PARTS].node.reader.evidence()
    told: list[dict[str, object]] = []
    room = bounds.EVIDENCE_BYTES_PER_ANSWER_MAX
    for file in found[first:]:
        room -= len(evidence_to_bytes(file))
        if told and room < 0:
            break
        told.append(evidence_to_document(file))
    answer = schemas.EvidenceResponse(evidence=told, total=len(found))
    return web.Response(text=answer.model_dump_json(), content_type="application/json")


def explained(parts: ApiParts) -> schemas.WhyStalledResponse:
    """As of now."""
    now_ms, status = parts.now_ms(), parts.node.status()
    waiting = status.waiting
    halted = status.halted is not None
    waited_ms = max(0, now_ms - waiting.since_ms)
    stalled = halted or waited_ms >= STALLED_AFTER_MS
    down: dict[int, int] = dict(status.peers_down)
    names: dict[int, str] = {member.id: member.name for member in parts.network.voters}

    def peer(node: int) -> schemas.AwaitedMember:
        return schemas.AwaitedMember(
            id=node,
            name=names.get(node, "?"),
            up=None if node == status.node else node not in down,
            down_since_ms=down.get(node),
        )

    phase = Phase.PEOPLE if halted else waiting.phase
    awaited = () if halted else waiting.awaited
    return schemas.WhyStalledResponse(
        stalled=stalled,
        sentence=_sentence(parts, status, stalled, now_ms, waited_ms),
        phase=phase.value,
        awaited=[peer(node) for node in awaited],
        needed=0 if halted else waiting.needed,
        since_ms=waiting.since_ms,
        waited_ms=waited_ms,
        engine=status.engine,
        epoch=status.epoch,
        view=status.view,
        leader=status.leader,
        height=waiting.height,
        unblocks=waiting.unblocks,
        halted=status.halted,
        alarm=status.alarm,
        peers_down=[peer(node) for node in sorted(down)],
        catch_up_to=status.catch_up_to,
        last_final_height=status.height,
        last_final_time_ms=status.block_time_ms,
        last_final_age_ms=max(0, now_ms - status.block_time_ms),
    )


def _sentence(
    parts: ApiParts, status: StatusView, stalled: bool, now_ms: int, waited_ms: int
) -> str:
    last = (
        f"The last final block is {status.height}, {max(0, now_ms - status.block_time_ms)} ms old"
    )
    if status.halted is not None:
        return f"The node has halted: {status.halted}. {last}."
    if not stalled:
        return f"Nothing is stalled. {last}."
    names: dict[int, str] = {member.id: member.name for member in parts.network.voters}
    waiting = status.waiting
    place = f"{'term' if status.engine == 'raft' else 'view'} {status.view}"
    return f"For {waited_ms} ms height {waiting.height} waits in {place} for {wanted(waiting, names)}. {last}."


def lag(status: StatusView, now_ms: int, ready_lag_ms: int) -> list[str]:
    """Why this node does not count as caught up; empty when it does."""
    found: list[str] = []
    age_ms = now_ms - status.block_time_ms
    if age_ms > ready_lag_ms:
        found.append(f"the newest block is {age_ms} ms old, more than {ready_lag_ms}")
    behind = 0 if status.catch_up_to is None else status.catch_up_to - status.height
    if behind > READY_BEHIND_BLOCKS_MAX:
        found.append(f"catching up: {behind} certified blocks are missing here")
    if not status.level:
        found.append("no block has become final here since the node started: it may be far behind")
    return found
