"""`tallystick account` and `tallystick issue`: open and read accounts, create money."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.wallet.cli.options import (
    HERE,
    TIMEOUT_S,
    Account,
    As,
    Json,
    Keystore,
    Network,
    PasswordFile,
    Timeout,
    TokenFile,
    Who,
)
from tallystick.wallet.cli.output import (
    moment,
    show_json,
    show_pairs,
    show_table,
    telling,
)
from tallystick.wallet.cli.sending import send
from tallystick.wallet.core.build import Terms
from tallystick.wallet.errors import NotTaken

if TYPE_CHECKING:
    from tallystick.wallet.client import Wallet
    from tallystick.wallet.core.outcomes import Outcome
    from tallystick.wallet.reading import Balance

app = typer.Typer(no_args_is_help=True, help="Accounts on the ledger.")

Which = Annotated[
    str, typer.Argument(metavar="[ACCOUNT]", help="40 hex digits; default: one's own.")
]

Confirmed = Annotated[
    bool,
    typer.Option(
        "--confirmed",
        help="Only from a node that a quorum has told that it misses nothing.",
    ),
]


@app.command("open")
def open_(
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", help="Public key of the new account, hex; once per key. Default: one's own."
        ),
    ] = None,
    threshold: Annotated[int, typer.Option(help="Signatures that a payment will need.")] = 1,
    tier: Annotated[int, typer.Option(min=0, max=3, help="Which limits apply.")] = 0,
    id_: Annotated[
        str, typer.Option("--id", help="Hex, UETR or reference; random if absent.")
    ] = "",
    network: Network = HERE,
    name: As = "",
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    account: Account = "",
    timeout: Timeout = TIMEOUT_S,
    json: Json = False,
) -> None:
    """Open an account of one's own participant; the ledger assigns its id."""
    who = Who(network, name, keystore, password_file, token_file, account)

    async def call(wallet: "Wallet") -> "Outcome":
        keys = [_key(text) for text in key or []] or [wallet.signer.key if wallet.signer else b""]
        return await wallet.open_account(keys, threshold, tier, id=id_ or None, timeout_s=timeout)

    send(who, call, "", json)


@app.command()
def show(
    which: Which = "",
    network: Network = HERE,
    name: As = "",
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    account: Account = "",
    confirmed: Confirmed = False,
    json: Json = False,
) -> None:
    """An account's keys, tier, balances and headroom, proven against the genesis file."""
    who = Who(network, name, keystore, password_file, token_file, which or account)
    with telling(json):
        balance, terms = _read(who, confirmed)
        document = _document(balance, terms)
        if json:
            show_json(document)
            return
        show_pairs(
            {
                "account": document["account"],
                "participant": balance.participant,
                "serial": balance.serial,
                "tier": balance.tier,
                "keys": ", ".join(document["keys"]),
                "threshold": balance.threshold,
                "as of": f"block {balance.height}, {moment(balance.time_ms)}",
            }
        )
        _show_balances(document)


@app.command()
def balance(
    which: Which = "",
    network: Network = HERE,
    name: As = "",
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    account: Account = "",
    confirmed: Confirmed = False,
    json: Json = False,
) -> None:
    """An account's balances, proven against the genesis file."""
    who = Who(network, name, keystore, password_file, token_file, which or account)
    with telling(json):
        found, terms = _read(who, confirmed)
        document = _document(found, terms)
        if json:
            wanted = ("account", "height", "time_ms", "balances")
            show_json({field: document[field] for field in wanted})
        else:
            _show_balances(document)


def issue(
    creditor: Annotated[str, typer.Argument(help="Receiving account, 40 hex digits.")],
    amount: Annotated[str, typer.Argument(help="Such as 1000000.00.")],
    asset: Annotated[str, typer.Argument(help="Such as USD.")],
    id_: Annotated[
        str, typer.Option("--id", help="Hex, UETR or reference; random if absent.")
    ] = "",
    network: Network = HERE,
    name: As = "",
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    timeout: Timeout = TIMEOUT_S,
    json: Json = False,
) -> None:
    """Create an amount of an asset; for its issuer alone."""
    who = Who(network, name, keystore, password_file, token_file)

    async def call(wallet: "Wallet") -> "Outcome":
        return await wallet.issue(creditor, amount, asset, id=id_ or None, timeout_s=timeout)

    send(who, call, asset, json)


def _read(who: Who, confirmed: bool) -> "tuple[Balance, Terms]":
    async def call(wallet: "Wallet") -> "tuple[Balance, Terms]":
        return await wallet.balance(confirmed=confirmed), wallet.terms

    return who.run(call, key=not who.account)


def _key(text: str) -> bytes:
    from tallystick.network.wire.reasons import RejectReason

    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise NotTaken(RejectReason.BAD_KEY, f"{text!r} is not hex") from None


def _document(balance: "Balance", terms: Terms) -> dict[str, Any]:
    return {
        "account": balance.account.hex(),
        "participant": balance.participant,
        "serial": balance.serial,
        "tier": balance.tier,
        "threshold": balance.threshold,
        "keys": [key.hex() for key in balance.keys],
        "height": balance.height,
        "time_ms": balance.time_ms,
        "balances": {
            code: terms.text(minor, code) for code, minor in sorted(balance.minor.items())
        },
        "headroom": {
            code: terms.text(minor, code) for code, minor in sorted(balance.headroom_minor.items())
        },
    }


def _show_balances(document: dict[str, Any]) -> None:
    rows = [
        (code, amount, document["headroom"].get(code, "no limit"))
        for code, amount in document["balances"].items()
    ]
    show_table(("asset", "balance", "next payment up to"), rows)
