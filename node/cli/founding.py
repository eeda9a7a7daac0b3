"""Makes a whole network in one folder: genesis, identities, configurations, wallets and tokens, to be tried out at once.

A real network is founded by its members together, each making its own keys; the files are the same. Decided here: names,
numbers, ports, default limits. Not here: the command line (`network`), what the files mean (`node.config`, genesis).
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Final

from coincurve import PrivateKey

from tallystick.network.session import OBSERVER_ID_MIN
from tallystick.network.transport.tls import make_identity
from tallystick.network.wire.faults import invariant
from tallystick.network.wire.genesis import (
    AssetEntry,
    CheckpointKey,
    EngineName,
    Genesis,
    Parameters,
    ParticipantEntry,
    RuleEntry,
    account_id,
    chain_of,
    genesis_hash,
    genesis_to_json,
    validate_genesis,
)
from tallystick.network.wire.ids import NodeId, ParticipantId
from tallystick.network.wire.membership import MemberEntry, SpareEntry
from tallystick.node.api.tokens import Scope
from tallystick.node.cli.tokens import issue, make_issuer, write_private
from tallystick.node.runtime.checkpoint_key import write_checkpoint_key
from tallystick.node.runtime.signers import write_vote_key
from tallystick.node.storage.guard_file import GuardFile
from tallystick.node.storage.key_encryption import make_key_file

BANKS_MAX: Final = 26 * 27
"""bank-a … bank-z, bank-aa … bank-zz."""

CENTRAL_BANK: Final = ParticipantId(1)
REGULATOR: Final = "regulator"
OPERATOR: Final = "operator"
OBSERVER: Final = NodeId(OBSERVER_ID_MIN)
SPARE_ID_MIN: Final = 500
"""Member n may come back as 500 + n without a vote, once."""

ASSETS: Final = ("USD", "EUR")
SUPPLY_CAP_MINOR: Final = 10**15
"""Ten trillion of a currency with two decimals: far above what a try-out moves, far below 2**63."""

LIMITS_MINOR: Final = (
    (1_000_00, 5_000_00),
    (10_000_00, 50_000_00),
    (100_000_00, 500_000_00),
    (1_000_000_00, 5_000_000_00),
)
"""Tier → (cap of one payment: R01, sum of 24 hours: R04), of each asset; a root account has tier 3."""

USUAL_PARAMETERS: Final = Parameters()
TOKEN_DAYS: Final = 365
MADE: Final = ("genesis.json", "network.json", "nodes", "observers", "wallets", "tokens")
"""Everything that founding writes into the folder."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made."""

    folder: Path
    members: int = 4
    banks: int = 4
    """Participants beside the central bank; member i belongs to bank i, counting around."""
    base_port: int = 7600
    name: str = "tallystick"
    host: str = "127.0.0.1"
    parameters: Parameters = USUAL_PARAMETERS
    rules: tuple[RuleEntry, ...] | None = None
    """None: `LIMITS_MINOR` for every asset."""
    engine: EngineName = "pbft"

    def peer_port(self, index: int) -> int:
        return self.base_port + 2 * index

    def api_port(self, index: int) -> int:
        """The observer is the one after the last member."""
        return self.base_port + 2 * index + 1


@dataclass(frozen=True, slots=True)
class Member:
    """A node that votes, with the public halves of its keys."""

    id: NodeId
    name: str
    participant: ParticipantId
    vote_key: bytes
    tls_key_hash: bytes
    checkpoint_key: bytes
    possession: bytes


@dataclass(frozen=True, slots=True)
class Founded:
    """What was made."""

    genesis: Genesis
    chain: int
    members: tuple[Member, ...]
    observer_key_hash: bytes


def bank_name(index: int) -> str:
    """bank-a, …, bank-z, bank-aa, …"""
    high, low = divmod(index, 26)
    return "bank-" + (ascii_lowercase[high - 1] if high else "") + ascii_lowercase[low]


def found(plan: Plan, now_ms: int) -> Founded:
    """Write the network into its folder, which must be empty or absent. `created_ms` of genesis is `now_ms`."""
    invariant(1 <= plan.banks <= BANKS_MAX, "banks outside their bound", banks=plan.banks)
    plan.folder.mkdir(parents=True, exist_ok=True)
    members = tuple(_make_member(plan, index) for index in range(plan.members))
    observer = plan.folder / "observers" / REGULATOR
    (observer / "keys").mkdir(parents=True, mode=0o700)
    (observer / "data").mkdir(mode=0o700)
    make_key_file(observer / "keys" / "storage.key")
    observer_key_hash = make_identity(
        REGULATOR, observer / "keys" / "tls.key", observer / "keys" / "tls.crt"
    )
    genesis = _genesis(plan, members, tuple(_make_wallets(plan)), now_ms)
    faults = validate_genesis(genesis)
    invariant(not faults, "the founded genesis is not sound", faults=faults)
    founded = Founded(genesis, chain_of(genesis_hash(genesis)), members, observer_key_hash)
    (plan.folder / "genesis.json").write_bytes(genesis_to_json(genesis))
    (plan.folder / "network.json").write_text(_network_file(plan, founded))
    for index, member in enumerate(members):
        path = plan.folder / "nodes" / member.name / "node.toml"
        path.write_text(_member_toml(plan, founded, index))
    (observer / "node.toml").write_text(_observer_toml(plan, founded))
    _make_tokens(plan, founded, now_ms)
    return founded


def _make_member(plan: Plan, index: int) -> Member:
    name = bank_name(index)
    node = plan.folder / "nodes" / name
    keys = node / "keys"
    keys.mkdir(parents=True, mode=0o700)
    (node / "data").mkdir(mode=0o700)
    vote_key = write_vote_key(keys / "vote.key")
    GuardFile.create(keys / "guard")
    make_key_file(keys / "storage.key")
    checkpoint_key, possession = write_checkpoint_key(keys / "checkpoint.key")
    tls_key_hash = make_identity(name, keys / "tls.key", keys / "tls.crt")
    bank = ParticipantId(2 + index % plan.banks)
    return Member(NodeId(index), name, bank, vote_key, tls_key_hash, checkpoint_key, possession)


def _make_wallets(plan: Plan) -> Iterator[ParticipantEntry]:
    """A root key for each participant, in a keystore with a random password beside it."""
    from tallystick.wallet import keystore

    folder = plan.folder / "wallets"
    folder.mkdir()
    names = ["central-bank", *(bank_name(index) for index in range(plan.banks))]
    for number, name in enumerate(names, start=1):
        key, password = PrivateKey(), secrets.token_urlsafe(18)
        # A random password of 144 bits needs no slow key derivation.
        document = keystore.encrypt(key.secret, password, fast=True)
        write_private(folder / f"{name}.keystore.json", json.dumps(document).encode())
        write_private(folder / f"{name}.password", password.encode())
        seed = secrets.token_bytes(16)
        public = key.public_key.format(compressed=True)
        yield ParticipantEntry(ParticipantId(number), name, (public,), 1, seed)


def _genesis(
    plan: Plan,
    members: tuple[Member, ...],
    participants: tuple[ParticipantEntry, ...],
    now_ms: int,
) -> Genesis:
    usual = tuple(
        RuleEntry(rule, 1, asset, tier, limit)
        for asset in ASSETS
        for tier, limits in enumerate(LIMITS_MINOR)
        for rule, limit in zip((1, 4), limits, strict=True)
    )
    return Genesis(
        version=1,
        name=plan.name,
        lane=0,
        engine=plan.engine,
        created_ms=now_ms,
        parameters=plan.parameters,
        members=tuple(
            MemberEntry(m.id, m.name, m.participant, m.vote_key, m.tls_key_hash) for m in members
        ),
        participants=participants,
        assets=tuple(AssetEntry(code, 2, CENTRAL_BANK, SUPPLY_CAP_MINOR) for code in ASSETS),
        rules=usual if plan.rules is None else plan.rules,
        governor=CENTRAL_BANK,
        spares=tuple(SpareEntry(NodeId(SPARE_ID_MIN + m.id), m.participant) for m in members),
        checkpoint_keys=tuple(CheckpointKey(m.id, m.checkpoint_key, m.possession) for m in members),
    )


def _network_file(plan: Plan, founded: Founded) -> str:
    """What wallets read: where to go, which key to expect there, which accounts the participants' roots have."""
    endpoints = [
        {
            "node": member.id,
            "name": member.name,
            "url": f"https://{plan.host}:{plan.api_port(index)}",
            "tls_key_hash": member.tls_key_hash.hex(),
            "certificate": f"nodes/{member.name}/keys/tls.crt",
        }
        for index, member in enumerate(founded.members)
    ]
    observer = {
        "node": OBSERVER,
        "name": REGULATOR,
        "url": f"https://{plan.host}:{plan.api_port(plan.members)}",
        "tls_key_hash": founded.observer_key_hash.hex(),
        "certificate": f"observers/{REGULATOR}/keys/tls.crt",
    }
    participants = [
        {
            "id": entry.id,
            "name": entry.name,
            "root_account": account_id(founded.chain, entry.id, 0).hex(),
        }
        for entry in founded.genesis.participants
    ]
    document = {
        "name": plan.name,
        "genesis": "genesis.json",
        "chain": founded.chain,
        "endpoints": endpoints,
        "observers": [observer],
        "participants": participants,
    }
    return json.dumps(document, indent=2) + "\n"


_COMMON = """\
# One node. Paths are relative to this file; `tallystick.node.config` explains every setting and its default.
role = "{role}"
id = {id}
name = "{name}"
genesis = "../../genesis.json"
data = "data"
tls_key = "keys/tls.key"
tls_certificate = "keys/tls.crt"
api_host = "{host}"
api_port = {api_port}
jwks = "../../tokens/jwks.json"
"""
_VOTING = """\
vote_key = "keys/vote.key"
checkpoint_key = "keys/checkpoint.key"
guard = "keys/guard"            # never copy it back to an older state, never run two nodes with it
peer_host = "{host}"
peer_port = {peer_port}
"""
_STORAGE = """
[storage]
key = "file:keys/storage.key"   # opens the data folder; keep a copy elsewhere, never beside a copy of the data
"""
_PEER = """
[[peers]]
id = {id}
name = "{name}"
tls_key_hash = "{tls_key_hash}"
certificate = "{certificate}"
"""


def _member_toml(plan: Plan, founded: Founded, index: int) -> str:
    mine = founded.members[index]
    text = _COMMON.format(
        role="member", id=mine.id, name=mine.name, host=plan.host, api_port=plan.api_port(index)
    )
    text += _VOTING.format(host=plan.host, peer_port=plan.peer_port(index))
    text += _STORAGE + "".join(_peer_tomls(plan, founded, without=mine.id))
    return (
        text
        + _PEER.format(
            id=OBSERVER,
            name=REGULATOR,
            tls_key_hash=founded.observer_key_hash.hex(),
            certificate=f"../../observers/{REGULATOR}/keys/tls.crt",
        )
        + 'role = "observer"           # it dials us\n'
    )


def _observer_toml(plan: Plan, founded: Founded) -> str:
    text = _COMMON.format(
        role="observer",
        id=OBSERVER,
        name=REGULATOR,
        host=plan.host,
        api_port=plan.api_port(plan.members),
    )
    return text + _STORAGE + "".join(_peer_tomls(plan, founded, without=None))


def _peer_tomls(plan: Plan, founded: Founded, without: NodeId | None) -> Iterator[str]:
    for index, member in enumerate(founded.members):
        if member.id == without:
            continue
        yield (
            _PEER.format(
                id=member.id,
                name=member.name,
                tls_key_hash=member.tls_key_hash.hex(),
                certificate=f"../../nodes/{member.name}/keys/tls.crt",
            )
            + f'host = "{plan.host}"\nport = {plan.peer_port(index)}\n'
        )


def _make_tokens(plan: Plan, founded: Founded, now_ms: int) -> None:
    """One token for each participant (submits and reads its own), one for the regulator (reads all), one to operate nodes."""
    folder = plan.folder / "tokens"
    folder.mkdir(mode=0o700)
    key = make_issuer(folder)
    expires_s = now_ms // 1000 + TOKEN_DAYS * 86_400
    own = (Scope.SUBMIT, Scope.READ_OWN)
    for entry in founded.genesis.participants:
        token = issue(key, founded.chain, entry.name, own, entry.id, expires_s)
        write_private(folder / f"{entry.name}.jwt", token.encode())
    token = issue(key, founded.chain, OPERATOR, (Scope.OPERATE,), None, expires_s)
    write_private(folder / f"{OPERATOR}.jwt", token.encode())
    token = issue(key, founded.chain, REGULATOR, (Scope.READ_ALL,), None, expires_s)
    write_private(folder / f"{REGULATOR}.jwt", token.encode())
