"""A client with one token cannot fill a node's memory with request bodies that never end."""

import socket
import ssl
from collections.abc import Iterator

import pytest

from tallystick.node.api import bounds
from tallystick.node.api.submitting import JSON, MSGPACK
from tests.security.stage import OTHER, OWN, Stage, transfer_of

LARGEST = bounds.BODY_BYTES_MAX
AT_ONCE = bounds.READING_BYTES_PER_PRINCIPAL_MAX // LARGEST


@pytest.fixture
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("member")) as stage:
        yield stage


def begin(
    stage: Stage, token: str, framing: str = f"Content-Length: {LARGEST}", kind: str = JSON
) -> ssl.SSLSocket:
    """A submission whose body begins and does not go on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    bare = socket.create_connection(("127.0.0.1", stage.edge.port), timeout=10)
    connection = context.wrap_socket(bare)
    head = (
        f"POST /v1/transactions HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {kind}\r\n{framing}\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


@pytest.mark.parametrize("framing", [f"Content-Length: {LARGEST}", "Transfer-Encoding: chunked"])
def test_bodies_under_way_have_a_bound_for_each_principal(member: Stage, framing: str) -> None:
    greedy = member.issuer.token("submit", 2, sub="greedy")
    fair = member.issuer.token("submit", 3, sub="fair")
    opened = [begin(member, greedy, framing) for _ in range(AT_ONCE + 1)]
    refused = []
    for connection in opened:
        connection.settimeout(1.0)
        try:
            refused.append(connection.recv(12))
        except TimeoutError:
            continue  # read on, as it should be
    assert refused == [b"HTTP/1.1 429"]
    # Another principal is served meanwhile, and the greedy one again once its bodies are gone.
    assert member.edge.submit(fair, transfer_of(OTHER, OWN, 5)).status == 200
    for connection in opened:
        connection.close()
    last = begin(member, greedy, "Content-Length: 2")
    last.sendall(b"{}")
    assert last.recv(12) == b"HTTP/1.1 400"
    last.close()


def test_a_full_node_answers_bulk_before_its_body_has_come(member: Stage) -> None:
    token = member.issuer.token("submit", 2, sub="flood")
    member.node.room = False
    flood = begin(member, token, kind=MSGPACK)
    flood.settimeout(1.0)
    assert flood.recv(12) == b"HTTP/1.1 429"
    flood.close()
