"""Bad input at the HTTP edge, over real TLS: each kind has its own status and code, and the node goes on.

Transactions first (the table of `bad_inputs`), then requests that are no requests, then bounds at and over, then floods.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import msgpack

from tallystick.network.proofs.receipts import BUNDLE
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import TRANSACTION, body_id
from tallystick.node.api import bounds
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import Wait
from tests.security.bad_inputs import Case, Target, all_cases, good, judge
from tests.security.stage import NETWORK, NOW_MS, OTHER, OWN, Stage, refused
from tests.unit.wire import examples

MSGPACK = "application/msgpack"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture(scope="module")
def target(stage: Stage) -> Target:
    return target_of(stage)


def target_of(stage: Stage) -> Target:
    return Target(
        edge=stage.edge,
        token=stage.issuer.token("submit read:own", 2),
        chain=NETWORK.chain,
        digest=NETWORK.digest,
        payer=OWN,
        payer_key=examples.spend_key(1),
        creditor=OTHER,
        foreign=OTHER,
        foreign_key=examples.spend_key(2),
        now_ms=NOW_MS,
        max_validity_ms=NETWORK.genesis.parameters.max_validity_ms,
    )


def cases() -> tuple[Case, ...]:
    """The table without an address: only its names and bytes are used."""
    blank = Target(
        None,  # type: ignore[arg-type]
        "",
        NETWORK.chain,
        NETWORK.digest,
        OWN,
        examples.spend_key(1),
        OTHER,
        OTHER,
        examples.spend_key(2),
        NOW_MS,
        NETWORK.genesis.parameters.max_validity_ms,
    )
    return tuple(case for case in all_cases(blank) if not case.needs_ledger)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_bad_transaction_gets_its_own_code(target: Target, case: Case) -> None:
    assert judge(target, case) is None


def test_the_table_has_no_two_cases_of_one_name() -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names) == 34


def test_a_good_transaction_passes_between_all_the_bad_ones(target: Target) -> None:
    reply = target.edge.submit(target.token, good(target, 700))
    assert reply.status == 200
    (result,) = reply.document["results"]
    transaction = TRANSACTION.decode(good(target, 700))
    assert result["state"] == "received"
    assert result["digest"] == NETWORK.digest(transaction).hex()
    assert result["id"] == transaction.id.hex()


def test_among_several_each_has_its_own_result(target: Target) -> None:
    reply = target.edge.submit(target.token, good(target, 701), b"\x01", good(target, 702))
    assert reply.status == 200
    states = [(each["state"], each["reason"]) for each in reply.document["results"]]
    assert states == [("received", None), ("refused", "MALFORMED"), ("received", None)]


def test_a_final_one_brings_its_receipt(stage: Stage, target: Target) -> None:
    reply = target.edge.submit(target.token, stage.settled, wait="final")
    (result,) = reply.document["results"]
    assert result["state"] == "final"
    assert result["receipt"]["outcome"]["status"] == "SETTLED"


# -- requests that are none ------------------------------------------------------------------------------------

BAD_JSON = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"transactions":["\xff"]}',
    "a list": b"[]",
    "nothing to do": b'{"transactions":[]}',
    "no list": b'{"transactions":"00"}',
    "not hex": b'{"transactions":["xyz"]}',
    "odd hex": b'{"transactions":["abc"]}',
    "empty hex": b'{"transactions":[""]}',
    "0x alone": b'{"transactions":["0x"]}',
    "a number": b'{"transactions":[1]}',
    "an unknown field": b'{"transactions":["00"],"priority":1}',
    "an unknown wait": b'{"transactions":["00"],"wait":"settled"}',
    "a negative time-out": b'{"transactions":["00"],"timeout_ms":-1}',
    "a time-out too long": b'{"transactions":["00"],"timeout_ms":60001}',
    "a time-out in text": b'{"transactions":["00"],"timeout_ms":"10"}',
    "a fractional time-out": b'{"transactions":["00"],"timeout_ms":1.5}',
    "not a number": b'{"transactions":["00"],"timeout_ms":NaN}',
    "nested without end": b"[" * 100_000,
}
BAD_MSGPACK = {
    "empty": b"",
    "garbage": b"\xc1\xff",
    "a map": msgpack.encode({"wait": 1}),
    "too short": msgpack.encode([1, 10]),
    "too long": msgpack.encode([1, 10, [b"\x00"], 0]),
    "unknown wait": msgpack.encode([4, 10, [b"\x00"]]),
    "time-out too long": msgpack.encode([1, 60_001, [b"\x00"]]),
    "text for bytes": msgpack.encode([1, 10, ["00"]]),
    "nothing to do": msgpack.encode([1, 10, []]),
    "nested without end": b"\x91" * 100_000,
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_a_bad_request(target: Target, name: str) -> None:
    reply = target.edge.post(BAD_JSON[name], target.token)
    assert (reply.status, reply.code) == (400, "BAD_REQUEST"), reply.body


@pytest.mark.parametrize("name", BAD_MSGPACK)
def test_bad_msgpack_is_a_bad_request(target: Target, name: str) -> None:
    reply = target.edge.post(BAD_MSGPACK[name], target.token, MSGPACK)
    assert (reply.status, reply.code) == (400, "BAD_REQUEST"), reply.body


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/accounts/{'0' * 39}",
        f"/v1/accounts/{'0' * 41}",
        f"/v1/accounts/{'g' * 40}",
        f"/v1/accounts/{'%C3%A9' * 20}",
        f"/v1/receipts/{'00' * 20}/{'00' * 31}",
        f"/v1/receipts/{'00' * 20}/{'00' * 32}?digest=00",
        f"/v1/receipts/{'00' * 20}/{'00' * 32}?body_id=zz",
        f"/v1/transactions/{'00' * 20}/xyz",
        f"/v1/absences/{'00' * 20}/{'00' * 32}",
        f"/v1/absences/{'00' * 20}/{'00' * 32}?digest={'00' * 32}",
        f"/v1/absences/{'00' * 20}/{'00' * 32}?digest={'00' * 32}&valid_until_ms=-1",
        f"/v1/absences/{'00' * 20}/{'00' * 32}?digest={'00' * 32}&valid_until_ms={'9' * 17}",
        f"/v1/absences/{'00' * 20}/{'00' * 32}?digest=00&valid_until_ms=1",
        "/v1/blocks/-1",
        "/v1/blocks/1.0",
        "/v1/blocks/9223372036854775808",
        "/v1/blocks/" + "9" * 5_000,
        "/v1/blocks/%D9%A1",
    ],
)
def test_a_bad_path_is_a_bad_request(stage: Stage, path: str) -> None:
    reply = stage.edge.call("GET", path, token=stage.issuer.token("read:all"))
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/accounts/{'ee' * 20}",
        f"/v1/receipts/{'ee' * 20}/{'00' * 32}",
        f"/v1/transactions/{'ee' * 20}/{'00' * 32}",
        f"/v1/absences/{'ee' * 20}/{'00' * 32}?digest={'00' * 32}&valid_until_ms={2**53 - 1}",
        "/v1/blocks/2",
        "/v1/blocks/9223372036854775807",
        "/v1/nothing",
        "/",
        "/../../etc/passwd",
    ],
)
def test_what_is_not_there_is_not_found(stage: Stage, path: str) -> None:
    reply = stage.edge.call("GET", path, token=stage.issuer.token("read:all"))
    assert (reply.status, reply.code) == (404, "NOT_FOUND")


def test_an_id_taken_by_another_digest_says_by_which(stage: Stage) -> None:
    settled = TRANSACTION.decode(stage.settled)
    path = f"/v1/receipts/{OWN.hex()}/{settled.id.hex()}"
    token = stage.issuer.token("read:all")
    right = NETWORK.digest(settled).hex()
    assert stage.edge.call("GET", f"{path}?digest={right}", token=token).status == 200
    wrong = stage.edge.call("GET", f"{path}?digest={'00' * 32}", token=token)
    assert (wrong.status, wrong.code) == (404, "NOT_FOUND")
    assert wrong.document["taken_by"] == right
    by_body = stage.edge.call("GET", f"{path}?body_id={body_id(stage.settled).hex()}", token=token)
    assert by_body.status == 200
    another = stage.edge.call("GET", f"{path}?body_id={body_id(stage.foreign).hex()}", token=token)
    assert another.status == 404


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", ""])
def test_another_content_type_is_415(target: Target, kind: str) -> None:
    reply = target.edge.post(b"{}", target.token, kind)
    assert (reply.status, reply.code) == (415, "BAD_REQUEST")


def test_a_compressed_body_is_415_so_no_bomb_is_unpacked(target: Target) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    reply = target.edge.call("POST", "/v1/transactions", b"\x1f\x8b", target.token, headers)
    assert reply.status in {400, 415}
    assert reply.code == "BAD_REQUEST"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "GET"])
def test_another_method_is_405_and_names_the_right_one(target: Target, method: str) -> None:
    reply = target.edge.call(method, "/v1/transactions", token=target.token)
    assert (reply.status, reply.code) == (405, "BAD_REQUEST")
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 9_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http_get_400_and_disturb_nobody(stage: Stage, garbage: bytes) -> None:
    with stage.edge.connect() as bare:
        bare.sendall(garbage)
        assert bare.recv(4_096).split(b" ")[1] == b"400"
    assert stage.edge.call("GET", "/healthz").status == 200


def test_bytes_that_are_no_tls_disturb_nobody(stage: Stage) -> None:
    with socket.create_connection(("127.0.0.1", stage.edge.port), timeout=10) as bare:
        bare.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert b"200" not in bare.recv(4_096)
    assert stage.edge.call("GET", "/healthz").status == 200


def test_a_body_that_ends_early_disturbs_nobody(stage: Stage, target: Target) -> None:
    before = len(stage.node.seen)
    with stage.edge.connect() as bare:
        head = (
            f"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {target.token}\r\n"
        )
        head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        bare.sendall(head.encode() + b'{"transactions":["')
    assert stage.edge.call("GET", "/healthz").status == 200
    assert len(stage.node.seen) == before


# -- bounds, at and over -----------------------------------------------------------------------------------------


def test_a_body_at_its_bound_is_read_and_over_it_is_413(target: Target) -> None:
    text = b'{"transactions":["00"]}'
    at = text + b" " * (bounds.BODY_BYTES_MAX - len(text))
    assert target.edge.post(at, target.token).code == "MALFORMED"
    over = target.edge.post(at + b" ", target.token)
    assert (over.status, over.code) == (413, "OVERSIZED")


def test_the_number_of_transactions_has_a_bound(target: Target) -> None:
    at = {"transactions": ["00"] * bounds.REQUEST_TRANSACTIONS_MAX, "wait": "received"}
    reply = target.edge.post(json.dumps(at).encode(), target.token)
    assert reply.status == 200
    assert len(reply.document["results"]) == bounds.REQUEST_TRANSACTIONS_MAX
    at["transactions"] = ["00"] * (bounds.REQUEST_TRANSACTIONS_MAX + 1)
    assert target.edge.post(json.dumps(at).encode(), target.token).code == "BAD_REQUEST"


def test_the_binary_twin_has_the_same_bound(stage: Stage) -> None:
    token = stage.issuer.token("submit", sub="bulk")
    at = msgpack.encode([1, 0, [b"\x00"] * bounds.REQUEST_TRANSACTIONS_MAX])
    assert stage.edge.post(at, token, MSGPACK).status == 200
    over = msgpack.encode([1, 0, [b"\x00"] * (bounds.REQUEST_TRANSACTIONS_MAX + 1)])
    assert stage.edge.post(over, token, MSGPACK).code == "BAD_REQUEST"


def test_a_full_node_refuses_bulk_before_it_reads_it(stage: Stage, target: Target) -> None:
    """A single payment still gets its own answer: it may be one that waits here already."""
    body = msgpack.encode([1, 0, [good(target, 703)]])
    handed_in = len(stage.node.seen)
    stage.node.room = False
    try:
        reply = target.edge.post(body, target.token, MSGPACK)
        assert (reply.status, reply.code) == (429, "OVERLOADED")
        assert "Nothing was accepted" in reply.document["detail"]
        assert int(reply.headers["retry-after"]) >= 1
        assert len(stage.node.seen) == handed_in
        assert target.edge.submit(target.token, good(target, 703)).status == 200
    finally:
        stage.node.room = True
    assert target.edge.post(body, target.token, MSGPACK).status == 200


def test_a_transaction_that_is_not_on_disk_yet_when_the_time_is_over_is_pending(
    stage: Stage, target: Target
) -> None:
    raw = good(target, 704)
    stage.node.answers[raw] = Answer("pending", body_id(raw))
    (result,) = target.edge.submit(target.token, raw).document["results"]
    assert result["state"] == "pending"
    rows, bundles = msgpack.decode(
        target.edge.post(msgpack.encode([1, 0, [raw]]), target.token, MSGPACK).body
    )
    assert (rows, bundles) == ([[4, body_id(raw), 0, 0, 0]], [])


def test_the_longest_time_out_is_taken(stage: Stage, target: Target) -> None:
    body = b'{"transactions":["00"],"wait":"accepted","timeout_ms":60000}'
    assert target.edge.post(body, target.token).code == "MALFORMED"
    assert stage.node.seen[-1][1:] == (Wait.ACCEPTED, 2, 60.0)


def test_0x_and_capitals_are_taken(stage: Stage, target: Target) -> None:
    body = json.dumps({"transactions": ["0x" + stage.settled.hex().upper()]}).encode()
    assert target.edge.post(body, target.token).document["results"][0]["state"] == "final"
    assert stage.node.seen[-1][1:] == (Wait.FINAL, 2, bounds.TIMEOUT_MS_DEFAULT / 1000)


# -- the binary twin ---------------------------------------------------------------------------------------------


def test_the_binary_twin_answers_states_and_one_bundle_for_each_block(
    stage: Stage, target: Target
) -> None:
    raws = [stage.settled, b"\x01", good(target, 703), stage.foreign]
    reply = stage.edge.post(msgpack.encode([3, 100, raws]), stage.issuer.token("submit"), MSGPACK)
    assert reply.headers["content-type"] == MSGPACK
    rows, bundles = msgpack.decode(reply.body)
    assert [row[0] for row in rows] == [3, 0, 1, 3]
    assert [row[1] for row in rows] == [body_id(raw) for raw in raws]
    assert [row[2] for row in rows] == [0, RejectReason.MALFORMED.number, 0, 0]
    assert [(row[3], row[4]) for row in rows] == [(1, 0), (0, 0), (0, 0), (1, 1)]
    (bundle,) = (BUNDLE.decode(each) for each in bundles)
    assert [item.outcome.index for item in bundle.items] == [0, 1]


# -- too much ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [RejectReason.OVERLOADED, RejectReason.QUOTA_SPENT])
def test_a_full_node_answers_429_and_says_that_nothing_was_accepted(
    stage: Stage, target: Target, reason: RejectReason
) -> None:
    raws = [good(target, number) for number in (710, 711, 712)]
    stage.node.answers.update({raw: refused(raw, reason) for raw in raws[:2]})
    body = msgpack.encode([1, 0, raws[:2]])
    for reply in (
        stage.edge.submit(target.token, raws[0]),
        stage.edge.submit(target.token, *raws[:2]),
        stage.edge.post(body, target.token, MSGPACK),
    ):
        assert (reply.status, reply.code) == (429, reason.code)
        assert reply.headers["retry-after"] == "1"
        assert "Nothing was accepted" in reply.document["detail"]
        assert reply.document["retryable"] is True
    mixed = stage.edge.submit(target.token, *raws)
    assert mixed.status == 200
    assert [each["state"] for each in mixed.document["results"]] == [
        "refused",
        "refused",
        "received",
    ]
    assert mixed.document["results"][0]["retryable"] is True


def test_a_node_that_takes_no_work_answers_503(stage: Stage, target: Target) -> None:
    stage.node.refusal = Refused(RejectReason.NOT_READY)
    try:
        reply = stage.edge.submit(target.token, stage.settled)
    finally:
        stage.node.refusal = None
    assert (reply.status, reply.code) == (503, "NOT_READY")
    assert reply.headers["retry-after"] == "1"


def test_a_node_that_stops_in_the_middle_says_that_the_outcome_is_open(
    stage: Stage, target: Target
) -> None:
    stage.node.refusal = OperationalError("secret disk path")  # type: ignore[assignment]
    try:
        reply = stage.edge.submit(target.token, stage.settled)
    finally:
        stage.node.refusal = None
    assert (reply.status, reply.code) == (503, "UNAVAILABLE")
    assert b"secret" not in reply.body
    assert "open" in reply.document["detail"]


def test_our_own_failure_is_a_500_that_tells_nothing(stage: Stage, target: Target) -> None:
    stage.node.refusal = ZeroDivisionError("secret")  # type: ignore[assignment]
    try:
        reply = stage.edge.submit(target.token, stage.settled)
    finally:
        stage.node.refusal = None
    assert (reply.status, reply.code) == (500, "INTERNAL")
    assert b"secret" not in reply.body


def test_a_spent_request_quota_is_429_and_another_principal_is_not_disturbed(
    tmp_path: Path,
) -> None:
    with Stage(tmp_path, requests_per_s=3) as stage:
        eager, calm = (
            stage.issuer.token("submit", sub="eager"),
            stage.issuer.token("submit", sub="calm"),
        )
        codes = [stage.edge.call("GET", "/v1/status", token=eager).status for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        assert stage.edge.call("GET", "/v1/status", token=calm).status == 200
        assert stage.edge.call("GET", "/healthz").status == 200
        stage.clock.ms += 1_001
        assert stage.edge.call("GET", "/v1/status", token=eager).status == 200


def test_a_spent_transaction_quota_takes_none_of_the_request(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        token = stage.issuer.token("submit", sub="bulk")
        full = msgpack.encode([1, 0, [b"\x00"] * 2_000])
        statuses = [stage.edge.post(full, token, MSGPACK).status for _ in range(6)]
        assert statuses == [200] * 5 + [429]
        assert len(stage.node.seen) == 5


def test_the_crowd_that_waits_is_bounded_for_each_principal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "WAITING_PER_PRINCIPAL_MAX", 2)
    with Stage(tmp_path) as stage:
        stage.node.hold = threading.Event()
        token = stage.issuer.token("submit", sub="slow")
        replies: list[int] = []
        threads = [
            threading.Thread(
                target=lambda: replies.append(stage.edge.submit(token, stage.settled).status)
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while len(stage.node.seen) < 2:
            threading.Event().wait(0.001)
        third = stage.edge.submit(token, stage.settled)
        assert (third.status, third.code) == (429, "OVERLOADED")
        stage.node.hold.set()
        for thread in threads:
            thread.join()
        assert replies == [200, 200]
        assert stage.edge.submit(token, stage.settled).status == 200


def test_connections_beyond_the_bound_are_closed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.server._connections_max = 2
    with stage:
        first, second = stage.edge.connect(), stage.edge.connect()
        with contextlib.suppress(ConnectionError):
            assert stage.edge.connect().recv(1) == b""
        first.close()
        second.close()


def test_a_client_that_trickles_its_head_is_cut_off(tmp_path: Path) -> None:
    stage = Stage(tmp_path, idle_s=0.2)
    with stage, stage.edge.connect() as bare:
        bare.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        assert bare.recv(64) == b""


def test_a_client_that_trickles_its_body_gets_408(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BODY_READ_S", 0.2)
    with Stage(tmp_path) as stage, stage.edge.connect() as bare:
        head = "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += (
            f"Authorization: Bearer {stage.issuer.token('submit')}\r\nContent-Length: 9\r\n\r\n{{"
        )
        bare.sendall(head.encode())
        assert bare.recv(4_096).startswith(b"HTTP/1.1 408")


# -- readiness ---------------------------------------------------------------------------------------------------


def test_ready_means_caught_up_with_a_quorum_and_not_halted(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        assert stage.edge.call("GET", "/readyz").status == 200
        for changes, word in (
            ({"block_time_ms": NOW_MS - 10_001}, "newest block"),
            ({"peers_up": (1,)}, "2 of 4 members"),
            ({"halted": "fsync failed"}, "halted"),
        ):
            stage.node.status_now = replace(type(stage.node.status_now)(), **changes)
            reply = stage.edge.call("GET", "/readyz")
            assert reply.status == 503
            assert word in reply.document["missing"][0]
        assert stage.edge.call("GET", "/healthz").status == 503
        stage.node.status_now = replace(stage.node.status_now, halted=None)
        assert stage.edge.call("GET", "/healthz").status == 200


def test_an_observer_that_diverged_is_not_ready(tmp_path: Path) -> None:
    with Stage(tmp_path, observer=True) as stage:
        assert stage.edge.call("GET", "/readyz").status == 200
        stage.audit.divergence = "height 7: another state root"
        reply = stage.edge.call("GET", "/readyz")
        assert reply.status == 503
        assert reply.document["missing"] == ["divergence: height 7: another state root"]
        status = stage.edge.call("GET", "/v1/status", token=stage.issuer.token("read:all")).document
        assert status["audit"]["divergence"] == "height 7: another state root"
        assert status["role"] == "observer"
