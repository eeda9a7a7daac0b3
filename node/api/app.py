"""The HTTPS server of a node: routes from the table, one order of checks for each request, and its bounds.

Order: route known → principal and scope → quota → handler; every refusal leaves as problem+json. Slow clients lose their
connection: a handshake, a request head, a body each have a time; connections have a number.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

import structlog
from aiohttp import hdrs, web

from tallystick.network.wire.faults import InvariantError, OperationalError, Refused, invariant
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import backup, bounds, checkpoints, operating, reading, stalls, submitting
from tallystick.node.api.openapi import openapi_document
from tallystick.node.api.parts import PARTS, PRINCIPAL, PROVING, ApiParts
from tallystick.node.api.problems import internal_problem, problem, problem_of, unavailable_problem
from tallystick.node.api.routes import Route

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = structlog.get_logger("tallystick.api")

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "submit": submitting.submit,
        "receipt": reading.receipt,
        "absence": reading.absence,
        "transaction": reading.transaction,
        "account": reading.account,
        "block": reading.block,
        "checkpoint_latest": checkpoints.newest,
        "checkpoint": checkpoints.at_height,
        "consistency": checkpoints.consistency,
        "links": checkpoints.links,
        "status": operating.status,
        "why_stalled": stalls.why_stalled,
        "hand_over": operating.hand_over,
        "backup": backup.backup,
        "evidence": stalls.evidence,
        "genesis": operating.genesis,
        "healthz": operating.healthz,
        "readyz": operating.readyz,
        "metrics": operating.metrics,
        "openapi": operating.openapi,
    }
)

_PROTOCOL_LOG: Final = logging.getLogger("tallystick.api.protocol")
"""aiohttp logs every request that is no HTTP as an error with a trace: a stranger would fill the disk."""
_PROTOCOL_LOG.setLevel(logging.CRITICAL)

SHUTDOWN_S: Final = 1.0
"""Running requests have this long to end when the node stops; then their outcome is open and clients ask again."""

TABLE: web.AppKey[dict[tuple[str, str], Route]] = web.AppKey("table", dict)


def make_app(
    parts: ApiParts, routes: Sequence[Route], handlers: Mapping[str, Handler] = HANDLERS
) -> web.Application:
    """The application that serves exactly `routes`; `InvariantError` if a row has no handler."""
    app = web.Application(
        middlewares=[_answer_every_error, _check_access], client_max_size=bounds.BODY_BYTES_MAX
    )
    app[PARTS] = parts
    app[backup.BACKING_UP] = asyncio.Lock()
    app[PROVING] = asyncio.Lock()
    app[TABLE] = {(route.method, route.path): route for route in routes}
    app[operating.OPENAPI] = operating.encode_document(openapi_document(routes, parts.version))
    invariant(len(app[TABLE]) == len(routes), "two rows of the route table are the same")
    for route in routes:
        invariant(route.name in handlers, "a row without a handler", route=route.name)
        app.router.add_route(route.method, route.path, handlers[route.name])
    app.on_response_prepare.append(_set_headers)
    app.on_startup.append(_refuse_undeclared_routes)
    return app


async def _refuse_undeclared_routes(app: web.Application) -> None:
    """A route that somebody registered past the table has no scopes: the node does not start with it."""
    for route in app.router.routes():
        path = route.resource.canonical if route.resource else ""
        invariant(
            (route.method, path) in app[TABLE],
            "a route without a declared row",
            method=route.method,
            path=path,
        )


@web.middleware
async def _check_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    route = _row(request)
    if route is None:
        return await handler(request)  # aiohttp's own 404 or 405
    parts = request.app[PARTS]
    principal = parts.gate.admit(request, route)
    if principal is not None:
        parts.quotas.take_request(principal.name)
        request[PRINCIPAL] = principal
    return await handler(request)


def _row(request: web.Request) -> Route | None:
    resource = request.match_info.route.resource
    return request.app[TABLE].get((request.method, resource.canonical)) if resource else None


@web.middleware
async def _answer_every_error(request: web.Request, handler: Handler) -> web.StreamResponse:
    began = time.perf_counter()
    response = await _answered(request, handler)
    route = _row(request)
    name = route.name if route else "none"
    meters = request.app[PARTS].meters
    meters.requests.labels(name, str(response.status)).inc()
    meters.seconds.labels(name).observe(time.perf_counter() - began)
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return problem_of(refused)
    except web.HTTPException as error:
        return _problem_of_http(error)
    except web.RequestPayloadError:
        return problem(RejectReason.BAD_REQUEST, "The body ended early. Nothing was accepted.")
    except OperationalError as error:
        log.warning("unavailable", method=request.method, path=request.path, error=str(error))
        return unavailable_problem()
    except InvariantError:
        log.exception("broken invariant", method=request.method, path=request.path)
        return internal_problem()
    except Exception:  # the last line of defence: the client gets a problem, the log the cause
        log.exception("failure", method=request.method, path=request.path)
        return internal_problem()


def _problem_of_http(error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals in our form."""
    match error:
        case web.HTTPNotFound():
            return problem(RejectReason.NOT_FOUND, "There is no such path.")
        case web.HTTPMethodNotAllowed():
            response = problem(RejectReason.BAD_REQUEST, "This path has other methods.", status=405)
            response.headers[hdrs.ALLOW] = ", ".join(sorted(error.allowed_methods))
            return response
        case web.HTTPRequestEntityTooLarge():
            sentence = (
                f"A request body is at most {bounds.BODY_BYTES_MAX} bytes. Nothing was accepted."
            )
            return problem(RejectReason.OVERSIZED, sentence, status=413)
        case web.HTTPRequestTimeout():
            sentence = (
                f"The body did not arrive within {bounds.BODY_READ_S:.0f} s. Nothing was accepted."
            )
            return problem(RejectReason.BAD_REQUEST, sentence, status=408)
        case _:
            return problem(RejectReason.BAD_REQUEST, error.reason, status=error.status)


async def _set_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "tallystick"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


class _Refuser(asyncio.Protocol):
    """Takes the place of a connection beyond the bound, and closes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class ApiServer:
    """The listening socket and its life. `start` and `stop` are called once each."""

    def __init__(
        self,
        app: web.Application,
        context: ssl.SSLContext,
        connections_max: int = bounds.CONNECTIONS_MAX,
        idle_s: float = bounds.IDLE_CONNECTION_S,
    ) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_PROTOCOL_LOG,
            keepalive_timeout=idle_s,
            shutdown_timeout=SHUTDOWN_S,
            max_line_size=bounds.HEADER_BYTES_MAX,
            max_field_size=bounds.HEADER_BYTES_MAX,
        )
        self._context = context
        self._connections_max = connections_max
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound (0 asks for any)."""
        await self._runner.setup()
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                self._connection,
                host,
                port,
                ssl=self._context,
                ssl_handshake_timeout=bounds.TLS_HANDSHAKE_S,
            )
        except OSError as error:
            raise OperationalError(
                f"cannot listen for clients on {host}:{port}: {error.strerror}. Is another node running there?"
            ) from error
        bound: int = self._listening.sockets[0].getsockname()[1]
        return bound

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or len(server.connections) >= self._connections_max:
            return _Refuser()
        connection: asyncio.Protocol = server()
        return connection

    async def stop(self) -> None:
        """Stop listening, let running requests end, close."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()
