"""Who waits for what. A submission is answered once, when each of its transactions is where its client wants it, or refused.

Not here: how a transaction gets there.
"""

from dataclasses import dataclass, field

from tallystick.network.wire.ids import BodyId
from tallystick.node.core.effects import Answer, Reply
from tallystick.node.core.events import Wait

_RANK = {"received": 1, "accepted": 2, "final": 3, "refused": 4}


@dataclass(slots=True)
class Submission:
    wait: Wait
    body_ids: tuple[BodyId, ...]
    answers: list[Answer | None]
    open: int
    """How many are not yet where the client wants them."""


@dataclass(slots=True)
class Outcomes:
    """Open submissions of this node's clients."""

    accept_waiters: int = 0
    """Open submissions that wait for `accepted`."""
    replies: list[Reply] = field(default_factory=list)
    """Complete ones, to be sent when this step is durable."""
    _open: dict[int, Submission] = field(default_factory=dict)
    _waiters: dict[BodyId, list[tuple[int, int]]] = field(default_factory=dict)

    def begin(self, token: int, wait: Wait, body_ids: tuple[BodyId, ...]) -> None:
        count = len(body_ids)
        self._open[token] = Submission(wait, body_ids, [None] * count, count)
        self.accept_waiters += wait is Wait.ACCEPTED
        if not count:
            self.replies.append(Reply(token, ()))
            self._close(token)

    def wait_for(self, body_id: BodyId, token: int, index: int) -> None:
        """Tell this submission what becomes of the transaction."""
        if token in self._open:
            self._waiters.setdefault(body_id, []).append((token, index))

    def awaited(self, body_id: BodyId) -> bool:
        return body_id in self._waiters

    def answer(self, token: int, index: int, answer: Answer) -> None:
        """One transaction of one submission has got so far."""
        submission = self._open.get(token)
        if submission is None:
            return
        before = submission.answers[index]
        if before is not None and _RANK[before.state] >= _RANK[answer.state]:
            return
        submission.answers[index] = answer
        done = _RANK[answer.state] >= submission.wait
        if done and (before is None or _RANK[before.state] < submission.wait):
            submission.open -= 1
            if not submission.open:
                self._complete(token, submission)

    def tell(self, answer: Answer) -> None:
        """A transaction has got so far: everybody who waits for it hears of it."""
        last = answer.state in ("final", "refused")
        body_id = answer.body_id
        waiters = self._waiters.pop(body_id, ()) if last else self._waiters.get(body_id, ())
        for token, index in list(waiters):
            self.answer(token, index, answer)

    def body_ids_of(self, token: int) -> tuple[BodyId, ...]:
        """The transactions of an open submission."""
        submission = self._open.get(token)
        return submission.body_ids if submission is not None else ()

    def waits_for_acceptance(self, token: int) -> bool:
        submission = self._open.get(token)
        return submission is not None and submission.wait is Wait.ACCEPTED

    def gone(self, token: int) -> None:
        """The client waits no longer: it is told how far each transaction has come; the work itself goes on."""
        submission = self._close(token)
        if submission is not None:
            answers = [
                Answer("pending", body_id) if answer is None else answer
                for answer, body_id in zip(submission.answers, submission.body_ids, strict=True)
            ]
            self.replies.append(Reply(token, tuple(answers)))

    def drain(self) -> list[Reply]:
        replies, self.replies = self.replies, []
        return replies

    def sweep(self) -> None:
        """Forget waiters of submissions that are closed."""
        self._waiters = {
            body_id: kept
            for body_id, waiters in self._waiters.items()
            if (kept := [waiter for waiter in waiters if waiter[0] in self._open])
        }

    def _complete(self, token: int, submission: Submission) -> None:
        self._close(token)
        answers = tuple(answer for answer in submission.answers if answer is not None)
        self.replies.append(Reply(token, answers))

    def _close(self, token: int) -> Submission | None:
        submission = self._open.pop(token, None)
        if submission is not None and submission.wait is Wait.ACCEPTED:
            self.accept_waiters -= 1
        return submission
