"""What a verifier says: its checks in order, each with the sentence why it holds or why not, and what follows from all of them.

Decided here: the first check that fails ends the verdict, which then claims nothing; the exit codes. Not here: the checks (`verify`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from tallystick.network.proofs.receipts import Status
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason

EXIT_VERIFIED: Final = 0
"""Genuine and final: settled, rejected, expired, or never ordered, as the verdict says."""
EXIT_NOT_VERIFIED: Final = 1
"""Not genuine, or not readable."""
EXIT_INTERIM: Final = 3
"""Genuine, but only "as of height h". Reserved: no outcome of this version is interim."""

T = TypeVar("T")
Step: TypeAlias = tuple[str, Callable[[], str]]
"""A check: its name, and what gives the sentence why it holds or raises `Refused` with why it does not."""


@dataclass(frozen=True, slots=True)
class Check:
    """One step: its name, whether it held, and why or why not, for people."""

    name: str
    ok: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was checked, in order. Unless `ok`, the other fields are None: nothing is claimed."""

    ok: bool
    exit_code: int
    checks: tuple[Check, ...]
    assurance: str | None = None
    """BFT: false only if at least a third of the members signed something false. CFT: the members only crash, and a
    majority signed; one that lies can make it false."""
    height: int | None = None
    time_ms: int | None = None
    """The block's time."""
    status: Status | None = None
    reason: RejectReason | None = None
    """Why it was not settled; None when settled, or when the verdict is about an account or an absence."""
    consumed: bool | None = None
    """Whether this outcome is the digest's own. False: the account's keys did not sign these bytes, which
    anybody may have sent, so the payer's transaction may still be ordered and settle."""

    @property
    def failed(self) -> Check | None:
        return None if self.ok else self.checks[-1]


def expect(condition: bool, sentence: str) -> None:
    """`Refused(BAD_PROOF)` with the sentence, unless the condition holds."""
    if not condition:
        raise Refused(RejectReason.BAD_PROOF, sentence)


def run(steps: Iterable[Step]) -> tuple[Check, ...]:
    """The checks of `steps`, up to the first that fails."""
    checks = []
    for name, step in steps:
        try:
            checks.append(Check(name, True, step()))
        except Refused as refusal:
            checks.append(Check(name, False, refusal.detail))
            break
    return tuple(checks)


def well_formed(codec: Codec[T], value: T) -> str:
    """Structs made in memory are not checked against their bounds; decoding them is."""
    expect(codec.decode(codec.encode(value)) == value, "the evidence is not of its own form")
    return "every field is of its type and within its bounds"
