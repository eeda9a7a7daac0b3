"""`tallystick ledger`: verify, repair, backup, restore, compare.

Exit codes: 0 sound, done, the same; 1 it could not be done, the sentence says why; 2 the command line is wrong; 3 a stored
record is damaged or missing, or the two ledgers differ; 4 certified blocks give something else when this release executes
them, which no repair mends. What each command does is imported when it is called, so that others start quickly.
"""

from pathlib import Path
from typing import Annotated

import typer

ledger_app = typer.Typer(
    no_args_is_help=True, help="Verify, repair, back up, restore and compare a node's ledger."
)

Config = Annotated[Path, typer.Option("--config", help="The node's node.toml.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of sentences.")]


@ledger_app.command("verify")
def verify(
    target: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A data folder, or a backup.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="The node's node.toml.")] = None,
    genesis: Annotated[
        Path | None,
        typer.Option("--genesis", help="The network's genesis file, where no --config names it."),
    ] = None,
    level: Annotated[
        str, typer.Option(help="records, headers, merkle or execute; each includes those before.")
    ] = "merkle",
    as_json: Json = False,
) -> None:
    """Look at every record of a stopped node's ledger, or of a backup, and name each that is damaged. Changes nothing."""
    from tallystick.node.cli.ledger_looking import verify_ledger

    verify_ledger(target, config, genesis, level, as_json)


@ledger_app.command("repair")
def repair(
    config: Config,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the ledger again even if nothing is found.")
    ] = False,
    give_up_held: Annotated[
        bool,
        typer.Option("--give-up-held", help="Go on though payments held for others are lost here."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Name what is damaged in a stopped node's ledger, and make it again from certified blocks: its own and its peers'."""
    from tallystick.node.cli.ledger_care import repair_ledger

    repair_ledger(config, rebuild, give_up_held, as_json)


@ledger_app.command("backup")
def backup(
    config: Config,
    to: Annotated[Path, typer.Option("--to", help="A folder that is empty or does not exist.")],
    token: Annotated[
        Path | None,
        typer.Option(help="A token file with the scope operate, for a node that runs."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy the certified ledger into a folder of its own, from a stopped node or from a running one."""
    from tallystick.node.cli.ledger_care import back_up

    back_up(config, to, token, as_json)


@ledger_app.command("restore")
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The folder of a backup.")],
    config: Config,
    level: Annotated[
        str, typer.Option(help="merkle, or execute: every block through the contracts again.")
    ] = "merkle",
    as_json: Json = False,
) -> None:
    """Make a node's ledger from a backup, if every byte holds and a quorum's certificate proves its state root."""
    from tallystick.node.cli.ledger_care import restore_ledger

    restore_ledger(source, config, level, as_json)


@ledger_app.command("prune")
def prune(
    config: Config,
    archive: Annotated[
        Path, typer.Option("--archive", help="The folder of archive files; made if not there.")
    ],
    back: Annotated[
        bool, typer.Option("--put-back", help="Make blocks whole again from the archive.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Move the transactions of a stopped node's old blocks into an archive; what they led to stays, with all proofs."""
    from tallystick.node.cli.pruning import prune_ledger

    prune_ledger(config, archive, back, as_json)


@ledger_app.command("compare")
def compare(
    a: Annotated[
        str, typer.Argument(help="A node.toml, a data folder, a backup, or a node's https address.")
    ],
    b: Annotated[str, typer.Argument(help="Another one.")],
    genesis: Annotated[Path, typer.Option("--genesis", help="The network's genesis file.")],
    token: Annotated[
        Path | None, typer.Option(help="A token file with the scope read:all, for an address.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="The node's certificate file, for an address.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Where to write the evidence of both, as JSON.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the first block, transaction and key in which two ledgers differ. Exit code 3 if they do."""
    from tallystick.node.cli.ledger_looking import compare_ledgers

    compare_ledgers((a, b), genesis, (certificate, token), evidence, as_json)


@ledger_app.command("export")
def export(
    config: Config,
    token: Annotated[Path, typer.Option(help="A token file with any scope.")],
    tiles: Annotated[
        Path, typer.Option(help="The folder of static files; made if it is not there.")
    ],
    cosigned: Annotated[
        Path | None,
        typer.Option(
            help="A witness's cosigned note of the folder's checkpoint: add its lines, export nothing."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the history of a running node as tiles for a web server, up to its newest checkpoint; only what is new."""
    from tallystick.network.wire.faults import OperationalError
    from tallystick.network.wire.genesis import genesis_from_json
    from tallystick.node.cli.ledger_client import NodeClient
    from tallystick.node.cli.operate import settings_of
    from tallystick.node.cli.output import fail, say
    from tallystick.node.cli.tiles import add_cosignatures, export_tiles

    settings = settings_of(config, as_json)
    try:
        if cosigned is not None:
            added = add_cosignatures(tiles, cosigned.read_bytes())
            say(as_json, {"lines": added}, f"{added} lines added to {tiles / 'checkpoint'}")
            return
        client = NodeClient(
            settings.api_host,
            settings.api_port,
            settings.tls_certificate,
            token.read_text().strip(),
        )
        done = export_tiles(tiles, client, genesis_from_json(settings.genesis.read_bytes()))
    except (OSError, OperationalError) as error:
        fail(as_json, str(error))
    said = {"size": done.size, "files": done.written}
    say(as_json, said, f"{tiles} holds {done.size} links; {done.written} files are new")
