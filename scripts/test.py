"""Everything that must be true before a change lands, in one run: style, types, layers, then the tests.

The checkers come first since they take seconds. pytest comes last, so that its closing line is the last line of the run.
`--all` adds the long campaigns (`-m campaign` and 1,600 more simulator seeds of both engines).
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
WORKERS = "2"
"""Two cores are the machine that the budgets are made for."""

CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("style", ("ruff", "check", "--quiet", ".")),
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("layers", ("lint-imports",)),
    ("types", ("mypy",)),
)

PARALLEL = (
    "tests/tidy",
    "tests/unit",
    "tests/vectors",
    "tests/properties",
    "tests/regressions",
    "tests/scenarios",
    "tests/spec",
    "tests/explorer",
    "tests/security",
    "tests/mutants",
    "tests/shell",
    "tests/sim",
    "tests/verifier",
)
"""Tests that share nothing: they run on both cores."""
ALONE = ("tests/e2e",)
"""Real processes and real clocks: they want the machine for themselves."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="add the long campaigns")
    parser.add_argument("--fast", action="store_true", help="leave the end-to-end tests out")
    options, rest = parser.parse_known_args()
    os.chdir(ROOT)
    started = time.monotonic()
    failed = [name for name, command in CHECKS if not check(name, command)]
    marks = [] if options.all else ["-m", "not campaign"]
    if not pytest(
        "parallel", [*existing(PARALLEL), "-n", WORKERS, "--dist", "worksteal", *marks, *rest]
    ):
        failed.append("tests")
    if failed:
        print(f"failed: {', '.join(failed)} ({time.monotonic() - started:.0f} s)", file=sys.stderr)
    if options.fast:
        return 1 if failed else 0
    print(f"checks and parallel tests took {time.monotonic() - started:.0f} s", flush=True)
    passed = pytest("end to end", [*existing(ALONE), *marks, *rest])
    return 0 if passed and not failed else 1


def check(name: str, command: tuple[str, ...]) -> bool:
    """Run one checker; its output is shown only if it complains."""
    started = time.monotonic()
    run = subprocess.run(
        [str(BIN / command[0]), *command[1:]], capture_output=True, text=True, check=False
    )
    print(
        f"{name:8} {'ok' if run.returncode == 0 else 'FAILED'} ({time.monotonic() - started:.1f} s)",
        flush=True,
    )
    if run.returncode != 0:
        print(run.stdout + run.stderr, flush=True)
    return run.returncode == 0


def pytest(name: str, arguments: list[str]) -> bool:
    print(f"pytest, {name}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, check=False).returncode == 0


def existing(folders: tuple[str, ...]) -> list[str]:
    return [folder for folder in folders if any((ROOT / folder).rglob("test_*.py"))]


if __name__ == "__main__":
    sys.exit(main())
