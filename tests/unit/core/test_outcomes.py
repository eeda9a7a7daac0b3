"""Who waits for what: one answer per submission, when everything in it is where the client wants it, or refused."""

import pytest

from tallystick.network.wire.ids import BodyId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core.effects import Answer, Reply
from tallystick.node.core.events import Wait
from tallystick.node.core.outcomes import Outcomes

A, B = BodyId(b"\x01" * 32), BodyId(b"\x02" * 32)


def waiting(wait: Wait, *ids: BodyId) -> Outcomes:
    outcomes = Outcomes()
    outcomes.begin(1, wait, ids)
    for index, body_id in enumerate(ids):
        outcomes.wait_for(body_id, 1, index)
    return outcomes


def states(replies: list[Reply]) -> list[list[str]]:
    return [[answer.state for answer in reply.answers] for reply in replies]


@pytest.mark.parametrize(
    ("wait", "enough"), [(Wait.RECEIVED, 0), (Wait.ACCEPTED, 1), (Wait.FINAL, 2)]
)
def test_a_client_hears_when_its_transaction_is_where_it_wants_it(wait: Wait, enough: int) -> None:
    outcomes = waiting(wait, A)
    for number, state in enumerate(("received", "accepted", "final")):
        outcomes.tell(Answer(state, A))
        told = states(outcomes.drain())
        assert told == ([[state]] if number == enough else [])


def test_more_than_was_asked_for_is_enough() -> None:
    outcomes = waiting(Wait.RECEIVED, A)
    outcomes.tell(Answer("final", A))
    assert states(outcomes.drain()) == [["final"]]


def test_a_submission_of_several_is_answered_once_when_all_are_there() -> None:
    outcomes = waiting(Wait.ACCEPTED, A, B)
    outcomes.tell(Answer("accepted", A))
    assert outcomes.drain() == []
    outcomes.tell(Answer("refused", B, RejectReason.PAST_DEADLINE))
    assert states(outcomes.drain()) == [["accepted", "refused"]]
    outcomes.tell(Answer("final", A))
    assert outcomes.drain() == []


def test_an_answer_never_goes_back() -> None:
    outcomes = waiting(Wait.FINAL, A, B)
    outcomes.tell(Answer("accepted", A))
    outcomes.tell(Answer("received", A))
    outcomes.gone(1)
    assert states(outcomes.drain()) == [["accepted", "pending"]]


def test_a_client_that_waits_no_longer_hears_how_far_it_came() -> None:
    outcomes = waiting(Wait.FINAL, A)
    outcomes.gone(1)
    assert states(outcomes.drain()) == [["pending"]]
    outcomes.gone(1)
    outcomes.tell(Answer("final", A))
    assert outcomes.drain() == []


def test_nobody_is_forgotten_who_waits_for_the_same_transaction() -> None:
    outcomes = Outcomes()
    for token in (1, 2, 3):
        outcomes.begin(token, Wait.FINAL, (A,))
        outcomes.wait_for(A, token, 0)
    outcomes.tell(Answer("final", A, height=4, index=2))
    replies = outcomes.drain()
    assert [reply.token for reply in replies] == [1, 2, 3]
    assert {(reply.answers[0].height, reply.answers[0].index) for reply in replies} == {(4, 2)}


def test_one_transaction_twice_in_a_submission_gets_two_answers() -> None:
    outcomes = waiting(Wait.FINAL, A, A)
    outcomes.tell(Answer("final", A))
    assert states(outcomes.drain()) == [["final", "final"]]


def test_an_empty_submission_is_answered_at_once() -> None:
    assert states(waiting(Wait.FINAL).drain()) == [[]]


def test_waiters_of_closed_submissions_are_swept() -> None:
    outcomes = waiting(Wait.RECEIVED, A)
    outcomes.tell(Answer("received", A))
    assert outcomes.awaited(A)
    outcomes.sweep()
    assert not outcomes.awaited(A)


def test_a_stranger_token_is_of_no_consequence() -> None:
    outcomes = Outcomes()
    outcomes.wait_for(A, 9, 0)
    outcomes.answer(9, 0, Answer("final", A))
    outcomes.gone(9)
    assert outcomes.drain() == []
    assert not outcomes.awaited(A)


def test_it_is_known_whether_anybody_waits_for_acceptance() -> None:
    """Signatures of holders are checked only then."""
    outcomes = waiting(Wait.ACCEPTED, A)
    outcomes.begin(2, Wait.FINAL, (B,))
    assert outcomes.accept_waiters == 1
    outcomes.tell(Answer("accepted", A))
    assert outcomes.accept_waiters == 0
    outcomes.begin(3, Wait.ACCEPTED, (A,))
    outcomes.gone(3)
    outcomes.begin(4, Wait.ACCEPTED, ())
    assert outcomes.accept_waiters == 0
