"""`GET /v1/evidence`: each document is a file that convicts by itself, and an answer holds no more than fits."""

import json
from pathlib import Path
from typing import Any

import pytest

from tallystick.network.proofs.evidence_file import convict, evidence_from_bytes
from tallystick.network.wire.genesis import genesis_from_json
from tallystick.node.api import bounds
from tests.security.stage import Stage

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "formats.json").read_text())
GENESIS = genesis_from_json(VECTORS["genesis"]["file"].encode())
TEXTS = [VECTORS["block"]["evidence"]["commits_file"], VECTORS["block"]["evidence_epoch_1_file"]]
FILES = [evidence_from_bytes(text.encode()) for text in TEXTS]


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    with Stage(tmp_path) as opened:
        opened.node.ledger.convicted = list(FILES)
        yield opened


def asked(stage: Stage, query: str = "", status: int = 200) -> dict[str, Any]:
    reply = stage.edge.call("GET", f"/v1/evidence{query}", token=stage.issuer.token("read:all"))
    assert reply.status == status, reply.body
    document: dict[str, Any] = reply.document
    return document


def test_each_document_is_a_file_that_convicts_by_itself(stage: Stage) -> None:
    told = asked(stage)
    assert told["total"] == 2
    read = [evidence_from_bytes(json.dumps(each).encode()) for each in told["evidence"]]
    assert read == FILES
    assert [convict(file, GENESIS).ok for file in read] == [True, True]


def test_what_does_not_fit_is_asked_for_by_its_place(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list(map(len, TEXTS))
    for room, count in ((sum(sizes), 2), (sum(sizes) - 1, 1), (1, 1)):
        monkeypatch.setattr(bounds, "EVIDENCE_BYTES_PER_ANSWER_MAX", room)
        told = asked(stage)
        assert (len(told["evidence"]), told["total"]) == (count, 2)
    assert asked(stage, "?from=1")["evidence"] == [json.loads(TEXTS[1])]
    assert asked(stage, "?from=2") == {"evidence": [], "total": 2}


def test_a_place_that_is_no_number_is_refused(stage: Stage) -> None:
    assert asked(stage, "?from=-1", 400)["code"] == "BAD_REQUEST"
