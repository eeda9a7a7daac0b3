"""Two ledgers that part are told to the block, the transaction and the key, with what both have to show."""

import json

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.receipts import OUTCOME
from tallystick.network.wire.faults import OperationalError
from tallystick.node.core import schema
from tallystick.node.core.ledger import BLOCK_RECORD, Ledger, _encode
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.comparing import Difference, StoredSide, compare
from tests.unit.core.lab import Lab
from tests.unit.upkeep.stage import grown, stored, with_byte


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


def compared(lab: Lab, a: dict[bytes, bytes], b: dict[bytes, bytes]) -> Difference:
    sides = (StoredSide("A's folder", MemoryStore(a)), StoredSide("B's folder", MemoryStore(b)))
    return compare(*sides, lab.genesis)


def execute(lab: Lab, ledger: Ledger, height: int) -> None:
    """The lab's block of that height, as this release executes it, under the certificate that it has."""
    record = lab.core(0).ledger.block(height)
    assert record is not None
    bodies = [lab.bodies.check(raw) for raw in record.bodies]
    layer = ledger.execute(ledger.link, record.header.time_ms, record.header.proposer, bodies)  # type: ignore[arg-type]
    ledger.apply(layer.link, record.certificate)


def cut(lab: Lab, height: int) -> dict[bytes, bytes]:
    """The ledger as it stood at that height."""
    store = MemoryStore()
    ledger = Ledger(lab.genesis, store)
    for at in range(1, height + 1):
        execute(lab, ledger, at)
    store.write([ledger.drain()])
    return store.snapshot()


def test_one_ledger_twice_and_one_that_is_behind_are_the_same(lab: Lab) -> None:
    rows = stored(lab)
    assert compared(lab, rows, rows).kind == "same"
    behind = compared(lab, cut(lab, 4), rows)
    assert (behind.kind, behind.height) == ("same", 4)
    assert behind.sentence == "the same chain up to block 4; A has 4 blocks and B 7"


def test_another_network_is_told_apart(lab: Lab) -> None:
    other = {**stored(lab), schema.at_height(schema.LINK, 0): bytes(32)}
    assert compared(lab, stored(lab), other).kind == "genesis"


def test_one_chain_with_different_rows_names_the_first_key(lab: Lab) -> None:
    rows = stored(lab)
    key = max(key for key in rows if key.startswith(schema.ACCOUNT))
    found = compared(lab, rows, {**rows, key: with_byte(rows[key], -1 + len(rows[key]))})
    assert (found.kind, found.height) == ("rows", 7)
    assert [key for key, _, _ in found.keys] == [key]
    assert key[1:].hex() in found.sentence


def diverged(lab: Lab, monkeypatch: pytest.MonkeyPatch, height: int) -> dict[bytes, bytes]:
    """A ledger whose release rejects every transfer from `height` on, so its result differs there for the first time."""
    from tallystick.contracts import decisions, machine

    rows = cut(lab, height - 1)
    store = MemoryStore(rows)
    ledger = Ledger(lab.genesis, store)
    kind = next(kind for kind in machine._CONTRACTS if kind.__name__ == "Transfer")
    with monkeypatch.context() as patched:
        number = machine._CONTRACTS[kind][0]
        patched.setitem(machine._CONTRACTS, kind, (number, lambda *_: decisions.NOT_PERMITTED))
        execute(lab, ledger, height)
    store.write([ledger.drain()])
    return store.snapshot()


@pytest.mark.parametrize("height", [3, 4, 5])
def test_one_order_with_two_results_is_told_to_transaction_and_key(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    other = diverged(lab, monkeypatch, height)
    found = compared(lab, cut(lab, height), other)
    assert (found.kind, found.height, found.transaction) == ("result", height, 0)
    assert set(found.fields) == {"state_root", "receipts_root"}
    assert found.agrees == "A"
    first, left, right = found.keys[0]
    assert first[:1] == schema.ACCOUNT
    assert left != right
    assert "own execution agrees with A" in found.sentence
    # Against the whole ledger, which went on from there: still the block and the transaction.
    longer = compared(lab, other, stored(lab))
    assert (longer.kind, longer.height, longer.transaction, longer.agrees) == (
        "result",
        height,
        0,
        "B",
    )


def test_the_bundle_holds_what_both_have_to_show(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(lab, cut(lab, 3), diverged(lab, monkeypatch, 3))
    bundle = json.loads(json.dumps(found.document()))
    assert bundle["format"] == "tallystick-divergence/1"
    for name in ("a", "b"):
        side = bundle[name]
        assert side["certificate"]["votes"]
        assert len(side["transactions"]) == len(side["outcomes"]) == 1
        assert OUTCOME.decode(bytes.fromhex(side["outcomes"][0]["bytes"])).height == 3
    assert bundle["a"]["header"] == bundle["b"]["header"]
    assert bundle["a"]["result"] != bundle["b"]["result"]
    assert bundle["own"]["result"] == bundle["a"]["result"]
    assert bundle["keys"][0]["table"] == "accounts"


def test_a_height_that_was_ordered_twice_names_who_signed_both(lab: Lab) -> None:
    rows = stored(lab)
    key = schema.at_height(schema.BLOCK, 6)
    record = BLOCK_RECORD.decode(rows[key])
    header = replace(record.header, time_ms=record.header.time_ms + 1)
    fork = cut(lab, 6)
    fork[key] = _encode(replace(record, header=header))
    fork[schema.at_height(schema.LINK, 6)] = bytes(32)
    found = compared(lab, rows, fork)
    assert (found.kind, found.height, found.fields) == ("order", 6, ("time_ms",))
    signers = [vote.signer for vote in record.certificate.votes]
    assert found.document()["signed_both"] == signers


def test_a_ledger_with_a_hole_cannot_be_compared(lab: Lab) -> None:
    rows = stored(lab)
    without = {key: rows[key] for key in rows if key != schema.at_height(schema.LINK, 7)}
    with pytest.raises(OperationalError, match="the link of height 7 is missing"):
        compared(lab, without, rows)
