"""What a block does to the ledger: pure, integer-only, total. Start at `machine`; `DESIGN.md` has the map."""

from tallystick.contracts.deadlines import ordering_fault, settle_by_passed
from tallystick.contracts.first_state import first_state
from tallystick.contracts.machine import check_block, execute_block, work_of
from tallystick.contracts.state import (
    Account,
    BlockInput,
    BlockResult,
    CheckedTransaction,
    StateReader,
    account_key,
    asset_key,
    participant_key,
)

__all__ = [
    "Account",
    "BlockInput",
    "BlockResult",
    "CheckedTransaction",
    "StateReader",
    "account_key",
    "asset_key",
    "check_block",
    "execute_block",
    "first_state",
    "ordering_fault",
    "participant_key",
    "settle_by_passed",
    "work_of",
]
