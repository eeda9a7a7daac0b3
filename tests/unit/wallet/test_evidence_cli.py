"""`tallystick evidence verify`: the genesis file is enough, and what proves nothing says so."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.wallet.cli import evidence

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "formats.json").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "genesis.json").write_text(VECTORS["genesis"]["file"])
    (tmp_path / "evidence.json").write_text(VECTORS["block"]["evidence"]["commits_file"])
    return tmp_path


def run(folder: Path, *more: str) -> Result:
    words = ["evidence", "verify", str(folder / "evidence.json"), "--genesis", str(folder / "genesis.json")]  # fmt: skip
    app = typer.Typer()
    app.add_typer(evidence.app, name="evidence")
    return CliRunner().invoke(app, [*words, *more])


def test_published_evidence_convicts_by_name(folder: Path) -> None:
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert "CONVICTED" in done.output
    assert "member 0 signed two different COMMIT statements" in done.output
    told = json.loads(run(folder, "--json").output)
    assert (told["verified"], told["member"]) == (True, 0)


def test_a_changed_file_proves_nothing(folder: Path) -> None:
    path = folder / "evidence.json"
    path.write_text(path.read_text().replace('"signer": 0', '"signer": 1'))
    done = run(folder)
    assert done.exit_code == 1
    assert "no evidence" in done.output + str(done.stderr if done.stderr_bytes else "")
