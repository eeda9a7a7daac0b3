"""PBFT, chain-linked: an engine for arbitrary faults of fewer than a third of the members. Face: `Pbft`.

Read `messages`, `state`, `ordering`, `view_change`, `synchronizer`, `core`; every departure from the paper is in
`DIVERGENCE.md`.
"""

from tallystick.consensus.pbft.core import Pbft

__all__ = ["Pbft"]
