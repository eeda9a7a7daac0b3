"""The node's part of the one command: groups of commands, `why_stalled` and `list_evidence`.

Exit codes: 0 done; 1 it could not be done, the sentence says what to do; 2 the command line is wrong; 70 the node halted
and its diagnosis must be read before it is started again.
"""

from tallystick.node.cli.checkpoints import show_checkpoint
from tallystick.node.cli.ledger import ledger_app
from tallystick.node.cli.network import network_app
from tallystick.node.cli.operate import node_app, observer_app
from tallystick.node.cli.sealing import rekey, seal
from tallystick.node.cli.stalls import list_evidence, why_stalled

__all__ = [
    "ledger_app",
    "list_evidence",
    "network_app",
    "node_app",
    "observer_app",
    "rekey",
    "seal",
    "show_checkpoint",
    "why_stalled",
]
