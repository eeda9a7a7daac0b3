"""`tallystick why-stalled` and `tallystick evidence list`: the running node's own answer, or, of a node that runs no more, the last thing it wrote."""

import http.client
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from tallystick.network.proofs.evidence_file import evidence_from_document, evidence_to_bytes
from tallystick.network.wire.faults import Refused
from tallystick.node.cli.operate import Config, Json, ask_node, refused, settings_of, token_in
from tallystick.node.cli.output import fail, say
from tallystick.node.config import NodeConfig

DIAGNOSIS_BYTES_MAX = 16 * 1024 * 1024
"""A bundle holds a few hundred steps; anything larger is not read."""


def why_stalled(
    config: Config,
    token: Annotated[Path, typer.Option(help="A token file with the scope read:all.")],
    as_json: Json = False,
) -> None:
    """Who is awaited, since when, and what would let the node go on. Exit code 1 if it is stalled, halted or silent."""
    settings = settings_of(config, as_json)
    bearer = token_in(token, as_json)
    try:
        found = ask_node(settings, "/v1/why-stalled", bearer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        _silent(settings, as_json, error)
    if "stalled" not in found:
        refused(settings, found, as_json)
    say(as_json, found, *_lines(settings.name, found))
    raise typer.Exit(1 if found["stalled"] else 0)


def list_evidence(
    config: Config,
    token: Annotated[Path, typer.Option(help="A token file with the scope read:all.")],
    out: Annotated[
        Path | None, typer.Option(help="A folder in which each record becomes a file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Against whom this node holds evidence. What it names is proven by `tallystick evidence verify`.

    Exit codes: 0 it answered, with or without evidence, 1 it did not, or not in a form that is known.
    """
    settings = settings_of(config, as_json)
    bearer = token_in(token, as_json)
    documents = _all_evidence(settings, bearer, as_json)
    try:
        files = [evidence_from_document(document) for document in documents]
    except Refused as refusal:
        fail(as_json, f"{settings.name} answers with what is no evidence: {refusal.detail}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(files):
            (out / f"evidence-{number}.json").write_bytes(evidence_to_bytes(file))
    lines = [file.evidence.sentence for file in files] or [f"{settings.name} holds no evidence"]
    say(as_json, {"evidence": documents, "total": len(documents)}, *lines)


def _all_evidence(settings: NodeConfig, bearer: str, as_json: bool) -> list[object]:
    """Answer by answer, until the node has said all that it holds."""
    documents: list[object] = []
    while True:
        try:
            found = ask_node(settings, f"/v1/evidence?from={len(documents)}", bearer)
        except (OSError, ValueError, http.client.HTTPException) as error:
            _silent(settings, as_json, error)
        more, total = found.get("evidence"), found.get("total")
        if not isinstance(more, list) or not isinstance(total, int):
            refused(settings, found, as_json)
        documents += more
        if not more or len(documents) >= total:
            return documents


def _lines(name: str, found: dict[str, Any]) -> list[str]:
    lines = [f"{name}: {found['sentence']}"]
    if found["stalled"]:
        lines += [f"  awaited: {_named(member)}" for member in found["awaited"]]
        lines.append(f"  unblocked by {found['unblocks']}")
    lines += [f"  not connected: {_named(member)}" for member in found["peers_down"]]
    if found["alarm"]:
        lines.append(f"  alarm: {found['alarm']}")
    return lines


def _named(member: dict[str, Any]) -> str:
    """Name, number, and how its connection is."""
    who = f"{member['name']} ({member['id']})"
    if member["up"] is None:
        return f"{who}, which is this node"
    if member["down_since_ms"] is not None:
        since = datetime.fromtimestamp(member["down_since_ms"] / 1_000, UTC)
        return f"{who}, down since {since:%Y-%m-%d %H:%M:%S}Z"
    return f"{who}, connected"


def _silent(settings: NodeConfig, as_json: bool, error: Exception) -> NoReturn:
    """The process does not answer: it may have halted, and then it left word."""
    address = f"{settings.api_host}:{settings.api_port}"
    sentences = [f"no answer from {settings.name} at {address}: {error}"]
    last = _last_diagnosis(settings.data / "diagnosis")
    if last is None:
        sentences.append("it has left no diagnosis: start it, or read what it said when it ended")
    else:
        path, sentence = last
        sentences.append(f"it halted last with: {sentence}")
        sentences.append(f"read {path} before it is started again")
    fail(as_json, *sentences)


def _last_diagnosis(folder: Path) -> tuple[Path, str] | None:
    """The newest bundle and its sentence."""
    try:
        newest = max(folder.glob("halt-*.json"), key=lambda path: path.stat().st_mtime_ns)
        if newest.stat().st_size > DIAGNOSIS_BYTES_MAX:
            return newest, "(the file is too large to be ours)"
        document = json.loads(newest.read_text(encoding="utf-8"))
        return newest, str(document["sentence"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
