"""The order of blocks, decided. `api` is what any engine hears and asks for; `pbft` and `raft` are engines; `accountability` watches
what we sign. Consensus sees digests and opaque block bytes, never a payment, a key of a client or a clock."""
