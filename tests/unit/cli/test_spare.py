"""A spare's folder: fresh keys beside the old configuration, and what the others must be told."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.keys import check_vote_key
from tallystick.node.cli.founding import Plan, found
from tallystick.node.cli.operate import node_app
from tallystick.node.cli.spare import prepare_spare
from tallystick.node.compose import compose_node
from tallystick.node.config import NodeConfig, load_config
from tallystick.wallet.cli import members

NOW_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> NodeConfig:
    folder = tmp_path_factory.mktemp("network")
    found(Plan(folder, members=4), NOW_MS)
    return load_config(folder / "nodes" / "bank-b" / "node.toml")


def test_a_spare_has_keys_of_its_own_and_its_members_settings(old: NodeConfig) -> None:
    folder = old.source.parent.parent / "bank-b-501"
    made = prepare_spare(old, 501, folder, 0, 9_999)
    config = load_config(folder / "node.toml")
    assert (config.id, config.name, config.api_port) == (501, "bank-b", 9_999)
    assert (config.peer_port, config.peers) == (old.peer_port, tuple(config.peers))
    assert [peer.id for peer in config.peers] == [peer.id for peer in old.peers]
    assert check_vote_key(made.vote_key)
    assert made.tls_key_hash.hex() in made.peer
    assert old.vote_key is not None
    assert config.vote_key is not None
    assert config.vote_key.read_bytes() != old.vote_key.read_bytes()
    keys = [each.source.parent / "keys" / "storage.key" for each in (old, config)]
    assert keys[0].read_bytes() != keys[1].read_bytes()
    composed = compose_node(replace(config, api_port=0))
    assert composed.driver.status().waiting_for == "an epoch that names member 501"


@pytest.mark.parametrize(
    ("spare", "where", "sentence"),
    [
        (502, "bank-b", "is there already"),
        (1_000, "new", "cannot take the place"),
        (1, "new", "cannot take the place"),
        (502, "deeper/new", "must lie beside"),
        (502, "new", r"approved for another bank; for this one: \[501\]"),
    ],
)
def test_a_spare_that_cannot_be_is_refused(
    old: NodeConfig, spare: int, where: str, sentence: str
) -> None:
    folder = old.source.parent.parent / where
    with pytest.raises(OperationalError, match=sentence):
        prepare_spare(old, spare, folder, 0, 0)


def test_the_commands_say_what_they_need(old: NodeConfig) -> None:
    folder = old.source.parent.parent / "bank-b-600"
    shown = CliRunner().invoke(node_app, ["prepare-spare", "--config", str(old.source), "--spare", "600", "--folder", str(folder)])  # fmt: skip
    assert shown.exit_code == 0, shown.output
    assert (
        "tallystick members activate-spare --as bank-b --member 1 --spare 600 --vote-key "
        in shown.output.replace("\n", " ")
    )
    assert (folder / "keys" / "guard").is_file()
    wrong = CliRunner().invoke(members.app, ["change", "--joining", "7:bank", "--as", "x", "--network", str(Path("none"))])  # fmt: skip
    assert wrong.exit_code == 2


@pytest.mark.parametrize("text", ["ab", "zz" * 32, "ab" * 31])
def test_a_hash_on_the_command_line_has_64_digits(text: str) -> None:
    import typer

    with pytest.raises(typer.BadParameter, match="64 hex digits"):
        members._hash(text)
