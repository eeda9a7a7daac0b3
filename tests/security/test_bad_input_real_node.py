"""The same table of bad input against a real node: what the fakes promised is what a ledger answers."""

import threading
from collections.abc import Iterator

import pytest
from msgspec import msgpack

from tallystick.network.proofs.document import receipt_from_document
from tallystick.network.proofs.receipts import BUNDLE, receipt_of
from tallystick.network.proofs.verify import verify_receipt
from tallystick.network.wire.transactions.codec import TRANSACTION, body_id
from tests.security.bad_inputs import all_cases, good, judge_all, reason_of
from tests.security.real_node import RealNetwork


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNetwork]:
    with RealNetwork(tmp_path_factory.mktemp("network")) as network:
        reply = network.edge.submit(
            network.token("central-bank"), network.issue(1_000_000), wait="final"
        )
        assert reply.status == 200, reply.body
        assert reason_of(reply) is None
        yield network


def test_every_bad_transaction_gets_its_code_from_a_real_node(network: RealNetwork) -> None:
    target = network.target()
    assert len(all_cases(target)) == 37
    assert judge_all(target) == []


def test_a_settled_payment_is_read_and_verified_by_both_sides(network: RealNetwork) -> None:
    raw = good(network.target(), 100)
    network.edge.submit(network.token("bank-a"), raw, wait="final")
    transaction = TRANSACTION.decode(raw)
    place = f"{transaction.account.hex()}/{transaction.id.hex()}"
    for bank in ("bank-a", "bank-b", "regulator"):
        found = network.edge.call("GET", f"/v1/receipts/{place}", token=network.token(bank))
        verdict = verify_receipt(receipt_from_document(found.document), network.network.genesis)
        assert verdict.ok
    by_body = f"/v1/receipts/{place}?body_id={body_id(raw).hex()}"
    assert network.edge.call("GET", by_body, token=network.token("bank-a")).status == 200
    state = network.edge.call("GET", f"/v1/transactions/{place}", token=network.token("bank-a"))
    assert (state.document["state"], state.document["status"]) == ("final", "settled")
    third = network.edge.call("GET", f"/v1/receipts/{place}", token=network.token("central-bank"))
    assert (third.status, third.code) == (403, "FOREIGN_ACCOUNT")


def test_an_account_is_read_with_its_proof_and_headroom(network: RealNetwork) -> None:
    path = f"/v1/accounts/{network.root(2).hex()}"
    found = network.edge.call("GET", path, token=network.token("bank-a")).document
    (usd,) = (entry for entry in found["headroom"] if entry["asset"] == "USD")
    assert usd["limit_minor"] - usd["sent_minor"] >= usd["headroom_minor"]
    assert found["balances"][0]["amount_minor"] == 1_000_000 - usd["sent_minor"]
    assert found["proof"]["block"]["header"]["height"] == found["height"]
    assert network.edge.call("GET", path, token=network.token("bank-b")).code == "FOREIGN_ACCOUNT"


def test_the_binary_twin_brings_bundles_that_verify(network: RealNetwork) -> None:
    raws = [good(network.target(), number) for number in range(200, 250)]
    reply = network.edge.post(
        msgpack.encode([3, 10_000, raws]), network.token("bank-a"), "application/msgpack"
    )
    rows, bundles = msgpack.decode(reply.body)
    assert {row[0] for row in rows} == {3}
    items = [
        (decoded.block, item) for decoded in map(BUNDLE.decode, bundles) for item in decoded.items
    ]
    bodies = {body_id(raw): raw for raw in raws}
    assert len(items) == len(raws)
    for block, item in items:
        receipt = receipt_of(bodies[item.outcome.body_id], block, item)  # type: ignore[index]
        assert verify_receipt(receipt, network.network.genesis).ok


def test_an_observer_follows_and_agrees_and_serves_readers_only(network: RealNetwork) -> None:
    edge = network.start_observer()
    wanted = network.edge.call("GET", "/v1/status", token=network.token("regulator")).document
    status = edge.call("GET", "/v1/status", token=network.token("regulator")).document
    pause = threading.Event()
    for _ in range(500):
        if status["height"] >= wanted["height"]:
            break
        pause.wait(0.02)
        status = edge.call("GET", "/v1/status", token=network.token("regulator")).document
    assert status["role"] == "observer"
    assert status["audit"]["blocks_executed"] == status["height"] >= wanted["height"]
    assert status["audit"]["divergence"] is None
    blocks = [
        each.call(
            "GET", f"/v1/blocks/{wanted['height']}", token=network.token("regulator")
        ).document
        for each in (edge, network.edge)
    ]
    assert blocks[0] == blocks[1]
    assert edge.submit(network.token("bank-a"), good(network.target(), 300)).status == 404
    assert edge.call("GET", "/v1/status", token=network.token("bank-a")).code == "FORBIDDEN"


def test_the_member_is_ready_and_its_metrics_count_what_happened(network: RealNetwork) -> None:
    assert network.edge.call("GET", "/readyz").document == {"ready": True, "missing": []}
    text = network.edge.call("GET", "/metrics", token=network.token("regulator")).body.decode()
    samples = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    assert float(samples["tallystick_settled_total"]) >= 1
    assert float(samples["tallystick_checked_total"]) >= 1
    assert float(samples["tallystick_halted"]) == 0
