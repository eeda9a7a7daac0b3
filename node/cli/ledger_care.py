"""`tallystick ledger repair`, `backup` and `restore`: what changes a folder."""

import asyncio
from pathlib import Path

import typer

from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.network.wire.genesis import Genesis
from tallystick.node.cli.ledger_client import NodeClient
from tallystick.node.cli.ledger_tools import Display, hold, keys_of, ledger_of, told
from tallystick.node.cli.operate import settings_of
from tallystick.node.cli.output import fail, say
from tallystick.node.compose import links_of
from tallystick.node.config import NodeConfig
from tallystick.node.preflight import genesis_of
from tallystick.node.runtime.clock import WallClock
from tallystick.node.runtime.telemetry import configure_logging
from tallystick.node.storage.guard_file import GuardFile
from tallystick.node.upkeep.backing_up import BackupWriter
from tallystick.node.upkeep.findings import EXIT_DIVERGED, Level, Progress
from tallystick.node.upkeep.manifest import Manifest
from tallystick.node.upkeep.peers import PeerBlocks
from tallystick.node.upkeep.repairing import Node, Repaired, repair
from tallystick.node.upkeep.restoring import Restored, restore
from tallystick.node.upkeep.segments import BACKED_UP, SEGMENT_BYTES

SIGNED_BEFORE = (
    "this node's guard has signed before, so it is ahead of what was restored, and `tallystick node run` will refuse:"
    " a member that forgot its votes must not vote. Bring the bank back under its spare id; the ledger serves its new node"
)


def repair_ledger(config: Path, rebuild: bool, give_up_held: bool, as_json: bool) -> None:
    """Say what was mended; leave with 4 if certified blocks do not execute here."""
    settings, display = settings_of(config, as_json), Display(as_json)
    configure_logging(settings.name, "error")  # standard output is the command's own
    try:
        hold(settings.data).release()
        node = Node(
            settings.data,
            genesis_of(settings),
            settings.role == "member",
            guard_record(settings),
            keys_of(settings),
        )
        done = asyncio.run(_repaired(settings, node, display, rebuild, give_up_held))
    except OperationalError as error:
        fail(as_json, str(error))
    except InvariantError as error:
        display.finish()
        typer.echo(f"error: {error}. No repair mends this: compare with another node", err=True)
        raise typer.Exit(EXIT_DIVERGED) from None
    display.finish()
    say(as_json, _repaired_document(done), *_repaired_lines(done, settings))


async def _repaired(
    settings: NodeConfig, node: Node, progress: Progress, rebuild: bool, give_up_held: bool
) -> Repaired:
    peers = PeerBlocks(lambda: links_of(settings, WallClock()))
    try:
        return await repair(node, peers.ask, progress, rebuild=rebuild, give_up_held=give_up_held)
    finally:
        await peers.close()


def guard_record(settings: NodeConfig) -> bytes | None:
    """What the guard beside the key says; None for an observer."""
    if settings.guard is None:
        return None
    guard = GuardFile(settings.guard)
    try:
        return guard.read()
    finally:
        guard.close()


def _repaired_document(done: Repaired) -> dict[str, object]:
    return {
        "repaired": done.rebuilt,
        "height": done.height,
        "link": done.link.hex(),
        "state_root": done.state_root.hex(),
        "findings": [finding.document() for finding in done.findings],
        "fetched": list(done.fetched),
        "kept": None if done.kept is None else str(done.kept),
        "lost_batches": list(done.lost_batches),
    }


def _repaired_lines(done: Repaired, settings: NodeConfig) -> list[str]:
    if not done.rebuilt:
        return [f"{settings.data}: sound up to height {done.height:,}, nothing to repair"]
    lines = [f"{len(done.findings):,} findings:", *told(done.findings)] if done.findings else []
    lines.append(
        f"{settings.data}: made again up to height {done.height:,}, state root {done.state_root.hex()}"
    )
    if done.fetched:
        lines.append(f"  {len(done.fetched):,} blocks came from peers, with their certificates")
    lines += [f"  {sentence}" for sentence in done.lost_batches]
    if done.kept is not None:
        lines.append(
            f"  what stood there before is in {done.kept}; remove it when it is not needed"
        )
    return lines


def back_up(config: Path, to: Path, token: Path | None, as_json: bool) -> None:
    """Say what is in the backup."""
    settings, display = settings_of(config, as_json), Display(as_json)
    try:
        manifest = _backed_up(settings, genesis_of(settings), to, token, display)
    except OperationalError as error:
        fail(as_json, str(error))
    display.finish()
    document = {
        "folder": str(to),
        "height": manifest.height,
        "link": manifest.link,
        "state_root": manifest.state_root,
        "rows": manifest.rows,
        "files": len(manifest.files),
    }
    say(
        as_json,
        document,
        f"{to}: {settings.name} up to height {manifest.height:,}, {manifest.rows:,} rows",
        f"  state root {manifest.state_root}, certified by {'genesis' if not manifest.height else 'a quorum'}",
        "  neither keys nor guard nor votes are in it; `tallystick ledger verify` looks at it as at any ledger",
    )


def _backed_up(
    settings: NodeConfig, genesis: Genesis, to: Path, token: Path | None, display: Display
) -> Manifest:
    if token is not None:
        try:
            text = token.read_text().strip()
        except OSError as error:
            raise OperationalError(f"{token}: {error.strerror}") from None
        client = NodeClient(settings.api_host, settings.api_port, settings.tls_certificate, text)
        writer = BackupWriter(to, genesis, display)
        for rows in client.rows():
            writer.add(rows)
        return writer.finish()
    with ledger_of(settings) as store:
        writer = BackupWriter(to, genesis, display)
        for rows in store.export(BACKED_UP, SEGMENT_BYTES):
            writer.add(rows)
        return writer.finish()


def restore_ledger(source: Path, config: Path, level: str, as_json: bool) -> None:
    """Say what was proven, and whether this node may vote."""
    if level not in ("merkle", "execute"):
        fail(as_json, f"--level takes merkle, execute; got {level!r}")
    settings, display = settings_of(config, as_json), Display(as_json)
    try:
        done = restore(
            source,
            settings.data,
            genesis_of(settings),
            Level[level.upper()],
            display,
            keys=keys_of(settings),
        )
        signed = guard_record(settings) is not None
    except OperationalError as error:
        fail(as_json, str(error))
    display.finish()
    say(as_json, _restored_document(done, signed), *_restored_lines(done, settings, signed))


def _restored_document(done: Restored, signed: bool) -> dict[str, object]:
    manifest = done.manifest
    return {
        "height": manifest.height,
        "link": manifest.link,
        "state_root": manifest.state_root,
        "rows": manifest.rows,
        "level": done.report.level.name.lower(),
        "may_vote": not signed,
    }


def _restored_lines(done: Restored, settings: NodeConfig, signed: bool) -> list[str]:
    manifest = done.manifest
    certifier = "a quorum of members" if manifest.height else "genesis"
    lines = [
        f"{settings.data}: restored up to height {manifest.height:,}",
        f"  state root {manifest.state_root}: computed from what is stored, certified by {certifier}",
    ]
    if signed:
        return [*lines, f"  {SIGNED_BEFORE}"]
    return [*lines, "  it follows the network from there when it is started"]
