"""The genesis document: one hash, one readable spelling, every fault named at once."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import (
    GENESIS,
    Genesis,
    Parameters,
    RuleEntry,
    account_id,
    chain_of,
    genesis_from_json,
    genesis_hash,
    genesis_to_json,
    validate_genesis,
)
from tallystick.network.wire.ids import NodeId, ParticipantId
from tallystick.network.wire.membership import SpareEntry
from tallystick.network.wire.reasons import RejectReason
from tests.unit.wire.examples import genesis, spend_key

GOOD = genesis()
TEXT = genesis_to_json(GOOD)


def refusal(text: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        genesis_from_json(text)
    return caught.value


def test_a_good_document_has_no_fault_and_comes_back_from_both_of_its_forms() -> None:
    assert validate_genesis(GOOD) == []
    assert genesis_from_json(TEXT) == GOOD
    assert GENESIS.decode(GENESIS.encode(GOOD)) == GOOD


def test_the_file_is_readable() -> None:
    lines = TEXT.decode().splitlines()
    assert '  "name": "example",' in lines
    assert f'      "vote_key": "{GOOD.members[0].vote_key.hex()}",' in lines


def test_white_space_is_free_and_nothing_else() -> None:
    assert genesis_from_json(msgspec.json.format(TEXT, indent=-1)) == GOOD
    assert genesis_from_json(b"\n\n" + TEXT.replace(b": ", b"  :\t")) == GOOD


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"lane": 0', b'"lane": 1, "lane": 0', RejectReason.NON_CANONICAL),
        (
            b'"lane": 0,\n  "engine": "pbft"',
            b'"engine": "pbft", "lane": 0',
            RejectReason.NON_CANONICAL,
        ),
        (b'"example"', b'"\\u0065xample"', RejectReason.NON_CANONICAL),
        (b'"lane": 0', b'"lane": 0.0', RejectReason.MALFORMED),
        (b'"lane": 0', b'"lane": "0"', RejectReason.MALFORMED),
        (b'"lane": 0', b'"lane": -1', RejectReason.MALFORMED),
        (b'"lane": 0', b'"lane": 65536', RejectReason.MALFORMED),
        (b'"lane": 0,', b"", RejectReason.MALFORMED),
        (b'"lane": 0', b'"lane": 0, "note": 1', RejectReason.MALFORMED),
        (b'"version": 1', b'"version": 2', RejectReason.MALFORMED),
        (b'"engine": "pbft"', b'"engine": "zab"', RejectReason.MALFORMED),
        (b'"code": "USD"', b'"code": "usd"', RejectReason.MALFORMED),
        (b'"seed": "01', b'"seed": "', RejectReason.MALFORMED),
        (b'"seed": "01', b'"seed": "0101', RejectReason.MALFORMED),
        (b'"seed": "01', b'"seed": "0x', RejectReason.MALFORMED),
        (b'"seed": "01', b'"seed": "zz', RejectReason.MALFORMED),
        (b'"vote_key": "8a88', b'"vote_key": "8A88', RejectReason.MALFORMED),
        (b"}\n", b"} {}", RejectReason.MALFORMED),
        (b"}\n", b"", RejectReason.MALFORMED),
        (b'"example"', b'"ex\xffmple"', RejectReason.MALFORMED),
    ],
)
def test_another_spelling_is_refused(old: bytes, new: bytes, reason: RejectReason) -> None:
    assert old in TEXT
    at = TEXT.rindex(old) if old == b"}\n" else TEXT.index(old)
    assert refusal(TEXT[:at] + new + TEXT[at + len(old) :]).reason is reason


def test_a_refusal_names_the_field() -> None:
    assert "members[1].id" in refusal(TEXT.replace(b'"id": 1,', b'"id": "1",')).detail.replace(
        "$.", ""
    )


def test_a_file_over_its_bound_is_not_parsed() -> None:
    at = TEXT + b" " * (bounds.GENESIS_FILE_BYTES_MAX - len(TEXT))
    assert genesis_from_json(at) == GOOD
    assert refusal(at + b" ").reason is RejectReason.OVERSIZED


@given(st.binary(max_size=200))
def test_garbage_is_refused(text: bytes) -> None:
    with pytest.raises(Refused):
        genesis_from_json(text)


def with_member(index: int, **changes: object) -> Genesis:
    members = list(GOOD.members)
    members[index] = replace(members[index], **changes)
    return replace(GOOD, members=tuple(members))


def with_participant(index: int, **changes: object) -> Genesis:
    participants = list(GOOD.participants)
    participants[index] = replace(participants[index], **changes)
    return replace(GOOD, participants=tuple(participants))


KEYS = sorted(spend_key(number).public_key.format() for number in (8, 9))

FAULTS = {
    "member id 1 stands 2 times": with_member(0, id=NodeId(1)),
    "member name bank-b stands 2 times": with_member(0, name="bank-b"),
    "belongs to participant 99, who is not listed": with_member(0, participant=ParticipantId(99)),
    "the governor is participant 99": replace(GOOD, governor=ParticipantId(99)),
    "spare id": replace(GOOD, spares=(SpareEntry(NodeId(500), ParticipantId(1)),) * 2),
    "is a member's id": replace(GOOD, spares=(SpareEntry(GOOD.members[0].id, ParticipantId(1)),)),
    "spare 500 belongs to": replace(GOOD, spares=(SpareEntry(NodeId(500), ParticipantId(99)),)),
    "spare 1000: a member's id": replace(
        GOOD, spares=(SpareEntry(NodeId(1_000), ParticipantId(1)),)
    ),
    "vote key": with_member(0, vote_key=GOOD.members[1].vote_key),
    "TLS key hash": with_member(0, tls_key_hash=GOOD.members[1].tls_key_hash),
    "of small order": with_member(0, vote_key=b"\x01" + bytes(31)),
    "not a canonical Ed25519 key": with_member(0, vote_key=b"\xff" * 32),
    "participant id 2 stands 2 times": with_participant(0, id=ParticipantId(2)),
    "participant name bank-a stands 2 times": with_participant(0, name="bank-a"),
    "needs 2 signatures but has 1 keys": with_participant(0, threshold=2),
    "are not sorted": with_participant(0, keys=tuple(reversed(KEYS))),
    "sorted, each once": with_participant(0, keys=(KEYS[0], KEYS[0])),
    "is not a compressed secp256k1 point": with_participant(0, keys=(b"\x02" + bytes(32),)),
    "name 'bank\\n' has characters": with_participant(0, name="bank\n"),
    "or spaces at an end": with_participant(0, name=" bank"),
    "asset USD stands 2 times": replace(GOOD, assets=(*GOOD.assets, GOOD.assets[0])),
    "the issuer of USD is participant 99": replace(
        GOOD, assets=(replace(GOOD.assets[0], issuer=ParticipantId(99)), GOOD.assets[1])
    ),
    "is about asset GBP, which is not listed": replace(GOOD, rules=(RuleEntry(1, 1, "GBP", 0, 1),)),
    "rule R07 has no code": replace(GOOD, rules=(RuleEntry(7, 1, "USD", 0, 1),)),
    "R01 version 1 for USD, tier 0, stands 2 times": replace(
        GOOD, rules=(*GOOD.rules, GOOD.rules[0])
    ),
    "view_timeout_ms is above": replace(
        GOOD, parameters=Parameters(view_timeout_ms=8_001, view_timeout_ms_max=8_000)
    ),
    "window_ms is above": replace(
        GOOD, parameters=Parameters(window_ms=60_000, max_validity_ms=59_999)
    ),
    "does not fit its own types": replace(GOOD, lane=2**16),
    "its own types: MALFORMED": replace(GOOD, members=()),
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_a_fault_is_named(sentence: str) -> None:
    faults = validate_genesis(FAULTS[sentence])
    assert any(sentence in fault for fault in faults), faults


def test_values_at_the_edge_of_a_rule_are_no_fault() -> None:
    edge = Parameters(
        view_timeout_ms=8_000, view_timeout_ms_max=8_000, window_ms=60_000, max_validity_ms=60_000
    )
    assert validate_genesis(replace(GOOD, parameters=edge)) == []
    assert validate_genesis(with_participant(0, keys=tuple(KEYS), threshold=2)) == []
    assert validate_genesis(replace(GOOD, members=GOOD.members[:1])) == []
    newer = replace(GOOD.rules[0], version=2)
    assert validate_genesis(replace(GOOD, rules=(*GOOD.rules, newer))) == []


def test_all_faults_are_named_at_once() -> None:
    broken = replace(
        with_member(0, participant=ParticipantId(99), vote_key=bytes(32)),
        rules=(RuleEntry(7, 1, "GBP", 0, 1),),
        parameters=Parameters(view_timeout_ms=9_000),
    )
    assert len(validate_genesis(broken)) == 5


def test_the_hash_covers_every_field() -> None:
    hashes = {genesis_hash(GOOD)}
    changed = [
        replace(GOOD, name="other"),
        replace(GOOD, created_ms=GOOD.created_ms + 1),
        replace(GOOD, parameters=Parameters(pipeline=3)),
        with_member(0, tls_key_hash=b"\x99" * 32),
        with_participant(0, seed=b"\x99" * 16),
        replace(GOOD, assets=GOOD.assets[:1]),
        replace(GOOD, rules=()),
    ]
    hashes.update(map(genesis_hash, changed))
    assert len(hashes) == 1 + len(changed)


@given(st.binary(min_size=32, max_size=32))
def test_a_chain_id_fits_javascripts_integers(hash_: bytes) -> None:
    assert 1 <= chain_of(hash_) < 2**52


def test_account_ids_differ_by_chain_participant_and_serial() -> None:
    ids = {
        account_id(chain, ParticipantId(participant), serial)
        for chain in (1, 2)
        for participant in (0, 1, 256)
        for serial in (0, 1, 256)
    }
    assert len(ids) == 18
    assert all(len(each) == 20 for each in ids)
