"""A node that must not start says why: a key that is not the listed one, a peer that is missing, a file that is none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tallystick.network.transport.tls import make_identity
from tallystick.network.wire.faults import OperationalError
from tallystick.node.cli.founding import Plan, found
from tallystick.node.compose import compose_node
from tallystick.node.config import NodeConfig, load_config
from tallystick.node.runtime.signers import write_vote_key
from tallystick.node.storage.leveldb import LevelStore

NOW_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    found(Plan(folder, members=2, banks=2), NOW_MS)
    return folder


def config_of(network: Path) -> NodeConfig:
    return load_config(network / "nodes" / "bank-a" / "node.toml")


def with_other_vote_key(config: NodeConfig, folder: Path) -> NodeConfig:
    write_vote_key(folder / "vote.key")
    return replace(config, vote_key=folder / "vote.key")


def with_other_tls_key(config: NodeConfig, folder: Path) -> NodeConfig:
    make_identity("other", folder / "tls.key", folder / "tls.crt")
    return replace(config, tls_key=folder / "tls.key", tls_certificate=folder / "tls.crt")


def with_broken_genesis(config: NodeConfig, folder: Path) -> NodeConfig:
    path = folder / "genesis.json"
    path.write_bytes(config.genesis.read_bytes()[:-20])
    return replace(config, genesis=path)


def with_broken_jwks(config: NodeConfig, folder: Path) -> NodeConfig:
    path = folder / "jwks.json"
    path.write_text('{"keys":[{"kty":"oct","k":"AAAA","kid":"s"}]}')
    return replace(config, jwks=path)


def with_other_pin(config: NodeConfig, folder: Path) -> NodeConfig:
    del folder
    return replace(config, peers=(replace(config.peers[0], tls_key_hash="ab" * 32),))


def with_other_peer(config: NodeConfig, folder: Path) -> NodeConfig:
    """A peer whose file and pin agree, and who is somebody else."""
    pin = make_identity("peer", folder / "peer.key", folder / "peer.crt").hex()
    other = replace(config.peers[0], tls_key_hash=pin, certificate=folder / "peer.crt")
    return replace(config, peers=(other,))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (with_other_vote_key, "is not the key that genesis lists for node 0"),
        (with_other_tls_key, "is not the certificate of the key that genesis lists for bank-a"),
        (with_broken_genesis, "cannot be used"),
        (with_broken_jwks, "only EC P-256"),
        (with_other_pin, "the certificate of peer 1 .* pinned is abab"),
        (with_other_peer, "the pinned key of peer 1 is not the one that genesis lists"),
        (
            lambda config, _: replace(config, peers=()),
            "no \\[\\[peers\\]\\] entry for member bank-b",
        ),
        (lambda config, _: replace(config, id=7), "genesis lists no member 7"),
    ],
)
def test_a_wrong_file_is_a_sentence(
    network: Path,
    tmp_path: Path,
    spoil: Callable[[NodeConfig, Path], NodeConfig],
    sentence: str,
) -> None:
    config = spoil(replace(config_of(network), data=tmp_path / "data"), tmp_path)
    for _ in range(2):  # nothing was left locked by the first try
        with pytest.raises(OperationalError, match=sentence):
            compose_node(config)


def test_a_guard_without_its_file_and_a_database_in_use_are_told_and_unlocked(
    network: Path, tmp_path: Path
) -> None:
    config = replace(config_of(network), data=tmp_path / "data")
    holder = LevelStore(_made(tmp_path / "data"))
    with pytest.raises(OperationalError):
        compose_node(config)
    holder.close()
    with pytest.raises(OperationalError, match="there is no guard file"):
        compose_node(replace(config, guard=tmp_path / "guard"))
    LevelStore(tmp_path / "data").close()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
