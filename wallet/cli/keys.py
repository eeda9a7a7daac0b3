"""`tallystick keys`: make key files, see what is in them, take a key out."""

from pathlib import Path
from typing import Annotated

import typer

from tallystick.wallet import keystore
from tallystick.wallet.cli.options import Json, PasswordFile, read_password
from tallystick.wallet.cli.output import show_json, show_pairs, show_table, telling
from tallystick.wallet.errors import BadKeystore

app = typer.Typer(no_args_is_help=True, help="Key files (Ethereum keystore, version 3).")


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="The file to make.")],
    password_file: PasswordFile = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Spend little on the password. For tests only.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a new key and keep it in an encrypted file, readable by its owner alone."""
    from tallystick.wallet.signers import LocalSigner

    with telling(json):
        if path.exists() and not force:
            raise FileExistsError(17, "exists", str(path))
        password = read_password(password_file, confirm=True)
        if not password:
            raise BadKeystore("an empty password protects nothing", hint="Choose a password.")
        signer = LocalSigner.generate()
        keystore.save(path, signer.to_keystore(password, fast), force=force)
        _show({"file": str(path), "public_key": signer.key.hex(), "address": signer.address}, json)


@app.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="Folder of key files.")] = Path(),
    json: Json = False,
) -> None:
    """List the key files of a folder; passwords are not needed, public keys are not shown."""
    with telling(json):
        rows = []
        for path in sorted(folder.iterdir()):
            if (
                path.suffix == ".json"
                and path.is_file()
                and path.stat().st_size <= keystore.FILE_BYTES_MAX
            ):
                document = _if_keystore(path)
                if document is not None:
                    private = path.stat().st_mode & 0o077 == 0
                    rows.append({"file": path.name, "address": document, "private": private})
        if json:
            show_json({"keys": rows})
        else:
            show_table(
                ("file", "address", "readers"),
                [
                    (row["file"], row["address"], "owner" if row["private"] else "OTHERS TOO")
                    for row in rows
                ],
            )


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="The key file.")],
    password_file: PasswordFile = None,
    private: Annotated[
        bool,
        typer.Option("--private", help="Show the private key itself. Whoever sees it can spend."),
    ] = False,
    json: Json = False,
) -> None:
    """Show a key's public half, or with --private the key itself."""
    from tallystick.wallet.signers import LocalSigner

    with telling(json):
        signer = LocalSigner.from_keystore(path, read_password(password_file))
        document = {"public_key": signer.key.hex(), "address": signer.address}
        if private:
            document["private_key"] = signer.reveal().hex()
        _show(document, json)


def _show(document: dict[str, str], json: bool) -> None:
    if json:
        show_json(document)
    else:
        show_pairs({name.replace("_", " "): value for name, value in document.items()})


def _if_keystore(path: Path) -> str | None:
    """The address of a key file ("" if it names none), None for other JSON files."""
    try:
        document = keystore.load(path)
    except BadKeystore:
        return None
    looks = {str(name).lower() for name in document} >= {"crypto"}
    return keystore.address_of(document) if looks else None
