"""Who votes next: every refusal by its reason, bounds at and over, and ids and keys that never come back."""

from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from tallystick.contracts import execute_block
from tallystick.contracts.state import MEMBERS_KEY, MEMBERSHIP, Membership
from tallystick.network.wire import bounds
from tallystick.network.wire.genesis import EngineName, Genesis
from tallystick.network.wire.ids import NodeId, ParticipantId
from tallystick.network.wire.membership import MemberEntry, SpareEntry
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import ActivateSpare, ChangeMembers
from tests.unit.contracts.ledger import (
    BANK_A,
    BANK_B,
    CENTRAL_BANK,
    Ledger,
    genesis_of,
    h,
    reason_of,
    signed_by,
)

NAMES = {CENTRAL_BANK: "cb", BANK_A: "a", BANK_B: "b"}


def member(number: int, participant: ParticipantId = BANK_A, key: object = None) -> MemberEntry:
    name = number if key is None else key
    return MemberEntry(NodeId(number), f"n{number}", participant, vote_key_of(name), h("tls", name))


@cache
def vote_key_of(name: object) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(h("vote", name)).public_key().public_bytes_raw()


def five(count: int = 5, spares: tuple[SpareEntry, ...] | None = None) -> Genesis:
    """Members 0 … count-1, in turn of bank a and bank b; spare 100+n is for bank a, 200+n for bank b."""
    usual = tuple(
        SpareEntry(NodeId(base + number), bank)
        for base, bank in ((100, BANK_A), (200, BANK_B))
        for number in range(2)
    )
    return replace(
        genesis_of(),
        members=tuple(member(n, (BANK_A, BANK_B)[n % 2]) for n in range(count)),
        spares=usual if spares is None else spares,
    )


def change(
    ledger: Ledger,
    leaving: tuple[int, ...] = (),
    joining: tuple[MemberEntry, ...] = (),
    spares: tuple[SpareEntry, ...] = (),
    by: ParticipantId = CENTRAL_BANK,
) -> ChangeMembers:
    return ChangeMembers(
        ledger.chain,
        0,
        ledger.root(by),
        ledger.fresh_id(),
        ledger.until(),
        bytes(32),
        tuple(map(NodeId, leaving)),
        joining,
        spares,
        signed_by(NAMES[by]),
    )


def activation(
    ledger: Ledger, old: int, spare: int, by: ParticipantId = BANK_A, key: object = None
) -> ActivateSpare:
    new = member(spare, key=key)
    return ActivateSpare(
        ledger.chain,
        0,
        ledger.root(by),
        ledger.fresh_id(),
        ledger.until(),
        bytes(32),
        NodeId(old),
        NodeId(spare),
        new.vote_key,
        new.tls_key_hash,
        signed_by(NAMES[by]),
    )


def membership(ledger: Ledger) -> Membership:
    return MEMBERSHIP.decode(ledger.records[MEMBERS_KEY])


def ids(ledger: Ledger) -> list[int]:
    return [entry.id for entry in membership(ledger).members]


def refusal(ledger: Ledger, wish: ChangeMembers | ActivateSpare) -> RejectReason | None:
    """The reason of its receipt; a refused change writes nothing about members."""
    before = ledger.records[MEMBERS_KEY]
    (outcome,) = ledger.play(wish)
    assert (outcome.reason == 0) == (ledger.records[MEMBERS_KEY] != before)
    return reason_of(outcome)


def test_a_change_names_the_next_epochs_members_and_retires_those_that_left() -> None:
    ledger = Ledger(five())
    fresh = SpareEntry(NodeId(300), BANK_B)
    block = ledger.block(change(ledger, (1, 3), (member(7), member(9)), (fresh,)))
    result = execute_block(ledger, block)
    ledger.keep(result)
    now = membership(ledger)
    assert result.next_members == now.voting()
    assert (now.epoch, ids(ledger)) == (1, [0, 2, 4, 7, 9])
    assert [each.id for each in now.retired] == [1, 3]
    assert now.spares[-1] == fresh


def test_a_block_of_payments_changes_no_members() -> None:
    ledger = Ledger(five())
    result = execute_block(ledger, ledger.block(ledger.issues(ledger.root(BANK_A), 1)))
    assert result.next_members is None
    assert MEMBERS_KEY not in result.records


def test_a_spare_takes_the_place_of_its_banks_member_with_new_keys_and_one_signature() -> None:
    ledger = Ledger(five())
    assert refusal(ledger, activation(ledger, 0, 100)) is None
    now = membership(ledger)
    assert ids(ledger) == [1, 2, 3, 4, 100]
    assert now.members[-1] == replace(member(100), name="n0")
    assert [each.id for each in now.spares] == [101, 200, 201]
    assert [each.id for each in now.retired] == [0]


def test_only_the_governor_changes_members_and_only_the_owner_activates_a_spare() -> None:
    ledger = Ledger(five())
    assert refusal(ledger, change(ledger, (1,), by=BANK_A)) is RejectReason.NOT_PERMITTED
    for by in (BANK_B, CENTRAL_BANK):
        wish = activation(ledger, 0, 100, by)
        assert refusal(ledger, wish) is RejectReason.NOT_PERMITTED
    (opened,) = ledger.play(ledger.opens(CENTRAL_BANK, "cb", ["cb"]))
    own = replace(change(ledger, (1,)), account=opened.opened)
    assert refusal(ledger, own) is RejectReason.NOT_PERMITTED  # not the root account
    forged = replace(change(ledger, (1,)), witnesses=signed_by("mallory"))
    assert refusal(ledger, forged) is RejectReason.WRONG_KEYS


def test_the_governors_threshold_is_four_eyes() -> None:
    genesis = five()
    both = replace(genesis.participants[0], keys=tuple(sorted(signer.key for signer in signed_by("cb", "cb-2"))), threshold=2)  # fmt: skip
    ledger = Ledger(replace(genesis, participants=(both, *genesis.participants[1:])))
    alone = change(ledger, (1,))
    assert refusal(ledger, alone) is RejectReason.WRONG_KEYS
    assert refusal(ledger, replace(alone, witnesses=signed_by("cb", "cb-2"))) is None


def test_an_unknown_member_or_spare_is_refused() -> None:
    ledger = Ledger(five())
    assert refusal(ledger, change(ledger, (1, 77))) is RejectReason.UNKNOWN_MEMBER
    assert refusal(ledger, activation(ledger, 77, 100)) is RejectReason.UNKNOWN_MEMBER
    assert refusal(ledger, activation(ledger, 0, 77)) is RejectReason.UNKNOWN_SPARE
    assert refusal(ledger, activation(ledger, 0, 200)) is RejectReason.UNKNOWN_SPARE  # bank b's
    joins = (member(7, ParticipantId(99)),)
    assert refusal(ledger, change(ledger, (), joins)) is RejectReason.UNKNOWN_PARTICIPANT
    spare = (SpareEntry(NodeId(300), ParticipantId(99)),)
    assert refusal(ledger, change(ledger, (), (), spare)) is RejectReason.UNKNOWN_PARTICIPANT


def test_no_id_is_used_twice() -> None:
    ledger = Ledger(five())
    assert refusal(ledger, activation(ledger, 0, 100)) is None
    for used in (0, 1, 101):  # retired, a member, approved as a spare
        again = change(ledger, (), (member(used, key="fresh"),))
        assert refusal(ledger, again) is RejectReason.MEMBER_ID_USED
        approved = change(ledger, (), (), (SpareEntry(NodeId(used), BANK_A),))
        assert refusal(ledger, approved) is RejectReason.MEMBER_ID_USED
    assert refusal(ledger, activation(ledger, 100, 100)) is RejectReason.UNKNOWN_SPARE


def test_no_key_is_used_twice() -> None:
    ledger = Ledger(five())
    assert refusal(ledger, activation(ledger, 0, 100, key=0)) is RejectReason.MEMBER_KEY_USED
    assert refusal(ledger, activation(ledger, 0, 100)) is None
    for used in (0, 1):  # retired, a member's
        new = member(9, key="fresh")
        for twin in (
            replace(new, vote_key=member(used).vote_key),
            replace(new, tls_key_hash=member(used).tls_key_hash),
        ):
            wish = change(ledger, (), (twin,))
            assert refusal(ledger, wish) is RejectReason.MEMBER_KEY_USED
    twins = (member(8, key="same"), member(9, key="same"))
    assert refusal(ledger, change(ledger, (), twins)) is RejectReason.MEMBER_KEY_USED


def test_a_vote_key_that_is_none_is_found_once_authority_is_shown() -> None:
    ledger = Ledger(five())
    bad = replace(member(9), vote_key=b"\xff" * 32)
    assert refusal(ledger, change(ledger, (), (bad,))) is RejectReason.BAD_VOTE_KEY
    assert refusal(ledger, change(ledger, (), (bad,), by=BANK_A)) is RejectReason.NOT_PERMITTED
    wish = replace(activation(ledger, 0, 100), vote_key=b"\x01" + bytes(31))
    assert refusal(ledger, wish) is RejectReason.BAD_VOTE_KEY


def test_four_members_are_the_fewest_but_one() -> None:
    ledger = Ledger(five())
    assert refusal(ledger, change(ledger, (0, 1))) is RejectReason.MEMBER_COUNT
    assert refusal(ledger, change(ledger, (0, 1, 2, 3, 4))) is RejectReason.MEMBER_COUNT
    assert refusal(ledger, change(ledger, (4,))) is None
    assert refusal(ledger, change(ledger, (3,))) is RejectReason.MEMBER_COUNT
    assert refusal(ledger, change(ledger, (1, 2, 3))) is None
    assert ids(ledger) == [0]


def test_sixty_four_members_are_the_most() -> None:
    ledger = Ledger(five(bounds.MEMBERS_MAX - 1))
    two = (member(98), member(99))
    assert refusal(ledger, change(ledger, (), two)) is RejectReason.MEMBER_COUNT
    assert refusal(ledger, change(ledger, (), two[:1])) is None
    assert len(ids(ledger)) == bounds.MEMBERS_MAX


def test_so_many_spares_wait_and_no_more() -> None:
    waiting = tuple(SpareEntry(NodeId(100 + n), BANK_A) for n in range(bounds.SPARES_MAX - 1))
    ledger = Ledger(five(spares=waiting))
    two = (SpareEntry(NodeId(800), BANK_A), SpareEntry(NodeId(801), BANK_A))
    assert refusal(ledger, change(ledger, (), (), two)) is RejectReason.TOO_MANY_SPARES
    assert refusal(ledger, change(ledger, (), (), two[:1])) is None


def test_one_change_closes_the_epoch_and_a_second_in_its_block_is_refused() -> None:
    ledger = Ledger(five())
    wishes = (change(ledger, (1,)), activation(ledger, 0, 100), change(ledger, (2,)))
    outcomes = ledger.play(*wishes, ledger.issues(ledger.root(BANK_A), 5))
    closing = RejectReason.EPOCH_CLOSING
    assert [reason_of(outcome) for outcome in outcomes] == [None, closing, closing, None]
    assert (membership(ledger).epoch, ids(ledger)) == (1, [0, 2, 3, 4])


def test_a_refused_change_leaves_the_epoch_open_for_the_next_one() -> None:
    ledger = Ledger(five())
    outcomes = ledger.play(change(ledger, (77,)), change(ledger, (1,)))
    assert [reason_of(outcome) for outcome in outcomes] == [RejectReason.UNKNOWN_MEMBER, None]


def test_so_many_changes_as_a_receipt_can_prove_and_no_more() -> None:
    ledger = Ledger(five())
    late = replace(membership(ledger), epoch=bounds.EPOCHS_PROVEN_MAX - 1)
    ledger.records[MEMBERS_KEY] = MEMBERSHIP.encode(late)
    assert refusal(ledger, activation(ledger, 0, 100)) is None
    assert membership(ledger).epoch == bounds.EPOCHS_PROVEN_MAX
    assert refusal(ledger, activation(ledger, 1, 200, BANK_B)) is RejectReason.TOO_MANY_EPOCHS
    assert refusal(ledger, change(ledger, (4,))) is RejectReason.TOO_MANY_EPOCHS


def test_a_raft_network_changes_its_members_too_and_may_have_any_number_of_them() -> None:
    ledger = Ledger(replace(five(), engine="raft"))
    everybody = change(ledger, (0, 1, 2, 3, 4))
    assert refusal(ledger, everybody) is RejectReason.MEMBER_COUNT
    assert refusal(ledger, change(ledger, (1, 2))) is None
    assert refusal(ledger, activation(ledger, 0, 100)) is None
    assert ids(ledger) == [3, 4, 100]
    assert refusal(ledger, change(ledger, (3,))) is None
    assert refusal(ledger, change(ledger, (4,))) is None
    assert (membership(ledger).epoch, ids(ledger)) == (4, [100])
    fresh = tuple(member(300 + number) for number in range(bounds.MEMBERS_MAX))
    assert refusal(ledger, change(ledger, (), fresh)) is RejectReason.MEMBER_COUNT
    assert refusal(ledger, change(ledger, (), fresh[1:])) is None
    assert len(ids(ledger)) == bounds.MEMBERS_MAX


@pytest.mark.parametrize("engine", ["pbft", "raft"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_network_that_starts_has_a_record_of_its_members(
    count: int, engine: EngineName
) -> None:
    ledger = Ledger(replace(five(count), engine=engine))
    now = membership(ledger)
    assert (now.epoch, now.governor, ids(ledger), now.retired) == (0, 1, list(range(count)), ())
