"""Three kinds of error, told apart by whose fault they are.

`Refused` is the peer's or the client's fault: a reason code and data. `OperationalError` is the world's: disk, network.
`InvariantError` is ours: it stays on in production and halts the node before it signs anything.
"""

from typing import NoReturn, TypeVar

from tallystick.network.wire.reasons import RejectReason

T = TypeVar("T")


class Refused(Exception):
    """Input that we do not take. `reason` is stable for machines, `detail` is a sentence for people."""

    def __init__(self, reason: RejectReason, detail: str = "", **facts: object) -> None:
        self.reason = reason
        self.detail = detail or reason.sentence
        self.facts = facts
        super().__init__(f"{reason.code}: {self.detail}")


class OperationalError(Exception):
    """The world failed us (disk, network). Retried, or the process stops; never a wrong answer."""


class InvariantError(Exception):
    """Our own rule was broken. The node halts before it signs."""

    def __init__(self, sentence: str, **facts: object) -> None:
        self.sentence = sentence
        self.facts = facts
        super().__init__(
            sentence + "".join(f" {name}={value!r}" for name, value in sorted(facts.items()))
        )


def invariant(condition: bool, sentence: str, **facts: object) -> None:
    """Raise `InvariantError` unless `condition` holds."""
    if not condition:
        raise InvariantError(sentence, **facts)


def broken(sentence: str, **facts: object) -> NoReturn:
    """Raise `InvariantError` where the type checker should know that nothing follows."""
    raise InvariantError(sentence, **facts)


def present(value: T | None, sentence: str, **facts: object) -> T:
    """Return `value`, which our own rules say is there."""
    if value is None:
        raise InvariantError(sentence, **facts)
    return value
