"""Reads that a quorum confirms and leadership that is handed over, at the edge: who may, what is answered, what is logged."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import TRANSACTION
from tests.security.stage import OWN, Stage

HAND_OVER = "/v1/operations/hand-over"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


def paths(stage: Stage) -> tuple[str, ...]:
    settled = TRANSACTION.decode(stage.settled)
    pair = f"{OWN.hex()}/{settled.id.hex()}"
    return (
        f"/v1/receipts/{pair}",
        f"/v1/transactions/{pair}",
        f"/v1/accounts/{OWN.hex()}",
        "/v1/blocks/1",
    )


@pytest.mark.parametrize("number", range(4))
def test_every_reading_route_can_ask_a_quorum_first(stage: Stage, number: int) -> None:
    path, token = paths(stage)[number], stage.issuer.token("read:all")
    assert stage.edge.call("GET", path, token=token).status == 200
    assert stage.edge.call("GET", f"{path}?read=local", token=token).status == 200
    assert stage.leading.reads == 0
    assert stage.edge.call("GET", f"{path}?read=quorum", token=token).status == 200
    assert stage.leading.reads == 1
    reply = stage.edge.call("GET", f"{path}?read=maybe", token=token)
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")


def test_what_no_quorum_confirmed_is_not_read(stage: Stage) -> None:
    stage.leading.refusal = RejectReason.NOT_CONFIRMED
    for path in paths(stage):
        reply = stage.edge.call("GET", f"{path}?read=quorum", token=stage.issuer.token("read:all"))
        assert (reply.status, reply.code) == (503, "NOT_CONFIRMED")
        assert b"balances" not in reply.body


def test_whoever_may_not_read_does_not_make_the_members_talk(stage: Stage) -> None:
    path = f"{paths(stage)[2]}?read=quorum"
    assert stage.edge.call("GET", path, token=stage.issuer.token("submit", 2)).status == 403
    assert stage.edge.call("GET", path).status == 401
    assert stage.leading.reads == 0


def test_an_observer_confirms_no_reads(tmp_path: Path) -> None:
    with Stage(tmp_path, observer=True) as stage:
        reply = stage.edge.call(
            "GET", f"{paths(stage)[2]}?read=quorum", token=stage.issuer.token("read:all")
        )
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("query", "status", "to"),
    [
        ("", 200, None),
        ("?to=1", 200, 1),
        ("?to=0", 400, None),  # the node itself
        ("?to=77", 400, None),
        ("?to=-1", 400, None),
        ("?to=%D9%A1", 400, None),  # a digit, but not one of ours
        ("?to=" + "1" * 5_000, 400, None),
    ],
)
def test_a_hand_over_goes_to_another_member(
    stage: Stage, query: str, status: int, to: int | None
) -> None:
    token = stage.issuer.token("operate")
    reply = stage.edge.call("POST", HAND_OVER + query, token=token)
    assert reply.status == status, reply.body
    assert stage.leading.handed_to == (
        [] if status != 200 else [None if to is None else NodeId(to)]
    )


def test_a_node_that_does_not_lead_says_so(stage: Stage) -> None:
    stage.leading.refusal = RejectReason.NOT_LEADER
    reply = stage.edge.call("POST", HAND_OVER, token=stage.issuer.token("operate"))
    assert (reply.status, reply.code) == (409, "NOT_LEADER")


def test_every_hand_over_is_logged_with_who_asked_and_what_came_of_it(stage: Stage) -> None:
    with structlog.testing.capture_logs() as lines:
        stage.edge.call("POST", HAND_OVER + "?to=1", token=stage.issuer.token("operate"))
        stage.leading.refusal = RejectReason.NOT_LEADER
        stage.edge.call("POST", HAND_OVER, token=stage.issuer.token("operate"))
        stage.edge.call("POST", HAND_OVER, token=stage.issuer.token("read:all"))
    said = [
        (line["operation"], line["principal"], line["outcome"])
        for line in lines
        if line["event"] == "operation"
    ]
    assert said == [
        ("hand-over", "token:tester", "done"),
        ("hand-over", "token:tester", "NOT_LEADER"),
    ]
