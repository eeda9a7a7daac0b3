"""A payment to its end: its receipt, or the proof that it was never ordered; whichever node is honest, through an outage, too."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.absence import verify_absence
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import decode, encode
from tallystick.wallet.client import Wallet
from tallystick.wallet.core.outcomes import Expired, Rejected, Settled
from tallystick.wallet.core.signed import Signed
from tallystick.wallet.errors import NotTaken, OutcomeUnknown
from tests.unit.wallet.fake_node import settling, silent
from tests.unit.wallet.networks import NOW_MS, small_network
from tests.unit.wallet.test_client import World

WINDOW_MS = 60_000


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(small_network(), tmp_path)
    yield made
    await made.stop()


def signed(wallet: Wallet, world: World, **changes: Any) -> Signed:
    from tallystick.wallet.core import build

    draft = build.transfer(
        wallet.terms,
        account=wallet.account,
        creditor=world.creditor,
        amount="4.00",
        asset="USD",
        id=changes.pop("id", None) or build.parse_id("INV-7"),
        now_ms=NOW_MS,
        valid_for_ms=changes.pop("valid_for_ms", 600_000),
        settle_by_ms=0,
        payload_root=bytes(32),
    )
    return wallet.sign(replace(draft, **changes))


async def resolved(wallet: Wallet, one: Signed, timeout_s: float = 5.0) -> Any:
    ours = one.reference
    return await wallet.resolve(ours.account, ours.id, transaction=one, timeout_s=timeout_s)


async def test_what_was_never_ordered_is_proven_so_by_one_node(world: World) -> None:
    """Three members are silent or conceal; no f+1 words are needed, since one proof is enough."""
    wallet = await world.start(settling, settling, settling, settling)
    for node in world.nodes[:3]:
        node.conceals = True
    lost = signed(wallet, world)
    world.ledger.time_ms = lost.valid_until_ms + WINDOW_MS
    outcome = await resolved(wallet, lost)
    assert isinstance(outcome, Expired)
    assert outcome.absence is not None
    assert verify_absence(outcome.absence, world.network.genesis).ok
    assert decode(outcome.absence.transaction).witnesses == ()
    assert outcome.reference == wallet_names(wallet, lost)


def wallet_names(wallet: Wallet, one: Signed) -> Any:
    from tallystick.wallet.core.signed import names_of

    return names_of(decode(one.raw), wallet.digester)


async def test_what_was_ordered_ends_in_its_receipt(world: World) -> None:
    wallet = await world.start(settling)
    paid = signed(wallet, world)
    world.ledger.order([paid.raw])
    world.ledger.time_ms = paid.valid_until_ms + WINDOW_MS
    outcome = await resolved(wallet, paid)
    assert isinstance(outcome, Settled)
    assert outcome.receipt.outcome.digest == paid.reference.digest


async def test_a_second_payment_under_its_id_ends_in_its_own_rejection(world: World) -> None:
    """The node looks receipts up by id, which has the first one's; the absence's refusal names the body."""
    wallet = await world.start(settling)
    first, second = signed(wallet, world), signed(wallet, world, amount_minor=500)
    world.ledger.order([first.raw])
    world.ledger.order([second.raw], RejectReason.ID_TAKEN)
    world.ledger.time_ms = first.valid_until_ms + WINDOW_MS
    outcome = await resolved(wallet, second)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.reference.digest) == (RejectReason.ID_TAKEN, second.reference.digest)  # fmt: skip


async def test_a_strangers_copy_does_not_stand_for_the_payment(world: World) -> None:
    wallet = await world.start(settling)
    lost = signed(wallet, world)
    copy = encode(replace(decode(lost.raw), witnesses=decode(signed(wallet, world, amount_minor=1).raw).witnesses))  # fmt: skip
    world.ledger.order([copy], RejectReason.WRONG_KEYS)
    receipts = dict(world.ledger.receipts)
    world.ledger.receipts.clear()  # looked up by digest, no honest node gives that receipt
    world.ledger.time_ms = lost.valid_until_ms + WINDOW_MS
    assert isinstance(await resolved(wallet, lost), Expired)
    assert len(receipts) == 1


async def test_until_its_window_is_closed_nothing_is_known(world: World) -> None:
    wallet = await world.start(settling, silent)
    lost = signed(wallet, world)
    world.ledger.time_ms = lost.valid_until_ms + 1  # past its deadline, in its window
    with pytest.raises(OutcomeUnknown) as unknown:
        await resolved(wallet, lost, timeout_s=0.1)
    assert unknown.value.reference.digest == lost.reference.digest


async def test_payments_of_many_windows_that_an_outage_closed_at_once_all_end(world: World) -> None:
    wallet = await world.start(settling, settling)
    many = [
        signed(wallet, world, id=bytes([at]) * 32, valid_for_ms=30_000 + at * WINDOW_MS)
        for at in range(6)
    ]
    world.ledger.order([many[1].raw, many[4].raw])
    world.ledger.time_ms = NOW_MS + 1_000 * WINDOW_MS
    ends = [await resolved(wallet, each) for each in many]
    assert [type(each) for each in ends] == [Expired, Settled, Expired, Expired, Settled, Expired]
    assert all(each.absence is not None for each in ends if isinstance(each, Expired))


async def test_another_transaction_than_the_one_asked_for_is_refused_here(world: World) -> None:
    wallet = await world.start(settling)
    lost = signed(wallet, world)
    with pytest.raises(NotTaken, match="another"):
        await wallet.resolve(lost.reference.account, "INV-8", transaction=lost)
    with pytest.raises(NotTaken, match="another"):
        await wallet.resolve(lost.reference.account, "INV-7", bytes(32), transaction=lost)
