"""The whole node without I/O: `Replica.handle(event, now_ms) -> Effects`. Pure; the same code runs under the simulator.

Read as a payment goes: `admission`, `mempool`, `forwarding`, `block_data`, `ledger`, `judging`, `outcomes`, `catch_up`,
`reading`; `replica` ties them to a consensus engine, `follower` reads only.
"""
