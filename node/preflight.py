"""What is checked before a node starts: the files against genesis, and the keys against the members of the present epoch.

Decided here: which mistakes end the start, so that a wrong file is a sentence and not a strange night. Every function raises
`OperationalError`, which says what is wrong and with which file. Not here: how the parts are joined (`node.compose`), a
configuration's own faults (`node.config`).
"""

from tallystick.network.transport.tls import spki_hash
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import Genesis, genesis_from_json, validate_genesis
from tallystick.network.wire.ids import NodeId
from tallystick.node.config import NodeConfig
from tallystick.node.core.ledger import Ledger
from tallystick.node.runtime.checkpoint_key import FileCheckpointSigner


def genesis_of(config: NodeConfig) -> Genesis:
    """The network's genesis document, checked. `OperationalError` says what is wrong with it."""
    try:
        genesis = genesis_from_json(config.genesis.read_bytes())
    except (OSError, Refused) as error:
        raise OperationalError(f"{config.genesis} cannot be used: {error}") from None
    if faults := validate_genesis(genesis):
        raise OperationalError(f"{config.genesis} is not sound: {'; '.join(faults)}")
    return genesis


def checkpoint_signer(config: NodeConfig, genesis: Genesis) -> FileCheckpointSigner | None:
    """Ours, if genesis lists a checkpoint key of this node."""
    listed = {each.member: each.key for each in genesis.checkpoint_keys}.get(NodeId(config.id))
    if listed is None:
        return None
    if config.checkpoint_key is None:
        raise OperationalError(
            f"{config.source}: checkpoint_key is missing, and genesis lists one for node {config.id}"
        )
    signer = FileCheckpointSigner(config.checkpoint_key)
    if signer.public_key != listed:
        raise OperationalError(
            f"{config.checkpoint_key} is not the key that genesis lists for node {config.id}"
        )
    return signer


def check_id(config: NodeConfig, genesis: Genesis) -> None:
    """A number that genesis does not know is a mistake, unless the operator says that an epoch will name it."""
    known = [each.id for each in genesis.members] + [each.id for each in genesis.spares]
    if config.id not in known and not config.joining:
        raise OperationalError(
            f"genesis lists no member {config.id}; this node may only observe, or join: joining = true"
        )


def check_members(config: NodeConfig, ledger: Ledger, vote_key: bytes) -> None:
    """Our keys are those that the present epoch lists, and every other member is among our peers under its listed key. Who
    waits for an epoch may know only some members, of this one or a later: it follows blocks from whoever has them."""
    epoch, votes = ledger.members.epoch, config.id in ledger.members
    source = f"epoch {epoch}" if epoch else "genesis"
    pinned = {peer.id: bytes.fromhex(peer.tls_key_hash.removeprefix("0x")) for peer in config.peers}
    for member in ledger.voters:
        if member.id == config.id:
            if member.vote_key != vote_key:
                raise OperationalError(
                    f"{config.vote_key} is not the key that {source} lists for node {member.id}"
                )
            if spki_hash(config.tls_certificate.read_bytes()) != member.tls_key_hash:
                raise OperationalError(
                    f"{config.tls_certificate} is not the certificate of the key that {source} lists for {member.name}"
                )
        elif member.id not in pinned:
            if not votes:
                continue
            raise OperationalError(
                f"{config.source} has no [[peers]] entry for member {member.name} ({member.id})"
            )
        elif pinned[member.id] != member.tls_key_hash:
            raise OperationalError(
                f"the pinned key of peer {member.id} is not the one that {source} lists"
            )
