"""The order of blocks, decided. `api` is what any engine hears and asks for; `pbft` is an engine; `accountability` watches
what we sign. Consensus sees digests and opaque block bytes, never a payment, a key of a client or a clock."""
