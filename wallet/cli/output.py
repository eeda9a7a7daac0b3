"""What a command prints: words and tables for people, one JSON document for machines, errors that say what to do."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import typer

from tallystick.network.wire.faults import Refused
from tallystick.wallet.core.build import Terms, uetr_of
from tallystick.wallet.core.outcomes import (
    Accepted,
    Expired,
    Outcome,
    Pending,
    Received,
    Rejected,
    RuleFinding,
    Settled,
)
from tallystick.wallet.errors import (
    BadFile,
    BadKeystore,
    NotTaken,
    OutcomeUnknown,
    Unreachable,
    Untrusted,
    WalletError,
    WrongNetwork,
    from_refused,
)

DONE, NO, USAGE, NOT_FINAL, REFUSED, UNREACHABLE, UNTRUSTED = range(7)
"""Exit codes, see the package."""


def exit_code_of(error: WalletError) -> int:
    match error:
        case BadFile() | BadKeystore():
            return USAGE
        case OutcomeUnknown():
            return NOT_FINAL
        case Unreachable():
            return UNREACHABLE
        case Untrusted() | WrongNetwork():
            return UNTRUSTED
        case _:
            return REFUSED


@contextmanager
def telling(json: bool) -> Iterator[None]:
    """Errors of ours become words (or JSON) and an exit code; a traceback is a bug."""
    try:
        yield
    except WalletError as error:
        fail(error, json)
    except Refused as refused:
        fail(from_refused(refused), json, USAGE)
    except FileExistsError as error:
        sentence = f"{error.filename2 or error.filename} exists already"
        fail(BadFile(sentence, hint="Choose another name, or say --force."), json)
    except OSError as error:
        fail(
            BadFile(f"{error.filename or ''}: {error.strerror or error}", hint="Check the path."),
            json,
        )


def fail(error: WalletError, json: bool, exit_code: int | None = None) -> None:
    """Print one error and leave."""
    if json:
        document: dict[str, Any] = {
            "code": error.code,
            "sentence": error.sentence,
            "hint": error.hint,
        }
        if isinstance(error, OutcomeUnknown):
            document |= {
                name: getattr(error.reference, name).hex() for name in ("account", "id", "digest")
            }
        if isinstance(error, NotTaken):
            document["retryable"] = error.retryable
        show_json({"error": document})
    else:
        typer.secho(f"error: {harmless(error.sentence)}", fg="red", err=True)
        if isinstance(error, OutcomeUnknown):
            typer.echo(
                f"       account {error.reference.account.hex()}  id {error.reference.id.hex()}",
                err=True,
            )
        if error.hint:
            typer.echo(f"hint:  {error.hint}", err=True)
    raise typer.Exit(exit_code_of(error) if exit_code is None else exit_code)


def show_json(document: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def show_pairs(pairs: Mapping[str, object]) -> None:
    """Names and values, one line each, aligned; empty values are left out."""
    width = max((len(name) for name in pairs), default=0)
    for name, value in pairs.items():
        if value is not None and value != "":
            typer.echo(f"{name.ljust(width)}  {harmless(value)}")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,  # no frame: nine columns fit a terminal of 80
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for number, column in enumerate(columns, start=1):
        table.add_column(column, overflow="fold", no_wrap=number < len(columns))
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))  # Text: no cell is markup
    Console().print(table)


def harmless(value: object) -> str:
    """Text that may come from a node: what would steer the terminal is written out instead of done."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def moment(time_ms: int) -> str:
    """A time for people, UTC, to the millisecond."""
    text = datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{time_ms % 1_000:03}Z"


def outcome_document(outcome: Outcome, terms: Terms, asset: str = "") -> dict[str, Any]:
    """An outcome as JSON: names, where it stands, and what the rules found (amounts as decimal text of `asset`)."""
    reference = outcome.reference
    document: dict[str, Any] = {
        "outcome": type(outcome).__name__.lower(),
        "account": reference.account.hex(),
        "id": reference.id.hex(),
        "uetr": uetr_of(reference.id),
        "digest": reference.digest.hex(),
    }
    match outcome:
        case Settled() | Rejected() | Expired():
            document |= _place(outcome)
            document["findings"] = [_finding(each, terms, asset) for each in outcome.findings]
        case Accepted():
            document["holders"] = list(outcome.holders)
        case Received():
            document["node"] = outcome.node
        case Pending():
            document["state"] = outcome.state
    return document


def _place(outcome: Settled | Rejected | Expired) -> dict[str, Any]:
    place: dict[str, Any] = {}
    if outcome.receipt is not None:
        header = outcome.receipt.block.header
        place = {"height": header.height, "time_ms": header.time_ms}
    match outcome:
        case Rejected():
            place |= {"reason": outcome.reason.code, "detail": outcome.reason.sentence}
        case Settled() if outcome.opened is not None:
            place["opened"] = outcome.opened.hex()
        case Expired() if outcome.absence is not None:
            header = outcome.absence.proof.block.header
            place = {"absent": True, "height": header.height, "time_ms": header.time_ms}
        case Expired() if outcome.evidence is not None:
            evidence = outcome.evidence
            place |= {
                "certified_time_ms": evidence.certified_time_ms,
                "nodes": list(evidence.nodes),
            }
        case _:
            pass
    return place


def _finding(finding: RuleFinding, terms: Terms, asset: str) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "version": finding.version,
        "decision": finding.decision,
        "observed": terms.text(finding.observed_minor, asset),
        "threshold": terms.text(finding.threshold_minor, asset),
        "headroom": terms.text(finding.headroom_minor, asset),
    }


def exit_of(outcome: Outcome) -> int:
    match outcome:
        case Settled():
            return DONE
        case Rejected() | Expired():
            return NO
        case _:
            return NOT_FINAL


def show_outcome(outcome: Outcome, terms: Terms, asset: str, json: bool) -> None:
    """Print an outcome, and leave with its code unless it settled."""
    document = outcome_document(outcome, terms, asset)
    if json:
        show_json(document)
    else:
        _say(document, asset)
    if exit_of(outcome) != DONE:
        raise typer.Exit(exit_of(outcome))


def _say(document: dict[str, Any], asset: str) -> None:
    colour = {"settled": "green", "rejected": "red", "expired": "red"}.get(
        document["outcome"], "yellow"
    )
    reason = f": {document['reason']}. {document['detail']}" if "reason" in document else ""
    typer.secho(f"{document['outcome']}{reason}", fg=colour, bold=True)
    height = document.get("height")
    show_pairs(
        {
            "account": document["account"],
            "id": document["uetr"] or document["id"],
            "opened": document.get("opened"),
            "block": None if height is None else f"{height} at {moment(document['time_ms'])}",
            "holders": ", ".join(map(str, document.get("holders", ()))),
            "held by": document.get("node"),
            "state": document.get("state"),
        }
    )
    for finding in document.get("findings", ()):
        typer.echo(
            f"{finding['rule']} v{finding['version']} {finding['decision']}: saw {finding['observed']} of "
            f"{finding['threshold']} {asset}, {finding['headroom']} left"
        )
