"""`tallystick evidence verify`: the genesis file is enough for any epoch, and what proves nothing says why."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.wallet.cli import evidence

BLOCK = json.loads((Path(__file__).parents[2] / "vectors" / "formats.json").read_text())
TEXTS = {
    0: BLOCK["block"]["evidence"]["commits_file"],
    1: BLOCK["block"]["evidence_epoch_1_file"],
}
"""Member 0 of epoch 0, and the spare 101 of epoch 1, which has the name and the place of member 1."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "genesis.json").write_text(BLOCK["genesis"]["file"])
    for epoch, text in TEXTS.items():
        (tmp_path / f"evidence-{epoch}.json").write_text(text)
    return tmp_path


def run(folder: Path, epoch: int, *more: str) -> Result:
    words = ["evidence", "verify", str(folder / f"evidence-{epoch}.json"), "--genesis", str(folder / "genesis.json")]  # fmt: skip
    app = typer.Typer()
    app.add_typer(evidence.app, name="evidence")
    return CliRunner().invoke(app, [*words, *more])


@pytest.mark.parametrize(
    ("epoch", "said"),
    [
        (0, "CONVICTED: node-0: member 0 signed two different COMMIT statements in view 0 at height 1 of epoch 0\n"),
        (1, "CONVICTED: node-1: member 101 signed two different PREPARE statements in view 0 at height 4 of epoch 1\n"),
    ],
)  # fmt: skip
def test_published_evidence_convicts_by_name_in_any_epoch(
    folder: Path, epoch: int, said: str
) -> None:
    done = run(folder, epoch)
    assert (done.exit_code, done.output) == (0, said)


def test_machines_get_every_part_of_it(folder: Path) -> None:
    done = run(folder, 1, "--json")
    assert done.exit_code == 0
    told = json.loads(done.output)
    assert told.pop("sentence").startswith("member 101 signed two different PREPARE statements")
    assert told == {
        "verified": True,
        "member": 101,
        "name": "node-1",
        "epoch": 1,
        "kind": "PREPARE",
        "view": 0,
        "height": 4,
    }


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"signer": 101', '"signer": 100', "statements: 100 is no member of that epoch"),
        ('"signer": 101', '"signer": 0', "statements: a signature is not member 0's"),
        ('"view": 0', '"view": 1', "statements: a signature is not member 101's"),
        ('"epoch": 1', '"epoch": 0', "statements: it is about epoch 0"),
        ('"name": "node-2"', '"name": "node-3"', "members: the block that closes epoch 0 names"),
        ('"kind": "PREPARE"', '"kind": "PREPARF"', "kind: not a known name"),
        ('"lane": 0', '"lane": 0,,', "not JSON"),
        ('"lane"', '"lame"', "Evidence: missing or unknown: lame, lane"),
    ],
)
def test_a_changed_file_proves_nothing_and_says_why(
    folder: Path, old: str, new: str, why: str
) -> None:
    path = folder / "evidence-1.json"
    path.write_text(path.read_text().replace(old, new, 1))
    done = run(folder, 1)
    assert done.exit_code == 1
    assert f"is no evidence: {why}" in done.stderr
    assert "It proves nothing against anybody." in done.stderr
    assert "CONVICTED" not in done.stdout
    told = run(folder, 1, "--json")
    assert told.exit_code == 1
    assert why in json.loads(told.stdout)["error"]["sentence"]


def test_every_changed_character_of_the_members_chain_proves_nothing(folder: Path) -> None:
    """One in 97, so that a test takes a second; all bytes at random are tried where the file is read."""
    text = TEXTS[1]
    assert text == (folder / "evidence-1.json").read_text()
    for at in range(text.index('"epochs"'), len(text), 97):
        changed = "0" if text[at] != "0" else "1"
        (folder / "evidence-1.json").write_text(text[:at] + changed + text[at + 1 :])
        assert run(folder, 1).exit_code == 1, at


def test_another_networks_genesis_file_convicts_nobody(folder: Path) -> None:
    genesis = folder / "genesis.json"
    document = json.loads(genesis.read_text())
    document["created_ms"] += 1
    genesis.write_text(json.dumps(document, indent=2) + "\n")
    assert "another network" in run(folder, 0).stderr
    assert "another network" in run(folder, 1).stderr


def test_a_path_that_is_wrong_is_a_wrong_command_line_and_no_verdict(folder: Path) -> None:
    (folder / "evidence-1.json").unlink()
    done = run(folder, 1)
    assert (done.exit_code, "No such file" in done.stderr) == (2, True)
    (folder / "genesis.json").unlink()
    assert run(folder, 0).exit_code == 2
