"""`tallystick receipt`: fetch a receipt, and verify one with nothing but the genesis file."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.wallet.cli.options import (
    GENESIS_HERE,
    HERE,
    TIMEOUT_S,
    As,
    GenesisFile,
    Json,
    Network,
    Timeout,
    TokenFile,
    Who,
    genesis_at,
)
from tallystick.wallet.cli.output import (
    NO,
    fail,
    harmless,
    outcome_document,
    show_json,
    show_outcome,
    telling,
)
from tallystick.wallet.core.build import Terms
from tallystick.wallet.errors import BadFile

if TYPE_CHECKING:
    from tallystick.network.proofs.receipts import Receipt
    from tallystick.network.proofs.verdict import Verdict
    from tallystick.network.wire.eip712 import Digester
    from tallystick.network.wire.transactions import Transaction
    from tallystick.wallet.client import Wallet
    from tallystick.wallet.core.outcomes import Outcome

_HEX = re.compile(rb"(?:[0-9a-f]{2}){100,}")
"""A transaction has more bytes than that; nothing else in such files has."""

app = typer.Typer(no_args_is_help=True, help="Receipts: evidence of what became of a payment.")


@app.command()
def show(
    account: Annotated[str, typer.Argument(help="Paying account, 40 hex digits.")],
    id_: Annotated[str, typer.Argument(metavar="ID", help="64 hex digits, a UETR or a reference.")],
    digest: Annotated[str, typer.Option(help="Only the transaction of this digest.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Keep the receipt in this file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    network: Network = HERE,
    name: As = "",
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Fetch a receipt, verify it, and say what became of the payment. Exit codes as those of `pay`."""
    who = Who(network, name, token_file=token_file)

    async def call(wallet: "Wallet") -> "tuple[Outcome, Terms]":
        wanted = bytes.fromhex(digest.removeprefix("0x")) if digest else None
        return await wallet.resolve(account, id_, wanted), wallet.terms

    with telling(json):
        outcome, terms = who.run(call, key=False)
        receipt = getattr(outcome, "receipt", None)
        if out is not None and receipt is not None:
            _keep(out, receipt, force)
        show_outcome(outcome, terms, _asset(receipt), json)


@app.command()
def absent(
    account: Annotated[str, typer.Argument(help="Paying account, 40 hex digits.")],
    id_: Annotated[str, typer.Argument(metavar="ID", help="64 hex digits, a UETR or a reference.")],
    digest: Annotated[str, typer.Argument(help="The transaction's digest, 64 hex digits.")],
    transaction: Annotated[
        Path,
        typer.Option(
            "--transaction",
            "-x",
            help="A file that holds its bytes in hex: what `pay --keep` kept, or the journal of `pay --file`.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Keep the proof in this file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    network: Network = HERE,
    name: As = "",
    token_file: TokenFile = None,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Prove that a payment was never ordered and never can be, once the window of its deadline is closed.

    The transaction is needed, since its deadline is in it: from any other window every payment is absent. Its signatures are
    not. What `--out` keeps is verified by `receipt verify`.

    \b
    Exit codes:
      0 proven: never ordered, and never can be
      1 it was ordered; its receipt is told as by `receipt show`
      3 not known yet: its window is still open, ask again
    """
    who = Who(network, name, token_file=token_file)

    async def call(wallet: "Wallet") -> "tuple[Outcome, Terms]":
        found = wanted_in(transaction, bytes.fromhex(digest.removeprefix("0x")), wallet.digester)
        waits_s = TIMEOUT_S if timeout is None else timeout
        return await wallet.resolve(
            account, id_, transaction=found, timeout_s=waits_s
        ), wallet.terms

    with telling(json):
        outcome, terms = who.run(call, key=False)
        absence = getattr(outcome, "absence", None)
        if absence is None:
            show_outcome(outcome, terms, _asset(getattr(outcome, "receipt", None)), json)
            raise typer.Exit(NO)
        if out is not None:
            from tallystick.network.proofs.document import absence_to_bytes

            _write(out, absence_to_bytes(absence), force)
        if json:
            show_json(outcome_document(outcome, terms))
        else:
            typer.secho("PROVEN: never ordered, and never can be", fg="green", bold=True)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    genesis: GenesisFile = GENESIS_HERE,
    json: Json = False,
) -> None:
    """Check a receipt, or a proof of non-settlement, against the genesis file alone, step by step, without a network.

    Exit codes: 0 genuine and final, 1 not genuine or not readable, 3 genuine but interim.
    """
    from tallystick.network.proofs.absence import verify_absence
    from tallystick.network.proofs.document import absence_from_bytes, is_absence
    from tallystick.network.proofs.verdict import EXIT_NOT_VERIFIED
    from tallystick.network.proofs.verify import verify_receipt
    from tallystick.network.wire import bounds
    from tallystick.network.wire.faults import Refused
    from tallystick.wallet.errors import Untrusted
    from tallystick.wallet.network_file import read_bounded

    with telling(json):
        document = genesis_at(genesis)
        content = read_bounded(file, bounds.RECEIPT_BYTES_MAX + 1)
        try:
            if is_absence(content):
                verdict = verify_absence(absence_from_bytes(content), document)
                _tell(verdict, None, Terms.of(document), json)
                raise typer.Exit(verdict.exit_code)
            receipt = _parsed(content)
        except Refused as refused:
            hint = (
                "Not a receipt, or it was changed: fetch it again with `tallystick receipt show`."
            )
            error = Untrusted(f"{file} cannot be read as a receipt: {refused.detail}", hint=hint)
            fail(error, json, EXIT_NOT_VERIFIED)
            return
        verdict = verify_receipt(receipt, document)
        _tell(verdict, receipt, Terms.of(document), json)
    raise typer.Exit(verdict.exit_code)


def _tell(verdict: "Verdict", receipt: "Receipt | None", terms: Terms, json: bool) -> None:
    """`receipt` None: the verdict is about an absence."""
    from tallystick.wallet.checking import outcome_of

    outcome = outcome_of(receipt) if verdict.ok and receipt is not None else None
    if json:
        checks = [{"name": c.name, "ok": c.ok, "sentence": c.sentence} for c in verdict.checks]
        said: dict[str, Any] = {
            "verified": verdict.ok,
            "exit_code": verdict.exit_code,
            "checks": checks,
        }
        if verdict.ok:
            said["assurance"] = verdict.assurance
        if outcome is None and verdict.ok:
            said |= {"outcome": "absent", "height": verdict.height, "time_ms": verdict.time_ms}
        elif outcome is not None:
            said |= outcome_document(outcome, terms, _asset(receipt))
        show_json(said)
        return
    for check in verdict.checks:
        mark = (
            typer.style("ok  ", fg="green")
            if check.ok
            else typer.style("FAIL", fg="red", bold=True)
        )
        typer.echo(f"{mark} {check.name.ljust(12)} {harmless(check.sentence)}")
    if not verdict.ok:
        typer.secho("NOT VERIFIED: this file proves nothing.", fg="red", bold=True)
    elif outcome is None:
        said_of = f"VERIFIED, assurance {verdict.assurance}: never ordered, and never can be"
        typer.secho(said_of, fg="green", bold=True)
    else:
        what = type(outcome).__name__.lower()
        reason = f" ({verdict.reason.code}: {verdict.reason.sentence})" if verdict.reason else ""
        typer.secho(
            f"VERIFIED, assurance {verdict.assurance}: {what}{reason}", fg="green", bold=True
        )


def _parsed(content: bytes) -> "Receipt":
    """A receipt's file, or the one line in which a node's API gives it: each has exactly one text."""
    import msgspec

    from tallystick.network.proofs.document import receipt_from_bytes

    line = content.rstrip(b"\n")
    if b"\n" in line:
        return receipt_from_bytes(content)
    try:
        written = msgspec.json.format(line, indent=2) + b"\n"
    except (msgspec.DecodeError, RecursionError):
        return receipt_from_bytes(content)  # its refusal says what is wrong
    return receipt_from_bytes(written)


def _keep(path: Path, receipt: "Receipt", force: bool) -> None:
    from tallystick.network.proofs.document import receipt_to_bytes

    _write(path, receipt_to_bytes(receipt), force)


def _write(path: Path, content: bytes, force: bool) -> None:
    if path.exists() and not force:
        raise BadFile(f"{path} exists already", hint="Choose another name, or say --force.")
    path.write_bytes(content)


def wanted_in(path: Path, digest: bytes, digester: "Digester") -> "Transaction":
    """The transaction of this digest among all the hex in a file: a journal, a signed one, or its bytes alone."""
    from tallystick.network.wire.faults import Refused
    from tallystick.network.wire.transactions.codec import decode
    from tallystick.wallet.cli.journal import FILE_BYTES_MAX
    from tallystick.wallet.network_file import read_bounded

    for found in _HEX.finditer(read_bounded(path, FILE_BYTES_MAX)):
        try:
            transaction = decode(bytes.fromhex(found[0].decode()))
        except Refused:
            continue
        if digester.digest(transaction) == digest:
            return transaction
    raise BadFile(
        f"{path} holds no transaction of this digest",
        hint="It is the file of `pay --keep`, or the journal of `pay --file`.",
    )


def _asset(receipt: "Receipt | None") -> str:
    from tallystick.network.wire.transactions.codec import decode

    return "" if receipt is None else getattr(decode(receipt.transaction), "asset", "")
