"""Faults of a change of members that its bytes alone show: refused before ordering, each with its sentence."""

import pytest
from msgspec.structs import replace

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import NodeId, ParticipantId
from tallystick.network.wire.membership import MemberEntry, SpareEntry
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import decode, encode
from tallystick.network.wire.transactions.fields import field_fault
from tests.unit.wire.examples import EVERY_KIND, change_members

CHANGE = change_members()
JOINS = CHANGE.joining[0]
SPARE = CHANGE.spares[0]


@pytest.mark.parametrize("good", EVERY_KIND, ids=lambda each: type(each).__name__)
def test_the_examples_have_no_fault(good: Transaction) -> None:
    assert field_fault(good) is None


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (replace(CHANGE, leaving=(), joining=(), spares=()), "nobody leaves or joins"),
        (replace(CHANGE, leaving=(NodeId(3), NodeId(1))), "ids must ascend, each once"),
        (replace(CHANGE, leaving=(NodeId(1), NodeId(1))), "ids must ascend, each once"),
        (replace(CHANGE, joining=CHANGE.joining[::-1]), "ids must ascend, each once"),
        (replace(CHANGE, spares=(SPARE, SPARE)), "ids must ascend, each once"),
        (replace(CHANGE, leaving=(NodeId(7),)), "an id stands in two lists"),
        (replace(CHANGE, leaving=(SPARE.id,)), "an id stands in two lists"),
        (replace(CHANGE, joining=(replace(JOINS, name="bank\n"),)), "do not show"),
        (replace(CHANGE, joining=(replace(JOINS, id=NodeId(1_000)),)), "id is at most 999"),
        (replace(CHANGE, spares=(replace(SPARE, id=NodeId(1_000)),)), "id is at most 999"),
    ],
)
def test_a_fault_is_told_in_a_sentence(bad: Transaction, sentence: str) -> None:
    assert sentence in (field_fault(bad) or "")


def test_the_longest_change_fits_a_transaction_and_one_more_entry_does_not_decode() -> None:
    most = bounds.MEMBERS_CHANGED_MAX
    joining = tuple(
        MemberEntry(NodeId(100 + n), "x" * 64, ParticipantId(2**32 - 1), JOINS.vote_key, bytes(32))
        for n in range(most + 1)
    )
    leaving = tuple(NodeId(300 + n) for n in range(most + 1))
    spares = tuple(SpareEntry(NodeId(600 + n), ParticipantId(2**32 - 1)) for n in range(most + 1))
    full = replace(CHANGE, leaving=leaving[1:], joining=joining[1:], spares=spares[1:])
    assert field_fault(full) is None
    assert decode(encode(full)) == full
    for over in (
        replace(full, leaving=leaving),
        replace(full, joining=joining),
        replace(full, spares=spares),
        replace(CHANGE, leaving=(NodeId(bounds.MEMBER_ID_MAX + 1),)),
    ):
        with pytest.raises(Refused) as caught:
            decode(encode(over))
        assert caught.value.reason is RejectReason.MALFORMED
