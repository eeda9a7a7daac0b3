"""What is signed, hashed or sent. Pure data and pure functions; every other room may lean on this one.

Read in this order: `ids`, `bounds`, `reasons`, `faults`, `codec`, `digest`, `keys`, `transactions`, `eip712`, `readable`,
`genesis`, `blocks`, `signing`, `frames`, `money`. The bytes are in `docs/formats.md`, the reasons in `DESIGN.md`.
"""
