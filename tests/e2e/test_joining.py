"""An observer joins four banks that have settled, from their snapshot: killed on the way it goes on, and it comes to their root."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.network.wire.transactions.codec import decode
from tests.e2e.town import Town

from bulk_client import NodeClient, settle
from local_network import OBSERVER, LocalNetwork, Trouble, tail, tallystick

PAYMENTS = 600


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Four members, ready, and no observer yet."""
    folder: Path = tmp_path_factory.mktemp("e2e") / "network"
    made = LocalNetwork.init(folder)
    try:
        made.start_all(observer=False)
        yield made
    finally:
        made.stop()


def verified(network: LocalNetwork, *options: str) -> subprocess.CompletedProcess[str]:
    config = network.folder_of(OBSERVER) / "node.toml"
    command = tallystick("ledger", "verify", "--config", str(config), "--json", *options)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def receipt_path(raw: bytes) -> str:
    paid = decode(raw)
    return f"/v1/receipts/{paid.account.hex()}/{paid.id.hex()}"


def killed_while_joining(network: LocalNetwork, after_s: float) -> None:
    join = network.folder_of(OBSERVER) / "data" / "join"
    network.start(OBSERVER, "--join")
    until = time.monotonic() + 20
    while not (join / "ledger").is_dir():
        assert time.monotonic() < until, tail(network.running[OBSERVER].log)
        time.sleep(0.01)
    time.sleep(after_s)
    network.kill(OBSERVER)


@pytest.mark.timeout(180)
async def test_an_observer_joins_from_a_snapshot_and_is_killed_on_the_way(
    banks: LocalNetwork,
) -> None:
    town = Town(banks)
    await town.open()
    bank = town.banks[0]
    async with NodeClient.to(banks, bank, bank) as client:
        early = town.payment(bank)
        (settled,) = await settle(client, [early])
        for _ in range(PAYMENTS // 50):
            await settle(client, [town.payment(bank) for _ in range(50)])
        data = banks.folder_of(OBSERVER) / "data"
        await asyncio.to_thread(killed_while_joining, banks, 1.1)
        assert (data / "join").is_dir(), "it was done before it was killed"
        assert not (data / "ledger").exists()
        await asyncio.to_thread(banks.start, OBSERVER)
        with pytest.raises(Trouble, match="begun and not finished"):
            await asyncio.to_thread(banks.wait_ready, OBSERVER)
        banks.running.pop(OBSERVER)

        await asyncio.to_thread(banks.start, OBSERVER, "--join")
        late = town.payment(bank)
        await settle(client, [late])
        await asyncio.to_thread(banks.wait_ready, OBSERVER)
        after = town.payment(bank)
        await settle(client, [after])
    roots = await asyncio.to_thread(banks.wait_level, [*banks.members, OBSERVER])
    assert len(set(roots.values())) == 1
    assert not (data / "join").exists()

    log = banks.running[OBSERVER].log.read_text()
    assert "takes the state" in log
    assert "joined at height" in log
    block = f"/v1/blocks/{settled.height}"
    body_ids = [
        json.loads((await asyncio.to_thread(banks.get, name, block))[1])["body_ids"]
        for name in (bank, OBSERVER)
    ]
    assert body_ids[0] == body_ids[1] != []
    code, body = await asyncio.to_thread(banks.get, OBSERVER, receipt_path(early))
    assert (code, json.loads(body)["code"]) == (410, "BELOW_SNAPSHOT")
    assert (await asyncio.to_thread(banks.get, OBSERVER, receipt_path(late)))[0] in (200, 410)
    code, body = await asyncio.to_thread(banks.get, OBSERVER, receipt_path(after))
    assert code == 200, body

    banks.kill(OBSERVER)
    report = await asyncio.to_thread(verified, banks)
    assert report.returncode == 0, report.stdout + report.stderr
    assert json.loads(report.stdout)["whole_from"] > 2
    refused = await asyncio.to_thread(verified, banks, "--level", "execute")
    assert refused.returncode == 1
    assert "BELOW_SNAPSHOT" in refused.stdout + refused.stderr
    await asyncio.to_thread(banks.start, OBSERVER, "--join")  # it has a ledger: nothing to join
    await asyncio.to_thread(banks.wait_ready, OBSERVER)
