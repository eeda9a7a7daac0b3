"""A short history that must execute to the same bytes for ever: every kind, every reason of the day, three hours.

`python -m tests.unit.contracts.golden` prints it as JSON. A difference to `golden_v1.json` means that old blocks no longer
replay; a new release may add a file beside it, never change it.
"""

import json
import sys

from msgspec.structs import replace

from tallystick.contracts import check_block, execute_block
from tallystick.network.wire.transactions import Transaction
from tests.unit.contracts.ledger import (
    BANK_A,
    BANK_B,
    CENTRAL_BANK,
    HOUR_MS,
    Ledger,
    h,
    signed_by,
)


def history() -> dict[str, list[dict[str, object]]]:
    """Every block's outcomes and writes in hexadecimal, in the order in which execution gave them."""
    ledger = Ledger()
    opened = _play(ledger, *_opening(ledger))
    alice, bob = (name for name, account in ledger.accounts.items() if account.serial == 1)
    blocks = [opened, _play(ledger, *_issuing(ledger, alice))]
    for hour in (0, 1, 25):
        ledger.time_ms += hour * HOUR_MS
        blocks.append(_play(ledger, *_paying(ledger, alice, bob)))
    return {"blocks": blocks}


def _opening(ledger: Ledger) -> list[Transaction]:
    return [
        ledger.opens(BANK_A, "a", ["alice", "alice-2"], threshold=2),
        ledger.opens(BANK_B, "b", ["bob"]),
        ledger.opens(BANK_B, "mallory", ["bob"]),
        replace(ledger.opens(BANK_B, "b", ["bob"], tier=0), id=h("id", 2)),
    ]


def _issuing(ledger: Ledger, alice: bytes) -> list[Transaction]:
    return [
        ledger.issues(alice, 5_000),
        ledger.issues(alice, 7_000, "EUR"),
        ledger.issues(ledger.root(CENTRAL_BANK), 999_999),
        ledger.issues(alice, 1, "GBP"),
        ledger.issues(alice, 1, issuer=BANK_A, signer="a"),
        ledger.issues(h("nobody")[:20], 1),
    ]


def _paying(ledger: Ledger, alice: bytes, bob: bytes) -> list[Transaction]:
    both = ("alice", "alice-2")
    first = ledger.pays(alice, bob, 500, *both)
    return [
        first,
        ledger.pays(alice, bob, 501, *both),
        ledger.pays(alice, bob, 450, *both),
        ledger.pays(alice, bob, 51, *both),
        ledger.pays(alice, bob, 4_000, *both, asset="EUR"),
        ledger.pays(alice, bob, 5_001, *both, asset="EUR"),
        ledger.pays(bob, ledger.root(BANK_B), 20, "bob"),
        ledger.pays(bob, alice, 1, "bob", asset="GBP"),
        ledger.pays(bob, bob, 1, "bob"),
        ledger.pays(bob, h("nobody")[:20], 1, "bob"),
        ledger.pays(h("nobody")[:20], bob, 1, "bob"),
        replace(ledger.pays(bob, alice, 1, "bob"), witnesses=signed_by("mallory")),
        ledger.pays(alice, bob, 2, *both, payment_id=first.id),
        ledger.pays(alice, bob, 2, *both, settle_by_ms=ledger.time_ms - 1),
        ledger.pays(ledger.root(BANK_B), bob, 400_000, "b", asset="EUR"),
    ]


def _play(ledger: Ledger, *transactions: Transaction) -> dict[str, object]:
    block = ledger.block(*transactions)
    fault = check_block(ledger, block)
    if fault is not None:
        raise AssertionError(fault)
    result = execute_block(ledger, block)
    ledger.keep(result)
    ledger.height = block.height
    return {
        "outcomes": [leaf.hex() for leaf in result.outcomes],
        "decisions": [list(decision) for decision in result.decisions],
        "accounts": {
            name.hex(): account.encode().hex() for name, account in result.accounts.items()
        },
        "records": {key.hex(): value.hex() for key, value in result.records.items()},
        "taken": {key.hex(): value.hex() for key, value in result.taken.items()},
        "refused": [body.hex() for body in result.refused],
        "consumed": {str(start): entries.hex() for start, entries in result.consumed.items()},
    }


if __name__ == "__main__":
    json.dump(history(), sys.stdout, indent=1)
