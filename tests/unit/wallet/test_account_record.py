"""The wallet reads an account's record as the ledger writes it."""

import pytest

from tallystick.contracts.aml.windows import Window
from tallystick.contracts.state import Account, account_key
from tallystick.network.wire.faults import Refused
from tallystick.wallet.core import account_record
from tests.unit.wallet.networks import small_network

KEYS = tuple(sorted(signer.key for signer in small_network().signers))


def test_a_record_of_the_ledger_is_read_whole() -> None:
    account = Account(
        7, 3, 2, 2, KEYS, bytes(16), {"USD": 2**63 - 1, "EUR": 0}, {"USD": Window(500_000, 12, 0)}
    )
    read = account_record.read(account.encode())
    assert (read.participant, read.serial, read.tier, read.threshold) == (7, 3, 2, 2)
    assert read.keys == KEYS
    assert dict(read.balances) == account.balances
    assert account_record.account_key(bytes(20)) == account_key(bytes(20))


def test_what_is_no_record_is_not_guessed_at() -> None:
    good = Account(7, 3, 2, 2, KEYS, bytes(16), {"USD": 5}, {}).encode()
    for bad in (
        b"",
        good[:-1],
        good + b"\0",
        b"\x98\x02" + good[2:],
        bytes(account_record.RECORD_BYTES_MAX + 1),
    ):
        with pytest.raises(Refused):
            account_record.read(bad)
