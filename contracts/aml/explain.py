"""Findings and headroom as data and as sentences, for wallets, consoles and the account page.

Nothing here decides anything: the numbers are those of the finding, or those the next payment would meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.contracts.aml.model import MISSING_VERSION, RuleOutcome
from tallystick.contracts.aml.rule_set import NO_LIMITS, ActiveRules
from tallystick.contracts.aml.rules.amounts import R01
from tallystick.contracts.aml.rules.totals import R04
from tallystick.contracts.aml.windows import Window, hour_of
from tallystick.network.proofs.receipts import Finding

_OBSERVES = {
    R01: "the amount of one payment",
    R04: "the sum of 24 hours, counted in whole hours and so over up to 25",
}


@dataclass(frozen=True, slots=True)
class Headroom:
    """What an account may still send of one asset, in minor units. None where no rule is set: then nothing may leave."""

    asset: str
    cap_minor: int | None
    limit_minor: int | None
    sent_minor: int
    headroom_minor: int
    """The largest single payment that both rules would allow now."""


def explain(finding: Finding) -> str:
    """One sentence with rule, version, what was observed, the threshold and what is left."""
    name = f"R{finding.rule:02d}"
    if finding.version == MISSING_VERSION:
        return (
            f"{name}: no limit is set for this asset and tier, and what is not set is not allowed."
        )
    return (
        f"{name} version {finding.version} observed {finding.observed_minor} of at most {finding.threshold_minor} "
        f"minor units ({_OBSERVES.get(finding.rule, 'see the catalogue')}): "
        f"{RuleOutcome(finding.outcome).name}, headroom {finding.headroom_minor}."
    )


def headroom(
    rules: ActiveRules, tier: int, sent: Mapping[str, Window], asset: str, time_ms: int
) -> Headroom:
    """What the rules in force would let an account of `tier` send of `asset` in a block of `time_ms`."""
    limits = rules.get((asset, tier), NO_LIMITS)
    window = sent.get(asset)
    sent_minor = 0 if window is None else window.sent_minor(hour_of(time_ms))
    cap = None if limits.cap is None else limits.cap.limit_minor
    limit = None if limits.rolling is None else limits.rolling.limit_minor
    free = 0 if cap is None or limit is None else max(0, min(cap, limit - sent_minor))
    return Headroom(asset, cap, limit, sent_minor, free)
