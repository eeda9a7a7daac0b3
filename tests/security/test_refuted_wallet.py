"""A node that lies to its client with genuine evidence about something else, or hides behind what the wallet ignores."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import SUITE_SECP256K1_EIP712, Witness
from tallystick.network.wire.transactions.codec import decode, encode
from tallystick.wallet.client import Wallet
from tallystick.wallet.core.build import parse_id
from tallystick.wallet.core.outcomes import Pending, Received, Rejected, Settled
from tallystick.wallet.errors import NotTaken, OutcomeUnknown, Untrusted
from tallystick.wallet.network_file import NetworkFile
from tests.unit.wallet.fake_node import FakeNode, problem, received, refusing, settling
from tests.unit.wallet.networks import small_network
from tests.unit.wallet.test_client import HASTE, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(small_network(), tmp_path)
    yield made
    await made.stop()


def _copied_by_a_stranger(world: World, raw: bytes) -> bytes:
    """The same digest under another key: what a hostile member may order to confuse the payer."""
    stranger = world.network.signers[2]
    transaction = decode(raw)
    signature = stranger.sign(world.network.digester.digest(transaction))
    witness = Witness(SUITE_SECP256K1_EIP712, stranger.key, signature)
    return encode(msgspec.structs.replace(transaction, witnesses=(witness,)))


@pytest.mark.parametrize("by_digest", [True, False])
async def test_a_strangers_rejected_copy_does_not_answer_for_the_id(
    world: World, by_digest: bool
) -> None:
    wallet = await world.start(received)
    mine = await wallet.pay(world.creditor, "4.00", "USD", id="INV-1", wait="received")
    assert isinstance(mine, Received)
    copy = _copied_by_a_stranger(world, world.asked[0])
    world.ledger.order([copy], RejectReason.WRONG_KEYS)
    digest = mine.reference.digest if by_digest else None
    # Believed, it would say that nothing was paid; the payer's own bytes may still settle.
    with pytest.raises(Untrusted, match="did not take the id"):
        await wallet.resolve(wallet.account, "INV-1", digest)


async def test_a_later_repeat_does_not_answer_for_the_one_that_took_the_id(world: World) -> None:
    wallet = await world.start(received)
    repeat = await wallet.pay(world.creditor, "4.00", "USD", id="INV-1", wait="received")
    world.ledger.order([world.asked[0]], RejectReason.ID_TAKEN)
    with pytest.raises(Untrusted, match="did not take the id"):
        await wallet.resolve(wallet.account, "INV-1")
    # Of that very digest it is the outcome.
    own = await wallet.resolve(wallet.account, "INV-1", repeat.reference.digest)
    assert isinstance(own, Rejected)


async def test_a_liar_with_a_copys_receipt_does_not_hide_the_payment_that_another_node_proves(
    world: World,
) -> None:
    wallet = await world.start(received, settling)
    await wallet.pay(world.creditor, "4.00", "USD", id="INV-1", wait="received")
    raw = world.asked[0]
    liar, honest = world.nodes
    lies = type(world.ledger)(world.network, height=10)
    lies.order([_copied_by_a_stranger(world, raw)], RejectReason.WRONG_KEYS)
    liar.ledger = lies
    settling(honest, [raw])
    assert isinstance(await wallet.resolve(wallet.account, "INV-1"), Settled)


async def test_a_payment_that_still_waits_is_pending_though_the_node_names_no_body(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waiting(node: FakeNode, request: web.Request) -> web.Response:
        if "receipts" in request.path:
            return problem(RejectReason.NOT_FOUND)
        # Word for word what a node answers while the transaction waits.
        names = request.match_info
        answer = {"account": names["account"], "id": names["id"], "state": "received"}
        nulls = ("digest", "body_id", "status", "reason", "height", "index", "opened")
        return web.json_response(answer | dict.fromkeys(nulls))

    monkeypatch.setattr(FakeNode, "_missing", waiting)
    wallet = await world.start(received)
    outcome = await wallet.resolve(wallet.account, "INV-1")
    assert isinstance(outcome, Pending)
    assert (outcome.state, outcome.reference.id) == ("received", parse_id("INV-1"))


def _with_two_addresses(world: World, wallet: Wallet) -> Wallet:
    """The same wallet for a network file that lists its first member twice."""
    first, *others = wallet.network.endpoints
    twice = (first, msgspec.structs.replace(first, name="again"), *others)
    file = NetworkFile("small", world.network.genesis, twice)
    made = Wallet(file, wallet.signer, patience=HASTE, now_ms=lambda: world.now_ms)
    made.checker._member_pins = wallet.checker._member_pins
    world.wallets.append(made)
    return made


async def test_a_member_with_two_addresses_refuses_once(world: World) -> None:
    wallet = _with_two_addresses(
        world, await world.start(refusing(RejectReason.BAD_SIGNATURE), settling, settling)
    )
    assert isinstance(await wallet.pay(world.creditor, "4.00", "USD"), Settled)
    everybody = _with_two_addresses(
        world, await world.start(*[refusing(RejectReason.BAD_SIGNATURE)] * 2)
    )
    with pytest.raises(NotTaken):
        await everybody.pay(world.creditor, "4.00", "USD")


async def test_a_member_with_two_addresses_does_not_prove_alone_that_a_payment_expired(
    world: World,
) -> None:
    wallet = _with_two_addresses(world, await world.start(received))
    world.now_ms += 10_000
    signed_until_ms = world.now_ms + 1_000

    def later() -> int:
        return signed_until_ms + 1

    outcome = await wallet.pay(world.creditor, "4.00", "USD", valid_for_s=1, wait="received")
    assert isinstance(outcome, Received)
    raw = world.asked[0]
    wallet.now_ms = later
    world.ledger.time_ms = signed_until_ms + 1
    with pytest.raises(OutcomeUnknown):
        await wallet.send(decode(raw), timeout_s=1.0)
