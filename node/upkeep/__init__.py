"""Looking after one node's ledger while it stands still: `verify`, `repair`, `backup` and `restore`, `compare`.

Everything here believes certificates and nothing else: neither its own disk, nor a peer, nor a backup. Promises of this node
(votes, guard, payments that it holds) are read, carried over, or refused; never made, never mended.
"""
