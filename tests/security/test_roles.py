"""Who may do what: every role on every route, each cell with its expected answer. A route without a row fails."""

import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.transactions.codec import TRANSACTION
from tallystick.node.api.app import HANDLERS, ApiServer, make_app
from tallystick.node.api.routes import ROUTES, observer_routes
from tests.security.edge import Reply
from tests.security.stage import NOW_MS, OTHER, OWN, THIRD, Stage, transfer_of

ROLES = ("nobody", "submitter", "own reader", "all reader", "operator", "no scope", "certificate")

SUBMITTING = {"submitter": 200, "certificate": 200}
READING_OWN = {"own reader": 200, "all reader": 200}
READING_ALL = {"all reader": 200}
KNOWN = dict.fromkeys(("submitter", "own reader", "all reader", "operator", "certificate"), 200)
OPERATING = {"operator": 200}
OPEN = dict.fromkeys(ROLES, 200)

MEMBER: dict[str, dict[str, int]] = {
    "submit": SUBMITTING,
    "receipt": READING_OWN,
    "absence": READING_OWN,
    "transaction": READING_OWN,
    "account": READING_OWN,
    "block": READING_ALL,
    "checkpoint_latest": KNOWN,
    "checkpoint": KNOWN,
    "consistency": KNOWN,
    "links": KNOWN,
    "status": KNOWN,
    "why_stalled": READING_ALL,
    "evidence": READING_ALL,
    "genesis": KNOWN,
    "metrics": READING_ALL,
    "hand_over": OPERATING,
    "backup": OPERATING,
    "healthz": OPEN,
    "readyz": OPEN,
    "openapi": OPEN,
}
OBSERVER: dict[str, dict[str, int]] = {
    "submit": dict.fromkeys(ROLES, 404),
    "checkpoint": dict.fromkeys(ROLES, 404),
    "checkpoint_latest": dict.fromkeys(ROLES, 404),
    "hand_over": dict.fromkeys(ROLES, 404),
    "backup": dict.fromkeys(ROLES, 404),
    **dict.fromkeys(
        (
            "receipt",
            "absence",
            "transaction",
            "account",
            "block",
            "consistency",
            "links",
            "status",
            "why_stalled",
            "evidence",
            "genesis",
            "metrics",
        ),
        READING_ALL,
    ),
    **dict.fromkeys(("healthz", "readyz", "openapi"), OPEN),
}
MEMBERS_ONLY = {"checkpoint", "checkpoint_latest", "submit", "hand_over", "backup"}
CODES = {401: "UNAUTHENTICATED", 403: "FORBIDDEN", 404: "NOT_FOUND"}


def expected(table: dict[str, dict[str, int]], route: str, role: str) -> int:
    """What the table says, else the default: 401 for nobody, 403 for somebody."""
    return table[route].get(role, 401 if role == "nobody" else 403)


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("member")) as stage:
        yield stage


@pytest.fixture(scope="module")
def observer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("observer"), observer=True) as stage:
        yield stage


def ask(stage: Stage, route_name: str, role: str) -> Reply:
    """A request that would be good for anybody who may send it: participant 2 asks about its own."""
    route = next(route for route in ROUTES if route.name == route_name)
    settled = TRANSACTION.decode(stage.settled)
    path = route.path.format(account=OWN.hex(), id=settled.id.hex(), height=1)
    if route_name in {"consistency", "links"}:
        path += "?from=1" + "&to=2" * (route_name == "consistency")
    if route_name == "absence":
        path += f"?digest={'00' * 32}&valid_until_ms={NOW_MS}"
    tokens = {
        "submitter": stage.issuer.token("submit", 2),
        "own reader": stage.issuer.token("read:own", 2),
        "all reader": stage.issuer.token("read:all"),
        "operator": stage.issuer.token("operate"),
        "no scope": stage.issuer.token(""),
    }
    client = stage.principal_files if role == "certificate" else None
    body, headers = None, {}
    if route.method == "POST":
        body = b'{"transactions":["' + stage.settled.hex().encode() + b'"]}'
        headers = {"Content-Type": "application/json"}
    return stage.edge.call(route.method, path, body, tokens.get(role), headers, client)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", sorted(MEMBER))
def test_every_role_on_every_route_of_a_member(member: Stage, route: str, role: str) -> None:
    reply = ask(member, route, role)
    assert reply.status == expected(MEMBER, route, role), reply.body
    assert reply.code == CODES.get(reply.status)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", sorted(OBSERVER))
def test_every_role_on_every_route_of_an_observer(observer: Stage, route: str, role: str) -> None:
    reply = ask(observer, route, role)
    wanted = expected(OBSERVER, route, role)
    if route in MEMBERS_ONLY:
        wanted = 404
    assert reply.status == wanted, reply.body
    assert reply.code == CODES.get(reply.status)


def test_the_matrix_has_a_row_for_every_route_and_no_other() -> None:
    assert set(MEMBER) == {route.name for route in ROUTES}
    assert set(OBSERVER) == {route.name for route in observer_routes()} | MEMBERS_ONLY


async def test_a_route_without_a_declared_row_stops_the_start(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    stage.app.router.add_get("/v1/backdoor", hello, allow_head=False)
    server = ApiServer(stage.app, stage.context)
    with pytest.raises(InvariantError, match="a route without a declared row"):
        await server.start("127.0.0.1", 0)
    await server.stop()


def test_a_row_without_a_handler_stops_the_start(tmp_path: Path) -> None:
    handlers = {name: handler for name, handler in HANDLERS.items() if name != "account"}
    with pytest.raises(InvariantError, match="a row without a handler"):
        make_app(Stage(tmp_path).parts, ROUTES, handlers)


def test_an_observer_has_no_submit_route_at_all() -> None:
    assert all(route.method == "GET" for route in observer_routes())


@pytest.mark.parametrize(
    "path",
    ["/v1/accounts/{}", "/v1/receipts/{}/", "/v1/transactions/{}/", "/v1/absences/{}/"],
)
def test_a_foreign_account_is_not_read_by_its_neighbour(member: Stage, path: str) -> None:
    foreign = TRANSACTION.decode(member.foreign)
    path = path.format(OTHER.hex()) + ("" if "accounts" in path else foreign.id.hex())
    if "absences" in path:
        path += f"?digest={'00' * 32}&valid_until_ms={NOW_MS}"
    reply = member.edge.call("GET", path, token=member.issuer.token("read:own", 2))
    assert (reply.status, reply.code) == (403, "FOREIGN_ACCOUNT")
    assert member.edge.call("GET", path, token=member.issuer.token("read:own", 3)).status == 200


def test_the_receiver_of_a_payment_reads_its_receipt_too_and_a_third_bank_does_not(
    member: Stage,
) -> None:
    settled = TRANSACTION.decode(member.settled)
    path = f"/v1/receipts/{OWN.hex()}/{settled.id.hex()}"
    assert member.edge.call("GET", path, token=member.issuer.token("read:own", 3)).status == 200
    third = member.edge.call("GET", path, token=member.issuer.token("read:own", 4))
    assert (third.status, third.code) == (403, "FOREIGN_ACCOUNT")


def test_reading_own_without_a_participant_owns_nothing(member: Stage) -> None:
    path = f"/v1/accounts/{OWN.hex()}"
    reply = member.edge.call("GET", path, token=member.issuer.token("read:own"))
    assert (reply.status, reply.code) == (403, "FOREIGN_ACCOUNT")


def test_the_core_is_told_for_whom_a_principal_may_submit(member: Stage) -> None:
    foreign = transfer_of(THIRD, OWN, 77)
    reply = member.edge.submit(member.issuer.token("submit", 2), foreign)
    assert (reply.status, reply.code) == (403, "FOREIGN_ACCOUNT")
    assert member.node.seen[-1][2] == 2
    member.edge.submit(member.issuer.token("submit"), foreign)
    assert member.node.seen[-1][2] is None


def test_an_unlisted_client_certificate_ends_the_connection(member: Stage) -> None:
    with pytest.raises((ssl.SSLError, http.client.HTTPException, OSError)):
        member.edge.call("GET", "/v1/status", client=member.stranger_files)


def test_a_bad_token_is_refused_even_beside_a_good_certificate(member: Stage) -> None:
    reply = member.edge.call("GET", "/v1/status", token="a.b.c", client=member.principal_files)
    assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")


def test_a_client_that_speaks_an_older_tls_is_refused(member: Stage) -> None:
    context = member.edge.context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPSConnection("127.0.0.1", member.edge.port, context=context)
    with pytest.raises((ssl.SSLError, OSError)):
        connection.request("GET", "/healthz")


def test_metrics_open_on_loopback_only_when_the_configuration_says_so(tmp_path: Path) -> None:
    from dataclasses import replace

    from tallystick.node.api.access import Gate

    stage = Stage(tmp_path)
    parts = replace(stage.parts, gate=Gate(None, {}, metrics_open_on_loopback=True))
    stage.server = ApiServer(make_app(parts, ROUTES), stage.context)
    with stage:
        reply = stage.edge.call("GET", "/metrics")
        assert reply.status == 200
        assert b"tallystick_height 1.0" in reply.body
        assert stage.edge.call("GET", "/v1/status").status == 401
