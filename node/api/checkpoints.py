"""Checkpoints and the consistency of the history: what a monitor, a witness or an auditor reads.

Both are public among those who may ask at all: links and roots say nothing of anybody's accounts. Not here: how they are verified
(`network.proofs.checkpoints`, `network.proofs.merkle`).
"""

from typing import Final

from aiohttp import web

from tallystick.network.proofs.checkpoints import document_to_bytes
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import bounds, schemas
from tallystick.node.api.parts import PARTS

NOTE_TYPE: Final = "text/plain"
_HEIGHT_MAX: Final = 2**63 - 1


def height_of(name: str, text: str) -> int:
    """A height (or another place in an order) from a path or a query, or `Refused(BAD_REQUEST)`."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _HEIGHT_MAX):
        raise Refused(RejectReason.BAD_REQUEST, f"{name} is a decimal number below 2**63.")
    return int(text)


async def newest(request: web.Request) -> web.Response:
    """Route `checkpoint_latest`."""
    return _answer(request, None)


async def at_height(request: web.Request) -> web.Response:
    """Route `checkpoint`."""
    return _answer(request, height_of("height", request.match_info["height"]))


def _answer(request: web.Request, height: int | None) -> web.Response:
    document, note = request.app[PARTS].node.reader.checkpoint(height)
    match request.query.get("form", "document"):
        case "document":
            # The document's one text, so that what `curl` saves is a file that verifies.
            return web.Response(body=document_to_bytes(document), content_type="application/json")
        case "note":
            text = note.text()
            return web.Response(text=text, content_type=NOTE_TYPE, charset="utf-8")
        case _:
            raise Refused(RejectReason.BAD_REQUEST, "form is document or note.")


async def consistency(request: web.Request) -> web.Response:
    """Route `consistency`: RFC 6962's proof between the histories up to two certified heights."""
    wanted = [request.query.get(name) for name in ("from", "to")]
    if wanted[0] is None or wanted[1] is None:
        raise Refused(RejectReason.BAD_REQUEST, "from and to are two heights.")
    first, second = height_of("from", wanted[0]), height_of("to", wanted[1])
    if first > second:
        raise Refused(RejectReason.BAD_REQUEST, "from is at most to.")
    root1, root2, proof = request.app[PARTS].node.reader.consistency(first, second)
    model = schemas.ConsistencyResponse(
        sizes=[first + 1, second + 1],
        roots=[root1.hex(), root2.hex()],
        proof=[each.hex() for each in proof],
    )
    return web.Response(text=model.model_dump_json(), content_type="application/json")


async def links(request: web.Request) -> web.Response:
    """Route `links`: leaves of the history, for whoever builds the log again."""
    wanted = request.query.get("from")
    if wanted is None:
        raise Refused(RejectReason.BAD_REQUEST, "from is a height.")
    first = height_of("from", wanted)
    found = request.app[PARTS].node.reader.links(first, bounds.LINKS_PER_ANSWER_MAX)
    return web.Response(body=found, content_type="application/octet-stream")
