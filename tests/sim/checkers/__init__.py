"""What must hold after every step, whatever the weather. A checker knows nothing of how a node works inside: it reads frames,
answers, durable records and certified ledgers, and recomputes the rest.
"""


class Violation(Exception):
    """An invariant is broken. `invariant` is its short name, as the table of failures shows it."""

    def __init__(self, invariant: str, sentence: str) -> None:
        self.invariant = invariant
        self.sentence = sentence
        super().__init__(f"{invariant}: {sentence}")


def hold(condition: bool, invariant: str, sentence: str) -> None:
    """Raise `Violation` unless `condition` holds."""
    if not condition:
        raise Violation(invariant, sentence)
