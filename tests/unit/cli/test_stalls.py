"""`tallystick why-stalled` and `evidence list`: sentences for people, the answer itself for machines, and a word about a silent node."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.node.cli import stalls
from tallystick.node.cli.founding import Plan, found

NOW_MS = 1_700_000_000_000

MEMBER_3 = {"id": 3, "name": "bank-d", "up": False, "down_since_ms": 1_700_000_000_000}
STALLED = {
    "stalled": True,
    "sentence": "For 4000 ms height 8 waits in view 3 for a commit vote of bank-d.",
    "awaited": [MEMBER_3, {"id": 0, "name": "bank-a", "up": None, "down_since_ms": None}],
    "unblocks": "COMMIT votes of members 0, 3",
    "peers_down": [MEMBER_3],
    "alarm": "2 members executed the block differently",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found(Plan(tmp_path / "net", members=2, banks=2), NOW_MS)
    (tmp_path / "token").write_text("a token\n")
    return tmp_path


def run(folder: Path, *more: str, command: Callable[..., None] = stalls.why_stalled) -> Result:
    app = typer.Typer()
    app.command()(command)
    config = folder / "net" / "nodes" / "bank-a" / "node.toml"
    return CliRunner().invoke(
        app, ["--config", str(config), "--token", str(folder / "token"), *more]
    )


def answering(monkeypatch: pytest.MonkeyPatch, answer: dict[str, object]) -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []

    def ask(settings: object, path: str, token: str) -> dict[str, object]:
        asked.append((path, token))
        return answer

    monkeypatch.setattr(stalls, "ask_node", ask)
    return asked


def test_a_stall_is_told_with_everybody_who_is_awaited(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, STALLED)
    done = run(folder)
    assert done.exit_code == 1
    assert asked == [("/v1/why-stalled", "a token")]
    assert done.output.splitlines() == [
        "bank-a: For 4000 ms height 8 waits in view 3 for a commit vote of bank-d.",
        "  awaited: bank-d (3), down since 2023-11-14 22:13:20Z",
        "  awaited: bank-a (0), which is this node",
        "  unblocked by COMMIT votes of members 0, 3",
        "  not connected: bank-d (3), down since 2023-11-14 22:13:20Z",
        "  alarm: 2 members executed the block differently",
    ]


def test_machines_get_the_answer_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, STALLED)
    assert json.loads(run(folder, "--json").output) == STALLED


def test_nothing_stalled_is_success(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "Nothing is stalled. The last final block is 9, 12 ms old."
    answering(monkeypatch, {**STALLED, "stalled": False, "sentence": sentence, "peers_down": [], "alarm": None})  # fmt: skip
    done = run(folder)
    assert (done.exit_code, done.output) == (0, f"bank-a: {sentence}\n")


def test_a_token_file_that_is_missing_is_no_silent_node(folder: Path) -> None:
    (folder / "token").unlink()
    done = run(folder)
    assert (done.exit_code, "cannot be read: No such file" in done.output) == (1, True)
    assert "no answer" not in done.output


def test_a_refusal_is_passed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"code": "FORBIDDEN", "detail": "Needs the scope read:all."})
    done = run(folder)
    assert done.exit_code == 1
    assert "bank-a refused: FORBIDDEN" in done.output


def test_a_silent_node_is_said_to_be_silent_and_its_last_diagnosis_is_read(folder: Path) -> None:
    done = run(folder)
    assert done.exit_code == 1
    assert "no answer from bank-a" in done.output
    assert "no diagnosis" in done.output
    diagnosis = folder / "net" / "nodes" / "bank-a" / "data" / "diagnosis"
    diagnosis.mkdir(parents=True)
    (diagnosis / "halt-7.json").write_text('{"sentence": "the world failed us: fsync"}')
    done = run(folder)
    assert "it halted last with: the world failed us: fsync" in done.output
    (diagnosis / "halt-7.json").write_text("[")
    assert "no diagnosis" in run(folder).output


# -- evidence list -------------------------------------------------------------------------------------------------------

BLOCK = json.loads((Path(__file__).parents[2] / "vectors" / "formats.json").read_text())["block"]
TEXTS = [BLOCK["evidence"]["commits_file"], BLOCK["evidence_epoch_1_file"]]
DOCUMENTS = [json.loads(text) for text in TEXTS]
SENTENCES = [
    "member 0 signed two different COMMIT statements in view 0 at height 1 of epoch 0",
    "member 101 signed two different PREPARE statements in view 0 at height 4 of epoch 1",
]


def listed(folder: Path, *more: str) -> Result:
    return run(folder, *more, command=stalls.list_evidence)


def holding(monkeypatch: pytest.MonkeyPatch, *documents: Any, room: int = 99) -> list[str]:
    """A node that holds these, and tells `room` of them at once."""
    asked: list[str] = []

    def ask(settings: object, path: str, token: str) -> dict[str, object]:
        asked.append(path)
        first = int(path.removeprefix("/v1/evidence?from="))
        return {"evidence": list(documents[first : first + room]), "total": len(documents)}

    monkeypatch.setattr(stalls, "ask_node", ask)
    return asked


def test_evidence_is_listed_in_sentences_and_becomes_files_that_verify(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(monkeypatch, *DOCUMENTS)
    done = listed(folder, "--out", str(folder / "found"))
    assert (done.exit_code, done.output.splitlines()) == (0, SENTENCES)
    files = sorted((folder / "found").iterdir())
    assert [path.name for path in files] == ["evidence-0.json", "evidence-1.json"]
    assert [path.read_text() for path in files] == TEXTS


def test_evidence_for_machines_is_all_of_it_in_how_many_answers_it_may_come(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = holding(monkeypatch, *DOCUMENTS, room=1)
    done = listed(folder, "--json")
    assert done.exit_code == 0
    assert json.loads(done.output) == {"evidence": DOCUMENTS, "total": 2}
    assert asked == ["/v1/evidence?from=0", "/v1/evidence?from=1"]


def test_a_node_that_holds_no_evidence_says_so_and_succeeds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(monkeypatch)
    done = listed(folder, "--out", str(folder / "found"))
    assert (done.exit_code, done.output) == (0, "bank-a holds no evidence\n")
    assert list((folder / "found").iterdir()) == []


def test_a_node_that_promises_more_than_it_tells_is_not_asked_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {"evidence": [], "total": 7})
    assert listed(folder).exit_code == 0


@pytest.mark.parametrize("changed", [{"signer": "0"}, {"kind": "SHOUT"}, {"epochs": []}])
def test_what_is_no_evidence_is_named_so_and_becomes_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    holding(monkeypatch, DOCUMENTS[0] | changed)
    done = listed(folder, "--out", str(folder / "found"))
    assert done.exit_code == 1
    assert "bank-a answers with what is no evidence: " in done.output
    assert not (folder / "found").exists()


def test_a_refusal_and_a_silence_are_told_when_evidence_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = listed(folder)
    assert (silent.exit_code, "no answer from bank-a" in silent.output) == (1, True)
    answering(monkeypatch, {"code": "FORBIDDEN", "detail": "Needs the scope read:all."})
    refused = listed(folder)
    assert (refused.exit_code, "bank-a refused: FORBIDDEN" in refused.output) == (1, True)
