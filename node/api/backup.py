"""Route `backup`: the certified ledger of one instant, streamed to an operator who makes a backup of it.

The rows come from a snapshot of the database, a chunk at a time on another thread, as fast as the client takes them; the node
goes on meanwhile. One at a time. What ends early lacks its last mark, so nobody takes it for a backup.
"""

import asyncio
from collections.abc import Generator
from contextlib import suppress

import structlog
from aiohttp import web

from tallystick.network.wire.faults import OperationalError, Refused, present
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api.parts import PARTS, PRINCIPAL
from tallystick.node.upkeep.segments import framed

BACKING_UP: web.AppKey[asyncio.Lock] = web.AppKey("backing_up", asyncio.Lock)

log = structlog.get_logger("tallystick.operations")


async def backup(request: web.Request) -> web.StreamResponse:
    """Who asked for it, and how it ended, goes to the log."""
    told = log.bind(operation="backup", principal=request[PRINCIPAL].name)
    lock = request.app[BACKING_UP]
    if lock.locked():
        told.warning("operation", outcome=RejectReason.OVERLOADED.code)
        raise Refused(RejectReason.OVERLOADED, "A backup is under way; one at a time.")
    async with lock:
        rows = present(request.app[PARTS].ledger_rows, "a member without its ledger's rows")
        pieces = framed(rows())
        try:
            response = await _send(request, pieces)
        except OperationalError as error:
            told.warning("operation", outcome="failed", error=str(error))
            raise
        except (ConnectionError, asyncio.CancelledError):
            told.warning("operation", outcome="the client went away")
            raise
        finally:
            with suppress(ValueError):  # a thread is in it still: it ends with the thread
                pieces.close()
    told.warning("operation", outcome="done")
    return response


async def _send(request: web.Request, pieces: Generator[bytes, None, None]) -> web.StreamResponse:
    first = await asyncio.to_thread(next, pieces, None)  # a failure here is still a problem+json
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    piece = first
    while piece is not None:
        await response.write(piece)
        try:
            piece = await asyncio.to_thread(next, pieces, None)
        except OperationalError:
            if request.transport is not None:
                request.transport.abort()  # the client must not see a regular end
            raise
    await response.write_eof()
    return response
