"""`tallystick node run`, `node status`, `node hand-over`, `tallystick observer run`."""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tallystick.network.wire.faults import OperationalError
from tallystick.node.cli.output import fail, say
from tallystick.node.config import ConfigError, NodeConfig, load_config

if TYPE_CHECKING:
    from tallystick.node.compose import Composed

node_app = typer.Typer(no_args_is_help=True, help="Run a member's node, and ask how it is.")
observer_app = typer.Typer(no_args_is_help=True)

Config = Annotated[Path, typer.Option("--config", help="The node's node.toml.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of sentences.")]
Join = Annotated[
    bool,
    typer.Option(
        "--join",
        help="Without a ledger, first take the members' snapshot instead of executing every block.",
    ),
]
STATUS_SECONDS_MAX = 5.0


@node_app.command("run")
def run(config: Config, join: Join = False, as_json: Json = False) -> None:
    """Run a member until SIGTERM. Logs are JSON lines on standard error; exit code 70 after a halt."""
    from tallystick.node.compose import compose_node

    _run(compose_node, config, join, as_json)


@node_app.command("prepare-spare")
def prepare_spare(
    config: Config,
    spare: Annotated[
        int, typer.Option("--spare", help="The spare id, approved in genesis or by a change.")
    ],
    folder: Annotated[Path, typer.Option("--folder", help="New, beside the old node's.")],
    peer_port: Annotated[int, typer.Option(help="0: the old node's.")] = 0,
    api_port: Annotated[int, typer.Option(help="0: the old node's.")] = 0,
    as_json: Json = False,
) -> None:
    """Make fresh keys and a folder for the node that takes this one's place. Shows what to sign and what to tell the others."""
    from tallystick.node.cli.spare import prepare_spare as prepare

    settings = settings_of(config, as_json)
    try:
        made = prepare(settings, spare, folder, peer_port, api_port)
    except OperationalError as error:
        fail(as_json, str(error))
    document = {
        "folder": str(made.folder),
        "vote_key": made.vote_key.hex(),
        "tls_key_hash": made.tls_key_hash.hex(),
        "peer": made.peer,
    }
    sentences = (
        f"{made.folder} is ready. When every other node has added the table below and the new node follows, sign:\n"
        f"  tallystick members activate-spare --as {settings.name} --member {settings.id} --spare {spare} "
        f"--vote-key {made.vote_key.hex()} --tls-key-hash {made.tls_key_hash.hex()}\n"
        "Give clients the same tls_key_hash, in network.json, when it is activated.\n"
        f"Every other node adds, with its own path to the certificate:\n{made.peer}"
    )
    say(as_json, document, sentences)


@observer_app.callback()
def _observers() -> None:
    """Run an observer: it reads and checks everything."""


@observer_app.command("run")
def run_observer(config: Config, join: Join = False, as_json: Json = False) -> None:
    """Run an observer until SIGTERM. Exit code 70 if it halted or found a divergence."""
    from tallystick.node.compose import compose_observer

    _run(compose_observer, config, join, as_json)


def _run(
    compose: Callable[[NodeConfig], "Composed"], path: Path, join: bool, as_json: bool
) -> None:
    from tallystick.node.runtime.supervisor import run_process
    from tallystick.node.runtime.telemetry import configure_logging

    settings = settings_of(path, as_json)
    configure_logging(settings.name, settings.log_level)
    if join:
        from tallystick.node.cli.joining import join_first

        join_first(settings, as_json)

    async def build() -> "Composed":
        return compose(settings)

    address = f"https://{settings.api_host}:{settings.api_port}"

    def ready() -> None:
        document = {"node": settings.name, "api": address}
        say(as_json, document, f"{settings.name} runs; clients at {address}")

    try:
        code = run_process(build, ready)
    except OperationalError as error:
        fail(as_json, str(error))
    raise typer.Exit(code)


@node_app.command("status")
def status(
    config: Config,
    token: Annotated[
        Path | None, typer.Option(help="A token file; with it, height and view are shown too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask the running node whether it is ready, and why not. Exit code 1 if it is not."""
    settings = settings_of(config, as_json)
    bearer = None if token is None else token_in(token, as_json)
    try:
        readiness = ask_node(settings, "/readyz", None)
        full = None if bearer is None else ask_node(settings, "/v1/status", bearer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        address = f"{settings.api_host}:{settings.api_port}"
        fail(as_json, f"no answer from {settings.name} at {address}: {error}. Is it running?")
    document = {"node": settings.name, **readiness, "status": full}
    missing = readiness.get("missing")
    lines = [f"{settings.name}: {'ready' if readiness.get('ready') else 'not ready'}"]
    lines += [f"  {sentence}" for sentence in (missing if isinstance(missing, list) else ())]
    if full is not None:
        lines += [
            f"  {name:14} {full.get(name)}" for name in ("height", "view", "leader", "state_root")
        ]
    say(as_json, document, *lines)
    raise typer.Exit(0 if readiness.get("ready") else 1)


@node_app.command("hand-over")
def hand_over(
    config: Config,
    token: Annotated[Path, typer.Option(help="A token file with the scope operate.")],
    to: Annotated[int | None, typer.Option(help="The number of the member to lead.")] = None,
    as_json: Json = False,
) -> None:
    """Let another member lead, before this machine is worked on. Exit code 1 if this node does not lead, or leads on."""
    settings = settings_of(config, as_json)
    path = "/v1/operations/hand-over" + ("" if to is None else f"?to={to}")
    bearer = token_in(token, as_json)
    try:
        found = ask_node(settings, path, bearer, "POST")
        leader = None
        if found.get("code") == "NOT_LEADER":
            leader = ask_node(settings, "/v1/status", bearer).get("leader")
    except (OSError, ValueError, http.client.HTTPException) as error:
        address = f"{settings.api_host}:{settings.api_port}"
        fail(as_json, f"no answer from {settings.name} at {address}: {error}. Is it running?")
    if leader is not None:
        fail(as_json, f"{settings.name} does not lead, member {leader} does: nothing is to be done")
    if "handed_over" not in found:
        refused(settings, found, as_json)
    if not found["handed_over"]:
        fail(as_json, f"no other member took over in time; member {found['leader']} leads")
    leader, view = found["leader"], found["view"]
    say(as_json, found, f"{settings.name} handed over: member {leader} leads, in view {view}")


def token_in(path: Path, as_json: bool) -> str:
    """A token file's content, or a sentence about the file: no node was asked yet."""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        fail(as_json, f"the token file {path} cannot be read: {why}")


def refused(settings: NodeConfig, found: Mapping[str, object], as_json: bool) -> NoReturn:
    """The node's refusal, and where a token that would do comes from."""
    sentences = [f"{settings.name} refused: {found.get('code')}: {found.get('detail')}"]
    if found.get("code") in ("FORBIDDEN", "UNAUTHENTICATED"):
        sentences.append(
            "give --token a token with that scope: the bank's issuer signs it; in a network made by "
            "`tallystick network init` see tokens/, or `tallystick network token`"
        )
    fail(as_json, *sentences)


def pinned(certificate: Path) -> ssl.SSLContext:
    """Whoever has this certificate's key is believed, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context


def ask_node(
    settings: NodeConfig, path: str, token: str | None, method: str = "GET"
) -> dict[str, object]:
    """One request to this very node: its own certificate is the only one believed."""
    context = pinned(settings.tls_certificate)
    connection = http.client.HTTPSConnection(
        settings.api_host, settings.api_port, timeout=STATUS_SECONDS_MAX, context=context
    )
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        connection.request(method, path, headers=headers)
        document = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise ValueError("the answer is not a JSON object")
    return document


def settings_of(path: Path, as_json: bool) -> NodeConfig:
    try:
        return load_config(path)
    except ConfigError as error:
        fail(as_json, *(f"{path}: {fault}" for fault in error.errors))
