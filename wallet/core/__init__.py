"""Pure: `build` (an intent becomes a transaction), `approvals` (several keys sign it), `outcomes` (what became of it)."""
