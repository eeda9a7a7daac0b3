"""Records, their one encoding, the first state, and the invariants that halt us."""

import pytest
from msgspec.structs import replace

from tallystick.contracts import (
    Account,
    account_key,
    asset_key,
    first_state,
    participant_key,
)
from tallystick.contracts.aml.windows import BUCKETS, Window
from tallystick.contracts.invariants import check_consumed_once, check_supply
from tallystick.contracts.state import (
    ACCOUNT,
    ASSET,
    MEMBERS_KEY,
    PARTICIPANT,
    RULES_KEY,
    Asset,
    BlockResult,
    Participant,
    own,
)
from tallystick.network.proofs.windows import ENTRY_BYTES, WINDOWS_KEY
from tallystick.network.wire.bounds import AMOUNT_MINOR_MAX, ASSETS_MAX
from tallystick.network.wire.faults import InvariantError, Refused
from tallystick.network.wire.genesis import (
    AssetEntry,
    Genesis,
    RuleEntry,
    account_id,
    chain_of,
    genesis_hash,
)
from tallystick.network.wire.ids import ParticipantId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.fields import field_fault, keys_fault
from tests.unit.contracts.ledger import BANK_A, Ledger, genesis_of, key_of, town

SEED = bytes(range(16))


def account(**changes: object) -> Account:
    plain = Account(2, 7, 2, 1, (key_of("x"),), SEED, {"USD": 5}, {"USD": Window(40, 3, 0)})
    return replace(plain, **changes)


def test_the_key_schema_is_what_the_formats_say() -> None:
    assert account_key(b"\1" * 20) == b"account/" + b"\1" * 20
    assert asset_key("USD") == b"asset/USD"
    assert participant_key(258) == b"participant/\x00\x00\x01\x02"
    assert RULES_KEY == b"rules"


def test_an_account_comes_back_equal_and_its_seed_is_not_in_the_record() -> None:
    one = account(balances={"USD": 1, "EUR": 0}, sent={"USD": Window(9, 1, 5, ((7, 2), (8, 3)))})
    assert Account.decode(one.encode(), SEED) == one
    assert SEED not in one.encode()


def test_the_encoding_does_not_depend_on_the_order_in_which_assets_came() -> None:
    windows = {"USD": Window(1, 1, 0), "EUR": Window(2, 2, 0)}
    one = account(balances={"USD": 1, "EUR": 2}, sent=windows)
    two = account(balances={"EUR": 2, "USD": 1}, sent=dict(reversed(windows.items())))
    assert one.encode() == two.encode()


def test_a_copy_changes_alone() -> None:
    one = account()
    two = one.copy()
    two.balances["USD"] -= 5
    two.sent["EUR"] = Window(1, 1, 0)
    assert one == account()


def test_the_largest_account_fits_its_bound() -> None:
    codes = [f"ASSET{n:07d}" for n in range(ASSETS_MAX)]
    window = Window(
        2**52,
        AMOUNT_MINOR_MAX,
        AMOUNT_MINOR_MAX,
        tuple((2**52 - k, 2**62) for k in range(24, 0, -1)),
    )
    largest = account(
        keys=tuple(sorted(key_of(str(n)) for n in range(10))),
        balances=dict.fromkeys(codes, AMOUNT_MINOR_MAX),
        sent=dict.fromkeys(codes, window),
    )
    encoded = largest.encode()
    assert len(encoded) <= ACCOUNT.bytes_max
    assert Account.decode(encoded, SEED) == largest


@pytest.mark.parametrize(
    "window",
    [
        Window(40, 1, 5, ((39, 2), (38, 3))),
        Window(40, 1, 4, ((39, 2), (39, 2))),
        Window(40, 1, 2, ((40, 2),)),
        Window(40, 1, 2, ((15, 2),)),
        Window(40, 1, 3, ((39, 2),)),
    ],
    ids=["unsorted", "twice", "not earlier", "too old", "wrong sum"],
)
def test_a_window_that_no_payment_could_have_made_is_refused(window: Window) -> None:
    with pytest.raises(Refused) as refused:
        Account.decode(account(sent={"USD": window}).encode(), SEED)
    assert refused.value.reason is RejectReason.NON_CANONICAL


def test_the_oldest_bucket_of_the_ring_is_accepted() -> None:
    window = Window(40, 1, 2, ((40 - BUCKETS + 1, 2),))
    assert Account.decode(account(sent={"USD": window}).encode(), SEED).sent == {"USD": window}


def test_unsorted_or_repeated_assets_are_refused() -> None:
    for codes in (["USD", "EUR"], ["EUR", "EUR"]):
        value = ACCOUNT.encode((1, 2, 7, 2, 1, (key_of("x"),), [(c, 1) for c in codes], []))
        with pytest.raises(Refused):
            Account.decode(value, SEED)


def test_truncated_and_trailing_bytes_are_refused() -> None:
    value = account().encode()
    for bad in (value[:-1], value + b"\0", b""):
        with pytest.raises(Refused):
            Account.decode(bad, SEED)


def test_a_bucket_and_a_sum_saturate() -> None:
    window = Window(40, AMOUNT_MINOR_MAX - 1, 0)
    full = window.with_payment(40, 2)
    assert full.current_minor == AMOUNT_MINOR_MAX
    assert full.with_payment(41, 2).sent_minor(41) == AMOUNT_MINOR_MAX
    assert full.with_payment(41, 2).sent_minor(66) == 0
    assert full.with_payment(41, 2).sent_minor(65) == 2


def test_a_block_time_that_ran_back_would_count_into_the_latest_hour() -> None:
    window = Window(40, 5, 0).with_payment(39, 1)
    assert window == Window(40, 6, 0)
    assert window.sent_minor(39) == 6


# -- the first state --


def test_the_first_state_has_root_accounts_assets_and_rules() -> None:
    genesis = genesis_of()
    chain = chain_of(genesis_hash(genesis))
    result = first_state(genesis)
    roots = {account_id(chain, entry.id, 0): entry for entry in genesis.participants}
    assert set(result.accounts) == set(roots)
    for name, entry in roots.items():
        root = result.accounts[name]
        assert (root.participant, root.serial, root.tier) == (entry.id, 0, 3)
        assert (root.keys, root.threshold, root.seed) == (entry.keys, entry.threshold, entry.seed)
        assert (root.balances, root.sent) == ({}, {})
    assert ASSET.decode(result.records[b"asset/USD"]) == Asset(1, 2, 1, 1_000_000, 0)
    assert PARTICIPANT.decode(result.records[participant_key(2)]) == Participant(1, "bank a", 1)
    assert set(result.records) == {
        RULES_KEY,
        MEMBERS_KEY,
        WINDOWS_KEY,
        *(asset_key(code) for code in ("EUR", "USD")),
        *(participant_key(number) for number in (1, 2, 3)),
    }
    assert result == BlockResult(result.accounts, result.records, [], [], {}, [], {})


def _faulty(genesis: Genesis) -> list[tuple[str, Genesis]]:
    bank, asset, rule = genesis.participants[1], genesis.assets[1], genesis.rules[0]
    keys = (key_of("p"), key_of("q"))
    unsorted = tuple(sorted(keys, reverse=True))
    others = genesis.participants[:1]
    return [
        ("stands twice", replace(genesis, participants=(*genesis.participants, bank))),
        ("stands twice", replace(genesis, assets=(*genesis.assets, asset))),
        ("stands twice", replace(genesis, rules=(*genesis.rules, replace(rule, limit_minor=9)))),
        ("sorted", replace(genesis, participants=(*others, replace(bank, keys=unsorted)))),
        ("sorted", replace(genesis, participants=(*others, replace(bank, keys=keys[:1] * 2)))),
        ("threshold 2", replace(genesis, participants=(*others, replace(bank, threshold=2)))),
        ("not a participant", replace(genesis, assets=(replace(asset, issuer=ParticipantId(9)),))),
        (
            "capital letters",
            replace(genesis, assets=(AssetEntry("GBP\n", 2, ParticipantId(1), 1),)),
        ),
        ("not known", replace(genesis, rules=(RuleEntry(2, 1, "USD", 2, 1),))),
        ("does not exist", replace(genesis, rules=(RuleEntry(1, 1, "GBP", 2, 1),))),
        ("begin at 1", replace(genesis, rules=(RuleEntry(1, 0, "USD", 2, 1),))),
    ]


@pytest.mark.parametrize("case", range(11))
def test_a_genesis_document_that_contradicts_itself_is_refused_in_words(case: int) -> None:
    words, genesis = _faulty(genesis_of())[case]
    with pytest.raises(Refused, match=words) as refused:
        first_state(genesis)
    assert refused.value.reason is RejectReason.BAD_FIELD


# -- fields --


def test_new_keys_must_be_sorted_distinct_and_as_many_as_the_threshold() -> None:
    one, two = sorted((key_of("p"), key_of("q")))
    assert keys_fault((one, two), 2) is None
    assert keys_fault((two, one), 1) is not None
    assert keys_fault((one, one), 1) is not None
    assert keys_fault((one, two), 3) is not None


def test_a_fault_between_fields_is_named_in_a_sentence() -> None:
    ledger = Ledger()
    good = ledger.opens(BANK_A, "a", ["p", "q"], threshold=2)
    assert field_fault(good) is None
    assert "threshold 3" in str(field_fault(replace(good, threshold=3)))
    payment = ledger.pays(bytes(20), bytes(20), 1, "p")
    assert field_fault(payment) is None
    assert field_fault(replace(payment, asset="USD\n")) is not None


# -- invariants --


def test_money_from_nowhere_halts() -> None:
    before = account()
    richer = account(balances={"USD": 6})
    with pytest.raises(InvariantError, match="not conserved") as broken:
        check_supply([(before, richer)], {})
    assert broken.value.facts == {"asset": "USD", "drift": 1}
    check_supply([(before, richer)], {"USD": 1})
    with pytest.raises(InvariantError, match="not conserved"):
        check_supply([(before, account())], {"USD": 1})
    with pytest.raises(InvariantError, match="not conserved"):
        check_supply([(None, account())], {})


def test_one_currency_does_not_pay_for_another() -> None:
    before = account(balances={"USD": 5, "EUR": 5})
    after = account(balances={"USD": 6, "EUR": 4})
    with pytest.raises(InvariantError, match="not conserved"):
        check_supply([(before, after)], {})


def test_a_negative_or_a_forgotten_balance_halts_and_the_diagnosis_hides_the_seed() -> None:
    with pytest.raises(InvariantError, match="negative") as broken:
        check_supply([(account(), account(balances={"USD": -1}))], {"USD": -6})
    assert SEED.hex() not in str(broken.value)
    assert repr(SEED) not in str(broken.value)
    with pytest.raises(InvariantError, match="forgotten"):
        check_supply([(account(), account(balances={}))], {"USD": -5})


def test_what_is_not_consumed_exactly_once_halts() -> None:
    two, one = {0: bytes(2 * ENTRY_BYTES)}, {0: bytes(ENTRY_BYTES)}
    good = BlockResult({}, {}, [b"", b""], [(1, 0), (2, 100)], {b"k": b"d"}, [b"b"], two)
    check_consumed_once(good, 2)
    with pytest.raises(InvariantError, match="consumed"):
        check_consumed_once(BlockResult({}, {}, [b""], [(1, 0)], {b"k": b"d"}, [b"b"], one), 1)
    with pytest.raises(InvariantError, match="consumed"):
        check_consumed_once(BlockResult({}, {}, [b""], [(1, 0)], {}, [], one), 1)
    with pytest.raises(InvariantError, match="outcome"):
        check_consumed_once(BlockResult({}, {}, [], [], {b"k": b"d"}, [], one), 1)
    for entries in ({}, two):
        with pytest.raises(InvariantError, match="entry"):
            check_consumed_once(BlockResult({}, {}, [b""], [(1, 0)], {b"k": b"d"}, [], entries), 1)


def test_a_record_of_ours_that_does_not_decode_is_our_fault() -> None:
    with pytest.raises(InvariantError):
        own(ASSET, b"\x00")
    place = town()
    place.ledger.records[asset_key("USD")] = b"\x00"
    with pytest.raises(InvariantError):
        place.ledger.play(place.ledger.pays(place.alice, place.bob, 1, "alice"))
