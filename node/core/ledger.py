"""The certified ledger and the layers of executed blocks above it.

Decided here: execution of a block on any known parent, what becomes durable when it is final, and that proofs and reads
come from the certified state only, never from a layer. A layer hangs on its link and is dropped when another path wins.
Not here: whether a block may be voted for (`judging`), when it is final (consensus), the contracts themselves.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from hashlib import sha256

import msgspec
from msgspec import Struct

from tallystick.contracts import BlockInput, BlockResult, check_block, execute_block, first_state
from tallystick.contracts.state import Account, account_key
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.merkle import Log, Tree
from tallystick.network.proofs.merkle import leaf_hash as tree_leaf
from tallystick.network.proofs.state_map import StateMap, blind_of, leaf_hash
from tallystick.network.proofs.windows import (
    OPEN_WINDOW,
    WINDOWS_KEY,
    window_key,
)
from tallystick.network.wire.blocks import (
    NO_CHANGE,
    VERSION,
    Header,
    Result,
    genesis_link,
    link_of,
)
from tallystick.network.wire.digest import ZERO
from tallystick.network.wire.faults import (
    InvariantError,
    OperationalError,
    Refused,
    invariant,
    present,
)
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.ids import BodyId, Epoch, Height, Link, NodeId
from tallystick.network.wire.membership import EPOCH_MEMBERS, EpochMembers, members_digest
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core import schema
from tallystick.node.core.closing import Windows
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.layers import Layer, LayeredState, Pairs
from tallystick.node.core.ports import Store

ACCOUNTS_CACHED_MAX = 200_000
"""Decoded accounts in memory; about 1 kB each."""


class BlockRecord(Struct, array_like=True, frozen=True):
    """A final block at rest."""

    header: Header
    result: Result
    certificate: Certificate
    """Over this block's link, or over a descendant's."""
    bodies: tuple[bytes, ...]
    outcomes: tuple[bytes, ...]


def whole_from(store: Store) -> int:
    """Height from which on the blocks in `store` have their transactions."""
    stored = store.get(schema.WHOLE_FROM)
    return 1 if stored is None else int.from_bytes(stored, "big")


class _AccountRow(Struct, array_like=True, frozen=True):
    height: int
    seed: bytes
    value: bytes


BLOCK_RECORD = msgspec.msgpack.Decoder(BlockRecord)
_ROW = msgspec.msgpack.Decoder(_AccountRow)
_encode = msgspec.msgpack.Encoder().encode


class Ledger:
    """One node's ledger of one lane."""

    def __init__(self, genesis: Genesis, store: Store) -> None:
        self.genesis = genesis
        self.genesis_hash = genesis_hash(genesis)
        self.chain = chain_of(self.genesis_hash)
        self.members = MemberSet.from_genesis(genesis)
        """Of the epoch that the next block belongs to."""
        self.voters = genesis.members
        """The same with their names, banks and TLS keys."""
        self.store = store
        self.state = StateMap()
        self.history = Log()
        self.height = Height(0)
        self.header: Header | None = None
        self.certificate: Certificate | None = None
        self.whole_from = whole_from(store)
        """Height from which on blocks have their transactions here: 1, but in a ledger that was joined from a snapshot."""
        self.layers: dict[Link, Layer] = {}
        self.unsaved: Pairs = {}
        """What the next batch must hold: drained by whoever persists."""
        self._accounts: dict[bytes, Account] = {}
        self._records: dict[bytes, bytes] = {}
        self._absent: set[bytes] = set()
        """Keys (account ‖ id) of waiting transactions that are known not to be taken."""
        self._unstaged_taken: dict[bytes, bytes] = {}
        self._refused: dict[bytes, int] = {}
        """Body id → valid_until_ms, of those that could still be ordered."""
        self.windows = Windows(self.record, self.row)
        final = store.get(schema.FINAL)
        if final is None:
            self.link = self._found()
        else:
            self.height = Height(int.from_bytes(final[:8], "big"))
            self.link = Link(final[8:40])
            try:
                self._load()
            except (OperationalError, InvariantError, Refused, ValueError, OverflowError) as error:
                # msgspec's errors are ValueErrors, and so are seeds and heights that no row of ours has.
                raise OperationalError(
                    f"the stored ledger is damaged: {error}. `tallystick ledger verify` names the record,"
                    f" `tallystick ledger repair` makes the ledger again from certified blocks"
                ) from error

    # -- beginning -----------------------------------------------------------------------------------------------------

    def _found(self) -> Link:
        """Height 0: the genesis document's first state."""
        first = first_state(self.genesis)
        rows, leaves = self._written(first, 0)
        self.unsaved.update(rows)
        self.state.commit(self.state.layer(None, leaves))
        self._accounts.update(first.accounts)
        self._records.update(first.records)
        self.windows.follow()
        link = genesis_link(self.genesis_hash, self.state.root)
        self.history.append(tree_leaf(link))
        self.unsaved[schema.at_height(schema.LINK, 0)] = link
        self.unsaved[schema.FINAL] = bytes(8) + link
        return link

    def _load(self) -> None:
        """Rebuild the trees from what is stored, and compare with the last certified root."""
        record = self.block(self.height)
        if self.height and record is None:
            raise OperationalError(f"block {self.height} is missing from the database")
        if record is not None:
            self.header, self.certificate = record.header, record.certificate
        for expected, (key, link) in enumerate(self.store.scan(schema.LINK)):
            if schema.height_in(key) != expected:
                raise OperationalError(
                    f"the link of height {expected} is missing from the database"
                )
            self.history.append(tree_leaf(link))
        leaves: list[tuple[bytes, bytes]] = []
        for key, stored in self.store.scan(schema.ACCOUNT):
            row, name = _ROW.decode(stored), account_key(key[1:])
            leaf = leaf_hash(name, row.value, blind_of(row.seed, row.height))
            leaves.append((sha256(name).digest(), leaf))
        for key, value in self.store.scan(schema.RECORD):
            leaves.append((sha256(key[1:]).digest(), leaf_hash(key[1:], value, ZERO)))
        leaves.sort()
        self.state.load(leaves)
        if record is not None and self.state.root != record.result.state_root:
            raise OperationalError("the stored state does not give the certified state root")
        if self.history.size != self.height + 1 or (
            record is not None and link_of(record.header, record.result) != self.link
        ):
            raise OperationalError("the stored chain does not lead to the last final block")
        for expected, (_, value) in enumerate(self.store.scan(schema.EPOCH), start=1):
            self._begin_epoch(value)
            if self.members.epoch != expected:
                raise OperationalError(f"the members of epoch {expected} are missing")
        now_ms = self.time_ms
        for key, value in self.store.scan(schema.REFUSED):
            valid_until_ms = int.from_bytes(value[12:20], "big")
            if valid_until_ms >= now_ms:
                self._refused[key[1:]] = valid_until_ms
        self.windows.follow()

    # -- the certified state -------------------------------------------------------------------------------------------

    @property
    def time_ms(self) -> int:
        """Block time of the last final block."""
        return self.header.time_ms if self.header is not None else self.genesis.created_ms

    def account(self, account: bytes) -> Account | None:
        found = self._accounts.get(account)
        if found is None:
            stored = self.row(schema.ACCOUNT + account)
            if stored is None:
                return None
            row = _ROW.decode(stored)
            found = Account.decode(row.value, row.seed)
            self._remember(account, found)
        return found

    def account_row(self, account: bytes) -> tuple[int, bytes, bytes] | None:
        """(height of the last write, seed, value) of the certified record."""
        stored = self.row(schema.ACCOUNT + account)
        if stored is None:
            return None
        row = _ROW.decode(stored)
        return row.height, row.seed, row.value

    def row(self, key: bytes) -> bytes | None:
        """Any row of the database. The store lags behind within a step: what became final in it is still in `unsaved`."""
        return self.unsaved.get(key) or self.store.get(key)

    def record(self, key: bytes) -> bytes | None:
        found = self._records.get(key)
        return found if found is not None else self.store.get(schema.RECORD + key)

    def taken_by(self, key: bytes) -> bytes | None:
        """The digest that took (account ‖ id), from the certified ledger."""
        found = self._unstaged_taken.get(key)
        if found is not None:
            return found
        if key in self._absent:
            return None
        stored = self.store.get(schema.TAKEN + key)
        return None if stored is None else stored[:32]

    def taken(self, keys: AbstractSet[bytes]) -> dict[bytes, bytes]:
        """`taken_by` for the transactions of a block: almost all of them wait here, and are known to be absent."""
        found = {key: self.taken_by(key) for key in keys - self._absent}
        return {key: digest for key, digest in found.items() if digest is not None}

    def was_refused(self, body_id: bytes) -> bool:
        return body_id in self._refused

    def refused(self, body_ids: AbstractSet[bytes]) -> AbstractSet[bytes]:
        return self._refused.keys() & body_ids

    def watch(self, key: bytes) -> bytes | None:
        """`taken_by` for a transaction that will wait: an absence is remembered until it is ordered."""
        found = self.taken_by(key)
        if found is None:
            self._absent.add(key)
        return found

    def unwatch(self, keys: Iterable[bytes]) -> None:
        self._absent.difference_update(keys)

    def place_of(self, key: bytes) -> tuple[bytes, int, int] | None:
        """(digest, height, index) of the transaction that took (account ‖ id)."""
        stored = self.row(schema.TAKEN + key)
        return None if stored is None else (stored[:32], *schema.place_in(stored, 32))

    def place_of_refused(self, body_id: bytes) -> tuple[int, int] | None:
        stored = self.row(schema.REFUSED + body_id)
        return None if stored is None else schema.place_in(stored, 0)

    def block(self, height: int) -> BlockRecord | None:
        stored = self.row(schema.at_height(schema.BLOCK, height))
        return None if stored is None else BLOCK_RECORD.decode(stored)

    # -- layers --------------------------------------------------------------------------------------------------------

    def knows(self, link: Link) -> bool:
        return link == self.link or link in self.layers

    def parent_of(self, link: Link) -> tuple[int, int]:
        """(height, time_ms) of the certified block or layer with this link."""
        if link == self.link:
            return self.height, self.time_ms
        header = self.layers[link].header
        return header.height, header.time_ms

    def epoch_after(self, link: Link) -> Epoch:
        """The epoch of a child of the certified block or layer with this link."""
        if link == self.link:
            return self.members.epoch
        layer = self.layers[link]
        return Epoch(layer.header.epoch + layer.closes)

    def opening_of(self, epoch: int) -> tuple[int, EpochMembers]:
        """(height of the block that opened it, who votes in it), of an epoch from 1 to the present one."""
        key = schema.at_height(schema.EPOCH, epoch)
        stored = present(self.row(key), "an epoch without members")
        return int.from_bytes(stored[:8], "big"), EPOCH_MEMBERS.decode(stored[8:])

    def _begin_epoch(self, stored: bytes) -> None:
        opens = EPOCH_MEMBERS.decode(stored[8:])
        self.members, self.voters = MemberSet.of(opens, self.genesis.engine), opens.members

    def state_at(self, link: Link) -> LayeredState:
        return LayeredState(self, None if link == self.link else self.layers[link])

    def history_root_after(self, link: Link) -> bytes:
        """The history root for a child of `link`."""
        return self.history.root_with([tree_leaf(each) for each in self._links_to(link)])

    def _links_to(self, link: Link) -> list[Link]:
        links: list[Link] = []
        while link != self.link:
            links.append(link)
            link = Link(self.layers[link].header.parent_link)
        return links[::-1]

    def block_fault(
        self, parent: Link, time_ms: int, bodies: Sequence[CheckedBody]
    ) -> RejectReason | None:
        """`contracts.check_block` on the parent's state."""
        return check_block(self.state_at(parent), self._input(parent, time_ms, bodies))

    def execute(
        self, parent: Link, time_ms: int, proposer: NodeId, bodies: Sequence[CheckedBody]
    ) -> Layer:
        """Execute a block on `parent` and keep it as a layer. The same arguments give the same link, for ever."""
        above = None if parent == self.link else self.layers[parent]
        block = self._input(parent, time_ms, bodies)
        changes = execute_block(LayeredState(self, above), block)
        rows, leaves = self._written(changes, block.height)
        state = self.state.layer(above.state if above is not None else None, leaves)
        transactions = Tree([body.body_id for body in bodies])
        outcomes = Tree([tree_leaf(outcome) for outcome in changes.outcomes])
        genesis = self.genesis
        header = Header(
            VERSION,
            self.chain,
            genesis.lane,
            self.epoch_after(parent),
            block.height,
            parent,
            self.history_root_after(parent),
            time_ms,
            proposer,
            transactions.root,
        )
        opens = changes.next_members
        next_epoch = NO_CHANGE if opens is None else members_digest(opens)
        result = Result(state.root, outcomes.root, next_epoch)
        link = link_of(header, result)
        known = self.layers.get(link)
        if known is not None:
            return known  # others may stand on it
        layer = Layer(
            above, header, result, link, bodies, changes, rows, state, transactions, outcomes
        )
        self.layers[link] = layer
        return layer

    def _input(self, parent: Link, time_ms: int, bodies: Sequence[CheckedBody]) -> BlockInput:
        genesis = self.genesis
        height = self.parent_of(parent)[0] + 1
        return BlockInput(
            self.chain, genesis.lane, height, time_ms, genesis.engine, genesis.parameters, bodies
        )

    def _written(
        self, changes: BlockResult, height: int
    ) -> tuple[Pairs, dict[bytes, bytes | None]]:
        """Database rows and leaves of the state map for everything that a block changed."""
        rows: Pairs = {}
        leaves: dict[bytes, bytes | None] = {}
        for account, content in changes.accounts.items():
            name, value, seed = account_key(account), content.encode(), content.seed
            rows[schema.ACCOUNT + account] = _encode((height, seed, value))
            leaves[sha256(name).digest()] = leaf_hash(name, value, blind_of(seed, height))
        for key, value in changes.records.items():
            rows[schema.RECORD + key] = value
            leaves[sha256(key).digest()] = leaf_hash(key, value, ZERO)
        for start_ms, entries in changes.consumed.items():
            opened = OPEN_WINDOW.decode(changes.records[window_key(start_ms)])
            rows[schema.consumed_row(start_ms, opened.blocks - 1)] = entries
        return rows, leaves

    # -- becoming final ------------------------------------------------------------------------------------------------

    def apply(self, link: Link, certificate: Certificate) -> Layer:
        """The layer directly above the certified state becomes certified. Its rows go into `unsaved`."""
        layer = self.layers[link]
        invariant(layer.parent is None, "a block became final before its parent", link=link)
        invariant(layer.header.parent_link == self.link, "final block on another parent", link=link)
        # A block and its certificate are of one epoch, since a closing block has no child before it is final.
        epochs = (layer.header.epoch, certificate.epoch)
        invariant(epochs == (self.members.epoch,) * 2, "final in another epoch", epochs=epochs)
        height, pairs, changes = layer.header.height, self.unsaved, layer.changes
        taken = changes.taken
        self.state.commit(layer.state)
        self.history.append(tree_leaf(link))
        pairs.update(layer.rows)
        table, place = schema.TAKEN, schema.place
        for index, body in enumerate(layer.bodies):
            key, digest = body.key, body.digest
            if taken.get(key) == digest:
                pairs[table + key] = digest + place(height, index)
        self._consume_refused(layer)
        pairs[schema.at_height(schema.BLOCK, height)] = _encode(
            BlockRecord(
                layer.header,
                layer.result,
                certificate,
                tuple([body.raw for body in layer.bodies]),
                tuple(changes.outcomes),
            )
        )
        pairs[schema.at_height(schema.LINK, height)] = link
        pairs[schema.FINAL] = height.to_bytes(8, "big") + link
        pairs[schema.PENDING + link] = None
        self._unstaged_taken.update(changes.taken)
        self._absent.difference_update(changes.taken)
        self._accounts.update(changes.accounts)
        self._trim()
        self._records.update(changes.records)
        if WINDOWS_KEY in changes.records:
            self.windows.follow()
        self.windows.prepare()
        self.height, self.link, self.header = Height(height), link, layer.header
        self.certificate = certificate
        self._drop_other_paths(layer)
        if changes.next_members is not None:
            opens = height.to_bytes(8, "big") + EPOCH_MEMBERS.encode(changes.next_members)
            pairs[schema.at_height(schema.EPOCH, self.members.epoch + 1)] = opens
            self._begin_epoch(opens)
        return layer

    def apply_up_to(self, certificate: Certificate) -> list[Layer]:
        """The layer that the certificate names and all layers below it become certified, lowest first."""
        path: list[Link] = []
        layer: Layer | None = self.layers[certificate.link]
        while layer is not None:
            path.append(layer.link)
            layer = layer.parent
        return [self.apply(link, certificate) for link in reversed(path)]

    def drain(self) -> Pairs:
        """What must be persisted in this step, handed over once."""
        pairs, self.unsaved, self._unstaged_taken = self.unsaved, {}, {}
        return pairs

    def _consume_refused(self, layer: Layer) -> None:
        places = {body.body_id: index for index, body in enumerate(layer.bodies)}
        for body_id in layer.changes.refused:
            index = places[BodyId(body_id)]
            valid_until_ms = layer.bodies[index].transaction.valid_until_ms
            self._refused[body_id] = valid_until_ms
            self.unsaved[schema.REFUSED + body_id] = schema.place(
                layer.header.height, index
            ) + valid_until_ms.to_bytes(8, "big")
        if layer.header.height % 256 == 0:
            time_ms = layer.header.time_ms
            self._refused = {
                body_id: until for body_id, until in self._refused.items() if until >= time_ms
            }

    def _drop_other_paths(self, applied: Layer) -> None:
        """Keep the layers that stand on the block that has just become final; parents come before their children."""
        kept: dict[Link, Layer] = {}
        for link, layer in self.layers.items():
            if layer.parent is applied:
                layer.parent = None
                kept[link] = layer
            elif layer.parent is not None and layer.parent.link in kept:
                kept[link] = layer
        self.layers = kept

    def _remember(self, account: bytes, content: Account) -> None:
        self._accounts[account] = content
        self._trim()

    def _trim(self) -> None:
        surplus = len(self._accounts) - ACCOUNTS_CACHED_MAX
        if surplus > 0:
            for account in list(self._accounts)[: surplus + ACCOUNTS_CACHED_MAX // 8]:
                del self._accounts[account]
