"""The fixture that app developers get: four real nodes, a payment, a stopped node, a receipt."""

import pytest

from tallystick import Expired, NotTaken, Rejected, Settled, verify_receipt
from tallystick.testing import RunningNetwork, free_base_port


async def test_an_app_pays_and_reads(tallystick_network: RunningNetwork) -> None:
    network = tallystick_network
    async with network.wallet("central-bank") as mint, network.wallet("bank-a") as bank:
        assert isinstance(await mint.issue(bank.account, "100.00", "USD"), Settled)
        before = (await bank.balance()).amounts["USD"]
        paid = await bank.pay(network.account("bank-b"), "12.50", "USD", id="RENT-2025-04")
        assert isinstance(paid, Settled)
        assert verify_receipt(paid.receipt, network.file.genesis).ok
        assert before - (await bank.balance()).amounts["USD"] == 12.5
        again = await bank.pay(network.account("bank-b"), "12.50", "USD", id="RENT-2025-04")
        assert again == paid
        poor = await bank.pay(network.account("bank-b"), "999999.00", "USD")
        assert isinstance(poor, Rejected)
        assert poor.reason.code == "INSUFFICIENT_FUNDS"
        accepted = await bank.pay(network.account("bank-b"), "1.00", "USD", wait="accepted")
        assert not isinstance(accepted, Rejected | Expired)
        with pytest.raises(NotTaken):
            await bank.pay(network.account("bank-b"), "1.00", "GBP")


def test_without_an_event_loop(tallystick_network: RunningNetwork) -> None:
    with tallystick_network.blocking_wallet("central-bank") as mint:
        outcome = mint.issue(tallystick_network.account("bank-c"), "5.00", "EUR")
        assert isinstance(outcome, Settled)
        assert mint.resolve(outcome.reference.account, outcome.reference.id) == outcome
        up = [node.name for node in mint.status() if node.status is not None]
        assert up == ["bank-a", "bank-b", "bank-c", "bank-d"], "the observer was not started"


async def test_the_network_goes_on_without_one_node_and_the_wallet_does_not_mind(
    tallystick_network: RunningNetwork,
) -> None:
    network = tallystick_network
    async with network.wallet("central-bank") as mint:
        network.stop_node("bank-a")
        try:
            assert isinstance(await mint.issue(network.account("bank-d"), "5.00", "EUR"), Settled)
        finally:
            network.start_node("bank-a")
        assert isinstance(await mint.issue(network.account("bank-d"), "5.00", "EUR"), Settled)


def test_ports_are_found_beside_each_other() -> None:
    assert free_base_port(10) in range(20_000, 32_000)
