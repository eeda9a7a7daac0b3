"""`tallystick ledger prune`: transactions of old blocks into an archive, and back."""

from pathlib import Path

from tallystick.network.wire.faults import OperationalError
from tallystick.node.cli.ledger_tools import Display, ledger_of
from tallystick.node.cli.operate import settings_of
from tallystick.node.cli.output import fail, say
from tallystick.node.preflight import genesis_of
from tallystick.node.upkeep.pruning import prune, put_back


def prune_ledger(config: Path, archive: Path, back: bool, as_json: bool) -> None:
    """Say what has moved."""
    settings, display = settings_of(config, as_json), Display(as_json)
    try:
        with ledger_of(settings) as store:
            if back:
                done = put_back(store, archive, display)
            else:
                done = prune(store, genesis_of(settings), archive, display)
    except OperationalError as error:
        display.finish()
        fail(as_json, str(error))
    display.finish()
    count = max(0, done.last - done.first + 1) if done.files else 0
    document = {"blocks": count, "files": done.files, "whole_from": done.whole_from}
    moved = f"back from {archive}" if back else f"in {archive}"
    say(
        as_json,
        document,
        f"{settings.data}: transactions of {count:,} blocks are {moved} ({done.files:,} files)",
        f"  blocks are whole from height {done.whole_from:,} on",
    )
