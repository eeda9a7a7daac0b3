"""The ground floor is cheap to import and drags in nothing that raises limits or touches the world."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import sys, pkgutil, importlib
before = sys.getrecursionlimit()
import tallystick.network.wire as wire
for module in pkgutil.walk_packages(wire.__path__, "tallystick.network.wire."):
    importlib.import_module(module.name)
heavy = {"web3", "eth_account", "eth_abi", "py_ecc", "aiohttp", "pydantic", "plyvel", "uvloop"}
loaded = sorted(heavy & set(sys.modules))
sys.exit(f"loaded {loaded}" if loaded or sys.getrecursionlimit() != before else 0)
"""


def test_the_wire_loads_nothing_heavy_and_leaves_the_recursion_limit_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
