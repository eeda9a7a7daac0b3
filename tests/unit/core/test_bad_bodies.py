"""Bad input on the peer wire: everything that the HTTP edge refuses, handed on by a hostile member as if a client had sent it.

Nothing of it is kept, signed for or ordered; what only the ledger can judge gets its receipt; no node is disturbed.
"""

from typing import cast

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.receipts import OUTCOME
from tallystick.network.wire import bounds
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import AccountId, BodyId, NodeId
from tallystick.network.wire.reasons import BY_NUMBER
from tallystick.network.wire.signing import batch_digest, held_message
from tallystick.network.wire.transactions import Transfer
from tallystick.network.wire.transactions.codec import body_id, decode
from tallystick.node.core.events import BadBody, Wait
from tallystick.node.core.mempool import PEER_WAITING_MAX
from tallystick.node.core.messages import BODY_MESSAGE, Forward, Held
from tests.security.bad_inputs import (
    Case,
    Target,
    bad_bytes,
    bad_places_and_times,
    bad_signatures,
)
from tests.security.edge import Edge
from tests.sim.crypto import spend_key
from tests.unit.core.lab import Lab

HOSTILE = 3


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.answer(0, lab.issue())
    lab.sent.clear()
    return lab


def target(lab: Lab) -> Target:
    """The table's target without an HTTP edge: here bytes go over the peer wire."""
    return Target(
        edge=cast(Edge, None),
        token="",
        chain=lab.purse.chain,
        digest=lab.purse.digest,
        payer=lab.root(0),
        payer_key=spend_key(0),
        creditor=lab.root(1),
        foreign=lab.root(2),
        foreign_key=spend_key(2),
        now_ms=lab.now_ms,
        max_validity_ms=lab.genesis.parameters.max_validity_ms,
    )


def table(lab: Lab) -> list[Case]:
    to = target(lab)
    return [*bad_bytes(to), *bad_places_and_times(to), *bad_signatures(to)]


NAMES = [case.name for case in table(Lab())]


def held_by(lab: Lab, node: int) -> list[bytes]:
    return [said.batch for said in lab.said_bodies(node) if isinstance(said, Held)]


def disturbs_nobody(lab: Lab, height: int = 2) -> None:
    """Nobody halted, everybody stands where everybody stood, and the next payment settles."""
    lab.pass_time(300)
    assert [box.halted for box in lab.boxes.values()] == [None] * 4
    assert lab.heights() == [height] * 4
    assert lab.answer(1, lab.pay()).state == "final"
    assert lab.heights() == [height + 1] * 4


@pytest.mark.parametrize("name", NAMES)
def test_what_no_honest_member_hands_on_is_dropped_whole(lab: Lab, name: str) -> None:
    case = next(each for each in table(lab) if each.name == name)
    good = lab.pay()
    if len(case.raw) <= bounds.TRANSACTION_BYTES_MAX:
        lab.say_bodies(HOSTILE, 1, Forward((good, case.raw)))
    else:
        payload = b"\x92\x01\x91\xc5" + len(case.raw).to_bytes(2, "big") + case.raw
        lab.frame(HOSTILE, 1, Channel.BODIES, payload)
    core = lab.core(1)
    assert body_id(case.raw) not in core.pool
    if case.codes != ("PAST_DEADLINE",):  # a batch may be late: what has expired is accounted for
        assert held_by(lab, 1) == [], "nobody signs for a batch with a bad transaction in it"
    verdict = lab.bodies.check(case.raw)
    if "PAST_DEADLINE" not in case.codes and "TOO_FAR_DEADLINE" not in case.codes:
        assert isinstance(verdict, BadBody)
        assert verdict.reason.code in case.codes
        assert lab.box(1).notes("bad-bodies") or lab.box(1).notes("peer-garbage")
    ordered = lab.heights()[1] - 2
    disturbs_nobody(lab, 2 + ordered)


def test_the_whole_list_is_played() -> None:
    assert len(NAMES) >= 30


def test_a_deadline_that_has_passed_is_neither_kept_nor_ordered(lab: Lab) -> None:
    raw = lab.pay(valid_until_ms=lab.core(1).ledger.time_ms - 1)
    lab.say_bodies(HOSTILE, 1, Forward((raw,)))
    assert body_id(raw) not in lab.core(1).pool
    disturbs_nobody(lab)


def test_a_deadline_years_ahead_is_not_kept_and_nobody_signs_for_it(lab: Lab) -> None:
    raw = lab.pay(valid_until_ms=lab.now_ms + 315_360_000_000)
    for node in (0, 1, 2):
        lab.say_bodies(HOSTILE, node, Forward((raw,)))
        assert body_id(raw) not in lab.core(node).pool
        assert held_by(lab, node) == []
    disturbs_nobody(lab)


def test_a_deadline_slightly_too_far_waits_aside_and_is_ordered_in_its_time(lab: Lab) -> None:
    """Clocks differ: what one honest node admits may be early for another, which must neither drop nor spin."""
    validity_ms = lab.genesis.parameters.max_validity_ms
    raw = lab.pay(valid_until_ms=lab.core(0).ledger.time_ms + validity_ms + 400)
    for node in (0, 1, 2):
        lab.say_bodies(HOSTILE, node, Forward((raw,)))
    core = lab.core(0)
    assert body_id(raw) in core.pool
    assert (core.pool.ready, core.pool.owed) == (0, 0)
    assert lab.heights() == [2] * 4
    lab.pass_time(500)
    assert lab.heights() == [2] * 4, "nothing is owed, so no view ends and no empty block is made"
    assert lab.answer(1, lab.pay()).state == "final"
    assert lab.answer(1, lab.pay()).state == "final"
    assert settled(lab, raw)


def settled(lab: Lab, raw: bytes) -> bool:
    transaction = decode(raw)
    return lab.core(2).reader.locate(transaction.account, transaction.id) is not None


def receipt_reason(lab: Lab, raw: bytes) -> str | None:
    """The outcome of a transaction that was ordered, wherever it is."""
    ledger = lab.core(2).ledger
    for height in range(1, ledger.height + 1):
        record = ledger.block(height)
        if record is not None and raw in record.bodies:
            reason = OUTCOME.decode(record.outcomes[record.bodies.index(raw)]).reason
            return BY_NUMBER[reason].code if reason else "SETTLED"
    return None


def everybody_hears(lab: Lab, *raws: bytes) -> None:
    for node in (0, 1, 2):
        lab.say_bodies(HOSTILE, node, Forward(raws))


def test_an_unknown_account_gets_a_receipt_and_its_id_is_not_taken(lab: Lab) -> None:
    raw = lab.sign(lab.transfer(account=AccountId(b"\xee" * 20)), 0)
    everybody_hears(lab, raw)
    assert receipt_reason(lab, raw) == "UNKNOWN_ACCOUNT"
    assert not settled(lab, raw)
    disturbs_nobody(lab, 3)


def test_a_strangers_signature_burns_neither_the_digest_nor_the_id(lab: Lab) -> None:
    """A hostile member wraps a message that it has seen in a key of its own, and is ordered first."""
    draft = lab.transfer()
    stolen, own = lab.sign(draft, 99), lab.sign(draft, 0)
    everybody_hears(lab, stolen)
    assert receipt_reason(lab, stolen) == "WRONG_KEYS"
    assert lab.answer(1, own).state == "final"
    assert receipt_reason(lab, own) == "SETTLED"


def test_one_signature_too_many_is_answered_by_a_receipt(lab: Lab) -> None:
    raw = lab.sign(lab.transfer(), 0, 99)
    everybody_hears(lab, raw)
    assert receipt_reason(lab, raw) == "WRONG_KEYS"


def test_the_same_id_with_another_content_is_answered_by_a_receipt(lab: Lab) -> None:
    first = lab.pay()
    assert lab.answer(0, first).state == "final"
    other = lab.sign(replace(decode(first), witnesses=(), valid_until_ms=lab.now_ms + 50_000), 0)
    everybody_hears(lab, other)
    assert receipt_reason(lab, other) == "ID_TAKEN"
    assert receipt_reason(lab, first) == "SETTLED"


def test_another_account_may_use_the_same_id(lab: Lab) -> None:
    first = lab.transfer()
    assert lab.answer(0, lab.sign(first, 0)).state == "final"
    theirs = Transfer(**{field: getattr(first, field) for field in first.__struct_fields__ if field not in ("account", "creditor", "witnesses")}, account=lab.root(1), creditor=lab.root(2))  # fmt: skip
    raw = lab.sign(theirs, 1)
    assert lab.answer(0, raw).state == "final"
    assert receipt_reason(lab, raw) == "SETTLED"


def test_one_transaction_twice_in_one_batch_is_one(lab: Lab) -> None:
    raw = lab.pay()
    everybody_hears(lab, raw, raw)
    assert receipt_reason(lab, raw) == "SETTLED"
    assert [list(box.store.scan(b"q")) for box in lab.boxes.values()] == [[]] * 4, "no row is left over"  # fmt: skip


def test_a_member_above_its_bound_is_not_taken_in_and_nobody_signs_for_it(lab: Lab) -> None:
    pool = lab.core(1).pool
    pool._by_entry[NodeId(HOSTILE)] = PEER_WAITING_MAX - 1
    one, two = lab.pay(), lab.pay()
    lab.say_bodies(HOSTILE, 1, Forward((one, two)))
    assert held_by(lab, 1) == []
    assert body_id(one) not in pool
    lab.say_bodies(HOSTILE, 1, Forward((one,)))
    assert len(held_by(lab, 1)) == 1, "at the bound there is room for one"


@pytest.mark.parametrize("payload", [b"", b"\x90", b"\xff" * 50, b"\x92\x09\x90", b"\x92\x01\x91\xc4\x01"])  # fmt: skip
def test_frames_that_are_none_are_counted_against_their_sender(lab: Lab, payload: bytes) -> None:
    for channel in (Channel.BODIES, Channel.CONSENSUS, Channel.CATCH_UP):
        lab.frame(HOSTILE, 1, channel, payload)
    accused = [event.facts["peer"] for event in lab.box(1).notes("peer-garbage")]
    assert accused == [HOSTILE] * 3
    disturbs_nobody(lab)


def test_a_false_acknowledgement_accepts_nothing(lab: Lab) -> None:
    """A signature over another batch, one of nobody, and one that was said twice: the client is told of f+1 real ones."""
    lab.cut = {(a, b) for a in range(4) for b in range(4) if a != b}
    raw = lab.pay()
    token = lab.submit(1, raw, wait=Wait.ACCEPTED)
    batch = next(said for said in lab.said_bodies(1) if isinstance(said, Forward))
    digest = batch_of(batch)
    for signature in (bytes(64), lab.keys.sign(HOSTILE, b"something else")):
        lab.say_bodies(HOSTILE, 1, Held(digest, signature))
        assert token not in lab.told
    lab.say_bodies(HOSTILE, 1, Held(b"\x07" * 32, lab.keys.sign(HOSTILE, held(lab, b"\x07" * 32))))
    assert token not in lab.told
    lab.say_bodies(HOSTILE, 1, Held(digest, lab.keys.sign(HOSTILE, held(lab, digest))))
    assert lab.told[token][0].state == "accepted"
    assert {node for node, _ in lab.told[token][0].holders} == {1, HOSTILE}


def batch_of(forward: Forward) -> bytes:
    return batch_digest([BodyId(body_id(raw)) for raw in forward.bodies])


def held(lab: Lab, digest: bytes) -> bytes:
    return held_message(lab.purse.chain, 0, digest)


def test_the_encodings_of_this_file_are_the_real_ones(lab: Lab) -> None:
    """The oversized frame above is built by hand: with a body at the bound it is taken."""
    raw = bytes(bounds.TRANSACTION_BYTES_MAX)
    payload = b"\x93\x01\x91\xc5" + len(raw).to_bytes(2, "big") + raw + b"\xc3"
    assert BODY_MESSAGE.encode(Forward((raw,))) == payload
