"""Four real nodes of either engine: every one has the checkpoint, all say the same, and three go on making them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.network.proofs.checkpoints import (
    CheckpointDocument,
    Statement,
    check_note,
    document_from_bytes,
    verify_checkpoint,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.merkle import verify_consistency
from tallystick.network.proofs.notes import parse_note
from tallystick.network.wire.faults import OperationalError
from tallystick.node.cli.ledger_client import NodeClient
from tallystick.testing import RunningNetwork, running_network


@pytest.fixture(params=["pbft", "raft"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningNetwork]:
    with running_network(tmp_path / "network", engine=request.param) as network:
        yield network


def client(network: RunningNetwork, name: str) -> NodeClient:
    settings = network.node(name).config
    return NodeClient(
        settings.api_host, settings.api_port, settings.tls_certificate, network.token("regulator")
    )


def newest(network: RunningNetwork, name: str, above: int) -> CheckpointDocument:
    """The newest checkpoint of this node, once it is above a height. Block time brings one every ten seconds."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            found = document_from_bytes(client(network, name).read("/v1/checkpoints/latest"))
        except OperationalError:
            found = None
        if found is not None and found.checkpoint.statement.height > above:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{name} has no checkpoint above {above}")


def test_every_member_has_it_and_three_of_four_go_on(network: RunningNetwork) -> None:
    genesis = network.file.genesis
    members = MemberSet.from_genesis(genesis)
    said: dict[int, Statement] = {}
    for name in network.running:
        document = newest(network, name, 0)
        verdict = verify_checkpoint(document, genesis)
        assert verdict.ok, verdict.failed
        statement = document.checkpoint.statement
        assert said.setdefault(statement.height, statement) == statement
        path = f"/v1/checkpoints/{statement.height}?form=note"
        note = parse_note(client(network, name).read(path))
        assert len(check_note(note, genesis, members)) >= members.quorum
    first = max(said)
    network.stop_node("bank-d")
    later = newest(network, "bank-b", first).checkpoint.statement
    query = f"/v1/history/consistency?from={first}&to={later.height}"
    told = json.loads(client(network, "bank-a").read(query))
    older, newer = (bytes.fromhex(each) for each in told["roots"])
    assert (older, newer) == (said[first].history_root, later.history_root)
    proof = [bytes.fromhex(each) for each in told["proof"]]
    assert verify_consistency(first + 1, later.height + 1, older, newer, proof)
