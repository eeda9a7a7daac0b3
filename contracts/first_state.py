"""The state at height 0: participants with their root accounts, assets without supply, and the rules in force.

The genesis document's types bound each field; what relates fields to each other is checked here, before anything is built.
"""

from collections.abc import Hashable, Iterable, Iterator

from tallystick.contracts.aml.rule_set import KNOWN_RULES, record_of
from tallystick.contracts.authority import ROOT_SERIAL, ROOT_TIER
from tallystick.contracts.membership import first_membership
from tallystick.contracts.state import (
    ASSET,
    PARTICIPANT,
    RULES_KEY,
    Account,
    Asset,
    BlockResult,
    Participant,
    asset_key,
    participant_key,
)
from tallystick.network.proofs.windows import (
    WINDOWS_KEY,
    WINDOWS_MARK,
    WindowsMark,
    window_start,
)
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis, account_id, chain_of, genesis_hash
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.fields import keys_fault


def first_state(genesis: Genesis) -> BlockResult:
    """The writes that make height 0, without outcomes. `Refused(BAD_FIELD)` names the document's first fault."""
    for fault in _faults(genesis):
        raise Refused(RejectReason.BAD_FIELD, fault)
    chain = chain_of(genesis_hash(genesis))
    accounts: dict[bytes, Account] = {}
    records: dict[bytes, bytes] = {}
    for entry in genesis.participants:
        root = account_id(chain, entry.id, ROOT_SERIAL)
        accounts[root] = Account(
            participant=entry.id,
            serial=ROOT_SERIAL,
            tier=ROOT_TIER,
            threshold=entry.threshold,
            keys=entry.keys,
            seed=entry.seed,
            balances={},
            sent={},
        )
        records[participant_key(entry.id)] = PARTICIPANT.encode(
            Participant(1, entry.name, ROOT_SERIAL + 1)
        )
    for asset in genesis.assets:
        records[asset_key(asset.code)] = ASSET.encode(
            Asset(1, asset.exponent, asset.issuer, asset.supply_cap_minor, 0)
        )
    records[RULES_KEY] = record_of(genesis.rules)
    records.update(first_membership(genesis))
    now_ms = window_start(genesis.created_ms, genesis.parameters.window_ms)
    records[WINDOWS_KEY] = WINDOWS_MARK.encode(WindowsMark(1, now_ms, now_ms, 0, 0, b""))
    return BlockResult(accounts, records, [], [], {}, [], {})


def _faults(genesis: Genesis) -> Iterator[str]:
    participants = {entry.id for entry in genesis.participants}
    codes = {asset.code for asset in genesis.assets}
    yield from _repeats("participant", (entry.id for entry in genesis.participants))
    yield from _repeats("asset", (asset.code for asset in genesis.assets))
    yield from _repeats(
        "rule", ((rule.rule, rule.asset, rule.tier, rule.version) for rule in genesis.rules)
    )
    for entry in genesis.participants:
        fault = keys_fault(entry.keys, entry.threshold)
        if fault is not None:
            yield f"participant {entry.id}: {fault}"
    for asset in genesis.assets:
        if not asset.code.isalnum():
            yield f"asset {asset.code!r}: capital letters and digits only"
        if asset.issuer not in participants:
            yield f"asset {asset.code}: its issuer {asset.issuer} is not a participant"
    for rule in genesis.rules:
        if rule.rule not in KNOWN_RULES:
            yield f"rule R{rule.rule:02d} is not known to this release"
        if rule.asset not in codes:
            yield f"rule R{rule.rule:02d}: its asset {rule.asset!r} does not exist"
        if rule.version < 1:
            yield f"rule R{rule.rule:02d} for {rule.asset}: versions begin at 1"


def _repeats(what: str, names: Iterable[Hashable]) -> Iterator[str]:
    seen = set()
    for name in names:
        if name in seen:
            yield f"{what} {name} stands twice in the document"
        seen.add(name)
