"""`tallystick ledger repair`: name what is damaged, make the ledger again from certified blocks, put it in its place.

Decided here: the order. First the promises, for a member that may have forgotten one is refused before anything is made; then
the rebuilding beside; then a look at what came out; then the exchange. Run again after any interruption it goes on. The
guard's file and the vote key are never opened for writing, and the damaged ledger is kept under another name.
"""

from dataclasses import dataclass
from pathlib import Path

from tallystick.network.proofs.certificates import Verify
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.keys import verify_vote
from tallystick.node.core import schema
from tallystick.node.core.ledger import Ledger
from tallystick.node.storage.folder_lock import FolderLock
from tallystick.node.storage.leveldb import ASK_REPAIR
from tallystick.node.storage.opening import NodeStore
from tallystick.node.upkeep.aside import Aside
from tallystick.node.upkeep.findings import Finding, Level, Progress, silent
from tallystick.node.upkeep.promises import Forgotten, Promises, promises_of
from tallystick.node.upkeep.rebuilding import AskPeers, Rebuilding
from tallystick.node.upkeep.rows import highest
from tallystick.node.upkeep.stores import Keys, open_ledger
from tallystick.node.upkeep.verifying import verify

CARRIED_PER_WRITE = 256
"""Rows of promises in one write: blocks and batches have up to a megabyte each."""


@dataclass(frozen=True, slots=True)
class Node:
    """Whose ledger it is."""

    folder: Path
    genesis: Genesis
    member: bool
    guard_record: bytes | None = None
    """The record of the guard beside the key; None if it never signed, and for an observer."""
    keys: Keys = ()
    """Those that open its data folder, none for a plain one."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done."""

    findings: tuple[Finding, ...]
    height: int
    link: bytes
    state_root: bytes
    rebuilt: bool
    fetched: tuple[int, ...]
    """Heights that peers gave."""
    kept: Path | None
    """Where the damaged ledger is now."""
    lost_batches: tuple[str, ...]


async def repair(
    node: Node,
    ask_peers: AskPeers | None,
    progress: Progress = silent,
    *,
    rebuild: bool = False,
    give_up_held: bool = False,
    check_vote: Verify = verify_vote,
) -> Repaired:
    """Mend the ledger in `node.folder`, which no node uses meanwhile.

    `rebuild`: even if nothing is found. `give_up_held`: go on though payments that this node holds for others are lost here.
    `Forgotten` when this node's promises are damaged, `OperationalError` when it cannot be done (now).
    """
    held = FolderLock(node.folder)
    try:
        aside = Aside(node.folder, "repair")
        if aside.ready:
            kept = aside.exchange()
            return _result(node, held, (), kept, check_vote, rebuilt=True)
        return await _repair(
            node, held, aside, ask_peers, progress, rebuild, give_up_held, check_vote
        )
    finally:
        held.release()


async def _repair(
    node: Node,
    held: FolderLock,
    aside: Aside,
    ask_peers: AskPeers | None,
    progress: Progress,
    rebuild: bool,
    give_up_held: bool,
    check_vote: Verify,
) -> Repaired:
    source = _opened(node, held)
    try:
        findings: tuple[Finding, ...] = ()
        promises, floor = Promises({}), 0
        if source is not None:
            report = verify(source, node.genesis, Level.MERKLE, progress, check_vote=check_vote)
            findings = report.findings
            if not (findings or rebuild):
                aside.drop()
                return Repaired(
                    (), report.height, report.link, report.state_root, False, (), None, ()
                )
            floor = highest(source, report.height)
            if node.member:
                promises = promises_of(source, node.genesis.engine, floor, node.guard_record)
        if promises.lost_batches and not give_up_held:
            raise OperationalError(
                f"{promises.lost_batches[0]}. This node said that it holds these payments; f other members hold each of them,"
                f" too. Nothing was changed; add --give-up-held to go on without"
            )
        target = aside.open(node.keys)
        try:
            rebuilding = Rebuilding(node.genesis, source, target, ask_peers, check_vote)
            ledger = await rebuilding.run(floor, progress)
            _carry_over(promises, floor, ledger, target)
            _look_again(target, node, progress, check_vote)
        finally:
            target.close()
    finally:
        if source is not None:
            source.close()
    aside.set_ready()
    kept = aside.exchange()
    return Repaired(
        findings,
        ledger.height,
        ledger.link,
        ledger.state.root,
        True,
        tuple(rebuilding.fetched),
        kept,
        promises.lost_batches,
    )


def _opened(node: Node, held: FolderLock) -> NodeStore | None:
    """The damaged ledger; None if LevelDB cannot open it, which only an observer survives."""
    try:
        return open_ledger(node.folder, node.keys, held)
    except OperationalError as error:
        if not node.member or node.guard_record is None:
            return None
        raise Forgotten(str(error).removesuffix(ASK_REPAIR)) from None


def _carry_over(promises: Promises, floor: int, ledger: Ledger, target: NodeStore) -> None:
    """All of them, but the engine's record only within its epoch, as the node itself does: peers may have given the block that
    closes it, and a view of the old members means nothing to the new ones. `floor`: the damaged ledger's last height."""
    held, epoch = promises.rows, ledger.members.epoch
    if epoch and ledger.opening_of(epoch)[0] > floor:
        held = {key: row for key, row in held.items() if key != schema.ENGINE}
    rows = sorted(held.items())
    for at in range(0, len(rows), CARRIED_PER_WRITE):
        target.write([dict(rows[at : at + CARRIED_PER_WRITE])])


def _look_again(target: NodeStore, node: Node, progress: Progress, check_vote: Verify) -> None:
    report = verify(target, node.genesis, Level.MERKLE, progress, check_vote=check_vote)
    if report.findings:
        raise OperationalError(
            f"what was rebuilt is damaged, too: {report.findings[0].sentence()}. This disk or memory cannot be trusted;"
            f" nothing was changed"
        )


def _result(
    node: Node,
    held: FolderLock,
    findings: tuple[Finding, ...],
    kept: Path | None,
    check_vote: Verify,
    *,
    rebuilt: bool,
) -> Repaired:
    """After an exchange that an earlier call had prepared."""
    store = open_ledger(node.folder, node.keys, held)
    try:
        report = verify(store, node.genesis, Level.MERKLE, check_vote=check_vote)
    finally:
        store.close()
    found = (*findings, *report.findings)
    return Repaired(found, report.height, report.link, report.state_root, rebuilt, (), kept, ())
