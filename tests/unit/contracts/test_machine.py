"""One block, transaction by transaction: every reason, in its order, and nothing that is consumed twice."""

import pytest
from msgspec.structs import replace

from tallystick.contracts import BlockResult, check_block, execute_block, work_of
from tallystick.network.proofs.receipts import Status
from tallystick.network.proofs.windows import OPEN_WINDOW, OpenWindow, window_key
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.genesis import Parameters, account_id
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transfer
from tests.unit.contracts.ledger import (
    BANK_A,
    BANK_B,
    CENTRAL_BANK,
    Town,
    checked,
    genesis_of,
    h,
    reason_of,
    signed_by,
    town,
)


@pytest.fixture
def place() -> Town:
    return town()


def test_a_funded_payment_settles_and_moves_exactly_its_amount(place: Town) -> None:
    (outcome,) = place.ledger.play(place.ledger.pays(place.alice, place.bob, 300, "alice"))
    assert (outcome.status, outcome.reason, outcome.final) == (Status.SETTLED, 0, True)
    assert place.ledger.balance(place.alice) == 99_700
    assert place.ledger.balance(place.bob) == 300


def test_an_outcome_names_the_transaction_and_its_place(place: Town) -> None:
    ledger = place.ledger
    first = ledger.pays(place.alice, place.bob, 1, "alice")
    second = ledger.pays(place.alice, place.bob, 2, "alice")
    height = ledger.height + 1
    _, outcome = ledger.play(first, second)
    wanted = checked(second)
    assert (outcome.version, outcome.lane, outcome.height, outcome.index) == (1, 0, height, 1)
    assert (outcome.body_id, outcome.digest) == (wanted.body_id, wanted.digest)
    assert (outcome.kind, outcome.account, outcome.id) == (3, place.alice, second.id)


def test_money_received_earlier_in_the_same_block_can_be_spent(place: Town) -> None:
    ledger = place.ledger
    outcomes = ledger.play(
        ledger.pays(place.alice, place.bob, 400, "alice"),
        ledger.pays(place.bob, place.alice, 400, "bob"),
    )
    assert [outcome.status for outcome in outcomes] == [Status.SETTLED, Status.SETTLED]
    assert ledger.balance(place.bob) == 0


def test_an_account_opened_earlier_in_the_same_block_can_receive(place: Town) -> None:
    ledger = place.ledger
    serial = 2
    carol = account_id(ledger.chain, BANK_A, serial)
    opened, paid = ledger.play(
        ledger.opens(BANK_A, "a", ["carol"]), ledger.pays(place.alice, carol, 5, "alice")
    )
    assert (opened.opened, opened.kind) == (carol, 1)
    assert paid.status == Status.SETTLED
    assert ledger.accounts[carol].serial == serial


def test_funds_suffice_at_the_amount_and_not_one_below(place: Town) -> None:
    ledger = place.ledger
    ledger.play(ledger.pays(place.alice, place.bob, 10, "alice"))
    over, exact = ledger.play(
        ledger.pays(place.bob, place.alice, 11, "bob"),
        ledger.pays(place.bob, place.alice, 10, "bob"),
    )
    assert reason_of(over) is RejectReason.INSUFFICIENT_FUNDS
    assert len(over.findings) == 2, "the rules ran before the funds were looked at"
    assert exact.status == Status.SETTLED


def test_every_reason_of_a_transfer(place: Town) -> None:
    ledger, alice, bob = place.ledger, place.alice, place.bob
    nobody = h("nobody")[:20]
    plays = {
        RejectReason.UNKNOWN_ACCOUNT: ledger.pays(nobody, bob, 1, "alice"),
        RejectReason.WRONG_KEYS: ledger.pays(alice, bob, 1, "bob"),
        RejectReason.UNKNOWN_CREDITOR: ledger.pays(alice, nobody, 1, "alice"),
        RejectReason.UNKNOWN_ASSET: ledger.pays(alice, bob, 1, "alice", asset="GBP"),
        RejectReason.SAME_ACCOUNT: ledger.pays(alice, alice, 1, "alice"),
        RejectReason.CAP_PER_PAYMENT: ledger.pays(alice, bob, 501, "alice"),
        RejectReason.INSUFFICIENT_FUNDS: ledger.pays(bob, alice, 1, "bob"),
    }
    before = {name: ledger.balance(name) for name in (alice, bob)}
    outcomes = ledger.play(*plays.values())
    assert [reason_of(outcome) for outcome in outcomes] == list(plays)
    assert {outcome.status for outcome in outcomes} == {Status.REJECTED}
    assert before == {name: ledger.balance(name) for name in (alice, bob)}


def test_no_money_of_an_asset_ever_held_is_the_same_as_too_little(place: Town) -> None:
    (outcome,) = place.ledger.play(place.ledger.pays(place.bob, place.alice, 1, "bob", asset="EUR"))
    assert reason_of(outcome) is RejectReason.INSUFFICIENT_FUNDS


def test_settle_by_is_inclusive_and_then_the_payment_expires(place: Town) -> None:
    ledger, time = place.ledger, place.ledger.time_ms
    late, just, none = ledger.play(
        ledger.pays(place.alice, place.bob, 1, "alice", settle_by_ms=time - 1),
        ledger.pays(place.alice, place.bob, 1, "alice", settle_by_ms=time),
        ledger.pays(place.alice, place.bob, 1, "alice"),
    )
    assert (late.status, reason_of(late)) == (Status.EXPIRED, RejectReason.SETTLE_BY_PASSED)
    assert late.findings == ()
    assert just.status == none.status == Status.SETTLED


def test_an_expired_payment_is_expired_whatever_else_is_wrong_with_it(place: Town) -> None:
    ledger = place.ledger
    (outcome,) = ledger.play(
        ledger.pays(place.alice, place.alice, 9_999, "alice", asset="GBP", settle_by_ms=1)
    )
    assert outcome.status == Status.EXPIRED


# -- exactly once --


def test_the_same_transaction_again_makes_a_block_invalid(place: Town) -> None:
    ledger = place.ledger
    payment = ledger.pays(place.alice, place.bob, 1, "alice")
    ledger.play(payment)
    assert check_block(ledger, ledger.block(payment)) is RejectReason.ALREADY_ORDERED


def test_a_rejected_transaction_is_consumed_too(place: Town) -> None:
    ledger = place.ledger
    payment = ledger.pays(place.alice, place.bob, 501, "alice")
    ledger.play(payment)
    assert check_block(ledger, ledger.block(payment)) is RejectReason.ALREADY_ORDERED


def test_the_same_transaction_twice_in_one_block_is_invalid(place: Town) -> None:
    ledger = place.ledger
    payment = ledger.pays(place.alice, place.bob, 1, "alice")
    assert check_block(ledger, ledger.block(payment, payment)) is RejectReason.ALREADY_ORDERED


def test_the_same_digest_under_two_keys_may_not_share_a_block(place: Town) -> None:
    ledger = place.ledger
    payment = ledger.pays(place.alice, place.bob, 1, "alice")
    forged = replace(payment, witnesses=signed_by("mallory"))
    assert check_block(ledger, ledger.block(forged, payment)) is RejectReason.ALREADY_ORDERED


def test_a_foreign_key_first_does_not_burn_the_digest_or_the_id(place: Town) -> None:
    """A hostile member signs Alice's message with a key of his own and orders that body first."""
    ledger = place.ledger
    payment = ledger.pays(place.alice, place.bob, 7, "alice")
    forged = replace(payment, witnesses=signed_by("mallory"))
    assert checked(forged).digest == checked(payment).digest
    (refused,) = ledger.play(forged)
    assert reason_of(refused) is RejectReason.WRONG_KEYS
    assert check_block(ledger, ledger.block(forged)) is RejectReason.ALREADY_ORDERED

    (settled,) = ledger.play(payment)
    assert settled.status == Status.SETTLED
    again = replace(payment, witnesses=signed_by("trudy"))
    assert check_block(ledger, ledger.block(again)) is RejectReason.ALREADY_ORDERED, (
        "once the digest has its outcome, no key brings it back"
    )


def test_a_second_payment_under_a_used_id_is_told_so_and_moves_nothing(place: Town) -> None:
    ledger = place.ledger
    first = ledger.pays(place.alice, place.bob, 1, "alice")
    second = ledger.pays(place.alice, place.bob, 2, "alice", payment_id=first.id)
    third = ledger.pays(place.alice, place.bob, 3, "alice", payment_id=first.id)
    settled, same_block = ledger.play(first, second)
    (later_block,) = ledger.play(third)
    assert settled.status == Status.SETTLED
    assert reason_of(same_block) is reason_of(later_block) is RejectReason.ID_TAKEN
    assert ledger.balance(place.bob) == 1
    assert ledger.ids[place.alice + first.id] == checked(first).digest
    assert checked(second).body_id in ledger.bodies


def test_a_rejected_payment_keeps_its_id(place: Town) -> None:
    ledger = place.ledger
    first = ledger.pays(place.alice, place.bob, 501, "alice")
    second = ledger.pays(place.alice, place.bob, 2, "alice", payment_id=first.id)
    ledger.play(first)
    (outcome,) = ledger.play(second)
    assert reason_of(outcome) is RejectReason.ID_TAKEN


def test_two_accounts_may_use_the_same_id(place: Town) -> None:
    ledger = place.ledger
    first = ledger.pays(place.alice, place.bob, 3, "alice")
    second = ledger.pays(place.bob, place.alice, 2, "bob", payment_id=first.id)
    assert [outcome.status for outcome in ledger.play(first, second)] == [1, 1]


def test_the_window_of_the_deadline_commits_to_what_was_consumed(place: Town) -> None:
    ledger = place.ledger
    start = ledger.time_ms + 600_000
    good = ledger.pays(place.alice, place.bob, 1, "alice", until_ms=start)
    bad = ledger.pays(place.alice, place.bob, 2, "mallory", until_ms=start + 59_999)
    other = ledger.pays(place.alice, place.bob, 3, "alice", until_ms=start + 60_000)
    ledger.play(good, other, bad)
    pieces = b"".join(
        one.transaction.account + one.transaction.id + one.digest + flag + one.body_id
        for one, flag in ((checked(good), b"\1"), (checked(bad), b"\0"))
    )
    running = Tag(b"tallystick/window").hash(bytes(32) + pieces)
    window = OPEN_WINDOW.decode(ledger.records[window_key(start)])
    assert window == OpenWindow(2, 1, running)
    assert OPEN_WINDOW.decode(ledger.records[window_key(start + 60_000)]).count == 1

    later = ledger.pays(place.alice, place.bob, 4, "alice", until_ms=start)
    ledger.play(later)
    one = checked(later)
    grown = OPEN_WINDOW.decode(ledger.records[window_key(start)])
    piece = one.transaction.account + one.transaction.id + one.digest + b"\1" + one.body_id
    assert grown == OpenWindow(3, 2, Tag(b"tallystick/window").hash(running + piece))


# -- who may do what --


def test_exactly_the_threshold_of_keys_signs() -> None:
    place = town()
    ledger = place.ledger
    (opened,) = ledger.play(ledger.opens(BANK_A, "a", ["x", "y", "z"], threshold=2))
    joint = opened.opened
    ledger.play(ledger.issues(joint, 100))

    def reason(*signers: str) -> RejectReason | None:
        (outcome,) = ledger.play(ledger.pays(joint, place.bob, 1, *signers))
        return reason_of(outcome)

    assert reason("x") is RejectReason.WRONG_KEYS
    assert reason("x", "y", "z") is RejectReason.WRONG_KEYS
    assert reason("x", "mallory") is RejectReason.WRONG_KEYS
    assert reason("x", "x") is RejectReason.WRONG_KEYS
    assert reason() is RejectReason.WRONG_KEYS
    assert reason("x", "z") is None


def test_one_signature_too_many_is_wrong_even_beside_the_right_one(place: Town) -> None:
    ledger = place.ledger
    payments = [ledger.pays(place.alice, place.bob, 1, "alice") for _ in range(2)]
    right, foreign = signed_by("alice") + signed_by("mallory")
    outcomes = ledger.play(
        replace(payments[0], witnesses=(right, foreign)),
        replace(payments[1], witnesses=(foreign, right)),
    )
    assert [reason_of(outcome) for outcome in outcomes] == [RejectReason.WRONG_KEYS] * 2


def test_only_a_root_account_opens_accounts_and_serials_count_up(place: Town) -> None:
    ledger = place.ledger
    by_alice = replace(
        ledger.opens(BANK_A, "a", ["k"]), account=place.alice, witnesses=signed_by("alice")
    )
    no, two, three = ledger.play(
        by_alice, ledger.opens(BANK_A, "a", ["k"], tier=0), ledger.opens(BANK_A, "a", ["k"])
    )
    assert reason_of(no) is RejectReason.NOT_PERMITTED
    assert no.opened == b""
    serials = [ledger.accounts[outcome.opened].serial for outcome in (two, three)]
    assert serials == [2, 3]
    assert ledger.accounts[two.opened].tier == 0
    assert ledger.accounts[two.opened].participant == BANK_A


def test_a_root_account_pays_and_receives_like_any_other(place: Town) -> None:
    ledger = place.ledger
    root = ledger.root(BANK_B)
    assert [
        outcome.status
        for outcome in ledger.play(
            ledger.pays(place.alice, root, 400, "alice"), ledger.pays(root, place.bob, 400, "b")
        )
    ] == [1, 1]
    assert ledger.balance(place.bob) == 400


def test_only_the_issuers_root_account_issues(place: Town) -> None:
    ledger = place.ledger
    foreign = ledger.issues(place.alice, 1, issuer=BANK_A, signer="a")
    (opened,) = ledger.play(ledger.opens(CENTRAL_BANK, "cb", ["clerk"]))
    clerk = replace(
        ledger.issues(place.alice, 1), account=opened.opened, witnesses=signed_by("clerk")
    )
    unknown = ledger.issues(place.alice, 1, "GBP")
    nobody = ledger.issues(h("nobody")[:20], 1)
    reasons = [reason_of(outcome) for outcome in ledger.play(foreign, clerk, unknown, nobody)]
    assert reasons == [
        RejectReason.NOT_ISSUER,
        RejectReason.NOT_ISSUER,
        RejectReason.UNKNOWN_ASSET,
        RejectReason.UNKNOWN_CREDITOR,
    ]


def test_supply_reaches_its_cap_and_not_one_more() -> None:
    place = town(usd=999_990, eur=0)
    ledger = place.ledger
    over, exact, one = ledger.play(
        ledger.issues(place.bob, 11), ledger.issues(place.bob, 10), ledger.issues(place.bob, 1)
    )
    assert reason_of(over) is RejectReason.SUPPLY_CAP
    assert exact.status == Status.SETTLED
    assert reason_of(one) is RejectReason.SUPPLY_CAP
    assert exact.findings == ()


# -- what a block may be --


@pytest.mark.parametrize(
    ("offset_ms", "reason"),
    [
        (-1, RejectReason.PAST_DEADLINE),
        (0, None),
        (86_400_000, None),
        (86_400_001, RejectReason.TOO_FAR_DEADLINE),
    ],
)
def test_a_deadline_is_inclusive_at_both_ends(
    place: Town, offset_ms: int, reason: RejectReason | None
) -> None:
    ledger = place.ledger
    payment = ledger.pays(place.alice, place.bob, 1, "alice", until_ms=ledger.time_ms + offset_ms)
    assert check_block(ledger, ledger.block(payment)) is reason


def test_a_block_for_another_chain_or_lane_is_invalid(place: Town) -> None:
    ledger = place.ledger
    payment = ledger.pays(place.alice, place.bob, 1, "alice")
    for changed, reason in (
        (replace(payment, chain=ledger.chain + 1), RejectReason.WRONG_CHAIN),
        (replace(payment, lane=1), RejectReason.WRONG_LANE),
    ):
        assert check_block(ledger, ledger.block(changed)) is reason


def test_a_block_is_bounded_by_count_and_by_work() -> None:
    place = town(genesis_of(parameters=Parameters(block_transactions_max=3, block_work_max=42)))
    ledger = place.ledger
    payments = [ledger.pays(place.alice, place.bob, 1, "alice") for _ in range(4)]
    assert work_of(payments[0]) == 14
    assert check_block(ledger, ledger.block(*payments[:3])) is None
    assert check_block(ledger, ledger.block(*payments)) is RejectReason.BLOCK_TOO_LARGE
    heavy = replace(payments[2], witnesses=signed_by("alice", "x"))
    block = ledger.block(*payments[:2], heavy)
    assert check_block(ledger, block) is RejectReason.BLOCK_TOO_LARGE


def test_a_transaction_heavier_than_the_bound_still_gets_a_block_of_its_own() -> None:
    place = town(genesis_of(parameters=Parameters(block_work_max=30)))
    ledger = place.ledger
    heavy = ledger.pays(place.alice, place.bob, 1, "x", "y", "z")
    assert work_of(heavy) > 30
    assert check_block(ledger, ledger.block(heavy)) is None


def test_work_counts_signatures_and_new_keys(place: Town) -> None:
    opening = place.ledger.opens(BANK_A, "a", ["k1", "k2", "k3"])
    assert work_of(opening) == 10 + 4 + 3


def test_an_empty_block_changes_nothing(place: Town) -> None:
    block = place.ledger.block()
    assert check_block(place.ledger, block) is None
    result = execute_block(place.ledger, block)
    assert result == BlockResult({}, {}, [], [], {}, [], {})


def test_execution_never_touches_what_the_state_lent(place: Town) -> None:
    ledger = place.ledger
    before = {name: account.encode() for name, account in ledger.accounts.items()}
    execute_block(ledger, ledger.block(ledger.pays(place.alice, place.bob, 5, "alice")))
    assert before == {name: account.encode() for name, account in ledger.accounts.items()}


def test_only_what_changed_is_written(place: Town) -> None:
    ledger = place.ledger
    rejected = ledger.pays(place.alice, place.bob, 501, "alice")
    settled = ledger.pays(place.alice, ledger.root(BANK_B), 5, "alice")
    assert execute_block(ledger, ledger.block(rejected)).accounts == {}
    written = execute_block(ledger, ledger.block(settled)).accounts
    assert set(written) == {place.alice, ledger.root(BANK_B)}


def test_a_hundred_hostile_transfers_get_a_hundred_outcomes(place: Town) -> None:
    """Total: whatever fits the types gets an outcome."""
    ledger = place.ledger
    extremes = [1, 2**63 - 1]
    names = [place.alice, place.bob, bytes(20), b"\xff" * 20, ledger.root(BANK_A)]
    payments: list[Transfer] = [
        ledger.pays(debtor, creditor, amount, "alice", asset=asset, settle_by_ms=settle_by)
        for debtor in names
        for creditor in names
        for amount in extremes
        for asset, settle_by in (("USD", 0), ("ZZZZZZZZZZZZ", 2**53 - 1))
    ]
    outcomes = ledger.play(*payments)
    assert len(outcomes) == len(payments) == 100
