"""One block, transaction by transaction (architecture section 10): pure, integer-only and total.

`check_block` says whether a block may exist at all on its parent's state; `execute_block` then gives every transaction of
it exactly one outcome, never an exception. Order of the checks: account, keys, id, then the kind's own. Authority comes
first, since until the keys are good the rest is hearsay and must not touch the account's ids. The id comes next, since a
used id ends the matter. Not here: bytes and signatures (admission), trees and roots (`network.proofs`), consensus.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Final

from tallystick.contracts import decisions
from tallystick.contracts.accounts import open_account
from tallystick.contracts.assets import issue
from tallystick.contracts.authority import meets
from tallystick.contracts.consumption import consume, window_records
from tallystick.contracts.deadlines import ordering_fault
from tallystick.contracts.decisions import Decision
from tallystick.contracts.invariants import check_consumed_once, check_supply
from tallystick.contracts.membership import activate_spare, change_members
from tallystick.contracts.state import (
    Account,
    BlockInput,
    BlockResult,
    CheckedTransaction,
    StateReader,
    WorkingSet,
)
from tallystick.contracts.transfers import transfer
from tallystick.network.proofs.receipts import OUTCOME, Cause, Outcome
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import (
    ActivateSpare,
    ChangeMembers,
    Issue,
    OpenAccount,
    Transaction,
    Transfer,
)

_VERSION: Final = 1

WORK_SIGNATURE: Final = 10
"""Work units of one signature check, about 40 µs: one unit is about 4 µs."""
WORK_RECORD: Final = 2
"""One record read, changed and hashed into the state tree."""
WORK_KEY: Final = 1
"""One new public key parsed."""

WORK_VOTE_KEYS: Final = 32
"""One vote key checked, about 130 µs, in units of `WORK_KEY`."""

Contract = Callable[[WorkingSet, Any, Account], Decision]

_CONTRACTS: Final[dict[type, tuple[int, Contract]]] = {
    OpenAccount: (1, open_account),
    Issue: (2, issue),
    Transfer: (3, transfer),
    ChangeMembers: (4, change_members),
    ActivateSpare: (5, activate_spare),
}
_CAUSE: Final = int(Cause.TRANSACTION)


def work_of(transaction: Transaction) -> int:
    """Work units of one transaction, from its bytes alone. Every kind touches two records."""
    keys = 0
    if type(transaction) is Transfer:
        pass  # nearly all of them, so asked first
    elif isinstance(transaction, OpenAccount):
        keys = len(transaction.keys)
    elif isinstance(transaction, ChangeMembers):
        keys = WORK_VOTE_KEYS * len(transaction.joining)
    return WORK_SIGNATURE * len(transaction.witnesses) + 2 * WORK_RECORD + WORK_KEY * keys


def check_block(state: StateReader, block: BlockInput) -> RejectReason | None:
    """Why this block is invalid on this parent's state, or None. Depends on bytes, header and parent state alone.

    Reasons: BLOCK_TOO_LARGE, WRONG_CHAIN, WRONG_LANE, PAST_DEADLINE, TOO_FAR_DEADLINE, ALREADY_ORDERED.
    """
    transactions, parameters = block.transactions, block.parameters
    count = len(transactions)
    if count > parameters.block_transactions_max:
        return RejectReason.BLOCK_TOO_LARGE
    # A block of one is always small enough, or its transaction could never be ordered.
    if (
        count > 1
        and sum([work_of(checked.transaction) for checked in transactions])
        > parameters.block_work_max
    ):
        return RejectReason.BLOCK_TOO_LARGE
    if len({checked.digest for checked in transactions}) != count:
        return RejectReason.ALREADY_ORDERED
    body_ids = {checked.body_id for checked in transactions}
    if len(body_ids) != count:
        return RejectReason.ALREADY_ORDERED
    return _ordering_fault(state, block, body_ids)


def _ordering_fault(
    state: StateReader, block: BlockInput, body_ids: AbstractSet[bytes]
) -> RejectReason | None:
    """The first fault of the first transaction that may not stand in this block."""
    chain, lane, time_ms = block.chain, block.lane, block.time_ms
    validity_ms = block.parameters.max_validity_ms
    taken = state.taken({checked.key for checked in block.transactions})
    refused = state.refused(body_ids)
    for checked in block.transactions:
        transaction = checked.transaction
        if transaction.chain != chain:
            return RejectReason.WRONG_CHAIN
        if transaction.lane != lane:
            return RejectReason.WRONG_LANE
        late = ordering_fault(transaction.valid_until_ms, time_ms, validity_ms)
        if late is not None:
            return late
        if taken.get(checked.key) == checked.digest or checked.body_id in refused:
            return RejectReason.ALREADY_ORDERED
    return None


def execute_block(state: StateReader, block: BlockInput) -> BlockResult:
    """Everything that a block accepted by `check_block` changes, and one outcome for each of its transactions.

    Deterministic in (state, block). Raises `InvariantError` only, for what would be our own fault.
    """
    working = WorkingSet(state, block)
    made = [_decide(working, checked) for checked in block.transactions]
    consumed, refused = consume(block, made)
    records = working.records()
    records.update(window_records(state, block, consumed))
    result = BlockResult(
        accounts=working.changed,
        records=records,
        outcomes=_outcomes(block, made),
        decisions=[(decision.status, decision.reason) for decision in made],
        taken=working.taken,
        refused=refused,
        consumed=consumed,
        next_members=None if working.membership is None else working.membership.voting(),
    )
    check_supply(working.versions, working.issued)
    check_consumed_once(result, len(block.transactions))
    return result


def _decide(working: WorkingSet, checked: CheckedTransaction) -> Decision:
    """One transaction's outcome at its place in the block; an authorised one takes its (account, id)."""
    transaction = checked.transaction
    payer = working.account(transaction.account)
    if payer is None:
        return decisions.UNKNOWN_ACCOUNT
    if not meets(payer, transaction.witnesses):
        return decisions.WRONG_KEYS
    key = checked.key
    if key in working.taken or key in working.taken_before:
        return decisions.ID_TAKEN
    working.taken[key] = checked.digest
    return _CONTRACTS[type(transaction)][1](working, transaction, payer)


def _outcomes(block: BlockInput, made: list[Decision]) -> list[bytes]:
    """The encoded leaves of the receipts tree. Every outcome is final today."""
    lane, height, encode, contracts = block.lane, block.height, OUTCOME.encode, _CONTRACTS
    leaves = []
    for index, (checked, decision) in enumerate(zip(block.transactions, made, strict=True)):
        transaction = checked.transaction
        # By position, in the struct's order: passing names would cost as much as the encoding.
        outcome = Outcome(
            _VERSION,
            lane,
            height,
            index,
            _CAUSE,
            checked.body_id,
            checked.digest,
            contracts[type(transaction)][0],
            transaction.account,
            transaction.id,
            decision.status,
            True,
            decision.reason,
            decision.findings,
            decision.opened,
        )
        leaves.append(encode(outcome))
    return leaves
