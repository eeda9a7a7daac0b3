"""What an app holds: a key, an account, the genesis file, and a way to the network that trusts no single node.

Read in this order: `core` (pure: an intent becomes a transaction, an answer an outcome), `errors`, `keystore`, `signers`,
`network_file`, `endpoints`, `checking`, `client`, `bulk`, `blocking`, then `cli`. The face for apps is `tallystick` itself.
The wallet is an outsider: of ours it knows `network.wire` and `network.proofs`, nothing else.
"""
