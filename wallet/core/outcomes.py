"""What became of a transaction, as a closed union. Each that claims finality carries the evidence that was verified.

`Settled`, `Rejected` and `Expired` are final. `Received`, `Accepted` and `Pending` say how far it got; none of them is a
promise to pay. Not here: how the evidence is checked (`wallet.checking`).
"""

from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from tallystick.network.proofs.absence import Absence
from tallystick.network.proofs.receipts import Receipt
from tallystick.network.wire.ids import AccountId, BodyId, PaymentId, TxDigest
from tallystick.network.wire.reasons import RejectReason

DECISIONS = ("ALLOW", "REPORT", "HOLD", "REJECT")


@dataclass(frozen=True, slots=True)
class Reference:
    """The names of one submitted transaction."""

    account: AccountId
    id: PaymentId
    digest: TxDigest
    body_id: BodyId


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """What one AML rule saw and decided. Amounts in minor units of the payment's asset."""

    rule: str
    """"R01" … "R30"."""
    version: int
    decision: str
    observed_minor: int
    threshold_minor: int
    headroom_minor: int
    """What may still leave the account under this rule."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Executed as signed. The receipt has been verified against the genesis document."""

    reference: Reference
    receipt: Receipt
    findings: tuple[RuleFinding, ...] = ()
    opened: AccountId | None = None
    """The account that an OpenAccount was given."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Ordered, and refused by the ledger for `reason`. Nothing moved. The receipt has been verified."""

    reference: Reference
    receipt: Receipt
    reason: RejectReason
    findings: tuple[RuleFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class DeadlineEvidence:
    """Why a transaction without a receipt can never settle."""

    certified_time_ms: int
    """Time of a certified block, later than `valid_until_ms`: no block after it may order the transaction."""
    height: int
    nodes: tuple[str, ...]
    """At least f+1 nodes that held that block and had no such transaction: one of them at least is honest."""


@dataclass(frozen=True, slots=True)
class Expired:
    """Not settled and never will be: by a receipt of that kind, or its deadline passed before it was ordered.

    `absence` is proof of the latter, for anybody; `evidence` is the word of f+1 nodes, before there is proof.
    """

    reference: Reference
    receipt: Receipt | None
    evidence: DeadlineEvidence | None
    findings: tuple[RuleFinding, ...] = ()
    absence: Absence | None = None
    """Verified: it was never ordered and never can be."""


@dataclass(frozen=True, slots=True)
class Received:
    """One node says that its disk holds it. Nobody else has said anything."""

    reference: Reference
    node: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """f+1 members signed that they hold a durable copy; the signatures have been verified."""

    reference: Reference
    holders: tuple[int, ...] = ()
    """The member ids."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Not final yet; a node says how far it is. Ask again with `resolve`."""

    reference: Reference
    state: str
    """"received" or "accepted", by the node's word alone."""


FinalOutcome: TypeAlias = Settled | Rejected | Expired
Outcome: TypeAlias = Settled | Rejected | Expired | Received | Accepted | Pending


def is_final(outcome: Outcome) -> TypeGuard[FinalOutcome]:
    """Nothing that happens later changes it."""
    return isinstance(outcome, Settled | Rejected | Expired)


def headroom_minor(outcome: Outcome) -> int | None:
    """The smallest headroom that the rules left, in minor units; None if no rule spoke."""
    if isinstance(outcome, Received | Accepted | Pending):
        return None
    return min((finding.headroom_minor for finding in outcome.findings), default=None)
