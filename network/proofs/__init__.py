"""What is proven: Merkle trees, the state map, certificates, receipts and the verifier that stands alone."""
