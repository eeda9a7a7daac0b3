"""Bounded exhaustive search: every state within a world's bound, nearest first, so that what breaks comes with a shortest trace."""

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

State = TypeVar("State", bound=Hashable)


class Bounded(Protocol[State]):
    def start(self) -> State: ...

    def next(self, state: State) -> Iterator[tuple[str, State]]:
        """(name of the action, state after it)."""
        ...

    def canonical(self, state: State) -> State:
        """One name for states that differ only in who is called what."""
        ...

    def fault(self, state: State) -> str:
        """What is wrong here; empty: nothing."""
        ...


@dataclass
class Found:
    states: int = 0
    broken: str = ""
    trace: list[str] = field(default_factory=list)


def search(world: Bounded[State], states_max: int) -> Found:
    """Raises past `states_max`: a search that was cut short has shown nothing."""
    start = world.canonical(world.start())
    came: dict[State, tuple[State, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        for what, moved in world.next(state):
            after = world.canonical(moved)
            if after in came:
                continue
            came[after] = (state, what)
            fault = world.fault(after)
            if fault:
                return Found(len(came), fault, _trace(came, after))
            queue.append(after)
        if len(came) > states_max:
            raise AssertionError(f"more than {states_max} states: the bound of the search is wrong")
    return Found(len(came))


def _trace(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    names: list[str] = []
    step = came[state]
    while step is not None:
        names.append(step[1])
        step = came[step[0]]
    return names[::-1]
