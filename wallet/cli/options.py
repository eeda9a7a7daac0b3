"""What most commands are told: the network, who pays, and how to answer. Each option also comes from the environment.

`--as NAME` stands for the files that `tallystick network init` makes for one participant.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tallystick.wallet.errors import BadFile, BadKeystore

if TYPE_CHECKING:
    from tallystick.network.wire.genesis import Genesis
    from tallystick.wallet.client import Wallet
    from tallystick.wallet.signers import LocalSigner

T = TypeVar("T")

SECRET_BYTES_MAX = 16 * 1024
"""A password or token file."""

Network = Annotated[
    Path,
    typer.Option(
        "--network",
        "-n",
        envvar="TALLYSTICK_NETWORK",
        help="network.json, or the folder that holds it.",
    ),
]
As = Annotated[
    str,
    typer.Option(
        "--as",
        envvar="TALLYSTICK_AS",
        help="Participant whose keystore and token lie in the network's folder.",
    ),
]
Keystore = Annotated[
    Path | None,
    typer.Option("--keystore", "-k", envvar="TALLYSTICK_KEYSTORE", help="The key's file."),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        envvar="TALLYSTICK_PASSWORD_FILE",
        help="Asked for on the terminal if absent.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", "-t", envvar="TALLYSTICK_TOKEN_FILE", help="The API's bearer token."
    ),
]
Account = Annotated[
    str,
    typer.Option(
        "--account",
        "-a",
        envvar="TALLYSTICK_ACCOUNT",
        help="Paying account, 40 hex digits; default: the root account of the key's participant.",
    ),
]
GenesisFile = Annotated[
    Path,
    typer.Option(
        "--genesis", "-g", envvar="TALLYSTICK_GENESIS", help="The network's genesis file."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document for machines.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", min=0.0, help="Seconds to wait for an end; the deadline ends it anyway."
    ),
]

TIMEOUT_S = 60.0
"""For one payment at a terminal: a view change takes seconds, and whoever waits longer may ask again."""

HERE = Path("network.json")
GENESIS_HERE = Path("genesis.json")


@dataclass(frozen=True, slots=True)
class Who:
    """The options that name a network and a payer, as they came."""

    network: Path
    name: str = ""
    keystore: Path | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    account: str = ""

    @property
    def folder(self) -> Path:
        return self.network if self.network.is_dir() else self.network.parent

    def signer(self) -> "LocalSigner":
        """The key, opened. `BadKeystore`, or `BadFile` if none was named."""
        from tallystick.wallet.signers import LocalSigner

        keystore, password_file = self.keystore, self.password_file
        if keystore is None and self.name:
            keystore = self.folder / "wallets" / f"{self.name}.keystore.json"
            if not keystore.exists():
                raise BadFile(f"no keystore of {self.name!r} at {keystore}", hint=self._names())
            password_file = password_file or self.folder / "wallets" / f"{self.name}.password"
        if keystore is None:
            raise BadFile("no key", hint="Give --keystore FILE, or --as PARTICIPANT.")
        return LocalSigner.from_keystore(keystore, read_password(password_file))

    def _names(self) -> str:
        """Whom `--as` could name here."""
        files = sorted((self.folder / "wallets").glob("*.keystore.json"))[:20]
        names = ", ".join(file.name.removesuffix(".keystore.json") for file in files)
        return f"Say --as with one of: {names}." if names else "Give --keystore FILE."

    def token(self) -> str | None:
        """The bearer token, None if none was named and none lies in the network's folder."""
        if self.token_file is not None:
            return read_secret(self.token_file)
        named = self.folder / "tokens" / f"{self.name}.jwt"
        return read_secret(named) if self.name and named.is_file() else None

    def wallet(self, *, key: bool) -> "Wallet":
        """A wallet that is not connected yet; with `key`, one that can sign."""
        from tallystick.wallet.client import Wallet
        from tallystick.wallet.network_file import NetworkFile

        if not self.network.exists():
            raise BadFile(
                f"{self.network}: No such file",
                hint="Go into the network's folder, or name it by --network (or TALLYSTICK_NETWORK).",
            )
        network = NetworkFile.load(self.network)
        signer = self.signer() if key else None
        return Wallet(network, signer, self.account or None, self.token())

    def run(self, call: "Callable[[Wallet], Awaitable[T]]", *, key: bool) -> T:
        """Run one call with a wallet and close it."""
        wallet = self.wallet(key=key)

        async def with_wallet() -> T:
            async with wallet:
                return await call(wallet)

        return asyncio.run(with_wallet())


def genesis_at(path: Path) -> "Genesis":
    """The document against which something is verified; a path that nobody named is told from one that is wrong."""
    from tallystick.wallet.network_file import load_genesis

    if not path.exists():
        raise BadFile(f"{path}: No such file", hint="Name the network's genesis file by --genesis.")
    return load_genesis(path)


def read_secret(path: Path) -> str:
    """The first line of a small text file."""
    from tallystick.wallet.network_file import read_bounded

    try:
        text = read_bounded(path, SECRET_BYTES_MAX).decode("utf-8")
    except UnicodeDecodeError:
        raise BadFile(f"{path} is not text") from None
    return text.split("\n", 1)[0].rstrip("\r")


def read_password(path: Path | None, *, confirm: bool = False) -> str:
    """From a file, else asked for on the terminal. `BadKeystore` where nobody can be asked."""
    if path is not None:
        return read_secret(path)
    try:
        password: str = typer.prompt(
            "Password", hide_input=True, confirmation_prompt=confirm, err=True
        )
    except typer.Abort:
        raise BadKeystore("no password", hint="Give --password-file FILE.") from None
    return password
