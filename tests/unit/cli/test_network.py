"""`tallystick network init` and `token`: what they make works, what they refuse says what to do."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallystick.network.transport.tls import spki_hash
from tallystick.network.wire.genesis import (
    Genesis,
    chain_of,
    genesis_from_json,
    genesis_hash,
    validate_genesis,
)
from tallystick.node.api.tokens import Scope, Tokens, load_jwks
from tallystick.node.cli import network_app, node_app, observer_app
from tallystick.node.cli.founding import bank_name
from tallystick.node.config import load_config
from tallystick.wallet import keystore

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "net"
    result = RUNNER.invoke(
        network_app, ["init", str(folder), "--members", "4", "--participants", "5"]
    )
    assert result.exit_code == 0, result.output
    assert f"tallystick node run --config {folder}/nodes/bank-a/node.toml" in result.output
    return folder


def genesis_in(folder: Path) -> Genesis:
    return genesis_from_json((folder / "genesis.json").read_bytes())


def test_genesis_is_sound_and_lists_whom_it_should(made: Path) -> None:
    genesis = genesis_in(made)
    assert validate_genesis(genesis) == []
    names = [entry.name for entry in genesis.participants]
    assert names == ["central-bank", *(f"bank-{letter}" for letter in "abcde")]
    assert [member.participant for member in genesis.members] == [2, 3, 4, 5]
    assert {(rule.asset, rule.tier, rule.rule) for rule in genesis.rules} == {
        (asset, tier, rule) for asset in ("USD", "EUR") for tier in range(4) for rule in (1, 4)
    }


def test_every_configuration_is_valid_and_ports_are_all_different(made: Path) -> None:
    configs = [load_config(path) for path in sorted(made.glob("nodes/*/node.toml"))]
    configs.append(load_config(made / "observers" / "regulator" / "node.toml"))
    ports = [port for each in configs for port in (each.peer_port, each.api_port) if port]
    assert sorted(ports) == [7600, 7601, 7602, 7603, 7604, 7605, 7606, 7607, 7609]
    observer = configs[-1]
    assert (observer.vote_key, observer.guard, observer.role) == (None, None, "observer")
    assert not (made / "observers" / "regulator" / "keys" / "vote.key").exists()


def test_what_wallets_read_names_every_node_with_its_key(made: Path) -> None:
    document = json.loads((made / "network.json").read_text())
    for entry in (*document["endpoints"], *document["observers"]):
        certificate = (made / entry["certificate"]).read_bytes()
        assert spki_hash(certificate).hex() == entry["tls_key_hash"]
    assert [entry["node"] for entry in document["endpoints"]] == [0, 1, 2, 3]


def test_secrets_are_readable_by_their_owner_alone(made: Path) -> None:
    secret = [
        *made.glob("nodes/*/keys/*.key"),
        *made.glob("wallets/*"),
        *made.glob("tokens/*.jwt"),
        made / "tokens" / "issuer.key",
    ]
    assert len(secret) == 4 * 4 + 6 * 2 + 8 + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    folders = [*made.glob("*/*/keys"), *made.glob("*/*/data")]
    assert len(folders) == 2 * (4 + 1)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_keystores_open_with_their_passwords_and_hold_the_root_keys(made: Path) -> None:
    from coincurve import PrivateKey

    for entry in genesis_in(made).participants:
        document = json.loads((made / "wallets" / f"{entry.name}.keystore.json").read_text())
        password = (made / "wallets" / f"{entry.name}.password").read_text()
        key = PrivateKey(keystore.decrypt(document, password))
        assert entry.keys == (key.public_key.format(),)


def verifier(folder: Path) -> Tokens:
    keys = load_jwks((folder / "tokens" / "jwks.json").read_bytes())
    genesis = genesis_in(folder)
    return Tokens(keys, str(chain_of(genesis_hash(genesis))), lambda: genesis.created_ms)


def test_tokens_say_who_may_do_what(made: Path) -> None:
    tokens = verifier(made)
    bank = tokens.principal((made / "tokens" / "bank-b.jwt").read_text())
    assert (bank.scopes, bank.participant) == (frozenset({Scope.SUBMIT, Scope.READ_OWN}), 3)
    regulator = tokens.principal((made / "tokens" / "regulator.jwt").read_text())
    assert (regulator.scopes, regulator.participant) == (frozenset({Scope.READ_ALL}), None)


def test_a_further_token_is_signed_on_demand(made: Path) -> None:
    command = [
        "token",
        str(made),
        "--subject",
        "desk",
        "--scope",
        "submit",
        "--participant",
        "bank-c",
    ]
    result = RUNNER.invoke(network_app, command)
    principal = verifier(made).principal(result.output.strip())
    assert (principal.name, principal.participant) == ("token:desk", 4)
    as_json = json.loads(RUNNER.invoke(network_app, [*command, "--json"]).output)
    assert as_json["participant"] == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--subject", "x", "--scope", "fly"],
            "--scope takes submit, read:own, read:all, operate; got fly",
        ),
        (["--subject", "", "--scope", "submit"], "--subject has 1 to 128 characters"),
        (
            ["--subject", "x", "--scope", "submit", "--participant", "bank-z"],
            "no participant 'bank-z'",
        ),
    ],
)
def test_a_wrong_wish_for_a_token_is_explained(
    made: Path, options: list[str], sentence: str
) -> None:
    result = RUNNER.invoke(network_app, ["token", str(made), *options])
    assert result.exit_code == 1
    assert sentence in result.stderr


def test_a_folder_that_is_not_empty_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for options in ([], ["--force"]):
        result = RUNNER.invoke(network_app, ["init", str(tmp_path), *options])
        assert result.exit_code == 1
        assert "is not empty: name another folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_force_replaces_a_network_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    command = ["init", str(folder), "--members", "1", "--json"]
    first = json.loads(RUNNER.invoke(network_app, command).output)
    (folder / "notes.txt").write_text("mine")
    again = RUNNER.invoke(network_app, command)
    assert again.exit_code == 1
    assert "add --force" in json.loads(again.stderr)["errors"][0]
    second = json.loads(RUNNER.invoke(network_app, [*command, "--force"]).output)
    assert first["genesis_hash"] != second["genesis_hash"]
    assert (folder / "notes.txt").read_text() == "mine"


def test_ports_beyond_the_last_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    result = RUNNER.invoke(
        network_app, ["init", str(folder), "--base-port", "65000", "--members", "26"]
    )
    assert result.exit_code == 0
    folder = tmp_path / "other"
    result = RUNNER.invoke(network_app, ["init", str(folder), "--base-port", "65001"])
    assert result.exit_code == 2
    assert not folder.exists()


@pytest.mark.parametrize(
    ("engine", "members", "sentence"),
    [
        ("pbft", 1, "none of 1 members failing, none of them by lying"),
        ("pbft", 2, "none of 2 members failing, none of them by lying"),
        ("pbft", 3, "1 of 3 members failing, none of them by lying"),
        ("pbft", 4, "1 of 4 members failing, 1 of them by lying"),
        ("pbft", 6, "2 of 6 members failing, 1 of them by lying"),
        ("raft", 3, "1 of 3 members failing, none of them by lying"),
        ("raft", 4, "1 of 4 members failing, none of them by lying"),
        ("raft", 5, "2 of 5 members failing, none of them by lying"),
    ],
)
def test_a_network_is_told_what_it_tolerates(
    tmp_path: Path, engine: str, members: int, sentence: str
) -> None:
    """⌈2n/3⌉ members decide under PBFT, a majority under Raft; two members survive no fault at all."""
    command = ["init", str(tmp_path), "--engine", engine, "--members", str(members)]
    assert f"tolerates      {sentence}\n" in RUNNER.invoke(network_app, command).output


def test_banks_are_named_by_letters() -> None:
    assert [bank_name(index) for index in (0, 25, 26, 27, 701)] == [
        "bank-a",
        "bank-z",
        "bank-aa",
        "bank-ab",
        "bank-zz",
    ]


def test_a_wrong_configuration_is_explained_fault_by_fault(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text('id = "x"\nspeed = 3\n')
    result = RUNNER.invoke(node_app, ["run", "--config", str(path)])
    assert result.exit_code == 1
    assert f"error: {path}: speed: there is no such setting" in result.stderr
    assert f"error: {path}: id: is 'x', wants a whole number" in result.stderr


def test_the_wrong_command_for_a_role_says_which_is_right(made: Path) -> None:
    member, observer = made / "nodes/bank-a/node.toml", made / "observers/regulator/node.toml"
    result = RUNNER.invoke(node_app, ["run", "--config", str(observer)])
    assert result.exit_code == 1
    assert "use `tallystick observer run`" in result.stderr
    result = RUNNER.invoke(observer_app, ["run", "--config", str(member)])
    assert result.exit_code == 1
    assert "use `tallystick node run`" in result.stderr


def test_the_status_of_a_node_that_does_not_run_says_so(made: Path) -> None:
    path = made / "nodes" / "bank-a" / "node.toml"
    text = path.read_text().replace("api_port = 7601", "api_port = 1")
    (path.parent / "other.toml").write_text(text)
    result = RUNNER.invoke(node_app, ["status", "--config", str(path.parent / "other.toml")])
    assert result.exit_code == 1
    assert "Is it running?" in result.stderr
