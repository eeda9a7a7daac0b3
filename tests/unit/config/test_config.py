"""A node's configuration: every setting from one file, every fault named at once."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tallystick.node.config import (
    CONFIG_BYTES_MAX,
    PEERS_MAX,
    ConfigError,
    NodeConfig,
    PeerConfig,
    load_config,
)

MEMBER = """
id = 0
name = "bank-a"
genesis = "genesis.json"
tls_key = "tls.key"
tls_certificate = "tls.crt"
vote_key = "vote.key"
guard = "guard"
data = "data"
"""
PEER = """
[[peers]]
id = 1
name = "bank-b"
tls_key_hash = "{hash}"
certificate = "peer.crt"
host = "127.0.0.1"
port = 7602
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("genesis.json", "tls.key", "tls.crt", "vote.key", "peer.crt", "jwks.json"):
        (tmp_path / name).touch()
    return tmp_path


def load(folder: Path, text: str) -> NodeConfig:
    path = folder / "node.toml"
    path.write_text(text)
    return load_config(path)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(folder, text)
    return error.value.errors


def good(folder: Path) -> NodeConfig:
    return load(folder, MEMBER + PEER.format(hash="ab" * 32))


def test_a_small_file_is_enough_and_paths_are_relative_to_it(folder: Path) -> None:
    config = good(folder)
    assert config.data == folder / "data"
    assert config.peers[0].certificate == folder / "peer.crt"
    assert config.api_host == "127.0.0.1"
    assert config.verifiers == "inline"
    assert config.source == folder / "node.toml"


def test_an_absolute_path_stays(folder: Path) -> None:
    config = load(folder, MEMBER.replace('"data"', '"/var/lib/tallystick"'))
    assert config.data == Path("/var/lib/tallystick")


def test_all_faults_are_named_at_once(folder: Path) -> None:
    text = MEMBER.replace("id = 0", 'id = "zero"').replace('name = "bank-a"\n', "")
    found = faults(folder, text + 'colour = "red"\nverifiers = "magic"\nlog_level = 3\n')
    assert found == [
        "colour: there is no such setting",
        "id: is 'zero', wants a whole number",
        "name: is missing",
        "verifiers: is 'magic', not one of inline, threads, processes",
        "log_level: is 3, not one of debug, info, warning, error",
    ]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("id = true", "id: is True, wants a whole number"),
        ("id = 1.0", "id: is 1.0, wants a whole number"),
        ('data = ""', "data: wants a path in quotes"),
        ("metrics_open_on_loopback = 1", "metrics_open_on_loopback: is 1, wants true or false"),
        ("peers = 3", "peers: wants [[peers]] tables"),
    ],
)
def test_a_wrong_type_is_named(folder: Path, line: str, sentence: str) -> None:
    name = line.split(" ", maxsplit=1)[0]
    kept = "\n".join(each for each in MEMBER.splitlines() if not each.startswith(f"{name} "))
    assert faults(folder, f"{kept}\n{line}\n") == [sentence]


def test_a_fault_inside_a_peer_says_which_peer(folder: Path) -> None:
    text = (
        MEMBER + PEER.format(hash="ab" * 32) + PEER.format(hash="cd" * 32).replace("id = 1\n", "")
    )
    assert faults(folder, text) == ["peers[1].id: is missing"]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("peer_port", 0, 65_535),
        ("api_port", 0, 65_535),
        ("requests_per_s", 1, 1_000_000),
        ("transactions_per_s", 1, 10_000_000),
        ("participant_transactions_per_s", 1, 10_000_000),
        ("verifier_count", 1, 64),
        ("ready_lag_ms", 100, 3_600_000),
        ("observer_lag_alarm_ms", 100, 3_600_000),
    ],
)
def test_numbers_are_taken_at_their_bounds_and_refused_beyond(
    folder: Path, name: str, low: int, high: int
) -> None:
    config = good(folder)
    for value in (low, high):
        assert replace(config, **changed(name, value)).validate() == []
    for value in (low - 1, high + 1):
        (fault,) = replace(config, **changed(name, value)).validate()
        assert fault == f"{name} is {value}, not within {low} to {high}"


def test_a_member_votes_and_an_observer_holds_no_key_that_does(folder: Path) -> None:
    config = good(folder)
    assert replace(config, vote_key=None, guard=None).validate() == [
        "vote_key is missing: a member votes",
        "guard is missing: a member votes",
    ]
    observer = replace(config, role="observer", id=1_000)
    assert observer.validate() == [
        "vote_key is set: an observer holds no voting key",
        "guard is set: an observer holds no voting key",
    ]
    keyless = replace(observer, vote_key=None, guard=None)
    assert keyless.validate() == []
    assert replace(keyless, peer_port=1).validate() == [
        "peer_port is set: an observer only dials, it does not listen for nodes"
    ]
    assert replace(keyless, peers=()).validate() == [
        "peers: an observer needs at least one node to dial"
    ]


@pytest.mark.parametrize(("role", "id_"), [("member", 1_000), ("observer", 999)])
def test_the_id_says_the_role(folder: Path, role: str, id_: int) -> None:
    config = replace(good(folder), role=role, id=id_)  # type: ignore[arg-type]
    assert f"id {id_} is not {role}'s: observers have ids from 1000 on" in config.validate()


def changed(name: str, value: object) -> Any:
    return {name: value}


def peer(number: int, **changes: object) -> PeerConfig:
    usual = PeerConfig(number, f"n{number}", "ab" * 32, Path("/dev/null"), "127.0.0.1", 1)
    return replace(usual, certificate=Path(__file__), **changes)  # type: ignore[arg-type]


def test_peers_are_checked_one_by_one(folder: Path) -> None:
    config = good(folder)
    assert replace(config, peers=(peer(0),)).validate() == ["peer 0 (n0): has this node's own id"]
    assert replace(config, peers=(peer(1), peer(1))).validate() == ["peers: an id stands twice"]
    for change, sentence in (
        ({"tls_key_hash": "ab" * 31}, "tls_key_hash is not 64 hex digits"),
        ({"tls_key_hash": "xy" * 32}, "tls_key_hash is not 64 hex digits"),
        ({"port": 0}, "wants host and port, or neither"),
        ({"host": ""}, "wants host and port, or neither"),
        ({"port": 65_536}, "wants host and port, or neither"),
    ):
        (fault,) = replace(config, peers=(peer(1, **change),)).validate()
        assert fault == f"peer 1 (n1): {sentence}"


def test_the_number_of_peers_has_a_bound(folder: Path) -> None:
    config = good(folder)
    at = tuple(peer(number) for number in range(1, PEERS_MAX + 1))
    assert replace(config, peers=at).validate() == []
    over = replace(config, peers=(*at, peer(60_000))).validate()
    assert over == [f"peers: {PEERS_MAX + 1} are listed, at most {PEERS_MAX} are used"]


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "vote.key").unlink()
    (folder / "peer.crt").unlink()
    assert faults(folder, MEMBER + PEER.format(hash="ab" * 32)) == [
        f"vote_key: there is no file {folder / 'vote.key'}",
        f"peer 1 certificate: there is no file {folder / 'peer.crt'}",
    ]


def test_one_port_is_not_used_twice_and_an_address_is_an_address(folder: Path) -> None:
    config = replace(good(folder), peer_port=7_600, api_port=7_600)
    assert config.validate() == ["peer_port and api_port are both 7600"]
    (fault,) = replace(good(folder), api_host="my.bank").validate()
    assert fault.startswith("api_host is 'my.bank'")


def test_a_file_that_is_none_says_so(folder: Path) -> None:
    assert faults(folder, "id = ")[0].startswith("is not TOML")
    assert faults(folder, "#" * (CONFIG_BYTES_MAX + 1)) == [
        f"is larger than {CONFIG_BYTES_MAX} bytes"
    ]
    load(folder, MEMBER + "#" * (CONFIG_BYTES_MAX - len(MEMBER)))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(folder / "absent.toml")
    (folder / "node.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(folder / "node.toml")


def test_every_setting_says_what_it_is() -> None:
    """Unit, default and reason stand under the field; only the plainest go without."""
    source = Path(__file__).resolve().parents[3] / "node" / "config.py"
    text = source.read_text()
    body = text[text.index("class NodeConfig") : text.index("def validate")]
    unexplained = [
        entry.name
        for entry in fields(NodeConfig)
        if '"""' not in body.split(f"    {entry.name}:", 1)[1].split("\n    ", 2)[1]
    ]
    assert unexplained == ["genesis", "role", "peers"]
