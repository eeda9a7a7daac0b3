"""Rule versions as data: the ledger's record b"rules", and which version holds at a height.

For one (rule, asset, tier), the entry with the highest version whose effective height has come is in force. Old entries
stay in the record, so that old blocks replay identically. Not here: how a change is approved (governance comes later;
today all entries come from genesis and hold from height 0).
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from tallystick.contracts.aml.rules.amounts import R01, PaymentCap
from tallystick.contracts.aml.rules.totals import R04, RollingTotal
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused, broken
from tallystick.network.wire.genesis import RuleEntry
from tallystick.network.wire.transactions import AssetCode

KNOWN_RULES: Final = frozenset({R01, R04})
"""Rules that this release evaluates; a rule set that names another is refused."""

RULES_MAX = 1_000
"""Entries of one rule set, as in genesis: 64 assets, 4 tiers and 2 rules are 512."""


class VersionedRule(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One version of one rule for one asset and tier."""

    rule: Annotated[int, Meta(ge=1, le=30)]
    version: Annotated[int, Meta(ge=1, lt=2**32)]
    effective_height: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    asset: AssetCode
    tier: Annotated[int, Meta(ge=0, le=3)]
    limit_minor: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class RulesRecord(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The value of the record b"rules", entries sorted by (rule, asset, tier, version)."""

    format: Literal[1]
    entries: Annotated[tuple[VersionedRule, ...], Meta(max_length=RULES_MAX)]


RULES = Codec(RulesRecord, bytes_max=65_536)


class Limits(Struct, frozen=True, gc=False):
    """The rules in force for one asset and tier; None where none is set."""

    cap: PaymentCap | None = None
    rolling: RollingTotal | None = None


NO_LIMITS: Final = Limits()

ActiveRules = Mapping[tuple[str, int], Limits]
"""(asset code, tier) → what is in force. An absent key means `NO_LIMITS`."""


def record_of(rules: Iterable[RuleEntry]) -> bytes:
    """The encoded record of a genesis document's rules, in force from height 0."""
    entries = sorted(
        (
            VersionedRule(rule.rule, rule.version, 0, rule.asset, rule.tier, rule.limit_minor)
            for rule in rules
        ),
        key=lambda entry: (entry.rule, entry.asset, entry.tier, entry.version),
    )
    return RULES.encode(RulesRecord(1, tuple(entries)))


def active_rules(record: bytes | None, height: int) -> ActiveRules:
    """What is in force at `height`. No record means that nothing is set, so every payment lacks its rules."""
    heights, stages = _stages(record)
    return stages[bisect_right(heights, height) - 1]


@lru_cache(maxsize=8)
def _stages(record: bytes | None) -> tuple[list[int], list[ActiveRules]]:
    """The record, decoded once: the heights at which something changes, and what holds from each. Pure, so cached."""
    if record is None:
        return [0], [{}]
    try:
        entries = RULES.decode(record).entries
    except Refused as refused:
        broken("the record of rules does not decode", detail=refused.detail)
    heights = sorted({0, *(entry.effective_height for entry in entries)})
    return heights, [_in_force(entries, height) for height in heights]


def _in_force(entries: tuple[VersionedRule, ...], height: int) -> ActiveRules:
    caps: dict[tuple[str, int], PaymentCap] = {}
    totals: dict[tuple[str, int], RollingTotal] = {}
    for entry in sorted(entries, key=lambda entry: entry.version):
        if entry.effective_height > height:
            continue
        if entry.rule == R01:
            caps[entry.asset, entry.tier] = PaymentCap(entry.version, entry.limit_minor)
        elif entry.rule == R04:
            totals[entry.asset, entry.tier] = RollingTotal(entry.version, entry.limit_minor)
    return {
        key: Limits(caps.get(key), totals.get(key)) for key in sorted(caps.keys() | totals.keys())
    }
