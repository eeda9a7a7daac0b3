"""A transaction's bytes and their name.

`decode` accepts exactly the bytes that `encode` gives for some transaction whose fields are within bounds. msgspec does not
check fields when a struct is made by hand, so whoever builds one signs and sends `decode(encode(it))`, never the draft.
"""

from hashlib import sha256
from typing import Final, cast

from tallystick.network.wire import bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.ids import BodyId
from tallystick.network.wire.transactions import KINDS, Transaction

TRANSACTION: Final[Codec[Transaction]] = Codec(
    cast("type[Transaction]", Transaction), bytes_max=bounds.TRANSACTION_BYTES_MAX
)

encode = TRANSACTION.encode
"""(transaction) → its canonical bytes."""

decode = TRANSACTION.decode
"""(raw) → the transaction, or `Refused` with OVERSIZED, MALFORMED or NON_CANONICAL."""

_KIND_OF: Final = {kind: number for number, kind in enumerate(KINDS, start=1)}


def body_id(raw: bytes) -> BodyId:
    """SHA-256(0x00 ‖ raw): names the bytes, signatures included; the leaf hash in the block's RFC 6962 tree."""
    return BodyId(sha256(b"\x00" + raw).digest())


def kind_of(transaction: Transaction) -> int:
    """The kind's number, which is also the first element of the encoding."""
    return _KIND_OF[type(transaction)]
