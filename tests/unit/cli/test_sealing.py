"""`tallystick node rekey` and `seal`, and what a node says of a key that is wrong, missing or new."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.genesis import genesis_from_json
from tallystick.node.cli import network_app, node_app
from tallystick.node.cli.ledger import ledger_app
from tallystick.node.compose import compose_node
from tallystick.node.config import ConfigError, load_config
from tallystick.node.core.ledger import Ledger
from tallystick.node.storage.key_encryption import make_key_file, open_key
from tallystick.node.storage.keyring import head_of, is_sealed
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.opening import open_store
from tallystick.node.storage.rekeying import Rekeying, not_yet
from tallystick.node.storage.sealed import SealedStore

RUNNER = CliRunner()
ROWS = {b"t%04d" % number: b"%d" % number for number in range(700)}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The folder of bank-a, freshly founded."""
    made = RUNNER.invoke(network_app, ["init", str(tmp_path / "net"), "--members", "1"])
    assert made.exit_code == 0, made.output
    return tmp_path / "net" / "nodes" / "bank-a"


def fill(node: Path) -> None:
    store = open_store(node / "data", [open_key("file:keys/storage.key", node)])
    store.write([ROWS])
    store.close()


def configure(node: Path, old: str, new: str) -> None:
    path = node / "node.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def new_key(node: Path) -> str:
    """Names a fresh key as the one to go over to; its id."""
    make_key_file(node / "keys" / "next.key")
    configure(node, "[storage]", '[storage]\nnew_key = "file:keys/next.key"')
    return open_key("file:keys/next.key", node).id


def run(*arguments: str) -> tuple[int, str]:
    result = RUNNER.invoke(node_app, list(arguments))
    return result.exit_code, result.output


def test_a_founded_network_is_sealed_and_its_keys_lie_outside_the_data(node: Path) -> None:
    for folder in (node, node.parent.parent / "observers" / "regulator"):
        config = load_config(folder / "node.toml")
        key = folder / "keys" / "storage.key"
        assert config.storage.sources == ("file:keys/storage.key",)
        assert key.stat().st_mode & 0o777 == 0o600
        assert config.data not in key.parents

    async def live() -> None:
        composed = compose_node(load_config(node / "node.toml"))
        assert is_sealed(node / "data")
        for part in composed.parts[:1]:
            await part.stop()

    asyncio.run(live())


def test_a_node_refuses_a_missing_and_a_wrong_key_and_a_plain_folder_each_in_a_sentence(
    node: Path,
) -> None:
    fill(node)
    key = node / "keys" / "storage.key"
    key.rename(node / "keys" / "right.key")
    code, output = run("run", "--config", str(node / "node.toml"))
    assert code == 1
    assert f"there is no key file {key}" in output
    make_key_file(key)
    code, output = run("run", "--config", str(node / "node.toml"))
    assert code == 1
    assert "the wrong key: the data in" in output
    configure(node, 'key = "file:keys/storage.key"', "")
    code, output = run("run", "--config", str(node / "node.toml"))
    assert code == 1
    assert "the configuration names no key" in output


def test_a_storage_table_with_faults_says_all_of_them(node: Path) -> None:
    configure(node, 'key = "file:keys/storage.key"', 'key = "keys/storage.key"\nsecret = 1')
    with pytest.raises(ConfigError, match=r"storage\.secret: there is no such setting"):
        load_config(node / "node.toml")
    configure(node, "\nsecret = 1", '\nnew_key = "0011"')
    with pytest.raises(ConfigError) as faults:
        load_config(node / "node.toml")
    assert [fault.split(" is ")[0] for fault in faults.value.errors] == [
        "storage.key",
        "storage.new_key",
    ]
    configure(node, 'key = "keys/storage.key"\nnew_key = "0011"', 'new_key = "env:NEXT"')
    with pytest.raises(ConfigError, match=r"new_key is set and storage\.key is not"):
        load_config(node / "node.toml")
    configure(node, "[storage]", "storage = 1\n[elsewhere]")
    with pytest.raises(ConfigError, match=r"wants a \[storage\] table"):
        load_config(node / "node.toml")


def test_a_stopped_node_goes_over_to_its_new_key(node: Path) -> None:
    fill(node)
    wanted = new_key(node)
    code, output = run("rekey", "--config", str(node / "node.toml"), "--json")
    assert (code, json.loads(output)) == (
        0,
        {"key": wanted, "rewriting": True, "running": False},
    )
    with pytest.raises(OperationalError, match="wrong key"):
        open_store(node / "data", [open_key("file:keys/storage.key", node)])
    code, output = run("rekey", "--config", str(node / "node.toml"), "--wait")
    assert code == 0
    assert f"opened by file:keys/next.key (id {wanted}) and by no other key" in output
    assert "rows are under new data keys" in output
    store = open_store(node / "data", [open_key("file:keys/next.key", node)])
    assert dict(store.scan(b"")) == ROWS
    store.close()


def test_a_plain_folder_is_sealed_by_the_command_that_the_refusal_names(node: Path) -> None:
    config = str(node / "node.toml")
    store = LevelStore(node / "data")
    store.write([ROWS])
    store.close()
    code, output = run("rekey", "--config", config)
    assert (code, "is not sealed: see `tallystick node seal`" in output) == (1, True)
    code, output = run("run", "--config", config)
    assert code == 1
    assert f"`tallystick node seal --config {config}`" in output
    code, output = run("seal", "--config", config)
    assert code == 0, output
    assert "700 rows are sealed; file:keys/storage.key" in output
    code, output = run("seal", "--config", config)
    assert (code, "sealed already" in output) == (1, True)
    configure(node, 'key = "file:keys/storage.key"', "")
    code, output = run("seal", "--config", config)
    assert (code, "names no key: set key in [storage]" in output) == (1, True)


async def test_a_running_node_goes_over_when_it_is_asked_and_lives_on_when_it_cannot(
    node: Path,
) -> None:
    fill(node)
    old = open_key("file:keys/storage.key", node)
    store = open_store(node / "data", [old])
    assert isinstance(store, SealedStore)
    new_key(node)
    asked = []

    def keys() -> list[object]:
        asked.append(1)
        if len(asked) == 1:
            return []
        if len(asked) == 2:
            raise OperationalError("the token does not answer")
        return [old, open_key("file:keys/next.key", node)]

    rekeying = Rekeying(store, keys)  # type: ignore[arg-type]
    not_yet()
    os.kill(os.getpid(), signal.SIGUSR1)  # while it starts: neither heard nor deadly
    await rekeying.start()
    for number in (1, 2, 3):
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(10):
            while len(asked) < number:
                await asyncio.sleep(0.01)
    command = ("rekey", "--config", str(node / "node.toml"), "--json")
    code, output = await asyncio.to_thread(run, *command)
    assert code == 0, output
    assert json.loads(output)["running"] is True
    await rekeying.stop()
    os.kill(os.getpid(), signal.SIGUSR1)  # and while it stops
    assert head_of(node / "data").key == open_key("file:keys/next.key", node).id
    assert dict(store.scan(b"")) == ROWS
    store.close()


def test_what_is_restored_from_a_backup_is_sealed_under_the_nodes_key(
    node: Path, tmp_path: Path
) -> None:
    """A ledger that was made by the node itself, backed up, moved away and restored, each by its command."""
    config = load_config(node / "node.toml")
    genesis = genesis_from_json(config.genesis.read_bytes())
    store = open_store(config.data, [open_key("file:keys/storage.key", node)])
    store.write([Ledger(genesis, store).unsaved])
    store.close()
    made = RUNNER.invoke(
        ledger_app, ["backup", "--config", str(config.source), "--to", str(tmp_path / "backup")]
    )
    assert made.exit_code == 0, made.output
    config.data.rename(tmp_path / "away")
    done = RUNNER.invoke(
        ledger_app, ["restore", str(tmp_path / "backup"), "--config", str(config.source)]
    )
    assert done.exit_code == 0, done.output
    assert is_sealed(config.data)
    store = open_store(config.data, [open_key("file:keys/storage.key", node)])
    assert Ledger(genesis, store).height == 0
    store.close()
