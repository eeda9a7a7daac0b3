"""The names of things, as types. Inside the system an id is bytes or an integer, never a hex string."""

from typing import NewType

BodyId = NewType("BodyId", bytes)
"""32 bytes: SHA-256(0x00 ‖ raw transaction), which is also the transaction's leaf in the block's tree."""

TxDigest = NewType("TxDigest", bytes)
"""32 bytes: the EIP-712 digest that the payer signed. It does not cover the signatures."""

PaymentId = NewType("PaymentId", bytes)
"""32 bytes, chosen by the client, unique for its account. A UETR maps into it."""

AccountId = NewType("AccountId", bytes)
"""20 bytes, assigned by the ledger from (participant, serial)."""

ParticipantId = NewType("ParticipantId", int)
"""A bank on the ledger (u32), listed in genesis."""

NodeId = NewType("NodeId", int)
"""A process that speaks the peer protocol (u16). Members are listed in genesis; an id is never reused."""

Link = NewType("Link", bytes)
"""32 bytes: order and outcome of one block in one digest."""

Height = NewType("Height", int)
Epoch = NewType("Epoch", int)
View = NewType("View", int)
