"""`tallystick status`: every node's word about itself, side by side."""

from typing import TYPE_CHECKING, Any

import typer

from tallystick.wallet.cli.options import HERE, As, Json, Network, TokenFile, Who
from tallystick.wallet.cli.output import DONE, UNREACHABLE, harmless, show_json, show_table, telling

if TYPE_CHECKING:
    from tallystick.wallet.client import Wallet
    from tallystick.wallet.reading import NodeStatus


def status(
    network: Network = HERE,
    name: As = "",
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Ask every node: height, view, leader, state root, lag. Exit 5 if none answers."""
    who = Who(network, name, token_file=token_file)

    async def call(wallet: "Wallet") -> "list[NodeStatus]":
        return await wallet.status()

    with telling(json):
        nodes = [_row(each) for each in who.run(call, key=False)]
        if json:
            show_json({"nodes": nodes})
        else:
            _table(nodes)
    if not any(node["up"] for node in nodes):
        raise typer.Exit(UNREACHABLE)
    raise typer.Exit(DONE)


def _row(node: "NodeStatus") -> dict[str, Any]:
    row: dict[str, Any] = {"name": node.name, "url": node.url, "up": node.status is not None}
    if node.status is None:
        error = node.error
        return row | {
            "error": None if error is None else {"code": error.code, "sentence": error.sentence}
        }
    said = node.status
    return row | {
        "role": said.role,
        "height": said.height,
        "view": said.view,
        "leader": said.leader,
        "link": said.link,
        "state_root": said.state_root,
        "lag_ms": node.lag_ms,
        "pool_size": said.pool_size,
        "in_flight": said.in_flight,
        "peers_up": list(said.peers_up),
        "ready": said.ready,
        "halted": said.halted,
    }


def _table(nodes: list[dict[str, Any]]) -> None:
    """One line for each node; what takes a sentence stands below, or it would break the table at 80 columns."""
    rows, notes = [], []
    for node in nodes:
        if not node["up"]:
            error = node["error"] or {"code": "", "sentence": "no answer"}
            state = "down" if error["code"] == "UNREACHABLE" else "no access"
            rows.append((node["name"], state, *("",) * 7))
            notes.append(f"{node['name']}: {error['sentence'].removeprefix(node['name'] + ': ')}")
            continue
        state = "halted" if node["halted"] else "ready" if node["ready"] else "not ready"
        if node["halted"]:
            notes.append(f"{node['name']}: {node['halted']}")
        rows.append(
            (
                node["name"],
                state,
                str(node["height"]),
                str(node["view"]),
                str(node["leader"]),
                node["state_root"][:8],
                str(node["lag_ms"]),
                str(len(node["peers_up"])),
                str(node["pool_size"]),
            )
        )
    names = ("node", "state", "height", "view", "leader", "root", "lag ms", "peers", "pool")
    show_table(names, rows)
    for note in notes:
        typer.echo(harmless(note))
    if any(node["error"]["code"] in ("UNAUTHENTICATED", "FORBIDDEN") for node in nodes if node.get("error")):  # fmt: skip
        typer.echo("hint:  Name who asks by --as PARTICIPANT or --token-file FILE; observers want the scope read:all.")  # fmt: skip
