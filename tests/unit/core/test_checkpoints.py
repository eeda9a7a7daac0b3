"""Checkpoints at whole replicas: who signs when, that a share is kept before it leaves, and what a false one costs."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.checkpoints import (
    CheckpointDocument,
    Statement,
    check_note,
    document_from_bytes,
    document_to_bytes,
    is_due,
    verify_checkpoint,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire import bls
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.genesis import CheckpointKey, Genesis, Parameters
from tallystick.network.wire.ids import NodeId
from tallystick.node.core import schema
from tallystick.node.core.checkpoints import ROUNDS_MAX, SHARE, Share
from tallystick.node.core.replica import Replica
from tallystick.node.storage.memory import MemoryStore
from tests.unit.core.lab import STEADY, Lab

EVERY = 3
KEYS = [bls.SecretKey(bytes([0x21 + node]) * 32) for node in range(5)]
FEW = replace(STEADY, checkpoint_blocks=EVERY, checkpoint_ms=86_400_000)


def keyed(genesis: Genesis) -> Genesis:
    keys = (
        CheckpointKey(NodeId(node), KEYS[node].public_key, KEYS[node].prove_possession())
        for node in range(len(genesis.members))
    )
    return replace(genesis, checkpoint_keys=tuple(keys))


def make(*parts: object) -> Replica:
    replica = Replica(*parts)  # type: ignore[arg-type]
    replica.checkpoints.signer = KEYS[replica.me]
    return replica


def lab_of(members: int = 4, parameters: Parameters = FEW, make_: Callable[..., Replica] = make) -> Lab:  # fmt: skip
    return Lab(members, parameters, make_, change=keyed)


def go_to(lab: Lab, height: int) -> None:
    """One block for each payment."""
    leader = 0
    while lab.core(leader).ledger.height < height:
        lab.submit(leader, payment(lab))


def payment(lab: Lab) -> bytes:
    return lab.issue(amount_minor=10)


def shares(lab: Lab, sender: int) -> list[Share]:
    return [SHARE.decode(frame[1:]) for who, _, frame in lab.sent if who == sender and frame[0] == Channel.CHECKPOINTS]  # fmt: skip


def kept(lab: Lab, node: int, height: int) -> CheckpointDocument | None:
    try:
        return lab.core(node).reader.checkpoint(height)[0]
    except Refused:
        return None


def test_each_member_keeps_the_checkpoint_of_a_quorum_and_it_verifies_against_genesis_alone() -> (
    None
):
    lab = lab_of()
    go_to(lab, EVERY)
    for node in range(4):
        document, note = lab.core(node).reader.checkpoint(None)
        verdict = verify_checkpoint(document, lab.genesis)
        # The lab's vote keys are fake, the checkpoint keys are real; notes are checked with real keys elsewhere.
        assert verdict.ok, verdict.failed
        assert (verdict.height, verdict.assurance) == (EVERY, "BFT")
        assert len(note.lines) >= 3
        ledger = lab.core(node).ledger
        statement = document.checkpoint.statement
        assert (note.head.size, note.head.root) == (EVERY + 1, ledger.history.root(EVERY + 1))
        assert statement.link == ledger.link
        assert document_from_bytes(document_to_bytes(document)) == document


def test_heights_between_have_none_and_a_stretch_of_time_ends_with_one() -> None:
    lab = lab_of()
    go_to(lab, EVERY + 1)
    assert [height for height in range(EVERY + 2) if kept(lab, 0, height)] == [EVERY]
    parameters = replace(STEADY, checkpoint_blocks=100, checkpoint_ms=10_000)
    assert not is_due(parameters, 99, 19_999, 10_000)
    assert is_due(parameters, 99, 20_000, 19_999)
    assert is_due(parameters, 100, 10_001, 10_000)
    assert not is_due(parameters, 101, 20_001, 20_000)


def test_without_checkpoint_keys_in_genesis_nothing_is_said() -> None:
    lab = Lab(4, FEW, make)
    go_to(lab, EVERY)
    assert all(not shares(lab, node) for node in range(4))
    with pytest.raises(Refused, match="no checkpoint"):
        lab.core(0).reader.checkpoint(None)


def test_two_members_of_four_make_none_and_the_share_of_a_third_that_comes_back_completes_it() -> (
    None
):
    silent = {2, 3}

    def some(*parts: object) -> Replica:
        replica = make(*parts)
        if replica.me in silent:
            replica.checkpoints.signer = None
        return replica

    lab = lab_of(make_=some)
    go_to(lab, EVERY)
    assert kept(lab, 0, EVERY) is None
    # A member's share that comes late, from the same certified ledger.
    lab.frame(3, 0, Channel.CHECKPOINTS, SHARE.encode(signed_by(lab, 3, EVERY)))
    assert kept(lab, 0, EVERY) is not None
    assert kept(lab, 1, EVERY) is None


def signed_by(lab: Lab, node: int, height: int, secret: int | None = None) -> Share:
    """The share of `node`, signed with its key, or with another's."""
    own = next(share for share in shares(lab, 0) if share.statement.height == height)
    lane, chain = lab.genesis.lane, lab.core(0).ledger.chain
    message = own.statement.message(chain, lane)
    text = own.statement.head(lab.genesis).text().encode()
    key = KEYS[node if secret is None else secret]
    return Share(own.statement, key.sign(message), lab.keys.sign(node, text))


def test_a_false_share_is_named_once_and_does_not_stop_the_others() -> None:
    def some(*parts: object) -> Replica:
        replica = make(*parts)
        if replica.me != 0:
            replica.checkpoints.signer = None
        return replica

    lab = lab_of(make_=some)
    go_to(lab, EVERY)
    false = SHARE.encode(signed_by(lab, 1, EVERY, secret=4))
    lab.frame(1, 0, Channel.CHECKPOINTS, false)
    lab.frame(2, 0, Channel.CHECKPOINTS, SHARE.encode(signed_by(lab, 2, EVERY)))
    assert kept(lab, 0, EVERY) is None
    garbage = lab.box(0).notes("peer-garbage")
    assert [event.facts["peer"] for event in garbage] == [1]
    # The liar's next try is not even looked at: its first one counted.
    lab.frame(1, 0, Channel.CHECKPOINTS, SHARE.encode(signed_by(lab, 1, EVERY)))
    assert kept(lab, 0, EVERY) is None
    lab.frame(3, 0, Channel.CHECKPOINTS, SHARE.encode(signed_by(lab, 3, EVERY)))
    document = kept(lab, 0, EVERY)
    assert document is not None
    assert document.checkpoint.signers == bytes(7) + bytes([0b1101])


def test_a_share_with_another_vote_keys_line_or_another_statement_counts_for_nothing() -> None:
    lab = lab_of()
    lab.cut |= {(a, b) for a in range(4) for b in range(4) if a != b and (a == 3 or b == 3)}
    go_to(lab, EVERY)
    good = signed_by(lab, 3, EVERY)
    core = lab.core(0)
    before = kept(lab, 0, EVERY)
    wrong_line = replace(good, note_signature=lab.keys.sign(2, b"another text"))
    other = replace(good, statement=replace(good.statement, link=bytes(32)))
    for share in (wrong_line, other):
        lab.frame(3, 0, Channel.CHECKPOINTS, SHARE.encode(share))
    assert kept(lab, 0, EVERY) == before
    assert core.halted is None


@pytest.mark.parametrize("payload", [b"", b"\x93", bytes(1_024), b"\xff" * 300])
def test_garbage_on_the_channel_is_named(payload: bytes) -> None:
    lab = lab_of()
    lab.frame(1, 0, Channel.CHECKPOINTS, payload)
    assert [event.facts["peer"] for event in lab.box(0).notes("peer-garbage")] == [1]
    assert lab.core(0).halted is None


def test_shares_that_come_before_the_block_is_final_here_are_used_when_it_is() -> None:
    lab = lab_of()
    lab.cut |= {(0, 3), (1, 3), (2, 3)}
    go_to(lab, EVERY)
    assert lab.core(3).ledger.height < EVERY
    lab.cut.clear()
    for node in (0, 1, 2):
        lab.frame(node, 3, Channel.CHECKPOINTS, SHARE.encode(signed_by(lab, node, EVERY)))
    assert kept(lab, 3, EVERY) is None
    lab.submit(0, payment(lab))
    lab.pass_time(3_000)
    assert lab.core(3).ledger.height == EVERY + 1
    assert kept(lab, 3, EVERY) is not None


def test_nothing_leaves_before_the_statement_is_on_the_disk() -> None:
    lab = lab_of()
    go_to(lab, EVERY - 1)
    lab.box(1).held = []
    lab.submit(0, payment(lab))
    assert lab.core(0).ledger.height == EVERY
    assert shares(lab, 0)
    assert not shares(lab, 1)
    lab.disk_goes_on(1)
    assert [share.statement.height for share in shares(lab, 1)] == [EVERY]
    assert lab.box(1).store.get(schema.CHECKPOINT_SAID) == SHARE.encode(shares(lab, 1)[0])


def test_a_crash_before_the_disk_had_it_says_the_same_later_and_never_another() -> None:
    lab = lab_of()
    go_to(lab, EVERY - 1)
    lab.box(1).held = []
    lab.submit(0, payment(lab))
    lab.crash(1)
    lab.box(1).held = None
    lab.start(1)
    lab.settle()
    lab.submit(0, payment(lab))
    lab.pass_time(3_000)
    go_to(lab, 2 * EVERY)
    lab.pass_time(3_000)
    said: dict[int, Statement] = {}
    for sender in range(4):
        for share in shares(lab, sender):
            known = said.setdefault(share.statement.height, share.statement)
            assert known == share.statement
    assert {EVERY, 2 * EVERY} <= said.keys()


def test_a_restart_sends_the_newest_share_again_to_whoever_connects() -> None:
    lab = lab_of()
    go_to(lab, EVERY)
    lab.crash(2)
    lab.sent.clear()
    lab.start(2)
    lab.settle()
    again = shares(lab, 2)
    assert {share.statement.height for share in again} == {EVERY}
    assert len(again) == 3
    assert kept(lab, 2, EVERY) is not None


def test_whoever_catches_up_signs_the_newest_of_a_run_only() -> None:
    lab = lab_of()
    lab.cut |= {(0, 3), (1, 3), (2, 3)}
    go_to(lab, 4 * EVERY)
    assert lab.core(3).ledger.height < EVERY
    lab.cut.clear()
    lab.submit(0, payment(lab))
    lab.pass_time(3_000)
    assert lab.core(3).ledger.height == 4 * EVERY + 1
    assert {share.statement.height for share in shares(lab, 3)} <= {4 * EVERY}


def test_rounds_without_a_quorum_are_given_up_and_do_not_pile_up() -> None:
    def alone(*parts: object) -> Replica:
        replica = make(*parts)
        if replica.me != 0:
            replica.checkpoints.signer = None
        return replica

    lab = lab_of(make_=alone)
    go_to(lab, EVERY * (ROUNDS_MAX + 3))
    assert len(lab.core(0).checkpoints._rounds) == ROUNDS_MAX
    assert len(shares(lab, 0)) == ROUNDS_MAX + 3


def test_a_ledger_that_does_not_say_what_was_signed_does_not_start() -> None:
    from tallystick.network.wire.faults import InvariantError

    lab = lab_of()
    go_to(lab, EVERY)
    share = shares(lab, 2)[0]
    forged = replace(share, statement=replace(share.statement, history_root=bytes(32)))
    lab.crash(2)
    lab.box(2).store.write([{schema.CHECKPOINT_SAID: SHARE.encode(forged)}])
    lab.box(2).store.release(lab.box(2).store.mark)
    with pytest.raises(InvariantError, match="our ledger does not say"):
        lab.start(2)


def test_a_note_needs_the_lines_of_a_quorum() -> None:
    lab = Lab(4, FEW, make, change=keyed)
    go_to(lab, EVERY)
    _, note = lab.core(0).reader.checkpoint(EVERY)
    members = MemberSet.from_genesis(lab.genesis)
    with pytest.raises(Refused):
        check_note(note, lab.genesis, members)  # the lab's vote keys are not Ed25519's


def test_a_ledger_that_is_made_again_speaks_of_no_height_twice() -> None:
    """Repair keeps our newest share and takes the blocks from the peers once more."""
    lab = lab_of()
    go_to(lab, 2 * EVERY)
    said = lab.box(2).store.get(schema.CHECKPOINT_SAID)
    assert said is not None
    lab.crash(2)
    guard = {key: lab.box(2).store.get(key) for key in (schema.GUARD, schema.ENGINE)}
    lab.box(2).store = MemoryStore({schema.CHECKPOINT_SAID: said, **{key: row for key, row in guard.items() if row}})  # fmt: skip
    lab.sent.clear()
    lab.start(2)
    lab.settle()
    lab.submit(0, payment(lab))
    lab.pass_time(3_000)
    assert lab.core(2).halted is None
    assert lab.core(2).ledger.height >= 2 * EVERY
    assert {SHARE.encode(share) for share in shares(lab, 2)} <= {said}
