"""Habits that no linter knows: banned calls, bounds with reasons, files that fit one idea, a lazy face."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("consensus", "contracts", "network", "node", "wallet", "tallystick")
PURE = (
    "consensus",
    "contracts",
    "network/wire",
    "network/proofs",
    "node/core",
    "wallet/core",
)
LINES_MAX = 480
"""A file that grows past this has two ideas in it."""
FUNCTION_LINES_MAX = 60
"""A function's body with its docstring fits a screen; a command's options may stand above it."""

BANNED = {
    "eval": "it executes its input",
    "exec": "it executes its input",
    "breakpoint": "left over from debugging",
    "print": "a node logs by structlog, a command writes through rich",
    "input": "a command asks through typer",
}
PRINTERS = ("cli", "__main__.py")
"""Rooms that talk to people on a terminal."""


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for name in folders:
        place = ROOT / name
        files = (
            [place] if place.is_file() else sorted(place.rglob("*.py")) if place.is_dir() else []
        )
        for path in files:
            if name == "tallystick" and path.parent != place:
                continue  # behind the links: seen under its real name
            yield path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))


def calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


def test_no_banned_call_in_the_packages() -> None:
    found = [
        f"{path}:{line}: {name}: {BANNED[name]}"
        for path, tree in sources(*PACKAGES)
        for name, line in calls(tree)
        if name in BANNED
        and not (name in {"print", "input"} and any(part in PRINTERS for part in path.parts))
    ]
    assert found == []


def test_no_float_where_money_and_votes_are_decided() -> None:
    """Neither a literal with a point, nor `float`, nor true division, on the floors of evidence and decision."""
    found = []
    for path, tree in sources(*PURE):
        for node in ast.walk(tree):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
            named = isinstance(node, ast.Name) and node.id == "float"
            if literal or division or named:
                found.append(f"{path}:{getattr(node, 'lineno', 0)}")
    assert found == []


def test_no_assert_guards_input() -> None:
    """`python -O` removes asserts: the packages raise `Refused` or call `invariant()`."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_every_bound_gives_its_reason() -> None:
    module = ast.parse((ROOT / "network" / "wire" / "bounds.py").read_text("utf-8"))
    bare = []
    for at, node in enumerate(module.body):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            after = module.body[at + 1] if at + 1 < len(module.body) else None
            if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
                bare.append(ast.unparse(node))
    assert bare == []


def test_every_module_says_what_it_is_for() -> None:
    missing = [
        str(path)
        for path, tree in sources(*PACKAGES, "scripts")
        if tree.body and not ast.get_docstring(tree)
    ]
    assert missing == []


def test_files_hold_one_idea_and_functions_fit_a_screen() -> None:
    long_files = []
    long_functions = []
    for path, tree in sources(*PACKAGES, "scripts"):
        lines = len((ROOT / path).read_text("utf-8").splitlines())
        if lines > LINES_MAX:
            long_files.append(f"{path}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
                if length > FUNCTION_LINES_MAX:
                    long_functions.append(f"{path}:{node.lineno} {node.name}: {length} lines")
    assert long_files == []
    assert long_functions == []


def test_work_left_undone_is_not_left_in_the_code() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XXX")
    found = [
        f"{path}: {word}"
        for path, _ in sources(*PACKAGES, "scripts")
        for word in words
        if word in (ROOT / path).read_text("utf-8")
    ]
    assert found == []


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_the_face_is_lazy() -> None:
    """Every import of ours runs `tallystick/__init__.py`: it must not load the wallet, nor a web framework."""
    loaded = loaded_by("import tallystick.network.wire.blocks")
    assert not loaded & {
        "aiohttp",
        "eth_account",
        "web3",
        "plyvel",
        "pydantic",
        "tallystick.wallet",
    }


def test_a_node_process_never_loads_a_web3_library() -> None:
    loaded = loaded_by("import tallystick.node.compose")
    assert not loaded & {"eth_account", "web3", "py_ecc", "tallystick.wallet"}
