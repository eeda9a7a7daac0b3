"""`tallystick status`: every node's word about itself, side by side."""

from typing import TYPE_CHECKING, Any

import typer

from tallystick.wallet.cli.options import HERE, As, Json, Network, TokenFile, Who
from tallystick.wallet.cli.output import DONE, UNREACHABLE, show_json, show_table, telling

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
    rows = []
    for node in nodes:
        if not node["up"]:
            error = node["error"] or {"code": "", "sentence": "no answer"}
            state = "down" if error["code"] == "UNREACHABLE" else "no access"
            rows.append((node["name"], state, "", "", "", "", "", error["sentence"]))
            continue
        state = "halted" if node["halted"] else "ready" if node["ready"] else "not ready"
        rows.append(
            (
                node["name"],
                state,
                str(node["height"]),
                str(node["view"]),
                str(node["leader"]),
                node["state_root"][:12],
                f"{node['lag_ms']} ms",
                node["halted"] or f"{len(node['peers_up'])} peers, {node['pool_size']} waiting",
            )
        )
    show_table(("node", "state", "height", "view", "leader", "state root", "lag", ""), rows)
