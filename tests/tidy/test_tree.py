"""The house is in order: links, floors, addresses, and the links of the documents."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("consensus", "contracts", "network", "node", "wallet")
TEXT = {
    ".py",
    ".pyi",
    ".js",
    ".html",
    ".md",
    ".toml",
    ".in",
    ".lock",
    ".txt",
    ".csv",
    ".json",
    ".cfg",
    "",
}


def tracked() -> list[Path]:
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if run.returncode != 0:
        pytest.skip("not a git checkout")
    return [
        ROOT / name for name in run.stdout.decode().split("\0") if name and (ROOT / name).is_file()
    ]


def texts() -> list[tuple[Path, str]]:
    files = [path for path in tracked() if path.suffix in TEXT and not path.is_symlink()]
    return [(path, path.read_text("utf-8")) for path in files]


def test_every_package_is_a_relative_link_under_the_one_import_name() -> None:
    for name in PACKAGES:
        link = ROOT / "tallystick" / name
        assert link.is_symlink(), f"{link} is not a link"
        assert link.readlink() == Path("..") / name
        assert (link / "__init__.py").is_file()


def test_every_room_of_the_network_and_the_node_has_a_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    named = " ".join(str(contract) for contract in contracts)
    rooms = [f"tallystick.network.{room}" for room in ("wire", "proofs", "transport")]
    rooms += [f"tallystick.{name}" for name in ("consensus", "contracts")]
    rooms += [f"tallystick.wallet.{room}" for room in ("core", "client")]
    assert [room for room in rooms if room not in named] == []
    floors = next(c for c in contracts if c.get("exhaustive"))["layers"]
    words = {word.strip("() ") for layer in floors for word in layer.split("|")}
    folders = {path.parent.name for path in (ROOT / "node").glob("*/__init__.py")}
    assert folders <= words, f"rooms without a floor: {folders - words}"
    known = {"wire", "proofs", "transport", "iso20022"}
    assert {path.parent.name for path in (ROOT / "network").glob("*/__init__.py")} <= known


def test_every_folder_with_code_is_a_package() -> None:
    for package in PACKAGES:
        folders = {
            path.parent
            for path in (ROOT / package).rglob("*.py")
            if "__pycache__" not in path.parts
        }
        assert [
            str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()
        ] == []


def test_no_tracked_file_names_a_place_on_somebodys_machine() -> None:
    """Nor the address of a package index: what a checkout needs is found on the machine that runs it."""
    places = re.compile(
        r"(?<![\w.])/(?:home|root|Users|work)/\w|--(?:extra-)?index-url|/simple/?\b.*pypi|pypi\.org|pythonhosted|registry\.npmjs"
    )
    mine = Path(__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        if path != mine
        for number, line in enumerate(text.splitlines(), 1)
        if places.search(line)
    ]
    assert found == []


def test_every_relative_link_of_a_document_leads_somewhere() -> None:
    link = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
    missing = [
        f"{path.relative_to(ROOT)} -> {target}"
        for path, text in texts()
        if path.suffix == ".md"
        for target in link.findall(text)
        if "://" not in target
        and not target.startswith("mailto:")
        and not (path.parent / target).exists()
    ]
    assert missing == []


def test_every_document_that_a_newcomer_looks_for_is_there() -> None:
    names = (
        "README.md",
        "DECISIONS.md",
        "CONTRIBUTING.md",
        "GLOSSARY.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "THREAT_MODEL.md",
        "LICENSE",
        "docs/formats.md",
    )
    assert [name for name in names if not (ROOT / name).is_file()] == []
    for package in ("consensus", "contracts", "network", "node", "wallet"):
        assert list((ROOT / package).rglob("DESIGN.md")), f"{package} has no DESIGN.md"
    assert (ROOT / "consensus" / "pbft" / "DIVERGENCE.md").is_file()


def test_requirements_are_locked_by_hash() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        pins = re.findall(r"^[a-z0-9][\w.-]*(?:\[[\w,]+\])?==", text, re.MULTILINE)
        blocks = [
            block for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE) if "==" in block
        ]
        assert len(pins) > 40
        assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_scripts_are_a_few_lines_of_shell_around_checked_python() -> None:
    for name in ("demo", "test", "bench", "sim", "replay", "verifier"):
        shell = ROOT / "scripts" / name
        assert shell.stat().st_mode & 0o111, f"{shell} is not executable"
        assert len(shell.read_text().splitlines()) <= 6
        assert (ROOT / "scripts" / f"{name}.py").is_file()
