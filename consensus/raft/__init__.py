"""Raft, chain-linked: an engine for crash faults only, of fewer than half of the members. Face: `Raft`.

Read `messages`, `log`, `state`, `elections`, `replication`, `following`, `countersigning`, `operations`, `core`; the
arithmetic is in `quorums` and `membership`. Every departure from the thesis is in `DIVERGENCE.md`.
"""

from tallystick.consensus.raft.core import Raft
from tallystick.consensus.raft.election_clock import jitter_of

__all__ = ["Raft", "jitter_of"]
