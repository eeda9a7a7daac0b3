"""What strangers could use up by merely connecting: files that the database needs, and connections that say nothing."""

import asyncio
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tallystick.network.transport import links
from tallystick.node.runtime.supervisor import OPEN_FILES_WANTED
from tests.security.test_tls_between_nodes import Stage

_RAISE = """
import resource, sys
hard = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
from tallystick.node.runtime.supervisor import raise_open_files
raise_open_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for each in made.running:
        await each.stop()


@pytest.mark.parametrize("hard", [OPEN_FILES_WANTED, 600])
def test_a_node_takes_as_many_open_files_as_it_wants_or_may(hard: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("this system does not allow so many")
    ran = subprocess.run(
        [sys.executable, "-c", _RAISE, str(hard)], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout.splitlines()[-1]) == hard


async def test_a_stranger_who_says_nothing_to_the_peer_port_is_soon_gone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "HANDSHAKE_SECONDS_MAX", 0.2)
    node, _ = await stage.start(2, (1,))
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
