"""The wallet's half of the `tallystick` command: keys, pay, issue, account, receipt, status.

Exit codes, the same for every command:

    0  done: settled, verified, shown
    1  a definite no: rejected or expired on the ledger, or evidence that does not verify
    2  the command line or a file is wrong; nothing was sent
    3  not final: an interim receipt, received or accepted only, or the outcome is unknown (ask again, never pay again)
    4  refused before ordering: nothing was accepted, there is no receipt
    5  no node could be reached; nothing was handed over
    6  a node gave evidence that does not verify, or speaks for another network

With --json, standard output holds one JSON document and nothing else; errors are {"error": {code, sentence, hint}}.
"""

import typer

from tallystick.wallet.cli import (
    accounts,
    checkpoints,
    evidence,
    keys,
    members,
    pay,
    receipts,
    status,
)


def mount(app: typer.Typer) -> None:
    """Add the wallet's commands to the one command."""
    app.add_typer(keys.app, name="keys")
    app.add_typer(accounts.app, name="account")
    app.add_typer(receipts.app, name="receipt")
    app.add_typer(members.app, name="members")
    app.add_typer(evidence.app, name="evidence")
    app.add_typer(checkpoints.app, name="checkpoint")
    app.command("pay")(pay.pay)
    app.command("issue")(accounts.issue)
    app.command("status")(status.status)
