"""Every bound of the system: name, unit, value, reason. A bound that is part of a format may only grow by a version.

What a network may choose for itself (validity, block size, timeouts) stands in its genesis document; the bounds here are
what no genesis may exceed.
"""

TRANSACTION_BYTES_MAX = 8_192
"""One encoded transaction. Ten signatures and ten new keys need about 1,600."""

SIGNATURES_MAX = 10
"""Signatures on one transaction, and keys on one account: a check costs about 40 µs each."""

WITNESSES_PARSED_MAX = 16
"""Signatures that are parsed at all, so that one too many gets a reason of its own."""

ASSET_CODE_LENGTH_MAX = 12
"""Characters of an asset's code; an ISO 4217 code has 3."""

AMOUNT_MINOR_MAX = 2**63 - 1
"""One amount, balance or supply, in minor units: it fits a signed 64-bit integer in every language."""

ASSET_EXPONENT_MAX = 6
"""Decimal places of an asset."""

TIME_MS_MAX = 2**53 - 1
"""Milliseconds since 1970: exact in JSON readers that hold numbers as doubles."""

BLOCK_TRANSACTIONS_MAX = 4_096
"""Transactions in one block; a proposal of 32-byte ids stays below 132 kB."""

MEMBERS_MAX = 64
"""Consensus members of one lane. Votes go from all to all."""

MEMBERS_BFT_MIN = 4
"""The fewest members that tolerate one that lies (n > 3f)."""

MEMBER_ID_MAX = 999
"""Ids from 1,000 on are observers'. An id votes for one member once, so this bounds the retired ones, too."""

MEMBERS_CHANGED_MAX = 32
"""Ids that leave, members that join and spares that are approved in one change: it fits a transaction of 8 kB."""

SPARES_MAX = 256
"""Spare ids that wait to be used, four for each member."""

EPOCHS_PROVEN_MAX = 64
"""Changes of members that one receipt may walk through from genesis."""

PARTICIPANTS_MAX = 4_096
"""Banks in one genesis document."""

ASSETS_MAX = 64
"""Assets on one ledger: an account's record holds a balance for each asset it uses."""

BODIES_PER_FRAME_MAX = 512
"""Transactions in one forwarding frame."""

FRAME_BYTES_MAX = 16 * 1024 * 1024
"""One WebSocket message between nodes: a catch-up answer is the largest."""

CONSENSUS_MESSAGE_BYTES_MAX = 512 * 1024
"""A proposal with its ids, or a new view with every member's certificate."""

PIPELINE_MAX = 8
"""Proposals in flight that a genesis may ask for."""

CATCH_UP_BLOCKS_MAX = 64
"""Blocks in one catch-up answer, further bounded by `CATCH_UP_BYTES`."""

CATCH_UP_BYTES = 4 * 1024 * 1024
"""A catch-up answer closes after the block that passes this size."""

STATE_CHUNK_BYTES = 64 * 1024
"""A chunk of a snapshot's state ends at the first row that reaches this: about 3 ms of the serving node."""

STATE_ROW_BYTES_MAX = 1024 * 1024
"""One row of the state: an account has 40,000 bytes at most, the member set less than 256 ids and keys of 100 bytes."""

STATE_ROWS_MAX = 16_384
"""Rows in one chunk: an account's has more than 60 bytes, a window's about 50."""

GENESIS_BYTES_MAX = 4 * 1024 * 1024
"""The genesis document in its hashed encoding."""

GENESIS_FILE_BYTES_MAX = 16 * 1024 * 1024
"""The genesis file: the same in readable JSON, about three times as long."""

RECEIPT_BYTES_MAX = 2 * 1024 * 1024
"""One receipt file in its JSON form: 4 kB in epoch 0, and 3 kB (4 members) to 26 kB (64) for each change of members since."""

MERKLE_PATH_MAX = 64
"""Hashes in one inclusion path."""

PARSED_KEYS_MAX = 65_536
"""Parsed public keys that a process remembers, about 300 bytes each; the least recently used is forgotten first."""

ASSET_HASHES_MAX = 256
"""Hashed strings that a digester remembers; forgetting one costs 1 µs."""

AMOUNT_TEXT_LENGTH_MAX = 32
"""Characters of an amount as people write it; the largest has 20."""

SESSION_MESSAGE_BYTES_MAX = 4 * 1024
"""A greeting between nodes."""

BODIES_FRAME_BYTES_MAX = 4 * 1024 * 1024 + 16 * 1024
"""One forwarding frame: `BODIES_PER_FRAME_MAX` transactions of the largest size, and their lengths."""

FRAMES_PER_MESSAGE_MAX = 4_096
"""Frames in one WebSocket message: an outbox that was kept waiting sends the rest in the next one."""

NOTE_BYTES_MAX = 64 * 1024
"""A checkpoint as a signed note: 64 members' lines of 200 bytes, and as many witnesses' with long names."""

NOTE_LINES_MAX = 256
"""Signatures of one note: 64 members, and witnesses; the format asks verifiers to take at least 16."""

CHECKPOINT_MESSAGE_BYTES_MAX = 1_024
"""What a member says of one checkpoint: 250 bytes."""
