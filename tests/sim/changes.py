"""What a seed says of changes of members: who goes, who comes, when, and what goes wrong at that very moment.

Drawn from a stream of its own, and only from `plan.CHANGING_FROM` on: every seed before plays what it always played. Here: the
wishes and nothing of the world; `changing` signs them in the middle of chaos.
"""

from dataclasses import dataclass
from random import Random

KINDS = ("spare", "swap", "grow", "shrink", "approve")
"""A bank puts its spare in its member's place; the governor lets one leave and one join, lets one or two join, lets one leave, or
approves a spare and leaves the members as they are."""

LEAVERS = ("leader", "leader", "hostile", "anybody")
"""Who is put out, if there is one of the kind."""

AROUND = ("member down", "cut", "closer dies", "blackout")
"""What happens as soon as somebody has sent the block that closes the epoch: a member that stays goes down, the network is cut,
whoever sent the block dies, all lose power."""

NEWCOMERS = ("follows", "late", "wiped")
"""Who joins has followed from the beginning; begins when its epoch has begun, with an empty disk; or has followed and loses its
disk at the boundary."""

CHANGES_MAX = 3


@dataclass(frozen=True, slots=True)
class MemberChange:
    at_ms: int
    kind: str
    leaver: str
    lost: bool
    """Whoever is put out is gone for ever when its bank says so, as a lost machine is."""
    cut_before: bool
    """The network is cut when the wish is signed."""
    around: tuple[str, ...]
    newcomer: str
    ids: tuple[int, ...]
    """New node ids: of who joins, or of the spare."""
    bank: int
    """Whose spare it is."""


def drawn(draw: Random, members: int, banks: int, chaos_ms: int) -> tuple[MemberChange, ...]:
    """One to three changes within the chaos; new ids follow those of the members. A lost machine is one of the faults that a
    network bears, so there is one at most."""
    changes: list[MemberChange] = []
    free, lost = members, False
    for _ in range(draw.choice((1, 1, 2, CHANGES_MAX))):
        kind = draw.choice(KINDS)
        count = {"grow": draw.choice((1, 1, 2)), "shrink": 1}.get(kind, 1)
        lose = not lost and kind in {"spare", "swap"} and draw.random() < 0.3
        lost = lost or lose
        changes.append(
            MemberChange(
                at_ms=draw.randrange(200, chaos_ms * 2 // 3),
                kind=kind,
                leaver=draw.choice(LEAVERS),
                lost=lose,
                cut_before=draw.random() < 0.3,
                around=tuple(each for each in AROUND if draw.random() < 0.3),
                newcomer=draw.choice(NEWCOMERS),
                ids=tuple(range(free, free + count)),
                bank=draw.randrange(banks),
            )
        )
        free += count
    return tuple(changes)
