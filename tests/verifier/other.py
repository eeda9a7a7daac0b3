"""The other verifier as a child process: node runs the same modules as the page, one JSON line in, one out."""

import base64
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tallystick.network.proofs.document import receipt_from_bytes
from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import genesis_from_json

SECONDS_MAX = 240

Short: TypeAlias = str | list[Any]
"""The code of a refusal; or whether it is genuine, the last check's name, and its sentence."""


class Other:
    """Asks the bundle `batch.mjs`. Every answer is one JSON value."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle

    def ask(self, lines: Iterable[dict[str, Any]]) -> list[Any]:
        """All answers, in order. A line that breaks the program fails the test with what node says."""
        asked = [json.dumps(line) for line in lines]
        run = subprocess.run(
            ["node", str(self._bundle)],
            input="\n".join(asked),
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert run.returncode == 0, run.stderr[-2000:]
        answers = [json.loads(line) for line in run.stdout.splitlines()]
        assert len(answers) == len(asked)
        return answers

    def receipts(self, genesis: bytes, files: Iterable[bytes]) -> list[Any]:
        """The full verdict on each file."""
        return self.ask([about(genesis), *({"receipt": encoded(file)} for file in files)])[1:]

    def flips(self, genesis: bytes, file: bytes, flips: Sequence[tuple[int, int]]) -> list[Short]:
        """The short verdict on each copy of `file` that has (at, byte) changed."""
        line = {"receipt": encoded(file), "flips": flips}
        answers: list[Short] = self.ask([about(genesis), line])[1]
        return answers


def about(genesis: bytes) -> dict[str, str]:
    return {"genesis": encoded(genesis)}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ours(file: bytes, verifier: Verifier) -> Short:
    """The Python verifier's short verdict."""
    try:
        receipt = receipt_from_bytes(file)
    except Refused as refusal:
        return refusal.reason.code
    verdict = verifier.receipt(receipt)
    last = verdict.checks[-1]
    return [verdict.ok, last.name, last.sentence]


def ours_of(file: bytes, genesis: bytes) -> Short:
    """The same where the genesis file may be the one that cannot be read."""
    try:
        verifier = Verifier(genesis_from_json(genesis))
    except Refused as refusal:
        return refusal.reason.code
    return ours(file, verifier)


def short(verdict: dict[str, Any]) -> Short:
    """Of a full verdict of the other one."""
    if "refused" in verdict:
        code: str = verdict["refused"]["code"]
        return code
    last = verdict["checks"][-1]
    return [verdict["ok"], last["name"], last["sentence"]]
