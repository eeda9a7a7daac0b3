"""One answer to "why does nothing settle": through the door that operators use, and honest about not being ready."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tallystick.consensus.waiting import Phase, Waiting
from tallystick.network.wire.ids import NodeId
from tests.security.stage import NOW_MS, Stage

STUCK = Waiting(
    Phase.COMMITS, (NodeId(1), NodeId(3)), 1, NOW_MS - 4_000, 8, "COMMIT votes of members 1, 3"
)


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    with Stage(tmp_path) as opened:
        yield opened


def asked(stage: Stage, **changes: object) -> dict[str, Any]:
    stage.node.status_now = replace(stage.node.status_now, **changes)  # type: ignore[arg-type]
    reply = stage.edge.call("GET", "/v1/why-stalled", token=stage.issuer.token("read:all"))
    assert reply.status == 200
    document: dict[str, Any] = reply.document
    return document


def test_a_stall_names_members_phase_moment_view_and_the_way_out(stage: Stage) -> None:
    told = asked(stage, waiting=STUCK, height=7)
    assert told["stalled"] is True
    assert (told["phase"], told["needed"], told["height"]) == ("commit votes", 1, 8)
    assert (told["view"], told["since_ms"], told["waited_ms"]) == (3, NOW_MS - 4_000, 4_000)
    assert [member["id"] for member in told["awaited"]] == [1, 3]
    assert [member["up"] for member in told["awaited"]] == [True, False]
    assert told["awaited"][1]["down_since_ms"] == NOW_MS - 5_000
    assert told["unblocks"] == "COMMIT votes of members 1, 3"
    assert told["sentence"] == (
        "For 4000 ms height 8 waits in view 3 for a commit vote of one of bank-b, bank-d. "
        "The last final block is 7, 0 ms old."
    )


def test_a_raft_network_is_told_its_term(stage: Stage) -> None:
    assert "in term 3" in asked(stage, waiting=STUCK, engine="raft")["sentence"]


def test_when_nothing_is_stalled_it_says_so_with_the_last_final_block(stage: Stage) -> None:
    told = asked(stage, block_time_ms=NOW_MS - 250)
    assert told["stalled"] is False
    assert told["sentence"] == "Nothing is stalled. The last final block is 1, 250 ms old."
    assert (told["last_final_height"], told["last_final_age_ms"]) == (1, 250)


def test_a_halt_is_told_with_its_sentence_even_while_the_engine_waits_for_somebody(
    stage: Stage,
) -> None:
    told = asked(stage, waiting=STUCK, halted="fsync failed")
    assert (told["stalled"], told["phase"], told["awaited"]) == (True, "people", [])
    assert told["halted"] == "fsync failed"
    assert told["sentence"].startswith("The node has halted: fsync failed.")


def test_this_node_itself_may_be_the_awaited_one(stage: Stage) -> None:
    own = Waiting(Phase.DISK, (NodeId(0),), 1, NOW_MS - 2_000, 8, "this node's disk")
    awaited = asked(stage, waiting=own)["awaited"]
    assert [(member["id"], member["up"]) for member in awaited] == [(0, None)]


@pytest.mark.parametrize(
    ("changes", "ready", "word"),
    [
        ({"height": 10, "catch_up_to": 18}, True, ""),
        ({"height": 10, "catch_up_to": 19}, False, "9 certified blocks are missing"),
        ({"level": False}, False, "since the node started"),
    ],
)
def test_a_node_that_is_behind_says_so_before_its_newest_block_is_old(
    stage: Stage, changes: dict[str, object], ready: bool, word: str
) -> None:
    stage.node.status_now = replace(stage.node.status_now, **changes)  # type: ignore[arg-type]
    reply = stage.edge.call("GET", "/readyz")
    assert (reply.status == 200) is ready
    assert word in "".join(reply.document["missing"])


def test_a_node_that_does_not_vote_is_not_ready_however_many_members_it_sees(stage: Stage) -> None:
    """Put out, or a spare that waits: it follows, and refuses every transaction."""
    stage.node.status_now = replace(
        stage.node.status_now, node=501, peers_up=tuple(map(NodeId, range(4)))
    )
    reply = stage.edge.call("GET", "/readyz")
    assert reply.status == 503
    assert reply.document["missing"] == ["node 501 does not vote in epoch 0: it takes no work"]
