"""Publishes receipts with their verdicts, for whoever writes another verifier: `tests/vectors/receipts.json`.

Run `.venv/bin/python scripts/receipt_vectors.py` after a format was changed on purpose. Decided here: the texts that are no
receipt, and the genuine receipts whose every byte is flipped. Each expectation is the Python verifier's, and the generator
stops where that is not the step the example was made for. How to read the file: `docs/formats.md`, section 9.
"""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec

from format_examples import Network
from receipt_examples import Example, Maker, geneses, genuine
from receipt_forgeries import forgeries
from tallystick.network.proofs.document import receipt_from_bytes, receipt_to_bytes
from tallystick.network.proofs.verdict import EXIT_NOT_VERIFIED, Verdict
from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import genesis_from_json, genesis_to_json

ROOT: Final = Path(__file__).resolve().parent.parent
VECTORS: Final = ROOT / "tests" / "vectors" / "receipts.json"
FLIPPED: Final = (
    "a payment settles",
    "through the history of a later block",
    "by the members of epoch 1",
)
FLIP: Final = 0x01


def verdict_on(file: bytes, verifier: Verifier) -> Verdict | Refused:
    """What the Python verifier says of a file."""
    try:
        receipt = receipt_from_bytes(file)
    except Refused as refusal:
        return refusal
    return verifier.receipt(receipt)


def expected(verdict: Verdict | Refused) -> dict[str, Any]:
    """The published form of a verdict."""
    if isinstance(verdict, Refused):
        return {"verified": False, "exit_code": EXIT_NOT_VERIFIED, "refused": verdict.reason.code}
    said: dict[str, Any] = {"verified": verdict.ok, "exit_code": verdict.exit_code}
    if verdict.failed is not None:
        return said | {"step": verdict.failed.name, "sentence": verdict.failed.sentence}
    return said | {
        "assurance": verdict.assurance,
        "height": verdict.height,
        "time_ms": verdict.time_ms,
        "status": verdict.status.name if verdict.status else None,
        "reason": verdict.reason.code if verdict.reason else None,
        "consumed": verdict.consumed,
        "sentences": [check.sentence for check in verdict.checks],
    }


def short(verdict: Verdict | Refused) -> str:
    """The code of a refusal, the step that fails, or VERIFIED."""
    if isinstance(verdict, Refused):
        return verdict.reason.code
    return "VERIFIED" if verdict.failed is None else verdict.failed.name


# Texts of one genuine receipt that are not its one text. Each: what stands there first, what is put there, the code.
SPELLINGS: Final[dict[str, tuple[str, str, str]]] = {
    "two spaces after a colon": ('"version": 1', '"version":  1', "NON_CANONICAL"),
    "a tab in the indent": ('  "version"', '\t"version"', "NON_CANONICAL"),
    "an escaped digit in hex": ('"payload_root": "b0', '"payload_root": "b\\u0030', "NON_CANONICAL"),
    "an escaped letter": ('"asset": "USD"', '"asset": "\\u0055SD"', "NON_CANONICAL"),
    "an escaped key": ('"lane"', '"l\\u0061ne"', "NON_CANONICAL"),
    "a key that stands twice": ('"version": 1,', '"version": 2, "version": 1,', "NON_CANONICAL"),
    "a hidden value under a key that stands twice": ('"lane": 0,', '"lane": [[{}]], "lane": 0,', "NON_CANONICAL"),
    "a minus before zero": ('"lane": 0', '"lane": -0', "NON_CANONICAL"),
    "a zero before a minor unit": ('"amount_minor": "', '"amount_minor": "0', "NON_CANONICAL"),
    "spaces inside hex": ('"payload_root": "b0', '"payload_root": "b0 ', "NON_CANONICAL"),
    "a number with a point": ('"version": 1', '"version": 1.0', "MALFORMED"),
    "a number with an exponent": ('"version": 1', '"version": 1e0', "MALFORMED"),
    "a number in a text": ('"version": 1', '"version": "1"', "MALFORMED"),
    "true for one": ('"version": 1', '"version": true', "MALFORMED"),
    "a minor unit as a number": ('"amount_minor": "125075"', '"amount_minor": 125075', "MALFORMED"),
    "digits that are not ASCII": ('"amount_minor": "125075"', '"amount_minor": "\\u0661"', "MALFORMED"),
    "2^63": ('"lane": 0', '"lane": 9223372036854775808', "MALFORMED"),
    "2^64": ('"lane": 0', '"lane": 18446744073709551616', "MALFORMED"),
    "a number below zero": ('"lane": 0', '"lane": -1', "MALFORMED"),
    "an unknown field": ('"version": 1,', '"version": 1, "note": "",', "MALFORMED"),
    "a field in another place": ('"version": 1,', '"version": 1, "lane": 0,', "MALFORMED"),
    "another format": ("tallystick/receipt", "tallystick/receipts", "MALFORMED"),
    "no format": ('"format": "tallystick/receipt",', "", "MALFORMED"),
    "an unknown kind": ('"kind": "TRANSFER"', '"kind": "GIFT"', "MALFORMED"),
    "a kind that objects inherit": ('"kind": "TRANSFER"', '"kind": "constructor"', "MALFORMED"),
    "a status by its number": ('"status": "SETTLED"', '"status": 1', "MALFORMED"),
    "a reason that does not exist": ('"reason": null', '"reason": "BECAUSE"', "MALFORMED"),
    "an asset that ends in a line feed": ('"asset": "USD"', '"asset": "USD\\n"', "MALFORMED"),
    "half of a surrogate pair": ('"asset": "USD"', '"asset": "\\ud800"', "MALFORMED"),
    "a control character": ('"asset": "USD"', '"asset": "US\x01"', "MALFORMED"),
    "hex of odd length": ('"payload_root": "b', '"payload_root": "', "MALFORMED"),
    "a byte too few": ('"payload_root": "b0', '"payload_root": "', "MALFORMED"),
    "null for a list": ('"epochs": []', '"epochs": null', "MALFORMED"),
    "a comma too many": ('"epochs": []', '"epochs": [],', "MALFORMED"),
    "no lists but a text": ('"epochs": []', '"epochs": ""', "MALFORMED"),
    "one nested deeply": ('"epochs": []', '"epochs": ' + "[" * 500 + "]" * 500, "MALFORMED"),
    "more brackets than a receipt has": ('"epochs": []', '"epochs": [' + "[]," * 8_200 + "[]]", "MALFORMED"),
}  # fmt: skip


def spellings(good: bytes) -> Iterator[tuple[str, bytes, str]]:
    """(name, file, code) of every text that is none."""
    text = good.decode()
    for name, (found, put, code) in SPELLINGS.items():
        if found not in text:
            raise ValueError(f"{name}: {found!r} stands nowhere")
        yield name, text.replace(found, put, 1).encode(), code
    yield "upper-case hex digits", upper_hex(text).encode(), "NON_CANONICAL"
    yield "no final line feed", good[:-1], "NON_CANONICAL"
    yield "two final line feeds", good + b"\n", "NON_CANONICAL"
    yield "all on one line", msgspec.json.format(good, indent=-1), "NON_CANONICAL"
    yield "line ends of another system", good.replace(b"\n", b"\r\n"), "NON_CANONICAL"
    yield "a byte order mark", b"\xef\xbb\xbf" + good, "MALFORMED"
    yield "a text that is not UTF-8", good.replace(b"USD", b"US\xff"), "MALFORMED"
    yield "something after the end", good + b"{}", "MALFORMED"
    yield "nothing", b"", "MALFORMED"
    yield "a list", b"[]\n", "MALFORMED"
    for part in (1, 2, 3):
        yield f"the first {part} of 4 parts", good[: part * len(good) // 4], "MALFORMED"


def edit_of(good: bytes, file: bytes) -> dict[str, Any]:
    """How the first receipt becomes `file`: at byte `at`, `remove` bytes give way to `insert`."""
    at = shared(good, file)
    tail = shared(good[at:][::-1], file[at:][::-1])
    return {"at": at, "remove": len(good) - tail - at, "insert": file[at : len(file) - tail].hex()}


def shared(left: bytes, right: bytes) -> int:
    """How many bytes both begin with."""
    differ = (at for at, (one, two) in enumerate(zip(left, right, strict=False)) if one != two)
    return next(differ, min(len(left), len(right)))


def upper_hex(text: str) -> str:
    start = text.index('"key": "') + 8
    return text[:start] + text[start : start + 66].upper() + text[start + 66 :]


def flips(good: bytes, verifier: Verifier) -> list[list[Any]]:
    """For each byte of the file in turn, what is said of the file with that byte's lowest bit changed: runs of equal answers."""
    answers = []
    for at in range(len(good)):
        changed = good[:at] + bytes([good[at] ^ FLIP]) + good[at + 1 :]
        answers.append(short(verdict_on(changed, verifier)))
    return [[len(list(run)), answer] for answer, run in groupby(answers)]


def examples() -> list[Example]:
    make = Maker(Network())
    return [*genuine(make), *forgeries(make)]


def cases() -> Iterator[dict[str, Any]]:
    """Every receipt and every text with its verdict. `ValueError` where the Python verifier sees it otherwise."""
    verifiers = {name: Verifier(genesis) for name, genesis in geneses().items()}
    made = examples()
    for example in made:
        file = receipt_to_bytes(example.receipt)
        verdict = verdict_on(file, verifiers[example.genesis])
        if short(verdict) != (example.fails or "VERIFIED"):
            raise ValueError(f"{example.name}: {short(verdict)} instead of {example.fails}")
        yield {
            "name": example.name,
            "genesis": example.genesis,
            "file": file.decode(),
            "expect": expected(verdict),
        }
    good = receipt_to_bytes(made[0].receipt)
    for name, file, code in spellings(good):
        verdict = verdict_on(file, verifiers["pbft"])
        if short(verdict) != code:
            raise ValueError(f"{name}: {short(verdict)} instead of {code}")
        yield {
            "name": name,
            "genesis": "pbft",
            "edit": edit_of(good, file),
            "expect": expected(verdict),
        }


def vectors() -> dict[str, Any]:
    """Everything but the flipped bytes, which take a minute."""
    files = {name: genesis_to_json(genesis).decode() for name, genesis in geneses().items()}
    for file in files.values():
        genesis_from_json(file.encode())
    return {"genesis": files, "receipts": list(cases())}


def flipped() -> dict[str, Any]:
    """One run-length list for each genuine receipt whose bytes are flipped."""
    named = {example.name: example for example in examples()}
    all_geneses = geneses()
    return {
        "xor": FLIP,
        "runs": {
            name: flips(
                receipt_to_bytes(named[name].receipt), Verifier(all_geneses[named[name].genesis])
            )
            for name in FLIPPED
        },
    }


def as_file(published: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(published), indent=1) + b"\n"


def main() -> int:
    published = vectors()
    VECTORS.write_bytes(as_file(published | {"flips": flipped()}))
    print(f"wrote {len(published['receipts'])} cases to {VECTORS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
