"""Real processes: a bank whose machine is gone comes back under its spare id while the others pay on, under either engine.

The operator's own commands, SIGKILL for the machine, and at the end the old disk, which finds nobody who speaks to it.
"""

import asyncio
import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.test_faults import Payers, settled_between
from tests.e2e.town import Town

from local_network import LocalNetwork, free_ports, tallystick

OTHERS = ["bank-a", "bank-c", "bank-d"]
OLD, SPARE = "bank-b", "bank-b-spare"
SPARE_ID = 501
PATIENCE_S = 30.0


def run(*words: str) -> dict[str, object]:
    """A command's answer."""
    done = subprocess.run(tallystick(*words, "--json"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return dict(json.loads(done.stdout))


def prepare(network: LocalNetwork) -> tuple[dict[str, object], int]:
    """The spare's folder, and its table in every other node's file. What it is called, and its port for clients."""
    own = int(str(network.entry(network.members[-1])["url"]).rpartition(":")[2])
    port = free_ports(2, first=own + 100)
    made = run(
        "node", "prepare-spare", "--config", str(network.folder_of(OLD) / "node.toml"),
        "--spare", str(SPARE_ID), "--folder", str(network.folder / "nodes" / SPARE),
        "--peer-port", str(port), "--api-port", str(port + 1),
    )  # fmt: skip
    for name in [*OTHERS, OLD]:
        with (network.folder_of(name) / "node.toml").open("a") as file:
            file.write(f"\n{made['peer']}")
    return made, port + 1


def activate(network: LocalNetwork, made: dict[str, object]) -> None:
    """As the bank does it: its root account signs, and nobody votes on it."""
    old = network.entry(OLD)["node"]
    run(
        "members", "activate-spare", "--member", str(old), "--spare", str(SPARE_ID),
        "--vote-key", str(made["vote_key"]), "--tls-key-hash", str(made["tls_key_hash"]),
        "--network", str(network.folder / "network.json"), "--as", OLD,
    )  # fmt: skip


def tell_clients(network: LocalNetwork, made: dict[str, object], api_port: int) -> None:
    """A network.json in which the bank's endpoint is the new node's."""
    document = network.document
    for entry in document["endpoints"]:
        if entry["name"] == OLD:
            entry |= {
                "node": SPARE_ID, "name": SPARE, "url": f"https://127.0.0.1:{api_port}",
                "tls_key_hash": made["tls_key_hash"], "certificate": f"nodes/{SPARE}/keys/tls.crt",
            }  # fmt: skip
    (network.folder / "network.json").write_text(json.dumps(document))


def name_old_again(network: LocalNetwork, url: str) -> None:
    """So that one can ask the old node, too."""
    document = network.document
    document["endpoints"].append({**network.entry(SPARE), "name": OLD, "url": url})
    (network.folder / "network.json").write_text(json.dumps(document))


def wait_for_epoch(network: LocalNetwork, epoch: int, names: list[str]) -> None:
    until = time.monotonic() + PATIENCE_S
    seen: list[object] = []
    while time.monotonic() < until:
        with suppress(ConnectionError):
            seen = [network.status(name)["epoch"] for name in names]
        if seen == [epoch] * len(names):
            return
        time.sleep(0.05)
    raise AssertionError(f"epochs {seen} of {names}, wanted {epoch}")


@pytest.mark.timeout(180)
@pytest.mark.campaign
@pytest.mark.parametrize("engine", ["pbft", "raft"])
async def test_a_lost_machine_is_replaced_while_the_others_pay_on(
    engine: str, tmp_path: Path
) -> None:
    network = LocalNetwork.init(tmp_path / "network", engine=engine)
    made, api_port = await asyncio.to_thread(prepare, network)
    try:
        for name in [*OTHERS, OLD, SPARE]:
            network.start(name)
        for name in [*OTHERS, OLD]:
            await asyncio.to_thread(network.wait_ready, name)
        town = Town(network)
        town.banks = OTHERS
        await town.open()
        async with Payers(town):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(network.kill, OLD)
            await asyncio.to_thread(activate, network, made)
            await asyncio.to_thread(wait_for_epoch, network, 1, OTHERS)
            old_url = str(network.entry(OLD)["url"])
            tell_clients(network, made, api_port)
            await asyncio.to_thread(network.wait_ready, SPARE)
            # Three of four must vote: the spare is one of them now.
            await asyncio.to_thread(network.kill, "bank-d")
            began = time.monotonic()
            await asyncio.sleep(5.0)
            assert settled_between(town, began + 2.5, began + 5.0) > 0
            await asyncio.to_thread(network.start, "bank-d")
            await asyncio.to_thread(network.wait_ready, "bank-d")
        assert {entry["id"] for entry in network.status(SPARE)["members"]} == {0, 2, 3, SPARE_ID}
        # Whoever finds the old disk and starts it finds no peer: its identity is put out.
        name_old_again(network, old_url)
        network.start(OLD)
        await asyncio.to_thread(wait_for_epoch, network, 0, [OLD])
        await asyncio.sleep(1.5)
        assert network.status(OLD)["epoch"] == 0
        await asyncio.to_thread(network.kill, OLD)
        await town.nothing_accepted_was_lost()
    finally:
        await asyncio.to_thread(network.stop)
