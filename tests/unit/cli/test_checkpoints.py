"""A real node makes checkpoints; two commands fetch and verify them, and the history's consistency is proven over HTTPS."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallystick.__main__ import _mount_node, app
from tallystick.network.proofs.merkle import verify_consistency
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.genesis import Parameters
from tallystick.node.compose import compose_node
from tallystick.node.config import load_config
from tallystick.wallet.cli import mount
from tests.security.real_node import RealNetwork

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNetwork]:
    if not app.registered_groups:
        mount(app)
        _mount_node()
    folder = tmp_path_factory.mktemp("checkpoints")
    parameters = Parameters(idle_block_ms=50, checkpoint_blocks=10)
    with RealNetwork(folder, parameters) as running:
        deadline = time.monotonic() + 30
        while newest(running) < 20 and time.monotonic() < deadline:
            time.sleep(0.05)
        yield running


def token(network: RealNetwork) -> str:
    return (network.folder / "tokens" / "regulator.jwt").read_text()


def newest(network: RealNetwork) -> int:
    reply = network.edge.call("GET", "/v1/checkpoints/latest", token=token(network))
    return json.loads(reply.body)["checkpoint"]["statement"]["height"] if reply.status == 200 else 0


def config_of(network: RealNetwork) -> Path:
    """The founded configuration with the ports that the system chose."""
    source = network.folder / "nodes" / "bank-a" / "node.toml"
    lines = [
        f"api_port = {network.member.api.port}" if line.startswith("api_port") else line
        for line in source.read_text().splitlines()
    ]
    copy = source.with_name("asked.toml")
    copy.write_text("\n".join(lines) + "\n")
    return copy


def run(*words: object) -> tuple[int, str]:
    done = RUNNER.invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def test_what_show_keeps_verify_proves_as_document_and_as_note(network: RealNetwork) -> None:
    genesis = network.folder / "genesis.json"
    asked = ("--config", config_of(network), "--token", network.folder / "tokens" / "regulator.jwt")
    for name, more in (("c.json", ()), ("c.note", ("--note",))):
        file = network.folder / name
        assert run("checkpoint", "show", *asked, "--height", 10, "--out", file, *more)[0] == 0
        code, said = run("checkpoint", "verify", file, "--genesis", genesis)
        assert (code, "VERIFIED" in said) == (0, True), said
        data = bytearray(file.read_bytes())
        data[data.index(b"5" if name == "c.json" else b"6")] ^= 1
        file.write_bytes(data)
        code, said = run("checkpoint", "verify", file, "--genesis", genesis)
        assert code == 1, said
    code, said = run("checkpoint", "show", *asked, "--height", 11)
    assert code == 1
    assert "no checkpoint at height 11" in said


def test_two_certified_heights_are_proven_consistent_and_others_are_refused(
    network: RealNetwork,
) -> None:
    def ask(query: str) -> tuple[int, dict[str, object]]:
        reply = network.edge.call("GET", f"/v1/history/consistency?{query}", token=token(network))
        return reply.status, json.loads(reply.body)

    for first, second in ((0, 0), (0, 9), (5, 10), (10, 10), (3, 4)):
        status, said = ask(f"from={first}&to={second}")
        assert status == 200
        sizes, roots, proof = said["sizes"], said["roots"], said["proof"]
        assert sizes == [first + 1, second + 1]
        assert isinstance(roots, list)
        assert isinstance(proof, list)
        parts = [bytes.fromhex(each) for each in proof]
        ends = bytes.fromhex(roots[0]), bytes.fromhex(roots[1])
        assert verify_consistency(first + 1, second + 1, *ends, parts)
    assert ask("from=5")[0] == ask("from=5&to=x")[0] == ask("from=6&to=5")[0] == 400
    assert ask("from=5&to=999999")[0] == 404
    assert ask("from=5&to=-1")[0] == ask("from=5&to=99999999999999999999")[0] == 400


def test_a_form_that_does_not_exist_is_refused(network: RealNetwork) -> None:
    reply = network.edge.call("GET", "/v1/checkpoints/latest?form=x", token=token(network))
    assert reply.status == 400


def test_a_node_without_its_key_or_with_another_does_not_start(network: RealNetwork) -> None:
    config = load_config(network.folder / "nodes" / "bank-a" / "node.toml")
    with pytest.raises(OperationalError, match="checkpoint_key is missing"):
        compose_node(replace(config, checkpoint_key=None))
    from tallystick.node.runtime.checkpoint_key import write_checkpoint_key

    other = network.folder / "other.key"
    write_checkpoint_key(other)
    with pytest.raises(OperationalError, match="is not the key that genesis lists"):
        compose_node(replace(config, checkpoint_key=other))
