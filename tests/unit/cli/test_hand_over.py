"""`tallystick node hand-over`: what it asks, and what it says of the answer."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tallystick.node.cli import operate
from tallystick.node.cli.founding import OPERATOR, Plan, found
from tallystick.node.cli.operate import node_app

NOW_MS = 1_700_000_000_000
DONE: dict[str, object] = {"handed_over": True, "leader": 2, "view": 6}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    found(Plan(tmp_path / "net", members=2, banks=2), NOW_MS)
    return tmp_path / "net"


def run(network: Path, *more: str) -> Result:
    config = str(network / "nodes" / "bank-a" / "node.toml")
    token = str(network / "tokens" / f"{OPERATOR}.jwt")
    return CliRunner().invoke(node_app, ["hand-over", "--config", config, "--token", token, *more])


def answering(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, object] | Exception
) -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []

    def ask(settings: object, path: str, token: str, method: str = "GET") -> dict[str, object]:
        asked.append((method, path))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(operate, "ask_node", ask)
    return asked


def test_it_says_who_leads_now(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, DONE)
    done = run(network)
    assert (done.exit_code, asked) == (0, [("POST", "/v1/operations/hand-over")])
    assert done.output == "bank-a handed over: member 2 leads, in view 6\n"


def test_a_member_may_be_named_and_a_machine_reads_the_answer(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, DONE)
    done = run(network, "--to", "2", "--json")
    assert asked == [("POST", "/v1/operations/hand-over?to=2")]
    assert json.loads(done.output) == DONE


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"code": "NOT_LEADER", "detail": "…", "leader": 2}, "does not lead, member 2 does"),
        ({"code": "FORBIDDEN", "detail": "This needs operate."}, "give --token a token with that"),
        ({"handed_over": False, "leader": 0, "view": 5}, "no other member took over in time"),
        (ConnectionRefusedError("refused"), "Is it running?"),
    ],
)
def test_what_did_not_happen_is_told_with_exit_code_1(
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: dict[str, object] | Exception,
    sentence: str,
) -> None:
    answering(monkeypatch, answer)
    done = run(network)
    assert done.exit_code == 1
    assert sentence in done.output
