"""The one loop around `Replica.handle`, and what it needs of the machine.

Read in this order: `clock`, `driver` (inbox, handle, persist, release), `disk_writer`, `verifiers`, `signers`, `telemetry`,
`diagnosis`, `supervisor`. Nothing here decides anything about money or votes.
"""
