"""kill -9 between, before and inside batches: whatever was acknowledged is there afterwards, with its guard record."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.guard_file import GuardFile
from tallystick.node.storage.leveldb import LevelStore

WRITES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from tallystick.node.core.effects import Batch
from tallystick.node.runtime.disk_writer import DiskWriter
from tallystick.node.storage.guard_file import GuardFile
from tallystick.node.storage.leveldb import LevelStore

async def main(folder):
    store = LevelStore(folder / "data", write_buffer_bytes=256 * 1024)
    writer = DiskWriter(store, GuardFile(folder / "guard"))
    first = int(sys.argv[2])
    tokens = iter(range(first, 2**62))

    def hand_over():
        token = next(tokens)
        name = token.to_bytes(8, "big")
        pairs = {b"a/" + name: bytes(700), b"b/" + name: name, b"newest": name}
        store.stage(pairs)
        writer.hand_over(Batch(token, pairs, b"guard %d" % token))

    def on_written(written):
        print(written.tokens[-1], flush=True)
        for _ in written.tokens:
            hand_over()

    writer.start(on_written, lambda error: sys.exit(str(error)))
    for _ in range(5):
        hand_over()
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""

KILLS = 5


def test_nothing_acknowledged_is_lost_however_often_the_process_is_killed(tmp_path: Path) -> None:
    GuardFile.create(tmp_path / "guard")
    acknowledged = 0
    for life in range(KILLS):
        command = [sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path), str(acknowledged + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(20 + 37 * life):
                acknowledged = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:  # what it said before it died counts as well
                if line.endswith("\n"):
                    acknowledged = int(line)

        store = LevelStore(tmp_path / "data")
        newest = int.from_bytes(store.get(b"newest") or b"", "big")
        assert newest >= acknowledged
        firsts = [key[2:] for key, _ in store.scan(b"a/")]
        seconds = [key[2:] for key, _ in store.scan(b"b/")]
        assert firsts == seconds, "a batch was torn"
        assert firsts == [number.to_bytes(8, "big") for number in range(1, newest + 1)]
        assert store.verify() == 2 * newest + 1
        store.close()

        guard = GuardFile(tmp_path / "guard")
        record = int((guard.read() or b"guard 0").split()[1])
        assert acknowledged <= record <= newest, "the guard is never ahead of its database"
        guard.close()
        acknowledged = newest


def test_a_second_process_on_the_folder_is_told_who_has_it(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "data")
    program = (
        "import sys; from pathlib import Path; from tallystick.node.storage.leveldb import LevelStore\n"
        "LevelStore(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"in use by process {os.getpid()}" in second.stderr
    store.close()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_store_after_its_close_does_not_write(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "data")
    store.close()
    with pytest.raises((OperationalError, RuntimeError)):
        store.write([{b"a": b"1"}])
