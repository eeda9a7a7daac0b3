"""`tallystick evidence verify`: does a file prove that a member signed two things that exclude each other? No network needed."""

from pathlib import Path
from typing import Annotated

import typer

from tallystick.wallet.cli.options import GENESIS_HERE, GenesisFile, Json, genesis_at
from tallystick.wallet.cli.output import fail, harmless, show_json, telling

app = typer.Typer(no_args_is_help=True, help="Evidence against members that signed two things.")


@app.callback()
def _evidence() -> None:
    """Evidence against members that signed two things."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The evidence.")],
    genesis: GenesisFile = GENESIS_HERE,
    json: Json = False,
) -> None:
    """Check evidence of any epoch against the genesis file alone: the file itself leads from there to the members of its epoch.

    Exit codes: 0 it convicts, 1 it proves nothing against anybody.
    """
    from tallystick.network.proofs.evidence import Kind
    from tallystick.network.proofs.evidence_file import convict, evidence_from_bytes, name_of
    from tallystick.network.proofs.verdict import EXIT_NOT_VERIFIED
    from tallystick.network.wire import bounds
    from tallystick.network.wire.faults import Refused
    from tallystick.wallet.errors import Untrusted
    from tallystick.wallet.network_file import read_bounded

    with telling(json):
        document = genesis_at(genesis)
        content = read_bounded(file, bounds.RECEIPT_BYTES_MAX + 1)
        why = ""
        try:
            found = evidence_from_bytes(content)
            verdict = convict(found, document)
            if verdict.failed is not None:
                why = f"{verdict.failed.name}: {verdict.failed.sentence}"
        except Refused as refused:
            why = refused.detail
        if why:
            hint = "It proves nothing against anybody."
            fail(Untrusted(f"{file} is no evidence: {why}", hint=hint), json, EXIT_NOT_VERIFIED)
            return
        evidence, name = found.evidence, name_of(found, document)
        if json:
            show_json(
                {
                    "verified": True,
                    "member": evidence.signer,
                    "name": name,
                    "epoch": evidence.epoch,
                    "kind": Kind(evidence.kind).name,
                    "view": evidence.view,
                    "height": evidence.height,
                    "sentence": evidence.sentence,
                }
            )
        else:
            typer.secho(f"CONVICTED: {harmless(name)}: {evidence.sentence}", fg="red", bold=True)
