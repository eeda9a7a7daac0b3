"""`tallystick ledger verify` and `compare`: what only looks."""

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from tallystick.network.wire.faults import OperationalError
from tallystick.node.cli.ledger_client import HttpSide, NodeClient
from tallystick.node.cli.ledger_tools import Display, opened, place_of, read_genesis, told
from tallystick.node.cli.output import fail, say
from tallystick.node.upkeep.comparing import Difference, Side, StoredSide, compare
from tallystick.node.upkeep.findings import EXIT_DAMAGED, Level, Report
from tallystick.node.upkeep.stores import scratch_in
from tallystick.node.upkeep.verifying import verify

LEVELS = tuple(level.name.lower() for level in Level)


def level_of(text: str, as_json: bool) -> Level:
    """The level by its name; leaves with 1 for another word."""
    if text not in LEVELS:
        fail(as_json, f"--level takes {', '.join(LEVELS)}; got {text!r}")
    return Level[text.upper()]


def verify_ledger(
    target: Path | None, config: Path | None, genesis: Path | None, level: str, as_json: bool
) -> None:
    """Say what was found, and leave with its exit code."""
    wanted, display = level_of(level, as_json), Display(as_json)
    try:
        place = place_of(target, config, genesis)
        with opened(place) as (store, scratch):
            report = verify(store, place.genesis, wanted, display, scratch=scratch)
    except OperationalError as error:
        fail(as_json, str(error))
    seconds = display.finish()
    say(as_json, _report_document(report, seconds), *_report_lines(report, place.folder, seconds))
    raise typer.Exit(report.exit_code)


def _report_document(report: Report, seconds: float) -> dict[str, object]:
    return {
        "level": report.level.name.lower(),
        "sound": not report.findings,
        "height": report.height,
        "link": report.link.hex(),
        "state_root": report.state_root.hex() or None,
        "rows": report.rows,
        "blocks": report.blocks,
        "transactions": report.transactions,
        "whole_from": report.whole_from,
        "findings": [finding.document() for finding in report.findings],
        "findings_left_out": report.left_out,
        "seconds": round(seconds, 3),
        "blocks_per_second": round(report.blocks / seconds) if seconds else None,
    }


def _report_lines(report: Report, folder: Path, seconds: float) -> list[str]:
    count = len(report.findings) + report.left_out
    head = f"{folder}: height {report.height:,}, {report.rows:,} rows, level {report.level.name.lower()}"
    pace = f"{report.blocks / seconds:,.0f} blocks/s" if report.blocks and seconds else ""
    lines = [f"{head}, {seconds:.1f} s" + (f" ({pace})" if pace else "")]
    if report.whole_from > 1:
        lines.append(
            f"joined from a snapshot: transactions are here from height {report.whole_from:,} on, what they led to from 1 on"
        )
    if not count:
        return [*lines, "sound"]
    lines += [f"{count:,} findings:", *told(report.findings, report.left_out)]
    if report.exit_code == EXIT_DAMAGED:
        return [*lines, "`tallystick ledger repair` makes the ledger again from certified blocks"]
    return [
        *lines,
        "certified blocks execute to something else here: do not repair, `tallystick ledger compare` with another node",
    ]


def compare_ledgers(
    names: tuple[str, str],
    genesis: Path,
    credentials: tuple[Path | None, Path | None],
    evidence: Path | None,
    as_json: bool,
) -> None:
    """Say where the two part, and leave with 3 if they do. `credentials`: certificate and token for a node's address."""
    display = Display(as_json)
    try:
        found = _compared(names, genesis, credentials, display)
        if evidence is not None and found.differs:
            evidence.write_text(json.dumps(found.document(), indent=2) + "\n")
    except (OperationalError, OSError) as error:
        fail(as_json, str(error))
    display.finish()
    lines = [found.sentence]
    if evidence is not None and found.differs:
        lines.append(f"the evidence is in {evidence}")
    say(as_json, found.document(), *lines)
    raise typer.Exit(EXIT_DAMAGED if found.differs else 0)


def _compared(
    names: tuple[str, str],
    genesis: Path,
    credentials: tuple[Path | None, Path | None],
    display: Display,
) -> Difference:
    with ExitStack() as stack:
        sides: list[Side] = []
        for name in names:
            if name.startswith("https://"):
                sides.append(HttpSide(name, _client(name, *credentials)))
                continue
            place = place_of(Path(name), None, genesis)
            store, _ = stack.enter_context(opened(place))
            sides.append(StoredSide(name, store))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="tallystick-")))
        one, other = sides
        return compare(
            one, other, read_genesis(genesis), display, lambda: scratch_in(folder / "scratch")
        )


def _client(url: str, certificate: Path | None, token: Path | None) -> NodeClient:
    if certificate is None or token is None:
        raise OperationalError(f"{url} is a node: --certificate and --token are needed to ask it")
    try:
        return NodeClient.at(url, certificate, token.read_text().strip())
    except OSError as error:
        raise OperationalError(f"{token}: {error.strerror}") from None
