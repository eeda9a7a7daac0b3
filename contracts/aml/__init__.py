"""AML rules as typed, versioned data: `evaluate` says what they make of a payment, `active_rules` which are in force."""

from tallystick.contracts.aml.evaluate import evaluate
from tallystick.contracts.aml.explain import Headroom, explain, headroom
from tallystick.contracts.aml.model import Decision, Payment, RuleOutcome
from tallystick.contracts.aml.rule_set import ActiveRules, Limits, active_rules
from tallystick.contracts.aml.windows import Window

__all__ = [
    "ActiveRules",
    "Decision",
    "Headroom",
    "Limits",
    "Payment",
    "RuleOutcome",
    "Window",
    "active_rules",
    "evaluate",
    "explain",
    "headroom",
]
