"""Real nodes: a leader that is stopped in order hands over first, and a reader may ask a quorum."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.network.wire.ids import AccountId, NodeId, View
from tallystick.node.runtime.leadership import Leadership
from tallystick.testing import RunningNetwork, running_network
from tallystick.wallet.client import Wallet
from tallystick.wallet.core.outcomes import Settled

PAYMENTS = 10
"""Settled before the stop, and again after it."""


@pytest.fixture(params=["pbft", "raft"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningNetwork]:
    with running_network(tmp_path / "network", engine=request.param) as network:
        yield network


def leader_of(network: RunningNetwork) -> str:
    """The member that leads, once all agree on one."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        known = {name: network.node(name).driver.status() for name in network.running}
        leaders = {(status.view, status.leader) for status in known.values()}
        names = [name for name, status in known.items() if status.node == status.leader]
        if len(leaders) == 1 and len(names) == 1 and all(s.height > 1 for s in known.values()):
            return names[0]
        time.sleep(0.02)
    raise AssertionError("the members do not agree on a leader")


async def pay_on(wallet: Wallet, creditor: AccountId, count: int) -> None:
    """So many payments one after another, each of them settled."""
    for _ in range(count):
        assert isinstance(await wallet.pay(creditor, "0.01", "USD"), Settled)


@pytest.fixture
def goodbyes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What every hand-over came to, when it had come to it: whether another member led."""
    told: list[bool] = []
    honest = Leadership.hand_over

    async def watched(self: Leadership, to: NodeId | None) -> bool:
        told.append(await honest(self, to))
        return told[-1]

    monkeypatch.setattr(Leadership, "hand_over", watched)
    return told


async def test_a_leader_that_is_stopped_in_order_goes_when_another_leads(
    network: RunningNetwork, goodbyes: list[bool]
) -> None:
    """No timer has to run out: when the one who leads leaves the wire, it follows another member already."""
    stopped = await asyncio.to_thread(leader_of, network)
    leaving = network.node(stopped).driver
    view = leaving.status().view
    bank = next(name for name in network.running if name != stopped)
    async with (
        network.wallet("central-bank") as issuer,
        network.wallet(bank) as payer,
        network.wallet(bank) as another,
    ):
        root = network.account(bank)
        await issuer.issue(root, "100.00", "USD")
        to = network.account("central-bank")
        await asyncio.gather(*(pay_on(each, to, PAYMENTS) for each in (payer, another)))
        paying = [asyncio.create_task(pay_on(each, to, PAYMENTS)) for each in (payer, another)]
        await asyncio.to_thread(network.stop_node, stopped)
        await asyncio.gather(*paying)
    assert goodbyes == [True]
    heir = leaving.status()
    assert heir.view == View(view + 1), "one change of view, and no second one"
    assert heir.leader not in (None, heir.node)
    assert await asyncio.to_thread(leader_of, network) != stopped


async def test_a_reader_at_any_member_sees_what_another_has_just_settled(
    network: RunningNetwork,
) -> None:
    await asyncio.to_thread(leader_of, network)
    async with network.wallet("central-bank") as issuer:
        for number in range(1, 9):
            await issuer.issue(network.account("bank-a"), "1.00", "USD")
            async with network.wallet("bank-a") as reader:
                balance = await reader.balance(confirmed=True)
            assert balance.minor["USD"] == 100 * number
