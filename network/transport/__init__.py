"""Sockets between nodes: `tls` (identity is a pinned key), `links` (who is connected to whom), `wire_link` (one connection).

The rules are pure and one floor below: `network.session`, `network.budgets`, `network.outbox`.
"""
