"""Real processes: a member's key is changed while it settles, its power fails, and its stolen data folder says nothing."""

import asyncio
import json
import subprocess
from pathlib import Path

from tallystick.node.storage.key_encryption import make_key_file
from tallystick.node.storage.keyring import head_of
from tallystick.wallet.client import Wallet
from tallystick.wallet.core.outcomes import Settled
from tallystick.wallet.signers import LocalSigner

from bulk_client import keystore_signer
from local_network import LocalNetwork, tallystick

AMOUNT = "7654.32"


async def pay_somebody(network: LocalNetwork) -> list[bytes]:
    """Open an account, fund it, move money on; everything of it that a thief would like to read."""
    token = network.token("bank-a")
    async with Wallet(network.folder, keystore_signer(network, "bank-a"), token=token) as bank:
        customer = LocalSigner.generate()
        opened = await bank.open_account([customer.key])
        assert isinstance(opened, Settled)
        assert opened.opened is not None
        paid = await bank.pay(opened.opened, AMOUNT, "USD")
        assert isinstance(paid, Settled)
        return [bytes(bank.account), bytes(opened.opened), bytes(customer.key)]


def known_of(network: LocalNetwork) -> list[bytes]:
    """What stands in the papers of the network: names, accounts, keys."""
    document = network.document
    genesis = json.loads((network.folder / "genesis.json").read_text())
    names = [str(entry["name"]).encode() for entry in document["participants"]]
    accounts = [bytes.fromhex(entry["root_account"]) for entry in document["participants"]]
    keys = [
        bytes.fromhex(text.removeprefix("0x"))
        for text in _strings(genesis)
        if len(text.removeprefix("0x")) >= 40 and _is_hex(text.removeprefix("0x"))
    ]
    assert len(keys) > 8
    return [*names, *accounts, *keys, b"USD", AMOUNT.encode(), (765_432).to_bytes(8, "big")]


def _strings(document: object) -> list[str]:
    match document:
        case str():
            return [document]
        case dict():
            return [text for value in document.values() for text in _strings(value)]
        case list():
            return [text for value in document for text in _strings(value)]
    return []


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in text)


def readable(folder: Path, known: list[bytes]) -> set[bytes]:
    """Those of at least four bytes, as they are or as hex, that stand in any file of the folder."""
    found: set[bytes] = set()
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes() + path.name.encode()
            for each in known:
                forms = (each, each.hex().encode(), each.hex().upper().encode())
                if len(each) >= 4 and any(form in data for form in forms):
                    found.add(each)
    return found


async def test_a_member_changes_its_key_while_it_settles_and_its_stolen_folder_says_nothing(
    network: LocalNetwork,
) -> None:
    async with Wallet(
        network.folder,
        keystore_signer(network, "central-bank"),
        token=network.token("central-bank"),
    ) as mint:
        roots = {entry["name"]: entry["root_account"] for entry in network.document["participants"]}
        issued = await mint.issue(bytes.fromhex(roots["bank-a"]), "50000.00", "USD")  # type: ignore[arg-type]
        assert isinstance(issued, Settled)
    known = known_of(network) + await pay_somebody(network)

    node = network.folder_of("bank-b")
    make_key_file(node / "keys" / "next.key")
    config = node / "node.toml"
    text = config.read_text()
    config.write_text(text.replace("[storage]", '[storage]\nnew_key = "file:keys/next.key"'))
    before = head_of(node / "data").key
    asked = asyncio.to_thread(
        subprocess.run,
        tallystick("node", "rekey", "--config", str(config), "--wait", "--json"),
        capture_output=True,
        text=True,
        check=False,
    )
    done, more = await asyncio.gather(asked, pay_somebody(network))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["running"], answer["rewriting"]) == (True, False)
    assert answer["key"] == head_of(node / "data").key != before

    network.kill("bank-b")
    assert readable(node / "data", known + more) == set()
    # The papers beside it, by the same search, are full of it.
    assert len(readable(network.folder / "nodes", known)) >= 8

    (node / "keys" / "storage.key").rename(node / "keys" / "old.key")
    config.write_text(text.replace("file:keys/storage.key", "file:keys/old.key"))
    refused = await asyncio.to_thread(
        subprocess.run,
        tallystick("node", "run", "--config", str(config)),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert refused.returncode == 1
    assert "the wrong key: the data in" in refused.stderr
    config.write_text(text.replace("file:keys/storage.key", "file:keys/next.key"))
    network.start("bank-b")
    await asyncio.to_thread(network.wait_ready, "bank-b")
    await pay_somebody(network)
