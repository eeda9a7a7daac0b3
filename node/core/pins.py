"""Who may connect, by the certified ledger: identities follow the member set.

Decided here: a member of this epoch under the TLS key that it joined with, nobody under an id or a key that was put out, and
everybody else whom the operator has configured: a spare or a new bank must follow blocks before an epoch names it, and is
served nothing but final blocks until then. Not here: the handshake (`network.transport`).
"""

from tallystick.contracts.state import MEMBERS_KEY, MEMBERSHIP, own
from tallystick.network.wire.ids import NodeId
from tallystick.node.core.ledger import Ledger


def may_connect(ledger: Ledger, node: NodeId, tls_key_hash: bytes) -> bool:
    """`tls_key_hash`: 32 bytes, the key that the peer has just proven to hold."""
    for entry in ledger.voters:
        if entry.id == node or entry.tls_key_hash == tls_key_hash:
            return (entry.id, entry.tls_key_hash) == (node, tls_key_hash)
    now = own(MEMBERSHIP, ledger.record(MEMBERS_KEY))
    retired = () if now is None else now.retired
    return all(each.id != node and each.tls_key_hash != tls_key_hash for each in retired)
