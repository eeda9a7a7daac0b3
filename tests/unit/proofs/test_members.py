"""Who votes, and the arithmetic of a quorum."""

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.certificates import faults_of, quorum_of
from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire.bounds import MEMBERS_MAX
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Epoch
from tests.unit.wire.examples import genesis


def test_the_genesis_members_vote_in_epoch_zero() -> None:
    members = MemberSet.from_genesis(genesis())
    assert (members.epoch, members.ids, members.quorum, members.faults) == (0, (0, 1, 2, 3), 3, 1)
    assert len(members) == 4
    assert 3 in members
    assert 4 not in members
    assert members.vote_keys[members.ids[2]] == genesis().members[2].vote_key


def test_two_quorums_always_share_an_honest_member_and_the_honest_alone_are_one() -> None:
    for count in range(1, MEMBERS_MAX + 1):
        quorum, faults = quorum_of(count), faults_of(count)
        assert 2 * quorum - count > faults
        assert count - faults >= quorum
        assert quorum == -(-2 * count // 3)


def test_nobody_votes_twice_by_another_name_or_key() -> None:
    document = genesis()
    first, second = document.members[:2]
    for false in (replace(second, id=first.id), replace(second, vote_key=first.vote_key)):
        with pytest.raises(Refused, match="two members share"):
            MemberSet.from_genesis(replace(document, members=(first, false)))
    with pytest.raises(Refused, match="no members"):
        MemberSet(Epoch(0), {})
