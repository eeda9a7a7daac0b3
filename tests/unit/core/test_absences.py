"""Windows close alike on every member, through restarts, catch-up and blocks in flight; then absence is proven from the rows."""

import pytest
from msgspec.structs import replace

from tallystick.network.proofs import verify
from tallystick.network.proofs.absence import Absence, verify_absence
from tallystick.network.proofs.windows import (
    OPEN_WINDOW,
    WINDOWS_KEY,
    WINDOWS_MARK,
    WindowsMark,
    window_key,
    window_record,
    window_start,
)
from tallystick.network.wire.faults import InvariantError, Refused
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transfer
from tallystick.network.wire.transactions.codec import encode
from tallystick.node.core import schema
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.schema import consumed_row
from tallystick.node.storage.memory import MemoryStore
from tests.unit.core.lab import STEADY, Lab

WINDOW_MS = 5_000
SHARE = 3
"""Leaves that a block hashes, and transactions that it may order."""


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Idle blocks each second, so that windows move on."""
    lab = Lab(
        parameters=replace(
            STEADY, window_ms=WINDOW_MS, idle_block_ms=1_000, block_transactions_max=SHARE
        )
    )
    monkeypatch.setattr(verify, "verify_vote", lab.keys.verify)
    lab.answer(0, lab.issue(amount_minor=20_000))
    return lab


def mark(lab: Lab, node: int = 0) -> WindowsMark:
    return WINDOWS_MARK.decode(lab.core(node).ledger.record(WINDOWS_KEY) or b"")


def start_of(transaction: Transfer) -> int:
    return window_start(transaction.valid_until_ms, WINDOW_MS)


def prove(lab: Lab, lost: Transfer, node: int = 0) -> Absence:
    """What this node shows, verified."""
    digest = verify.Verifier(lab.genesis).digest(lost)
    reader = lab.core(node).reader
    proof = reader.absence(lost.account, lost.id, digest, lost.valid_until_ms)()
    absence = Absence(1, encode(lost), digest, proof)
    verdict = verify_absence(absence, lab.genesis)
    assert verdict.ok, verdict.failed
    return absence


def why_not(lab: Lab, transaction: Transfer) -> RejectReason:
    with pytest.raises(Refused) as refused:
        prove(lab, transaction)
    return refused.value.reason


def everybody_agrees(lab: Lab) -> None:
    roots = {lab.core(node).ledger.state.root for node in range(4)}
    assert len(set(lab.heights())) == len(roots) == 1
    assert [box.halted for box in lab.boxes.values()] == [None] * 4


def test_a_payment_that_nobody_ordered_is_proven_absent_once_its_window_is_closed(lab: Lab) -> None:
    lost = lab.transfer()
    paid = lab.transfer(valid_until_ms=lost.valid_until_ms)
    lab.answer(0, lab.sign(paid, 0))
    assert why_not(lab, lost) is RejectReason.NOT_FOUND  # it may still be ordered
    lab.pass_time(60_000 + 2 * WINDOW_MS)
    for node in range(4):
        assert prove(lab, lost, node).proof.window is not None
    assert why_not(lab, paid) is RejectReason.ALREADY_ORDERED


def test_a_window_that_holds_nothing_proves_the_absence_of_everything(lab: Lab) -> None:
    lost = lab.transfer(valid_until_ms=lab.now_ms + 30_000)
    lab.pass_time(30_000 + 2 * WINDOW_MS)
    assert prove(lab, lost).proof.window is None


def test_a_stolen_copy_under_other_keys_hides_nothing(lab: Lab) -> None:
    lost = lab.transfer()
    ledger = lab.core(0).ledger
    copy = lab.bodies.check(lab.sign(lost, 2))
    assert isinstance(copy, CheckedBody)
    layer = ledger.execute(ledger.link, ledger.time_ms, NodeId(0), [copy])
    assert len(layer.changes.refused) == 1  # admission refuses it early; a hostile leader orders it
    again = copied(lab)
    follow(again, [[copy]])
    close(again, lost.valid_until_ms + 2 * WINDOW_MS)
    record = window_record(again.record(window_key(start_of(lost))) or b"")
    assert record.count > 0
    rows = [again.row(consumed_row(start_of(lost), number)) or b"" for number in range(2)]
    assert any(verify.Verifier(lab.genesis).digest(lost) in row for row in rows)


def test_many_windows_that_an_outage_closes_at_once_are_worked_through(lab: Lab) -> None:
    """Seven windows hold more than one block may hash; each lost payment gets its proof in the end."""
    lost = []
    for at in range(7):
        until_ms = lab.now_ms + 30_000 + at * WINDOW_MS
        lost.append(lab.transfer(valid_until_ms=until_ms))
        lab.submit(0, *[lab.pay(valid_until_ms=until_ms) for _ in range(SHARE - 1)])
    lab.settle()
    lab.now_ms += 500_000  # nobody is there
    lab.pass_time(1_000)
    behind = mark(lab)
    assert behind.oldest_ms < behind.current_ms
    assert {why_not(lab, each) for each in lost[3:]} == {RejectReason.NOT_FOUND}
    lab.pass_time(15_000)
    assert mark(lab).oldest_ms >= start_of(lost[-1]) + WINDOW_MS
    for each in lost:
        proof = prove(lab, each).proof
        assert proof.window is not None
        assert proof.window.count >= SHARE - 1
    everybody_agrees(lab)


def test_a_member_that_restarts_in_the_middle_of_a_window_goes_on_at_the_cursor(lab: Lab) -> None:
    until_ms = lab.now_ms + 30_000
    for _ in range(5):
        lab.submit(0, *[lab.pay(valid_until_ms=until_ms) for _ in range(SHARE)])
    lab.settle()
    while not mark(lab, 2).hashed:
        lab.pass_time(1_000)
    assert mark(lab, 2).hashed % SHARE == 0
    lab.crash(2)
    lab.start(2)
    lab.settle()
    lab.pass_time(20_000)
    everybody_agrees(lab)
    assert mark(lab, 2).hashed == 0
    assert window_record(lab.core(2).ledger.record(window_key(window_start(until_ms, WINDOW_MS))) or b"").count == 15  # fmt: skip


def test_a_member_that_was_away_closes_the_same_windows_when_it_catches_up(lab: Lab) -> None:
    lost = lab.transfer()
    lab.crash(3)
    for _ in range(4):
        lab.submit(0, *[lab.pay() for _ in range(SHARE)])
        lab.pass_time(WINDOW_MS)
    lab.pass_time(80_000)
    lab.start(3)
    lab.settle()
    lab.pass_time(5_000)
    everybody_agrees(lab)
    assert prove(lab, lost, 3).proof.window == prove(lab, lost, 0).proof.window


# -- blocks in flight --


def copied(lab: Lab) -> Ledger:
    """Node 0's ledger, once more."""
    return Ledger(lab.genesis, MemoryStore(lab.box(0).store.snapshot()))


def bodies_of(lab: Lab, *raws: bytes) -> list[CheckedBody]:
    checked = [lab.bodies.check(raw) for raw in raws]
    return [each for each in checked if isinstance(each, CheckedBody)]


def follow(ledger: Ledger, blocks: list[list[CheckedBody]], at_ms: int | None = None) -> None:
    """Blocks that become final one after the other."""
    for bodies in blocks:
        time_ms = ledger.time_ms if at_ms is None else at_ms
        layer = ledger.execute(ledger.link, time_ms, NodeId(0), bodies)
        ledger.apply(layer.link, ledger.certificate)  # type: ignore[arg-type]


def close(ledger: Ledger, at_ms: int) -> None:
    """Empty blocks of this time until nothing is left to close."""
    while True:
        follow(ledger, [[]], at_ms)
        now = WINDOWS_MARK.decode(ledger.record(WINDOWS_KEY) or b"")
        if now.oldest_ms == now.current_ms and now.current_ms == window_start(at_ms, WINDOW_MS):
            return


def test_entries_of_blocks_that_are_not_final_close_their_window_to_the_same_root(lab: Lab) -> None:
    """Nothing of the window is certified yet when its first leaves are hashed: it hangs on layers, and each path has its own."""
    until_ms = lab.now_ms + 2_000
    blocks = [bodies_of(lab, *[lab.pay(valid_until_ms=until_ms) for _ in range(SHARE)]) for _ in range(3)]  # fmt: skip
    late_ms = window_start(until_ms, WINDOW_MS) + WINDOW_MS
    times = [*[lab.now_ms] * 3, *[late_ms] * 5]

    def links(final_after: int) -> list[bytes]:
        """The chain of links; `final_after`: how many blocks stay in flight above the certified state."""
        ledger, made = copied(lab), []
        parent = ledger.link
        for time_ms, bodies in zip(times, [*blocks, *[[]] * 5], strict=True):
            layer = ledger.execute(parent, time_ms, NodeId(0), bodies)
            parent = layer.link
            made.append(layer.link)
            if len(made) > final_after:
                ledger.apply(made[len(made) - 1 - final_after], ledger.certificate)  # type: ignore[arg-type]
        record = ledger.state_at(parent).record(window_key(window_start(until_ms, WINDOW_MS)))
        assert window_record(record or b"").count == 3 * SHARE
        return [bytes(link) for link in made]

    assert links(0) == links(1) == links(2) == links(4) == links(8)


def test_two_paths_hash_each_its_own_entries(lab: Lab) -> None:
    until_ms = lab.now_ms + 2_000
    one, two = (bodies_of(lab, lab.pay(valid_until_ms=until_ms)) for _ in range(2))
    late_ms = window_start(until_ms, WINDOW_MS) + WINDOW_MS
    ledger, key = copied(lab), window_key(window_start(until_ms, WINDOW_MS))

    def closed(bodies: list[CheckedBody]) -> bytes:
        parent = ledger.link
        for time_ms, held in ((ledger.time_ms, bodies), (late_ms, []), (late_ms, [])):
            parent = ledger.execute(parent, time_ms, NodeId(0), held).link
        return ledger.state_at(parent).record(key) or b""

    assert len({closed(one), closed(two), closed([*one, *two])}) == 3
    assert closed(one) == closed(one)


def test_a_row_that_is_not_what_was_consumed_halts_before_a_leaf_is_hashed(lab: Lab) -> None:
    until_ms = lab.now_ms + 2_000
    start_ms = window_start(until_ms, WINDOW_MS)
    lab.submit(0, *[lab.pay(valid_until_ms=until_ms) for _ in range(2)])
    lab.settle()
    rows = lab.box(0).store.snapshot()
    key = consumed_row(start_ms, 0)
    blocks = OPEN_WINDOW.decode(rows[schema.RECORD + window_key(start_ms)]).blocks
    rows[key] = rows[key][:-1] + bytes([rows[key][-1] ^ 1])
    ledger = Ledger(lab.genesis, MemoryStore(rows))
    with pytest.raises(InvariantError, match="commits to"):
        close(ledger, start_ms + 2 * WINDOW_MS)
    assert blocks >= 1
