"""kill -9 of any node at any time loses nothing that was accepted, and every node comes back to the same state."""

import asyncio
import random

import pytest

from tests.e2e.town import Town

from bulk_client import NodeClient, settle
from local_network import LocalNetwork

PAYMENTS = 400
"""For each killed node; ten in a batch."""


@pytest.mark.timeout(240)
async def test_kill_9_of_any_node_under_load_loses_nothing_that_was_accepted(
    network: LocalNetwork,
) -> None:
    town = Town(network)
    await town.open()
    stop = asyncio.Event()
    payers = [asyncio.create_task(town.pay_on(bank, stop)) for bank in town.banks]
    dice = random.Random(5)
    leader = network.leader()
    for victim in [leader, *(name for name in network.members if name != leader)]:
        await asyncio.sleep(0.5 + dice.random())
        await asyncio.to_thread(network.kill, victim)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(network.start, victim)
        await asyncio.to_thread(network.wait_ready, victim)
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*payers)

    assert len(town.accepted) >= PAYMENTS, (
        f"only {len(town.accepted)} of {town.submitted} were accepted"
    )
    await town.nothing_accepted_was_lost()


@pytest.mark.timeout(60)
async def test_a_network_without_its_leader_settles_again_under_another_without_help(
    network: LocalNetwork,
) -> None:
    """How long that takes is for the bench to say (`leader_kill_gap_ms`); here it happens while the dead one stays away."""
    town = Town(network)
    await town.open()
    leader = network.leader()
    view = network.status(leader)["view"]
    bank = next(name for name in network.members if name != leader)
    async with NodeClient.to(network, bank, bank) as client:
        await asyncio.to_thread(network.kill, leader)
        (outcome,) = await settle(client, [town.payment(bank)])
    assert outcome.reason == 0
    assert await asyncio.to_thread(network.leader) != leader
    assert network.status(bank)["view"] > view
    await asyncio.to_thread(network.start, leader)
    await asyncio.to_thread(network.wait_ready, leader)
