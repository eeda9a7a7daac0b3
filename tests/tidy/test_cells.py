"""Every fault × invariant cell has a test that exists, and every test of faults stands in a cell (`tests/cells.toml`)."""

import ast
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CELLS = tomllib.loads((ROOT / "tests" / "cells.toml").read_text("utf-8"))

MUST_HOLD = {
    "F1": "I1 I2 I3 I4 I5 I6 I7 I8 I9 I11 I14",
    "F2": "I2 I3 I4 I5 I6 I7 I8 I14",
    "F3": "I2 I3 I4 I5 I6 I11 I13",
    "F4": "I3 I4 I5 I13 I15",
    "F5": "I3 I4 I7 I13 I14 I15",
    "F6": "I2 I3 I4 I6 I11 I13 I14",
    "F7": "I2 I3 I9 I14 I15",
    "F8": "I1 I2 I3 I8 I14",
    "F9": "I1 I2 I5 I8",
    "F10": "I1 I2 I3 I4 I8 I14",
    "F11": "I2 I13 I14 I15",
    "F12": "I1 I2 I3 I4 I9 I14 I15",
    "F13": "I1 I2 I5 I9 I10 I14",
    "F14": "I1 I2 I3 I4 I5 I11 I14",
    "F15": "I2 I3 I4 I6 I11 I14 I15",
    "F16": "I2 I3 I5 I12 I13",
    "F17": "I1 I2 I3 I7 I11 I12 I14",
    "F18": "I2 I3 I7 I8 I10 I12 I14 I15",
    "F19": "I6 I7 I11 I12 I13",
    "F20": "I2 I3 I6 I8 I14",
    "F21": "I7 I8 I9 I10 I15",
    "F22": "I2 I6 I7 I8 I10 I14",
    "F23": "I2 I6 I7 I10 I14",
    "F24": "I2 I6 I7 I14 I15",
}

FAULTY = (
    "tests/scenarios",
    "tests/e2e/test_faults.py",
    "tests/e2e/test_leader_kills.py",
    "tests/e2e/test_members.py",
    "tests/sim/test_changing.py",
    "tests/sim/test_members.py",
    "tests/sim/test_raft_members.py",
    "tests/sim/test_seeds.py",
)
"""Where every test is about a fault, so that one which stands in no cell was forgotten."""

NO_FAULT = {
    "test_a_play_goes_as_it_is_written",  # the plays themselves stand in the cells
    "test_every_play_names_the_bug_that_it_holds_off",
    "test_the_plans_of_old_seeds_have_no_later_fault",
    "test_old_seeds_change_no_members",
}


def cells() -> dict[tuple[str, str], list[str]]:
    """(fault, invariant) → names of tests."""
    return {
        (fault, invariant): names.split()
        for fault, row in CELLS["faults"].items()
        for invariant, names in row.items()
        if invariant != "says"
    }


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_cell_that_must_hold_has_a_test_and_there_is_no_other() -> None:
    wanted = {(fault, each) for fault, row in MUST_HOLD.items() for each in row.split()}
    found = cells()
    assert len(wanted) == 146
    assert set(found) == wanted
    assert [cell for cell, names in found.items() if not names] == []
    assert {invariant for _, invariant in wanted} == set(CELLS["invariants"])
    assert set(CELLS["open"]) <= set(MUST_HOLD)


def test_every_name_in_a_cell_is_a_test() -> None:
    tests = CELLS["tests"]
    named = {name for names in cells().values() for name in names}
    assert named - set(tests) == set(), "names without a test"
    missing = []
    for target in tests.values():
        path, _, function = target.partition("::")
        if not (ROOT / path).is_file() or (function and function not in functions(path)):
            missing.append(target)
    assert missing == []


def test_every_test_of_faults_stands_in_a_cell() -> None:
    tests = CELLS["tests"]
    standing = {tests[name] for names in cells().values() for name in names}
    forgotten = []
    for place in FAULTY:
        files = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*"))
        for file in files:
            path = str(file.relative_to(ROOT))
            if file.suffix == ".txt" and path not in standing:
                forgotten.append(path)
            elif file.name.startswith("test_") and file.suffix == ".py":
                forgotten += [
                    f"{path}::{name}"
                    for name in sorted(functions(path))
                    if name.startswith("test_")
                    and name not in NO_FAULT
                    and f"{path}::{name}" not in standing
                ]
    assert forgotten == []
