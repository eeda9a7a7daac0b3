"""Quorums for every size of network: any two share an honest member, and the honest ones alone make one."""

import pytest

from tallystick.network.proofs.certificates import faults_of, quorum_of


@pytest.mark.parametrize("members", range(4, 200))
def test_two_quorums_share_an_honest_member_and_the_honest_are_a_quorum(members: int) -> None:
    quorum, faults = quorum_of(members), faults_of(members)
    assert 3 * faults < members <= 3 * faults + 3
    shared = 2 * quorum - members
    assert shared > faults, "two quorums may share none but arbitrary members"
    assert quorum <= members - faults, "the arbitrary ones could stop the network by silence"
    assert 2 * (quorum - 1) - members <= faults, "a smaller quorum would do"


def test_with_five_members_2f_plus_1_is_wrong() -> None:
    """{a,b,c} and {c,d,e} share only c, which may be the arbitrary one."""
    assert 2 * faults_of(5) + 1 == 3
    assert quorum_of(5) == 4


def test_small_networks_tolerate_nobody_and_need_everybody_or_two_of_three() -> None:
    assert [(quorum_of(n), faults_of(n)) for n in (1, 2, 3)] == [(1, 0), (2, 0), (2, 0)]
