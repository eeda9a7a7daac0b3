"""`tallystick checkpoint verify`: a checkpoint, as a document or as a signed note, against the genesis file and nothing else."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.wallet.cli.options import GENESIS_HERE, GenesisFile, Json, genesis_at
from tallystick.wallet.cli.output import fail, harmless, show_json, show_pairs, telling

if TYPE_CHECKING:
    from tallystick.network.proofs.checkpoints import CheckpointDocument
    from tallystick.network.proofs.notes import Note, NoteKey
    from tallystick.network.wire.genesis import Genesis

app = typer.Typer(no_args_is_help=True, help="Checkpoints: what a quorum says of the whole history.")  # fmt: skip


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A document (JSON) or a signed note (text).")],
    genesis: GenesisFile = GENESIS_HERE,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            help="A witness's verifier key (name+id+base64); its cosignature must stand in the note."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check that a quorum signed it, and say of which height and link. A document leads through changes of members; a note is
    checked against genesis's members, and names no link.

    Exit codes: 0 genuine, 1 not genuine or not readable.
    """
    from tallystick.network.proofs import checkpoints
    from tallystick.network.proofs.notes import parse_note, parse_vkey
    from tallystick.network.proofs.verdict import EXIT_NOT_VERIFIED
    from tallystick.network.wire import bounds
    from tallystick.network.wire.faults import Refused
    from tallystick.network.wire.reasons import RejectReason
    from tallystick.wallet.errors import Untrusted
    from tallystick.wallet.network_file import read_bounded

    with telling(json):
        trusted = genesis_at(genesis)
        content = read_bounded(file, bounds.RECEIPT_BYTES_MAX + 1)
        try:
            keys = [parse_vkey(each) for each in witness or ()]
            if content.lstrip()[:1] == b"{":
                if keys:
                    raise Refused(
                        RejectReason.BAD_CERTIFICATE,
                        "a document has no cosignatures; verify the note",
                    )
                document = checkpoints.document_from_bytes(content)
                verdict = checkpoints.verify_checkpoint(document, trusted)
                checks = [(check.name, check.ok, check.sentence) for check in verdict.checks]
                about = _place(document)
            else:
                note = parse_note(content)
                checks = _of_note(note, trusted, keys)
                about = {"height": note.head.size - 1, "link": None, "history_root": note.head.root}
        except Refused as refused:
            error = Untrusted(
                f"{file} is not a checkpoint that verifies: {refused.detail}", hint=""
            )
            fail(error, json, EXIT_NOT_VERIFIED)
            return
        _tell(checks, about, json)
    raise typer.Exit(0 if all(ok for _, ok, _ in checks) else EXIT_NOT_VERIFIED)


@app.command()
def audit(
    tiles: Annotated[str, typer.Argument(help="A folder of tiles, or the http(s) address of one.")],
    genesis: GenesisFile = GENESIS_HERE,
    height: Annotated[
        int | None, typer.Option(min=0, help="The link to prove; by default the newest.")
    ] = None,
    since: Annotated[
        Path | None, typer.Option(help="An older note, which the history must contain.")
    ] = None,
    json: Json = False,
) -> None:
    """Check static files that anybody may serve: a quorum's checkpoint, one link under it, and that nothing older was rewritten.

    Exit codes: 0 genuine, 1 not genuine or not readable.
    """
    from tallystick.network.proofs.checkpoints import (
        document_from_bytes,
        origin_of,
        verify_checkpoint,
    )
    from tallystick.network.proofs.notes import parse_note
    from tallystick.network.proofs.tiles import prove_growth, prove_link
    from tallystick.network.proofs.verdict import EXIT_NOT_VERIFIED
    from tallystick.network.wire import bounds
    from tallystick.network.wire.faults import Refused
    from tallystick.wallet.cli.tile_source import fetch_from
    from tallystick.wallet.errors import Untrusted
    from tallystick.wallet.network_file import read_bounded

    with telling(json):
        trusted, fetch = genesis_at(genesis), fetch_from(tiles)
        try:
            document = document_from_bytes(fetch("checkpoint.json"))
            verdict = verify_checkpoint(document, trusted)
            checks = [(check.name, check.ok, check.sentence) for check in verdict.checks]
            if verdict.ok:
                head = document.checkpoint.statement.head(trusted)
                at = head.size - 1 if height is None else height
                link = prove_link(fetch, head, at)
                said = f"link {link.hex()} stands at height {at} of {head.size - 1}"
                checks.append(("tiles", True, said))
                if since is not None:
                    older = parse_note(read_bounded(since, bounds.NOTE_BYTES_MAX + 1)).head
                    prove_growth(fetch, older, head)
                    said = f"the history of {older.size} links is the beginning of this one"
                    checks.append(("growth", True, said))
        except Refused as refused:
            error = Untrusted(f"{tiles} of {origin_of(trusted)} does not verify: {refused.detail}", hint="")  # fmt: skip
            fail(error, json, EXIT_NOT_VERIFIED)
            return
        _tell(checks, {}, json)
    raise typer.Exit(0 if all(ok for _, ok, _ in checks) else EXIT_NOT_VERIFIED)


def _place(document: "CheckpointDocument") -> dict[str, int | bytes | None]:
    """What it says, for whoever has verified it."""
    statement = document.checkpoint.statement
    return {
        "height": statement.height,
        "link": statement.link,
        "history_root": statement.history_root,
    }


def _of_note(note: "Note", genesis: "Genesis", witnesses: "list[NoteKey]") -> list[tuple[str, bool, str]]:  # fmt: skip
    from tallystick.network.proofs.checkpoints import check_note
    from tallystick.network.proofs.members import MemberSet
    from tallystick.network.proofs.notes import COSIGNATURE_V1, cosigned_at_s, verify_lines
    from tallystick.network.wire.faults import Refused
    from tallystick.network.wire.reasons import RejectReason

    members = MemberSet.from_genesis(genesis)
    signed = check_note(note, genesis, members)
    names = ", ".join(map(str, signed))
    said = f"members {names} signed tree size {note.head.size}; {members.quorum} of {len(members)} are needed"
    checks = [("members", True, said)]
    for key in witnesses:
        if key.type != COSIGNATURE_V1 or not verify_lines(note, [key]):
            raise Refused(RejectReason.BAD_CERTIFICATE, f"{key.name} has not cosigned it")
        checks.append(("witness", True, f"{key.name} cosigned it at {cosigned_at_s(note, key)} s"))
    return checks


def _tell(
    checks: list[tuple[str, bool, str]], about: dict[str, int | bytes | None], json: bool
) -> None:
    """`about`: what the checkpoint says; of one that does not verify, nothing is repeated."""
    verified = all(ok for _, ok, _ in checks)
    said = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in about.items()
        if verified
    }
    if json:
        told: dict[str, Any] = {
            "verified": verified,
            "checks": [{"name": name, "ok": ok, "sentence": why} for name, ok, why in checks],
            **said,
        }
        show_json(told)
        return
    for name, ok, why in checks:
        typer.echo(f"{'ok  ' if ok else 'FAIL'} {name.ljust(12)} {harmless(why)}")
    typer.echo("VERIFIED" if verified else "NOT VERIFIED: this checkpoint proves nothing.")
    show_pairs({name.replace("_", " "): value for name, value in said.items()})
