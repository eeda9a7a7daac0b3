"""`tallystick checkpoint verify`: a checkpoint that verifies says of which height and link; one that does not says neither."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.wallet.cli import checkpoints

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "formats.json").read_text())
PUBLISHED = VECTORS["checkpoint"]
STATEMENT = json.loads(PUBLISHED["file"])["checkpoint"]["statement"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "genesis.json").write_text(VECTORS["genesis"]["file"])
    (tmp_path / "c.json").write_text(PUBLISHED["file"])
    (tmp_path / "c.note").write_text(PUBLISHED["cosigned_note"])
    return tmp_path


def run(folder: Path, file: str, *more: str) -> Result:
    app = typer.Typer()
    app.add_typer(checkpoints.app, name="checkpoint")
    words = ["checkpoint", "verify", str(folder / file), "--genesis", str(folder / "genesis.json")]
    return CliRunner().invoke(app, [*words, *more])


def test_a_document_that_verifies_says_its_height_its_link_and_its_history(folder: Path) -> None:
    done = run(folder, "c.json")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-4:] == [
        "VERIFIED",
        f"height        {STATEMENT['height']}",
        f"link          {STATEMENT['link']}",
        f"history root  {STATEMENT['history_root']}",
    ]


def test_machines_get_height_and_link_as_fields(folder: Path) -> None:
    done = run(folder, "c.json", "--json")
    assert done.exit_code == 0
    told = json.loads(done.output)
    assert [told.pop("verified"), len(told.pop("checks"))] == [True, 2]
    assert told == {name: STATEMENT[name] for name in ("height", "link", "history_root")}


def test_a_note_says_its_height_and_has_no_link_to_say(folder: Path) -> None:
    done = run(folder, "c.note", "--witness", PUBLISHED["witness_key"])
    assert done.exit_code == 0, done.output
    size = int(PUBLISHED["note"].splitlines()[1])
    assert f"height        {size - 1}\n" in done.output
    assert "history root" in done.output
    assert "link " not in done.output
    told: dict[str, Any] = json.loads(run(folder, "c.note", "--json").output)
    assert (told["height"], told["link"]) == (size - 1, None)
    assert told["history_root"] == STATEMENT["history_root"]


@pytest.mark.parametrize("field", ["height", "link", "history_root", "epoch"])
def test_a_checkpoint_that_nobody_signed_so_is_not_repeated(folder: Path, field: str) -> None:
    path = folder / "c.json"
    document = json.loads(path.read_text())
    statement = document["checkpoint"]["statement"]
    value = statement[field]
    statement[field] = value + 1 if isinstance(value, int) else "00" * 32
    path.write_text(json.dumps(document, indent=2) + "\n")
    done = run(folder, "c.json")
    assert done.exit_code == 1
    assert "NOT VERIFIED: this checkpoint proves nothing." in done.output
    assert not {"height", "link", "history"} & {line.split()[0] for line in done.output.splitlines()}  # fmt: skip
    told = json.loads(run(folder, "c.json", "--json").output)
    assert set(told) == {"verified", "checks"}
    assert told["verified"] is False
