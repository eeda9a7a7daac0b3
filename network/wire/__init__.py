"""What is signed, hashed or sent. Pure data and pure functions; every other room may lean on this one.

Read in this order: `ids`, `bounds`, `reasons`, `faults`, `codec`, `digest`, `keys`, `eip712`, `transactions`,
`genesis`, `blocks`, `signing`, `frames`.
"""
