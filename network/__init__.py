"""What crosses between processes: `wire` (what is signed, hashed, sent), `proofs` (what is proven), `transport` (sockets)."""
