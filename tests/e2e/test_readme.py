"""The README's example runs as it is written."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from local_network import LocalNetwork

README = Path(__file__).resolve().parent.parent.parent / "README.md"


def example() -> str:
    found = re.findall(
        r"<!-- example: .*? -->\n```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL
    )
    assert len(found) == 1
    return str(found[0])


def test_the_example_is_short() -> None:
    lines = [
        line
        for line in example().splitlines()
        if line.strip() and not line.startswith(("import", "from"))
    ]
    assert len(lines) <= 12


def test_the_example_of_the_readme_runs_as_it_is_written(
    network: LocalNetwork, tmp_path: Path
) -> None:
    """In a folder where the network that `./scripts/demo --keep` leaves is the one of these tests."""
    (tmp_path / "tallystick-demo").symlink_to(network.folder)
    script = tmp_path / "example.py"
    script.write_text(example())
    run = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Settled at height "), run.stdout
    shutil.rmtree(tmp_path, ignore_errors=True)
