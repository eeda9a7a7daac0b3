"""The published receipts, read as `docs/formats.md` says, and a verdict of the other verifier in their words."""

from typing import Any, Final

import msgspec

import receipt_vectors

PUBLISHED: Final[dict[str, Any]] = msgspec.json.decode(receipt_vectors.VECTORS.read_bytes())
GENUINE: Final = [case for case in PUBLISHED["receipts"] if case["expect"]["verified"]]


def file_of(case: dict[str, Any]) -> bytes:
    if "file" in case:
        return str(case["file"]).encode()
    good, edit = file_of(PUBLISHED["receipts"][0]), case["edit"]
    at, insert = edit["at"], bytes.fromhex(edit["insert"])
    return good[:at] + insert + good[at + edit["remove"] :]


def genesis_of(case: dict[str, Any]) -> bytes:
    return str(PUBLISHED["genesis"][case["genesis"]]).encode()


def published_form(verdict: dict[str, Any]) -> dict[str, Any]:
    """The other verifier's answer as the vectors put it."""
    if "refused" in verdict:
        assert verdict["refused"]["file"] == "receipt"
        return {"verified": False, "exit_code": 1, "refused": verdict["refused"]["code"]}
    said = {"verified": verdict["ok"], "exit_code": verdict["exit_code"]}
    last = verdict["checks"][-1]
    assert [check["ok"] for check in verdict["checks"]][:-1] == [True] * (
        len(verdict["checks"]) - 1
    )
    assert last["ok"] is verdict["ok"]
    if not verdict["ok"]:
        return said | {"step": last["name"], "sentence": last["sentence"]}
    facts = ("assurance", "height", "time_ms", "status", "reason", "consumed")
    sentences = [check["sentence"] for check in verdict["checks"]]
    return said | {name: verdict[name] for name in facts} | {"sentences": sentences}
