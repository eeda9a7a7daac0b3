"""An account's record as an outsider reads it: the proven bytes of the state map, without the AML windows' insides.

The format is the ledger's (docs/formats.md); a reader refuses what he does not know rather than guess at a balance.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import AssetCode, KeyBytes

RECORD_BYTES_MAX = 65_536
"""64 assets with full windows need about 40,000 bytes."""

Minor = Annotated[int, Meta(ge=0, le=bounds.AMOUNT_MINOR_MAX)]


class AccountRecord(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Balances in minor units by asset code."""

    format: Literal[1]
    participant: int
    serial: int
    tier: int
    threshold: int
    keys: tuple[KeyBytes, ...]
    balances: tuple[tuple[AssetCode, Minor], ...]
    sent: tuple[tuple[AssetCode, Any], ...]


_decoder = msgspec.msgpack.Decoder(AccountRecord)


def account_key(account: bytes) -> bytes:
    """The account's key in the state map."""
    return b"account/" + account


def read(value: bytes) -> AccountRecord:
    """`Refused(MALFORMED)` for bytes that are no account record of this format."""
    if len(value) > RECORD_BYTES_MAX:
        raise Refused(RejectReason.OVERSIZED, bytes=len(value), bytes_max=RECORD_BYTES_MAX)
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(RejectReason.MALFORMED, f"not an account record: {error}") from None
