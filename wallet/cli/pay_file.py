"""`tallystick pay --file`: read all, check all, sign all, note it in the journal, submit in bulk, write the results.

Nothing is sent while a line is bad (unless told to skip bad lines). Run again, after whatever happened, it answers what was paid
and pays what was not: a line's first bytes are sent again until they are final, and only a line whose first bytes provably can
never settle is signed anew, under the same id.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tallystick.network.wire.reasons import RejectReason
from tallystick.wallet.cli.journal import Journal
from tallystick.wallet.cli.options import Who
from tallystick.wallet.cli.output import (
    DONE,
    NO,
    NOT_FINAL,
    REFUSED,
    UNREACHABLE,
    UNTRUSTED,
    USAGE,
    exit_code_of,
    exit_of,
    outcome_document,
    show_json,
    show_table,
    telling,
)
from tallystick.wallet.core.build import same_intent, transfer
from tallystick.wallet.core.outcomes import Expired, FinalOutcome
from tallystick.wallet.core.payment_file import FILE_BYTES_MAX, Fault, Line, PaymentFile, parse
from tallystick.wallet.errors import NotTaken, OutcomeUnknown, WalletError
from tallystick.wallet.keystore import write_private
from tallystick.wallet.network_file import read_bounded

if TYPE_CHECKING:
    from tallystick.network.wire.transactions import Transfer
    from tallystick.wallet.client import Wallet

FAULTS_SHOWN = 50
"""On a terminal; --json gives all."""

LOOKUPS = 16
"""Receipts looked up at once."""

End = FinalOutcome | WalletError


@dataclass(frozen=True, slots=True)
class FileJob:
    """What was asked for."""

    file: Path
    skip_bad: bool
    results: Path | None
    receipts: Path | None
    valid_for_s: int
    timeout_s: float | None

    @property
    def journal(self) -> Path:
        return self.file.with_name(self.file.name + ".journal")

    @property
    def results_file(self) -> Path:
        return self.results or self.file.with_name(self.file.name + ".results.csv")


def pay_file(who: Who, job: FileJob, json: bool) -> None:
    """The whole command. Leaves with an exit code, see the package."""
    with telling(json):
        content = read_bounded(job.file, FILE_BYTES_MAX)
        wallet = who.wallet(key=True)
        payments = parse(content, wallet.terms, wallet.own_account)
        journal = Journal.open(job.journal, wallet.digester)
        payments = _without_conflicts(payments, journal, wallet)
        if payments.faults and not (job.skip_bad and payments.lines):
            _show_faults(job, payments, json)
            raise typer.Exit(USAGE)
        ends = _run(wallet, job, journal, payments.lines, json)
        _write_results(job, payments.lines, ends, wallet)
        _show_summary(job, payments, ends, wallet, json)
    raise typer.Exit(_exit_code(ends))


def _run(
    wallet: "Wallet", job: FileJob, journal: Journal, lines: Sequence[Line], json: bool
) -> list[End]:
    import asyncio

    async def submit() -> list[End]:
        async with wallet:
            await wallet.reader.greet()  # before anything is signed
            with _progress(len(lines), json) as advance:
                return await _submit(wallet, job, journal, lines, advance)

    return asyncio.run(submit())


async def _submit(
    wallet: "Wallet",
    job: FileJob,
    journal: Journal,
    lines: Sequence[Line],
    advance: Callable[[int], None],
) -> list[End]:
    """What was signed before goes first, as the same bytes; what provably never settled is signed anew with the rest."""
    now_ms = wallet.now_ms()
    earlier = {
        n: each
        for n, line in enumerate(lines)
        if (each := journal.signed.get((line.account, line.id)))
    }
    overdue = [n for n, each in earlier.items() if each.valid_until_ms < now_ms]
    ends: dict[int, End] = {}
    if overdue:
        many = [earlier[n] for n in overdue]
        found = await wallet.submit_many(
            many, sent_before=frozenset(range(len(many))), timeout_s=job.timeout_s
        )
        ends = {n: end for n, end in zip(overdue, found, strict=True) if not _never_settles(end)}
    fresh = [n for n in range(len(lines)) if n not in ends and (n not in earlier or n in overdue)]
    late = [n for n in fresh if 0 < lines[n].settle_by_ms < now_ms]
    ends |= {
        n: NotTaken(RejectReason.SETTLE_BY_PASSED, "not sent: settle_by has passed") for n in late
    }
    made = {
        n: wallet.sign(_transfer(wallet, lines[n], now_ms, job.valid_for_s * 1_000))
        for n in fresh
        if n not in ends
    }
    journal.note(list(made.values()))
    left = [n for n in range(len(lines)) if n not in ends]
    again = frozenset(position for position, n in enumerate(left) if n not in made)
    found = await wallet.submit_many(
        [made.get(n) or earlier[n] for n in left],
        sent_before=again,
        timeout_s=job.timeout_s,
        progress=lambda done: advance(done + len(lines) - len(left)),
    )
    ends |= dict(
        zip(left, await _first_outcomes(wallet, [lines[n] for n in left], found), strict=True)
    )
    return [ends[n] for n in range(len(lines))]


async def _first_outcomes(
    wallet: "Wallet", lines: Sequence[Line], ends: Sequence[End]
) -> list[End]:
    """For lines whose id was used by the same payment (its journal is lost): that payment's outcome."""
    import asyncio

    gate = asyncio.Semaphore(LOOKUPS)

    async def first(line: Line, end: End) -> End:
        async with gate:
            return await wallet.first_outcome(_transfer(wallet, line), end)

    return await asyncio.gather(*map(first, lines, ends))


def _never_settles(end: End) -> bool:
    """Signing anew under the same id is safe: it was never ordered, and provably never will be."""
    return isinstance(end, Expired) and end.receipt is None


def _transfer(wallet: "Wallet", line: Line, now_ms: int = 0, valid_for_ms: int = 1) -> "Transfer":
    """The line as a transaction; without a time, good for comparing intents alone."""
    return transfer(
        wallet.terms,
        account=line.account,
        creditor=line.creditor,
        amount=line.amount,
        asset=line.asset,
        id=line.id,
        now_ms=now_ms,
        valid_for_ms=valid_for_ms,
        settle_by_ms=line.settle_by_ms,
    )


def _without_conflicts(payments: PaymentFile, journal: Journal, wallet: "Wallet") -> PaymentFile:
    """A line whose id was signed before for another payment is a fault: ids are not reused."""
    from tallystick.network.wire.transactions.codec import decode

    lines, faults = [], list(payments.faults)
    for line in payments.lines:
        earlier = journal.signed.get((line.account, line.id))
        if earlier and not same_intent(decode(earlier.raw), _transfer(wallet, line)):
            sentence = (
                "this id was signed before for another payment (see the journal): give it a new id"
            )
            faults.append(Fault(line.number, "id", payments.position("id"), sentence))
        else:
            lines.append(line)
    ordered = sorted(faults, key=lambda fault: fault.line)
    return PaymentFile(tuple(lines), tuple(ordered), payments.columns)


def _show_faults(job: FileJob, payments: PaymentFile, json: bool) -> None:
    faults = payments.faults
    others = ", or say --skip-bad to pay the others" if payments.lines else ""
    if json:
        shown = [
            {"line": each.line, "column": each.column or None, "position": each.position or None, "sentence": each.sentence}
            for each in faults
        ]  # fmt: skip
        error = {
            "code": "BAD_FILE",
            "sentence": f"{job.file}: {len(faults)} faults; nothing was sent",
            "hint": f"Correct the lines{others}.",
        }
        show_json({"error": error, "faults": shown})
        return
    for fault in faults[:FAULTS_SHOWN]:
        typer.secho(f"{job.file}: {fault}", fg="red", err=True)
    if len(faults) > FAULTS_SHOWN:
        typer.echo(f"… and {len(faults) - FAULTS_SHOWN} more; --json lists all", err=True)
    typer.echo(f"Nothing was sent. Correct the lines{others}.", err=True)


def _write_results(
    job: FileJob, lines: Sequence[Line], ends: Sequence[End], wallet: "Wallet"
) -> None:
    """The results file (and the receipts): complete at every run, so the last one tells it all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("line", "id", "account", "outcome", "reason", "height", "detail"))
    for line, end in zip(lines, ends, strict=True):
        row = _result(line, end, wallet)
        writer.writerow(
            (row["line"], row["id"], row["account"], row["outcome"], row.get("reason") or "", row.get("height") or "", row.get("detail") or "")
        )  # fmt: skip
    write_private(job.results_file, text.getvalue().encode(), force=True)
    if job.receipts is not None:
        from tallystick.network.proofs.document import receipt_to_bytes

        job.receipts.mkdir(parents=True, exist_ok=True)
        for end in ends:
            if not isinstance(end, WalletError) and end.receipt is not None:
                path = job.receipts / f"{end.reference.id.hex()}.json"
                path.write_bytes(receipt_to_bytes(end.receipt))


def _result(line: Line, end: End, wallet: "Wallet") -> dict[str, Any]:
    row: dict[str, Any] = {"line": line.number, "id": line.id_text, "account": line.account.hex()}
    if isinstance(end, WalletError):
        outcome = (
            "unknown"
            if isinstance(end, OutcomeUnknown)
            else "refused"
            if isinstance(end, NotTaken)
            else "error"
        )
        return row | {"outcome": outcome, "reason": end.code, "detail": end.sentence}
    document = outcome_document(end, wallet.terms, line.asset)
    wanted = ("outcome", "reason", "detail", "height", "time_ms", "digest", "findings")
    return row | {name: document[name] for name in wanted if name in document}


def _show_summary(
    job: FileJob, payments: PaymentFile, ends: Sequence[End], wallet: "Wallet", json: bool
) -> None:
    rows = [_result(line, end, wallet) for line, end in zip(payments.lines, ends, strict=True)]
    counts = Counter((row["outcome"], row.get("reason") or "") for row in rows)
    if json:
        summary = [
            {"outcome": outcome, "reason": reason or None, "payments": count}
            for (outcome, reason), count in sorted(counts.items())
        ]
        skipped = [{"line": each.line, "sentence": str(each)} for each in payments.faults]
        show_json(
            {"payments": len(rows), "summary": summary, "results_file": str(job.results_file), "skipped": skipped, "results": rows}
        )  # fmt: skip
        return
    show_table(
        ("outcome", "reason", "payments"),
        [(outcome, reason, count) for (outcome, reason), count in sorted(counts.items())],
    )
    for fault in payments.faults[:FAULTS_SHOWN]:
        typer.secho(f"skipped: {fault}", fg="yellow", err=True)
    typer.echo(
        f"Each line's outcome: {job.results_file}. To go on or ask again, run the same command."
    )


def _exit_code(ends: Sequence[End]) -> int:
    """The gravest end: unknown before untrusted, unreachable, refused and rejected."""
    codes = {exit_code_of(end) if isinstance(end, WalletError) else exit_of(end) for end in ends}
    order = (NOT_FINAL, UNTRUSTED, UNREACHABLE, REFUSED, USAGE, NO)
    return next((code for code in order if code in codes), DONE)


@contextmanager
def _progress(total: int, json: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, if somebody looks at it."""
    from rich.console import Console

    console = Console(stderr=True)
    if json or not console.is_terminal:
        yield lambda done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("paying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("pay", total=total)
        yield lambda done: progress.update(task, completed=done)
