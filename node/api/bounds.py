"""Every bound of the HTTP interface: name, unit, value, reason. A test stands at and over each."""

BODY_BYTES_MAX = 4 * 1024 * 1024
"""One request body: 2,000 usual transactions are 0.6 MB binary and 1.2 MB as JSON."""

READING_BYTES_MAX = 64 * 1024 * 1024
"""Bodies of all clients that are under way at once: each is in memory until its last byte has come."""

READING_BYTES_PER_PRINCIPAL_MAX = 16 * 1024 * 1024
"""Of these, one principal's share: four of the largest. A thousand that end slowly would be 4 GB."""

REQUEST_TRANSACTIONS_MAX = 2_048
"""Transactions of one request: a block's worth. More would let one client fill a block's queue in one call."""

TIMEOUT_MS_MAX = 60_000
"""Longest wait of one submission: beyond it a client asks again by (account, id)."""

TIMEOUT_MS_DEFAULT = 10_000
"""Wait of a submission that names none: finality takes milliseconds, a view change takes seconds."""

BODY_READ_S = 10.0
"""Seconds in which a request body must have arrived: 4 MB at 3.4 Mbit/s."""

IDLE_CONNECTION_S = 75.0
"""Seconds after which a connection without a complete request head is closed. Ends trickled headers too."""

TLS_HANDSHAKE_S = 5.0
"""Seconds for a TLS handshake: three round trips of the slowest bank line fit."""

CONNECTIONS_MAX = 1_024
"""Open client connections of one node: about 60 kB each under TLS."""

WAITING_MAX = 1_024
"""Submissions of all principals that wait for an answer at once; each holds its bodies in memory."""

WAITING_PER_PRINCIPAL_MAX = 256
"""Of these, one principal's share, so that one bank cannot occupy all."""

HEADER_BYTES_MAX = 8_190
"""One header line; the largest is the Authorization header."""

TOKEN_BYTES_MAX = 4_096
"""One bearer token: ours are about 400 bytes."""

TOKEN_CACHE_MAX = 4_096
"""Verified tokens remembered until they expire: a check costs about 120 µs, a look-up 0.2 µs."""

JWKS_KEYS_MAX = 64
"""Keys in the JWKS file of an issuer that rotates."""

PRINCIPALS_MAX = 4_096
"""Principals with a client certificate: each is loaded into the TLS context."""

CERTIFICATE_CACHE_MAX = 1_024
"""Client certificates whose key hash is remembered: as many as connections."""

QUOTA_PRINCIPALS_MAX = 8_192
"""Principals whose quota is tracked at once; the longest idle one is forgotten first."""

LINKS_PER_ANSWER_MAX = 2_048
"""Links of one answer: 64 KiB, and a few milliseconds of the loop's time."""

EVIDENCE_BYTES_PER_ANSWER_MAX = 1024 * 1024
"""JSON of one answer's evidence, unless its first document alone is larger: 1,000 of epoch 0, 250 of epoch 1."""
