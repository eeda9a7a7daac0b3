"""The one command `tallystick`: the wallet's commands, and the node's where the node is installed."""

from typing import Annotated

import typer

from tallystick.wallet.cli import checkpoints, evidence, mount

app = typer.Typer(
    name="tallystick",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Settlement between banks whose every outcome is verifiable offline.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"tallystick {version('tallystick')}")
        except PackageNotFoundError:
            typer.echo("tallystick, not installed: run from its source")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _mount_node() -> None:
    """The node's commands. A wallet-only installation lacks the node; anything else that is missing is an error."""
    try:
        from tallystick.node.cli import (
            ledger_app,
            list_evidence,
            network_app,
            node_app,
            observer_app,
            show_checkpoint,
            why_stalled,
        )
    except ModuleNotFoundError as error:
        if error.name not in ("tallystick.node", "tallystick.node.cli"):
            raise
        return
    app.add_typer(ledger_app, name="ledger")
    app.add_typer(network_app, name="network")
    app.add_typer(node_app, name="node")
    app.add_typer(observer_app, name="observer")
    app.command("why-stalled")(why_stalled)
    evidence.app.command("list")(list_evidence)
    checkpoints.app.command("show")(show_checkpoint)


def main() -> None:
    """Console script."""
    mount(app)
    _mount_node()
    app()


if __name__ == "__main__":
    main()
