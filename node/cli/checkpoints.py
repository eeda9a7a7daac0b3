"""`tallystick checkpoint show`: a running node's newest checkpoint, or the one at a height, as a file that verifies."""

from pathlib import Path
from typing import Annotated

import typer

from tallystick.network.wire.faults import OperationalError
from tallystick.node.cli.operate import Config, Json, settings_of
from tallystick.node.cli.output import fail, say


def show_checkpoint(
    config: Config,
    token: Annotated[Path, typer.Option(help="A token file with any scope.")],
    height: Annotated[int | None, typer.Option(min=0, help="By default the newest.")] = None,
    note: Annotated[
        bool, typer.Option("--note", help="As a signed note, which witnesses cosign.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep it in this file.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch a checkpoint. What it says is proven by `tallystick checkpoint verify`."""
    from tallystick.node.cli.ledger_client import NodeClient

    settings = settings_of(config, as_json)
    path = "/v1/checkpoints/" + ("latest" if height is None else str(height))
    try:
        client = NodeClient(
            settings.api_host,
            settings.api_port,
            settings.tls_certificate,
            token.read_text().strip(),
        )
        found = client.read(path + ("?form=note" if note else ""))
        if out is not None:
            out.write_bytes(found)
    except (OSError, OperationalError) as error:
        fail(as_json, str(error))
    if out is None:
        typer.echo(found.decode(), nl=False)
    else:
        say(as_json, {"file": str(out)}, f"kept in {out}")
