"""`tallystick pay`: one payment from the command line, or a whole file of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tallystick.wallet.cli.options import (
    HERE,
    TIMEOUT_S,
    Account,
    As,
    Json,
    Keystore,
    Network,
    PasswordFile,
    Timeout,
    TokenFile,
    Who,
)
from tallystick.wallet.cli.sending import send

if TYPE_CHECKING:
    from tallystick.wallet.client import Wallet
    from tallystick.wallet.core.outcomes import Outcome


def pay(
    creditor: Annotated[str, typer.Argument(help="Receiving account, 40 hex digits.")] = "",
    amount: Annotated[str, typer.Argument(help="Such as 4.00.")] = "",
    asset: Annotated[str, typer.Argument(help="Such as USD.")] = "",
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="CSV with the columns id, creditor, amount, asset[, account, settle_by].",
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="With --file: pay the good lines although others are bad."),
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(help="With --file: where to write the results; default beside it."),
    ] = None,
    receipts: Annotated[
        Path | None, typer.Option(help="With --file: keep every receipt in this folder.")
    ] = None,
    id_: Annotated[
        str, typer.Option("--id", help="Hex, UETR or reference; the same id never pays twice.")
    ] = "",
    valid_for: Annotated[
        int, typer.Option(min=1, help="Seconds in which it may be ordered.")
    ] = 600,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Add what was signed to this file before it is sent: `receipt absent` needs it, should it be lost."
        ),
    ] = None,
    wait: Annotated[
        Literal["received", "accepted", "final"], typer.Option(help="Wait for what.")
    ] = "final",
    network: Network = HERE,
    name: As = "",
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    account: Account = "",
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Pay, and verify the receipt before saying so.

    \b
    tallystick pay CREDITOR AMOUNT ASSET --as bank-a
    tallystick pay --file payments.csv --as bank-a

    \b
    Exit codes:
      0 settled
      1 rejected or expired, with a receipt
      2 the command line or a file is wrong; nothing was sent
      3 not known yet: ask again by the same id, never pay again
      4 refused before ordering: there is no receipt
      5 no node could be reached
      6 a node's evidence does not verify
    """
    who = Who(network, name, keystore, password_file, token_file, account)
    if file is not None:
        if creditor or amount or asset or id_:
            raise typer.BadParameter("either a file, or CREDITOR AMOUNT ASSET")
        from tallystick.wallet.cli.pay_file import FileJob, pay_file

        pay_file(who, FileJob(file, skip_bad, results, receipts, valid_for, timeout), json)
        return
    if not (creditor and amount and asset):
        raise typer.BadParameter("CREDITOR, AMOUNT and ASSET are needed, or --file")

    async def call(wallet: "Wallet") -> "Outcome":
        from tallystick.wallet.cli.journal import Journal

        journal = None if keep is None else Journal.open(keep, wallet.digester)
        return await wallet.pay(
            creditor,
            amount,
            asset,
            id=id_ or None,
            valid_for_s=valid_for,
            wait=wait,
            timeout_s=TIMEOUT_S if timeout is None else timeout,
            keep=None if journal is None else lambda signed: journal.note([signed]),
        )

    send(who, call, asset, json)
