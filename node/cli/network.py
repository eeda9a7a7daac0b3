"""`tallystick network init` and `tallystick network token`."""

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import (
    EngineName,
    Genesis,
    chain_of,
    genesis_from_json,
    genesis_hash,
)
from tallystick.network.wire.ids import ParticipantId
from tallystick.node.cli.output import fail, say

network_app = typer.Typer(
    no_args_is_help=True, help="Make a network to try out, and tokens for its clients."
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of sentences.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The network's folder.")]


@network_app.command("init")
def init(
    folder: Folder,
    members: Annotated[
        int, typer.Option(min=1, max=26, help="Nodes that vote; four tolerate one traitor.")
    ] = 4,
    participants: Annotated[
        int, typer.Option(min=0, max=100, help="Banks beside the central bank (0: one per member).")
    ] = 0,
    base_port: Annotated[
        int, typer.Option(min=1, max=65_000, help="First of the ports: two per node.")
    ] = 7600,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="How blocks are agreed on. raft survives crashes only: no member may lie."
        ),
    ] = "pbft",
    name: Annotated[str, typer.Option(help="The network's name, for people.")] = "tallystick",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a network that an earlier init made there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make genesis, node identities, wallets and tokens in DIR, ready to run on this machine."""
    from tallystick.node.cli.founding import Plan, found

    if base_port + 2 * members + 1 > 65_535:
        fail(
            as_json,
            f"--base-port {base_port} leaves no room for {2 * members + 2} ports below 65536",
        )
    _make_room(folder, force, as_json)
    plan = Plan(folder, members, participants or members, base_port, name, engine=engine)
    try:
        founded = found(plan, time.time_ns() // 1_000_000)
    except (OSError, OperationalError) as error:
        fail(as_json, f"the network could not be made in {folder}: {error}")
    names = [member.name for member in founded.members]
    failing, lying = _tolerated(founded.genesis)
    document: dict[str, object] = {
        "folder": str(folder),
        "genesis_hash": genesis_hash(founded.genesis).hex(),
        "chain": founded.chain,
        "engine": engine,
        "tolerates": {"failing": failing, "lying": lying},
        "members": names,
        "observers": ["regulator"],
        "participants": [entry.name for entry in founded.genesis.participants],
        "api": [f"https://{plan.host}:{plan.api_port(index)}" for index in range(members)],
    }
    say(
        as_json,
        document,
        f"Made the network {name!r} (chain {founded.chain}) in {folder}:",
        f"  {members} members      {', '.join(names)}",
        f"  tolerates      {failing or 'none'} of {members} members failing, {lying or 'none'} of them by lying",
        "  1 observer     regulator",
        f"  participants   {', '.join(entry.name for entry in founded.genesis.participants)}",
        f"  ports          {base_port} to {plan.api_port(members)} on {plan.host}",
        "",
        "Next, each in a terminal of its own:",
        *(f"  tallystick node run --config {folder}/nodes/{each}/node.toml" for each in names),
        f"  tallystick observer run --config {folder}/observers/regulator/node.toml",
    )


def _tolerated(genesis: Genesis) -> tuple[int, int]:
    """How many members may fail while the others go on, and how many of those may even lie."""
    members = MemberSet.from_genesis(genesis)
    return len(members) - members.quorum, members.faults if members.engine == "pbft" else 0


def _make_room(folder: Path, force: bool, as_json: bool) -> None:
    """The folder is empty afterwards, or this leaves with a sentence. Only what an init made is ever removed."""
    from tallystick.node.cli.founding import MADE

    if not folder.exists():
        return
    if not folder.is_dir():
        fail(as_json, f"{folder} is a file; name a folder that is empty or does not exist")
    there = {path.name for path in folder.iterdir()}
    if not there:
        return
    if not force or "genesis.json" not in there:
        hint = "add --force to replace it" if "genesis.json" in there else "name another folder"
        fail(as_json, f"{folder} is not empty: {hint}")
    for each in MADE:
        path = folder / each
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@network_app.command("token")
def token(
    folder: Folder,
    subject: Annotated[str, typer.Option(help="Whom it speaks for; quotas count by it.")],
    scope: Annotated[
        list[str], typer.Option(help="submit, read:own, read:all, operate; may be repeated.")
    ],
    participant: Annotated[
        str,
        typer.Option(
            help="Name or number of the bank it acts for; none: any (with submit), none (read:own)."
        ),
    ] = "",
    days: Annotated[int, typer.Option(min=1, max=3_650, help="How long it is good for.")] = 30,
    as_json: Json = False,
) -> None:
    """Sign a token with the network's own issuer key and print it."""
    from tallystick.node.api.tokens import Scope, known_scopes
    from tallystick.node.cli.tokens import issue, load_issuer

    scopes = known_scopes(scope)
    if len(scopes) != len(set(scope)):
        fail(
            as_json,
            f"--scope takes {', '.join(each.value for each in Scope)}; got {', '.join(scope)}",
        )
    if not 1 <= len(subject) <= 128:
        fail(as_json, "--subject has 1 to 128 characters")
    genesis = _genesis_in(folder, as_json)
    bank = _participant(genesis, participant, as_json) if participant else None
    chain = chain_of(genesis_hash(genesis))
    try:
        key = load_issuer(folder / "tokens")
    except OperationalError as error:
        fail(as_json, str(error))
    expires_s = time.time_ns() // 1_000_000_000 + days * 86_400
    made = issue(key, chain, subject, scopes, bank, expires_s)
    say(
        as_json,
        {"token": made, "subject": subject, "expires_s": expires_s, "participant": bank},
        made,
    )


def _genesis_in(folder: Path, as_json: bool) -> Genesis:
    path = folder / "genesis.json"
    try:
        with path.open("rb") as file:
            return genesis_from_json(file.read(bounds.GENESIS_FILE_BYTES_MAX + 1))
    except OSError as error:
        fail(
            as_json,
            f"{path}: {error.strerror}. Is this a folder that `tallystick network init` made?",
        )
    except Refused as refused:
        fail(as_json, f"{path} is not a genesis file: {refused.detail}")


def _participant(genesis: Genesis, wanted: str, as_json: bool) -> ParticipantId:
    found = [each.id for each in genesis.participants if wanted in (each.name, str(each.id))]
    if not found:
        names = ", ".join(entry.name for entry in genesis.participants[:20])
        fail(as_json, f"there is no participant {wanted!r}; genesis lists {names}")
    return found[0]
