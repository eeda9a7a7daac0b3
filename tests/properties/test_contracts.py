"""Contracts against a plain model: balances, supply, exactly once, rolling totals, and nothing but order and time.

The model keeps a list of settled payments and adds it up anew for every decision: slow, and plainly right.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.contracts import Account, check_block, execute_block
from tallystick.contracts.aml.windows import BUCKETS, Window
from tallystick.contracts.state import ASSET, asset_key
from tallystick.network.proofs.receipts import Outcome
from tallystick.network.wire.bounds import AMOUNT_MINOR_MAX
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Issue, Transaction, Transfer
from tests.unit.contracts.ledger import (
    BANK_A,
    BANK_B,
    HOUR_MS,
    Ledger,
    checked,
    h,
    reason_of,
    rules,
    signed_by,
    town,
)

SIGNERS = ("alice", "bob", "a", "mallory")
ASSETS = ("USD", "EUR", "GBP")
LIMITS = {(rule.rule, rule.asset, rule.tier): rule.limit_minor for rule in rules()}


@dataclass(frozen=True)
class Intent:
    """What somebody tries: indexes into the accounts, so that shrinking stays readable."""

    debtor: int
    creditor: int
    amount: int
    asset: str
    signer: str | None
    """None: the right one."""
    repeats_id: bool
    settle_by_offset_ms: int | None


INTENTS = st.builds(
    Intent,
    debtor=st.integers(0, 3),
    creditor=st.integers(0, 3),
    amount=st.one_of(st.integers(1, 700), st.sampled_from([500, 501, 1000, 5000, 5001])),
    asset=st.sampled_from(("USD", "USD", "EUR", "GBP")),
    signer=st.sampled_from((None, None, None, None, *SIGNERS)),
    repeats_id=st.sampled_from((False, False, False, True)),
    settle_by_offset_ms=st.sampled_from((None, None, None, -1, 0, 1)),
)
BLOCKS = st.lists(
    st.tuples(
        st.sampled_from((0, 1, HOUR_MS // 2, HOUR_MS, 23 * HOUR_MS)), st.lists(INTENTS, max_size=8)
    ),
    max_size=10,
)


@dataclass
class Model:
    """The ledger as an accountant would keep it."""

    keys: dict[bytes, str]
    tiers: dict[bytes, int]
    balances: dict[tuple[bytes, str], int] = field(default_factory=dict)
    ids: set[tuple[bytes, bytes]] = field(default_factory=set)
    settled: list[tuple[int, bytes, str, int]] = field(default_factory=list)

    def decide(self, payment: Transfer, signer: str, time_ms: int) -> RejectReason | None:
        debtor, asset, amount = payment.account, payment.asset, payment.amount_minor
        if debtor not in self.keys:
            return RejectReason.UNKNOWN_ACCOUNT
        if self.keys[debtor] != signer:
            return RejectReason.WRONG_KEYS
        if (debtor, payment.id) in self.ids:
            return RejectReason.ID_TAKEN
        self.ids.add((debtor, payment.id))
        if payment.settle_by_ms and time_ms > payment.settle_by_ms:
            return RejectReason.SETTLE_BY_PASSED
        if asset == "GBP":
            return RejectReason.UNKNOWN_ASSET
        if debtor == payment.creditor:
            return RejectReason.SAME_ACCOUNT
        if payment.creditor not in self.keys:
            return RejectReason.UNKNOWN_CREDITOR
        if amount > LIMITS[1, asset, self.tiers[debtor]]:
            return RejectReason.CAP_PER_PAYMENT
        if self.sent(debtor, asset, time_ms) + amount > LIMITS[4, asset, self.tiers[debtor]]:
            return RejectReason.ROLLING_TOTAL
        if self.balances.get((debtor, asset), 0) < amount:
            return RejectReason.INSUFFICIENT_FUNDS
        self.move(debtor, asset, -amount)
        self.move(payment.creditor, asset, amount)
        self.settled.append((time_ms // HOUR_MS, debtor, asset, amount))
        return None

    def move(self, account: bytes, asset: str, amount: int) -> None:
        self.balances[account, asset] = self.balances.get((account, asset), 0) + amount

    def sent(self, debtor: bytes, asset: str, time_ms: int) -> int:
        now = time_ms // HOUR_MS
        return sum(
            amount
            for hour, who, what, amount in self.settled
            if (who, what) == (debtor, asset) and now - hour < 25
        )


def world() -> tuple[Ledger, Model, list[bytes]]:
    place = town(usd=2_000, eur=6_000)
    ledger = place.ledger
    root = ledger.root(BANK_A)
    model = Model(
        keys={place.alice: "alice", place.bob: "bob", root: "a", ledger.root(BANK_B): "b"},
        tiers={place.alice: 2, place.bob: 2, root: 3, ledger.root(BANK_B): 3},
    )
    model.move(place.alice, "USD", 2_000)
    model.move(place.alice, "EUR", 6_000)
    return ledger, model, [place.alice, place.bob, root, h("nobody")[:20]]


def written_down(
    ledger: Ledger, names: list[bytes], intent: Intent, model: Model, last_id: bytes
) -> tuple[Transfer, str]:
    debtor = names[intent.debtor]
    signer = intent.signer or model.keys.get(debtor, "mallory")
    offset = intent.settle_by_offset_ms
    payment = ledger.pays(
        debtor,
        names[intent.creditor],
        intent.amount,
        signer,
        asset=intent.asset,
        settle_by_ms=0 if offset is None else ledger.time_ms + offset,
    )
    return (replace(payment, id=last_id) if intent.repeats_id else payment), signer


@settings(max_examples=120, deadline=None)
@given(BLOCKS)
def test_the_contracts_agree_with_the_plain_model(
    blocks: list[tuple[int, list[Intent]]],
) -> None:
    ledger, model, names = world()
    last_id = h("first")
    for later_ms, intents in blocks:
        ledger.time_ms += later_ms
        payments: list[Transaction] = []
        expected: list[RejectReason | None] = []
        for intent in intents:
            payment, signer = written_down(ledger, names, intent, model, last_id)
            if {checked(payment).digest} & {checked(other).digest for other in payments} or (
                ledger.ids.get(payment.account + payment.id) == checked(payment).digest
                or checked(payment).body_id in ledger.bodies
            ):
                continue  # a repeat makes the block invalid; the unit tests cover it
            last_id = payment.id
            payments.append(payment)
            expected.append(model.decide(payment, signer, ledger.time_ms))
        outcomes = ledger.play(*payments)
        assert [reason_of(outcome) for outcome in outcomes] == expected
        _compare(ledger, model, names)
        _every_finding_is_true(outcomes)


def _compare(ledger: Ledger, model: Model, names: list[bytes]) -> None:
    for asset, supply in (("USD", 2_000), ("EUR", 6_000)):
        held = {name: account.balances.get(asset, 0) for name, account in ledger.accounts.items()}
        assert sum(held.values()) == supply
        assert min(held.values()) >= 0
        assert ASSET.decode(ledger.records[asset_key(asset)]).supply_minor == supply
        for name in names[:3]:
            assert held[name] == model.balances.get((name, asset), 0)
            window = ledger.accounts[name].sent.get(asset)
            hour = ledger.time_ms // HOUR_MS
            sent = window.sent_minor(hour) if window else 0
            assert sent == model.sent(name, asset, ledger.time_ms)
    for account in ledger.accounts.values():
        assert Account.decode(account.encode(), account.seed) == account


def _every_finding_is_true(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        ran = reason_of(outcome) in {
            None,
            RejectReason.CAP_PER_PAYMENT,
            RejectReason.ROLLING_TOTAL,
            RejectReason.INSUFFICIENT_FUNDS,
        }
        assert [finding.rule for finding in outcome.findings] == ([1, 4] if ran else [])
        for finding in outcome.findings:
            assert (finding.outcome == 0) == (finding.observed_minor <= finding.threshold_minor)


@settings(max_examples=60, deadline=None)
@given(st.lists(INTENTS, min_size=1, max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_outcomes_depend_on_order_and_time_not_on_how_the_blocks_are_cut(
    intents: list[Intent], cuts: list[int]
) -> None:
    whole, model, names = world()
    pieces, _, _ = world()
    payments = [written_down(whole, names, intent, model, b"")[0] for intent in intents]
    payments = [payment for payment in payments if len(payment.id) == 32]
    edges = sorted({0, len(payments), *(cut for cut in cuts if cut < len(payments))})
    one = whole.play(*payments)
    many = [
        outcome for start, end in pairwise(edges) for outcome in pieces.play(*payments[start:end])
    ]
    assert [(o.digest, o.status, o.reason, o.findings) for o in one] == [
        (o.digest, o.status, o.reason, o.findings) for o in many
    ]
    assert whole.accounts == pieces.accounts
    assert whole.ids == pieces.ids
    assert whole.bodies == pieces.bodies


@settings(max_examples=60, deadline=None)
@given(st.lists(INTENTS, max_size=8))
def test_the_same_block_gives_the_same_bytes(intents: list[Intent]) -> None:
    ledger, model, names = world()
    payments = [written_down(ledger, names, intent, model, h("x"))[0] for intent in intents]
    unique = list({checked(payment).digest: payment for payment in payments}.values())
    block = ledger.block(*unique)
    assert check_block(ledger, block) is None
    assert execute_block(ledger, block) == execute_block(ledger, block)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.booleans(), st.booleans()), max_size=8))
def test_issues_conserve_supply_up_to_any_cap(amounts: list[tuple[int, bool, bool]]) -> None:
    ledger, _, names = world()
    ledger.records[asset_key("USD")] = ASSET.encode(
        replace(ASSET.decode(ledger.records[asset_key("USD")]), supply_cap_minor=AMOUNT_MINOR_MAX)
    )
    issues: list[Issue] = []
    for amount, foreign, to_bob in amounts:
        issue = ledger.issues(names[int(to_bob)], amount)
        issues.append(replace(issue, witnesses=signed_by("mallory")) if foreign else issue)
    outcomes = ledger.play(*issues)
    issued = sum(
        issue.amount_minor
        for issue, outcome in zip(issues, outcomes, strict=True)
        if outcome.status == 1
    )
    supply = ASSET.decode(ledger.records[asset_key("USD")]).supply_minor
    held = sum(account.balances.get("USD", 0) for account in ledger.accounts.values())
    assert held == supply == 2_000 + issued <= AMOUNT_MINOR_MAX


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.one_of(st.integers(1, 9), st.just(AMOUNT_MINOR_MAX))),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 40),
)
def test_a_window_is_the_saturated_sum_of_its_last_25_hours(
    payments: list[tuple[int, int]], later: int
) -> None:
    hour, window = 1_000, None
    history: list[tuple[int, int]] = []
    for gap, amount in payments:
        hour += gap
        window = window.with_payment(hour, amount) if window else Window(hour, amount, 0)
        history.append((hour, amount))
        window.check()
    assert window is not None
    at = hour + later
    wanted = sum(amount for when, amount in history if at - when < BUCKETS)
    assert window.sent_minor(at) == min(AMOUNT_MINOR_MAX, wanted)
