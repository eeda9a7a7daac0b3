"""R01 and R04 at threshold -1, =, +1; hours rolling over; two currencies; what is missing; what the receipt says."""

import pytest

from tallystick.contracts.aml import Limits, Payment, RuleOutcome, active_rules, explain, headroom
from tallystick.contracts.aml.evaluate import evaluate
from tallystick.contracts.aml.rule_set import RULES, RulesRecord, VersionedRule, record_of
from tallystick.contracts.aml.rules.amounts import PaymentCap
from tallystick.contracts.aml.rules.totals import RollingTotal
from tallystick.network.proofs.receipts import Finding, Outcome, Status
from tallystick.network.wire.bounds import AMOUNT_MINOR_MAX
from tallystick.network.wire.genesis import RuleEntry
from tallystick.network.wire.reasons import RejectReason
from tests.unit.contracts.ledger import (
    CAP,
    HOUR_MS,
    LIMIT,
    START_MS,
    Town,
    genesis_of,
    reason_of,
    town,
)

ALLOW, HOLD, REJECT = int(RuleOutcome.ALLOW), int(RuleOutcome.HOLD), int(RuleOutcome.REJECT)


@pytest.fixture
def place() -> Town:
    return town()


def pay(place: Town, amount: int, asset: str = "USD", at_ms: int | None = None) -> Outcome:
    ledger = place.ledger
    if at_ms is not None:
        ledger.time_ms = at_ms
    (outcome,) = ledger.play(ledger.pays(place.alice, place.bob, amount, "alice", asset=asset))
    return outcome


# -- R01 --


@pytest.mark.parametrize(
    ("amount", "finding", "reason"),
    [
        (CAP - 1, Finding(1, 1, ALLOW, CAP - 1, CAP, 1), None),
        (CAP, Finding(1, 1, ALLOW, CAP, CAP, 0), None),
        (CAP + 1, Finding(1, 1, REJECT, CAP + 1, CAP, 0), RejectReason.CAP_PER_PAYMENT),
    ],
)
def test_the_cap_allows_the_amount_itself_and_not_one_more(
    place: Town, amount: int, finding: Finding, reason: RejectReason | None
) -> None:
    outcome = pay(place, amount)
    assert outcome.findings[0] == finding
    assert reason_of(outcome) is reason


# -- R04 --


@pytest.mark.parametrize(
    ("last", "finding", "reason"),
    [
        (299, Finding(4, 1, ALLOW, LIMIT - 1, LIMIT, 1), None),
        (300, Finding(4, 1, ALLOW, LIMIT, LIMIT, 0), None),
        (301, Finding(4, 1, HOLD, LIMIT + 1, LIMIT, 300), RejectReason.ROLLING_TOTAL),
    ],
)
def test_the_rolling_total_allows_the_limit_itself_and_not_one_more(
    place: Town, last: int, finding: Finding, reason: RejectReason | None
) -> None:
    pay(place, 500)
    pay(place, 200)
    outcome = pay(place, last)
    assert outcome.findings[1] == finding
    assert reason_of(outcome) is reason


def test_both_findings_stand_in_every_payments_receipt(place: Town) -> None:
    settled, capped = pay(place, 100), pay(place, 2_000)
    for outcome in (settled, capped):
        assert [finding.rule for finding in outcome.findings] == [1, 4]
    assert capped.findings[1] == Finding(4, 1, HOLD, 2_100, LIMIT, 900)
    assert reason_of(capped) is RejectReason.CAP_PER_PAYMENT, "REJECT is stronger than HOLD"


def test_payments_of_one_block_count_into_each_others_total(place: Town) -> None:
    ledger = place.ledger
    outcomes = ledger.play(
        *(ledger.pays(place.alice, place.bob, amount, "alice") for amount in (500, 500, 1))
    )
    assert [reason_of(outcome) for outcome in outcomes] == [None, None, RejectReason.ROLLING_TOTAL]
    assert [outcome.findings[1].observed_minor for outcome in outcomes] == [500, 1_000, 1_001]


def test_only_settled_payments_count() -> None:
    place = town(usd=100)
    for _ in range(3):
        assert reason_of(pay(place, 501)) is RejectReason.CAP_PER_PAYMENT
        assert reason_of(pay(place, 400)) is RejectReason.INSUFFICIENT_FUNDS
    outcome = pay(place, 100)
    assert outcome.status == Status.SETTLED
    assert outcome.findings[1].observed_minor == 100


def test_receiving_does_not_count(place: Town) -> None:
    ledger = place.ledger
    pay(place, 500)
    (outcome,) = ledger.play(ledger.pays(place.bob, place.alice, 10, "bob"))
    assert outcome.findings[1].observed_minor == 10


def test_two_currencies_have_windows_and_limits_of_their_own(place: Town) -> None:
    pay(place, 500)
    pay(place, 500)
    outcome = pay(place, 4_000, "EUR")
    assert outcome.status == Status.SETTLED
    assert outcome.findings == (
        Finding(1, 1, ALLOW, 4_000, 10 * CAP, 1_000),
        Finding(4, 1, ALLOW, 4_000, 10 * LIMIT, 6_000),
    )
    assert reason_of(pay(place, 1)) is RejectReason.ROLLING_TOTAL


@pytest.mark.parametrize(
    ("minutes_later", "remembered"),
    [
        (0, True),
        (23 * 60, True),
        (24 * 60, True),
        (24 * 60 + 29, True),
        (24 * 60 + 30, False),
        (48 * 60, False),
    ],
)
def test_an_hour_is_forgotten_when_the_hour_24_later_has_ended(
    place: Town, minutes_later: int, remembered: bool
) -> None:
    """Paid at half past: remembered for 24 hours in full and for at most 59 minutes more, never for less."""
    sent_ms = START_MS + HOUR_MS // 2
    pay(place, 500, at_ms=sent_ms)
    outcome = pay(place, 1, at_ms=sent_ms + minutes_later * 60_000)
    assert outcome.findings[1].observed_minor == (501 if remembered else 1)


def test_the_last_millisecond_of_an_hour_is_still_that_hour(place: Town) -> None:
    pay(place, 500, at_ms=START_MS + HOUR_MS - 1)
    pay(place, 400, at_ms=START_MS + HOUR_MS)
    assert pay(place, 1, at_ms=START_MS + 25 * HOUR_MS - 1).findings[1].observed_minor == 901
    assert pay(place, 1, at_ms=START_MS + 25 * HOUR_MS).findings[1].observed_minor == 402


def test_twenty_five_hours_in_a_row_fill_the_ring_and_the_26th_drops_the_first(
    place: Town,
) -> None:
    for hour in range(25):
        outcome = pay(place, 10 + hour, at_ms=START_MS + hour * HOUR_MS)
    assert outcome.findings[1].observed_minor == sum(range(10, 35))
    window = place.ledger.accounts[place.alice].sent["USD"]
    assert len(window.earlier) == 24
    outcome = pay(place, 1, at_ms=START_MS + 25 * HOUR_MS)
    assert outcome.findings[1].observed_minor == sum(range(11, 35)) + 1
    assert len(place.ledger.accounts[place.alice].sent["USD"].earlier) == 24


def test_blocks_of_equal_time_add_up(place: Town) -> None:
    pay(place, 500)
    pay(place, 500)
    assert reason_of(pay(place, 1)) is RejectReason.ROLLING_TOTAL


# -- what is missing --


def test_without_a_rule_nothing_may_leave_and_the_receipt_says_which_is_missing() -> None:
    only_cap = tuple(RuleEntry(rule, 1, asset, 2, 100) for rule, asset in ((1, "USD"), (4, "EUR")))
    place = town(genesis_of(only_cap))
    usd, eur = pay(place, 1), pay(place, 1, "EUR")
    assert reason_of(usd) is reason_of(eur) is RejectReason.MISSING_RULE
    assert usd.findings == (Finding(1, 1, ALLOW, 1, 100, 99), Finding(4, 0, HOLD, 1, 0, 0))
    assert eur.findings == (Finding(1, 0, HOLD, 1, 0, 0), Finding(4, 1, ALLOW, 1, 100, 99))


def test_rules_of_another_tier_do_not_stand_in() -> None:
    assert reason_of(pay(town(tier=1), 1)) is RejectReason.MISSING_RULE


def test_a_limit_of_zero_is_a_limit_and_not_a_missing_one() -> None:
    zero = tuple(RuleEntry(rule, 1, asset, 2, 0) for rule in (1, 4) for asset in ("USD", "EUR"))
    assert reason_of(pay(town(genesis_of(zero)), 1)) is RejectReason.CAP_PER_PAYMENT


# -- evaluation by itself --


def test_a_saturated_sum_exceeds_every_limit_and_never_raises() -> None:
    limits = Limits(PaymentCap(1, AMOUNT_MINOR_MAX), RollingTotal(1, AMOUNT_MINOR_MAX))
    full = evaluate(limits, Payment(AMOUNT_MINOR_MAX, 0))
    over = evaluate(limits, Payment(1, AMOUNT_MINOR_MAX))
    assert full.reason is None
    assert over.reason is RejectReason.ROLLING_TOTAL
    assert over.findings[1] == Finding(4, 1, HOLD, AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX, 0)


def test_headroom_is_zero_when_the_sum_is_already_above_a_lowered_limit() -> None:
    decision = evaluate(Limits(PaymentCap(1, 10), RollingTotal(2, 5)), Payment(1, 8))
    assert decision.findings[1] == Finding(4, 2, HOLD, 9, 5, 0)


def test_a_new_version_holds_from_its_height_and_old_heights_keep_the_old_one() -> None:
    entries = (
        VersionedRule(1, 1, 0, "USD", 2, 100),
        VersionedRule(1, 2, 10, "USD", 2, 50),
        VersionedRule(1, 3, 20, "USD", 2, 70),
    )
    record = RULES.encode(RulesRecord(1, entries))
    found = [active_rules(record, height)["USD", 2].cap for height in (0, 9, 10, 19, 20, 99)]
    assert [(cap.version, cap.limit_minor) for cap in found if cap] == [
        (1, 100),
        (1, 100),
        (2, 50),
        (2, 50),
        (3, 70),
        (3, 70),
    ]


def test_the_record_of_rules_does_not_depend_on_their_order_in_genesis() -> None:
    entries = [
        RuleEntry(4, 1, "USD", 2, 5),
        RuleEntry(1, 1, "EUR", 0, 6),
        RuleEntry(1, 1, "USD", 2, 7),
    ]
    assert record_of(entries) == record_of(reversed(entries))


# -- in words --


def test_a_finding_explains_itself(place: Town) -> None:
    sentences = [explain(finding) for finding in pay(place, 501).findings]
    assert sentences[0] == (
        "R01 version 1 observed 501 of at most 500 minor units (the amount of one payment): REJECT, headroom 0."
    )
    assert "whole hours" in sentences[1]
    assert "no limit is set" in explain(Finding(4, 0, HOLD, 1, 0, 0))


def test_headroom_is_what_the_next_payment_may_be(place: Town) -> None:
    pay(place, 500)
    pay(place, 300)
    ledger = place.ledger
    account = ledger.accounts[place.alice]
    rules = active_rules(ledger.record(b"rules"), ledger.height)
    room = headroom(rules, account.tier, account.sent, "USD", ledger.time_ms)
    assert (room.cap_minor, room.limit_minor, room.sent_minor, room.headroom_minor) == (
        CAP,
        LIMIT,
        800,
        200,
    )
    assert reason_of(pay(place, room.headroom_minor + 1)) is RejectReason.ROLLING_TOTAL
    assert pay(place, room.headroom_minor).status == Status.SETTLED
    assert headroom(rules, 0, account.sent, "USD", ledger.time_ms).headroom_minor == 0
