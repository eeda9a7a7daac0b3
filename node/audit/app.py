"""The observer's HTTP interface: the reading routes, for those who may read everything; no route that submits exists."""

from aiohttp import web

from tallystick.network.wire.faults import invariant
from tallystick.node.api.app import make_app
from tallystick.node.api.parts import ApiParts
from tallystick.node.api.routes import observer_routes


def make_observer_app(parts: ApiParts) -> web.Application:
    """The application of an observer. `InvariantError` if it was given somebody who submits."""
    invariant(parts.submitter is None, "an observer was given somebody who submits")
    invariant(parts.audit is not None, "an observer without its findings")
    return make_app(parts, observer_routes())
