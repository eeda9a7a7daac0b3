"""Four processes, one payment: signed, settled, proven, and proven again offline by the one command."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from tallystick.network.proofs.document import receipt_to_bytes
from tallystick.wallet.client import Wallet
from tallystick.wallet.core.outcomes import Rejected, Settled
from tallystick.wallet.signers import LocalSigner

from bulk_client import NodeClient, Press, keystore_signer, settle
from local_network import OBSERVER, LocalNetwork, tallystick


def wallet_of(network: LocalNetwork, participant: str) -> Wallet:
    return Wallet(
        network.folder, keystore_signer(network, participant), token=network.token(participant)
    )


def verify(network: LocalNetwork, document: bytes, path: Path) -> subprocess.CompletedProcess[str]:
    path.write_bytes(document)
    command = tallystick(
        "receipt", "verify", str(path), "--genesis", str(network.folder / "genesis.json")
    )
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_a_payment_is_settled_and_its_receipt_verifies_offline(
    network: LocalNetwork, tmp_path: Path
) -> None:
    async with wallet_of(network, "central-bank") as mint, wallet_of(network, "bank-a") as bank:
        issued = await mint.issue(bank.account, "100.00", "USD")
        assert isinstance(issued, Settled)
        customer = LocalSigner.generate()
        opened = await bank.open_account([customer.key])
        assert isinstance(opened, Settled)
        assert opened.opened is not None
        paid = await bank.pay(opened.opened, "12.50", "USD")
        assert isinstance(paid, Settled)
        balance = await bank.balance(opened.opened)
        assert balance.minor["USD"] == 1250

    document = receipt_to_bytes(paid.receipt)
    good = await asyncio.to_thread(verify, network, document, tmp_path / "receipt.json")
    assert good.returncode == 0, good.stdout + good.stderr


async def test_a_rejection_is_proven_too_and_a_changed_byte_is_found(
    network: LocalNetwork, tmp_path: Path
) -> None:
    async with wallet_of(network, "bank-b") as bank, wallet_of(network, "bank-c") as other:
        refused = await bank.pay(other.account, "1.00", "EUR")
    assert isinstance(refused, Rejected)
    assert refused.reason.code == "INSUFFICIENT_FUNDS"
    document = receipt_to_bytes(refused.receipt)
    good = await asyncio.to_thread(verify, network, document, tmp_path / "receipt.json")
    assert good.returncode == 0, good.stdout + good.stderr
    digits = [at for at, byte in enumerate(document) if byte in b"0123456789abcdef"]
    for at in digits[:: len(digits) // 12]:
        changed = (
            document[:at] + (b"1" if document[at : at + 1] == b"0" else b"0") + document[at + 1 :]
        )
        bad = await asyncio.to_thread(verify, network, changed, tmp_path / "changed.json")
        assert bad.returncode != 0, f"byte {at} may be changed: {changed[at - 40 : at + 40]!r}"


async def test_every_node_and_the_observer_come_to_one_state(network: LocalNetwork) -> None:
    roots = await asyncio.to_thread(network.wait_level, [*network.members, OBSERVER])
    assert len(roots) == 5
    assert len(set(roots.values())) == 1


async def test_the_same_bytes_handed_to_every_node_settle_once(network: LocalNetwork) -> None:
    press = Press.of(network)
    mint, root = keystore_signer(network, "central-bank"), keystore_signer(network, "bank-d")
    payer, receiver = press.root("bank-d"), press.root("bank-c")
    async with NodeClient.to(network, network.members[0], "central-bank") as client:
        await settle(client, [press.issue("central-bank", mint, payer, "USD", 500, b"i" * 32)])
    raw = press.transfer(root, payer, receiver, "USD", 200, b"p" * 32)
    clients = [NodeClient.to(network, name, "bank-d") for name in network.members]
    answers = await asyncio.gather(*(settle(client, [raw]) for client in clients))
    await asyncio.gather(*(client.close() for client in clients))
    assert len({(outcome.height, outcome.index) for (outcome,) in answers}) == 1
    async with wallet_of(network, "bank-d") as bank:
        assert (await bank.balance()).minor["USD"] == 300


@pytest.mark.parametrize("node", ["bank-a", "bank-d", OBSERVER])
def test_a_node_tells_how_it_is(network: LocalNetwork, node: str) -> None:
    assert network.get(node, "/healthz")[0] == 200
    assert network.get(node, "/readyz")[0] == 200
    status = network.status(node)
    assert status["halted"] is None
    assert status["ready"] is True
    document = json.loads(network.get(node, "/openapi.json")[1])
    assert document["openapi"].startswith("3.1")
    assert network.metrics(node)["tallystick_height"] >= 1
