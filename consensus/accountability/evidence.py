"""Turns two statements that exclude each other into evidence, if both are genuine.

Decided here: nothing is kept before both signatures have been checked with the key of the member that is named, so a forged
message convicts nobody, whoever sent it. What excludes what is `network.proofs.evidence`. Checks are paid for by conflicts
alone; a conflicting message costs its sender its one chance at that position.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.network.proofs.evidence import (
    EVIDENCE,
    VERSION,
    Evidence,
    Kind,
    Said,
    check_evidence,
    sorted_pair,
)
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Epoch, Height, NodeId, View

POSITIONS_MAX = 256
"""Positions for which a conflict has been looked at: each costs two signature checks, once."""

Verify = Callable[[bytes, bytes, bytes], bool]


@dataclass(slots=True)
class Convictions:
    """What one engine has found in its epoch. Only PBFT's engine asks."""

    chain: int
    lane: int
    epoch: Epoch
    verify: Verify
    _looked_at: dict[tuple[NodeId, Kind, View, Height], bool] = field(default_factory=dict)
    """Position → the signer was convicted there."""

    def weigh(
        self,
        signer: NodeId,
        key: bytes,
        kind: Kind,
        view: View,
        height: Height,
        pair: tuple[Said, Said],
    ) -> bytes | None:
        """Encoded evidence against `signer`, or None: they agree, one is no signature of its key, or it is known."""
        first, second = sorted_pair(*pair)
        position = signer, kind, view, height
        if first.statement == second.statement or self._looked_at.get(position):
            return None
        full = len(self._looked_at) >= POSITIONS_MAX
        if full and position not in self._looked_at:
            del self._looked_at[next(iter(self._looked_at))]
        evidence = Evidence(
            VERSION, self.chain, self.lane, self.epoch, signer, kind, view, height, first, second
        )
        try:
            check_evidence(evidence, self.chain, self.lane, key, self.verify)
        except Refused:
            self._looked_at[position] = False
            return None
        self._looked_at[position] = True
        return EVIDENCE.encode(evidence)

    def convicted(self, signer: NodeId, kind: Kind, view: View, height: Height) -> bool:
        """Is there evidence against it at this position?"""
        return self._looked_at.get((signer, kind, view, height), False)
