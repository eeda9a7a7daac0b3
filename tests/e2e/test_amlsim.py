"""20,000 transactions of a published synthetic graph through four real nodes: balances equal those added up from its files.

Amounts become integers by text. Opening balances are the graph's own; what an account lacks later is rejected by both, so the
order matters: each account's payments are submitted in the file's order, in waves that wait for their receipts.
"""

import asyncio
import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.network.wire.ids import AccountId
from tallystick.wallet.signers import LocalSigner

from bulk_client import NodeClient, Press, keystore_signer, limits, settle
from local_network import LocalNetwork

TRANSACTIONS = 20_000
WAVE = 500


def minor(text: str) -> int:
    """'123.45', '123.4' or '123' → hundredths, never through a float."""
    whole, _, cents = text.partition(".")
    return int(whole) * 100 + int(cents.ljust(2, "0")[:2] or "0")


def member(archive: tarfile.TarFile, name: str) -> Iterator[dict[str, str]]:
    entry = next(entry for entry in archive.getmembers() if entry.name.endswith(name))
    file = archive.extractfile(entry)
    if file is None:
        raise AssertionError(f"{name} is not a file in the archive")
    yield from csv.DictReader(io.StringIO(file.read().decode()))


@pytest.fixture(scope="module")
def graph(shared_vectors: Path) -> tuple[dict[str, int], list[tuple[str, str, int]]]:
    """(opening balance of each node, the first transactions), in minor units."""
    path = shared_vectors / "amlsim" / "20K_fanin200.tgz"
    if not path.is_file():
        pytest.skip(f"no transaction graph at {path}")
    with tarfile.open(path) as archive:
        nodes = {row["nodeid"]: minor(row["init_balance"]) for row in member(archive, "nodes.csv")}
        payments = [
            (row["sourceNodeId"], row["targetNodeId"], minor(row["value"]))
            for row, _ in zip(
                member(archive, "transactions.csv"), range(TRANSACTIONS), strict=False
            )
        ]
    assert len(nodes) == 20_000
    assert len(payments) == TRANSACTIONS
    return nodes, payments


def waves(payments: list[tuple[str, str, int]]) -> Iterator[list[tuple[str, str, int]]]:
    """Stretches of the file in which nobody both receives and pays: their order cannot matter."""
    wave: list[tuple[str, str, int]] = []
    paid: set[str] = set()
    received: set[str] = set()
    for payer, receiver, amount in payments:
        if len(wave) >= WAVE or payer in received or receiver in paid or payer in paid:
            yield wave
            wave, paid, received = [], set(), set()
        wave.append((payer, receiver, amount))
        paid.add(payer)
        received.add(receiver)
    yield wave


def add_up(
    opening: dict[str, int],
    payments: list[tuple[str, str, int]],
    cap_minor: int,
    rolling_minor: int,
) -> tuple[dict[str, int], int]:
    """The plain second opinion: (closing balance of each node, how many payments settled)."""
    balances, sent, settled = dict(opening), dict.fromkeys(opening, 0), 0
    for payer, receiver, amount in payments:
        allowed = amount <= cap_minor and sent[payer] + amount <= rolling_minor
        if payer == receiver or not allowed or balances[payer] < amount:
            continue
        balances[payer] -= amount
        balances[receiver] += amount
        sent[payer] += amount
        settled += 1
    return balances, settled


class Ledger:
    """The graph's nodes as accounts of four banks, one key for each bank."""

    def __init__(self, network: LocalNetwork, names: list[str]) -> None:
        self.network = network
        self.press = Press.of(network)
        self.banks = network.members
        self.bank_of = {name: self.banks[at % len(self.banks)] for at, name in enumerate(names)}
        self.signers = {bank: LocalSigner.generate() for bank in self.banks}
        self.accounts: dict[str, AccountId] = {}
        self.clients = {bank: NodeClient.to(network, bank, bank) for bank in self.banks}
        self._count = 0

    def id(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(32, "big")

    async def open(self, tier: int) -> None:
        async def one_bank(bank: str) -> None:
            root = keystore_signer(self.network, bank)
            key = self.signers[bank].key
            names = [name for name, home in self.bank_of.items() if home == bank]
            raws = [self.press.open_account(bank, root, key, tier, self.id()) for _ in names]
            opened = await settle(self.clients[bank], raws)
            self.accounts |= {
                name: AccountId(outcome.opened) for name, outcome in zip(names, opened, strict=True)
            }

        await asyncio.gather(*(one_bank(bank) for bank in self.banks))

    async def fund(self, opening: dict[str, int]) -> None:
        issuer = keystore_signer(self.network, "central-bank")
        raws = [
            self.press.issue("central-bank", issuer, self.accounts[name], "USD", amount, self.id())
            for name, amount in opening.items()
            if amount
        ]
        async with NodeClient.to(self.network, self.banks[0], "central-bank") as mint:
            outcomes = await settle(mint, raws)
        assert all(outcome.reason == 0 for outcome in outcomes)

    async def play(self, wave: list[tuple[str, str, int]]) -> int:
        """Submit a wave, each payment at its bank's node; how many settled."""
        raws: dict[str, list[bytes]] = {bank: [] for bank in self.banks}
        for payer, receiver, amount in wave:
            bank = self.bank_of[payer]
            raws[bank].append(
                self.press.transfer(
                    self.signers[bank],
                    self.accounts[payer],
                    self.accounts[receiver],
                    "USD",
                    amount,
                    self.id(),
                )
            )
        results = await asyncio.gather(
            *(settle(self.clients[bank], raws[bank]) for bank in self.banks)
        )
        return sum(outcome.reason == 0 for result in results for outcome in result)

    async def balances(self) -> dict[str, int]:
        """Every account's balance, asked of the four nodes in turn with the regulator's token."""
        readers = [NodeClient.to(self.network, bank, "regulator") for bank in self.banks]
        found: dict[str, int] = {}

        async def some(names: list[str], reader: NodeClient) -> None:
            for name in names:
                answer = await reader.get(f"/v1/accounts/{self.accounts[name].hex()}")
                held = {entry["asset"]: entry["amount_minor"] for entry in answer["balances"]}
                found[name] = held.get("USD", 0)

        names = list(self.accounts)
        await asyncio.gather(*(some(names[at :: len(readers)], r) for at, r in enumerate(readers)))
        await asyncio.gather(*(reader.close() for reader in readers))
        return found

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self.clients.values()))


@pytest.mark.timeout(400)
async def test_twenty_thousand_transactions_end_in_the_balances_that_plain_addition_gives(
    graph: tuple[dict[str, int], list[tuple[str, str, int]]], network: LocalNetwork
) -> None:
    opening, payments = graph
    tier, cap_minor, rolling_minor = limits(network, "USD")
    expected, expected_settled = add_up(opening, payments, cap_minor, rolling_minor)
    ledger = Ledger(network, list(opening))
    try:
        await ledger.open(tier)
        await ledger.fund(opening)
        settled = 0
        for wave in waves(payments):
            settled += await ledger.play(wave)
        balances = await ledger.balances()
    finally:
        await ledger.close()
    assert settled == expected_settled
    assert balances == expected
    assert sum(balances.values()) == sum(opening.values())
    roots = await asyncio.to_thread(network.wait_level, [*network.members, "regulator"])
    assert len(set(roots.values())) == 1


def test_amounts_with_one_decimal_are_tenths() -> None:
    """The file writes 123.4 for 123.40: reading the text after the point as a number of hundredths would lose money."""
    assert [minor(text) for text in ("123.4", "123.40", "123.04", "123")] == [
        12_340,
        12_340,
        12_304,
        12_300,
    ]
