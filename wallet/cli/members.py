"""`tallystick members`: a bank brings its member back under a spare id; the governor lets members leave and join."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.wallet.cli.options import (
    HERE,
    TIMEOUT_S,
    As,
    Json,
    Keystore,
    Network,
    PasswordFile,
    Timeout,
    TokenFile,
    Who,
)
from tallystick.wallet.cli.sending import send

if TYPE_CHECKING:
    from tallystick.network.wire.transactions import Transaction
    from tallystick.wallet.client import Wallet
    from tallystick.wallet.core.outcomes import Outcome

app = typer.Typer(
    no_args_is_help=True, help="Change the members: a bank's spare id, or who leaves and joins."
)


@app.command("activate-spare")
def activate_spare(
    member: Annotated[int, typer.Option(help="The id that is void from the next epoch on.")],
    spare: Annotated[int, typer.Option(help="The approved id that takes its place.")],
    vote_key: Annotated[str, typer.Option(help="64 hex digits, from `node prepare-spare`.")],
    tls_key_hash: Annotated[str, typer.Option(help="64 hex digits, from the same.")],
    network: Network = HERE,
    name: As = "",
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    timeout: Timeout = TIMEOUT_S,
    json: Json = False,
) -> None:
    """Put one's spare id in the place of one's member. One's root account signs; nobody votes."""
    from tallystick.network.wire.ids import PaymentId
    from tallystick.wallet.core import build

    key, pin = _hash(vote_key), _hash(tls_key_hash)

    def make(wallet: "Wallet") -> "Transaction":
        return build.activate_spare(
            wallet.terms,
            account=wallet.account,
            member=member,
            spare=spare,
            vote_key=key,
            tls_key_hash=pin,
            id=PaymentId(secrets.token_bytes(32)),
            now_ms=wallet.now_ms(),
        )

    _send(Who(network, name, keystore, password_file, token_file), make, timeout, json)


@app.command("change")
def change(
    leaving: Annotated[list[int] | None, typer.Option(help="Id of a member; once per id.")] = None,
    joining: Annotated[
        list[str] | None,
        typer.Option(help="ID:NAME:PARTICIPANT:VOTE_KEY:TLS_KEY_HASH; once per member."),
    ] = None,
    approve: Annotated[
        list[str] | None, typer.Option(help="ID:PARTICIPANT of a new spare id; once per id.")
    ] = None,
    network: Network = HERE,
    name: As = "",
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    timeout: Timeout = TIMEOUT_S,
    json: Json = False,
) -> None:
    """Change the members of the next epoch. The root account of the participant that governs signs."""
    from tallystick.network.wire.ids import NodeId, ParticipantId, PaymentId
    from tallystick.network.wire.membership import MemberEntry, SpareEntry
    from tallystick.wallet.core import build

    entries = []
    for text in joining or []:
        id_, who, bank, vote_key, pin = _split(text, 5)
        place = NodeId(_number(id_)), who, ParticipantId(_number(bank))
        entries.append(MemberEntry(*place, _hash(vote_key), _hash(pin)))
    pairs = [_split(text, 2) for text in approve or []]
    spares = [SpareEntry(NodeId(_number(a)), ParticipantId(_number(b))) for a, b in pairs]

    def make(wallet: "Wallet") -> "Transaction":
        return build.change_members(
            wallet.terms,
            account=wallet.account,
            leaving=leaving or [],
            joining=entries,
            spares=spares,
            id=PaymentId(secrets.token_bytes(32)),
            now_ms=wallet.now_ms(),
        )

    _send(Who(network, name, keystore, password_file, token_file), make, timeout, json)


def _send(
    who: Who, make: "Callable[[Wallet], Transaction]", timeout: float | None, json: bool
) -> None:
    async def call(wallet: "Wallet") -> "Outcome":
        return await wallet.send(wallet.sign(make(wallet)), wait="final", timeout_s=timeout)

    send(who, call, "", json)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is not a number")
    return int(text)


def _hash(text: str) -> bytes:
    try:
        made = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        made = b""
    if len(made) != 32:
        raise typer.BadParameter(f"{text!r} is not 64 hex digits")
    return made


def _split(text: str, count: int) -> list[str]:
    parts = text.split(":")
    if len(parts) != count or not all(parts):
        raise typer.BadParameter(f"{text!r} wants {count} parts with colons between them")
    return parts
