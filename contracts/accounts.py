"""Opening accounts: the ledger assigns the id from (participant, serial), so nobody chooses or grinds one.

Keys and threshold were checked as bytes before ordering (`network.wire.transactions.fields`).
Not here: rotating keys, changing a tier, closing.
"""

from msgspec.structs import replace

from tallystick.contracts import decisions
from tallystick.contracts.authority import may_open_accounts
from tallystick.contracts.decisions import Decision, settled
from tallystick.contracts.state import Account, WorkingSet
from tallystick.network.wire.genesis import account_id
from tallystick.network.wire.ids import ParticipantId
from tallystick.network.wire.transactions import OpenAccount


def open_account(working: WorkingSet, transaction: OpenAccount, opener: Account) -> Decision:
    """Settled with the id of the new, empty account of the opener's participant, or NOT_PERMITTED."""
    if not may_open_accounts(opener):
        return decisions.NOT_PERMITTED
    participant = working.participant(opener.participant)
    serial = participant.next_serial
    opened = account_id(working.chain, ParticipantId(opener.participant), serial)
    account = Account(
        participant=opener.participant,
        serial=serial,
        tier=transaction.tier,
        threshold=transaction.threshold,
        keys=transaction.keys,
        seed=transaction.seed,
        balances={},
        sent={},
    )
    working.open(opened, account)
    working.participants[opener.participant] = replace(participant, next_serial=serial + 1)
    return settled(opened=opened)
