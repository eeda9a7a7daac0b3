"""Prepares the node that takes a member's place under a spare id: fresh keys, a fresh guard, its own folder.

Nothing of the old node is needed but its configuration: its disk may be lost, rolled back or in a stranger's hands. Decided here:
what is written and what the others must be told. Not here: the activation, which the bank's root account signs (`wallet`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tallystick.network.transport.tls import make_identity
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.genesis import genesis_from_json
from tallystick.node.config import NodeConfig
from tallystick.node.runtime.signers import write_vote_key
from tallystick.node.storage.guard_file import GuardFile
from tallystick.node.storage.key_encryption import make_key_file


@dataclass(frozen=True, slots=True)
class Prepared:
    """The public halves, for the activation and for the other banks."""

    folder: Path
    vote_key: bytes
    tls_key_hash: bytes
    peer: str
    """The `[[peers]]` table that every other node adds; the certificate's path is theirs to set."""


def _approved(old: NodeConfig, spare: int) -> None:
    """Genesis may have approved the id for another bank: then nobody would ever accept it. Later approvals are not known here."""
    genesis = genesis_from_json(old.genesis.read_bytes())
    bank = next((each.participant for each in genesis.members if each.id == old.id), None)
    for each in genesis.spares:
        if each.id == spare and bank is not None and each.participant != bank:
            ours = [entry.id for entry in genesis.spares if entry.participant == bank]
            raise OperationalError(f"{spare} is approved for another bank; for this one: {ours}")


def prepare_spare(old: NodeConfig, spare: int, folder: Path, peer_port: int, api_port: int) -> Prepared:  # fmt: skip
    """Make `folder`, which must be absent, beside the old node's. Port 0: the old node's."""
    if folder.exists():
        raise OperationalError(f"{folder} is there already; a spare begins in a new folder")
    if old.role != "member" or not 0 <= spare <= bounds.MEMBER_ID_MAX or spare == old.id:
        raise OperationalError(f"{spare} cannot take the place of {old.role} {old.id}")
    if folder.resolve().parent != old.source.resolve().parent.parent:
        raise OperationalError(f"{folder} must lie beside {old.source.parent}: paths are relative")
    _approved(old, spare)
    keys = folder / "keys"
    keys.mkdir(parents=True, mode=0o700)
    (folder / "data").mkdir(mode=0o700)
    vote_key = write_vote_key(keys / "vote.key")
    GuardFile.create(keys / "guard")
    for source in old.storage.sources:
        kind, _, path = source.partition(":")
        if kind == "file" and not (folder / path).exists():
            make_key_file(
                folder / path
            )  # a key of its own: the old one may be in the stranger's hands, too
    tls_key_hash = make_identity(old.name, keys / "tls.key", keys / "tls.crt")
    peer_port, api_port = peer_port or old.peer_port, api_port or old.api_port
    text = old.source.read_text("utf-8")
    for setting, value in (("id", spare), ("peer_port", peer_port), ("api_port", api_port)):
        text = re.sub(rf"(?m)^{setting} = \d+", f"{setting} = {value}", text, count=1)
    # Genesis lists its members' checkpoint keys alone: a spare votes, and signs no checkpoints.
    text = re.sub(r"(?m)^checkpoint_key = .*\n", "", text)
    (folder / "node.toml").write_text(text)
    peer = (
        f'[[peers]]\nid = {spare}\nname = "{old.name}"\ntls_key_hash = "{tls_key_hash.hex()}"\n'
        f'certificate = "{keys / "tls.crt"}"\nhost = "{old.peer_host}"\nport = {peer_port}\n'
    )
    return Prepared(folder, vote_key, tls_key_hash, peer)
