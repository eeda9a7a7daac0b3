"""Is a recorded history strictly serialisable: is there one order of its operations that a sequential model explains, and that
puts whatever had ended before something else began in front of it? For operations on one object that is linearizability.

Source: J. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (1993), with G. Lowe's memory of (set of operations
placed, state) from "Testing for linearizability" (2017). Exponential at worst; a history with a known total order, as a
ledger's, is checked by `checkers.history` in one pass.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Step = Callable[[Any, Any, Any], Hashable | None]
"""(state, call, answer) → the state afterwards, None if the model cannot answer so. `UNKNOWN`: nobody heard the answer."""

UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Operation:
    """`invoked` and `returned` are moments of one clock, all different. `returned` None: it never came back, so it may have
    happened at any later moment, or never."""

    invoked: int
    returned: int | None
    call: Any
    answer: Any = UNKNOWN


class _Line:
    """Calls and returns in the order of time, as a list out of which operations are lifted and into which they are put back."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        moments = [(each.invoked, number, True) for number, each in enumerate(operations)]
        for number, each in enumerate(operations):
            if each.returned is not None:
                moments.append((each.returned, number, False))
        moments.sort()
        self.events = [(number, call) for _, number, call in moments]
        last = len(self.events)
        self.head: int = last
        self.end: int = last
        self.next: list[int] = [*range(1, last + 1), 0]
        self.before = [last, *range(last)]
        self.call_at = {number: at for at, (number, call) in enumerate(self.events) if call}
        self.return_at = {number: at for at, (number, call) in enumerate(self.events) if not call}

    @property
    def first(self) -> int:
        return self.next[self.head]

    def lift(self, number: int) -> None:
        self._out(self.call_at[number])
        if number in self.return_at:
            self._out(self.return_at[number])

    def put_back(self, number: int) -> None:
        if number in self.return_at:
            self._in(self.return_at[number])
        self._in(self.call_at[number])

    def _out(self, at: int) -> None:
        self.next[self.before[at]], self.before[self.next[at]] = self.next[at], self.before[at]

    def _in(self, at: int) -> None:
        self.next[self.before[at]] = self.before[self.next[at]] = at


def strictly_serialisable(
    operations: Sequence[Operation], first_state: Hashable, step: Step
) -> bool:
    """Whether some order explains every answer. True for an empty history: there is nothing to check."""
    line = _Line(operations)
    state, placed = first_state, 0
    owed = len(line.return_at)
    """Operations that returned must be placed; the others may be."""
    undo: list[tuple[int, Hashable]] = []
    seen: set[tuple[int, Hashable]] = set()
    at = line.first
    while owed:
        number, is_call = line.events[at] if at != line.end else (-1, False)
        if is_call:
            each = operations[number]
            after = step(state, each.call, each.answer)
            mark = (placed | 1 << number, after)
            if after is not None and mark not in seen:
                seen.add(mark)
                undo.append((number, state))
                placed, state = mark
                owed -= number in line.return_at
                line.lift(number)
                at = line.first
            else:
                at = line.next[at]
            continue
        # Something returned before anything that is left could have happened: the last choice was wrong.
        if not undo:
            return False
        number, state = undo.pop()
        placed ^= 1 << number
        owed += number in line.return_at
        line.put_back(number)
        at = line.next[line.call_at[number]]
    return True


# -- models ------------------------------------------------------------------------------------------------------------

REFUSED = "refused"
"""A comparison that failed, or a payment without funds."""


def register(state: Any, call: Any, answer: Any) -> Hashable | None:
    """State (value,). Calls ("read",), ("write", v), ("cas", expected, new)."""
    match call:
        case ("read",):
            return state if answer in ((), state) or answer is UNKNOWN else None
        case ("write", value):
            return (value,)
        case ("cas", expected, new):
            if answer is UNKNOWN:
                return (new,) if state == (expected,) else state
            if state == (expected,):
                return None if answer == REFUSED else (new,)
            return state if answer == REFUSED else None
    raise ValueError(call)


def text(state: Any, call: Any, answer: Any) -> Hashable | None:
    """One key of a store: state is its text. Calls ("get",), ("put", s), ("append", s)."""
    match call:
        case ("get",):
            return state if answer is UNKNOWN or answer == state else None
        case ("put", value):
            return str(value)
        case ("append", value):
            return str(state) + str(value)
    raise ValueError(call)


def bank(state: Any, call: Any, answer: Any) -> Hashable | None:
    """State: sorted ((account, asset), amount) without zeros. Calls ("issue", creditor, asset, amount), ("transfer", debtor,
    creditor, asset, amount), ("read", account, asset), ("other",); answers "settled", `REFUSED`: not covered, an amount for a
    read, anything else: refused for a reason that money does not explain."""
    held = dict(state)
    match call:
        case ("read", account, asset):
            return state if answer == held.get((account, asset), 0) else None
        case ("issue", creditor, asset, amount) if answer == "settled":
            return _with(held, [((creditor, asset), amount)])
        case ("transfer", debtor, creditor, asset, amount) if answer in ("settled", REFUSED):
            covered = held.get((debtor, asset), 0) >= amount
            if covered != (answer == "settled"):
                return None
            moves = [((debtor, asset), -amount), ((creditor, asset), amount)]
            return _with(held, moves) if covered else state
    unchanged: Hashable = state
    return unchanged


def _with(held: dict[Any, int], moves: Iterable[tuple[Any, int]]) -> Hashable:
    for place, amount in moves:
        held[place] = held.get(place, 0) + amount
    return tuple(sorted(pair for pair in held.items() if pair[1]))
