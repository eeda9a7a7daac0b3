"""The verifiers stay what they promise: one short file of Python that leans on evidence alone, and a second one that keeps up.

The second verifier (`docs/verifier`) is run by the long tests only, where node is. A struct or a reason that it does not know is
found here, in every run, so that who changes a format changes both.
"""

import ast
import json
import re
import sys
import tokenize
from pathlib import Path
from typing import Any

from msgspec import Struct

from tallystick.network.proofs import certificates, receipts
from tallystick.network.wire import blocks, genesis, membership, transactions
from tallystick.network.wire.reasons import RejectReason

ROOT = Path(__file__).resolve().parent.parent.parent
VERIFIER = ROOT / "network" / "proofs" / "verify.py"
SECOND = ROOT / "docs" / "verifier"
ALLOWED = ("tallystick.network.wire", "tallystick.network.proofs")
LIBRARIES = {"msgspec", "coincurve", "cryptography", "sha3", "py_arkworks_bls12381"}
"""The encoding, secp256k1, Ed25519 and Keccak; BLS12-381 is the genesis document's alone."""


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def code_lines(path: Path) -> int:
    """Lines that hold code: not those of comments and docstrings, nor empty ones."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    silent |= {tokenize.ENCODING, tokenize.ENDMARKER}
    counted: set[int] = set()
    begins = True  # whether a statement begins: a text that stands there alone is a docstring
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in silent and not (begins and token.type == tokenize.STRING):
                counted |= set(range(token.start[0], token.end[0] + 1))
            if token.type not in {tokenize.COMMENT, tokenize.NL}:
                begins = token.type in silent
    return len(counted)


def test_the_verifier_is_short_and_knows_no_node() -> None:
    assert code_lines(VERIFIER) < 400
    ours = {name for name in imports_of(VERIFIER) if name.startswith("tallystick")}
    assert ours
    assert [name for name in sorted(ours) if not name.startswith(ALLOWED)] == []


def test_nothing_below_the_verifier_knows_a_node_either() -> None:
    """The files that it reads by way of its imports, to the end: of evidence and wire alone, and few libraries."""
    waiting, seen, libraries = [VERIFIER], set[Path](), set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imports_of(path):
            inside = ROOT.joinpath(*name.split(".")[1:])
            if not name.startswith("tallystick."):
                libraries.add(name.split(".")[0])
            elif inside.with_suffix(".py").is_file():
                assert name.startswith(ALLOWED), f"{path.name} imports {name}"
                waiting.append(inside.with_suffix(".py"))
            elif (inside / "__init__.py").is_file():
                waiting.append(inside / "__init__.py")
    assert len(seen) > 15
    assert libraries - sys.stdlib_module_names - {"tallystick"} == LIBRARIES


def structs() -> dict[str, type[Struct]]:
    """Everything that stands in a genesis file or in a receipt, by the name that the second verifier gives it."""
    renamed = {
        "MemberEntry": "Member",
        "SpareEntry": "Spare",
        "ParticipantEntry": "Participant",
        "AssetEntry": "Asset",
        "RuleEntry": "Rule",
    }
    found: dict[str, type[Struct]] = {}

    def take(type_: Any) -> None:
        if isinstance(type_, type) and issubclass(type_, Struct):
            found[renamed.get(type_.__name__, type_.__name__)] = type_

    for module in (certificates, receipts, blocks, genesis, membership, transactions):
        for value in vars(module).values():
            take(value)
    for name in ("Struct", "Bundle", "BundleItem"):
        found.pop(name, None)
    return found


def fields_of_second() -> dict[str, list[str]]:
    """The fields of each `struct` and `kind` in `shapes.js`, read as text."""
    text = (SECOND / "src" / "shapes.js").read_text("utf-8")
    common = ["chain", "lane", "account", "id", "valid_until_ms", "payload_root"]
    found: dict[str, list[str]] = {}
    calls = re.finditer(r'\b(struct|kind)\((?:\d, )?"(\w+)", \{(.*?)\}\)[,;\n]', text, re.DOTALL)
    for form, name, body in (call.groups() for call in calls):
        while "(" in body:
            body = re.sub(r"\([^()]*\)", "", body)
        fields = [field.partition(":")[0].strip() for field in body.split(",") if field.strip()]
        found[name] = [*common, *fields, "witnesses"] if form == "kind" else fields
    return found


def test_the_second_verifier_knows_every_field() -> None:
    second = fields_of_second()
    first = {name: list(type_.__struct_fields__) for name, type_ in structs().items()}
    assert {name: second.get(name) for name in first} == first


def test_the_second_verifier_knows_every_reason() -> None:
    text = (SECOND / "src" / "reasons.js").read_text("utf-8")
    lines = re.findall(r"^  \[(\d+)n, (.*)\],$", text, re.MULTILINE)
    found = [(int(number), *json.loads(f"[{rest}]")) for number, rest in lines]
    expected = [(each.number, each.code, each.on_ledger, each.sentence) for each in RejectReason]
    assert found == expected


def test_what_the_second_verifier_is_built_from_is_pinned_by_hash_and_names_no_place() -> None:
    wanted = json.loads((SECOND / "package.json").read_text("utf-8"))
    asked = wanted["dependencies"] | wanted["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in asked.values())
    packages = json.loads((SECOND / "package-lock.json").read_text("utf-8"))["packages"]
    locked = {name: entry for name, entry in packages.items() if name}
    assert {f"node_modules/{name}" for name in asked} <= locked.keys()
    for name, entry in locked.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name


def test_the_second_verifiers_files_are_one_idea_each() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in SECOND.glob("src/*.js")}
    assert len(sizes) > 15
    assert {name: size for name, size in sizes.items() if size > 300} == {}
