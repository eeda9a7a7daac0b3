"""`tallystick evidence verify`: does a file prove that a member signed two things that exclude each other? No network needed."""

from pathlib import Path
from typing import Annotated

import typer

from tallystick.wallet.cli.options import Json, genesis_at
from tallystick.wallet.cli.output import fail, harmless, show_json, telling

app = typer.Typer(no_args_is_help=True, help="Evidence against members that signed two things.")


@app.callback()
def _evidence() -> None:
    """Evidence against members that signed two things."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The evidence.")],
    genesis: Annotated[
        Path,
        typer.Option(
            "--genesis", "-g", envvar="TALLYSTICK_GENESIS", help="The network's genesis file."
        ),
    ] = Path("genesis.json"),
    json: Json = False,
) -> None:
    """Check evidence against the genesis file alone. It names members of epoch 0; those of later epochs are not in that file.

    Exit codes: 0 it convicts, 1 it proves nothing.
    """
    from tallystick.network.proofs.evidence import (
        FILE_BYTES_MAX,
        evidence_from_bytes,
        verify_evidence,
    )
    from tallystick.network.proofs.members import MemberSet
    from tallystick.network.wire.faults import Refused
    from tallystick.network.wire.genesis import chain_of, genesis_hash
    from tallystick.network.wire.keys import verify_vote
    from tallystick.wallet.errors import Untrusted
    from tallystick.wallet.network_file import read_bounded

    with telling(json):
        document = genesis_at(genesis)
        content = read_bounded(file, FILE_BYTES_MAX + 1)
        try:
            evidence = evidence_from_bytes(content)
            chain, members = chain_of(genesis_hash(document)), MemberSet.from_genesis(document)
            verify_evidence(evidence, members, chain, document.lane, verify_vote)
        except Refused as refused:
            hint = "It proves nothing against anybody."
            fail(Untrusted(f"{file} is no evidence: {refused.detail}", hint=hint), json, 1)
            return
        name = next(member.name for member in document.members if member.id == evidence.signer)
        if json:
            show_json({"verified": True, "member": evidence.signer, "name": name, "sentence": evidence.sentence})  # fmt: skip
        else:
            typer.secho(f"CONVICTED: {harmless(name)}: {evidence.sentence}", fg="red", bold=True)
