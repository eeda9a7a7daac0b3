"""The wallet among nodes that are silent, full, wrong or lying: nothing is paid twice, nothing unproven is believed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.network.proofs.document import receipt_to_document
from tallystick.network.wire.ids import PaymentId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import body_id, decode
from tallystick.wallet.client import Wallet
from tallystick.wallet.core import approvals
from tallystick.wallet.core.outcomes import Accepted, Expired, Received, Rejected, Settled
from tallystick.wallet.endpoints import Patience
from tallystick.wallet.errors import (
    Archived,
    Denied,
    NotFound,
    NotTaken,
    OutcomeUnknown,
    Unreachable,
    Untrusted,
    WrongNetwork,
)
from tallystick.wallet.network_file import NetworkFile
from tests.unit.wallet.fake_node import (
    FakeNode,
    Ledger,
    Manner,
    accepted,
    received,
    refusing,
    rejecting,
    settling,
    silent,
)
from tests.unit.wallet.networks import NOW_MS, SmallNetwork, small_network

HASTE = Patience(
    connect_s=1.0, attempt_s=0.2, bulk_s=0.5, answer_s=0.2, pause_s=0.01, pause_s_max=0.02,
    rest_s=0.05, rest_s_max=0.1, unreachable_s=0.3, after_deadline_s=0.5,
)  # fmt: skip


class World:
    """Four fake nodes over one ledger, and a wallet of bank A."""

    def __init__(self, network: SmallNetwork, folder: Path) -> None:
        self.network = network
        self.ledger = Ledger(network)
        self.folder = folder
        self.nodes: list[FakeNode] = []
        self.wallets: list[Wallet] = []
        self.now_ms = NOW_MS

    async def start(self, *manners: Manner, patience: Patience = HASTE) -> Wallet:
        """Nodes with these manners, members first to last, whose keys the genesis document knows."""
        entries = []
        for index, manner in enumerate(manners):
            node = FakeNode(f"node-{index}", self.ledger, manner, index)
            entries.append(await node.start(self.folder))
            self.nodes.append(node)
        file = NetworkFile("small", self.network.genesis, tuple(entries))
        wallet = Wallet(
            file,
            self.network.signers[1],
            token="t0ken",
            patience=patience,
            now_ms=lambda: self.now_ms,
        )
        # The fake members' TLS keys are made here, so they are told to the checker rather than to genesis.
        wallet.checker._member_pins = {entry.pin for entry in entries}
        self.wallets.append(wallet)
        return wallet

    async def stop(self) -> None:
        for wallet in self.wallets:
            await wallet.close()
        for node in self.nodes:
            await node.stop()

    @property
    def asked(self) -> list[bytes]:
        return [raw for node in self.nodes for raw in node.asked]

    @property
    def creditor(self) -> Any:
        return self.network.accounts[2]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(small_network(), tmp_path)
    yield made
    await made.stop()


async def test_a_payment_settles_and_its_receipt_is_verified(world: World) -> None:
    wallet = await world.start(settling, settling, settling, settling)
    outcome = await wallet.pay(world.creditor, "4.00", "USD")
    assert isinstance(outcome, Settled)
    assert outcome.receipt.transaction == world.asked[0]
    assert decode(world.asked[0]).amount_minor == 400  # type: ignore[union-attr]
    assert len(world.asked) == 1
    assert world.nodes[0].tokens == ["Bearer t0ken"]


async def test_a_rejection_by_the_ledger_is_an_outcome_with_a_receipt(world: World) -> None:
    wallet = await world.start(rejecting(RejectReason.INSUFFICIENT_FUNDS))
    outcome = await wallet.pay(world.creditor, "4.00", "USD")
    assert isinstance(outcome, Rejected)
    assert outcome.reason is RejectReason.INSUFFICIENT_FUNDS


async def test_when_a_node_is_silent_the_same_bytes_go_to_the_next(world: World) -> None:
    wallet = await world.start(
        silent, settling, patience=replace(HASTE, rest_s=60.0, rest_s_max=60.0)
    )
    outcome = await wallet.pay(world.creditor, "4.00", "USD")
    assert isinstance(outcome, Settled)
    assert world.nodes[0].asked == world.nodes[1].asked
    assert len(set(world.asked)) == 1
    assert isinstance(await wallet.pay(world.creditor, "5.00", "USD"), Settled)
    counts = [len(node.asked) for node in world.nodes]
    assert counts == [1, 2], "the silent one rests, so nobody waits for it"


async def test_when_a_node_is_gone_the_next_is_asked(world: World) -> None:
    wallet = await world.start(settling, settling)
    await world.nodes[0].stop()
    assert isinstance(await wallet.pay(world.creditor, "4.00", "USD"), Settled)


@pytest.mark.parametrize(
    "reason", [RejectReason.OVERLOADED, RejectReason.NOT_READY, RejectReason.QUOTA_SPENT]
)
async def test_a_full_node_is_passed_over(world: World, reason: RejectReason) -> None:
    wallet = await world.start(refusing(reason), settling)
    assert isinstance(await wallet.pay(world.creditor, "4.00", "USD"), Settled)


async def test_when_all_are_full_nothing_was_accepted_and_the_error_says_so(world: World) -> None:
    wallet = await world.start(refusing(RejectReason.OVERLOADED), refusing(RejectReason.OVERLOADED))
    with pytest.raises(NotTaken) as caught:
        await wallet.pay(world.creditor, "4.00", "USD", timeout_s=0.2)
    assert caught.value.reason is RejectReason.OVERLOADED
    assert caught.value.retryable
    assert len(world.asked) > 2, "it tried more than one round"


async def test_a_refusal_counts_once_more_members_gave_it_than_may_lie(world: World) -> None:
    bad = refusing(RejectReason.BAD_SIGNATURE)
    wallet = await world.start(bad, bad, settling, settling)
    with pytest.raises(NotTaken) as caught:
        await wallet.pay(world.creditor, "4.00", "USD")
    assert caught.value.reason is RejectReason.BAD_SIGNATURE
    assert len(world.asked) == 2


async def test_a_single_member_that_refuses_falsely_does_not_stop_a_payment(world: World) -> None:
    wallet = await world.start(refusing(RejectReason.BAD_SIGNATURE), settling, settling, settling)
    assert isinstance(await wallet.pay(world.creditor, "4.00", "USD"), Settled)


def wrong_receipt(node: FakeNode, raws: list[bytes]) -> Any:
    """The genuine receipt of another payment."""
    other = approvals.signed_by(
        msgspec.structs.replace(decode(raws[0]), amount_minor=1, witnesses=()), _digest(node, 1, raws[0]), node.ledger.network.signers[1]
    )  # fmt: skip
    from tallystick.network.wire.transactions.codec import encode

    raw = encode(other)
    if body_id(raw) not in node.ledger.receipts:
        node.ledger.order([raw])
    return [{"state": "final", "receipt": receipt_to_document(node.ledger.receipts[body_id(raw)])}]


def _digest(node: FakeNode, amount_minor: int, raw: bytes) -> Any:
    changed = msgspec.structs.replace(decode(raw), amount_minor=amount_minor, witnesses=())
    return node.ledger.network.digester.digest(changed)


def strangers_copy(node: FakeNode, raws: list[bytes]) -> Any:
    """Our digest, re-signed by a key that is not the account's, and duly rejected by the ledger."""
    bare = msgspec.structs.replace(decode(raws[0]), witnesses=())
    stranger = node.ledger.network.signers[2]
    from tallystick.network.wire.transactions.codec import encode

    raw = encode(approvals.signed_by(bare, node.ledger.network.digester.digest(bare), stranger))
    if body_id(raw) not in node.ledger.receipts:
        node.ledger.order([raw], RejectReason.WRONG_KEYS)
    return [{"state": "final", "receipt": receipt_to_document(node.ledger.receipts[body_id(raw)])}]


def too_few_signatures(node: FakeNode, raws: list[bytes]) -> Any:
    forged = Ledger(node.ledger.network, height=node.ledger.height)
    forged.order(raws, signers=2)
    return [{"state": "final", "receipt": receipt_to_document(forged.receipts[body_id(raws[0])])}]


def turned_outcome(node: FakeNode, raws: list[bytes]) -> Any:
    """A settled receipt in which one word was changed."""
    document: Any = settling(node, raws)[0]["receipt"]
    document["outcome"]["status"] = "REJECTED"
    document["outcome"]["reason"] = "INSUFFICIENT_FUNDS"
    return [{"state": "final", "receipt": document}]


def no_receipt(node: FakeNode, raws: list[bytes]) -> Any:
    return [{"state": "final", "receipt": None}]


def nonsense(node: FakeNode, raws: list[bytes]) -> Any:
    return [{"state": "glorious"}]


def two_answers(node: FakeNode, raws: list[bytes]) -> Any:
    return settling(node, raws) * 2


def ledger_reason_before_ordering(node: FakeNode, raws: list[bytes]) -> Any:
    return [{"state": "refused", "reason": "INSUFFICIENT_FUNDS"}]


LIES = [wrong_receipt, strangers_copy, too_few_signatures, turned_outcome, no_receipt, nonsense, two_answers,
        ledger_reason_before_ordering]  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_not_believed_and_the_next_node_is_asked(world: World, lie: Manner) -> None:
    wallet = await world.start(lie, settling)
    outcome = await wallet.pay(world.creditor, "4.00", "USD")
    assert isinstance(outcome, Settled)
    assert outcome.receipt.transaction == world.nodes[0].asked[0]
    assert wallet.endpoints.ordered()[0].name == "node-1", "the liar is asked last from now on"


@pytest.mark.parametrize("lie", LIES)
async def test_among_liars_alone_the_outcome_is_unknown(world: World, lie: Manner) -> None:
    wallet = await world.start(lie)
    with pytest.raises(OutcomeUnknown) as caught:
        await wallet.pay(world.creditor, "4.00", "USD", timeout_s=0.1)
    assert caught.value.reference.body_id == body_id(world.asked[0])


async def test_the_same_answer_twice_is_the_same_payment(world: World) -> None:
    wallet = await world.start(settling, settling)
    signed = wallet.sign(decode_unsigned(wallet, world))
    first = await wallet.send(signed)
    again = await wallet.send(signed)
    assert first == again
    assert world.ledger.height == 1


def decode_unsigned(wallet: Wallet, world: World, number: int = 0) -> Any:
    from tallystick.wallet.core import build

    return build.transfer(
        wallet.terms, account=wallet.account, creditor=world.creditor, amount="4.00", asset="USD",
        id=PaymentId(number.to_bytes(32, "big")), now_ms=world.now_ms, valid_for_ms=10_000,
    )  # fmt: skip


def one_id_once(node: FakeNode, raws: list[bytes]) -> Any:
    """Like the ledger: a second digest under a taken id is rejected."""
    for raw in raws:
        if body_id(raw) not in node.ledger.receipts:
            taken = any(each.outcome.id == decode(raw).id for each in node.ledger.receipts.values())
            node.ledger.order([raw], RejectReason.ID_TAKEN if taken else None)
    return settling(node, raws)


async def test_paying_again_under_the_same_id_gives_the_first_outcome(world: World) -> None:
    wallet = await world.start(one_id_once)
    first = await wallet.pay(world.creditor, "4.00", "USD", id="INV-7")
    world.now_ms += 1_000
    again = await wallet.pay(world.creditor, "4.00", "USD", id="INV-7")
    assert again == first
    other = await wallet.pay(world.creditor, "9.00", "USD", id="INV-7")
    assert isinstance(other, Rejected)
    assert other.reason is RejectReason.ID_TAKEN


async def test_received_and_accepted_are_what_they_say(world: World) -> None:
    wallet = await world.start(received)
    outcome = await wallet.pay(world.creditor, "4.00", "USD", wait="received")
    assert isinstance(outcome, Received)
    world.nodes[0].manner = accepted
    outcome = await wallet.pay(world.creditor, "4.00", "USD", wait="accepted")
    assert isinstance(outcome, Accepted)
    assert outcome.holders == (0, 1)


async def test_accepted_with_too_few_or_false_holders_is_a_lie(world: World) -> None:
    def one_holder(node: FakeNode, raws: list[bytes]) -> Any:
        return accepted(node, raws, holders=1)

    def false_holder(node: FakeNode, raws: list[bytes]) -> Any:
        results = accepted(node, raws)
        results[0]["holders"][1]["node"] = 3
        return results

    def other_batch(node: FakeNode, raws: list[bytes]) -> Any:
        results = accepted(node, raws)
        results[0]["siblings"] = results[0]["siblings"][1:]
        return results

    wallet = await world.start(one_holder)
    for lie in (one_holder, false_holder, other_batch):
        world.nodes[0].manner = lie
        with pytest.raises(OutcomeUnknown):
            await wallet.pay(world.creditor, "4.00", "USD", wait="accepted", timeout_s=0.05)


async def test_no_node_at_all_means_that_nothing_was_handed_over(world: World) -> None:
    wallet = await world.start(settling)
    await world.nodes[0].stop()
    with pytest.raises(Unreachable):
        await wallet.pay(world.creditor, "4.00", "USD")


async def test_a_node_with_another_key_gets_neither_token_nor_transaction(world: World) -> None:
    wallet = await world.start(settling)
    entry = wallet.network.endpoints[0]
    pinned = msgspec.structs.replace(entry, tls_key_hash=bytes(32).hex())
    file = msgspec.structs.replace(wallet.network, endpoints=(pinned,))
    suspicious = Wallet(file, world.network.signers[1], token="t0ken", patience=HASTE)
    with pytest.raises(Unreachable, match="another key"):
        await suspicious.pay(world.creditor, "4.00", "USD")
    await suspicious.close()
    assert world.nodes[0].tokens == []


async def test_a_denied_token_is_told_at_once(world: World) -> None:
    denied = refusing(RejectReason.UNAUTHENTICATED)
    wallet = await world.start(denied, denied)
    with pytest.raises(Denied, match="UNAUTHENTICATED"):
        await wallet.pay(world.creditor, "4.00", "USD")


async def test_past_its_deadline_a_payment_that_nobody_has_is_expired_on_the_word_of_two(
    world: World,
) -> None:
    wallet = await world.start(silent, silent, silent, silent)
    signed = wallet.sign(decode_unsigned(wallet, world))

    wallet.now_ms = lambda: signed.valid_until_ms + 1
    world.ledger.time_ms = signed.valid_until_ms + 1
    outcome = await wallet.send(signed)
    assert isinstance(outcome, Expired)
    assert outcome.receipt is None
    assert outcome.evidence is not None
    assert len(outcome.evidence.nodes) >= 2
    assert outcome.evidence.certified_time_ms > signed.valid_until_ms


async def test_past_its_deadline_by_this_clock_alone_nothing_is_expired(world: World) -> None:
    wallet = await world.start(silent, silent)
    signed = wallet.sign(decode_unsigned(wallet, world))
    world.ledger.time_ms = signed.valid_until_ms  # the ledger could still order it
    wallet.now_ms = lambda: signed.valid_until_ms + 1
    with pytest.raises(OutcomeUnknown):
        await wallet.send(signed, timeout_s=0.5)


async def test_a_receipt_found_after_the_deadline_counts(world: World) -> None:
    wallet = await world.start(silent, silent)
    signed = wallet.sign(decode_unsigned(wallet, world))
    world.ledger.order([signed.raw])
    world.ledger.time_ms = signed.valid_until_ms + 1
    wallet.now_ms = lambda: signed.valid_until_ms + 1
    assert isinstance(await wallet.send(signed), Settled)


async def test_a_late_first_try_is_refused_as_past_its_deadline(world: World) -> None:
    late = refusing(RejectReason.PAST_DEADLINE)
    wallet = await world.start(late, late)
    with pytest.raises(NotTaken) as caught:
        await wallet.pay(world.creditor, "4.00", "USD")
    assert caught.value.reason is RejectReason.PAST_DEADLINE
    assert "same id" in caught.value.hint


async def test_balances_are_proven(world: World) -> None:
    wallet = await world.start(silent)
    balance = await wallet.balance()
    assert str(balance.amounts["USD"]) == "123.45"
    assert balance.minor == {"USD": 12_345}

    honest = world.ledger.account

    def richer(account: bytes) -> dict[str, Any]:
        answer = honest(account)
        value = bytes.fromhex(answer["proof"]["value"])
        answer["proof"]["value"] = value.replace(
            msgspec.msgpack.encode(12_345), msgspec.msgpack.encode(54_321)
        ).hex()
        return answer

    world.ledger.account = richer  # type: ignore[method-assign]
    with pytest.raises(Untrusted, match="does not verify"):
        await wallet.balance()


async def test_resolve_by_account_and_id(world: World) -> None:
    wallet = await world.start(settling)
    outcome = await wallet.pay(world.creditor, "4.00", "USD", id="INV-8")
    assert await wallet.resolve(wallet.account, "INV-8") == outcome
    assert await wallet.resolve(wallet.account, "INV-8", outcome.reference.digest) == outcome
    with pytest.raises(NotFound):
        await wallet.resolve(wallet.account, "INV-8", bytes(32))
    with pytest.raises(NotFound):
        await wallet.resolve(wallet.account, "INV-9")


async def test_a_node_that_has_archived_it_is_not_the_last_word(world: World) -> None:
    """Another node's receipt is taken; where none has it, nobody is told that it was never ordered."""
    wallet = await world.start(settling, settling, settling, settling)
    outcome = await wallet.pay(world.creditor, "4.00", "USD", id="INV-8")
    for node in world.nodes[:3]:
        node.pruned = True
    assert await wallet.resolve(wallet.account, "INV-8") == outcome
    for lagging in range(4):
        for number, node in enumerate(world.nodes):
            node.pruned, node.lags = number != lagging, number == lagging
        with pytest.raises(Archived):
            await wallet.resolve(wallet.account, "INV-8")


async def test_connecting_to_another_network_fails(world: World) -> None:
    wallet = await world.start(settling)
    async with Wallet.connect(wallet.network, world.network.signers[1], patience=HASTE) as greeted:
        assert greeted.account == world.network.accounts[1]
    world.nodes[0].genesis_hash = bytes(32)
    with pytest.raises(WrongNetwork):
        await Wallet.connect(wallet.network, patience=HASTE)


async def test_what_is_refused_here_is_sent_nowhere(world: World) -> None:
    wallet = await world.start(settling)
    for changes in (
        {"amount": "4.001"},
        {"asset": "EUR"},
        {"creditor": "abc"},
        {"valid_for_s": 10**9},
        {"id": "a b"},
    ):
        fields: dict[str, Any] = {"creditor": world.creditor, "amount": "4.00", "asset": "USD"}
        with pytest.raises(NotTaken):
            await wallet.pay(**(fields | changes))
    assert world.asked == []


async def test_many_payments_over_several_nodes_one_silent_one_lying(world: World) -> None:
    wallet = await world.start(settling, silent, two_answers, settling)
    signed = [wallet.sign(decode_unsigned(wallet, world, number)) for number in range(1_203)]
    told: list[int] = []
    ends = await wallet.submit_many(signed, progress=told.append)
    assert all(isinstance(end, Settled) for end in ends)
    assert [end.reference.id for end in ends if isinstance(end, Settled)] == [
        each.reference.id for each in signed
    ]
    assert told[-1] == len(signed)


async def test_many_payments_with_each_its_own_end(world: World) -> None:
    def mixed(node: FakeNode, raws: list[bytes]) -> Any:
        results = settling(node, raws)
        for raw, result in zip(raws, results, strict=True):
            if decode(raw).id[-1] % 2:
                result.update(state="refused", reason="BAD_SIGNATURE")
        return results

    wallet = await world.start(mixed, mixed)
    signed = [wallet.sign(decode_unsigned(wallet, world, number)) for number in range(20)]
    ends = await wallet.submit_many(signed)
    for number, end in enumerate(ends):
        if number % 2:
            assert isinstance(end, NotTaken)
        else:
            assert isinstance(end, Settled)


async def test_many_payments_wait_for_room_and_are_not_hurried_one_by_one(world: World) -> None:
    calls = 0

    def full_at_first(node: FakeNode, raws: list[bytes]) -> Any:
        nonlocal calls
        calls += 1
        return RejectReason.OVERLOADED if calls < 20 else settling(node, raws)

    wallet = await world.start(full_at_first)
    signed = [wallet.sign(decode_unsigned(wallet, world, number)) for number in range(40)]
    ends = await wallet.submit_many(signed)
    assert all(isinstance(end, Settled) for end in ends)
    assert calls == 20, "one request each time"


async def test_many_payments_none_reachable(world: World) -> None:
    wallet = await world.start(settling)
    await world.nodes[0].stop()
    signed = [wallet.sign(decode_unsigned(wallet, world, number)) for number in range(3)]
    ends = await wallet.submit_many(signed, timeout_s=0.3)
    assert all(isinstance(end, Unreachable) for end in ends)


async def test_a_bulk_receipt_with_a_turned_outcome_is_not_believed(world: World) -> None:
    wallet = await world.start(settling)
    signed = wallet.sign(decode_unsigned(wallet, world))
    world.ledger.order([signed.raw])
    receipt = world.ledger.receipts[signed.reference.body_id]
    turned = msgspec.structs.replace(receipt.outcome, status=2, reason=105)
    world.ledger.receipts[signed.reference.body_id] = msgspec.structs.replace(
        receipt, outcome=turned
    )
    (end,) = await wallet.submit_many([signed], timeout_s=0.3)
    assert isinstance(end, OutcomeUnknown)
