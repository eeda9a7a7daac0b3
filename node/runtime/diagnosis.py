"""The bundle a node writes when it halts: what it knew, what it did last, what broke. One JSON file, no secrets."""

import json
import os
import traceback
from collections.abc import Iterable
from pathlib import Path

from tallystick.network.wire.faults import InvariantError
from tallystick.node.core.effects import TraceEvent
from tallystick.node.runtime.redaction import plain

TRACE_EVENTS_MAX = 512
"""The last steps of the story, enough for two view changes among four nodes."""


def write_diagnosis(
    folder: Path,
    now_ms: int,
    sentence: str,
    error: BaseException | None,
    status: object,
    trace: Iterable[tuple[int, TraceEvent]],
) -> Path:
    """Write `halt-<now_ms>.json` into `folder`, mode 0600, and return its path. Raises `OSError` when it cannot."""
    bundle = {
        "format": "tallystick-diagnosis-1",
        "halted_at_ms": now_ms,
        "sentence": sentence,
        "error": None if error is None else _described(error),
        "status": plain(status),
        "trace": [
            {"at_ms": at_ms, "event": event.name, "facts": plain(event.facts)}
            for at_ms, event in trace
        ],
        "process": {"pid": os.getpid()},
    }
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"halt-{now_ms}.json"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(bundle, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(handle)
    return path


def _described(error: BaseException) -> dict[str, object]:
    """Type, sentence, facts and places of an error and of what caused it; never the values of local variables."""
    own = isinstance(error, InvariantError)
    described: dict[str, object] = {
        "type": type(error).__name__,
        "sentence": error.sentence if isinstance(error, InvariantError) else plain(str(error)),
        "facts": plain(error.facts) if isinstance(error, InvariantError) else {},
        "ours": own,
        "places": [line.rstrip() for line in traceback.format_tb(error.__traceback__)],
    }
    if error.__cause__ is not None:
        described["cause"] = _described(error.__cause__)
    return described
