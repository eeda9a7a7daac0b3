"""The log: blocks by height, each with the term in which its leader first proposed it (thesis, section 3.5);
the block that closes the epoch has the term of the leader that took it last, and nothing stands above it.

A block's bytes carry no term, so proposing it again never changes it; the term lives beside it, here. Below `base` the log is
compacted: those blocks are final and in the ledger. Blocks also name their parents, so a log that does not chain is refused.
"""

from dataclasses import dataclass, field

from tallystick.consensus.api import Block
from tallystick.network.wire.faults import invariant
from tallystick.network.wire.ids import Height, Link, View


@dataclass(frozen=True, slots=True)
class Entry:
    term: View
    block: Block
    carried: bool = False
    """A closing block of an older term, under the term of the leader that took it again. Not durable: only that leader says so."""


@dataclass(slots=True)
class Log:
    base_height: Height
    base_term: View
    base_link: Link
    entries: list[Entry] = field(default_factory=list)
    """`entries[i]` is at height base_height + 1 + i."""

    @property
    def last_height(self) -> Height:
        return Height(self.base_height + len(self.entries))

    @property
    def last_term(self) -> View:
        return self.entries[-1].term if self.entries else self.base_term

    @property
    def last_link(self) -> Link:
        return self.entries[-1].block.link if self.entries else self.base_link

    @property
    def closed(self) -> bool:
        """The last block of the epoch is here: what follows it belongs to another engine."""
        return bool(self.entries) and self.entries[-1].block.closes

    def entry(self, height: int) -> Entry | None:
        index = height - self.base_height - 1
        return self.entries[index] if 0 <= index < len(self.entries) else None

    def term_at(self, height: int) -> View | None:
        """None: compacted, or beyond the end."""
        if height == self.base_height:
            return self.base_term
        entry = self.entry(height)
        return entry.term if entry is not None else None

    def link_at(self, height: int) -> Link | None:
        if height == self.base_height:
            return self.base_link
        entry = self.entry(height)
        return entry.block.link if entry is not None else None

    def run(self, first: int, count: int, bytes_max: int) -> list[Entry]:
        """Entries from height `first` on: at most `count`, and past the first one no more than `bytes_max` together."""
        index = first - self.base_height - 1
        invariant(index >= 0, "entries below the log's base are asked for", first=first)
        chosen: list[Entry] = []
        size = 0
        for entry in self.entries[index : index + count]:
            size += len(entry.block.data)
            if chosen and size > bytes_max:
                break
            chosen.append(entry)
        return chosen

    def append(self, entry: Entry) -> None:
        block = entry.block
        invariant(
            block.height == self.last_height + 1 and block.parent_link == self.last_link,
            "an appended block does not follow the log",
            height=block.height,
            last_height=self.last_height,
        )
        invariant(entry.term >= self.last_term, "terms go back in the log", term=entry.term)
        invariant(not self.closed, "an entry above the block that closes the epoch")
        self.entries.append(entry)

    def take_again(self, term: View) -> Entry:
        """The closing block at the end of the log, under a later term. It is the same block: nothing is dropped."""
        invariant(self.closed and term > self.last_term, "not to be taken again", term=term)
        self.entries[-1] = Entry(term, self.entries[-1].block, carried=True)
        return self.entries[-1]

    def truncate_from(self, height: Height) -> list[Entry]:
        """Drop this height and everything above; what was dropped."""
        index = height - self.base_height - 1
        invariant(index >= 0, "a compacted entry would be truncated", height=height)
        dropped = self.entries[index:]
        del self.entries[index:]
        return dropped

    def compact_to(self, height: int) -> None:
        """Everything up to this height (inclusive) is in the ledger, and nobody needs it from here."""
        count = height - self.base_height
        if count <= 0:
            return
        last = self.entries[count - 1]
        self.base_height, self.base_term, self.base_link = (
            last.block.height,
            last.term,
            last.block.link,
        )
        del self.entries[:count]

    def begin_at(self, height: Height, term: View, link: Link) -> None:
        """The ledger was caught up from elsewhere: the log begins behind it. Entries that follow it stay."""
        if self.link_at(height) == link:
            return
        self.entries.clear()
        self.base_height, self.base_term, self.base_link = height, term, link

    def last_at_most(self, term: View, height: int) -> Height:
        """The highest height ≤ `height` whose term is ≤ `term`; the base when none is higher."""
        at = min(height, self.last_height)
        while at > self.base_height and self.entries[at - self.base_height - 1].term > term:
            at -= 1
        return Height(max(at, self.base_height))
