"""Evidence of equivocation on this node's disk: bounded, one record for each position, never removed by what comes later."""

from dataclasses import dataclass, field

from tallystick.network.proofs.evidence import EVIDENCE, Evidence
from tallystick.node.core import schema
from tallystick.node.core.ports import Store
from tallystick.node.core.step import Step

PER_MEMBER_MAX = 16
"""Records against one member of one epoch: one convicts, a few show that it was no accident, more would fill our disk."""

MEMBERS_MAX = 1_024
"""(member, epoch) pairs with records: at 1 kB each, 16 MB in all."""


@dataclass(slots=True)
class EvidenceKept:
    store: Store
    _counts: dict[tuple[int, int], int] = field(init=False)
    """(signer, epoch) → records."""

    def __post_init__(self) -> None:
        self._counts = {}
        for evidence in kept_in(self.store):
            self._count(evidence)

    def keep(self, encoded: bytes, step: Step) -> None:
        """Into this step's batch. `encoded`: checked by the engine that found it."""
        evidence = EVIDENCE.decode(encoded)
        key, who = _key(evidence), (evidence.signer, evidence.epoch)
        full = self._counts.get(who, 0) >= PER_MEMBER_MAX
        if who not in self._counts and len(self._counts) >= MEMBERS_MAX:
            full = True
        if full or key in step.pairs or self.store.get(key) is not None:
            return
        step.pairs[key] = encoded
        self._count(evidence)

    def _count(self, evidence: Evidence) -> None:
        who = evidence.signer, evidence.epoch
        self._counts[who] = self._counts.get(who, 0) + 1


def kept_in(store: Store) -> list[Evidence]:
    """All of it, by epoch, signer and position."""
    return [EVIDENCE.decode(value) for _, value in store.scan(schema.EVIDENCE)]


def _key(evidence: Evidence) -> bytes:
    """Table, epoch, signer, kind, view, height."""
    place = evidence.view.to_bytes(8, "big") + evidence.height.to_bytes(8, "big")
    signer = evidence.signer.to_bytes(2, "big") + bytes([evidence.kind])
    return schema.EVIDENCE + evidence.epoch.to_bytes(8, "big") + signer + place
