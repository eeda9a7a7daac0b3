"""Real processes under what a data centre does to them: stopped, cut off, slowed, out of disk.

A client loses nothing that was accepted, and everybody comes to one state when the fault is over, without help.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.relay import Relays
from tests.e2e.town import Town

from local_network import LocalNetwork

ENGINES = ["pbft", "raft"]


class Payers:
    """All banks pay while the block runs."""

    def __init__(self, town: Town, banks: list[str] | None = None) -> None:
        self._town, self._banks = town, banks or town.banks

    async def __aenter__(self) -> None:
        self._stop = asyncio.Event()
        works = [self._town.pay_on(bank, self._stop) for bank in self._banks]
        works += [self._town.settle_on(bank, self._stop) for bank in self._banks]
        self._tasks = [asyncio.create_task(work) for work in works]

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)


def settled_between(town: Town, began: float, ended: float) -> int:
    return sum(began < at < ended for at, _ in town.settled_at)


@pytest.fixture
def cabled(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[LocalNetwork, Relays]]:
    """Four members whose cables the test holds."""
    network = LocalNetwork.init(tmp_path / "network", engine=request.param)
    with Relays(network) as relays:
        try:
            network.start_all()
            yield network, relays
        finally:
            relays.mend()
            network.stop()


@pytest.mark.campaign
@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", ENGINES)
async def test_a_leader_that_is_stopped_and_goes_on_later_does_no_harm(
    engine: str, tmp_path: Path
) -> None:
    network = LocalNetwork.init(tmp_path / "network", engine=engine)
    try:
        await asyncio.to_thread(network.start_all)
        town = Town(network)
        await town.open()
        async with Payers(town):
            for _ in range(3):
                await asyncio.sleep(0.7)
                leader = await asyncio.to_thread(network.leader)
                stopped = network.running[leader].process
                stopped.send_signal(signal.SIGSTOP)
                began = time.monotonic()
                try:
                    await asyncio.sleep(3.0)
                    assert settled_between(town, began + 1.5, began + 3.0) > 0
                finally:
                    stopped.send_signal(signal.SIGCONT)
                await asyncio.to_thread(network.wait_ready, leader)
        await town.nothing_accepted_was_lost()
    finally:
        await asyncio.to_thread(network.stop)


@pytest.mark.campaign
@pytest.mark.timeout(180)
@pytest.mark.parametrize("cabled", ENGINES, indirect=True)
async def test_an_isolated_leader_is_replaced_and_joins_again(
    cabled: tuple[LocalNetwork, Relays],
) -> None:
    network, relays = cabled
    town = Town(network)
    await town.open()
    async with Payers(town):
        await asyncio.sleep(0.7)
        leader = await asyncio.to_thread(network.leader)
        relays.isolate(leader)
        began = time.monotonic()
        await asyncio.sleep(6.0)
        assert settled_between(town, began + 3.0, began + 6.0) > 0
        relays.mend()
        await asyncio.sleep(2.0)
    await town.nothing_accepted_was_lost()


@pytest.mark.campaign
@pytest.mark.timeout(180)
@pytest.mark.parametrize("cabled", ENGINES, indirect=True)
async def test_two_halves_settle_nothing_and_go_on_when_they_meet_again(
    cabled: tuple[LocalNetwork, Relays],
) -> None:
    network, relays = cabled
    town = Town(network)
    await town.open()
    async with Payers(town):
        await asyncio.sleep(0.7)
        relays.part(network.members[:2])
        began = time.monotonic()
        await asyncio.sleep(4.0)
        assert settled_between(town, began + 1.0, began + 4.0) == 0
        relays.mend()
        mended = time.monotonic()
        await asyncio.sleep(8.0)
        assert settled_between(town, mended, mended + 8.0) > 0
    await town.nothing_accepted_was_lost()


@pytest.mark.campaign
@pytest.mark.timeout(180)
@pytest.mark.parametrize("cabled", ENGINES, indirect=True)
async def test_a_slow_network_settles_without_a_change_of_leader_once_it_is_known(
    cabled: tuple[LocalNetwork, Relays],
) -> None:
    network, relays = cabled
    town = Town(network)
    await town.open()
    async with Payers(town):
        relays.delay_s = 0.03
        await asyncio.sleep(3.0)
        began = time.monotonic()
        view = network.status(network.members[0])["view"]
        await asyncio.sleep(5.0)
        assert settled_between(town, began, began + 5.0) > 3
        assert network.status(network.members[0])["view"] == view
        relays.delay_s = 0.0
    await town.nothing_accepted_was_lost()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of twelve megabytes, which only root may make."""
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system can only be mounted by root")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tallystick-test", str(mount)], check=False
    )
    if made.returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.campaign
@pytest.mark.timeout(240)
@pytest.mark.parametrize("engine", ENGINES)
async def test_a_node_whose_disk_is_full_halts_and_comes_back_with_a_larger_one(
    engine: str, tmp_path: Path, small_disk: Path
) -> None:
    network = LocalNetwork.init(tmp_path / "network", engine=engine)
    victim = network.members[-1]
    data = network.folder_of(victim) / "data"
    if data.exists():
        data.rmdir()
    data.symlink_to(small_disk)
    try:
        await asyncio.to_thread(network.start_all)
        town = Town(network)
        await town.open()
        others = [bank for bank in town.banks if bank != victim]
        process = network.running[victim].process
        async with Payers(town, others):
            until = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < until:
                await asyncio.sleep(0.1)
            assert process.poll() == 70, "a full disk must halt its node"
            halted = time.monotonic()
            await asyncio.sleep(3.0)
            assert settled_between(town, halted, halted + 3.0) > 0
            grow = ["mount", "-o", "remount,size=200m", str(small_disk)]
            await asyncio.to_thread(subprocess.run, grow, check=True)
            del network.running[victim]
            await asyncio.to_thread(network.start, victim)
            await asyncio.to_thread(network.wait_ready, victim)
        await town.nothing_accepted_was_lost()
    finally:
        await asyncio.to_thread(network.stop)
