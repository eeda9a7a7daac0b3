"""`tallystick ledger` by hand: a running node is backed up, a stopped one looked at, damaged, mended by its peers, restored."""

import asyncio
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tallystick.network.wire.faults import OperationalError
from tallystick.node.api.tokens import Scope
from tallystick.node.cli import ledger_app
from tallystick.node.cli.ledger_tools import keys_of
from tallystick.node.cli.tokens import issue, load_issuer
from tallystick.node.compose import compose_node
from tallystick.node.config import load_config
from tallystick.node.core import schema
from tallystick.node.storage.opening import open_store
from tests.security.real_node import RealNetwork

RUNNER = CliRunner()
PAYMENTS = 5


def run(*words: object) -> Result:
    result = RUNNER.invoke(ledger_app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def document(*words: object, code: int = 0) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == code, result.output
    # The node under test runs in this process, and logs where the command speaks.
    found: dict[str, Any] = json.loads(result.stdout[result.stdout.index("{\n") :])
    return found


class Grounds:
    """A founded network that has settled some payments, with an observer that followed; both stand still."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.member = folder / "nodes" / "bank-a" / "node.toml"
        self.observer = folder / "observers" / "regulator" / "node.toml"
        self.genesis = folder / "genesis.json"
        self.backup = folder / "backup"
        self.online: dict[str, Any] = {}
        self.refused: list[Result] = []
        self.compared: dict[str, Any] = {}

    def grow(self) -> None:
        with RealNetwork(self.folder) as network:
            _listens_at(self.member, "api_port", network.member.api.port)
            for number in range(1, 1 + PAYMENTS):
                raw = network.issue(1_000 + number, number)
                assert (
                    network.edge.submit(network.token("central-bank"), raw, wait="final").status
                    == 200
                )
            network.start_observer()
            self._wait_for_the_observer(network)
            operator = self._token(network, Scope.OPERATE)
            self.refused = [
                run("verify", "--config", self.member),
                run("backup", "--config", self.member, "--to", self.folder / "b"),
                run("repair", "--config", self.member),
                run("backup", "--config", self.member, "--to", self.folder / "c", "--token", self.folder / "tokens" / "regulator.jwt"),
            ]  # fmt: skip
            to = ("--to", self.backup, "--token", operator)
            self.online = document("backup", "--config", self.member, *to)
            self.compared = document(
                "compare",
                f"https://127.0.0.1:{network.member.api.port}",
                self.backup,
                "--genesis",
                self.genesis,
                "--certificate",
                self.member.parent / "keys" / "tls.crt",
                "--token",
                self.folder / "tokens" / "regulator.jwt",
            )

    def _token(self, network: RealNetwork, scope: Scope) -> Path:
        path = self.folder / f"{scope.name.lower()}.jwt"
        expires_s = int(time.time()) + 3_600
        issuer = load_issuer(self.folder / "tokens")
        path.write_text(issue(issuer, network.network.chain, "operator", [scope], None, expires_s))
        return path

    @staticmethod
    def _wait_for_the_observer(network: RealNetwork) -> None:
        observer = network._running[-1].driver
        end = time.monotonic() + 20
        while observer.status().height < PAYMENTS:
            assert time.monotonic() < end
            time.sleep(0.05)


def _listens_at(toml: Path, setting: str, port: int) -> None:
    toml.write_text(re.sub(rf"{setting} = \d+", f"{setting} = {port}", toml.read_text()))


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    grounds = Grounds(tmp_path_factory.mktemp("ledger"))
    grounds.grow()
    return grounds


@pytest.fixture
def data(grounds: Grounds) -> Iterator[Path]:
    """The member's data folder, as it was before the test once the test is over."""
    folder = grounds.member.parent / "data"
    copy = folder.with_name("data-before")
    shutil.copytree(folder, copy)
    yield folder
    shutil.rmtree(folder)
    copy.rename(folder)


def damage(toml: Path, key: bytes, value: bytes) -> None:
    """As a bad disk below LevelDB's checksums, or a bad hand, would: the row is sealed properly, and wrong."""
    settings = load_config(toml)
    store = open_store(settings.data, keys_of(settings))
    store.write([{key: value}])
    store.close()


def first_row(toml: Path, table: bytes) -> tuple[bytes, bytes]:
    settings = load_config(toml)
    store = open_store(settings.data, keys_of(settings))
    try:
        return min(store.scan(table))
    finally:
        store.close()


def test_a_running_node_is_backed_up_and_nothing_else_touches_its_folder(grounds: Grounds) -> None:
    verify, offline, repair, reader = grounds.refused
    for result in (verify, offline, repair):
        assert result.exit_code == 1
        assert "the node runs" in result.stderr
    assert reader.exit_code == 1
    assert "FORBIDDEN" in reader.stderr
    assert grounds.online["height"] >= PAYMENTS
    assert grounds.compared["kind"] == "same"


def test_the_backup_and_the_stopped_node_are_sound_to_the_last_level(grounds: Grounds) -> None:
    for words in ((grounds.backup,), ("--config", grounds.member), ("--config", grounds.observer)):
        found = document("verify", *words, "--level", "execute")
        assert found["sound"]
        assert found["transactions"] == PAYMENTS
        assert found["state_root"] == grounds.online["state_root"]
    shown = run("verify", "--config", grounds.member)
    assert "sound" in shown.stdout
    assert "blocks/s" in shown.stdout


def test_pruning_leaves_what_a_payment_may_still_wait_for(grounds: Grounds) -> None:
    archive = grounds.folder / "archive"
    said = document("prune", "--config", grounds.member, "--archive", archive)
    assert said == {"blocks": 0, "files": 0, "whole_from": 1}
    said = document("prune", "--config", grounds.member, "--archive", archive, "--put-back")
    assert said == {"blocks": 0, "files": 0, "whole_from": 1}
    said = document("verify", "--config", grounds.member)
    assert (said["sound"], said["whole_from"]) == (True, 1)


def test_a_damaged_block_is_named_and_mended_by_a_peer_over_the_nodes_own_links(
    grounds: Grounds,
) -> None:
    """The observer's ledger, while the member runs."""
    damage(grounds.observer, schema.at_height(schema.BLOCK, 3), b"rot")
    found = document("verify", "--config", grounds.observer, "--level", "records", code=3)
    assert [(each["table"], each["height"]) for each in found["findings"]] == [("blocks", 3)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tallystick.node.upkeep.peers.PATIENCE_SECONDS", 0.05)
        alone = run("repair", "--config", grounds.observer)
    assert alone.exit_code == 1
    assert "is damaged or missing here, and no peer gave it" in alone.stderr
    with RunningMember(grounds):
        done = document("repair", "--config", grounds.observer)
    assert done["repaired"]
    assert 3 in done["fetched"]
    assert done["height"] >= PAYMENTS
    assert document("verify", "--config", grounds.observer, "--level", "execute")["sound"]


class RunningMember:
    """The founded member again, on a port that the observer knows."""

    def __init__(self, grounds: Grounds) -> None:
        self.grounds = grounds

    def __enter__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

        async def begin() -> None:
            config = replace(load_config(self.grounds.member), api_port=0, peer_port=0)
            self.node = compose_node(config)
            for part in self.node.parts:
                await part.start()

        asyncio.run_coroutine_threadsafe(begin(), self.loop).result(30)
        _listens_at(self.grounds.observer, "\nport", self.node.links.port)

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            for part in reversed(self.node.parts):
                await part.stop()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def test_a_member_with_a_damaged_promise_is_refused_with_the_way_out(
    grounds: Grounds, data: Path
) -> None:
    damage(grounds.member, schema.GUARD, b"rot")
    found = document("verify", "--config", grounds.member, "--level", "records", code=3)
    assert found["findings"][0]["table"] == "meta"
    refused = run("repair", "--config", grounds.member)
    assert refused.exit_code == 1
    assert "The way out is the bank's spare id" in refused.stderr


def test_a_start_on_a_damaged_ledger_ends_with_the_sentence_that_leads_on(
    grounds: Grounds, data: Path
) -> None:
    damage(grounds.member, schema.FINAL, (2).to_bytes(8, "big") + bytes(32))
    with pytest.raises(OperationalError, match="`tallystick ledger verify` names the record"):
        compose_node(load_config(grounds.member))
    assert document("repair", "--config", grounds.member)["repaired"]
    assert document("verify", "--config", grounds.member)["sound"]


def test_an_offline_backup_is_restored_and_the_member_may_not_vote(
    grounds: Grounds, data: Path, tmp_path: Path
) -> None:
    made = document("backup", "--config", grounds.member, "--to", tmp_path / "b")
    taken = run("restore", tmp_path / "b", "--config", grounds.member)
    assert taken.exit_code == 1
    assert "has a ledger" in taken.stderr
    shutil.rmtree(data)
    done = document("restore", tmp_path / "b", "--config", grounds.member)
    assert done["state_root"] == made["state_root"]
    assert done["may_vote"] is False
    assert document("verify", "--config", grounds.member, "--level", "execute")["sound"]
    with pytest.raises(OperationalError, match="guard is ahead of the database"):
        compose_node(load_config(grounds.member))


def test_a_changed_backup_is_refused_and_the_folder_stays_empty(
    grounds: Grounds, data: Path, tmp_path: Path
) -> None:
    shutil.copytree(grounds.backup, tmp_path / "b")
    path = tmp_path / "b" / "rows-000000.seg"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    shutil.rmtree(data)
    refused = run("restore", tmp_path / "b", "--config", grounds.member)
    assert refused.exit_code == 1
    assert "rows-000000.seg was changed" in refused.stderr
    assert not (data / "ledger").exists()


def test_two_ledgers_that_differ_leave_evidence(
    grounds: Grounds, data: Path, tmp_path: Path
) -> None:
    key, value = first_row(grounds.member, schema.TAKEN)
    damage(grounds.member, key, bytes(len(value)))
    backup = tmp_path / "b"
    assert run("backup", "--config", grounds.member, "--to", backup).exit_code == 0
    evidence = tmp_path / "evidence.json"
    words = (backup, grounds.member, "--genesis", grounds.genesis, "--evidence", evidence)
    assert run("compare", *words).exit_code == 0  # the same wrong row on both sides
    damage(grounds.member, key, value)
    shown = run("compare", *words)
    assert shown.exit_code == 3
    assert f"taken {key[1:].hex()} is the first" in shown.stdout
    assert json.loads(evidence.read_text())["kind"] == "rows"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("verify",), "name one ledger"),
        (("verify", "nowhere"), "holds neither a ledger nor a backup"),
        (("verify", "DATA"), "--genesis is missing"),
        (
            ("verify", "DATA", "--level", "everything"),
            "--level takes records, headers, merkle, execute",
        ),
        (
            ("compare", "https://127.0.0.1:1", "DATA", "--genesis", "GENESIS"),
            "--certificate and --token",
        ),
        (
            ("restore", "nowhere", "--config", "CONFIG", "--level", "records"),
            "--level takes merkle, execute",
        ),
    ],
)
def test_a_wrong_command_line_is_explained(
    grounds: Grounds, words: tuple[str, ...], sentence: str
) -> None:
    places = {
        "DATA": str(grounds.member.parent / "data"),
        "GENESIS": str(grounds.genesis),
        "CONFIG": str(grounds.member),
    }
    result = run(*(places.get(word, word) for word in words))
    assert result.exit_code == 1
    assert sentence in result.stderr
